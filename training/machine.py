"""Which matrix-product kernels BLAS takes: it reads the environment once, so this is asked before NumPy is imported."""

from __future__ import annotations

import ctypes
import os
import sys
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


def available_cores() -> int:
    """Cores that this process may use: its affinity, and the quota of its control group where there is one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text("ascii").split()
        if quota != "max":
            cores = min(cores, max(1, round(int(quota) / int(period))))
    except (OSError, ValueError):
        pass
    return cores


def keep_freed_memory() -> None:
    """Ask glibc to keep the arrays of megabytes that are freed, since the next clip wants the same ones.

    By default it hands each back to the kernel, which clears its pages again at the next allocation: a quarter of a
    training step. To be called before the first thread is started: the heap that a thread has got stays with the
    threads after it. Elsewhere than on glibc this does nothing.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    trim_threshold, mmap_threshold, arena_max = -1, -3, -8  # malloc.h
    mallopt(arena_max, 1)  # one heap for all threads: only that one is never trimmed
    mallopt(mmap_threshold, 1 << 30)
    mallopt(trim_threshold, (1 << 31) - 1)
