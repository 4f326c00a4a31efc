"""Runs that are killed at random moments, or whose writes fail, and that go on: does the same come out?

    python -m tests.faults kill --times 50       SIGKILL, resumed each time until the run is done
    python -m tests.faults ranks --times 10      SIGKILL to one of two to four ranks of MPI, then resumed
    python -m tests.faults shards --times 10     SIGKILL while shards are made, then once more to the end
    python -m tests.faults write                 each write of a run fails once: the disk takes no more

The outcome is compared byte for byte with that of a run that nothing interrupted: weights, states, representations,
history and results, but for the seconds in them.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from storage.atomic import SUFFIX
from tests.command import ROOT, SMALL, make_recordings, outcome, start, train
from tests.ranks import pid_of, start_ranks

SECONDS_TO_END = 30  # of a command that was killed, and of the ranks that are left
FAIL = """
import contextlib, resource, runpy, sys
from pathlib import Path
import storage.atomic as storage
new_file, calls = storage.new_file, 0

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


def options(folder: Path) -> tuple[str, ...]:
    """A small run on real files, with a saved state after every step."""
    recordings = make_recordings(folder / "recordings")
    return (
        "--db", "folder", "--data-dir", str(recordings), "--cache-dir", str(folder / "cache"), *SMALL,
        "--checkpoint-every", "0",
    )  # fmt: skip


def stage(run: Path) -> str:
    """How far a run has come, by its files."""
    if not (run / "config.json").exists():
        return "before the run"
    unfinished = [path.name for path in run.rglob(f".*{SUFFIX}")]
    if any(name.startswith(".features") for name in unfinished):
        return "while features are written"
    if unfinished:
        return "while a file is saved"
    if (run / "results.json").exists():
        return "after the results"
    if (run / "checkpoints" / "fine_tuning.state.safetensors").exists():
        return "in fine-tuning"
    if (run / "features.npy").exists():
        return "between the phases"
    if (run / "checkpoints" / "pre_training.state.safetensors").exists():
        return "in pre-training"
    return "before the first state"


def kill(times: int, folder: Path, seed: int, ranks: bool = False) -> collections.Counter[str]:
    """Kill runs, or a rank of each, at `times` random moments; where they were.

    AssertionError if one comes to another end, or if a rank that is left does not end in seconds.
    """
    longer = ("--epochs", "6", "--fine-tune-epochs", "6", "--clip-samples", "16000", "--channels", "8,8")
    given, rng = (*options(folder), *longer), random.Random(seed)
    with start(*given, "--out", folder / "whole") as process:
        wait_for_work(process)
        began = time.monotonic()
        assert process.wait(timeout=300) == 0
        longest = time.monotonic() - began
    expected, number = outcome(folder / "whole"), 0
    found: collections.Counter[str] = collections.Counter()
    while found.total() < times:
        number += 1
        run = folder / f"run{number}"
        while True:
            threads = ("--threads", str(rng.choice([1, 2, 3])))
            made, ended = (run / "config.json").exists(), (run / "results.json").exists()
            words: tuple[str | Path, ...] = ("--resume", run, *threads) if made else (*given, *threads, "--out", run)
            size = rng.choice([2, 3, 4])
            with start_ranks(size, *words) if ranks else start(*words) as process:
                wait_for_work(process)
                try:  # of the work that is left, not of a start that takes longer
                    process.wait(None if ended or found.total() >= times else rng.uniform(0, 0.6 * longest))
                except subprocess.TimeoutExpired:
                    if ranks:
                        os.kill(pid_of(rng.randrange(size), process.pid), signal.SIGKILL)
                    else:
                        process.kill()
                    process.wait(SECONDS_TO_END)
                    found[stage(run)] += 1
                    continue
            assert process.returncode == 0
            break
        compare(run, outcome(run), expected)
    return found


def wait_for_work(process: subprocess.Popen[str], begins: str = "run: ") -> None:
    """Until the command says that it has a run folder, or something else."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(begins):
            return


def kill_shards(times: int, folder: Path, seed: int) -> collections.Counter[str]:
    """Kill the preparation of shards at `times` random moments; how many shards there were."""
    recordings, rng = make_recordings(folder / "recordings", 200), random.Random(seed)

    def start_making(name: str) -> subprocess.Popen[str]:
        words = [
            "--db",
            "folder",
            "--data-dir",
            str(recordings),
            "--out",
            str(folder / name),
            "--clips-per-shard",
            "10",
        ]
        command = [sys.executable, "-m", "training", "shards", *words]
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        wait_for_work(process, "corpus: ")
        return process

    def contents(name: str) -> dict[str, bytes]:
        return {str(path.relative_to(folder / name)): path.read_bytes() for path in (folder / name).rglob("*.*")}

    with start_making("whole") as process:
        began = time.monotonic()
        assert process.wait(timeout=300) == 0
        longest = time.monotonic() - began
    expected = contents("whole")
    found: collections.Counter[str] = collections.Counter()
    for number in range(times):
        name, killed = f"killed{number}", False
        while not killed:
            shutil.rmtree(folder / name, ignore_errors=True)
            with start_making(name) as process:
                try:
                    process.wait(rng.uniform(0, longest))
                except subprocess.TimeoutExpired:
                    process.kill()
                    killed = True
        found[f"with {len(list((folder / name).rglob('*.npy')))} of 20 shards"] += 1
        with start_making(name) as process:
            assert process.wait(timeout=300) == 0
        compare(folder / name, contents(name), expected)
        assert not (more := contents(name).keys() - expected.keys()), f"{name} has {more} more"
    return found


def write(folder: Path, only: list[int] | None = None) -> tuple[int, int]:
    """Let each write of a run fail; how many there are, and how many failed."""
    given = options(folder)
    done = run_failing(0, 0, *given, "--out", str(folder / "whole"))
    assert done.returncode == 0, done.stderr
    expected, count = outcome(folder / "whole"), int(done.stdout.split("writes:")[1])
    failed = 0
    for fails in only or range(1, count + 1):
        run = folder / f"run{fails}"
        shutil.rmtree(folder / "cache")  # so that its file is written again
        done = run_failing(fails, 16, *given, "--out", str(run))
        assert done.returncode == 2 and "Traceback" not in done.stderr, (fails, done.stdout, done.stderr)
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
        assert not list(run.rglob(f".*{SUFFIX}"))
        failed += 1
        if (run / "config.json").exists():
            train("--resume", run)
        else:
            train(*given, "--out", run)
        compare(run, outcome(run), expected)
    return count, failed


def compare(run: Path, found: dict[str, Any], expected: dict[str, Any]) -> None:
    """AssertionError that names what differs."""
    other = [name for name in expected if found[name] != expected[name]]
    assert not other, f"{run} came to another end: {', '.join(other)}"


def run_failing(fails: int, size: int, *given: str) -> subprocess.CompletedProcess[str]:
    """The command, whose write number `fails` cannot grow beyond `size` bytes."""
    program = FAIL.format(fails=fails, bytes=size)
    command = [sys.executable, "-c", program, *given]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)


def main() -> int:
    """Print what was done; an assertion if a run came to another end."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("fault", choices=("kill", "ranks", "shards", "write"))
    parser.add_argument("--times", type=int, default=50, help="kills (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.fault != "write":
            if given.fault == "shards":
                found = kill_shards(given.times, Path(folder), given.seed)
            else:
                found = kill(given.times, Path(folder), given.seed, given.fault == "ranks")
            print(f"{found.total()} kills; every run came to the same end. Where they struck:")
            for name, count in found.most_common():
                print(f"  {name:<28} {count}")
        else:
            count, failed = write(Path(folder))
            print(f"{count} writes, {failed} made to fail; every run went on to the same end")
    return 0


if __name__ == "__main__":
    sys.exit(main())
