"""python -m benchmarks.scaling: what a training step costs as the batch, the clip, the corpus or the threads grow.

Each point runs in a process of its own; the clips lie in a file without a name, 256 kB a clip. The exponent p of
cost ∝ sizeᵖ is that of a line through the logarithms: 0 is flat, 1 is proportional.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import Side, exponent, in_turn, machine, seconds, write
from benchmarks.ranks import measure
from nn1d.command import Parser, run_command

BATCHES = (1, 4, 16, 64, 256)
BATCHES_OF_RANKS = (16, 64)
SECONDS = (1, 2, 4, 8, 16, 32, 64)
CORPUS = (100, 300, 1_000, 3_000, 10_000)
SAMPLE_RATE_HZ = 16_000
SEVERAL = 16  # clips of a step where the batch is not what grows
STEPS = 8  # in one measurement of a corpus: 128 clips, far apart


def on_disk(count: int, samples: int, threads: int) -> Callable[[], float]:
    """A function that trains on some clips, far apart, of a corpus that lies in a file."""
    import numpy as np

    from benchmarks.step import clips
    from nn1d import Adam
    from training.configuration import Configuration
    from training.dual_training import DualTraining
    from training.machine import keep_freed_memory
    from training.workers import Workers

    keep_freed_memory()
    training = DualTraining(Configuration(clip_samples=samples), clips(count, samples), Workers(threads))
    adam, rng = Adam(0.001), np.random.default_rng(0)

    def steps() -> float:
        for _ in range(STEPS):
            loss, gradient = training.gradient(rng.integers(count, size=SEVERAL))
            adam.step(training.flat.vector, gradient)
        return float(loss)

    return steps


def curve(
    name: str, unit: str, sizes: Sequence[float], sides: Sequence[Side], clips: Sequence[int], rounds: int
) -> Any:
    """Cost of a step and peak memory at each size, one process after the other, and their exponents."""
    points = []
    for size, side, several in zip(sizes, sides, clips, strict=True):
        answers = in_turn([side], rounds)[0]
        point = {"size": size, "step_ms": seconds(answers) * 1e3, "clip_ms": seconds(answers) / several * 1e3}
        points.append({**point, "peak_mib": answers[-1].peak_mib})
        print(
            f"{name:<8} {size:>6} {unit:<8} {point['step_ms']:9.1f} ms a step, {point['clip_ms']:8.1f} ms a clip, "
            f"peak {answers[-1].peak_mib:5.0f} MiB",
            flush=True,
        )
    curve: dict[str, Any] = {"name": name, "unit": unit, "points": points}
    if len(points) > 1:
        for figure in ("step_ms", "clip_ms", "peak_mib"):
            curve[f"{figure}_exponent"] = exponent(sizes, [point[figure] for point in points])
        print(
            f"{name:<8} exponents: {curve['step_ms_exponent']:.2f} of a step's time, "
            f"{curve['peak_mib_exponent']:.2f} of its memory",
            flush=True,
        )
    return curve


def over_ranks(ranks: Sequence[int], samples: int, rounds: int) -> list[dict[str, Any]]:
    """A step of several processes, each of one thread, at two batches."""
    points = []
    for batch in BATCHES_OF_RANKS:
        for size in ranks:
            points.append(point := measure(size, batch, samples, rounds))
            print(
                f"ranks    {size:>6}, batch {batch:>4} {1e3 * point['step_s']:9.1f} ms a step, of it the chain "
                f"{1e3 * point['chain_s']:.2f} ms; {point['bytes'] / 1e6:.2f} MB handed on by a rank",
                flush=True,
            )
    return points


def main(arguments: list[str] | None = None) -> int:
    """Print a line for each point, and the exponents."""
    from training.machine import available_cores

    cores = available_cores()
    parser = Parser(command="benchmarks.scaling", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, nargs="*", default=BATCHES, help="clips a step (default: 1 ... 256)")
    parser.add_argument("--seconds", type=int, nargs="*", default=SECONDS, help="of a clip (default: 1 ... 64)")
    parser.add_argument("--corpus", type=int, nargs="*", default=CORPUS, help="clips on disk (default: 100 ... 10000)")
    parser.add_argument("--threads", type=int, nargs="*", default=range(1, cores + 1), help="(default: 1 to all cores)")
    parser.add_argument("--ranks", type=int, nargs="+", help="processes over MPI, and nothing else")
    parser.add_argument("--samples", type=int, default=64_000, help="length of the other clips (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="counted steps a point (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    options = parser.parse_args(arguments)
    if options.ranks:
        write(options.json, {"machine": machine(), "ranks": over_ranks(options.ranks, options.samples, options.rounds)})
        return 0
    most, length = max(options.threads, default=cores), options.samples

    def step(batch: int, samples: int, threads: int) -> Side:
        return Side("benchmarks.step:ours", work="train", batch=batch, samples=samples, threads=threads)

    curves = []
    if options.batch:
        sides = [step(batch, length, most) for batch in options.batch]
        curves.append(curve("batch", "clips", options.batch, sides, options.batch, options.rounds))
    if options.seconds:
        sides = [step(most, seconds * SAMPLE_RATE_HZ, most) for seconds in options.seconds]
        curves.append(curve("length", "s", options.seconds, sides, [most] * len(sides), options.rounds))
    if options.corpus:
        sides = [
            Side("benchmarks.scaling:on_disk", count=count, samples=length, threads=most) for count in options.corpus
        ]
        several = [STEPS * SEVERAL] * len(sides)
        curves.append(curve("corpus", "clips", options.corpus, sides, several, options.rounds))
    if options.threads:
        sides = [step(SEVERAL, length, threads) for threads in options.threads]
        curves.append(curve("threads", "threads", options.threads, sides, [SEVERAL] * len(sides), options.rounds))
    write(options.json, {"machine": machine(), "curves": curves})
    return 0


if __name__ == "__main__":
    sys.exit(run_command("benchmarks.scaling", main))
