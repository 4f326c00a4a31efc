"""Make the listening page of a run again: python -m report RUN; of several side by side: python -m report RUN RUN2 ...

A command like train.py. The recordings must be where they were, or in the folder that --data-dir names.
"""

from __future__ import annotations

from training.launch import end_quietly

if __name__ == "__main__":
    end_quietly("report")

import argparse
import dataclasses
import sys
import warnings
from pathlib import Path
from typing import Any

from training.machine import keep_freed_memory, start

if __name__ == "__main__":
    options = start("report", "report.arguments")  # before NumPy is imported

from inference.model import WEIGHTS, load_run
from nn1d.command import run_command
from report.comparison import PAGE, Compared, check_place, compare, read_evaluations
from report.listening import publish
from storage.atomic import write_atomic
from training.data import MISTAKES, prepare_again
from training.run_files import RunError, read_config
from training.run_folder import ReadOnlyRun, RunFolder

# In place of what was the GPU's, and of a folder to write into that a stranger's run may name.
HERE: dict[str, Any] = {"device": "cpu", "gpu_memory": None, "tf32": False, "half": False, "cache_dir": None}


def main(options: argparse.Namespace) -> None:
    """Run the command."""
    keep_freed_memory()
    warnings.simplefilter("ignore", RuntimeWarning)  # of overflow: what is not finite ends with a sentence
    if options.others:
        side_by_side([options.run, *options.others], options.out, options.data_dir)
        return
    if options.out is not None:
        raise RunError(f"report: -o is for several runs; {options.run} has its page in its folder. Leave -o out")
    with RunFolder.open(options.run, "run") as run:
        run.read_results()  # before the corpus, which takes longer
        config, settings = run.read_config("run")
        settings = dataclasses.replace(settings, **HERE)
        work = prepare_again(config, settings, options.data_dir, "run")
        publish(run, work.clips, work.split, work.threads, sys.stderr.isatty())
    print(f"{options.run / 'report.html'}: {(options.run / 'report.html').stat().st_size / 1e6:.1f} MB")


def side_by_side(paths: list[Path], out: Path | None, data_dir: Path | None) -> None:
    """Write one page of several runs."""
    place = out or paths[0] / PAGE
    for k, path in enumerate(paths):
        read_config(path, "run")
        if path.resolve() in [other.resolve() for other in paths[:k]]:
            raise RunError(f"report: {path} is named twice. Leave it out once")
    check_place(place)
    text = compare([read_compared(path, data_dir) for path in paths])
    if out is None:
        with RunFolder.open(paths[0], "run") as run:
            run.write_comparison(text)
    else:
        write_atomic(out, text.encode("utf-8", "backslashreplace"))
    print(f"{place}: {place.stat().st_size / 1e6:.1f} MB")


def read_compared(path: Path, data_dir: Path | None) -> Compared:
    """A run with its corpus and its networks."""
    run = ReadOnlyRun(path)
    config, settings = run.read_config("run")
    results, history = run.read_results(), run.read_history()
    if "distortion" not in results:
        raise RunError(f"report: {path} has no listening page yet. Make it first: python -m report {path}")
    evaluations = read_evaluations(path)
    settings = dataclasses.replace(settings, **HERE)
    work = prepare_again(config, settings, data_dir, "run")
    models = {phase: load_run(path, weights, work.threads) for phase, weights in WEIGHTS.items()}
    return Compared(path, config, settings, results, history, evaluations, models, work)


if __name__ == "__main__":
    run_command("report", lambda: main(options), *MISTAKES)
