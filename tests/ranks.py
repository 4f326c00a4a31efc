"""train.py as mpiexec starts it: several processes, and how to reach one of them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.ranks import MPIEXEC
from tests.command import ROOT

THERE = MPIEXEC is not None and importlib.util.find_spec("mpi4py") is not None and Path("/proc/self/environ").exists()
needs_mpi = pytest.mark.skipif(not THERE, reason="needs Linux, and pip install mpi4py mpich")


def start_ranks(count: int, *options: str | Path) -> subprocess.Popen[str]:
    """Start the command in several processes."""
    return subprocess.Popen(
        [str(MPIEXEC), "-n", str(count), sys.executable, "train.py", *map(str, options)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def pid_of(rank: int, job: int) -> int:
    """The process that is this rank of what mpiexec, itself a process, has started."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has ended
    for pid, parent in parents.items():
        if parents.get(parent) == job and f"PMI_RANK={rank}".encode() in Path(
            f"/proc/{pid}/environ"
        ).read_bytes().split(b"\0"):
            return pid
    raise LookupError(f"no rank {rank} of {job}")
