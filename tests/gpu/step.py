"""python -m tests.gpu.step: one training step of the paper's network on a GPU, small enough for NVIDIA's sanitizer.

    compute-sanitizer --tool racecheck python -m tests.gpu.step --precision half

The step is launched kernel by kernel, not as a graph.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from benchmarks.gpu import PRECISIONS
from benchmarks.step import clips
from nn1d import Adam, DeviceError, ShapeError, find_device
from nn1d.command import Parser, run_command
from training.configuration import Configuration, ConfigurationError
from training.dual_training import DualTraining
from training.gpu import GpuExecutor


def main(arguments: list[str] | None = None) -> int:
    """Print the loss before the step, and how far it moves the weights; 2 without a GPU."""
    parser = Parser(command="tests.gpu.step", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="(default: %(default)s)")
    parser.add_argument("--clips", type=int, default=2, help="in the step (default: %(default)s)")
    parser.add_argument("--samples", type=int, default=4096, help="length of a clip (default: %(default)s)")
    options = parser.parse_args(arguments)
    return run_command("tests.gpu.step", lambda: _step(options), DeviceError, ConfigurationError, ShapeError)


def _step(options: argparse.Namespace) -> int:
    half = options.precision == "half"
    settings = Configuration(batch_size=options.clips, clip_samples=options.samples, half=half)
    cupy, _ = find_device("gpu", tf32=options.precision == "tf32", half=half)
    training = DualTraining(settings, np.array(clips(options.clips, options.samples)), GpuExecutor(cupy))
    before = training.flat.vector.copy()
    loss, gradient = training.gradient(np.arange(options.clips))
    Adam(settings.learning_rate).step(training.flat.vector, gradient)
    moved = abs(training.flat.vector - before).max()
    print(f"loss {float(loss):.6f}, weights moved by up to {float(moved):.1e}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
