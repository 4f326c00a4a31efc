"""Clips spread over the cores: one clip a thread, results in the order of the clips."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

from threadpoolctl import threadpool_limits

Item = TypeVar("Item")
Result = TypeVar("Result")


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
