"""The options of python -m training; nothing here takes long to import."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nn1d.command import Parser as StrictParser
from training.arguments import Command
from training.arguments import read_arguments as read_settings
from training.configuration import WHOLE, ConfigurationError

CLIPS_PER_SHARD = 4096
LONGEST_HOURS = 10_000.0
DESCRIPTION = """What is done before a training, or around many.

python -m training sweep --db emodb --folds speaker --seeds 0 1 2 --jobs 2        a run for each fold and seed
python -m training shards --db folder --data-dir recordings --out shards          a corpus for --db shards
"""
OTHERS = "All other options are train.py's."


class Task(NamedTuple):
    """What a command line asks for."""

    options: argparse.Namespace
    arguments: list[str]  # of train.py
    command: Command  # that they are


class Parser(StrictParser):
    """The project's; what it does not know is train.py's."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As argparse does it."""
        return argparse.ArgumentParser.parse_known_args(self, args, namespace)


def read_arguments(arguments: Sequence[str] | None = None) -> Task:
    """What a command line asks for.

    Raises
    ------
    ConfigurationError
        An option is out of range, or as of train.py's `read_arguments`.
    SystemExit
        With code 2 after a sentence about an unknown option or a text that is no number, with 0 after --help.
    """
    as_it_is = argparse.RawDescriptionHelpFormatter
    parser = Parser(
        command="training", prog="python -m training", description=DESCRIPTION, epilog=OTHERS, formatter_class=as_it_is
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")

    def add(name: str, text: str) -> Any:
        return commands.add_parser(name, help=text, command=f"training: {name}", epilog=OTHERS).add_argument

    option = add("sweep", "folds times seeds, each a run of its own")
    option("--seeds", type=int, nargs="+", default=[0], metavar="N", help="(default: 0)")
    option("--jobs", type=int, default=1, metavar="N", help="runs at a time (default: 1)")
    option("--out", type=Path, metavar="DIR", help="a folder a run in it; runs/sweep-<db> unless given")
    option("--engine", choices=("auto", "local", "slurm"), default="auto", help="SLURM where srun exists")
    option("--hours", type=float, default=24.0, metavar="X", help="of a job, then it is put back (24)")
    option = add("shards", "a corpus in files that are mapped as they are needed")
    option("--out", type=Path, required=True, metavar="DIR", help="the folder for them")
    option("--clips-per-shard", type=int, default=CLIPS_PER_SHARD, metavar="N", help="(default: %(default)s)")

    options, others = parser.parse_known_args(arguments)
    if options.command == "shards":
        if not 1 <= options.clips_per_shard <= WHOLE:
            raise ConfigurationError(f"--clips-per-shard must be from 1 to {WHOLE}; got {options.clips_per_shard}")
    else:
        options.seeds = list(dict.fromkeys(options.seeds))  # a seed given twice is one run
        seeds = min(options.seeds) >= 0 and max(options.seeds) <= WHOLE
        if options.jobs < 1 or not 0 < options.hours <= LONGEST_HOURS or not seeds:
            raise ConfigurationError(
                f"sweep: --jobs must be at least 1, --hours above 0 and at most {LONGEST_HOURS:.0f}, and --seeds from "
                f"0 to {WHOLE}"
            )
    return Task(options, others, read_settings(others))
