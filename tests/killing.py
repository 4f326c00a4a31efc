"""Runs that are killed at random moments and go on: does the same come out?"""

from __future__ import annotations

import collections
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from storage.atomic import SUFFIX
from tests.command import ROOT, compare, make_recordings, outcome, start, whole_run
from tests.ranks import pid_of, start_ranks

SECONDS_TO_END = 30  # of a command that was killed, and of the ranks that are left


def stage(run: Path) -> str:
    """How far a run has come, by its files."""
    if not (run / "config.json").exists():
        return "before the run"
    unfinished = [path.name for path in run.rglob(f".*{SUFFIX}")]
    if any(name.startswith(".features") for name in unfinished):
        return "while features are written"
    if unfinished:
        return "while a file is saved"
    if (run / "report.html").exists():
        return "after the page"
    if (run / "results.json").exists():
        return "while the page is made"
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
    options, rng = (*whole_run(folder), *longer), random.Random(seed)
    with start(*options, "--out", folder / "whole") as process:
        wait_for_work(process)
        began = time.monotonic()
        process.communicate(timeout=300)
        assert process.returncode == 0
        longest = time.monotonic() - began
    expected, number = outcome(folder / "whole"), 0
    kills: collections.Counter[str] = collections.Counter()
    while kills.total() < times:
        number += 1
        run = folder / f"run{number}"
        while True:
            threads = ("--threads", str(rng.choice([1, 2, 3])))
            made, ended = (run / "config.json").exists(), (run / "report.html").exists()
            words: tuple[str | Path, ...] = ("--resume", run, *threads) if made else (*options, *threads, "--out", run)
            size = rng.choice([2, 3, 4])
            with start_ranks(size, *words) if ranks else start(*words) as process:
                wait_for_work(process)
                try:  # of the work that is left, not of a start that takes longer
                    process.wait(None if ended or kills.total() >= times else rng.uniform(0, 0.6 * longest))
                except subprocess.TimeoutExpired:
                    if ranks:
                        os.kill(pid_of(rng.randrange(size), process.pid), signal.SIGKILL)
                    else:
                        process.kill()
                    process.wait(SECONDS_TO_END)
                    kills[stage(run)] += 1
                    continue
            assert process.returncode == 0
            break
        compare(run, expected)
    return kills


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
        options = (
            "--db",
            "folder",
            "--data-dir",
            str(recordings),
            "--out",
            str(folder / name),
            "--clips-per-shard",
            "10",
        )
        command = [sys.executable, "-m", "training", "shards", *options]
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
    kills: collections.Counter[str] = collections.Counter()
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
        kills[f"with {len(list((folder / name).rglob('*.npy')))} of 20 shards"] += 1
        with start_making(name) as process:
            assert process.wait(timeout=300) == 0
        made = contents(name)
        other = [path for path in made.keys() | expected.keys() if made.get(path) != expected.get(path)]
        assert not other, f"{name} came to another end: {', '.join(other)}"
    return kills
