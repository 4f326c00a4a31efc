"""Runs whose writes fail, one in each: one sentence, nothing half-written, and the same comes out when they go on."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

from storage.atomic import SUFFIX
from tests.command import ROOT, compare, outcome, train, whole_run

FAIL = """
import contextlib, os, resource, runpy, signal, sys
from pathlib import Path
from training.machine import blas_environment
os.environ.update(blas_environment())  # before NumPy is imported, as the command does it
import storage.atomic as storage
new_file, calls = storage.new_file, 0
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

@contextlib.contextmanager
def counted(path):
    global calls
    calls += 1
    if calls == {fails}:  # the kernel refuses to let a file grow beyond this
        resource.setrlimit(resource.RLIMIT_FSIZE, ({bytes}, resource.RLIM_INFINITY))
    with new_file(path) as file:
        yield file

storage.new_file = counted
import storage.mapped, speech.clip
storage.mapped.new_file = speech.clip.new_file = counted
try:
    runpy.run_path("train.py", run_name="__main__")
finally:
    print("writes:", calls)
"""


def write(folder: Path, times: int | None = None, seed: int = 0) -> tuple[int, int]:
    """Let each write of a run fail, or `times` of them at random; how many there are, and how many failed."""
    options = whole_run(folder)
    done = run_failing(0, 0, *options, "--out", str(folder / "whole"))
    assert done.returncode == 0, done.stderr
    expected, count = outcome(folder / "whole"), int(done.stdout.split("writes:")[1])
    numbers = random.Random(seed).sample(range(1, count + 1), times or count)
    for fails in numbers:
        run = folder / f"run{fails}"
        shutil.rmtree(folder / "cache")  # so that its file is written again
        done = run_failing(fails, 16, *options, "--out", str(run))
        assert done.returncode == 2 and "Traceback" not in done.stderr, (fails, done.stdout, done.stderr)
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
        assert not list(run.rglob(f".*{SUFFIX}"))
        if (run / "config.json").exists():
            train("--resume", run)
        else:
            train(*options, "--out", run)
        compare(run, expected)
    return count, len(numbers)


def run_failing(fails: int, size: int, *options: str) -> subprocess.CompletedProcess[str]:
    """The command, whose write number `fails` cannot grow beyond `size` bytes."""
    program = FAIL.format(fails=fails, bytes=size)
    command = [sys.executable, "-c", program, *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)
