"""Processes that train together over MPI: mpiexec -n 4 python train.py ..., or srun.

Every process ("rank") runs the whole program and takes the same steps; each computes a part of the clips of a batch.
The gradients are summed as a chain, in the order of the clips:

    rank 0 adds its clips, hands the sum to rank 1, which adds its own to it, ...; the last gives the sum to all

so the bits are those of one process (training/mpi.py). An all-reduce would add in another order. Ranks wait
without taking a core, since they may share it.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from nn1d.command import Terminated
from training.executor import Gradient
from training.launch import launch
from training.signals import Stop, Stopped

SEGMENT = 1 << 15  # numbers that are handed on at a time, while the next rank adds to those before them
SPINS = 20  # looks at a message before a rank sleeps
SLEEP = 1e-4  # seconds between two looks; longer ones would add up along the chain
Item = TypeVar("Item")
Result = TypeVar("Result")


class RankError(RuntimeError):
    """Another rank cannot go on, or the ranks cannot work together; the message says why."""


class Ranks:
    """The processes that train together, as one of them sees them. A process alone is rank 0 of 1.

    Inside a `with` block an exception on one rank reaches all others where they next meet, and ends them too.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm or None
        None for a process alone.

    Attributes
    ----------
    rank, size : int
    """

    def __init__(self, comm: Any = None) -> None:
        self.rank: int = 0 if comm is None else comm.Get_rank()
        self.size: int = 1 if comm is None else comm.Get_size()
        self._comm: Any = comm
        self._node: Any = None
        self._stop: Stop | None = None
        self._leaving = False

    @classmethod
    def join(cls) -> Ranks:
        """The ranks that mpiexec or srun has started; mpi4py is imported only there.

        Raises
        ------
        RankError
            They were started together and do not know of each other.
        """
        size = launch().size
        if size == 1:
            return cls()
        try:
            with _deaf():
                from mpi4py import MPI
        except ImportError as error:
            raise RankError(
                f"mpiexec or srun started {size} processes, which need mpi4py and an MPI library: {error}. "
                "pip install -e '.[mpi]'"
            ) from None
        if MPI.COMM_WORLD.Get_size() != size:
            raise RankError(
                f"mpiexec or srun started {size} processes, and the MPI of mpi4py ({MPI.get_vendor()[0]}) sees "
                f"{MPI.COMM_WORLD.Get_size()}. Use the mpiexec of that library, or srun --mpi=pmi2 or pmix"
            )
        return cls(MPI.COMM_WORLD)

    def heed(self, stop: Stop) -> None:
        """From here on a signal that comes to one rank stops all of them, where they next meet."""
        if self.size > 1:
            self._stop, stop.together = stop, True

    def meet(self, error: BaseException | None = None, number: int = 0) -> int:
        """Wait for all ranks; the largest of their numbers.

        Raises
        ------
        BaseException
            That of the first rank that came with one, on every rank.
        """
        if self.size == 1:
            if error is not None:
                raise error
            return number
        asked = self._stop.asked if self._stop is not None else None
        mine = np.array([0 if error is None else self.size - self.rank, asked or 0, number, self._leaving], np.int64)
        most = np.empty_like(mine)
        self._wait(self._comm.Iallreduce(mine, most, _mpi().MAX))
        if self._stop is not None and most[1]:
            self._stop.agreed = int(most[1])
        self._leaving = bool(most[3])  # one has left the block: nobody is there to be met again
        if most[0]:
            self._raise(error, self.size - int(most[0]))
        return int(most[2])

    def attempt(
        self, function: Callable[[], Result], number: Callable[[Result], int] = lambda _: 0
    ) -> tuple[Result, int]:
        """What function gives here, once it has ended on all ranks, and the largest number that they make of it.

        What it raises on one rank is raised on all.
        """
        try:
            result = function()
        except BaseException as error:
            self.meet(error)
            raise
        return result, self.meet(number=number(result))

    def first(self, function: Callable[[], Result]) -> Result:
        """What function gives on rank 0, which alone runs it."""
        if self.size == 1:
            return function()
        together = self._stop is not None and self._stop.together
        if self._stop is not None:
            self._stop.together = False  # nobody else is asked meanwhile
        try:
            result, _ = self.attempt(lambda: function() if self.rank == 0 else None)
        finally:
            if self._stop is not None:
                self._stop.together = together
        return self._broadcast(result, 0)

    def gather(self, function: Callable[[], Item]) -> list[Item]:
        """What function gives on each rank."""
        if self.size == 1:
            return [function()]
        return self._gather(self._comm, self.attempt(function)[0])

    def same(self, what: str, value: object) -> None:
        """Raise RankError unless all ranks have the same value."""
        values = self.gather(lambda: value)
        for rank, other in enumerate(values):
            if other != values[0]:
                raise RankError(f"rank {rank} of {self.size} has other {what} than rank 0. All need the same ones")

    def first_of_node(self, function: Callable[[], Result]) -> Result:
        """What function gives here; one rank of each node runs it before the others, which find what it has made.

        What it raises on one rank is raised on all, and no other begins.
        """
        first = self.local() == 0
        made, _ = self.attempt(lambda: [function()] if first else [])
        results, _ = self.attempt(lambda: made or [function()])
        return results[0]

    def local(self) -> int:
        """Which of the ranks of its node this is."""
        return 0 if self.size == 1 else int(self._of_node().Get_rank())

    def threads(self, count: int) -> int:
        """Of `count` cores that a rank may use, those that are left to it where others of its node may use the same."""
        if self.size == 1:
            return count
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        return max(1, count // self._gather(self._of_node(), cores).count(cores))

    def chain(self, numbers: int, dtype: Any, mine: list[Gradient]) -> Gradient:
        """The sum of losses, and of vectors of `numbers` numbers, over the ranks in their order."""
        packed = np.zeros(8 + numbers * np.dtype(dtype).itemsize, np.uint8)
        loss, total = packed[:8].view(np.float64), packed[8:].view(dtype)
        before, after, requests = self.rank - 1, self.rank + 1, []
        if before >= 0:
            self._wait(self._comm.Irecv(loss, before))
        for clip_loss, _ in mine:
            loss[0] += clip_loss
        if after < self.size:
            requests.append(self._comm.Isend(loss, after))
        for start in range(0, numbers, SEGMENT):
            segment = total[start : start + SEGMENT]
            gradients = [gradient[start : start + SEGMENT] for _, gradient in mine]
            if before >= 0:
                self._wait(self._comm.Irecv(segment, before))
            else:
                segment[...] = gradients.pop(0)
            for gradient in gradients:
                segment += gradient
            if after < self.size:
                requests.append(self._comm.Isend(segment, after))
        for request in requests:
            self._wait(request)
        self._wait(self._comm.Ibcast(packed, self.size - 1))
        return float(loss[0]), total

    def __enter__(self) -> Ranks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.size == 1:
            return
        reason_of_ranks = error
        if not self._leaving:
            self._stop, self._leaving = None, True
            try:
                self.meet(error)
                return
            except BaseException as first:
                reason_of_ranks = first
        assert reason_of_ranks is not None
        reason = reason_of_ranks if error is None else error
        rank = reason.__dict__.get("rank")  # where it came from, if ranks have met since
        if reason is error and (
            isinstance(error, Stopped | RankError)
            or (rank is None and (self.rank == 0 or type(reason_of_ranks) is type(error)))
            or rank == self.rank == 0
        ):
            return  # as it would be raised by a process alone
        if isinstance(reason, Stopped | RankError):
            raise reason
        raise RankError(_sentence(reason, self.rank if rank is None else rank, self.size)) from reason

    def _raise(self, error: BaseException | None, rank: int) -> None:
        """Raise on all ranks what one of them came with."""
        raised = self._broadcast(_portable(error, rank, self.size) if self.rank == rank and error else None, rank)
        if self.rank != rank or error is None:
            raise raised
        raise error

    def _broadcast(self, item: Any, root: int) -> Any:
        content = np.frombuffer(pickle.dumps(item, pickle.HIGHEST_PROTOCOL), np.uint8)
        size = np.array([content.size], np.int64)
        self._wait(self._comm.Ibcast(size, root))
        if self.rank != root:
            content = np.empty(int(size[0]), np.uint8)
        self._wait(self._comm.Ibcast(content, root))
        return item if self.rank == root else pickle.loads(content.data)

    def _gather(self, comm: Any, item: Item) -> list[Item]:
        mine = np.frombuffer(pickle.dumps(item, pickle.HIGHEST_PROTOCOL), np.uint8)
        counts = np.empty(comm.Get_size(), np.int64)
        self._wait(comm.Iallgather(np.array([mine.size], np.int64), counts))
        together = np.empty(int(counts.sum()), np.uint8)
        self._wait(comm.Iallgatherv(mine, (together, counts)))
        ends = np.cumsum(counts)
        return [pickle.loads(together[end - count : end].data) for count, end in zip(counts, ends, strict=True)]

    def _of_node(self) -> Any:
        if self._node is None:
            self._node = self._comm.Split_type(_mpi().COMM_TYPE_SHARED)
        return self._node

    def _wait(self, request: Any) -> None:
        """Until a message is through, leaving the core to others: MPI's own wait would take all of it."""
        spins = 0
        try:
            while not request.Test():
                spins += 1
                time.sleep(0 if spins < SPINS else SLEEP)
        except KeyboardInterrupt as error:  # before the training or after it; half a message has no end to wait for
            terminated = isinstance(error, Terminated)
            os.write(2, b"train.py: terminated\n" if terminated else b"train.py: interrupted\n")
            self._comm.Abort(143 if terminated else 130)


ALONE = Ranks()


def _portable(error: BaseException, rank: int, size: int) -> BaseException:
    """The error as other ranks can have it, with where it came from."""
    if "rank" not in error.__dict__:
        error.__dict__.update(rank=rank, sentence=_sentence(error, rank, size))
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:  # it is made from something else than its text
        return RankError(_sentence(error, rank, size))


def _sentence(error: BaseException, rank: int, size: int) -> str:
    if "sentence" in error.__dict__:
        return str(error.__dict__["sentence"])
    text = str(error)
    if type(error).__module__ == "builtins":  # no sentence of ours: say where
        text = f"{type(error).__name__}: {text}"
        if frames := traceback.extract_tb(error.__traceback__):
            text += f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})"
    return f"rank {rank} of {size} ({socket.gethostname()}): {text}"


@contextmanager
def _deaf() -> Iterator[None]:
    """A block in which a signal ends the process where it is: MPI waits for all processes without looking at Python."""
    heard = (number for number in Stop.SIGNALS if signal.getsignal(number) is not signal.SIG_IGN)
    before = {number: signal.signal(number, signal.SIG_DFL) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _mpi() -> Any:
    from mpi4py import MPI

    return MPI
