"""What spreads the clips of a training over a machine: threads, a GPU, and whatever else keeps these promises.

`training.workers.Workers` takes a clip a thread, `training.gpu.GpuExecutor` a batch at once, and
`training.mpi.MpiExecutor` spreads the clips over processes. Nobody else asks where the
network computes: `DualTraining`, `Trainer` and `Pipeline` hold an executor that was chosen once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Protocol, TypeVar

import numpy as np

from nn1d import FlatParameters
from nn1d.backend import Array
from speech.split import Indices
from storage.mapped import Rows

Network = TypeVar("Network")
Result = TypeVar("Result")
Number = Any  # a float, or an array without axes where it is not synchronised
Gradient = tuple[Number, Array]


class Executor(Protocol):
    """Runs functions of clips, and puts together what they give.

    A function gets rows of each source, (N, ...) with the clips first, where the network computes. It changes nothing
    and may be called for any N, from any thread, and again for the same clips.

    An implementation promises:

    * Results are in the order of the clips, and sums are taken in that order: the sum over clips 0 ... n is that over
      0 ... n - 1 plus clip n. Where each call gets one clip, the bits then do not depend on how many calls are in
      flight, nor on where they run. `Workers` can go on from the sum over the clips before: processes hand it on.
    * What a function raises is raised to the caller.
    * Every process that takes part gets the same bits from every method, so each of them takes the same step.

    Attributes
    ----------
    synchronised : bool
        Whether numbers and gradients are finished when a method returns. Where they are not, as on a GPU, looking at
        one costs a wait: `synchronise` waits once for many, and `Trainer` calls it once an epoch.
    """

    synchronised: bool

    def prepare(self, network: Network) -> tuple[Network, FlatParameters]:
        """A new network as it runs here, and its parameters in one vector that lies where it computes."""

    def rows(self, source: Rows, clips: np.ndarray) -> Array:
        """source[clips] where the network computes."""

    def mean_gradient(self, function: Callable[..., Gradient], sources: Sequence[Rows], clips: np.ndarray) -> Gradient:
        """The means over a batch of what function gives: a loss, itself a mean over clips, and its gradient (P,)."""

    def mean(
        self,
        function: Callable[..., Sequence[Number]],
        sources: Sequence[Rows],
        clips: Indices,
        on_clips: Callable[[], None] = lambda: None,
    ) -> Sequence[Number]:
        """The mean over clips of each number that function gives; on_clips is called now and then and may raise."""

    def map_clips(
        self, function: Callable[..., Sequence[Result]], sources: Sequence[Rows], clips: Indices
    ) -> Iterator[Result]:
        """What function gives for each clip, one by one, a few of them ahead of the caller.

        function gets the numbers of some clips, then their rows, and gives a result for each, on the host.
        """

    def synchronise(self, numbers: Sequence[Number]) -> list[float]:
        """The values of numbers without axes, waiting for them at most once."""

    def forget(self) -> None:
        """Let go of what was recorded of functions: what they compute has changed."""

    def meet(self) -> None:
        """Wait until every process that takes part is here: what one of them has written, all can read then."""

    def __enter__(self) -> Executor:
        """Begin: a `with` block holds whatever the executor needs."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End: let go of it."""


def pieces(clips: Indices, size: int) -> Iterator[np.ndarray]:
    """Clips, at most `size` at a time."""
    return (clips[start : start + size] for start in range(0, len(clips), size))
