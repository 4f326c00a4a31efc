"""A batch on a GPU: clips that stay there, pieces that fit into its memory, a step that is recorded once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
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
    leaves; otherwise its rows are sent a batch at a time. A batch is one piece until memory does not suffice: then
    pieces are halved, for good, which is said once. Losses and gradients are not synchronised.

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
        self._limit = self._pool.get_limit()
        self._kept: list[tuple[Rows, Array | None]] = []  # sources, and where they stay
        self._largest: dict[Function, int] = {}  # clips in a piece, of functions for which a batch was too large
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

        def piece(some: np.ndarray) -> tuple[Array, Array]:
            loss, gradient = self.step(function, *(self.rows(source, some) for source in sources))
            self._bound()
            share = len(some) / len(clips)
            return loss * share, gradient * share  # copies: a graph writes into the same arrays again

        def whole(some_pieces: list[np.ndarray]) -> Gradient:
            loss, total = piece(some_pieces[0])
            for some in some_pieces[1:]:
                another, gradient = piece(some)
                loss, total = loss + another, total + gradient
            return loss.astype(np.float64), total

        return self._within_memory(function, clips, whole)

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
        total: list[Number] = []
        for some, numbers in self._pieces(function, sources, clips):
            shares = [number * (len(some) / len(clips)) for number in numbers]
            total = [sum_ + share for sum_, share in zip(total or [0.0] * len(shares), shares, strict=True)]
            on_clips()
        return total

    def map_clips(
        self, function: Callable[..., Sequence[Result]], sources: Sequence[Rows], clips: Indices
    ) -> Iterator[Result]:
        """What function gives for each clip, in order."""
        for _, results in self._pieces(function, sources, clips, numbered=True):
            yield from results

    def synchronise(self, numbers: Sequence[Number]) -> list[float]:
        """The values of the numbers, in one transfer."""
        stacked = self._cupy.stack([self._cupy.asarray(number, np.float64) for number in numbers])
        return list(to_numpy(stacked).tolist())

    def forget(self) -> None:
        """Let go of the recorded gradient."""
        self.step.forget()

    def meet(self) -> None:
        """There is nobody to wait for."""

    def __enter__(self) -> GpuExecutor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.forget()

    def _pieces(
        self,
        function: Callable[..., Result],
        sources: Sequence[Rows],
        clips: Indices,
        numbered: bool = False,
    ) -> Iterator[tuple[np.ndarray, Result]]:
        """function of the rows of clips, after their numbers if asked for: piece by piece."""

        def call(some: np.ndarray) -> tuple[np.ndarray, Result]:
            numbers = (some,) if numbered else ()
            return some, function(*numbers, *(self.rows(source, some) for source in sources))

        for some in pieces(clips, AT_ONCE):
            yield from self._within_memory(function, some, lambda parts: [call(part) for part in parts])

    def _within_memory(
        self, function: Function, clips: np.ndarray, work: Callable[[list[np.ndarray]], Result]
    ) -> Result:
        """Work on the clips in as few pieces as memory allows for the function."""
        size, emptied = min(self._largest.get(function, len(clips)), len(clips)), False
        while True:
            try:
                return work(list(pieces(clips, size)))
            except self._cupy.cuda.memory.OutOfMemoryError as error:
                reason = str(error)
            # here, and not above, where the error still holds the arrays of what failed
            self.step.forget()
            self._bound()
            self._pool.free_all_blocks()
            if emptied:  # else what others had left in the pool may have been in the way
                if size == 1:
                    raise DeviceError(
                        f"gpu: the memory does not suffice for a single clip ({reason}). Allow more of it by "
                        "--gpu-memory, free some, or compute with --device cpu"
                    )
                size = self._largest[function] = size // 2
                self._say(size, reason)
            emptied = not emptied

    def _say(self, size: int, reason: str) -> None:
        if not self._said:
            self._said = True
            logging.getLogger("training").warning(
                "gpu: the memory does not suffice for a whole batch, which goes in pieces of %d clips and smaller ones "
                "if need be (%s)",
                size,
                reason,
            )

    def _bound(self) -> None:
        """The graph's pool and the default one together keep within the limit."""
        if self._limit:
            self._pool.set_limit(size=max(1, self._limit - self.step.bytes_held))

    def _resident(self, source: Rows) -> Array | None:
        for known, resident in self._kept:
            if known is source:
                return resident
        free, _ = self._cupy.cuda.runtime.memGetInfo()
        room = free + self._pool.free_bytes()
        if self._limit:
            room = min(room, self._limit - self._pool.used_bytes())
        resident = None
        if source.nbytes <= room / 2:
            resident = self._cupy.empty(source.shape, source.dtype)
            step = max(1, UPLOAD_BYTES * len(source) // max(source.nbytes, 1))
            for some in pieces(np.arange(len(source)), step):
                resident[some[0] : some[-1] + 1].set(take_rows(source, some))
        self._kept = [*self._kept[-1:], (source, resident)]  # clips, and the representations of one training
        return resident
