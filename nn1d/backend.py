"""Where arrays live: NumPy on the CPU, CuPy on a GPU. The only module that imports CuPy, and only when asked to."""

from __future__ import annotations

import logging
import os
import sys
from types import ModuleType
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

Array = Any  # numpy.ndarray or cupy.ndarray: neither is a subclass of the other


class DeviceError(RuntimeError):
    """The device that was asked for cannot be used; the message says why and what to do."""


def array_module(x: Array) -> ModuleType:
    """NumPy for a NumPy array, CuPy for a CuPy array.

    An array of CuPy can exist only after somebody imported CuPy, so this never imports it.

    Shapes
    ------
    x of any shape -> the module numpy or cupy
    """
    cupy = sys.modules.get("cupy")
    return cupy if cupy is not None and isinstance(x, cupy.ndarray) else np


def to_numpy(x: Array) -> np.ndarray:
    """The same numbers in the memory of the CPU; a NumPy array is returned as it is.

    Shapes
    ------
    x of any shape -> the same shape
    """
    return np.asarray(x) if array_module(x) is np else x.get()


def vector_instructions(function: str) -> str:
    """What NumPy computes a float32 function with here, such as X86_V4 or AVX512_SKX; "" before NumPy 2.0."""
    try:
        from numpy.lib import introspect
    except ImportError:
        return ""
    found = introspect.opt_func_info(func_name=f"^{function}$", signature="float32").get(function, {})
    return " ".join(target["current"] for target in found.values())


def blas_kernels() -> str:
    """The matrix-product library that NumPy has loaded, and its kernels, such as openblas 0.3.31 SkylakeX."""
    loaded = [library for library in threadpool_info() if library["user_api"] == "blas"]
    own = [library for library in loaded if "numpy" in library.get("filepath", "")]  # SciPy may bring another
    named = ("internal_api", "version", "architecture")
    return (
        ", ".join(" ".join(str(each[name]) for name in named if each.get(name)) for each in own or loaded) or "unknown"
    )


def _advise() -> None:
    """Say once, in one sentence, that faster kernels are there: the environment is the program's, not ours."""
    if "OPENBLAS_CORETYPE" in os.environ or not vector_instructions("exp").startswith(("X86_V4", "AVX512")):
        return
    kernels = blas_kernels()
    if "openblas" in kernels and kernels.endswith(("Haswell", "Zen")):
        logging.getLogger("nn1d").warning(
            "nn1d: this processor has AVX-512, but NumPy's BLAS (%s) takes its AVX2 kernels: set "
            "OPENBLAS_CORETYPE=SkylakeX before NumPy is imported for matrix products 1.5 to 2 times as fast",
            kernels,
        )


_advise()


def view(x: Array, first: int, shape: tuple[int, ...], steps: tuple[int, ...]) -> Array:
    """Look at a contiguous array as another shape, from its number `first` on, `steps` numbers from one to the next."""
    size = x.itemsize
    if 0 in shape:
        return array_module(x).empty(shape, x.dtype)
    if array_module(x) is np:
        return np.ndarray(shape, x.dtype, x, first * size, [step * size for step in steps])
    return type(x)(shape, x.dtype, x.data + first * size, tuple(step * size for step in steps))


def find_device(name: str) -> tuple[ModuleType, str]:
    """Choose the array module for a device name and say why.

    Parameters
    ----------
    name : {"cpu", "gpu", "auto"}
        auto takes the GPU where one really works (a kernel, a matrix product and a copy back), else the CPU.

    Returns
    -------
    (module, sentence) : the array module, and one sentence for the user about the device in use.

    Raises
    ------
    DeviceError
        name is "gpu" and no GPU works here, or name is none of the three.
    """
    if name not in ("cpu", "gpu", "auto"):
        raise DeviceError(f"device must be cpu, gpu or auto; got {name!r}")
    if name == "cpu":
        return np, "device: CPU, as asked"
    try:
        cupy, sentence = _working_gpu()
    except DeviceError as error:
        if name == "gpu":
            raise
        return np, f"device: CPU ({error})"
    return cupy, sentence


def _working_gpu() -> tuple[ModuleType, str]:
    try:
        import cupy
    except ImportError as error:
        raise DeviceError(
            f"no GPU: CuPy cannot be imported ({error}). For one: pip install -e '.[gpu-cuda12]' or '.[gpu-cuda13]'"
        ) from error
    try:
        count = cupy.cuda.runtime.getDeviceCount()
        ones = cupy.ones((8, 8), cupy.float32)
        product = cupy.asnumpy(cupy.exp(ones * 0) @ ones)
        properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    except Exception as error:  # CuPy raises many types, from the driver, NVRTC, cuBLAS and the loader of libraries
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DeviceError(f"no GPU: CuPy {cupy.__version__} is there but does not run ({reason})") from error
    if not (product == 8).all():
        raise DeviceError(f"no GPU: a matrix product on device 0 of {count} came out wrong")
    return cupy, f"device: GPU {properties['name'].decode()}, CuPy {cupy.__version__}"
