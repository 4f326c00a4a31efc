"""Make the listening page of a run again: python -m report RUN

A command like train.py. The recordings must be where they were, or in the folder that --data-dir names.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys

from training.machine import keep_freed_memory, start

if __name__ == "__main__":
    options = start("report", "report.arguments")  # before NumPy is imported

from nn1d.command import run_command
from report.listening import publish
from training.data import MISTAKES, prepare_again
from training.run_folder import RunFolder


def main(options: argparse.Namespace) -> None:
    """Run the command."""
    keep_freed_memory()
    run = RunFolder.open(options.run, "run")
    try:
        run.read_results()  # before the corpus, which takes longer
        config, settings = run.read_config("run")
        settings = dataclasses.replace(
            settings, device="cpu", gpu_memory=None, tf32=False, half=False, cache_dir=None
        )  # what was the GPU's, and a folder to write into that a stranger's run may name
        work = prepare_again(config, settings, options.data_dir, "run")
        publish(run, work.clips, work.split, work.threads, sys.stderr.isatty())
    finally:
        run.release()
    print(f"{options.run / 'report.html'}: {(options.run / 'report.html').stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run_command("report", lambda: main(options), *MISTAKES)
