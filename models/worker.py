"""Clips spread over the cores: one clip a thread, results in the order of the clips."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from threadpoolctl import threadpool_limits

Item = TypeVar("Item")
Result = TypeVar("Result")


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


class Workers:
    """Threads that each take a clip through the network.

    NumPy lets go of the interpreter lock in ufuncs and matrix products, so threads suffice. While they live, BLAS is
    held to one thread a worker: more would fight for the same cores, and would split a product differently for
    another number of threads, which changes its last digits.

    Parameters
    ----------
    threads : int > 0
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads, "clip") if threads > 1 else None
        self._limits = threadpool_limits(1, user_api="blas")

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """function of each item, in the order of the items whatever the number of threads."""
        return map(function, items) if self._pool is None else self._pool.map(function, items)

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._limits.restore_original_limits()
