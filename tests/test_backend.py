"""Which array module computes, and what is said about it. A stand-in for CuPy serves where there is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nn1d import DeviceError, array_module, find_device, to_numpy

ROOT = Path(__file__).parents[1]


class CupyArray:
    """What the tests need of cupy.ndarray."""

    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values)

    def __mul__(self, factor: float) -> CupyArray:
        return CupyArray(self.values * factor)

    def __matmul__(self, other: CupyArray) -> CupyArray:
        return CupyArray(self.values @ other.values)

    def get(self) -> np.ndarray:
        return self.values


def stand_in(error: Exception | None = None, product: float = 8.0) -> Any:
    def count() -> int:
        if error is not None:
            raise error
        return 1

    cupy: Any = ModuleType("cupy")
    cupy.__version__, cupy.ndarray, cupy.float32 = "13.0.0", CupyArray, np.float32
    cupy.ones = lambda shape, dtype: CupyArray(np.ones(shape, dtype))
    cupy.exp = lambda a: CupyArray(np.exp(a.values))
    cupy.asnumpy = lambda a: a.values * product / 8
    runtime = SimpleNamespace(getDeviceCount=count, getDeviceProperties=lambda i: {"name": b"H200"})
    cupy.cuda = SimpleNamespace(runtime=runtime, Device=lambda: SimpleNamespace(id=0))
    return cupy


def test_the_cpu_as_asked() -> None:
    assert find_device("cpu") == (np, "device: CPU, as asked")


def test_a_device_that_is_none() -> None:
    with pytest.raises(DeviceError, match=r"^device must be cpu, gpu or auto; got 'cuda:0'$"):
        find_device("cuda:0")


def test_without_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    reason = (
        r"no GPU: CuPy cannot be imported \(.+\)\. For one: pip install -e '\.\[gpu-cuda12\]' or '\.\[gpu-cuda13\]'"
    )
    with pytest.raises(DeviceError, match=f"^{reason}$"):
        find_device("gpu")
    module, sentence = find_device("auto")
    assert module is np
    assert sentence.startswith("device: CPU (no GPU: CuPy cannot be imported (")
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            RuntimeError("cudaErrorInsufficientDriver: driver too old\n  at line 3"),
            "cudaErrorInsufficientDriver: driver too old",
        ),
        (OSError("libnvrtc.so.12: cannot open"), "libnvrtc.so.12: cannot open"),
        (RuntimeError(), "RuntimeError"),  # some errors of drivers have no text
    ],
)
def test_a_cupy_that_does_not_run(monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str) -> None:
    monkeypatch.setitem(sys.modules, "cupy", stand_in(error))
    with pytest.raises(DeviceError) as caught:
        find_device("gpu")
    assert str(caught.value) == f"no GPU: CuPy 13.0.0 is there but does not run ({reason})"
    assert find_device("auto") == (np, f"device: CPU ({caught.value})")


def test_a_gpu_that_computes_wrongly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", stand_in(product=7.0))
    with pytest.raises(DeviceError, match=r"^no GPU: a matrix product on device 0 of 1 came out wrong$"):
        find_device("gpu")


@pytest.mark.parametrize("name", ["gpu", "auto"])
def test_a_gpu_that_works(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    cupy = stand_in()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    assert find_device(name) == (cupy, "device: GPU H200, CuPy 13.0.0")


def test_the_module_of_an_array(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.ones(3)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    assert array_module(x) is np
    assert to_numpy(x) is x
    cupy = stand_in()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    assert array_module(CupyArray(x)) is cupy
    assert array_module(x) is np
    np.testing.assert_array_equal(to_numpy(CupyArray(x)), x)
    # an import that failed leaves None behind
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert array_module(x) is np


TRAINS_A_STEP = """
import sys
import numpy as np
from nn1d import find_device, FlatParameters, Adam, flatten
from models.autoencoder import Autoencoder
from models.objective import objective

module, sentence = find_device("cpu")
network = Autoencoder((2, 3), rng=np.random.default_rng(0))
flat = FlatParameters(network.parameters, module)
x = np.ones((1, 16, 1), np.float32)
trace, cache = network.forward(x)
loss, slope = objective(trace, x, 0.1)
Adam().step(flat.vector, flatten(network.backward(slope, cache)[1]))
assert "cupy" not in sys.modules, "CuPy was imported"
"""


def test_on_the_cpu_cupy_is_never_imported(tmp_path: Path) -> None:
    # a CuPy that says so when it is imported, whether or not a real one is installed
    (tmp_path / "cupy.py").write_text("raise SystemExit('CuPy was imported')\n")
    result = subprocess.run(
        [sys.executable, "-c", TRAINS_A_STEP],
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    # the stand-in is what an import would have met
    result = subprocess.run(
        [sys.executable, "-c", "import cupy"],
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stderr == "CuPy was imported\n"
