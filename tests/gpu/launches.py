"""python -m tests.gpu.launches: how often a gradient launches each CUDA kernel, its bytes, and the time of a model.

It writes the table in docs/gpu.md. No kernel runs: launches are counted on what stands in for a GPU. The model gives
each launch the longer of two times: its arrays at the bandwidth of the memory, each read or written once, and its
multiplications and ELUs at the peak of the arithmetic. No kernel is as fast as that; nothing is measured.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest

from benchmarks.kernels import PAGE
from nn1d import cuda
from nn1d.command import Parser
from tests.gpu import standin
from tests.gpu.standin.stream import Counts
from training.configuration import Configuration
from training.dual_training import DualTraining
from training.gpu import GpuExecutor

BEGIN, END = "<!-- launches -->\n", "<!-- /launches -->\n"
SAMPLES = 64_000  # of a clip
BATCH, GAP_SECONDS = 64, 1e-6  # clips a launch, and what passes between two launches of a graph: assumed
DEVICES = {"H200": (4.8e12, 67e12 / 2), "H100": (3.35e12, 67e12 / 2)}  # data sheets: bytes, instructions a second
ELU, SLOPE = 13, 6  # instructions: nn1d/cuda/element.cuh


class Launched(NamedTuple):
    """Of one kernel, or of all: how often, the bytes of its arrays, and the seconds of the model on each device."""

    times: int = 0
    moved: int = 0
    seconds: tuple[float, ...] = (0.0,) * len(DEVICES)

    def plus(self, moved: int, instructions: float) -> Launched:
        """With one more launch."""
        each = [max(moved / memory, instructions / arithmetic) for memory, arithmetic in DEVICES.values()]
        seconds = tuple(a + b for a, b in zip(self.seconds, each, strict=True))
        return Launched(self.times + 1, self.moved + moved, seconds)


def instructions(kernel: str, arguments: Sequence[Any]) -> float:
    """Multiplications with their additions, and what ELUs take, of the kernels that have more than a few a number."""
    if kernel == "convolution":
        x, w, _, activated, _, y, *numbers = arguments
        alpha, tiles = numbers[6], -(-y.shape[2] // 64)
        total = y.size // y.shape[2] * w.size + (SLOPE * y.size if activated is not None else 0)
        return float(total + (ELU * x.size * tiles if alpha else 0))
    if kernel == "filter_gradient":
        x, dy, rows, *numbers = arguments
        alpha, outs = numbers[7], dy.shape[2]
        return float(dy.size // outs * (rows.shape[1] - outs) + (ELU * x.size * -(-outs // 16) if alpha else 0))
    return 0.0


def launches(half: bool = False) -> dict[str, Launched]:
    """Of each kernel, in the gradient of one clip; of what CuPy launches by itself only how often."""
    launched: dict[str, Launched] = {}

    def record(x: Any, file: str, kernel: str, *, arguments: Sequence[Any], **sizes: Any) -> None:
        name = kernel.split("<")[0]
        arrays = [value for value in arguments if value is not None and not isinstance(value, np.generic)]
        moved = sum(array.nbytes for array in arrays)
        launched[name] = launched.get(name, Launched()).plus(moved, instructions(name, arguments))

    with pytest.MonkeyPatch.context() as patch:
        cupy = standin.install(patch)
        for name in cuda.__all__:
            patch.setattr(getattr(cuda, name), "launch", record)
        training = DualTraining(Configuration(middle_weight=0, half=half), np.empty((1, 0)), GpuExecutor(cupy))
        x = cupy.zeros((1, SAMPLES), np.float32)
        patch.setattr(training.executor, "mean_gradient", lambda gradient, sources, clips: gradient(x))
        before = Counts.launches
        training.gradient(np.arange(1))
        launched["CuPy's own"] = Launched(Counts.launches - before)
    return launched


def table() -> str:
    """A Markdown table, a kernel a line, and the sum of the model."""
    single, half = launches(), launches(half=True)
    names = " | ".join(f"µs a clip, {name}" for name in DEVICES)
    lines = [f"| kernel | launches | MB a clip | {names} |", "| --- | ---: | ---: |" + " ---: |" * len(DEVICES)]
    for name, (count, moved, seconds) in sorted(single.items()):
        shown = f"`{name}` | {count} | {moved / 1e6:.1f}" if moved else f"{name} | {count} | not counted"
        lines.append(f"| {shown} | " + " | ".join(f"{1e6 * each:.1f}" if moved else "" for each in seconds) + " |")
    count, moved = (sum(part) for part in list(zip(*single.values(), strict=True))[:2])
    less = sum(each.moved for each in half.values())
    totals = [sum(each) for each in zip(*(kernel.seconds for kernel in single.values()), strict=True)]
    lines.append(
        f"| all | {count} | {moved / 1e6:.1f}; with `--half` {less / 1e6:.1f} | "
        + " | ".join(f"{1e6 * each:.1f}" for each in totals)
        + " |"
    )
    gaps = count * GAP_SECONDS / BATCH
    whole = " and ".join(
        f"{1e3 * (each + gaps):.3f} ms a clip on an {name}" for each, name in zip(totals, DEVICES, strict=True)
    )
    lines.append(
        f"\nWith {1e6 * GAP_SECONDS:.0f} µs between two launches, in a batch of {BATCH}, the model says\n{whole}: a "
        "bound that no kernel reaches, not a measurement.\n"
    )
    return "\n".join(lines)


def main() -> int:
    """Write the table into docs/gpu.md."""
    Parser(command="tests.gpu.launches", description=__doc__).parse_args()
    before, rest = PAGE.read_text("utf-8").split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
