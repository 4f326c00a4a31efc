"""Which device is chosen, and what is said where it is not the GPU. Faults are made in what stands in for CuPy."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nn1d import DeviceError, find_device
from nn1d.device import CHECKS, memory_bytes
from tests.command import ROOT, import_path, needs_audio
from tests.gpu import standin
from tests.gpu.standin import routine
from tests.gpu.standin.memory import CUDARuntimeError

CURE = r"pip install 'nn1d\[gpu-cuda12\]' or 'nn1d\[gpu-cuda13\]'"


@pytest.fixture
def cp(monkeypatch: pytest.MonkeyPatch) -> Any:
    return standin.install(monkeypatch)


def refused(reason: str) -> None:
    """gpu ends with the reason, auto goes on without it; the reason is for the doctor."""
    with pytest.raises(DeviceError) as caught:
        find_device("gpu")
    assert re.fullmatch(reason, str(caught.value)), str(caught.value)
    assert find_device("auto") == (np, "device: CPU")
    assert "\n" not in str(caught.value)


def raising(error: Exception) -> Callable[..., Any]:
    def function(*arguments: Any, **named: Any) -> Any:
        raise error

    return function


def test_the_cpu_as_asked() -> None:
    assert find_device("cpu") == (np, "device: CPU")


def test_a_device_that_is_none() -> None:
    with pytest.raises(DeviceError, match=r"^device must be cpu, gpu or auto; got 'cuda:0'$"):
        find_device("cuda:0")


@pytest.mark.parametrize("name", ["gpu", "auto"])
def test_a_gpu_that_works(cp: Any, name: str) -> None:
    assert find_device(name) == (cp, "device: GPU Stand-in, CuPy 14.2.0, 4.3 GB free")


def test_step_1_no_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    refused(rf"no GPU: CuPy cannot be imported \(.+\)\. For one: {CURE}")


def test_step_1_a_damaged_cupy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cupy.py").write_text("raise OSError('libcudart.so.12: cannot open\\n  see the manual')\n")
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    refused(rf"no GPU: CuPy cannot be imported \(libcudart\.so\.12: cannot open\)\. For one: {CURE}")


def test_step_1_two_wheels(cp: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("cupy-cuda12x", "cupy-cuda13x", "cupyx-helper"):
        about = tmp_path / f"{name.replace('-', '_')}-13.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 13.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    refused(
        r"no GPU: several CuPy packages are installed \(cupy-cuda12x, cupy-cuda13x\), and each overwrites files of the "
        rf"other\. Remove them all: pip uninstall -y cupy-cuda12x cupy-cuda13x, then install one: {CURE}"
    )


def test_step_2_no_driver(cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cp.cuda.runtime, "driverGetVersion", lambda: 0)
    refused(
        r"no GPU: there is no NVIDIA driver\. Install one; in a container, .+ sees the GPU \(docker run --gpus all\)"
    )


def test_step_2_an_old_driver(cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    error = CUDARuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient")
    monkeypatch.setattr(cp.cuda.runtime, "getDeviceCount", raising(error))
    monkeypatch.setattr(cp.cuda.runtime, "driverGetVersion", lambda: 12040)
    refused(
        r"no GPU: the NVIDIA driver is too old: it serves CUDA 12\.4, and this CuPy needs 13\.2\. Install a newer "
        rf"driver, or a CuPy for an older CUDA: {CURE}"
    )


@pytest.mark.parametrize("error", [None, CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")])
def test_step_2_no_device(cp: Any, monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> None:
    monkeypatch.setattr(cp.cuda.runtime, "getDeviceCount", raising(error) if error else lambda: 0)
    refused(r"no GPU: the driver shows no device\. Look at nvidia-smi and at CUDA_VISIBLE_DEVICES")


@pytest.mark.parametrize(("number", "count", "expected"), [(0, 4, []), (3, 4, [3]), (6, 4, [2]), (1, 1, [0])])
def test_processes_of_a_machine_have_a_gpu_each(
    cp: Any, monkeypatch: pytest.MonkeyPatch, number: int, count: int, expected: list[int]
) -> None:
    used: list[int] = []

    class Device(cp.cuda.Device):
        def __init__(self, device: int | None = None) -> None:
            super().__init__(device)
            self.asked = device

        def use(self) -> None:
            used.append(self.asked)  # type: ignore[arg-type]

    monkeypatch.setattr(cp.cuda, "Device", Device)
    monkeypatch.setattr(cp.cuda.runtime, "getDeviceCount", lambda: count)
    find_device("gpu", number=number)
    assert used == expected


def test_step_2_another_fault(cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cp.cuda.runtime, "getDeviceCount", raising(CUDARuntimeError("cudaErrorUnknown: x\n at 3")))
    refused(r"no GPU: the devices cannot be counted \(cudaErrorUnknown: x\)\. Look at what nvidia-smi says")


@pytest.mark.parametrize(
    ("function", "error", "reason"),
    [
        ("zeros", MemoryError("Too little"), r"an allocation fails on Stand-in \(Too little\)\. Another program .+"),
        (
            "exp",
            OSError("libnvrtc.so.13: cannot open\n here"),
            r"an elementwise kernel fails on Stand-in \(libnvrtc\.so\.13: cannot open\)\. NVRTC or the CUDA headers "
            r"are missing or do not fit: pip install 'nn1d\[gpu-cuda13\]'",
        ),
        ("exp", RuntimeError(), r"an elementwise kernel fails on Stand-in \(RuntimeError\)\. .+"),  # some have no text
    ],
)  # fmt: skip
def test_step_3_what_does_not_work(
    cp: Any, monkeypatch: pytest.MonkeyPatch, function: str, error: Exception, reason: str
) -> None:
    monkeypatch.setattr(cp, function, raising(error))
    refused(f"no GPU: {reason}")


def test_step_3_no_cublas(cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cp.ndarray, "__matmul__", raising(ImportError("libcublas.so.13")))
    refused(
        r"no GPU: a matrix product fails on Stand-in \(libcublas\.so\.13\)\. cuBLAS is missing or does not fit: pip .+"
    )


def test_step_3_an_error_of_the_device_is_that_of_its_step(cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that fails on the device says so when somebody waits for it."""
    waits = iter([None, CUDARuntimeError("cudaErrorInvalidDeviceFunction: x")])

    def wait() -> None:
        if error := next(waits, None):
            raise error

    monkeypatch.setattr(cp.cuda.runtime, "deviceSynchronize", wait)
    with pytest.raises(DeviceError, match=r"^no GPU: an elementwise kernel fails on Stand-in \(cudaErrorInvalidDevice"):
        find_device("gpu")


def test_step_3_no_way_back_and_a_wrong_product(cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cp, "asnumpy", raising(CUDARuntimeError("cudaErrorECCUncorrectable")))
    refused(r"no GPU: a copy back fails on Stand-in \(cudaErrorECCUncorrectable\)\. Look at nvidia-smi")
    monkeypatch.setattr(cp, "asnumpy", lambda a: routine.asnumpy(a) * 7 / 8)
    refused(r"no GPU: a matrix product comes out wrong on Stand-in\. Its driver or the device is damaged")


def test_step_4_too_little_memory(cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cp.cuda.runtime, "memGetInfo", lambda: (200_000_000, 8_000_000_000))
    refused(r"no GPU: Stand-in has 0\.2 of 8\.0 GB free; at least 0\.3 are needed\. Another program .+ nvidia-smi")


def test_a_limit_of_memory(cp: Any) -> None:
    sentence = find_device("gpu", memory="500MB")[1]
    assert sentence == "device: GPU Stand-in, CuPy 14.2.0, 4.3 GB free, at most 0.5 GB used"
    assert cp.get_default_memory_pool().get_limit() == 500_000_000
    find_device("auto", memory="50%")
    assert cp.get_default_memory_pool().get_limit() == cp.cuda.runtime.memGetInfo()[1] // 2
    for device in ("gpu", "auto"):
        with pytest.raises(DeviceError, match=r"^gpu_memory must be at least 300MB; got '200MB'$"):
            find_device(device, memory="200MB")


@pytest.mark.parametrize(("text", "size"), [("8GB", 8e9), ("500MB", 5e8), ("0.5GB", 5e8), ("50%", 100), ("100%", 200)])
def test_bytes_of_a_text(text: str, size: float) -> None:
    assert memory_bytes(text, 200) == size


@pytest.mark.parametrize(
    "text", ["", "8", "GB", "-1GB", "101%", "0%", "0GB", "nanGB", "1e9GB", "8 GB", "8GBB", "9999999999GB"]
)
@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_a_text_that_is_no_size(text: str, device: str) -> None:
    with pytest.raises(DeviceError, match=rf"^gpu_memory must be like 8GB, 500MB or 50%; got {text!r}$"):
        find_device(device, memory=text)


def test_tf32_is_for_gpus_that_have_it(cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUPY_TF32", "0")
    with pytest.raises(DeviceError, match=r"^tf32 needs a GPU; got the CPU \(as asked\)\. Leave it out$"):
        find_device("cpu", tf32=True)
    assert os.environ["CUPY_TF32"] == "0"
    assert find_device("gpu", tf32=True)[1].endswith(", products in TF32")
    assert os.environ["CUPY_TF32"] == "1"
    older = {**cp.cuda.runtime.getDeviceProperties(0), "major": 7, "minor": 5}
    monkeypatch.setattr(cp.cuda.runtime, "getDeviceProperties", lambda device: older)
    with pytest.raises(
        DeviceError, match=r"^tf32 needs a GPU of compute capability 8\.0 or later; got 7\.5 \(Stand-in"
    ):
        find_device("auto", tf32=True)
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(DeviceError, match=r"^tf32 needs a GPU; got the CPU \(no GPU: CuPy cannot .+\)\. Leave it out$"):
        find_device("auto", tf32=True)


def test_half_is_for_gpus(cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUPY_TF32", "0")
    assert find_device("gpu", half=True)[1].endswith(" GB free, float16 between layers")
    assert find_device("auto", tf32=True, half=True)[1].endswith(", products in TF32, float16 between layers")
    with pytest.raises(DeviceError, match=r"^half needs a GPU; got the CPU \(as asked\)\. Leave it out$"):
        find_device("cpu", half=True)


def run(*command: str, cupy: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command where importing CuPy does `cupy`."""
    (folder / "cupy.py").write_text(cupy)
    environment = os.environ | import_path(folder)
    return subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True)


@needs_audio
def test_train_ends_with_2_and_the_cure_where_there_is_no_gpu(tmp_path: Path) -> None:
    done = run("train.py", "--device", "gpu", "--dry-run", cupy="raise ImportError('none here')\n", folder=tmp_path)
    assert done.returncode == 2
    assert re.fullmatch(rf"train\.py: no GPU: CuPy cannot be imported \(none here\)\. For one: {CURE}\n", done.stderr)
    for options in (
        ["--device", "cpu", "--tf32"],
        ["--device", "cpu", "--half"],
        ["--device", "cpu", "--gpu-memory", "much"],
    ):
        done = run("train.py", "--dry-run", *options, cupy="raise SystemExit('imported')\n", folder=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert re.match(r"train\.py: ((tf32|half) needs a GPU|gpu_memory must be like)", done.stderr)


def test_the_doctor_works_without_a_gpu(tmp_path: Path) -> None:
    done = run("-m", "nn1d.doctor", cupy="raise ImportError('none here')\n", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines[:4]] == [["step", f"{number},"] for number in (1, 2, 3, 4)]
    assert "failed: no GPU: CuPy cannot be imported (none here)." in lines[0]
    assert all(line.endswith("not tried") for line in lines[1:4])
    names = [line[:23].strip() for line in lines[4:]]
    assert names == ["Python, NumPy", "BLAS", "vector instructions", "threads", "in use by default"]
    assert lines[-1] == "in use by default      CPU"


def test_the_doctor_on_a_gpu(
    cp: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from nn1d import doctor

    (tmp_path / "one.cubin").write_text("")
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("CUPY_TF32", "1")
    assert doctor.main([]) == 0
    report = {line[:23].strip(): line[23:] for line in capsys.readouterr().out.splitlines()}
    assert [report[f"step {number}, {name}"][:4] for number, (name, _) in enumerate(CHECKS, 1)] == ["ok: "] * 4
    assert report["step 2, device"] == "ok: 1, in use Stand-in (compute capability 9.0)"
    assert report["driver"] == "serves CUDA 13.2"
    assert report["memory"] == "4.3 GB, 4.3 free"
    assert report["TF32"] == "on (CUPY_TF32)"
    assert report["compiled kernels"] == f"1 in {tmp_path}"
    assert report["in use by default"] == "GPU Stand-in, CuPy 14.2.0, 4.3 GB free"
    monkeypatch.setattr(cp.cuda.runtime, "driverGetVersion", lambda: 0)
    monkeypatch.delenv("CUPY_TF32")
    assert doctor.main([]) == 0
    printed = capsys.readouterr().out
    assert "step 2, device         failed: no GPU: there is no NVIDIA driver" in printed
    assert printed.count("not tried") == 2
    assert "TF32                   off" in printed


def test_the_doctor_does_not_trust_a_product_that_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from nn1d import doctor

    monkeypatch.setitem(sys.modules, "cupy", None)
    assert doctor.computes(8)
    monkeypatch.setattr(doctor, "computes", lambda size: False)
    assert doctor.main([]) == 1
    assert "in use by default      nothing: NumPy multiplies wrongly here" in capsys.readouterr().out
