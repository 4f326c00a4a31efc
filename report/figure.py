"""The figures of a run, drawn by matplotlib: as files for papers and slides, and as pictures in the listening page."""

from __future__ import annotations

import base64
import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import Bbox

from speech.audio import SAMPLE_RATE_HZ
from speech.distortion import MEASURES
from speech.spectrum import magnitudes, mel_bands, mel_corners
from storage.atomic import write_atomic

P = ParamSpec("P")

INK, PAPER = "#1f2328", "#ffffff"  # of files; the page takes its own
TITLES = {"original": "original", "pre_training": "after pre-training", "fine_tuning": "after fine-tuning"}
# Of lines and points: at least 3 : 1 on white and on the dark ground of the page, which tests/test_contrast.py checks.
COLOURS = {"original": "#7b848d", "pre_training": "#2a78b8", "fine_tuning": "#c2651c"}
PALETTE = (
    "#0072b2", "#b07400", "#00875f", "#c0568f", "#5c7cfa", "#d55e00", "#8c6bb1", "#7f7f7f", "#8a7a00", "#a65628",
)  # fmt: skip
MARKERS = (  # of matplotlib, and as a path of the page within ± 6
    ("o", "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0Z"),
    ("s", "M-4 -4H4V4H-4Z"),
    ("^", "M0 -5L5 4H-5Z"),
    ("D", "M0 -5.5L5.5 0L0 5.5L-5.5 0Z"),
    ("v", "M0 5L5 -4H-5Z"),
    ("P", "M-2 -5H2V-2H5V2H2V5H-2V2H-5V-2H-2Z"),
    ("X", "M-5 -2.5L-2.5 -5L0 -2.5L2.5 -5L5 -2.5L2.5 0L5 2.5L2.5 5L0 2.5L-2.5 5L-5 2.5L-2.5 0Z"),
    ("*", "M0 -6L1.6 -2H6L2.6 1L3.8 5.5L0 3L-3.8 5.5L-2.6 1L-6 -2H-1.6Z"),
    ("p", "M0 -5.2L5 -1.5L3.1 4.3H-3.1L-5 -1.5Z"),
)
STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.35,
    "text.parse_math": False,  # names of clips are not formulas
    "image.interpolation": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "nn1d",
    "figure.constrained_layout.use": True,
} | dict.fromkeys(
    ("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color"), INK
)
COLUMNS = 1600  # of a waveform in a figure
LETTERS = 24  # of a name
MEL_WINDOW, MEL_BANDS, MEL_DEPTH_DB, DIFFERENCE_DB = 512, 80, 80.0, 30.0
BAND_HZ = mel_corners(SAMPLE_RATE_HZ, MEL_BANDS)[1:-1]  # where each band of a spectrogram peaks
TICKS_KHZ = (0.5, 1, 2, 4)


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw in the style of this file, whatever the program's own is."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return drawn


def short(name: str) -> str:
    """A name as a figure can hold it: the whole one would leave no room for the figure."""
    name = HALF_CHARACTER.sub("\ufffd", name)
    return name if len(name) <= LETTERS else name[: LETTERS - 1] + "…"


HALF_CHARACTER = re.compile("[\ud800-\udfff]")  # of which no font has a glyph
NOT_XML = re.compile(r"[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # a label with one is no picture at all
Place = Callable[[str], Path]  # where a file of a name is to be written, such as folder.joinpath


def write_figure(place: Place, name: str, figure: Figure, kinds: Sequence[str] = ("svg", "png")) -> str:
    """Write name.svg and name.png; the text of the SVG. The same figure gives the same bytes."""
    for kind in kinds:
        content = _rendered(figure, kind)
        write_atomic(place(f"{name}.{kind}"), content)
        if kind == "svg":
            text = content.decode()
    return text


def svg_text(figure: Figure) -> str:
    """A figure as write_figure writes it, without a file."""
    return _rendered(figure, "svg").decode()


def _rendered(figure: Figure, kind: str) -> bytes:
    metadata: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "png": {"Software": None}}
    memory = io.BytesIO()
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of letters that the font lacks: they are boxes in the PNG
        _lay_out(figure)
        figure.savefig(memory, format=kind, dpi=120, metadata=metadata[kind], facecolor=PAPER)
    if kind == "svg":
        return NOT_XML.sub("\N{REPLACEMENT CHARACTER}", memory.getvalue().decode()).encode()
    return memory.getvalue()


def _lay_out(figure: Figure) -> None:
    """Give the axes their places, once for all files of a figure.

    They are rounded: the last digits that the solver finds for equal figures differ from one process to another.
    """
    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)
    figure.set_layout_engine("none")
    for axes in figure.axes:
        axes.set_position(Bbox.from_bounds(*(round(edge, 5) for edge in axes.get_position().bounds)))


def write_clip_figures(
    place: Place,
    stem: str,
    title: str,
    sounds: Mapping[str, np.ndarray],
    spectrograms: Mapping[str, np.ndarray],
    frames: np.ndarray,
    sample_rate_hz: int,
) -> None:
    """Write waveforms, spectrograms if there are any, and the representation of one clip."""
    seconds = len(sounds["original"]) / sample_rate_hz
    write_figure(place, f"{stem}-waveform", draw_waveforms(sounds, sample_rate_hz, title))
    if spectrograms:
        write_figure(place, f"{stem}-spectrogram", draw_spectrograms(spectrograms, seconds, title))
    write_figure(place, f"{stem}-representation", draw_representation(frames, seconds, title))


def themed(svg: str) -> str:
    """An SVG of write_figure for a page: no ground of its own, and ink that is light where the page is dark."""
    style = f"<style>svg{{color:{INK}}}@media(prefers-color-scheme:dark){{svg{{color:#e6edf3}}}}</style>"
    head, rest = svg.split("<defs>", 1)
    return head + style + "<defs>" + rest.replace(INK, "currentColor").replace(f'"fill: {PAPER}', '"fill: none')


def data_uri(kind: str, content: bytes | str) -> str:
    """Content as an address that holds it."""
    content = content.encode() if isinstance(content, str) else content
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def svg_uri(svg: str) -> str:
    """An SVG of write_figure as an address that holds it, in the page's colours."""
    return data_uri("image/svg+xml", themed(svg))


@styled
def draw_loss(
    epochs: Sequence[Mapping[str, Any]], best: int, title: str, limits: tuple[float, float] | None = None
) -> Figure:
    """Loss over epochs, training and validation, the best epoch marked: the paper's Figures 5 and 7.

    Figures that are given the same limits, the least and the largest loss, have the same axis.
    """
    figure = Figure((4.4, 2.9))
    axes: Axes = figure.add_subplot()
    numbers = [int(epoch["epoch"]) for epoch in epochs]
    marker = "." if len(numbers) < 60 else ""
    for column, label, colour in (
        ("train_loss", "training", COLOURS["pre_training"]),
        ("val_loss", "validation", COLOURS["fine_tuning"]),
    ):
        axes.plot(numbers, [float(epoch[column]) for epoch in epochs], color=colour, label=label, marker=marker)
    loss = float(epochs[numbers.index(best)]["val_loss"])
    axes.plot([best], [loss], "o", markersize=9, markerfacecolor="none", color=INK, label=f"best: {loss:.3g} at {best}")
    axes.set(title=title, xlabel="epoch", ylabel="mean squared error", yscale="log")
    axes.set_xlim(left=0)
    if limits is not None and limits[0] > 0:
        axes.set_ylim(limits[0] / 1.2, limits[1] * 1.2)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    low, high = axes.get_ylim()
    if high < 100 * low:  # powers of ten alone would be one label, or none
        axes.yaxis.set_major_locator(MaxNLocator(5) if high < 10 * low else LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")  # powers of ten would be formulas, which are switched off
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.legend(frameon=False)
    return figure


@styled
def draw_waveforms(waveforms: Mapping[str, np.ndarray], sample_rate_hz: int, title: str) -> Figure:
    """The rebuilt waveforms over the original: the paper's Figures 6 and 8."""
    figure = Figure((8, 3.6))
    rebuilt = [name for name in waveforms if name != "original"]
    panels = figure.subplots(len(rebuilt), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, name in zip(panels, rebuilt, strict=True):
        for version in ("original", name):
            start, low, high = envelope(waveforms[version], COLUMNS)
            style = {"color": COLOURS[version], "label": TITLES[version], "alpha": 0.85}
            axes.fill_between(start / sample_rate_hz, low, high, **style)
        axes.set(ylabel="amplitude")
        axes.legend(frameon=False, loc="upper right")
    panels[0].set(title=title)
    panels[-1].set(xlabel="time [s]")
    return figure


@styled
def draw_spectrograms(spectrograms: Mapping[str, np.ndarray], seconds: float, title: str) -> Figure:
    """Log-mel spectrograms of the original and the rebuilt clips, and how the latter differ."""
    figure = Figure((8, 1.5 * len(spectrograms)))
    panels = figure.subplots(len(spectrograms), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, values) in zip(panels, spectrograms.items(), strict=True):
        colours, low, high = scale_of(name)
        image = axes.imshow(
            values, cmap=colours, vmin=low, vmax=high, origin="lower", aspect="auto", extent=(0, seconds, 0, MEL_BANDS)
        )
        axes.set(title=name, ylabel="kHz")
        axes.set_yticks(0.5 + np.interp(1000 * np.array(TICKS_KHZ), BAND_HZ, np.arange(MEL_BANDS)), TICKS_KHZ)
        axes.grid(visible=False)
        figure.colorbar(image, ax=axes, label="dB more" if "−" in name else "dB")
    panels[-1].set(xlabel="time [s]")
    figure.suptitle(title)
    return figure


@styled
def draw_representation(frames: np.ndarray, seconds: float, title: str) -> Figure:
    """The channels of a representation over time, each on the range of its own values."""
    figure = Figure((8, 3.6))
    axes: Axes = figure.add_subplot()
    image = axes.imshow(
        unit_range(frames).T, cmap="viridis", aspect="auto", extent=(0, seconds, frames.shape[1] - 0.5, -0.5)
    )
    axes.set(title=title, xlabel="time [s]", ylabel="channel")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=False)
    figure.colorbar(image, ax=axes, label="of the channel's range")
    return figure


@styled
def draw_distribution(measure: str, rows: Sequence[Mapping[str, Any]]) -> Figure:
    """One measure of all test clips by phase, by label and by speaker.

    Parameters
    ----------
    measure : str
        Of MEASURES.
    rows : sequence of mapping
        Those of metrics.csv, values as numbers; what is not finite is left out.
    """
    about = MEASURES[measure]
    phases = list(dict.fromkeys(row["phase"] for row in rows))
    panels = [("phase", "")]
    panels += [(f"by {key}", key) for key in ("label", "speaker") if len({row[key] for row in rows}) > 1]
    groups = [sorted({row[key] for row in rows}) if key else [""] for _, key in panels]
    heights = [1.0 + 0.28 * len(phases) * len(names) for names in groups]
    figure = Figure((4.6, sum(heights)))
    every = figure.subplots(len(panels), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
    for axes, (title, key), names in zip(every, panels, groups, strict=True):
        for i, name in enumerate(names):
            for k, phase in enumerate(phases):
                values = np.array([r[measure] for r in rows if r["phase"] == phase and (not key or r[key] == name)])
                values = values[np.isfinite(values)]
                _draw_box(axes, values, -(i * (len(phases) + 0.5) + k), COLOURS[phase])
        middle = [-(i * (len(phases) + 0.5) + (len(phases) - 1) / 2) for i in range(len(names))]
        axes.set_yticks(middle, [short(name) or ("-" if key else "all") for name in names])
        axes.set(title=title if key else "all test clips")
        axes.grid(visible=False, axis="y")
    every[-1].xaxis.set_major_locator(MaxNLocator(4))  # as many as stand side by side where they are long: 0.00025
    unit = "" if about.unit == "1" else f" [{about.unit}]"
    every[-1].set(xlabel=f"{about.title}{unit}, {about.better} is better")
    handles = [every[0].plot([], [], color=COLOURS[phase], linewidth=6, label=TITLES[phase])[0] for phase in phases]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(phases), frameon=False)
    return figure


def _draw_box(axes: Axes, values: np.ndarray, y: float, colour: str) -> None:
    """Median, quartiles, and every clip as a dot."""
    if not len(values):
        return
    spread = np.random.default_rng(0).uniform(-0.25, 0.25, len(values))
    axes.plot(values, y + spread, ".", color=colour, markersize=3, markeredgewidth=0)
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
    axes.plot([low, high], [y, y], color=colour, linewidth=7, alpha=0.35, solid_capstyle="butt")
    axes.plot([median, median], [y - 0.32, y + 0.32], color=colour, linewidth=2)


@styled
def draw_map(xy: np.ndarray, share: np.ndarray, names: Sequence[str], title: str) -> Figure:
    """Clips as points of the plane in which they differ most; colour and shape say what they are."""
    figure = Figure((6, 4.6))
    axes: Axes = figure.add_subplot()
    for k, name in enumerate(sorted(set(names))):
        x, y = xy[[other == name for other in names]].T
        style: dict[str, Any] = {"color": PALETTE[k % len(PALETTE)], "marker": MARKERS[k % len(MARKERS)][0]}
        axes.scatter(x, y, s=16, label=short(name) or "-", linewidths=0, **style)
    axes.set(title=title, xlabel=f"first component ({share[0]:.0%})", ylabel=f"second component ({share[1]:.0%})")
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def envelope(samples: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A waveform in so few columns that it can be drawn: the first sample of each, its minimum and its maximum.

    Shapes
    ------
    samples (L,), L > 0 -> three arrays (columns,); short waveforms repeat samples
    """
    edges = np.linspace(0, len(samples), columns + 1).astype(int)
    start = np.minimum(edges[:-1], len(samples) - 1)
    return start, np.minimum.reduceat(samples, start), np.maximum.reduceat(samples, start)


def log_mel(waveform: np.ndarray, sample_rate_hz: int, loudest_db: float | None = None) -> tuple[np.ndarray, float]:
    """Mel spectrum over time in dB, 80 dB deep below its loudest value or below the one given, and that value.

    Shapes
    ------
    waveform (samples,), samples > 256 -> (80, 1 + samples // 128)
    """
    bands = (
        magnitudes(np.asarray(waveform, np.float64), MEL_WINDOW) @ mel_bands(sample_rate_hz, MEL_WINDOW, MEL_BANDS).T
    )
    decibels = 20 * np.log10(np.maximum(bands.T, 1e-12))
    loudest_db = float(decibels.max()) if loudest_db is None else loudest_db
    return np.clip(decibels, loudest_db - MEL_DEPTH_DB, None) - loudest_db, loudest_db


def spectrograms_of(waveforms: Mapping[str, np.ndarray], sample_rate_hz: int) -> dict[str, np.ndarray]:
    """Log-mel spectrograms by their titles, all against the loudest of the original, and differences from it.

    Empty for a clip that is too short for one.
    """
    if len(waveforms["original"]) <= MEL_WINDOW // 2:
        return {}
    _, loudest_db = log_mel(waveforms["original"], sample_rate_hz)
    mel = {TITLES.get(name, name): log_mel(y, sample_rate_hz, loudest_db)[0] for name, y in waveforms.items()}
    first = mel[TITLES["original"]]
    return mel | {f"{title} − original": y - first for title, y in mel.items() if y is not first}


def scale_of(name: str) -> tuple[str, float, float]:
    """Colours and limits [dB] of a spectrogram with this title."""
    return ("RdBu_r", -DIFFERENCE_DB, DIFFERENCE_DB) if "−" in name else ("magma", -MEL_DEPTH_DB, 0.0)


def unit_range(frames: np.ndarray) -> np.ndarray:
    """Each column mapped to [0, 1] by its own minimum and maximum; a constant one is 0."""
    low, high = frames.min(axis=0), frames.max(axis=0)
    return (frames - low) / np.where(high > low, high - low, 1)


def colour_table(name: str) -> bytes:
    """The 256 colours of a colour map of matplotlib, red, green and blue a byte each."""
    return bytes(matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3].tobytes())
