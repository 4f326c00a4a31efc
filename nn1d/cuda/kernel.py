"""Kernels from .cu files: compiled for what they are called with, kept, launched."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from types import ModuleType
from typing import Any

import numpy as np

from nn1d.backend import Array, array_module
from nn1d.dispatch import kernels_on

TYPES = {"float16": "float16", "float32": "float", "float64": "double"}  # of NumPy, in C++
NUMBERS = 2**31 - 2**16  # in a clip: kernels count within a clip in 32 bits, and across clips in 64


def has_kernels(*arrays: Array) -> bool:
    """Whether the kernels take these arrays: all on a GPU, of one type that has kernels."""
    first = arrays[0]
    return (
        array_module(first) is not np
        and kernels_on()
        and first.dtype.name in TYPES
        and all(x.dtype == first.dtype and array_module(x) is not np for x in arrays)
    )


def number(x: Array) -> str:
    """What C++ calls the numbers of an array."""
    return TYPES[x.dtype.name]


def sums(x: Array) -> np.dtype:
    """What arrays like x are summed in, and what the parameters that meet them are of: float32 for float16."""
    return np.result_type(x.dtype, np.float32)


def tensor_cores(x: Array) -> bool:
    """Whether products of arrays like x are taken in TF32 on tensor cores.

    Those of float16, which TF32 holds as they are; those of float32 where CUPY_TF32 asks for it, as CuPy's own. A GPU
    before Ampere has none. What these kernels gain stands in docs/gpu.md: a fifth of a training step on an H200.
    """
    asked = x.dtype == np.float16 or (x.dtype == np.float32 and os.environ.get("CUPY_TF32", "0") not in ("", "0"))
    return asked and int(array_module(x).cuda.Device().compute_capability) >= 80


def wide(*arrays: Any) -> bool:
    """Whether four neighbouring channels of each array can be moved at once: they are there, and aligned."""
    return all(x is None or (x.shape[-1] % 4 == 0 and x.data.ptr % (4 * min(x.itemsize, 4)) == 0) for x in arrays)


def launch(x: Array, file: str, kernel: str, *, grid: tuple[int, ...], threads: int, arguments: Sequence[Any]) -> None:
    """Run a kernel on the GPU of x; a grid without blocks is no launch.

    Parameters
    ----------
    x : array
        Any array of that GPU.
    file, kernel : str
        The .cu file, and the instance of its template, such as "place<float, 4>".
    grid : tuple of int
        Blocks along each axis.
    threads : int
        Of a block.
    arguments : sequence of array, NumPy scalar or None
        As the kernel takes them; None is a null pointer. Arrays are contiguous.
    """
    if 0 in grid:
        return
    cupy = array_module(x)
    pointers = tuple(np.uintp(0) if argument is None else argument for argument in arguments)
    _function(cupy, cupy.cuda.Device().id, file, kernel)(grid, (threads,), pointers)


@cache
def _function(cupy: ModuleType, device: int, file: str, kernel: str) -> Callable[..., None]:
    """The compiled kernel. CuPy keeps it on disk as well, so that it is compiled once a machine."""
    module = cupy.RawModule(code=source(file), options=("-std=c++17",), name_expressions=(kernel,))
    return module.get_function(kernel)


def source(file: str) -> str:
    """The text of a .cu file with all that it includes."""
    return with_headers(f"{file}.cu", set()) + "\n"


def with_headers(name: str, known: set[str]) -> str:
    """The text of a file with the files that it includes in their places, each once."""
    known.add(name)
    lines = [f'#line 1 "{name}"']
    for number, line in enumerate(files("nn1d.cuda").joinpath(name).read_text("utf-8").splitlines(), 1):
        included = re.fullmatch(r'#include "(\w+\.cuh)"', line)
        if included is None:
            lines.append(line)
        elif included[1] not in known:
            lines += [with_headers(included[1], known), f'#line {number + 1} "{name}"']
    return "\n".join(lines)
