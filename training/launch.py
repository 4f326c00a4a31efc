"""The first moments of a process: how Ctrl-C ends it, and which of several it is by what mpiexec and srun tell it.

Imports nothing that takes long.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

VARIABLES = (  # rank, number of ranks
    ("PMI_RANK", "PMI_SIZE"),  # MPICH, Intel MPI, srun --mpi=pmi2
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),  # Open MPI
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),  # srun; a batch script has no second one
)


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
        os.write(2, f"{command}: {'interrupted' if number == signal.SIGINT else 'terminated'}\n".encode())
        os._exit(128 + number)  # nothing is written yet; an import may swallow an exception

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)


def silence_others() -> None:
    """Let rank 0 alone speak: what the others print is lost, and their mistakes are told to rank 0."""
    if launch().rank > 0:
        sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the process ends
