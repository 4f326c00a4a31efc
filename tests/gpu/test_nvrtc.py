"""Every kernel compiles for every generation of GPU from Volta to Blackwell, without a warning, and fits there."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from benchmarks import kernels, nvrtc
from benchmarks.step import gigaflop
from nn1d.cuda import convolution
from nn1d.cuda.kernel import source
from tests.gpu import launches

# besides the kernels of the paper's network, what takes most registers and memory
LARGEST = {
    "convolution": ["convolution<float, 9, 64>", "convolution<double, 9, 64>", "convolution<double, 1, 1>"],
    "filter_gradient": [f"filter_gradient<{number}, 16, 16>" for number in ("float, 9", "double, 6", "double, 9")],
    "tensor_convolution": ["tensor_convolution<float, 9, 64>", "tensor_convolution<float16, 9, 16>"],
    "tensor_filter_gradient": ["tensor_filter_gradient<float, 9>"],
    "sum": ["sum_of_rows<double, double>"],
    "pool": [f"{name}<double, 1>" for name in ("max_pool", "place", "select")],
    "activation": ["elu_forward<double, 4>", "elu_backward<double, 4>"],
    "loss": ["squared_difference<double>"],
    "adam": ["adam<double>"],
}
needs_nvrtc = pytest.mark.skipif(
    nvrtc.library_path() is None, reason="needs nvidia-cuda-nvrtc-cu12: pip install -e '.[test]' on Linux or Windows"
)


def test_no_file_and_no_kernel_is_left_out() -> None:
    stems = {path.name.removesuffix(".cu") for path in files("nn1d.cuda").iterdir() if path.name.endswith(".cu")}
    assert stems == set(kernels.NETWORK) == set(LARGEST)
    for file, instances in kernels.NETWORK.items():
        names = re.findall(r"__global__ void __launch_bounds__\(.*\) (\w+)\(\n", source(file))
        assert names
        assert {instance.split("<")[0] for instance in instances} == set(names)


@needs_nvrtc
def test_the_kernels_of_the_network_stay_in_registers() -> None:
    for name, needed in kernels.resources().items():
        assert needed.local_bytes == 0, f"{name} spills: {needed}"
        assert needed.registers <= 128, f"{name} leaves no room for four blocks of 128 threads an SM: {needed}"
        assert needed.shared_bytes <= 48 * 1024, f"{name}: {needed}"


@needs_nvrtc
def test_the_table_of_the_page_is_that_of_the_command() -> None:
    shown = kernels.PAGE.read_text("utf-8").split(kernels.BEGIN)[1].split(kernels.END)[0]
    if f"NVRTC {nvrtc.version()}," in shown:
        assert shown.strip() == kernels.table().strip()
    else:  # another compiler gives other numbers
        assert re.findall(r"^\| `(.*?)`", shown, re.M) == list(kernels.resources())


def test_the_page_counts_the_launches() -> None:
    shown = kernels.PAGE.read_text("utf-8").split(launches.BEGIN)[1].split(launches.END)[0]
    assert shown.strip() == launches.table().strip()


def test_the_model_multiplies_as_often_as_the_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launches, "ELU", 0)
    monkeypatch.setattr(launches, "SLOPE", 0)
    monkeypatch.setattr(launches, "DEVICES", {"memory without limit": (float("inf"), 1e9), "again": (1e9, 1e9)})
    counted = sum(kernel.seconds[0] for kernel in launches.launches().values())
    assert counted == pytest.approx(gigaflop("train", launches.SAMPLES) / 2)


@needs_nvrtc
@pytest.mark.parametrize("file", kernels.NETWORK)
def test_the_largest_kernels_fit(file: str) -> None:
    for name, needed in nvrtc.compile_kernels(source(file), LARGEST[file], kernels.ARCHITECTURE).items():
        assert needed.shared_bytes <= 48 * 1024, f"{name}: {needed}"
        assert needed.local_bytes <= 64, f"{name}: {needed}"


@needs_nvrtc
@pytest.mark.parametrize("architecture", ["sm_70", "sm_80", "sm_100"])
def test_every_file_compiles_for_every_generation(architecture: str) -> None:
    """An instance of each kernel: what differs between generations is the text, not its tile."""
    for file, instances in kernels.NETWORK.items():
        if file.startswith("tensor") and architecture == "sm_70":
            continue  # nothing chooses it there: tensor_cores of nn1d/cuda/kernel.py
        names = {instance.split("<")[0]: instance for instance in instances}
        nvrtc.compile_kernels(source(file), list(names.values()), architecture)


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
        nvrtc.compile_kernels(source("sum").replace(old, new), ["sum_of_rows<float, float>"], "sm_90")
