"""python -m benchmarks.layers: every layer of the paper's network at the shapes that it has there, ours and PyTorch's.

Ours and PyTorch's each run in a process of their own, on one thread, and take the layers in turn: forward, then
backward with the gradients of input and parameters. A call is repeated so that a figure is not that of a few
microseconds.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.measure import Answer, Side, in_turn, machine, write
from nn1d.command import Parser, run_command

REPEATS = 5  # calls in one measurement


class Case(NamedTuple):
    """A layer at a shape."""

    kind: str
    channels: int
    channels_out: int
    samples: int
    times: int  # how often the network has it


def cases(samples: int) -> list[Case]:
    """What stands in the encoder and the decoder, from the audio inwards."""
    from models.autoencoder import CHANNELS

    all_cases = []
    for i, (before, after) in enumerate(zip((1, *CHANNELS), CHANNELS, strict=False)):
        length = samples >> i
        all_cases += [
            Case("Conv1d", before, after, length, 1),
            Case("Conv1d", after, after, length, 2),
            Case("ConvTranspose1d", after, before, length, 1),
            Case("ConvTranspose1d", before, before, length, 2),
            Case("ELU", after, after, length, 2),
            Case("ELU", before, before, length, 2),
            Case("MaxPool1d", after, after, length, 1),
            Case("MaxUnpool1d", after, after, length // 2, 1),
            Case("ELU", after, after, length // 2, 2 if i < len(CHANNELS) - 1 else 1),
            Case("Upsample1d", after, after, length // 2, 1),
        ]
    counted: dict[Case, int] = {}
    for case in all_cases:
        alone = case._replace(times=0)
        counted[alone] = counted.get(alone, 0) + case.times
    distinct = [alone._replace(times=times) for alone, times in counted.items()]
    return sorted(distinct, key=lambda case: (case.kind, -case.samples))


def _in_turn(calls: list[Callable[[], object]]) -> Callable[[], float]:
    """A function that makes the next of the calls, REPEATS times, each time it is called."""

    def endless() -> Iterator[Callable[[], object]]:
        while True:
            yield from calls

    following = endless()

    def measure() -> float:
        call = next(following)
        for _ in range(REPEATS):
            call()
        return 0.0

    return measure


def ours(samples: int) -> Callable[[], float]:
    """Forward and backward of each case."""
    import numpy as np
    from threadpoolctl import threadpool_limits

    import nn1d
    from training.machine import keep_freed_memory

    keep_freed_memory()
    threadpool_limits(1)
    rng = np.random.default_rng(0)
    calls: list[Callable[[], object]] = []
    for kind, channels, channels_out, length, _ in cases(samples):
        x = rng.standard_normal((1, length, channels), np.float32)
        context: tuple[Any, ...] = ()
        layer: Any
        if kind.startswith("Conv"):
            layer = getattr(nn1d, kind)(channels, channels_out, 3, 1, 1, rng=rng)
        elif kind == "ELU":
            layer = nn1d.ELU()
        else:
            layer = getattr(nn1d, kind)(2)
        if kind == "MaxUnpool1d":
            context = (nn1d.MaxPool1d(2).forward(rng.standard_normal((1, 2 * length, channels), np.float32))[1],)
        y, cache = layer.forward(x, *context)
        dy = rng.standard_normal(y.shape, np.float32)

        calls += [partial(layer.forward, x, *context), partial(layer.backward, dy, cache)]
    return _in_turn(calls)


def theirs(samples: int) -> Callable[[], float]:
    """The same by torch.nn and autograd."""
    import torch
    from torch.nn import functional

    torch.set_num_threads(1)
    torch.manual_seed(0)

    def pooled(x: torch.Tensor) -> torch.Tensor:
        return functional.max_pool1d(x, 2, return_indices=True)[0]

    calls: list[Callable[[], object]] = []
    for kind, channels, channels_out, length, _ in cases(samples):
        x = torch.randn(1, channels, length, requires_grad=True)
        parameters: list[Any] = []
        layer: Any
        if kind.startswith("Conv"):
            layer = getattr(torch.nn, kind)(channels, channels_out, 3, padding=1)
            parameters = list(layer.parameters())
        elif kind == "MaxPool1d":
            layer = pooled
        elif kind == "MaxUnpool1d":
            _, places = functional.max_pool1d(torch.randn(1, channels, 2 * length), 2, return_indices=True)
            layer = partial(functional.max_unpool1d, indices=places, kernel_size=[2])
        elif kind == "ELU":
            layer = functional.elu
        else:
            layer = partial(functional.interpolate, scale_factor=2, mode="nearest")
        y = layer(x)
        dy = torch.randn_like(y)
        inputs = [x, *parameters]
        calls += [partial(layer, x), partial(torch.autograd.grad, y, inputs, dy, retain_graph=True)]
    return _in_turn(calls)


def measure(samples: int, rounds: int, against: str | None) -> list[dict[str, Any]]:
    """Milliseconds of a call of each layer, forward and backward, and of PyTorch's."""
    all_cases = cases(samples)
    calls = 2 * len(all_cases)  # the first round of calls warms up
    sides = [Side("benchmarks.layers:ours", samples=samples)]
    if against:
        sides.append(Side("benchmarks.layers:theirs", samples=samples))
    answers = [of_side[calls - 1 :] for of_side in in_turn(sides, calls * (rounds + 1) - 1)]

    def milliseconds(of_side: list[Answer], call: int) -> float:
        return statistics.median(answer.seconds for answer in of_side[call::calls]) / REPEATS * 1e3

    rows = []
    for i, case in enumerate(all_cases):
        row: dict[str, Any] = case._asdict()
        for side, of_side in zip(("nn1d", "torch"), answers, strict=False):
            row[side] = {"forward": milliseconds(of_side, 2 * i), "backward": milliseconds(of_side, 2 * i + 1)}
        if case.kind.startswith("Conv"):
            product = 2 * 3 * case.channels * case.channels_out * case.samples / 1e6  # one of the three, in MFLOP
            row["gflops"] = {
                "forward": product / row["nn1d"]["forward"],
                "backward": 2 * product / row["nn1d"]["backward"],
            }
        rows.append(row)
    return rows


def line(row: dict[str, Any]) -> str:
    """A layer as one line."""
    nn1d, torch = row["nn1d"], row.get("torch")
    text = f"{row['kind']:<16} {row['channels']:>2} -> {row['channels_out']:<2} {row['samples']:>6}  x{row['times']}"
    for way in ("forward", "backward"):
        text += f"  {way} {nn1d[way]:.3f} ms"
        text += f" ({row['gflops'][way]:3.0f} GFLOP/s)" if "gflops" in row else " " * 14
        text += f", torch {torch[way]:.3f} = {torch[way] / nn1d[way]:4.1f}x" if torch else ""
    return text


def main(arguments: list[str] | None = None) -> int:
    """Print a line for each layer."""
    parser = Parser(command="benchmarks.layers", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", type=int, default=64_000, help="length of a clip (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each call (default: %(default)s)")
    parser.add_argument("--against", choices=["torch"], help="measure PyTorch's layers in turn with ours")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    options = parser.parse_args(arguments)
    about = machine()
    rows = measure(options.samples, options.rounds, options.against)
    print(*map(line, rows), sep="\n")
    roofs = in_turn([Side("benchmarks.measure:matrix_product", threads=1), Side("benchmarks.measure:copy")], 5)
    product, copied = (statistics.median(answer.value for answer in of_roof) for of_roof in roofs)
    print(f"one thread: {product:.0f} GFLOP/s of a large product, {copied:.0f} GB/s of a copy")
    write(options.json, {"machine": about, "layers": rows, "product_gflops": product, "copy_gb_s": copied})
    return 0


if __name__ == "__main__":
    sys.exit(run_command("benchmarks.layers", main))
