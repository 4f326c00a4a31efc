"""The first moments of a process: how Ctrl-C ends it, and which of several it is by what mpiexec and srun tell it.

The others wait for a process that ends before it has joined them, and MPICH's mpiexec lets them: `end_others`.

Imports nothing that takes long.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

VARIABLES = (  # rank, number of ranks
    ("PMI_RANK", "PMI_SIZE"),  # MPICH, Intel MPI, srun --mpi=pmi2
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),  # Open MPI
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),  # srun; a batch script has no second one
)
SECONDS_OF_FIRST = 1.0  # that rank 0 has to say a mistake that all make
_held = io.StringIO()  # what a rank that is not the first would say


class Launch(NamedTuple):
    """A process among those that were started together."""

    rank: int
    size: int


def launch(environment: Mapping[str, str] = os.environ) -> Launch:
    """What the environment says; rank 0 of 1 where it says nothing."""
    for rank, size in VARIABLES:
        try:
            if (count := int(environment[size])) > 1:
                return Launch(int(environment[rank]), count)
        except (KeyError, ValueError):
            continue
    return Launch(0, 1)


def end_quietly(command: str) -> None:
    """Until the command takes signals itself, let SIGINT and SIGTERM end the process with one line, 130 and 143."""

    def end(number: int, frame: object) -> None:
        sentence = f"{command}: {'interrupted' if number == signal.SIGINT else 'terminated'}\n"
        if launch().rank == 0:
            os.write(2, sentence.encode())
        else:
            _held.write(sentence)
        end_others(128 + number)
        os._exit(128 + number)  # nothing is written yet; an import may swallow an exception

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)


def silence_others() -> None:
    """Let rank 0 alone speak: their mistakes are told to it, once they have joined."""
    if launch().rank > 0:
        sys.stdout, sys.stderr = Path(os.devnull).open("w", encoding="utf-8"), _held  # noqa: SIM115 - to the end


@contextmanager
def ending_others() -> Iterator[None]:
    """A block in which a process may end by a mistake, or by a signal, before it has joined the others."""
    try:
        yield
    except SystemExit as end:
        if end.code:
            end_others(end.code)
        raise


def end_others(code: int | str) -> None:
    """End those that wait for this process to join them, with its exit code; nothing where it has joined."""
    rank, size = launch()
    if size == 1 or "mpi4py.MPI" in sys.modules:
        return
    if rank > 0:  # if it were a mistake of all, the first would have ended them by then
        import socket

        signal.signal(signal.SIGTERM, lambda *_: os._exit(code if isinstance(code, int) else 1))  # it has ended them
        time.sleep(SECONDS_OF_FIRST)
        command, _, sentence = _held.getvalue().partition(": ")
        os.write(2, f"{command}: rank {rank} of {size} ({socket.gethostname()}): {sentence}".encode())
    if {"PMI_FD", "MPI_LOCALRANKID"} <= os.environ.keys():  # of MPICH's mpiexec, which reads what its PMI_Abort writes
        os.write(int(os.environ["PMI_FD"]), f"cmd=abort exitcode={code}\n".encode())
