"""Make the listening page of a run again: python -m report RUN

A command like train.py. The recordings must be where they were, or in the folder that --data-dir names.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from training.machine import blas_environment

os.environ.update(blas_environment())  # before NumPy loads its BLAS

from report.listening import publish
from training.data import MISTAKES, prepare_again
from training.machine import keep_freed_memory
from training.run_folder import RunFolder


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code: 0 done, 2 a mistake in the input, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="python -m report", description="Make the listening page of a run again.")
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder that train.py printed")
    parser.add_argument("--data-dir", type=Path, metavar="PATH", help="where the recordings are, if they have moved")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    try:
        run = RunFolder.open(options.run, "report")
        try:
            run.read_results()  # before the corpus, which takes longer
            config, settings = run.read_config("report")
            settings = dataclasses.replace(settings, device="cpu", gpu_memory=None, tf32=False, half=False)
            work = prepare_again(config, settings, options.data_dir, "report")
            publish(run, work.clips, work.split, work.threads, sys.stderr.isatty())
        finally:
            run.release()
    except MISTAKES as error:
        print(f"report: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("report: interrupted", file=sys.stderr)
        return 130
    print(f"{options.run / 'report.html'}: {(options.run / 'report.html').stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
