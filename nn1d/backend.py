"""Arrays of NumPy on the CPU and of CuPy on a GPU, and what NumPy computes with here. Nothing here imports CuPy."""

from __future__ import annotations

import logging
import os
import sys
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_info

# What a type checker sees of an array. CuPy has no types, so its arrays pass for these as well; a list, or the pair
# that forward returns, does not.
Array: TypeAlias = NDArray[Any]


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
    on_gpu: Any = x
    return np.asarray(x) if array_module(x) is np else on_gpu.get()


def vector_instructions(function: str) -> str:
    """What NumPy computes a float32 function with here, such as X86_V4 or AVX512_SKX; "" before NumPy 2.0."""
    try:
        from numpy.lib import introspect
    except ImportError:
        return ""
    targets = introspect.opt_func_info(func_name=f"^{function}$", signature="float32").get(function, {})
    return " ".join(target["current"] for target in targets.values())


def blas_kernels() -> str:
    """The matrix-product library that NumPy has loaded, and its kernels, such as openblas 0.3.31 SkylakeX."""
    loaded = [library for library in threadpool_info() if library["user_api"] == "blas"]
    loaded = [library for library in loaded if "numpy" in library.get("filepath", "")] or loaded  # SciPy may have one
    facts = ("internal_api", "version", "architecture")
    return (
        ", ".join(" ".join(str(library[fact]) for fact in facts if library.get(fact)) for library in loaded)
        or "unknown"
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
    start, strides = first * x.itemsize, tuple(step * x.itemsize for step in steps)
    if 0 in shape:
        return array_module(x).empty(shape, x.dtype)
    if array_module(x) is np:
        return np.ndarray(shape, x.dtype, x, start, strides)
    on_gpu: Any = x
    return type(on_gpu)(shape, x.dtype, on_gpu.data + start, strides)


def masked(x: Array, mask: Array, out: Array | None = None) -> Array:
    """x where the mask is True, and 0 elsewhere, whatever x is there: a product would make NaN of infinity times 0.

    On the CPU it is an AND of bits, with all ones or all zeros: about as fast as a product, where np.where takes nine
    times as long.

    Shapes
    ------
    x of floats, mask of bool that broadcasts to it -> the shape of x; what `out` holds may be overwritten
    """
    xp = array_module(x)
    if xp is not np:
        chosen: Array = xp.where(mask, x, x.dtype.type(0))
        return chosen
    integers, ones = f"i{x.itemsize}", -mask.view(np.int8)  # True, 1, becomes -1: all ones, in however many bytes
    return np.bitwise_and(x.view(integers), ones, out=None if out is None else out.view(integers)).view(x.dtype)
