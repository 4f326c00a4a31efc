"""The executor of processes that train together over MPI, which come to the bits of one (training/rank.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from nn1d import FlatParameters, to_numpy
from nn1d.backend import Array, array_module
from speech.split import Indices
from storage.mapped import Rows
from training.executor import Executor, Gradient, Number, pieces
from training.gpu import GpuExecutor
from training.nccl import NcclChain
from training.rank import ALONE, Ranks
from training.workers import Workers

AT_ONCE = 16  # clips a rank, where they are evaluated or encoded: a wish to stop is seen between two rounds
MOST_AT_ONCE = 128  # clips of a round, but at least one a rank: each rank receives what all of them give
Result = TypeVar("Result")


class MpiExecutor:
    """Clips spread over ranks, and over the threads of each: the executor (training/executor.py) of several processes.

    To be entered within the block of `ranks`. Each rank has a run of neighbours of a batch. It holds their gradients
    until the sum over the clips before them has come: 4·P bytes a clip.

    A rank with a GPU has the gradient of its neighbours together: a vector a step, which goes from GPU to GPU where
    there is NCCL, and through the host elsewhere. All ranks have the same bits then, too, but those depend on how many
    they are.

    Parameters
    ----------
    ranks : Ranks
    executor : Workers or GpuExecutor
        Of this rank.
    gpus : NcclChain, optional
        Of the GPUs of all ranks. Losses and gradients are not synchronised then.
    """

    def __init__(self, ranks: Ranks, executor: Workers | GpuExecutor, gpus: NcclChain | None = None) -> None:
        self._ranks, self._executor, self._gpus = ranks, executor, gpus
        self.synchronised = gpus is None
        self._module: Any = np
        self._dtype: Any = np.float32
        self._round = max(ranks.size, min(AT_ONCE * ranks.size, MOST_AT_ONCE))

    def prepare(self, network: Any) -> tuple[Any, FlatParameters]:
        """The network as it runs here, and its parameters in one vector."""
        network, flat = self._executor.prepare(network)
        self._module, self._dtype = array_module(flat.vector), flat.vector.dtype
        return network, flat

    def rows(self, source: Rows, clips: np.ndarray) -> Array:
        """source[clips] where the network computes."""
        return self._executor.rows(source, clips)

    def mean_gradient(self, function: Callable[..., Gradient], sources: Sequence[Rows], clips: np.ndarray) -> Gradient:
        """The mean loss and gradient of a batch, summed in the order of its clips."""
        share = self._share(clips)
        on_host = self._gpus is None
        mine, numbers = self._ranks.attempt(
            lambda: [
                (float(loss), to_numpy(gradient)) if on_host else (loss, gradient)
                for loss, gradient in self._executor.gradients(function, sources, share)
            ],
            lambda gradients: gradients[0][1].size if gradients else 0,
        )
        clips_per_sum = len(share) // max(1, len(mine))  # clips: one of threads, all of a GPU
        for _, gradient in mine:
            gradient *= clips_per_sum / len(clips)
        mine = [(loss * clips_per_sum / len(clips), gradient) for loss, gradient in mine]
        loss, total = (self._gpus or self._ranks).chain(numbers, self._dtype, mine)
        return loss, self._module.asarray(total)

    def mean(
        self,
        function: Callable[..., Sequence[Number]],
        sources: Sequence[Rows],
        clips: Indices,
        on_clips: Callable[[], None] = lambda: None,
    ) -> list[float]:
        """The mean of each number over clips."""

        def results(some: np.ndarray, *rows: Array) -> list[list[float]]:
            return [[float(number) for number in function(*rows)]] * len(some)  # of several, each has their mean

        total: Any = 0.0
        for numbers in self.map_clips(results, sources, clips):
            total = total + np.array(numbers)
            on_clips()
        return list((total / len(clips)).tolist())

    def map_clips(
        self, function: Callable[..., Sequence[Result]], sources: Sequence[Rows], clips: Indices
    ) -> Iterator[Result]:
        """What function gives for each clip, in order, on every rank."""
        for some in pieces(clips, self._round):
            share = self._share(some)
            for results in self._ranks.gather(lambda: list(self._executor.map_clips(function, sources, share))):  # noqa: B023 - called at once
                yield from results

    def meet(self) -> None:
        """Wait for all ranks."""
        self._ranks.meet()

    def synchronise(self, numbers: Sequence[Number]) -> list[float]:
        """The values of the numbers."""
        return [float(number) for number in numbers] if self.synchronised else self._executor.synchronise(numbers)

    def forget(self) -> None:
        """Let go of what this rank has recorded."""
        self._executor.forget()

    def __enter__(self) -> MpiExecutor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._executor.__exit__(kind, error, traceback)
        if self._gpus is not None:
            self._gpus.leave(failed=error is not None)

    def _share(self, clips: np.ndarray) -> np.ndarray:
        return np.array_split(clips, self._ranks.size)[self._ranks.rank]


def choose_executor(module: Any, threads: int, ranks: Ranks = ALONE) -> Executor:
    """What computes on NumPy or CuPy, in one process or several: the one place where that is decided."""
    executor = Workers(threads) if module is np else GpuExecutor(module)
    if ranks.size == 1:
        return executor
    return MpiExecutor(ranks, executor, None if module is np else NcclChain.join(ranks, module))
