"""What is done before a training, or around many.

python -m training sweep --db emodb --folds speaker --seeds 0 1 2 --jobs 2        a run for each fold and seed
python -m training shards --db folder --data-dir recordings --out shards          a corpus for --db shards
"""

from __future__ import annotations

from training.launch import end_quietly, ending_others, silence_others

if __name__ == "__main__":
    end_quietly("training")
    silence_others()

import sys

from training.machine import start

if __name__ == "__main__":
    task = start("training", "training.task")  # before NumPy is imported

from nn1d.command import run_command
from training.data import MISTAKES
from training.rank import Ranks
from training.sharding import make_shards
from training.sweep import SweepError, sweep
from training.task import Task


def main(task: Task) -> int:
    """Run the command; the exit code: 0 done, 1 a run of a sweep failed."""
    options = task.options
    if options.command == "shards":
        with Ranks.join() as ranks:
            make_shards(task.command.settings, options.out, options.clips_per_shard, ranks)
        return 0
    return sweep(options, task.arguments, task.command)


if __name__ == "__main__":
    with ending_others():
        sys.exit(run_command("training", lambda: main(task), *MISTAKES, SweepError))
