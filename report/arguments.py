"""The options of python -m report."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from nn1d.command import Parser


def read_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What a command line asks for.

    Raises
    ------
    SystemExit
        With code 2 after a sentence about what is wrong, with 0 after --help.
    """
    parser = Parser(command="report", prog="python -m report", description="Make the listening page of a run again.")
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder that train.py printed")
    parser.add_argument(
        "others", type=Path, nargs="*", default=[], metavar="RUN", help="others, to stand beside it in one page"
    )
    parser.add_argument(
        "-o", dest="out", type=Path, metavar="FILE", help="of several runs: comparison.html in the first"
    )
    parser.add_argument("--data-dir", type=Path, metavar="PATH", help="where the recordings are, if they have moved")
    return parser.parse_args(arguments)
