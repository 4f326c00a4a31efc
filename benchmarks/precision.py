"""What --tf32 and --half do to the loss: python -m benchmarks.precision --db emodb --limit 120 --seeds 0 1

Both phases are trained in float32, in TF32 and in float16, for each seed: the spread over seeds says what a difference
between precisions is worth. The network that float32 has trained is evaluated in all of them. On a GPU the kernels do
it. Elsewhere NumPy rounds where they do: signals to float16 between layers, and the factors of the products that would
be taken on tensor cores to TF32.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from nn1d.command import Parser, run_command
from training.machine import absent_packages, blas_environment

if __name__ == "__main__" and (sentence := absent_packages()):
    print(f"benchmarks.precision: {sentence}", file=sys.stderr)
    sys.exit(2)

os.environ.update(blas_environment())  # before NumPy loads its BLAS

import numpy as np

from benchmarks.gpu_run import PHASES
from benchmarks.measure import machine, write
from nn1d import cpu, find_device, to_numpy
from nn1d.cuda.convolution import LEAST_CHANNELS
from nn1d.dispatch import FORMS
from speech.clip import Clips
from speech.corpus import NAMES
from speech.recording import CorpusError
from speech.split import Split, split_clips
from training.configuration import Configuration
from training.data import read_corpus
from training.dual_training import DualTraining
from training.machine import available_cores, keep_freed_memory
from training.mpi import choose_executor
from training.seed import generator

PRECISIONS = ("float32", "tf32", "half")
Run = dict[str, Any]


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

    def rounding(form: Callable[..., Any], first_axis: int) -> Callable[..., Any]:
        def rounded(x: np.ndarray, other: np.ndarray, *sizes: Any) -> Any:
            if x.dtype == np.float16:
                return NotImplemented  # is widened first
            if min(x.shape[2], *other.shape[first_axis:]) < LEAST_CHANNELS:
                return form(x, other, *sizes)
            return form(*(to_tf32(np.ascontiguousarray(factor, np.float32)) for factor in (x, other)), *sizes)

        return rounded

    # name -> the first axis of channels of the second factor, filters or a signal
    axes = {"convolve": 1, "convolve_transposed": 1, "filter_gradient": 2}
    with patch.dict(FORMS, {name: [rounding(getattr(cpu, name), axis)] for name, axis in axes.items()}):
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


def trained(settings: Configuration, precision: str, clips: Clips, module: Any) -> Run:
    """Both phases: test losses, seconds, the gradient before the first step, and the network after each phase."""
    split = split_of(settings, clips)
    started = time.perf_counter()
    with choose_executor(module, available_cores()) as executor, environment(precision, module):
        training, progress = DualTraining(settings, clips.samples, executor), precision if sys.stderr.isatty() else None
        run: Run = {"precision": precision, "seed": settings.seed}
        run["gradient"] = to_numpy(training.gradient(split.train[:4])[1])
        training.pre_training(split.train, split.validation).run(progress=progress)
        run["networks"] = [to_numpy(training.flat.vector).copy()]
        features = np.stack(list(training.encode(range(len(clips)))))
        losses = [training.evaluate_autoencoder(split.test).loss]
        training.fine_tuning(features, split.train, split.validation).run(
            progress=precision if sys.stderr.isatty() else None
        )
        run["networks"].append(to_numpy(training.flat.vector).copy())
        losses.append(training.evaluate_decoder(features, split.test).loss)
    return run | dict(zip(PHASES, losses, strict=True)) | {
        "seconds": time.perf_counter() - started, "halvings": training.scaler.log2_backoff,
    }  # fmt: skip


def evaluated(
    settings: Configuration, precision: str, clips: Clips, module: Any, networks: Sequence[np.ndarray]
) -> dict[str, float]:
    """The test losses of networks that are there, one after each phase, computed in a precision."""
    test = split_of(settings, clips).test
    with choose_executor(module, available_cores()) as executor, environment(precision, module):
        training = DualTraining(settings, clips.samples, executor)
        training.flat.vector[...] = module.asarray(networks[0])
        whole = training.evaluate_autoencoder(test).loss
        features = np.zeros((len(clips), *training.representation_shape), np.float32)
        features[test] = list(training.encode(test))
        training.flat.vector[...] = module.asarray(networks[1])
        return dict(zip(PHASES, (whole, training.evaluate_decoder(features, test).loss), strict=True))


def split_of(settings: Configuration, clips: Clips) -> Split:
    """As a run of train.py splits them."""
    speakers, rng = [recording.speaker for recording in clips.recordings], generator(settings.seed, "split")
    return split_clips(speakers, by=settings.split, validate_on=settings.validate_on, rng=rng)


def lines(runs: Sequence[Run]) -> list[str]:
    """A table in Markdown: what the precision does to a gradient, to a network that is there, and to training."""
    head = ["precision", "seed", "gradient off by", "same network, phase 1", "phase 2", "trained, phase 1", "phase 2"]
    full = {run["seed"]: run for run in runs if run["precision"] == "float32"}
    rows = [head, ["---"] * len(head)]
    for run in runs:
        in_float32 = full[run["seed"]]
        same = [f"{100 * (run['same_network'][phase] / in_float32[phase] - 1):+.2f} %" for phase in PHASES]
        learned = [f"{run[phase]:.3e} ({100 * (run[phase] / in_float32[phase] - 1):+.1f} %)" for phase in PHASES]
        rows.append([run["precision"], str(run["seed"]), f"{run['gradient_error']:.1e}", *same, *learned])
    return [f"| {' | '.join(row)} |" for row in rows]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code: 0 done, 2 a mistake in the input."""
    parser = Parser(command="benchmarks.precision", description=(__doc__ or "").split(":")[0])
    parser.add_argument("--db", choices=NAMES, default="demo", help="whose clips are learned (default: demo)")
    parser.add_argument("--data-dir", type=Path, metavar="PATH", help="where they are")
    parser.add_argument("--limit", type=int, metavar="N", help="how many; all unless given")
    parser.add_argument("--epochs", type=int, default=10, metavar="N", help="of each phase (default: 10)")
    parser.add_argument("--clip-samples", type=int, default=64_000, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="N", help="(default: 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    runs: list[Run] = []
    try:
        settings = Configuration(
            db=options.db, limit=options.limit, clip_samples=options.clip_samples, epochs=options.epochs,
            fine_tune_epochs=options.epochs, patience=options.epochs,
        )  # fmt: skip
        clips, _, _ = read_corpus(settings, options.data_dir, available_cores())
        module, sentence = find_device("auto")
        print(sentence if module is not np else f"{sentence}; NumPy rounds as the kernels do", flush=True)
        for seed in options.seeds:
            full: Run = {}
            for precision in PRECISIONS:
                run_settings = Configuration.read(settings.written() | {"seed": seed, "half": precision == "half"})
                run = trained(run_settings, precision, clips, module)
                full = full or dict(run)
                run["same_network"] = evaluated(run_settings, precision, clips, module, full["networks"])
                difference = run.pop("gradient") - full["gradient"]
                run["gradient_error"] = float(np.linalg.norm(difference) / np.linalg.norm(full["gradient"]))
                del run["networks"]
                runs.append(run)
                print(f"{precision}, seed {seed}: {run['seconds']:.0f} s", flush=True)
    except (CorpusError, ValueError) as error:
        print(f"benchmarks.precision: {error}", file=sys.stderr)
        return 2
    print(*lines(runs), sep="\n")
    write(options.json, {"machine": machine(), "device": sentence, "settings": settings.written(), "runs": runs})
    return 0


if __name__ == "__main__":
    sys.exit(run_command("benchmarks.precision", main))
