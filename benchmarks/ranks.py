"""What a step costs when several processes take it over MPI: measured here, and reckoned for larger machines.

python -m benchmarks.scaling --ranks 1 2 --json FILE measures; python -m benchmarks.ranks FILE prints the reckoning.
A step of R ranks and a batch of B, with n = ceil(B / R) clips on the busiest rank and S segments of a gradient:

    n · clip + (R + S - 1) · (message + bytes / S / bandwidth + n · add / S)
             + 2 · log2 R · message + 2 · bytes / bandwidth

which is the rank's clips, the chain, the agreement to go on, and the broadcast of the sum. What a message takes within
a machine comes from the measured chain of two ranks; a rank that has waited long sees it a sleep later.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nn1d.command import Parser, run_command

MPIEXEC = shutil.which("mpiexec", path=str(Path(sys.executable).parent)) or shutil.which("mpiexec")
RANKS, BATCHES, GIGABITS = (1, 8, 64, 512), (16, 64, 256, 1024), (10, 100)
WIRE_SECONDS = 20e-6  # of a message between two machines over Ethernet, on top of what it takes within one: assumed
PAYS = 0.5  # of R times the speed of one rank


def measure(ranks: int, batch: int, samples: int, rounds: int) -> dict[str, Any]:
    """The figures of a step in a job of its own, one thread a rank."""
    if MPIEXEC is None:
        sys.exit("benchmarks: --ranks needs mpiexec. pip install mpi4py mpich")
    words = ["--batch", str(batch), "--samples", str(samples), "--rounds", str(rounds)]
    command = [MPIEXEC, "-n", str(ranks), sys.executable, "-m", "benchmarks.ranks", "measure", *words]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def measure_here(batch: int, samples: int, rounds: int) -> dict[str, Any]:
    """The same as one of the ranks of a job; empty but for rank 0."""
    from training.machine import blas_environment, keep_freed_memory

    os.environ.update(blas_environment())
    import numpy as np

    from benchmarks.step import clips
    from training.configuration import Configuration
    from training.dual_training import DualTraining
    from training.mpi import choose_executor
    from training.rank import SEGMENT, Ranks

    keep_freed_memory()
    with Ranks.join() as ranks, choose_executor(np, 1, ranks) as executor:
        training = DualTraining(Configuration(clip_samples=samples), clips(batch, samples), executor)
        indices, numbers = np.arange(batch), training.flat.vector.size
        share = len(np.array_split(indices, ranks.size)[ranks.rank])
        gradients = [(0.0, np.ones(numbers, np.float32)) for _ in range(share)]
        total = np.zeros(numbers, np.float32)

        def add() -> None:
            for _ in range(16):
                np.add(total, gradients[0][1] if gradients else total, out=total)

        def median(function: Callable[[], Any], count: int) -> float:
            function()
            times = []
            for _ in range(count):
                ranks.meet()
                started = time.perf_counter()
                function()
                times.append(time.perf_counter() - started)
            return statistics.median(times)

        figures = {
            "ranks": ranks.size,
            "batch": batch,
            "step_s": median(lambda: training.gradient(indices), rounds),
            "chain_s": median(lambda: ranks.chain(numbers, np.float32, gradients), 5 * rounds) if ranks.size > 1 else 0,
            "meet_s": median(ranks.meet, 20 * rounds),
            "add_s": median(add, rounds) / 16,
            "bytes": 0 if ranks.size == 1 else 4 * numbers + 8,  # handed on by a rank; as many come with the broadcast
            "numbers": numbers,
            "segment": SEGMENT,
        }
    return figures if ranks.rank == 0 else {}


def constants(points: list[dict[str, Any]]) -> dict[str, float]:
    """What the reckoning needs, from measured points: those of one rank, and of two where there are some."""
    alone = [point for point in points if point["ranks"] == 1]
    several = [point for point in points if point["ranks"] > 1]
    return {
        "clip_s": min(point["step_s"] / point["batch"] for point in alone),
        "add_s": min(point["add_s"] for point in alone),
        "message_s": min(map(message_seconds, several), default=0.0),
        "numbers": points[0]["numbers"],
        "segment": points[0]["segment"],
    }


def message_seconds(point: dict[str, Any]) -> float:
    """What a message takes between two ranks of one machine, by a measured chain and its broadcast."""
    ranks, segments = point["ranks"], math.ceil(point["numbers"] / point["segment"])
    stages, clips = ranks + segments - 1, math.ceil(point["batch"] / ranks)
    adding = stages * clips * point["add_s"] / segments
    return float((point["chain_s"] - adding) / (stages + math.log2(ranks)))


def step_seconds(measured: dict[str, float], ranks: int, batch: int, gigabits: float) -> float:
    """The equation above."""
    from training.rank import SLEEP  # not before those that measure have set what BLAS reads

    size, clips = 4 * measured["numbers"], math.ceil(batch / ranks)
    if ranks == 1:
        return clips * measured["clip_s"]
    segments = math.ceil(measured["numbers"] / measured["segment"])
    message, bandwidth = measured["message_s"] + WIRE_SECONDS + SLEEP, gigabits * 1e9 / 8
    hop = message + size / segments / bandwidth + clips * measured["add_s"] / segments
    chain = (ranks + segments - 1) * hop
    return clips * measured["clip_s"] + chain + 2 * math.log2(ranks) * message + 2 * size / bandwidth


def said(measured: dict[str, float]) -> str:
    """The constants."""
    return (
        f"{1e3 * measured['clip_s']:.0f} ms a clip on one core, {1e6 * measured['add_s']:.1f} µs to add a gradient, "
        f"{1e6 * measured['message_s']:.0f} µs a message within a machine"
    )


def table(measured: dict[str, float]) -> list[str]:
    """Milliseconds a step, and how many times as fast as one rank."""
    lines = ["| Gbit/s | batch | " + " | ".join(f"{ranks} ranks" for ranks in RANKS) + " | pays to |",
             "|---:|---:|" + "---:|" * (len(RANKS) + 1)]  # fmt: skip
    for gigabits in GIGABITS:
        for batch in BATCHES:
            alone = step_seconds(measured, 1, batch, gigabits)
            times = [step_seconds(measured, ranks, batch, gigabits) for ranks in RANKS]
            cells = [f"{1e3 * seconds:.0f} ms (×{alone / seconds:.1f})" for seconds in times]
            most = max(ranks for ranks in range(1, batch + 1)
                       if alone / step_seconds(measured, ranks, batch, gigabits) >= PAYS * ranks)  # fmt: skip
            lines.append(f"| {gigabits} | {batch} | {' | '.join(cells)} | {most} |")
    return lines


def main() -> int:
    """Print the reckoning, or measure as one of the ranks."""
    parser = Parser(command="benchmarks.ranks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", help="what benchmarks.scaling --ranks wrote")
    parser.add_argument("--batch", type=int, default=16, help=argparse.SUPPRESS)
    parser.add_argument("--samples", type=int, default=64_000, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.file == "measure":
        if figures := measure_here(options.batch, options.samples, options.rounds):
            print(json.dumps(figures))
        return 0
    points = json.loads(Path(options.file).read_text("utf-8"))["ranks"]
    measured = constants(points)
    print(said(measured), *table(measured), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(run_command("benchmarks.ranks", main))
