"""What the measures of distortion say of damage that is known: python -m benchmarks.calibration --db emodb --limit 20

White noise at 0 to 40 dB, and low-pass filters at 1, 2 and 4 kHz. It writes docs/figures/distortion-calibration.svg and
.json and prints the table of docs/distortion.md.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nn1d.command import Parser, run_command
from training.machine import blas_environment

os.environ.update(blas_environment())  # before NumPy loads its BLAS

import numpy as np
from matplotlib.figure import Figure
from scipy.signal import butter, sosfiltfilt
from tqdm import tqdm

from report.figure import COLOURS, styled, svg_text, themed
from speech.audio import SAMPLE_RATE_HZ
from speech.clip import Clips
from speech.corpus import NAMES
from speech.distortion import MEASURES, measure
from speech.recording import CorpusError
from training.configuration import Configuration
from training.data import read_corpus
from training.machine import available_cores
from training.workers import Workers

NOISE_DB = (0, 5, 10, 15, 20, 25, 30, 35, 40)
LOW_PASS_HZ = (1000, 2000, 4000)
ORDER = 8  # of the low-pass, run forwards and backwards: no delay
PLACE = Path(__file__).parents[1] / "docs" / "figures"


def noisy(x: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """A waveform with white noise that is snr_db weaker than it.

    Shapes
    ------
    x (samples,) -> the same
    """
    noise = rng.standard_normal(len(x))
    return x + noise * np.sqrt((x**2).sum() / (noise**2).sum() / 10 ** (snr_db / 10))


def low_passed(x: np.ndarray, cut_hz: float, sample_rate_hz: int) -> np.ndarray:
    """A waveform without what is above cut_hz: a Butterworth filter of order 8, forwards and backwards.

    Shapes
    ------
    x (samples,) -> the same
    """
    return np.asarray(sosfiltfilt(butter(ORDER, cut_hz, fs=sample_rate_hz, output="sos"), x))


def calibrate(clips: Clips, sample_rate_hz: int, workers: Workers, progress: bool = False) -> dict[str, dict[str, Any]]:
    """Damage -> measure -> median over clips; None where it is undefined for all of them.

    The names are "noise 0 dB" ... and "low-pass 1000 Hz" ...
    """
    damages: dict[str, Any] = {f"noise {db} dB": (noisy, db) for db in NOISE_DB}
    damages |= {f"low-pass {hz} Hz": (low_passed, hz) for hz in LOW_PASS_HZ}

    def one(i: int) -> list[dict[str, float]]:
        x = clips.waveform(i).astype(np.float64)
        rng = np.random.default_rng([0, i])
        damaged = [do(x, much, rng if do is noisy else sample_rate_hz) for do, much in damages.values()]
        return [measure(x, y, sample_rate_hz, float(clips.scale[i])) for y in damaged]

    clip_rows = list(tqdm(workers.map(one, range(len(clips))), "clips", len(clips), disable=None if progress else True))
    measured: dict[str, dict[str, Any]] = {}
    for k, damage in enumerate(damages):
        measured[damage] = {}
        for name in MEASURES:
            values = np.array([rows[k][name] for rows in clip_rows])
            known = values[np.isfinite(values)]
            measured[damage][name] = float(f"{round(float(np.median(known)), 9) + 0:.4g}") if len(known) else None
    return measured


@styled
def draw(measured: dict[str, dict[str, Any]]) -> Figure:
    """A panel for each measure: its value against the level of the noise, and lines for the low-pass filters."""
    figure = Figure((8, 9))
    panels = figure.subplots(5, 3).ravel()
    for axes, (name, about) in zip(panels, MEASURES.items(), strict=False):
        values = [measured[f"noise {db} dB"][name] for db in NOISE_DB]
        axes.plot(NOISE_DB, [np.nan if v is None else v for v in values], ".-", color=COLOURS["pre_training"])
        for hz in LOW_PASS_HZ:
            value = measured[f"low-pass {hz} Hz"][name]
            if value is not None:
                axes.axhline(value, color=COLOURS["fine_tuning"], linewidth=1, linestyle="--")
                axes.annotate(f"{hz // 1000} kHz", (NOISE_DB[-1], value), ha="right", va="bottom", fontsize=7)
        axes.set(title=about.title + ("" if about.unit == "1" else f" [{about.unit}]"))
        if name == "mse":
            axes.set(yscale="log")
            axes.yaxis.set_major_formatter("{x:g}")
    for axes in panels[len(MEASURES) :]:
        axes.set_axis_off()
    figure.supxlabel("SNR of white noise [dB]; dashed: low-pass filters")
    return figure


def table(measured: dict[str, dict[str, Any]]) -> str:
    """The medians in Markdown."""
    head = ["damage", *(f"`{name}`" for name in MEASURES)]
    rows = [head, ["---"] * len(head)]
    for damage, values in measured.items():
        rows.append([damage, *("-" if values[name] is None else f"{values[name]:g}" for name in MEASURES)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code: 0 done, 2 a mistake in the input."""
    parser = Parser(command="benchmarks.calibration", description="Measures of known damage.")
    parser.add_argument("--db", choices=NAMES, default="demo", help="whose clips are damaged (default: demo)")
    parser.add_argument("--data-dir", type=Path, metavar="PATH", help="where they are")
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="how many (default: 20)")
    parser.add_argument("--out", type=Path, default=PLACE, metavar="FOLDER", help="for figure and numbers")
    options = parser.parse_args(arguments)
    try:
        settings = Configuration(db=options.db, limit=options.limit)
        clips, _, _ = read_corpus(settings, options.data_dir, available_cores())
        with Workers(available_cores()) as workers:
            measured = calibrate(clips, SAMPLE_RATE_HZ, workers, sys.stderr.isatty())
        (options.out / "distortion-calibration.svg").write_text(themed(svg_text(draw(measured))), "utf-8")
        (options.out / "distortion-calibration.json").write_text(json.dumps(measured, indent=2) + "\n", "utf-8")
    except (CorpusError, ValueError) as error:
        print(f"benchmarks.calibration: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"benchmarks.calibration: {options.out} cannot be written: {error.strerror}", file=sys.stderr)
        return 2
    print(table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(run_command("benchmarks.calibration", main))
