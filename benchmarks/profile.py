"""python -m benchmarks.profile: where the time of a training step goes, by what is computed, on one thread."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from benchmarks.measure import Side, machine, write
from nn1d.command import Parser, run_command

PARTS = {
    "matrix products": ("convolve", "convolve_transposed", "filter_gradient"),
    "bias": ("cpu.add_bias", "bias_gradient"),
    "ELU": ("activation.ELU.forward", "activation.ELU.backward"),
    "pools": ("pool.MaxPool1d.forward", "pool.place", "pool.select", "pool.repeat", "pool.sum_windows"),
    "residual sums": ("residual.ResidualBlock.forward", "residual.ResidualBlock.backward"),
}


def clock(batch: int, samples: int, steps: int) -> Callable[[], dict[str, float]]:
    """A function that takes some steps and returns milliseconds a clip, by the names in PARTS and in all."""
    import nn1d
    from benchmarks.step import ours
    from nn1d.dispatch import FORMS

    spent: dict[str, float] = defaultdict(float)
    inner: list[float] = []

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            started = time.perf_counter()
            inner.append(0.0)
            result = function(*arguments, **options)
            seconds = time.perf_counter() - started
            spent[name] += seconds - inner.pop()  # without what timed functions inside took
            if inner:
                inner[-1] += seconds
            return result

        return call

    for name in (name for names in PARTS.values() for name in names):
        if name in FORMS:
            FORMS[name] = [timed(name, form) for form in FORMS[name]]
            continue
        *path, last = name.split(".")
        place: Any = nn1d
        for part in path:
            place = getattr(place, part)
        setattr(place, last, timed(name, getattr(place, last)))
    step = ours("train", batch, samples, 1)

    def measure() -> dict[str, float]:
        step()
        spent.clear()
        started = time.perf_counter()
        for _ in range(steps):
            step()
        total = time.perf_counter() - started
        spent["all"] = total
        return {name: seconds / steps / batch * 1e3 for name, seconds in spent.items()}

    return measure


def main(arguments: list[str] | None = None) -> int:
    """Print a line for each part."""
    parser = Parser(command="benchmarks.profile", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, default=4, help="clips a step (default: %(default)s)")
    parser.add_argument("--samples", type=int, default=64_000, help="length of a clip (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=5, help="counted steps, after one warm-up (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    options = parser.parse_args(arguments)
    with Side("benchmarks.profile:clock", batch=options.batch, samples=options.samples, steps=options.steps) as side:
        milliseconds_of = side().value
    parts = {part: {name: milliseconds_of.get(name, 0.0) for name in names} for part, names in PARTS.items()}
    rest = milliseconds_of["all"] - sum(sum(names.values()) for names in parts.values())
    parts["the rest"] = {"Python, Adam, sums over clips": rest}
    for part, names in parts.items():
        milliseconds = sum(names.values())
        print(f"{part:<16} {milliseconds:6.2f} ms a clip  {milliseconds / milliseconds_of['all']:4.0%}", end="   ")
        print(", ".join(f"{name} {value:.2f}" for name, value in names.items()))
    print(f"{'all':<16} {milliseconds_of['all']:6.2f} ms a clip")
    write(options.json, {"machine": machine(), "parts": parts, "all": milliseconds_of["all"]})
    return 0


if __name__ == "__main__":
    sys.exit(run_command("benchmarks.profile", main))
