"""A batch on a GPU: clips that stay there, pieces that fit into its memory, a step that is recorded once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from nn1d import DeviceError
from storage.mapped import take_rows
from training.cuda_graph import CapturedStep, Function

UPLOAD_BYTES = 1 << 26  # sent at a time of an array that stays on the GPU
Result = TypeVar("Result")
Array = Any  # of CuPy, which has no types
Network = TypeVar("Network")


def fused(network: Network) -> Network:
    """The network as its CUDA kernels run it: ELUs and residual sums ride along with convolutions."""
    from nn1d.cuda.fusion import fuse  # not on a CPU

    return fuse(network)


class Accelerator:
    """What DualTraining asks of a GPU.

    An array of clips stays on the GPU if it takes no more than half of what is free there, or of what the limit of
    CuPy's pool leaves; otherwise its rows are sent a batch at a time. A batch is one piece until memory does not
    suffice: then pieces are halved, for good, which is said once.

    Parameters
    ----------
    module : cupy

    Attributes
    ----------
    graph : CapturedStep
        The recorded gradient.
    """

    def __init__(self, module: Any) -> None:
        self._cupy = module
        self._pool = module.get_default_memory_pool()
        self._limit = self._pool.get_limit()
        self._kept: list[tuple[np.ndarray, Array | None]] = []  # arrays of clips, and where they stay
        self._largest: dict[str, int] = {}  # clips in a piece of a kind of work that was too large whole
        self._said = False
        self.graph = CapturedStep(module)

    def rows(self, array: np.ndarray, clips: np.ndarray) -> Array:
        """array[clips] on the GPU."""
        there = self._resident(array)
        if there is None:
            return self._cupy.asarray(take_rows(array, clips))
        return there.take(self._cupy.asarray(clips), axis=0)

    def mean_gradient(
        self, function: Function, sources: Sequence[np.ndarray], clips: np.ndarray
    ) -> tuple[Array, Array]:
        """Loss and gradient of a batch, both on the GPU: those of its pieces summed in their order.

        function takes the rows of each of the sources and gives the loss and its gradient.
        """

        def piece(some: np.ndarray) -> tuple[Array, Array]:
            loss, slope = self.graph(function, *(self.rows(source, some) for source in sources))
            self._bound()
            share = len(some) / len(clips)
            return loss * share, slope * share  # copies: a graph writes into the same arrays again

        def whole(pieces: list[np.ndarray]) -> tuple[Array, Array]:
            loss, total = piece(pieces[0])
            for some in pieces[1:]:
                another, slope = piece(some)
                loss, total = loss + another, total + slope
            return loss, total

        return self._fitting(function.__qualname__, clips, whole)

    def pieces(
        self, function: Callable[..., Result], sources: Sequence[np.ndarray], clips: np.ndarray, most: int
    ) -> Iterator[tuple[int, Result]]:
        """function of the rows of clips, piece by piece: how many clips, and what it gave."""
        for start in range(0, len(clips), most):

            def each(pieces: list[np.ndarray]) -> list[tuple[int, Result]]:
                return [(len(some), function(*(self.rows(source, some) for source in sources))) for some in pieces]

            yield from self._fitting(function.__qualname__, clips[start : start + most], each)

    def _fitting(self, work: str, clips: np.ndarray, function: Callable[[list[np.ndarray]], Result]) -> Result:
        """function of the clips in as few pieces as memory allows."""
        size, emptied = min(self._largest.get(work, len(clips)), len(clips)), False
        while True:
            try:
                return function([clips[i : i + size] for i in range(0, len(clips), size)])
            except self._cupy.cuda.memory.OutOfMemoryError as error:
                reason = str(error)
            # here, and not above, where the error still holds the arrays of what failed
            self.graph.forget()
            self._bound()
            self._pool.free_all_blocks()
            if emptied:  # else what others had left in the pool may have been in the way
                if size == 1:
                    raise DeviceError(
                        f"gpu: the memory does not suffice for a single clip ({reason}). Allow more of it by "
                        "--gpu-memory, free some, or compute with --device cpu"
                    )
                size = self._largest[work] = size // 2
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
            self._pool.set_limit(size=max(1, self._limit - self.graph.bytes_held))

    def _resident(self, array: np.ndarray) -> Array | None:
        for known, there in self._kept:
            if known is array:
                return there
        free, _ = self._cupy.cuda.runtime.memGetInfo()
        room = free + self._pool.free_bytes()
        if self._limit:
            room = min(room, self._limit - self._pool.used_bytes())
        there = None
        if array.nbytes <= room / 2:
            there = self._cupy.empty(array.shape, array.dtype)
            step = max(1, UPLOAD_BYTES * len(array) // max(array.nbytes, 1))
            for start in range(0, len(array), step):
                there[start : start + step].set(take_rows(array, np.arange(start, min(start + step, len(array)))))
        self._kept = [*self._kept[-1:], (array, there)]  # clips, and the representations of one training
        return there
