"""python -m benchmarks.epoch: an epoch of python train.py, reading, validation and logging included, beside its steps.

The command runs a few epochs; steps of the same batch size alone, in a process of their own, are timed before and
after, since a machine is not equally fast all the time.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measure import Answer, Side, in_turn, machine, seconds, write
from nn1d.command import Parser, run_command
from training.arguments import read_arguments
from training.configuration import ConfigurationError


def steps_alone(batch: int, samples: int, rounds: int) -> list[Answer]:
    """Steps of the default network, the clips at hand."""
    from training.machine import available_cores

    sizes = {"work": "train", "batch": batch, "samples": samples, "threads": available_cores()}
    return in_turn([Side("benchmarks.step:ours", None, **sizes)], rounds)[0]


def measure(db: str, epochs: int, batch: int, samples: int, rounds: int, more: list[str]) -> dict[str, Any]:
    """Seconds of an epoch of phase 1, and of as many steps alone as it has."""
    before = steps_alone(batch, samples, rounds)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        options = ["--db", db, "--out", str(run), "--epochs", str(epochs), "--fine-tune-epochs", "1", "--no-report"]
        options += ["--batch-size", str(batch), "--clip-samples", str(samples), *more]
        command = [sys.executable, "train.py", *options]
        done = subprocess.run(command, cwd=Path(__file__).parents[1], stdout=subprocess.DEVNULL)
        if done.returncode:
            sys.exit(f"benchmarks: train.py ended with {done.returncode}; see its message above")
        split = json.loads((run / "config.json").read_text("utf-8"))["split"]
        with (run / "history.csv").open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["phase"] == "pre_training"]
    step = seconds([*before, *steps_alone(batch, samples, rounds)])
    steps = -(-len(split["train"]) // batch)
    epoch = statistics.median(float(row["seconds"]) for row in rows)
    return {
        "db": db,
        "train_clips": len(split["train"]),
        "validation_clips": len(split["validation"]),
        "batch": batch,
        "epoch_s": epoch,
        "steps": steps,
        "step_ms": step * 1e3,
        "ratio": epoch / (steps * step),
    }


def main(arguments: list[str] | None = None) -> int:
    """Print the two and their ratio."""
    parser = Parser(
        command="benchmarks.epoch", description=(__doc__ or "").splitlines()[0] + " All other options are train.py's."
    )
    parser.add_argument("--db", default="emodb", help="corpus (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=3, help="epochs of phase 1 (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=2, help="clips a step (default: that of train.py, %(default)s)")
    parser.add_argument("--samples", type=int, default=64_000, help="length of a clip (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=60, help="steps alone, before and after (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    options, more = argparse.ArgumentParser.parse_known_args(parser, arguments)  # what is left goes to train.py
    run_command("benchmarks.epoch", lambda: read_arguments(["--db", options.db, *more]), ConfigurationError)
    figures = measure(options.db, options.epochs, options.batch, options.samples, options.rounds, more)
    print(
        f"{figures['db']}: an epoch takes {figures['epoch_s']:.1f} s, its {figures['steps']} steps of "
        f"{figures['batch']} clips alone {figures['steps'] * figures['step_ms'] / 1e3:.1f} s: "
        f"{figures['ratio']:.3f} times as long"
    )
    write(options.json, {"machine": machine(), **figures})
    return 0


if __name__ == "__main__":
    sys.exit(run_command("benchmarks.epoch", main))
