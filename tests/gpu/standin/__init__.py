"""A module to stand in for CuPy where there is no GPU: CuPy's names, on arrays that NumPy cannot look into.

It behaves as CuPy does where that differs from NumPy, and refuses what CuPy would do wrongly without a word:

* nothing is converted by itself, neither way; lists and NumPy arrays are refused among the operands;
* what a reduction or a full index gives is an array without axes, which costs a synchronisation to look at;
* an index beyond the end is an error (CuPy wraps it around), and so is a view beyond its memory;
* fresh memory holds NaN, and is counted by pools with limits as CuPy counts it: freed blocks stay in the pool, where
  smaller arrays take parts of them, go to the device where the pool would else exceed its limit, and are lost with the
  pool;
* while a graph is captured nothing is computed; a synchronisation, a product by cuBLAS and a copy from the host are
  refused, the last where CuPy would have the graph read host memory that has other contents by then;
* a graph that is launched after its memory was given to somebody else is an error;
* raw kernels take contiguous arrays and typed scalars only, and run on the CPU from the same source
  (tests/gpu/harness.py).

What it offers was compared with CuPy 14.2 by `python -m tests.gpu.standin` in an environment that has CuPy, which lists
every name and argument here that CuPy does not have.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
from numpy import (  # noqa: F401
    bool_,
    dtype,
    float16,
    float32,
    float64,
    inf,
    int32,
    int64,
    nan,
    newaxis,
    uint8,
)

from tests.gpu.standin import cuda, memory, stream
from tests.gpu.standin.array import matmul, ndarray  # noqa: F401
from tests.gpu.standin.memory import get_default_memory_pool  # noqa: F401
from tests.gpu.standin.module import RawModule  # noqa: F401
from tests.gpu.standin.routine import *  # noqa: F403
from tests.gpu.standin.stream import Counts  # noqa: F401

__version__ = "14.2.0"


def install(patch: pytest.MonkeyPatch) -> ModuleType:
    """Have `import cupy` and array_module find this, as after a start."""
    module: Any = sys.modules[__name__]
    patch.setitem(sys.modules, "cupy", module)
    patch.setitem(sys.modules, "cupy.cuda", cuda)
    stream.reset()
    memory.set_allocator(None)
    pool = memory.get_default_memory_pool()
    pool.set_limit(size=0)
    pool.free_all_blocks()
    memory.take_stock()
    return module
