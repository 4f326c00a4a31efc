"""python -m benchmarks.step: the paper's network on this machine, ours and PyTorch's, a clip at a time or many.

    train      a training step: forward, backward, Adam
    phase2     the same for the decoder alone, without masks
    forward    encoder, masks, decoder
    encode     the encoder

Each case runs in a process of its own. With --against torch PyTorch's twin has the same weights, batch and threads, its
gradient buffers set to None, and the better of its two memory layouts; the two step in turn, and what they compute must
agree. The matrix-product rate is that of a large product by the BLAS of NumPy, measured in turn with ours.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measure import Answer, Side, in_turn, machine, ratios, seconds, write
from nn1d.command import Parser, run_command

WORK = ("train", "phase2", "forward", "encode")
BATCHES = (1, 4, 16, 64)
LAYOUTS = ("contiguous", "channels-last")


def clips(count: int, samples: int) -> Any:
    """Smoothed noise on [0, 1], in a file without a name: the time does not depend on what is said."""
    import numpy as np

    rng = np.random.default_rng(0)
    with tempfile.TemporaryFile() as file:
        for _ in range(count):
            noise = rng.uniform(0, 1, samples).astype(np.float32)
            file.write((0.5 * (noise + np.roll(noise, 1))).data)
        file.flush()
        return np.memmap(file, np.float32, "r", shape=(count, samples))


def ours(work: str, batch: int, samples: int, threads: int) -> Callable[[], float]:
    """A function that does the work once: the loss before the step, or the mean of the output."""
    import numpy as np

    from nn1d import Adam
    from training.configuration import Configuration
    from training.dual_training import DualTraining
    from training.machine import keep_freed_memory
    from training.workers import Workers

    keep_freed_memory()
    training = DualTraining(Configuration(clip_samples=samples), clips(batch, samples), Workers(threads))
    indices = np.arange(batch)
    if work == "encode":
        return lambda: float(np.mean([abs(z).mean(dtype=np.float64) for z in training.encode(range(batch))]))
    if work == "forward":
        return lambda: training.evaluate_autoencoder(indices).loss
    features = np.stack(list(training.encode(range(batch)))) if work == "phase2" else None
    adam = Adam(0.001)

    def step() -> float:
        loss, gradient = training.gradient(indices, features)
        adam.step(training.flat.vector[-len(gradient) :], gradient)
        return float(loss)

    return step


def theirs(work: str, batch: int, samples: int, threads: int, layout: str) -> Callable[[], float]:
    """The same by torch.nn and autograd."""
    import numpy as np
    import torch

    from benchmarks.torch_twin import Twin
    from models.autoencoder import Autoencoder
    from nn1d import to_torch
    from training.configuration import Configuration
    from training.seed import generator

    torch.set_num_threads(threads)
    settings = Configuration()
    twin = Twin(channels_last=layout == "channels-last")
    network = Autoencoder(rng=generator(settings.seed, "weights"), residual_gain=settings.residual_gain)
    twin.fill(to_torch(network.parameters))
    x = twin.row.signal(np.array(clips(batch, samples)))

    def look() -> float:
        with torch.inference_mode():
            if work == "encode":
                return float(twin.encode(x)[0].abs().double().mean())
            return float(twin.objective(x)[0])

    if work in ("encode", "forward"):
        return look
    z = None
    if work == "phase2":
        with torch.no_grad():
            z = twin.encode(x)[0]
    trained = twin.parameters() if z is None else twin.decoder.parameters()
    adam = torch.optim.Adam(trained, 0.001)

    def step() -> float:
        adam.zero_grad(set_to_none=True)
        loss = twin.objective(x)[0] if z is None else torch.nn.functional.mse_loss(twin.decode(z)[0], x)
        loss.backward()
        adam.step()
        return float(loss.detach())

    return step


def gigaflop(work: str, samples: int) -> float:
    """Multiplications and additions of the convolutions of a clip, counted from the layers, in 10⁹."""
    from models.autoencoder import CHANNELS

    def half(transposed: bool) -> float:
        total, length = 0.0, samples
        for before, after in zip((1, *CHANNELS), CHANNELS, strict=False):
            inner = before if transposed else after  # the decoder goes through the same pairs backwards
            total += 2 * 3 * length * (before * after + 2 * inner * inner)
            length //= 2
        return total / 1e9

    encoder, decoder = half(False), half(True)
    return {"encode": encoder, "forward": encoder + decoder, "phase2": 3 * decoder, "train": 3 * (encoder + decoder)}[
        work
    ]


def better_layout(sizes: dict[str, Any]) -> str:
    """Which of PyTorch's layouts is the faster here, by two calls of each in its own process."""
    times = {
        layout: seconds(in_turn([Side("benchmarks.step:theirs", layout=layout, **sizes)], 2)[0]) for layout in LAYOUTS
    }
    return min(times, key=lambda layout: times[layout])


def measure(work: str, batch: int, threads: int, samples: int, steps: int, against: str | None) -> dict[str, Any]:
    """One case: ours, the matrix products, and PyTorch, in turn."""
    sizes: dict[str, Any] = {"work": work, "batch": batch, "samples": samples, "threads": threads}
    layout = better_layout(sizes) if against else None
    sides = [Side("benchmarks.step:ours", **sizes), Side("benchmarks.measure:matrix_product", threads=threads)]
    if layout:
        sides.append(Side("benchmarks.step:theirs", layout=layout, **sizes))
    nn1d, product, *rest = in_turn(sides, steps)
    rate = statistics.median(answer.value for answer in product)
    reached = gigaflop(work, samples) * batch / seconds(nn1d)
    case: dict[str, Any] = {**sizes, "nn1d": summary(nn1d, batch)}
    case |= {"gflops": reached, "product_gflops": rate, "share": reached / rate}
    if layout:
        case["torch"] = {"layout": layout, **summary(rest[0], batch)}
        case["ratio"] = ratios(rest[0], nn1d)
        ends = nn1d[-1].value, rest[0][-1].value
        case["values"] = {"nn1d": ends[0], "torch": ends[1], "relative_difference": abs(ends[0] / ends[1] - 1)}
    return case


def summary(answers: list[Answer], batch: int) -> dict[str, float]:
    """Milliseconds a clip, and the peak of the memory."""
    milliseconds = [answer.seconds / batch * 1e3 for answer in answers]
    middle = seconds(answers) / batch * 1e3
    return {"ms": middle, "ms_least": min(milliseconds), "ms_most": max(milliseconds), "peak_mib": answers[-1].peak_mib}


def line(case: dict[str, Any]) -> str:
    """A case as one line."""
    nn1d = case["nn1d"]
    text = (
        f"{case['work']:<8} batch {case['batch']:<3} {case['threads']} thr  nn1d {nn1d['ms']:6.1f} ms a clip, "
        f"{1e3 / nn1d['ms']:5.1f} clips/s, {case['gflops']:4.0f} GFLOP/s = "
        f"{case['share']:3.0%} of {case['product_gflops']:.0f}, {nn1d['peak_mib']:4.0f} MiB"
    )
    if "torch" in case:
        rival, ratio = case["torch"], case["ratio"]
        text += (
            f"  torch {rival['ms']:6.1f} ms, {rival['peak_mib']:5.0f} MiB ({rival['layout']})  "
            f"ratio {ratio['median']:.2f} ({ratio['least']:.2f} to {ratio['most']:.2f}), "
            f"values differ by {case['values']['relative_difference']:.0e}"
        )
    return text


def best_of_torch(cases: list[dict[str, Any]]) -> list[str]:
    """Our step of 16 clips beside PyTorch's best at any batch, for each number of threads."""
    lines = []
    for threads in sorted({case["threads"] for case in cases}):
        steps = [case for case in cases if case["work"] == "train" and case["threads"] == threads and "torch" in case]
        of_16 = [case for case in steps if case["batch"] == 16]
        if of_16 and len(steps) > 1:
            best = min(steps, key=lambda case: case["torch"]["ms"])
            times = best["torch"]["ms"] / of_16[0]["nn1d"]["ms"]
            lines.append(
                f"training step, {threads} threads: nn1d at batch 16 takes {times:.2f} times as many clips a second "
                f"as torch at its best batch, {best['batch']}"
            )
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Print a line for each case."""
    from training.machine import available_cores

    cores = available_cores()
    parser = Parser(command="benchmarks.step", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", choices=WORK, nargs="+", default=WORK, help="(default: all)")
    parser.add_argument("--batch", type=int, nargs="+", default=BATCHES, help="clips a step (default: 1 4 16 64)")
    parser.add_argument("--samples", type=int, default=64_000, help="length of a clip (default: %(default)s)")
    parser.add_argument(
        "--threads", type=int, nargs="+", default=sorted({1, cores}), help="(default: 1, and all cores)"
    )
    parser.add_argument("--steps", type=int, default=5, help="counted steps, after one warm-up (default: %(default)s)")
    parser.add_argument("--against", choices=["torch"], help="measure PyTorch's twin in turn with ours")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    options = parser.parse_args(arguments)
    about = machine()
    print(", ".join(f"{name} {value}" for name, value in about.items() if value is not None))
    cases = []
    for threads in options.threads:
        for work in options.work:
            for batch in options.batch:
                cases.append(measure(work, batch, threads, options.samples, options.steps, options.against))
                print(line(cases[-1]), flush=True)
    for text in best_of_torch(cases):
        print(text)
    write(options.json, {"machine": about, "cases": cases})
    return 0


if __name__ == "__main__":
    sys.exit(run_command("benchmarks.step", main))
