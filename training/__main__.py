"""What is done before a training, or around many.

python -m training sweep --db emodb --folds speaker --seeds 0 1 2 --jobs 2        a run for each fold and seed
python -m training shards --db folder --data-dir recordings --out shards          a corpus for --db shards
"""

from __future__ import annotations

from training.launch import end_quietly

if __name__ == "__main__":
    end_quietly("training")

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from training.launch import silence_others

if __name__ == "__main__":
    silence_others()

from nn1d import ShapeError
from nn1d.command import run_command
from speech.recording import CorpusError
from speech.split import SplitError
from training.arguments import read_arguments
from training.configuration import ConfigurationError
from training.rank import RankError, Ranks
from training.sharding import CLIPS_PER_SHARD, make_shards
from training.sweep import SweepError, sweep

MISTAKES = (ConfigurationError, CorpusError, RankError, ShapeError, SplitError, SweepError)
OTHERS = "All other options are train.py's."


class Parser(argparse.ArgumentParser):
    """argparse's; what it does not know is train.py's, and a mistake is one sentence."""

    def error(self, message: str) -> NoReturn:
        """Say it in one sentence, and end."""
        raise SweepError(f"sweep: {message.removeprefix('argument ')}")


def main() -> int:
    """Run the command; options that are not the sweep's own are those of train.py."""
    parser = Parser(
        prog="python -m training", description=__doc__, allow_abbrev=False, epilog=OTHERS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    command = commands.add_parser(
        "sweep", help="folds times seeds, each a run of its own", allow_abbrev=False, epilog=OTHERS
    )
    command.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="N", help="(default: 0)")
    command.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time (default: 1)")
    command.add_argument("--out", type=Path, metavar="DIR", help="a folder a run in it; runs/sweep-<db> unless given")
    command.add_argument("--engine", choices=("auto", "local", "slurm"), default="auto", help="SLURM where srun exists")
    command.add_argument("--hours", type=float, default=24.0, metavar="X", help="of a job, then it is put back (24)")
    command = commands.add_parser(
        "shards", help="a corpus in files that are mapped as they are needed", allow_abbrev=False, epilog=OTHERS
    )
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder for them")
    command.add_argument(
        "--clips-per-shard", type=int, default=CLIPS_PER_SHARD, metavar="N", help="(default: %(default)s)"
    )
    options, arguments = parser.parse_known_args()
    if options.command == "shards":
        if options.clips_per_shard < 1:
            raise ConfigurationError(f"--clips-per-shard must be at least 1; got {options.clips_per_shard}")
        with Ranks.join() as ranks:
            make_shards(read_arguments(arguments).settings, options.out, options.clips_per_shard, ranks)
        return 0
    if options.jobs < 1 or options.hours <= 0 or min(options.seeds) < 0:
        raise SweepError("sweep: --jobs must be at least 1, --hours above 0 and --seeds at least 0")
    return sweep(options, arguments)


if __name__ == "__main__":
    sys.exit(run_command("training", main, *MISTAKES))
