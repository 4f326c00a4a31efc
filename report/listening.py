"""The listening page of a run: report.html, metrics.csv, figures/ and audio/, and the distortion in results.json.

All of it is made from what the run's folder holds and from the clips, so it can be made again at any time.
"""

from __future__ import annotations

import csv
import math
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from tqdm import tqdm

from inference.ablation import TITLES as NETWORKS
from inference.ablation import WORDS
from inference.features import STATISTICS
from inference.model import PHASES, load_run
from report import figure, sound
from report.emotion import emotion_section
from report.judgement import Judgement, judge, metric_rows, summary, waveform
from report.pca import principal_plane
from report.selection import select
from report.table import paper_table
from speech.audio import SAMPLE_RATE_HZ
from speech.clip import Clips
from speech.corpus import corpus_title
from speech.distortion import MEASURES, missing
from speech.split import Split
from speech.worst_segments import distortion_over_time
from training.run_folder import RunFolder, read_config
from training.seed import generator
from training.workers import Workers

PAGE_BYTES = 15_000_000
PLAYER_BYTES = 9_000_000  # of them for the players' sounds, before they are written as text
MADE = {"figures": ("*.svg", "*.png"), "audio": ("*.wav",)}
COLUMNS = 800  # of a waveform in the page
CHANNEL_COLUMNS = 500
CURVE_DB = (-40, 20)
MAP_SIZE, MAP_MARGIN = (600, 420), 14
RUN_PHASES = dict(zip(("pre_training", "fine_tuning"), PHASES, strict=True))


def publish(
    run: RunFolder,
    clips: Clips,
    split: Split,
    threads: int,
    progress: bool = False,
    on_clip: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Judge a run's test clips, write all that shows it, and give results.json as it is then.

    Parameters
    ----------
    run : RunFolder
        Of a run that has come to its end.
    clips : Clips
        All that the run worked on.
    split : Split
    threads : int > 0
    progress : bool
        Show bars.
    on_clip : function
        Called before each clip is judged or drawn; what it raises ends the work.

    Raises
    ------
    RunError, CheckpointError
        The run has not ended, or its files are damaged or cannot be written.
    """
    config, settings = read_config(run.path, "report")
    results = run.read_results()
    models = {phase: load_run(run.path, weights, threads) for phase, weights in RUN_PHASES.items()}
    with Workers(threads) as workers:
        judging = judge(models, clips, np.sort(split.test).tolist(), SAMPLE_RATE_HZ, workers, on_clip)
        total = len(split.test) * len(models)
        judgements = list(tqdm(judging, "judging", total, unit=" clips", disable=None if progress else True))
    results["distortion"] = summary(judgements, generator(settings.seed, "bootstrap"))
    run.write_results(results)
    rows = metric_rows(judgements, clips)
    run.write_metrics(rows)

    first = [judgement for judgement in judgements if judgement.phase == "pre_training"]
    labels = [clips.recordings[judgement.clip].label for judgement in first]
    chosen = select([judgement.values["si_sdr_db"] for judgement in first], labels)
    seconds = [float(clips.valid[first[at].clip]) / SAMPLE_RATE_HZ for at, _ in chosen]
    encode, count = sound.fitting([(1 + len(models)) * each for each in seconds], SAMPLE_RATE_HZ, PLAYER_BYTES)
    chosen = chosen[:count]
    features = np.load(run.path / "features.npy", mmap_mode="r")
    step = next(iter(models.values())).step
    with run.writing():
        for folder, patterns in MADE.items():
            (run.path / folder).mkdir(exist_ok=True)
            for path in [path for pattern in patterns for path in (run.path / folder).glob(pattern)]:
                path.unlink()
        shown = []
        bar = tqdm(chosen, "drawing", unit=" clips", disable=None if progress else True)
        for number, (at, why) in enumerate(bar, 1):
            on_clip()
            i = first[at].clip
            sounds = {"original": clips.waveform(i)} | {
                name: waveform(model, clips, i) for name, model in models.items()
            }
            frames = np.asarray(features[i, : math.ceil(clips.valid[i] / step)])
            own = [judgement for judgement in judgements if judgement.clip == i]
            shown.append(_shown_clip(run.path, number, clips, i, why, sounds, encode, frames, own))
        content = {
            "losses": _losses(run.path, results),
            "clips": shown,
            "distributions": _distributions(run.path, rows),
            "map": _map(run.path, features, clips, step),
            "emotion": emotion_section(run.path, features, clips, step),
            **_words(config, settings.db, results, split, clips),
        }
        page = _render(content, {})
        run.write_page(_render(content, _sounds(clips, PAGE_BYTES - len(page.encode()))))
    return results


def _render(content: dict[str, Any], sounds: Mapping[str, str]) -> str:
    here = Path(__file__).parent
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string((here / "page.html").read_text("utf-8"))
    hint = "Hover or use the arrow keys to see a name, click or press Enter to listen."
    if len(sounds) < len(content["map"]["points"]):
        hint += f" The page has room for the sound of {len(sounds)} of {len(content['map']['points'])} clips."
    own = {
        "css": jinja2.utils.markupsafe.Markup((here / "page.css").read_text("utf-8")),
        "script": jinja2.utils.markupsafe.Markup((here / "page.js").read_text("utf-8")),
        "map": content["map"] | {"sounds": sounds, "hint": hint},
    }
    return template.render(content | own)


def _words(
    config: Mapping[str, Any], db: str, results: Mapping[str, Any], split: Split, clips: Clips
) -> dict[str, Any]:
    """What the page says in tables and sentences."""
    distortion = results["distortion"]
    medians = {phase: {name: figures["median"] for name, figures in own.items()} for phase, own in distortion.items()}
    lead = [
        f"{figure.TITLES[phase]}: SI-SDR {_number(own['si_sdr_db'], 'dB')}, ESTOI {_number(own['estoi'])}, "
        f"PESQ {_number(own['pesq'])}"
        for phase, own in medians.items()
    ]
    machine = config.get("machine", {})
    around = {
        "git commit": config.get("git_commit"),
        "Python, NumPy": f"{config.get('python')}, {config.get('numpy')}",
        "processor": f"{machine.get('processor')}, {machine.get('cores')} cores, {config.get('threads')} threads",
        "system": machine.get("system"),
        "corpus": config.get("corpus"),
    }
    return {
        "title": f"{corpus_title(db)}: what the network makes of speech",
        "lead": f"Medians of {len(split.test)} test clips: {'; '.join(lead)}.",
        "table": paper_table(results),
        "command": shlex.join(["python", *config.get("command", [])]),
        "test_clips": len(split.test),
        "missing": missing(SAMPLE_RATE_HZ),
        "summary_columns": [
            *(f"{title}: {word}" for title in ("pre-training", "fine-tuning") for word in ("median", "mean [95 %]")),
            "undefined",
        ],
        "summary_rows": [
            (_title(name), _summary_cells([distortion[p][name] for p in RUN_PHASES])) for name in MEASURES
        ],
        "finding": results["masks"]["summary"],
        "masks": [_mask_table(phase, results["masks"][phase]) for phase in RUN_PHASES],
        "split": [
            *((part, [len(getattr(split, part))]) for part in ("train", "validation", "test")),
            ("left out", [len(config.get("left_out", []))]),
        ],
        "settings": [(name, [value]) for name, value in config["settings"].items()],
        "surroundings": [(name, [value]) for name, value in around.items()],
    }


def _mask_table(phase: str, found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "title": f"The {NETWORKS[phase]} decoder with",
        "columns": ["test MSE", "SI-SDR [dB]", "representation [kbit/s]", "masks [kbit/s]", "together [kbit/s]"],
        "rows": [
            (
                words,
                [
                    f"{found[kind]['test_mse']:.3g}",
                    _number(found[kind]["test_si_sdr_db"]),
                    *(
                        f"{found[kind][f'{part}bits_per_second'] / 1000:,.0f}"
                        for part in ("representation_", "mask_", "")
                    ),
                ],
            )
            for kind, words in WORDS.items()
        ],
    }


def _losses(run: Path, results: Mapping[str, Any]) -> list[dict[str, str]]:
    with (run / "history.csv").open(encoding="utf-8", newline="") as file:
        epochs = list(csv.DictReader(file))
    drawn = []
    for phase, title in (("pre_training", "Pre-training"), ("fine_tuning", "Fine-tuning")):
        own, best = [epoch for epoch in epochs if epoch["phase"] == phase], results[phase]["best_epoch"]
        svg = figure.write_figure(run / "figures", f"loss-{phase}", figure.draw_loss(own, best, title))
        alt = f"{title}: loss over {len(own)} epochs, best at {best}"
        drawn.append({"uri": _svg(svg), "alt": alt})
    return drawn


def _distributions(run: Path, rows: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    numbers = [row | {name: float(row[name]) for name in MEASURES} for row in rows]
    drawn = []
    for name, about in MEASURES.items():
        if not any(math.isfinite(row[name]) for row in numbers):
            continue
        svg = figure.write_figure(run / "figures", f"distribution-{name}", figure.draw_distribution(name, numbers))
        meaning = (
            f"{about.title}: {about.meaning}. Values {about.limits}; {about.better} is better. Source: {about.source}."
        )
        alt = f"Distribution of {about.title} by phase, label and speaker"
        drawn.append({"title": about.title, "meaning": meaning, "uri": _svg(svg), "alt": alt})
    return drawn


def _shown_clip(
    run: Path,
    number: int,
    clips: Clips,
    i: int,
    why: str,
    sounds: Mapping[str, np.ndarray],
    encode: sound.Encode,
    frames: np.ndarray,
    judgements: Sequence[Judgement],
) -> dict[str, Any]:
    """One clip: its files under figures/ and audio/, and what the page shows of it."""
    recording, seconds = clips.recordings[i], float(clips.valid[i]) / SAMPLE_RATE_HZ
    stem = f"{number:02d}-{re.sub(r'[^A-Za-z0-9_-]+', '-', recording.name)[:60]}"
    title = f"{recording.name} ({why})"
    for name, samples in sounds.items():
        sound.write_wav(run / "audio" / f"{stem}.{name}.wav", samples, SAMPLE_RATE_HZ)
    spectrograms = figure.spectrograms_of(sounds, SAMPLE_RATE_HZ)
    folder = run / "figures"
    figure.write_figure(folder, f"{stem}-waveform", figure.draw_waveforms(sounds, SAMPLE_RATE_HZ, title))
    if spectrograms:
        figure.write_figure(folder, f"{stem}-spectrogram", figure.draw_spectrograms(spectrograms, seconds, title))
    figure.write_figure(folder, f"{stem}-representation", figure.draw_representation(frames, seconds, title))
    images = [
        {"title": name, "uri": figure.data_uri("image/png", figure.picture(values[::-1], *figure.scale_of(name)))}
        for name, values in spectrograms.items()
    ]
    channels = figure.unit_range(_shortened(frames, CHANNEL_COLUMNS)).T
    images.append(
        {
            "title": f"representation: {len(channels)} channels, each on its own range",
            "uri": figure.data_uri("image/png", figure.picture(channels, "viridis", 0, 1)),
        }
    )
    original = sounds["original"]
    curves = [distortion_over_time(original, sounds[each.phase], SAMPLE_RATE_HZ) for each in judgements]
    low, high = CURVE_DB
    peak = max(float(abs(samples).max()) for samples in sounds.values()) or 1.0
    tick = next(step for step in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 600.0) if seconds / step <= 6)
    described = [
        word for word in (recording.label, f"speaker {recording.speaker}" if recording.speaker else "") if word
    ]
    return {
        "number": number,
        "name": recording.name,
        "why": why,
        "about": ", ".join([*described, f"{seconds:.2f} s"]),
        "seconds": round(seconds, 4),
        "sounds": [
            {"title": figure.TITLES[name], "uri": figure.data_uri(*encode(samples, SAMPLE_RATE_HZ))}
            for name, samples in sounds.items()
        ],
        "columns": COLUMNS,
        "waves": [_outline(samples / peak) for samples in sounds.values()],
        "curves": [_line(curve, seconds) for curve in curves if len(curve.seconds) and not np.isnan(curve[1]).any()],
        "low_db": low,
        "high_db": high,
        "zero": round(100 * high / (high - low), 1),
        "images": images,
        "ticks": [
            {"percent": round(100 * k * tick / seconds, 2), "text": f"{k * tick:g} s"}
            for k in range(int(seconds / tick) + 1)
        ],
        "moments": [
            {
                "title": figure.TITLES[each.phase],
                "version": list(sounds).index(each.phase),
                "moments": [
                    {
                        "start": round(max(moment.start_s, 0), 3),
                        "text": f"{moment.start_s:.2f} to {moment.end_s:.2f} s: {moment.noise_to_signal_db:+.1f} dB",
                    }
                    for moment in each.moments
                ],
            }
            for each in judgements
        ],
        "phases": [figure.TITLES[each.phase] for each in judgements],
        "measures": [(_title(name), [_number(each.values[name]) for each in judgements]) for name in MEASURES],
    }


def _map(run: Path, features: np.ndarray, clips: Clips, step: int) -> dict[str, Any]:
    """All clips on the plane in which their representations differ most."""
    table = np.array(
        [
            np.concatenate([statistic(own) for statistic in STATISTICS.values()])
            for own in (np.asarray(features[i, : math.ceil(clips.valid[i] / step)]) for i in range(len(clips)))
        ]
    )
    xy, share = principal_plane(table)
    kinds = {"label": [r.label for r in clips.recordings], "speaker": [r.speaker for r in clips.recordings]}
    kinds = {key: names for key, names in kinds.items() if len(set(names)) > 1} or {"label": kinds["label"]}
    colours = {
        key: {name: figure.PALETTE[k % len(figure.PALETTE)] for k, name in enumerate(sorted(set(names)))}
        for key, names in kinds.items()
    }
    for key, names in kinds.items():
        figure.write_figure(run / "figures", f"map-{key}", figure.draw_map(xy, share, names, f"all clips by {key}"))
    low, extent = xy.min(axis=0), np.ptp(xy, axis=0)
    at = (xy - low) / np.where(extent > 0, extent, 1)
    size = np.array(MAP_SIZE) - 2 * MAP_MARGIN
    places = MAP_MARGIN + np.stack([at[:, 0], 1 - at[:, 1]], 1) * size
    return {
        "about": (
            f"Each of the {len(clips)} clips, training clips too, is a point: mean, deviation and maximum of its "
            f"{features.shape[2]} channels over time, projected on the two directions in which the clips differ most "
            f"({share[0]:.0%} and {share[1]:.0%} of the variance)."
        ),
        "kinds": [
            {"name": key, "legend": [{"name": name or "-", "colour": colour} for name, colour in own.items()]}
            for key, own in colours.items()
        ],
        "points": [
            {
                "x": round(float(places[i, 0]), 1),
                "y": round(float(places[i, 1]), 1),
                "clip": i,
                "name": recording.name,
                "about": ", ".join([recording.label or "no label", f"speaker {recording.speaker or 'not known'}"]),
                "colours": [colours[key][kinds[key][i]] for key in kinds],
            }
            for i, recording in enumerate(clips.recordings)
        ],
    }


def _sounds(clips: Clips, room: int) -> dict[str, str]:
    """Small sounds of as many clips as there is room for in bytes, spread evenly over the corpus."""
    order = np.argsort(np.arange(len(clips)) * 0.6180339887 % 1)  # any first part of it is spread evenly
    found: dict[str, str] = {}
    room -= 1000
    for i in order.tolist():
        uri = figure.data_uri(*sound.small(clips.waveform(i), SAMPLE_RATE_HZ))
        room -= len(uri) + 20
        if room < 0:
            break
        found[str(i)] = uri
    return found


def _outline(samples: np.ndarray) -> str:
    """A waveform in [-1, 1] as the outline of its minima and maxima, 100 units high."""
    _, low, high = figure.envelope(samples, COLUMNS)
    upper = [f"{x} {-100 * y:.1f}" for x, y in enumerate(high)]
    lower = [f"{x} {-100 * y:.1f}" for x, y in reversed(list(enumerate(low)))]
    return f"M{'L'.join([*upper, *lower])}Z"


def _line(curve: tuple[np.ndarray, np.ndarray], seconds: float) -> str:
    low, high = CURVE_DB
    xs, ys = COLUMNS * curve[0] / seconds, 100 * (high - np.clip(curve[1], low, high)) / (high - low)
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in zip(xs, ys, strict=True))


def _shortened(frames: np.ndarray, columns: int) -> np.ndarray:
    """Frames averaged to at most this many."""
    if len(frames) <= columns:
        return frames
    edges = np.linspace(0, len(frames), columns + 1).astype(int)
    return np.add.reduceat(frames, edges[:-1]) / np.diff(edges)[:, None]


def _svg(text: str) -> str:
    return figure.data_uri("image/svg+xml", figure.themed(text))


def _title(measure: str) -> str:
    about = MEASURES[measure]
    unit = "" if about.unit == "1" else f" [{about.unit}]"
    return f"{'↑' if about.better == 'higher' else '↓'} {about.title}{unit}"


def _summary_cells(phases: Sequence[Mapping[str, Any]]) -> list[str]:
    cells = []
    for own in phases:
        cells += [_number(own["median"]), f"{_number(own['mean'])} [{_number(own['low'])}, {_number(own['high'])}]"]
    return [*cells, " and ".join(str(own["undefined"] + own["infinite"]) for own in phases)]


def _number(value: float | None, unit: str = "") -> str:
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.3g}{' ' if unit else ''}{unit}"
