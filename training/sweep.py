"""Folds times seeds of one configuration, each a run of its own: python -m training sweep

submitit submits and watches: a SLURM array where srun exists, local processes elsewhere. A job whose time is over is
put back by submitit, a job that was killed is submitted again here, and either goes on from the checkpoint of its run.
What has come to its end is not done again, so the same command goes on with a sweep that was stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import secrets
import shutil
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from storage.atomic import remove_unfinished, write_atomic
from storage.regular import read_regular
from storage.spreadsheet import csv_lines
from training.arguments import Command
from training.configuration import Configuration
from training.machine import available_cores
from training.run_files import RunError
from training.run_folder import ReadOnlyRun
from training.terminal import say

ROOT = Path(__file__).parents[1]
ATTEMPTS = 3  # of a run whose process is killed
PAUSE_S = 0.2
LONGEST_STEM = 80
ERRORS = "errors.txt"  # of the processes that watch jobs
FIGURES = {  # of results.json
    "test_loss_1": ("pre_training", "test_loss"),
    "train_loss_1": ("pre_training", "train_loss"),
    "test_loss_2": ("fine_tuning", "test_loss"),
    "train_loss_2": ("fine_tuning", "train_loss"),
}


class SweepError(RuntimeError):
    """A sweep cannot be made; the message says why and what to do."""


class Planned(NamedTuple):
    """One run of a sweep."""

    name: str
    fold: str  # "" without folds
    seed: int
    folder: Path
    arguments: list[str]  # of train.py


class Job:
    """A run as submitit calls it: started, or gone on with from its checkpoint.

    It runs in the process that calls it, so that nothing lives on when that is killed.
    """

    def __init__(self, folder: str, arguments: Sequence[str]) -> None:
        self.folder, self.arguments = folder, list(arguments)

    def __call__(self) -> int:
        """The exit code of train.py."""
        begun = (Path(self.folder) / "config.json").is_file()
        sys.argv = [str(ROOT / "train.py"), *(["--resume", self.folder] if begun else self.arguments)]
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit as ended:
            return ended.code if isinstance(ended.code, int) else int(bool(ended.code))
        return 0

    def checkpoint(self) -> Any:
        """What submitit puts back when the time of a job is over; the run saved its state a minute ago at most."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def sweep(options: argparse.Namespace, arguments: Sequence[str], command: Command) -> int:
    """Run what is missing, then print and write the table; 1 if a run failed.

    Raises
    ------
    SweepError
        submitit is missing, the folder holds something else or cannot be written, or --seed, --fold or --resume is
        given.
    """
    if find_spec("submitit") is None:
        raise SweepError("sweep: needs submitit: pip install -e '.[sweep]'")
    if {"seed", "fold", "out", "force"} & set(command.chosen) or command.resume or command.overfit or command.dry_run:
        raise SweepError("sweep: says itself --seed, --fold and --out of each run; give --seeds, --folds and --out")
    settings = command.settings
    folder = options.out or Path("runs") / f"sweep-{settings.db}"
    slurm = options.engine == "slurm" or (options.engine == "auto" and shutil.which("srun") is not None)
    threads = [] if slurm or settings.threads else ["--threads", str(max(1, available_cores() // options.jobs))]
    seeds = list(dict.fromkeys([*seeds_before(folder, arguments), *options.seeds]))
    runs = plan(folder, settings, arguments, seeds, threads)
    try:
        _claim(folder, {"arguments": list(arguments), "seeds": seeds}, runs)
    except OSError as error:
        raise SweepError(f"sweep: cannot write into {folder}: {error.strerror}. Choose another --out") from error
    failed = run_all(runs, folder, options.jobs, slurm, options.hours)
    rows = [row for run in runs if (row := _row(run)) is not None]
    _write(folder, rows)
    say("", *table(rows), f"runs: {len(rows)} of {len(runs)} ended, in {folder}; sweep.csv has a row each")
    for run, reason in failed:
        say(f"sweep: {run.folder}: {reason}")
    return 1 if failed else 0


def plan(
    folder: Path, settings: Configuration, arguments: Sequence[str], seeds: Sequence[int], threads: Sequence[str] = ()
) -> list[Planned]:
    """Every run of a sweep: each fold with each seed."""
    folds = [""]
    if settings.folds is not None:
        from speech.fold import find_folds, fold_names
        from training.data import list_corpus

        folds = fold_names(find_folds(settings.folds, list_corpus(settings, settings.data_dir)[0]))
    runs = []
    of_fold_named = {_stem(fold): fold for fold in folds}
    for fold in folds:
        if (other := of_fold_named[_stem(fold)]) != fold:
            raise SweepError(f"sweep: folds {fold!r} and {other!r} would have one folder. Give them other names")
        for seed in seeds:
            name = (f"fold-{_stem(fold)}-" if fold else "") + f"seed-{seed}"  # a/b and a-b are two
            path = folder.resolve() / name
            of_fold = [f"--fold={fold}"] if fold else []  # which may begin with -
            single = [*arguments, *of_fold, *threads, "--seed", str(seed), "--out", str(path)]
            runs.append(Planned(name, fold, seed, path, single))
    return runs


def run_all(runs: Sequence[Planned], folder: Path, jobs: int, slurm: bool, hours: float) -> list[tuple[Planned, str]]:
    """Take every run to its end, at most `jobs` at a time; those that failed, with the reason."""
    import submitit

    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    logs = folder / "jobs" / f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"  # numbers of jobs come again
    executor = submitit.AutoExecutor(logs, cluster="slurm" if slurm else "local")
    executor.update_parameters(timeout_min=max(1, round(60 * hours)), name="nn1d")
    waiting = [run for run in runs if not _ended(run)]
    if done := len(runs) - len(waiting):
        say(f"sweep: {done} of {len(runs)} runs have ended before")
    attempts = {run.name: 0 for run in waiting}
    running: list[tuple[Planned, Any]] = []
    failed = []
    if slurm:  # one array; SLURM holds the rest back
        executor.update_parameters(slurm_array_parallelism=jobs)
        with executor.batch():
            started = [executor.submit(Job(str(run.folder), run.arguments)) for run in waiting]
        running, waiting = list(zip(waiting, started, strict=True)), []
    try:
        while waiting or running:
            while waiting and len(running) < jobs and not slurm:
                run = waiting.pop(0)
                with _errors_into(folder / "jobs" / ERRORS):
                    running.append((run, executor.submit(Job(str(run.folder), run.arguments))))
                say(f"sweep: {run.name} started")
            for run, job in [pair for pair in running if pair[1].done()]:
                running.remove((run, job))
                attempts[run.name] += 1
                error = job.exception()
                if error is None and job.result() == 0:
                    say(f"sweep: {run.name} ended")
                elif error is None:
                    failed.append((run, f"train.py ended with {job.result()}: {_last_line(job)}"))
                elif attempts[run.name] < ATTEMPTS:
                    say(f"sweep: {run.name} was killed; it goes on from its checkpoint")
                    if slurm:
                        running.append((run, executor.submit(Job(str(run.folder), run.arguments))))
                    else:
                        waiting.insert(0, run)
                else:
                    failed.append((run, f"was killed {ATTEMPTS} times"))
            time.sleep(PAUSE_S)
    except BaseException:  # Ctrl-C among them: local jobs end with the sweep, and save first
        for _, job in running:
            job.cancel(check=False)
        raise
    return failed


@contextmanager
def _errors_into(path: Path) -> Iterator[None]:
    """Let processes that are started now write to a file: those of submitit that watch a job end with a traceback."""
    terminal = os.dup(2)
    with path.open("ab") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Mean, deviation and interval of every figure.

    Seeds of a fold are averaged first; deviation and interval are over folds, which are other people, or over seeds
    where there are no folds.
    """
    import numpy as np

    from speech.bootstrap import bootstrap_mean

    folds = sorted({row["fold"] for row in rows})
    unit = "folds" if len(folds) > 1 else "seeds"
    lines = [f"{'figure':<14} {'mean':>10} {'deviation':>10}  95 % interval over {unit}"]
    for figure in FIGURES if rows else ():
        if unit == "folds":
            values = [statistics.fmean(row[figure] for row in rows if row["fold"] == fold) for fold in folds]
        else:
            values = [row[figure] for row in rows]
        interval = bootstrap_mean(values, np.random.default_rng(0))
        deviation = statistics.stdev(values) if len(values) > 1 else float("nan")
        lines.append(
            f"{figure:<14} {interval.mean:10.3e} {deviation:10.1e}  {interval.low:.3e} to {interval.high:.3e} "
            f"({len(values)} {unit})"
        )
    return lines


def _ended(run: Planned) -> bool:
    return _row(run) is not None


def _row(run: Planned) -> dict[str, Any] | None:
    """What a run came to; None if it has not ended."""
    try:
        results = ReadOnlyRun(run.folder).read_results()
    except RunError:
        return None
    figures = {name: results[phase][key] for name, (phase, key) in FIGURES.items()}
    return {"run": run.name, "fold": run.fold, "seed": run.seed, **figures}


def _stem(fold: str) -> str:
    """A fold as a part of a file's name."""
    return quote(fold, safe=" ")[:LONGEST_STEM]


def seeds_before(folder: Path, arguments: Sequence[str]) -> list[int]:
    """Those that a sweep has taken in this folder; another sweep is not mixed with it."""
    path = folder / "sweep.json"
    if path.is_symlink():
        raise SweepError(f"sweep: {path} is a link, and nothing is written behind one. Remove the link")
    if not path.exists():
        return []
    try:
        before = json.loads(read_regular(path))
        taken, seeds = before["arguments"], [int(seed) for seed in before["seeds"]]
    except (OSError, ValueError, LookupError, TypeError, OverflowError, RecursionError):
        raise SweepError(f"sweep: {path} is not what a sweep has written. Name another --out") from None
    if taken != list(arguments):
        raise SweepError(f"sweep: {folder} holds another sweep, see {path}. Name another --out, or give its options")
    return seeds


def _claim(folder: Path, content: Mapping[str, Any], runs: Sequence[Planned]) -> None:
    """Note in an empty folder what a sweep is of; something else is not mixed with it, as `seeds_before` has seen."""
    path = folder / "sweep.json"
    written = (path, folder / "sweep.csv", folder / "jobs", folder / "jobs" / ERRORS)
    for place in (*written, *(run.folder for run in runs)):
        if place.is_symlink():
            raise SweepError(f"sweep: {place} is a link, and nothing is written behind one. Remove the link")
    folder.mkdir(parents=True, exist_ok=True)
    remove_unfinished(folder)
    if not path.exists() and any(folder.iterdir()):
        raise SweepError(f"sweep: {folder} is there and holds no sweep. Choose another --out")
    write_atomic(path, (json.dumps(content, indent=1) + "\n").encode())


def _write(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    head = ("run", "fold", "seed", *FIGURES)
    lines = csv_lines([head, *([row.get(column, "") for column in head] for row in rows)])
    write_atomic(folder / "sweep.csv", "".join(lines).encode("utf-8", "backslashreplace"))


def _last_line(job: Any) -> str:
    lines = [line for line in (job.stderr() or "").splitlines() if line.startswith("train.py: ")]
    return lines[-1].removeprefix("train.py: ") if lines else f"see {job.paths.stderr}"
