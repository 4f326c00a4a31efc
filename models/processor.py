"""Which matrix-product kernels BLAS takes: it reads the environment once, so this is asked before NumPy is imported."""

from __future__ import annotations

import os
from pathlib import Path

SKYLAKEX = {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}  # what the kernels of this name execute


def blas_environment(processor: Path = Path("/proc/cpuinfo")) -> dict[str, str]:
    """Variables that have OpenBLAS take its AVX-512 kernels on an AMD processor that has the instructions.

    Several of its releases take those for AVX2 ("Haswell", "Zen") there; the others make our products 1.5 to 2 times as
    fast. On Intel processors it finds the right ones. Empty where the user has set OPENBLAS_CORETYPE.
    """
    try:
        words = set(processor.read_text("utf-8").split())
    except OSError:
        return {}  # not Linux; nn1d.backend says what to set
    if "AuthenticAMD" in words and words >= SKYLAKEX and "OPENBLAS_CORETYPE" not in os.environ:
        return {"OPENBLAS_CORETYPE": "SkylakeX"}
    return {}
