"""Clips spread over the cores: one clip a thread, results in the order of the clips."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import repeat
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from nn1d import FlatParameters
from speech.split import Indices
from storage.mapped import Rows, take_rows
from training.executor import Gradient, Number, pieces

AHEAD = 3  # clips a thread that are under way, or done and not yet taken: few, since each takes memory
Result = TypeVar("Result")


class Workers:
    """Threads that each take a clip through the network: the executor (training/executor.py) of the CPU.

    NumPy lets go of the interpreter lock in ufuncs and matrix products, so threads suffice. While they live, BLAS is
    held to one thread a worker: more would fight for the same cores, and would split a product differently for
    another number of threads, which changes its last digits.

    Parameters
    ----------
    threads : int > 0
    """

    synchronised = True

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads, "clip") if threads > 1 else None
        self._limits = threadpool_limits(1, user_api="blas")

    def map(self, function: Callable[..., Result], *items: Iterable[Any]) -> Iterator[Result]:
        """function of each item, or of items side by side, in their order whatever the number of threads.

        Items are taken as they are needed, a few ahead.
        """
        return map(function, *items) if self._pool is None else self._ahead(self._pool, function, *items)

    def prepare(self, network: Any) -> tuple[Any, FlatParameters]:
        """The network itself, and its parameters in one vector."""
        return network, FlatParameters(network.parameters)

    def rows(self, source: Rows, clips: np.ndarray) -> np.ndarray:
        """source[clips]."""
        return take_rows(source, clips)

    def mean_gradient(self, function: Callable[..., Gradient], sources: Sequence[Rows], clips: np.ndarray) -> Gradient:
        """The mean loss and gradient of a batch, summed in the order of its clips."""
        loss: float = 0.0
        total: Any = None
        for clip_loss, gradient in self.by_clip(function, sources, clips):
            loss += float(clip_loss) / len(clips)
            gradient *= 1 / len(clips)
            total = gradient if total is None else total + gradient
        return loss, total

    def gradients(
        self, function: Callable[..., Gradient], sources: Sequence[Rows], clips: np.ndarray
    ) -> Iterator[Gradient]:
        """Of each clip, in order."""
        return self.by_clip(function, sources, clips)

    def by_clip(self, function: Callable[..., Result], sources: Sequence[Rows], clips: Indices) -> Iterator[Result]:
        """function of the rows of each clip, in order."""
        return self.map(function, *self._rows(sources, clips))

    def mean(
        self,
        function: Callable[..., Sequence[Number]],
        sources: Sequence[Rows],
        clips: Indices,
        on_clips: Callable[[], None] = lambda: None,
    ) -> list[float]:
        """The mean of each number over clips."""
        total = np.zeros(())
        for numbers in self.by_clip(function, sources, clips):
            total = total + np.array([float(number) for number in numbers])
            on_clips()
        return list((total / len(clips)).tolist())

    def map_clips(
        self, function: Callable[..., Sequence[Result]], sources: Sequence[Rows], clips: Indices
    ) -> Iterator[Result]:
        """What function gives for each clip, in order."""
        return (results[0] for results in self.map(function, pieces(clips, 1), *self._rows(sources, clips)))

    def synchronise(self, numbers: Sequence[Number]) -> list[float]:
        """The numbers, which are synchronised already."""
        return [float(number) for number in numbers]

    def forget(self) -> None:
        """Nothing is recorded."""

    def meet(self) -> None:
        """No other process takes part."""

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._limits.restore_original_limits()

    @staticmethod
    def _rows(sources: Sequence[Rows], clips: Indices) -> list[Iterator[np.ndarray]]:
        """Of each source its rows (1, ...), clip by clip."""
        return [map(take_rows, repeat(source), pieces(clips, 1)) for source in sources]

    def _ahead(
        self, pool: ThreadPoolExecutor, function: Callable[..., Result], *items: Iterable[Any]
    ) -> Iterator[Result]:
        started: deque[Future[Result]] = deque()
        try:
            for arguments in zip(*items, strict=False):
                if len(started) == AHEAD * self.threads:
                    yield started.popleft().result()
                started.append(pool.submit(function, *arguments))
            while started:
                yield started.popleft().result()
        finally:  # one has failed, or the caller has left
            for future in started:
                future.cancel()
