"""Every kernel compiles for every generation of GPU from Volta to Blackwell, without a warning, and fits there."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from nn1d.cuda import convolution
from nn1d.cuda.kernel import source
from tests.gpu import nvrtc

# of each file, what the paper's network asks for in float32 and float16, and what takes most registers and memory
TILES, PAIRS, SIGNALS = (1, 16, 32, 64), ("1, 1", "1, 16", "16, 1", "16, 16"), ("float", "float16")
KERNELS = {
    "convolution": [
        *(f"convolution<{number}, 3, {tile}>" for number in SIGNALS for tile in TILES),
        *("convolution<float, 9, 64>", "convolution<double, 9, 64>", "convolution<double, 1, 1>"),
    ],
    "filter_gradient": [
        *(f"filter_gradient<{number}, 3, {pair}>" for number in SIGNALS for pair in PAIRS),
        *(f"filter_gradient<{number}, 16, 16>" for number in ("float, 9", "double, 6", "double, 9")),
    ],
    "tensor_convolution": [
        f"tensor_convolution<{number}, {taps}, {tile}>" for number in SIGNALS for taps in (3, 9) for tile in TILES[1:]
    ],
    "tensor_filter_gradient": [f"tensor_filter_gradient<{number}, {taps}>" for number in SIGNALS for taps in (3, 9)],
    "sum": ["sum_of_rows<float, float>", "sum_of_rows<double, float>", "sum_of_rows<double, double>"],
    "pool": [
        f"{name}<{number}, {n}>"
        for name in ("max_pool", "place", "select")
        for number, n in (("float16", 4), ("float", 4), ("double", 1))
    ],
    "activation": [
        f"elu_{name}<{number}, 4>" for name in ("forward", "backward") for number in ("float16", "float", "double")
    ],
    "loss": ["squared_difference<float>", "squared_difference<double>"],
    "adam": ["adam<float>", "adam<double>"],
}
needs_nvrtc = pytest.mark.skipif(
    nvrtc.library_path() is None, reason="needs nvidia-cuda-nvrtc-cu12: pip install -e '.[test]' on Linux or Windows"
)


def test_no_file_and_no_kernel_is_left_out() -> None:
    found = {path.name.removesuffix(".cu") for path in files("nn1d.cuda").iterdir() if path.name.endswith(".cu")}
    assert found == set(KERNELS)
    for file, instances in KERNELS.items():
        names = re.findall(r"__global__ void __launch_bounds__\([^)]*\) (\w+)\(\n", source(file))
        assert names
        assert {instance.split("<")[0] for instance in instances} == set(names)


@needs_nvrtc
@pytest.mark.parametrize("architecture", ["sm_70", "sm_80", "sm_90", "sm_100"])
def test_every_kernel_compiles(architecture: str) -> None:
    for file, instances in KERNELS.items():
        if file.startswith("tensor") and architecture == "sm_70":
            continue  # nothing chooses it there: tensor_cores of nn1d/cuda/kernel.py
        for name, needed in nvrtc.compile_kernels(source(file), instances, architecture).items():
            print(f"{architecture} {name}: {needed}")
            assert needed.shared_bytes <= 48 * 1024
            assert needed.spilled_bytes <= 64
            if "<float, 3" in name or "<float16, 3" in name:
                assert needed.registers <= 128  # four blocks of 128 threads an SM


@needs_nvrtc
def test_a_tap_more_than_is_covered_would_not_fit() -> None:
    name = f"convolution<double, {convolution.MOST_TAPS + 1}, 64>"
    with pytest.raises(nvrtc.CompileError, match="49920 bytes smem"):  # of 49,152
        nvrtc.compile_kernels(source("convolution"), [name], "sm_90")


@needs_nvrtc
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [("const int row", "int unused; const int row", "never referenced"), ("j < width", "j < widths", "undefined")],
)
def test_a_warning_is_an_error(old: str, new: str, said: str) -> None:
    with pytest.raises(nvrtc.CompileError, match=said):
        nvrtc.compile_kernels(source("sum").replace(old, new), KERNELS["sum"], "sm_90")
