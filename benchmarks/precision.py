"""What --tf32 and --half do to the loss: python -m benchmarks.precision --db emodb --limit 120 --seeds 0 1

Both phases are trained in float32, in TF32 and in float16, for each seed: the spread over seeds says what a difference
between precisions is worth. On a GPU the kernels do it. Elsewhere NumPy rounds where they do: signals to float16
between layers, and the factors of the products that would be taken on tensor cores to TF32.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from models.processor import blas_environment

os.environ.update(blas_environment())  # before NumPy loads its BLAS

import numpy as np

import train
from benchmarks.measure import machine, write
from models.configuration import Configuration
from models.dual_training import DualTraining, generator
from models.split import split_clips
from models.worker import Workers, available_cores, keep_freed_memory
from nn1d import conv, find_device, to_numpy
from nn1d.cuda.convolution import LEAST_CHANNELS
from speech.clip import Clips
from speech.corpus import NAMES
from speech.recording import CorpusError

PRECISIONS = ("float32", "tf32", "half")
Found = dict[str, Any]


def to_tf32(x: np.ndarray) -> np.ndarray:
    """The nearest numbers with 11 binary digits, of two the larger, as the kernels round what they multiply.

    Shapes
    ------
    x float32 of any shape -> the same
    """
    bits = x.view(np.uint32) + np.uint32(0x1000)
    bits &= np.uint32(0xFFFFE000)
    return bits.view(np.float32)


@contextmanager
def products_in_tf32() -> Iterator[None]:
    """Within, NumPy's convolutions multiply as those on tensor cores do, where these would be taken."""

    def rounding(slope: Callable[..., Any]) -> Callable[..., Any]:
        def rounded(x: np.ndarray, other: np.ndarray, *sizes: int) -> Any:
            if min(x.shape[2], other.shape[2]) < LEAST_CHANNELS:
                return slope(x, other, *sizes)
            wide = (np.ascontiguousarray(each, np.float32) for each in (x, other))
            return slope(*map(to_tf32, wide), *sizes)

        return rounded

    with patch.multiple(conv, slope_in_y=rounding(conv.slope_in_y), slope_in_w=rounding(conv.slope_in_w)):
        yield


@contextmanager
def environment(precision: str, module: Any) -> Iterator[None]:
    """Within, products are taken as the precision has them."""
    if module is not np:
        with patch.dict(os.environ, CUPY_TF32=str(int(precision == "tf32"))):
            yield
    elif precision == "float32":
        yield
    else:
        with products_in_tf32():
            yield


def trained(settings: Configuration, precision: str, clips: Clips, module: Any) -> Found:
    """Both phases: test losses, seconds, and the gradient before the first step."""
    split = split_clips(
        [recording.speaker for recording in clips.recordings],
        by=settings.split, validate_on=settings.validate_on, rng=generator(settings.seed, "split"),
    )  # fmt: skip
    started = time.perf_counter()
    with Workers(available_cores() if module is np else 1) as workers, environment(precision, module):
        training = DualTraining(settings, clips.samples, workers, module)
        gradient = to_numpy(training.whole_gradient(split.train[:4])[1])
        training.pre_training(split.train, split.validation).run(progress=sys.stderr.isatty())
        pre_trained = training.judge_whole(split.test).loss
        features = np.stack(list(training.encode(range(len(clips)))))
        training.fine_tuning(features, split.train, split.validation).run(progress=sys.stderr.isatty())
        fine_tuned = training.judge_decoder(features, split.test).loss
    seconds = time.perf_counter() - started
    return {"precision": precision, "seed": settings.seed, "pre_training": pre_trained, "fine_tuning": fine_tuned,
            "seconds": seconds, "halvings": training._precision.halvings, "gradient": gradient}  # fmt: skip


def lines(found: Sequence[Found]) -> list[str]:
    """A table in Markdown: test losses, each as it is and as a ratio to float32 with the same seed."""
    text = ["| precision | seed | gradient off by | test loss, phase 1 | to float32 | phase 2 | to float32 |",
            "| --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    full = {each["seed"]: each for each in found if each["precision"] == "float32"}
    for each in found:
        cells = [each["precision"], str(each["seed"]), f"{each['gradient_error']:.1e}"]
        for phase in ("pre_training", "fine_tuning"):
            cells += [f"{each[phase]:.3e}", f"{each[phase] / full[each['seed']][phase]:.3f}"]
        text.append(f"| {' | '.join(cells)} |")
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code: 0 done, 2 a mistake in the input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precision", description=(__doc__ or "").split(":")[0])
    parser.add_argument("--db", choices=NAMES, default="demo", help="whose clips are learned (default: demo)")
    parser.add_argument("--data-dir", type=Path, metavar="PATH", help="where they are")
    parser.add_argument("--limit", type=int, metavar="N", help="how many; all unless given")
    parser.add_argument("--epochs", type=int, default=10, metavar="N", help="of each phase (default: 10)")
    parser.add_argument("--clip-samples", type=int, default=64_000, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="N", help="(default: 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    found: list[Found] = []
    try:
        settings = Configuration(
            db=options.db, limit=options.limit, clip_samples=options.clip_samples, epochs=options.epochs,
            fine_tune_epochs=options.epochs, patience=options.epochs,
        )  # fmt: skip
        clips, _, _ = train.read_corpus(settings, options.data_dir, available_cores())
        module, sentence = find_device("auto")
        print(sentence if module is not np else f"{sentence}; NumPy rounds as the kernels do", flush=True)
        for seed in options.seeds:
            full = None
            for precision in PRECISIONS:
                own = Configuration.read(settings.written() | {"seed": seed, "half": precision == "half"})
                found.append(trained(own, precision, clips, module))
                gradient = found[-1].pop("gradient")
                full = gradient if full is None else full
                found[-1]["gradient_error"] = float(np.linalg.norm(gradient - full) / np.linalg.norm(full))
                print(f"{precision}, seed {seed}: {found[-1]['seconds']:.0f} s", flush=True)
    except (CorpusError, ValueError) as error:
        print(f"benchmarks.precision: {error}", file=sys.stderr)
        return 2
    print(*lines(found), sep="\n")
    write(options.json, {"machine": machine(), "device": sentence, "settings": settings.written(), "runs": found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
