"""python -m benchmarks.trick: what each trick brings: the training step without it, beside the whole.

Each is switched off in a process of its own, by putting the plain form in its place, and steps in turn with the process
that has them all.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measure import Side, in_turn, machine, ratios, write
from nn1d.command import Parser, run_command

TRICKS = {
    "kernels": "AVX-512 kernels of OpenBLAS (off: OPENBLAS_CORETYPE=Haswell)",
    "one_clip_a_thread": "each thread takes a clip (off: a batch at once, BLAS on all threads)",
    "kept_memory": "freed memory kept by the process (off: mallopt at its defaults)",
    "small_products": "products that OpenBLAS does not pack (off: one product a group of windows)",
    "windows_in_place": "windows read where they lie (off: tap by tap, the form to read)",
    "expm1": "ELU as max(x, expm1(min(x, 0))) in vector instructions (off: through tanh)",
    "clip": "min(x, 0) as a clip with two bounds (off: np.minimum)",
    "elu_first": "the decoder's ELU before its unpool (off: after it, on twice the samples)",
    "rows": "pools on rows side by side (off: arithmetic on every second row)",
    "column_sums": "the gradient of a bias as a matrix product (off: sum over the samples)",
    "long_rows": "a bias added to rows of many samples (off: to each sample)",
}


def without(trick: str, batch: int, samples: int, threads: int) -> Callable[[], float]:
    """A training step with one trick switched off; "" switches none off."""
    import numpy as np
    from threadpoolctl import threadpool_limits

    from benchmarks import step
    from models import autoencoder
    from nn1d import ELU, cpu, pool
    from nn1d.dispatch import FORMS
    from storage.mapped import take_rows
    from training import machine
    from training.workers import Workers

    def put(place: Any, name: str, plain: Any) -> None:
        setattr(place, name, plain)

    def elu_by_minimum(self: ELU, x: Any) -> Any:
        y = np.expm1(np.minimum(x, 0))
        np.maximum(x, y, out=y)
        return y, y

    def build_decoder(self: Any, *arguments: Any, **options: Any) -> None:
        initialise(self, *arguments, **options)
        vars(self).update(vars(self.for_fusion()))

    initialise = autoencoder.Decoder.__init__
    if trick == "kept_memory":
        put(machine, "keep_freed_memory", lambda: None)
    elif trick == "small_products":
        put(cpu, "SMALL_PRODUCT", 1 << 62)
    elif trick == "windows_in_place":
        for name in ("convolve", "convolve_transposed", "filter_gradient"):
            FORMS[name] = []
    elif trick == "expm1":
        FORMS["expm1"] = [cpu.expm1]
    elif trick == "clip":
        put(ELU, "forward", elu_by_minimum)
    elif trick == "elu_first":
        put(autoencoder.Decoder, "__init__", build_decoder)
    elif trick == "rows":
        put(pool, "split", lambda x, size: x.reshape(len(x), -1, size, x.shape[2]).swapaxes(1, 2))
        put(pool, "join", lambda windows: windows.swapaxes(1, 2).reshape(len(windows), -1, windows.shape[3]))
    elif trick == "column_sums":
        FORMS["bias_gradient"] = []
    elif trick == "long_rows":
        put(cpu, "add_bias", lambda y, b: np.add(y, b, out=y))
    elif trick == "one_clip_a_thread":

        def at_once(self: Any, function: Any, sources: Any, clips: Any) -> Any:
            loss, gradient = function(*(take_rows(source, clips) for source in sources))
            return float(loss), gradient

        put(Workers, "mean_gradient", at_once)
    function = step.ours("train", batch, samples, 1 if trick == "one_clip_a_thread" else threads)
    if trick == "one_clip_a_thread":
        threadpool_limits(threads, user_api="blas")
    return function


def measure(trick: str, batch: int, samples: int, threads: int, steps: int) -> dict[str, Any]:
    """How many times as long a step takes without the trick."""
    sizes: dict[str, Any] = {"batch": batch, "samples": samples, "threads": threads}
    slow = {"OPENBLAS_CORETYPE": "Haswell"} if trick == "kernels" else None
    sides = [Side("benchmarks.trick:without", trick="", **sizes)]
    sides.append(Side("benchmarks.trick:without", slow, trick=trick, **sizes))
    whole, less = in_turn(sides, steps)
    difference = abs(less[-1].value / whole[-1].value - 1)
    return {"trick": trick, "what": TRICKS[trick], "ratio": ratios(less, whole), "difference": difference}


def main(arguments: list[str] | None = None) -> int:
    """Print a line for each trick."""
    from training.machine import available_cores

    parser = Parser(command="benchmarks.trick", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trick", choices=TRICKS, nargs="+", default=list(TRICKS), help="(default: all)")
    parser.add_argument("--batch", type=int, default=16, help="clips a step (default: %(default)s)")
    parser.add_argument("--samples", type=int, default=64_000, help="length of a clip (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=available_cores(), help="(default: all cores, %(default)s)")
    parser.add_argument("--steps", type=int, default=5, help="counted steps, after one warm-up (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    options = parser.parse_args(arguments)
    about = machine()
    rows = []
    for trick in options.trick:
        rows.append(measure(trick, options.batch, options.samples, options.threads, options.steps))
        ratio = rows[-1]["ratio"]
        print(
            f"{ratio['median']:5.2f} ({ratio['least']:.2f} to {ratio['most']:.2f}) times as long without: "
            f"{rows[-1]['what']}; the loss differs by {rows[-1]['difference']:.0e}",
            flush=True,
        )
    write(options.json, {"machine": about, "batch": options.batch, "threads": options.threads, "tricks": rows})
    return 0


if __name__ == "__main__":
    sys.exit(run_command("benchmarks.trick", main))
