"""A batch on a GPU: clips that stay there, pieces that fit into its memory, a step that is recorded once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from nn1d import DeviceError, FlatParameters, to_numpy
from speech.split import Indices
from storage.mapped import Rows, take_rows
from training.cuda_graph import CapturedStep, Function
from training.executor import Gradient, Number, pieces

AT_ONCE = 16  # clips a call, where they are evaluated or encoded: a stop is seen between two
UPLOAD_BYTES = 1 << 26  # sent at a time of an array that stays on the GPU
Result = TypeVar("Result")
Network = TypeVar("Network")
Array = Any  # of CuPy, which has no types


def fused(network: Network) -> Network:
    """The network as its CUDA kernels run it: ELUs and residual sums ride along with convolutions."""
    from nn1d.cuda.fusion import fuse  # not on a CPU

    return fuse(network)


class GpuExecutor:
    """A batch at once on a GPU: the executor (training/executor.py) of CuPy.

    A source stays on the GPU if it takes no more than half of what is free there, or of what the limit of CuPy's pool
    leaves; otherwise its rows are sent a batch at a time. A function gets as many clips at a time as half of the memory
    takes, by what it takes for one, which is measured before its first call. The other half is for the graph, or for
    what runs beside it: a smaller last batch, validation. Losses and gradients are not synchronised.

    Parameters
    ----------
    module : cupy

    Attributes
    ----------
    step : CapturedStep
        The recorded gradient.
    """

    synchronised = False

    def __init__(self, module: Any) -> None:
        self._cupy = module
        self._pool = module.get_default_memory_pool()
        self._kept: list[tuple[Rows, Array | None]] = []  # sources, and where they stay
        self._fitting: dict[Function, int] = {}  # clips that a function may get at a time
        self._said = False
        self.step = CapturedStep(module)

    def prepare(self, network: Any) -> tuple[Any, FlatParameters]:
        """The network, and its parameters in one vector on the GPU; here it is rewritten for its kernels, once."""
        flat = FlatParameters(network.parameters, self._cupy)
        return fused(network), flat

    def rows(self, source: Rows, clips: np.ndarray) -> Array:
        """source[clips] on the GPU."""
        resident = self._resident(source)
        if resident is None:
            return self._cupy.asarray(take_rows(source, clips))
        return resident.take(self._cupy.asarray(clips), axis=0)

    def mean_gradient(self, function: Callable[..., Gradient], sources: Sequence[Rows], clips: np.ndarray) -> Gradient:
        """Loss, in float64, and gradient of a batch: the means over its pieces, summed in their order."""
        size = self._fits(function, sources, clips)
        if size < len(clips) and not self._said:
            self._said = True
            logging.getLogger("training").warning(
                "gpu: the memory does not suffice for a whole batch, which goes in pieces of %d clips", size
            )
        loss, gradient = self._mean(partial(self.step, function), sources, clips, size)
        return loss.astype(np.float64), gradient

    def gradients(
        self, function: Callable[..., Gradient], sources: Sequence[Rows], clips: np.ndarray
    ) -> Iterator[Gradient]:
        """Of all clips together, if there are any."""
        if len(clips):
            yield self.mean_gradient(function, sources, clips)

    def mean(
        self,
        function: Callable[..., Sequence[Number]],
        sources: Sequence[Rows],
        clips: Indices,
        on_clips: Callable[[], None] = lambda: None,
    ) -> Sequence[Number]:
        """The mean of each number over clips, not synchronised."""
        size = min(AT_ONCE, self._fits(function, sources, clips))
        return self._mean(function, sources, clips, size, on_clips)

    def map_clips(
        self, function: Callable[..., Sequence[Result]], sources: Sequence[Rows], clips: Indices
    ) -> Iterator[Result]:
        """What function gives for each clip, in order."""
        size = min(AT_ONCE, self._fits(function, sources, clips, numbered=True))
        for some in pieces(clips, size):
            yield from function(some, *self._rows(sources, some))

    def synchronise(self, numbers: Sequence[Number]) -> list[float]:
        """The values of the numbers, in one transfer."""
        stacked = self._cupy.stack([self._cupy.asarray(number, np.float64) for number in numbers])
        return list(to_numpy(stacked).tolist())

    def forget(self) -> None:
        """Let go of the recorded gradient."""
        self.step.forget()

    def meet(self) -> None:
        """No other process takes part."""

    def __enter__(self) -> GpuExecutor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.forget()

    def _mean(
        self,
        function: Function,
        sources: Sequence[Rows],
        clips: Indices,
        size: int,
        on_clips: Callable[[], None] = lambda: None,
    ) -> list[Number]:
        totals: list[Number] = []
        for some in pieces(clips, size):
            numbers = function(*self._rows(sources, some))
            shares = [number * (len(some) / len(clips)) for number in numbers]  # copies: a graph writes there again
            totals = [total + share for total, share in zip(totals, shares, strict=True)] if totals else shares
            on_clips()
        return totals

    def _rows(self, sources: Sequence[Rows], clips: np.ndarray) -> list[Array]:
        return [self.rows(source, clips) for source in sources]

    def _fits(self, function: Function, sources: Sequence[Rows], clips: Indices, numbered: bool = False) -> int:
        """How many clips the function may get at a time, by what it takes for the first of these."""
        if function not in self._fitting and len(clips):
            rows = self._rows(sources, clips[:1])
            self._pool.free_all_blocks()
            room = self._room()
            pool = self._cupy.cuda.MemoryPool()  # a fresh one: it loses to gaps what a pool for more clips loses
            pool.set_limit(size=max(1, room))
            try:
                with self._cupy.cuda.using_allocator(pool.malloc):
                    function(*[clips[:1]] * numbered, *rows)
                needed = pool.total_bytes() + sum(row.nbytes for row in rows)
            except self._cupy.cuda.memory.OutOfMemoryError:
                needed = max(1, room + self.step.bytes_held)  # too much
            pool.free_all_blocks()
            fitting = (room + self.step.bytes_held) // 2 // (needed + needed // 16)  # gaps are not always in proportion
            if fitting < 1:
                raise DeviceError(
                    f"gpu: half of the memory that is left, {room:,} bytes, does not suffice for a single clip. Allow "
                    "more of it by --gpu-memory, free some, or compute with --device cpu"
                )
            self._fitting = {**dict(list(self._fitting.items())[-3:]), function: fitting}  # those of two phases
        return self._fitting.get(function, 1)

    def _room(self) -> int:
        """Bytes that may still be taken."""
        free, _ = self._cupy.cuda.runtime.memGetInfo()
        room, limit = free + self._pool.free_bytes(), self._pool.get_limit()
        return int(min(room, limit - self._pool.used_bytes()) if limit else room)

    def _resident(self, source: Rows) -> Array | None:
        for known, resident in self._kept:
            if known is source:
                return resident
        resident = None
        if source.nbytes <= self._room() / 2:
            resident = self._cupy.empty(source.shape, source.dtype)
            step = max(1, UPLOAD_BYTES * len(source) // max(source.nbytes, 1))
            for some in pieces(np.arange(len(source)), step):
                resident[some[0] : some[-1] + 1].set(take_rows(source, some))
        self._kept = [*self._kept[-1:], (source, resident)]  # clips, and the representations of one training
        return resident
