"""python -m docs.waveform RUN: an original test clip against what a run on the demo corpus rebuilds of it.

    python train.py --out runs/demo && python -m docs.waveform runs/demo

draws runs/demo-waveform.svg; -o docs/figures/waveform.svg replaces the picture of the README. Synthetic speech:
recordings of people are not ours to publish.
"""

from __future__ import annotations

from training.launch import end_quietly

if __name__ == "__main__":
    end_quietly("docs.waveform")

import io
import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import pyplot as plt

from inference.model import PHASES, load_run
from nn1d.command import Parser, run_command
from speech.audio import SAMPLE_RATE_HZ, read_waveform
from speech.corpus import find_corpus
from speech.snr import si_sdr
from storage.atomic import write_atomic
from training.checkpoint import CheckpointError
from training.data import DEMO_CLIPS
from training.run_files import RunError, read_config

matplotlib.use("Agg")
SHOWN_S = 0.025
LINES = {
    "original": ("#8a8f98", 3.0),
    "rebuilt with masks, after pre-training": ("#2389b8", 1.2),
    "rebuilt from the representation alone, after fine-tuning": ("#d9730d", 1.2),
}
INK = "#7d8590"  # stands out from white and from black
STYLE: dict[Any, Any] = {
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right"), False),
    "font.size": 9,
    "svg.hashsalt": "nn1d",
}


def waveforms(run: Path) -> tuple[str, list[np.ndarray], int]:
    """The median test clip by SI-SDR: name, original, what each phase rebuilds, and their rate [Hz].

    Shapes
    ------
    run -> name, [(samples,), (samples,), (samples,)], rate

    Raises
    ------
    RunError
        The folder holds no run on the demo corpus that has ended.
    """
    config, settings = read_config(run)
    if settings.db != "demo":
        raise RunError(f"needs a run on the demo corpus; {run} is one on {settings.db}")
    recordings = {recording.name: recording for recording in find_corpus("demo", count=DEMO_CLIPS).recordings}
    models = [load_run(run, phase) for phase in PHASES]
    rate_hz, seconds = SAMPLE_RATE_HZ, settings.clip_samples / SAMPLE_RATE_HZ
    rebuilt_clips = []
    for name in config["split"]["test"]:
        original = read_waveform(recordings[name].source, rate_hz, seconds)
        rebuilt = [model.reconstruct(original, rate_hz) for model in models]
        rebuilt_clips.append((si_sdr(original, rebuilt[-1]), name, [original, *rebuilt]))
    rebuilt_clips.sort(key=lambda clip: clip[0])
    _, name, signals = rebuilt_clips[len(rebuilt_clips) // 2]
    return name, signals, rate_hz


def draw(name: str, signals: list[np.ndarray], rate_hz: int, path: Path) -> None:
    """The whole clip, and under it its loudest moment, the three over each other."""
    original = signals[0]
    size = min(round(SHOWN_S * rate_hz), len(original))
    energy = np.convolve(original.astype(np.float64) ** 2, np.ones(size), "valid")
    first = int(energy.argmax())
    shown = slice(first, first + size)
    with plt.rc_context(STYLE):
        figure, (whole, close) = plt.subplots(2, 1, figsize=(7.4, 3.6), height_ratios=(1, 2.6))
        columns = np.array_split(original, min(300, len(original)))
        seconds = np.cumsum([len(column) for column in columns]) / rate_hz
        whole.fill_between(
            seconds, [column.min() for column in columns], [column.max() for column in columns], color="#8a8f98", lw=0
        )
        whole.axvspan(first / rate_hz, (first + size) / rate_hz, color="#d9730d", lw=1)
        whole.set(xlim=(0, len(original) / rate_hz), yticks=[], title=f"test clip {name} [s]")
        whole.title.set_fontsize(9)
        at_ms = 1e3 * np.arange(first, first + size) / rate_hz
        for (label, (colour, width)), signal in zip(LINES.items(), signals, strict=True):
            judged = "" if signal is original else f": SI-SDR {si_sdr(original, signal):.1f} dB"
            close.plot(at_ms, signal[shown], color=colour, linewidth=width, label=label + judged)
        close.set(xlim=(at_ms[0], at_ms[-1]), yticks=[], xlabel="ms")
        figure.legend(*close.get_legend_handles_labels(), loc="lower center", frameon=False, ncols=1, fontsize=9)
        figure.tight_layout(rect=(0, 0.17, 1, 1))
        picture = io.BytesIO()
        figure.savefig(picture, format=path.suffix[1:] or "svg", transparent=True, metadata={"Date": None})
        plt.close(figure)
    write_atomic(path, picture.getvalue())


def main(arguments: list[str] | None = None) -> int:
    """Draw; 2 where the run cannot be used."""
    parser = Parser(command="docs.waveform", description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder that train.py printed")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: RUN-waveform.svg, beside the run")
    options = parser.parse_args(arguments)
    return run_command("docs.waveform", lambda: _main(options.run, options.output), RunError, CheckpointError)


def _main(run: Path, output: Path | None) -> int:
    output = output or run.resolve().with_name(f"{run.resolve().name}-waveform.svg")
    draw(*waveforms(run), output)
    print(f"written: {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
