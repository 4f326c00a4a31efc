"""Faults on purpose: does a run come to the same end, does every command end with a result or a sentence?

    python -m tests.faults kill --times 50       SIGKILL at random moments, resumed each time until the run is done
    python -m tests.faults ranks --times 10      SIGKILL to one of two to four ranks of MPI, then resumed
    python -m tests.faults shards --times 10     SIGKILL while shards are made, then once more to the end
    python -m tests.faults write [--times 10]    each write of a run fails once, or some: the disk takes no more
    python -m tests.faults foreign               files of others in runs, sweeps and shards, and beside them
    python -m tests.faults damage [--times 50]   each file of a run and of its cache, by bit and by block
    python -m tests.faults permission            each folder and file without rights
    python -m tests.faults locale                terminals that are not UTF-8

The outcome is compared byte for byte with that of a run that nothing interrupted: weights, states, representations,
history, results and what the listening page is made of, but for the seconds in them.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from nn1d.command import Parser
from tests.damage import damage
from tests.foreign_files import keep_foreign, keep_foreign_of_many
from tests.full_disk import write
from tests.killing import kill, kill_shards
from tests.surroundings import locales, permissions


def main() -> int:
    """Print what was done; an assertion if a run came to another end."""
    parser = Parser(command="tests.faults", prog="python -m tests.faults")
    parser.add_argument(
        "fault", choices=("kill", "ranks", "shards", "write", "foreign", "damage", "permission", "locale")
    )
    parser.add_argument("--times", type=int, help="how many; 50 kills, or all that there are")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.fault == "write":
            count, failed = write(Path(folder), options.times, options.seed)
            print(f"{count} writes, {failed} made to fail; every run went on to the same end")
        elif options.fault in ("foreign", "damage", "permission", "locale"):
            if options.fault == "damage":
                counts = damage(Path(folder), options.times, options.seed)
            elif options.fault == "foreign":
                one, many = Path(folder) / "one", Path(folder) / "many"
                counts = keep_foreign(one) + keep_foreign_of_many(many)
            else:
                harnesses = {"permission": permissions, "locale": locales}
                counts = harnesses[options.fault](Path(folder))
            print(f"{counts.total()} tried: " + ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
        else:
            times = options.times or 50
            if options.fault == "shards":
                kills = kill_shards(times, Path(folder), options.seed)
            else:
                kills = kill(times, Path(folder), options.seed, options.fault == "ranks")
            print(f"{kills.total()} kills; every run came to the same end. Where they struck:")
            for name, count in kills.most_common():
                print(f"  {name:<28} {count}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
