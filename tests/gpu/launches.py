"""python -m tests.gpu.launches: how often a gradient launches each CUDA kernel, and the bytes of its arrays.

It writes the table in docs/gpu.md. No kernel runs: launches are counted on what stands in for a GPU.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from benchmarks.kernels import PAGE
from nn1d import cuda
from nn1d.command import Parser
from tests.gpu import standin
from training.configuration import Configuration
from training.dual_training import DualTraining
from training.gpu import GpuExecutor

BEGIN, END = "<!-- launches -->\n", "<!-- /launches -->\n"
SAMPLES = 64_000  # of a clip


def launches(half: bool = False) -> dict[str, tuple[int, int]]:
    """Of each kernel how often the gradient of one clip launches it, and the bytes of its arrays."""
    found: dict[str, tuple[int, int]] = {}

    def record(x: Any, file: str, kernel: str, *, arguments: Sequence[Any], **sizes: Any) -> None:
        name = kernel.split("<")[0]
        count, moved = found.get(name, (0, 0))
        arrays = [value for value in arguments if value is not None and not isinstance(value, np.generic)]
        found[name] = count + 1, moved + sum(array.nbytes for array in arrays)

    with pytest.MonkeyPatch.context() as patch:
        cupy = standin.install(patch)
        for name in cuda.__all__:
            patch.setattr(getattr(cuda, name), "launch", record)
        training = DualTraining(Configuration(middle_weight=0, half=half), np.empty((1, 0)), GpuExecutor(cupy))
        x = cupy.zeros((1, SAMPLES), np.float32)
        patch.setattr(training.executor, "mean_gradient", lambda gradient, sources, clips: gradient(x))
        training.gradient(np.arange(1))
    return found


def table() -> str:
    """A Markdown table, a kernel a line."""
    single, half = launches(), launches(half=True)
    lines = ["| kernel | launches | MB a clip |", "| --- | ---: | ---: |"]
    lines += [f"| `{name}` | {count} | {moved / 1e6:.1f} |" for name, (count, moved) in sorted(single.items())]
    counts, moved = zip(*single.values(), strict=True)
    less = sum(size for _, size in half.values())
    return "\n".join([*lines, f"| all | {sum(counts)} | {sum(moved) / 1e6:.1f}; with `--half` {less / 1e6:.1f} |\n"])


def main() -> int:
    """Write the table into docs/gpu.md."""
    Parser(command="tests.gpu.launches", description=__doc__).parse_args()
    before, rest = PAGE.read_text("utf-8").split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
