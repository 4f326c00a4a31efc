"""python -m benchmarks.step: time of a training step of the paper's network, ours and PyTorch's.

Each side runs in a process of its own and steps when it is told to, in turn with the other, so that a slow minute of
the machine hits both. Both start from the same weights and see the same clips; their losses after the last step must
agree, and the difference is printed.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

from models.autoencoder import Autoencoder
from models.configuration import Configuration
from models.dual_training import DualTraining, generator
from models.worker import Workers, available_cores, keep_freed_memory
from nn1d import Adam, to_torch


def clips(batch: int, samples: int) -> np.ndarray:
    """Smoothed noise on [0, 1]: the time does not depend on what is said."""
    noise = np.random.default_rng(0).uniform(0, 1, (batch, samples)).astype(np.float32)
    return 0.5 * (noise + np.roll(noise, 1, axis=1))


def our_step(batch: int, samples: int, workers: Workers) -> Callable[[], float]:
    """A function that takes one step and returns the loss before it."""
    training = DualTraining(Configuration(clip_samples=samples), clips(batch, samples), workers)
    adam, indices = Adam(0.001), np.arange(batch)

    def step() -> float:
        loss, gradient = training.whole_gradient(indices)
        adam.step(training.flat.vector, gradient)
        return loss

    return step


def torch_step(batch: int, samples: int, threads: int) -> Callable[[], float]:
    """The same by torch.nn and autograd."""
    import torch

    from benchmarks.torch_twin import Twin

    torch.set_num_threads(threads)
    settings = Configuration()
    network = Autoencoder(rng=generator(settings.seed, "weights"), residual_gain=settings.residual_gain)
    twin = Twin()
    twin.load_state_dict({name: torch.from_numpy(array) for name, array in to_torch(network.parameters).items()})
    adam = torch.optim.Adam(twin.parameters(), 0.001)
    x = torch.from_numpy(clips(batch, samples)[:, None])

    def step() -> float:
        adam.zero_grad(set_to_none=True)
        loss, _ = twin.objective(x)
        loss.backward()
        adam.step()
        return float(loss.detach())

    return step


def work(side: str, batch: int, samples: int, threads: int) -> None:
    """A child: one step for each line on standard input, its loss and seconds as JSON on standard output."""
    if side == "torch":
        serve(torch_step(batch, samples, threads))
        return
    keep_freed_memory()
    with Workers(threads) as workers:
        serve(our_step(batch, samples, workers))


def serve(step: Callable[[], float]) -> None:
    """Step when told to, and answer."""
    for _ in sys.stdin:
        started = time.perf_counter()
        loss = step()
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"loss": loss, "seconds": seconds, "peak_mib": peak}), flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Print a line for each side, and the ratio."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.step", description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=16, help="clips a step (default: %(default)s)")
    parser.add_argument("--samples", type=int, default=64_000, help="length of a clip (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=available_cores(), help="(default: all cores, %(default)s)")
    parser.add_argument("--steps", type=int, default=7, help="counted steps, after one warm-up (default: %(default)s)")
    parser.add_argument("--against", choices=["torch"], help="measure PyTorch's twin in turn with ours")
    parser.add_argument("--child", choices=["nn1d", "torch"], help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        work(options.child, options.batch, options.samples, options.threads)
        return 0

    sides = ["nn1d", *([options.against] if options.against else [])]
    sizes = ["--batch", str(options.batch), "--samples", str(options.samples), "--threads", str(options.threads)]
    children = {
        side: subprocess.Popen(
            [sys.executable, "-m", "benchmarks.step", "--child", side, *sizes],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for side in sides
    }
    answers: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    for _ in range(1 + options.steps):
        for side, child in children.items():
            assert child.stdin and child.stdout
            child.stdin.write("step\n")
            child.stdin.flush()
            line = child.stdout.readline()
            if not line:
                print(f"benchmarks.step: the {side} process ended; see its message above", file=sys.stderr)
                return 2
            answers[side].append(json.loads(line))
    for child in children.values():
        child.communicate()

    for side, rows in answers.items():
        times = [row["seconds"] / options.batch * 1e3 for row in rows[1:]]
        print(
            f"{side:<6} {statistics.median(times):7.1f} ms a clip ({min(times):.1f} to {max(times):.1f}), "
            f"peak {rows[-1]['peak_mib']:.0f} MiB, batch {options.batch}, {options.threads} threads"
        )
    if options.against:
        pairs = zip(answers[options.against][1:], answers["nn1d"][1:], strict=True)
        ratios = [theirs["seconds"] / ours["seconds"] for theirs, ours in pairs]
        losses = [rows[-1]["loss"] for rows in answers.values()]
        print(
            f"nn1d takes {statistics.median(ratios):.2f} times as many clips a second as {options.against} "
            f"({min(ratios):.2f} to {max(ratios):.2f}); losses after {options.steps} steps: "
            f"{losses[0]:.6e} and {losses[1]:.6e}, relative difference {abs(losses[0] / losses[1] - 1):.1e}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
