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
SIGNALLED = """
import os, runpy, signal, sys
from training.machine import blas_environment
os.environ.update(blas_environment())  # before NumPy is imported, as the command does it
from training.trainer import Trainer
step, steps = Trainer.step, 0

def signalled(*arguments):
    global steps
    steps += 1
    if steps == {step}:
        os.kill(os.getpid(), signal.{name})
    return step(*arguments)

Trainer.step, sys.argv[0] = signalled, "train.py"
runpy.run_path("train.py", run_name="__main__")
"""


def start_ranks(count: int, *options: str | Path, last: str | None = None) -> subprocess.Popen[str]:
    """Start the command in several processes; the last of them runs another program if one is given."""
    words, python = [str(option) for option in options], sys.executable
    command = [str(MPIEXEC), "-n", str(count - (last is not None)), python, "train.py", *words]
    if last is not None:
        command += [":", "-n", "1", python, "-c", last, *words]
    return subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def signalled(step: int, name: str) -> str:
    """The command as a program that sends itself a signal in a step."""
    return SIGNALLED.format(step=step, name=name)


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
