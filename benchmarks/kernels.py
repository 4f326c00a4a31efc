"""python -m benchmarks.kernels: what the CUDA kernels of the paper's network take of a GPU, compiled without one.

It writes the table in docs/gpu.md: registers, shared and local memory, instructions. Needs nvidia-cuda-nvrtc-cu12.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

from benchmarks import nvrtc
from nn1d.command import Parser, run_command
from nn1d.cuda.kernel import source

ARCHITECTURE = "sm_90"
PAGE = Path(__file__).parents[1] / "docs" / "gpu.md"
BEGIN, END = "<!-- kernels -->\n", "<!-- /kernels -->\n"
NUMBERS = ("float", "float16")
NETWORK = {
    "convolution": [*(f"convolution<float, 3, {tile}>" for tile in (1, 16, 32, 64)), "convolution<float16, 3, 1>",
                    "convolution<float16, 3, 16>"],
    "filter_gradient": [*(f"filter_gradient<{number}, 3, {pair}>" for number in NUMBERS
                          for pair in ("1, 1", "1, 16", "16, 1")), "filter_gradient<float, 3, 16, 16>"],
    "tensor_convolution": [f"tensor_convolution<{number}, 3, {tile}>" for number in NUMBERS for tile in (16, 32, 64)],
    "tensor_filter_gradient": [f"tensor_filter_gradient<{number}, 3>" for number in NUMBERS],
    "sum": ["sum_of_rows<float, float>", "sum_of_rows<double, float>"],
    "pool": [f"{name}<{number}, 4>" for name in ("max_pool", "place", "select") for number in NUMBERS],
    "activation": [f"elu_{name}<{number}, 4>" for name in ("forward", "backward") for number in NUMBERS],
    "loss": ["squared_difference<float>"],
    "adam": ["adam<float>"],
}  # fmt: skip


@cache
def resources() -> dict[str, nvrtc.Resources]:
    """Of each kernel of the paper's network at its sizes, in float32, with --tf32 and with --half."""
    kernels: dict[str, nvrtc.Resources] = {}
    for file, names in NETWORK.items():
        kernels |= nvrtc.compile_kernels(source(file), names, ARCHITECTURE)
    return kernels


def table() -> str:
    """A Markdown table, a kernel a line."""
    lines = [
        f"NVRTC {nvrtc.version()}, {ARCHITECTURE}:\n",
        "| kernel | registers | shared memory [bytes] | local memory [bytes] | instructions |",
        "| --- | ---: | ---: | ---: | ---: |",
        *(
            f"| `{name}` | " + " | ".join(f"{value:,}" for value in needed) + " |"
            for name, needed in resources().items()
        ),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the table into docs/gpu.md; 2 without a compiler."""
    Parser(command="benchmarks.kernels", description=__doc__).parse_args()
    if nvrtc.library_path() is None:
        print("benchmarks.kernels: needs nvidia-cuda-nvrtc-cu12. Install it: pip install -e '.[test]'", file=sys.stderr)
        return 2
    text = PAGE.read_text("utf-8")
    before, rest = text.split(BEGIN)
    PAGE.write_text(before + BEGIN + "\n" + table() + "\n" + END + rest.split(END)[1], "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(run_command("benchmarks.kernels", main))
