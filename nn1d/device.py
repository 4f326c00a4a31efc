"""Whether there is a GPU that works, in four steps, and if not, why. The only file that imports CuPy."""

from __future__ import annotations

import importlib.metadata
import os
import re
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

CURE = "pip install 'nn1d[gpu-cuda12]' or 'nn1d[gpu-cuda13]'"
LEAST_BYTES = 300_000_000  # of a GPU: libraries, and a clip or two in training


class DeviceError(RuntimeError):
    """The device that was asked for cannot be used; the message says why and what to do."""


class NoGpu(DeviceError):
    """There is no GPU that works."""


class Gpu:
    """What the steps of CHECKS know so far, each standing on the one before."""

    cupy: Any = None
    count = number = 0
    name = ""
    capability = (0, 0)
    free_bytes = total_bytes = 0


def find_device(
    name: str, memory: str | None = None, tf32: bool = False, half: bool = False, number: int = 0
) -> tuple[ModuleType, str]:
    """Choose the array module for a device name and say why.

    Parameters
    ----------
    name : {"cpu", "gpu", "auto"}
        auto takes the GPU where all steps of CHECKS succeed, else the CPU.
    memory : str or None
        The most that arrays may take on the GPU, as memory_bytes reads it; None is all that is there.
    tf32 : bool
        Multiply float32 with ten bits of mantissa instead of 23, on tensor cores: sets CUPY_TF32, which nn1d's kernels
        and CuPy read.
    half : bool
        The caller will have signals in float16. Nothing is set; where there is no GPU, it is refused.
    number : int
        Which of several GPUs; of processes that share a machine, each has its own. Counted again where they are fewer.

    Returns
    -------
    (module, sentence) : the array module, and one sentence for the user about the device in use.

    Raises
    ------
    DeviceError
        name is "gpu" and no GPU works here, tf32 or half is asked of a CPU, tf32 of a GPU before Ampere, or an argument
        is none of the above.
    """
    if name not in ("cpu", "gpu", "auto"):
        raise DeviceError(f"device must be cpu, gpu or auto; got {name!r}")
    if memory is not None:
        memory_bytes(memory, 1 << 40)
    reason = "as asked"  # for the CPU
    if name != "cpu":
        if tf32:
            os.environ["CUPY_TF32"] = "1"  # CuPy reads it before its first product
        try:
            return _prepared(_working_gpu(number), memory, tf32, half)
        except NoGpu as error:
            if name == "gpu":
                raise
            reason = str(error)
    for option, asked in (("tf32", tf32), ("half", half)):
        if asked:
            raise DeviceError(f"{option} needs a GPU; got the CPU ({reason}). Leave it out")
    return np, "device: CPU"


def memory_bytes(text: str, total: int) -> int:
    """Bytes of a text such as 8GB, 500MB or 50%, the last of `total`.

    Raises
    ------
    DeviceError
        The text is another, or names nothing or more than all.
    """
    amount = re.fullmatch(r"(\d+\.?\d*)(GB|MB|%)", text)
    size = float(amount[1]) * {"GB": 1e9, "MB": 1e6, "%": total / 100}[amount[2]] if amount else 0
    if not amount or not 0 < size < 1e18 or (amount[2] == "%" and size > total):
        raise DeviceError(f"gpu_memory must be like 8GB, 500MB or 50%; got {text!r}")
    return int(size)


def _working_gpu(number: int = 0) -> Gpu:
    gpu = Gpu()
    gpu.number = number
    for _, check in CHECKS:
        check(gpu)
    return gpu


def _prepared(gpu: Gpu, memory: str | None, tf32: bool, half: bool) -> tuple[ModuleType, str]:
    sentence = f"device: GPU {gpu.name}, CuPy {gpu.cupy.__version__}, {gpu.free_bytes / 1e9:.1f} GB free"
    if memory is not None:
        limit = memory_bytes(memory, gpu.total_bytes)
        if limit < LEAST_BYTES:
            raise DeviceError(f"gpu_memory must be at least {LEAST_BYTES // 10**6}MB; got {memory!r}")
        gpu.cupy.get_default_memory_pool().set_limit(size=limit)
        sentence += f", at most {limit / 1e9:.1f} GB used"
    if tf32 and gpu.capability < (8, 0):
        raise DeviceError(
            "tf32 needs a GPU of compute capability 8.0 or later; got "
            f"{'.'.join(map(str, gpu.capability))} ({gpu.name}). Leave it out"
        )
    return gpu.cupy, sentence + ", products in TF32" * tf32 + ", float16 between layers" * half


# The four steps. Each returns a sentence for the doctor, or raises NoGpu with the cure.


def _import(gpu: Gpu) -> str:
    names = {distribution.metadata["Name"] or "" for distribution in importlib.metadata.distributions()}
    wheels = sorted(name for name in names if re.fullmatch(r"cupy(-cuda\w+|-rocm\S*)?", name))
    if len(wheels) > 1:
        raise NoGpu(
            f"no GPU: several CuPy packages are installed ({', '.join(wheels)}), and each overwrites files of the "
            f"other. Remove them all: pip uninstall -y {' '.join(wheels)}, then install one: {CURE}"
        )
    try:
        import cupy
    except Exception as error:  # a CuPy that is damaged raises what it likes
        raise NoGpu(f"no GPU: CuPy cannot be imported ({_reason(error)}). For one: {CURE}") from error
    gpu.cupy = cupy
    return f"CuPy {cupy.__version__}"


def _count(gpu: Gpu) -> str:
    runtime = gpu.cupy.cuda.runtime
    try:
        driver = runtime.driverGetVersion()
        if driver == 0:
            raise NoGpu(
                "no GPU: there is no NVIDIA driver. Install one; in a container, start it so that it sees the GPU "
                "(docker run --gpus all)"
            )
        gpu.count = runtime.getDeviceCount()
        if gpu.count:
            if gpu.number:
                gpu.cupy.cuda.Device(gpu.number % gpu.count).use()
            properties = runtime.getDeviceProperties(runtime.getDevice())
    except NoGpu:
        raise
    except Exception as error:
        if "cudaErrorInsufficientDriver" in str(error):
            raise NoGpu(
                f"no GPU: the NVIDIA driver is too old: it serves CUDA {_version(driver)}, and this CuPy needs "
                f"{_version(runtime.runtimeGetVersion())}. Install a newer driver, or a CuPy for an older CUDA: {CURE}"
            ) from error
        if "cudaErrorNoDevice" not in str(error):
            raise NoGpu(
                f"no GPU: the devices cannot be counted ({_reason(error)}). Look at what nvidia-smi says"
            ) from error
        gpu.count = 0
    if gpu.count == 0:
        raise NoGpu("no GPU: the driver shows no device. Look at nvidia-smi and at CUDA_VISIBLE_DEVICES")
    gpu.name = properties["name"].decode()
    gpu.capability = (properties["major"], properties["minor"])
    return f"{gpu.count}, in use {gpu.name} (compute capability {'.'.join(map(str, gpu.capability))})"


def _compute(gpu: Gpu) -> str:
    cupy = gpu.cupy
    extra = f"pip install 'nn1d[gpu-cuda{cupy.cuda.runtime.runtimeGetVersion() // 1000}]'"
    zeros: Any = None
    ones: Any = None
    product: Any = None

    def allocate() -> None:
        nonlocal zeros
        zeros = cupy.zeros((8, 8), cupy.float32)

    def kernel() -> None:
        nonlocal ones
        ones = cupy.exp(zeros)

    def multiply() -> None:
        nonlocal product
        product = ones @ ones

    steps: tuple[tuple[str, Callable[[], None], str], ...] = (
        ("an allocation", allocate, "Another program may hold the memory: look at nvidia-smi"),
        ("an elementwise kernel", kernel, f"NVRTC or the CUDA headers are missing or do not fit: {extra}"),
        ("a matrix product", multiply, f"cuBLAS is missing or does not fit: {extra}"),
    )
    for what, step, cure in steps:
        try:
            step()
            cupy.cuda.runtime.deviceSynchronize()  # else the error comes with a later step
        except Exception as error:  # from the driver, NVRTC, cuBLAS or the loader of libraries
            raise NoGpu(f"no GPU: {what} fails on {gpu.name} ({_reason(error)}). {cure}") from error
    try:
        copied = cupy.asnumpy(product)
    except Exception as error:
        raise NoGpu(f"no GPU: a copy back fails on {gpu.name} ({_reason(error)}). Look at nvidia-smi") from error
    if not (copied == 8).all():
        raise NoGpu(f"no GPU: a matrix product comes out wrong on {gpu.name}. Its driver or the device is damaged")
    return "an allocation, an elementwise kernel, a matrix product and a copy back work"


def _memory(gpu: Gpu) -> str:
    gpu.free_bytes, gpu.total_bytes = gpu.cupy.cuda.runtime.memGetInfo()
    free = f"{gpu.free_bytes / 1e9:.1f} of {gpu.total_bytes / 1e9:.1f} GB free"
    if gpu.free_bytes < LEAST_BYTES:
        raise NoGpu(
            f"no GPU: {gpu.name} has {free}; at least {LEAST_BYTES / 1e9:.1f} are needed. Another program holds the "
            "rest: look at nvidia-smi"
        )
    return free


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _version(number: int) -> str:
    """As CUDA counts: 12040 is 12.4."""
    return f"{number // 1000}.{number % 1000 // 10}"


CHECKS: tuple[tuple[str, Callable[[Gpu], str]], ...] = (
    ("CuPy", _import),
    ("device", _count),
    ("computation", _compute),
    ("memory", _memory),
)


def nccl() -> Any:
    """cupy.cuda.nccl, which says by `available` whether CuPy finds the library."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CuPy's, where it does not
        from cupy.cuda import nccl as module
    return module
