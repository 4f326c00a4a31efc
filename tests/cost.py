"""python -m tests.cost: time each layer as loops, as arrays and in its fast form, for the pages.

Writes docs/gradients/cost.json: milliseconds of one forward on one clip of 2,000 samples of 8 channels, the fastest of
several. Ratios within a line are what counts; machines differ.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from nn1d import activation, conv, loss, pool
from nn1d.command import Parser
from nn1d.dispatch import FORMS
from tests import loops

PATH = Path(__file__).parents[1] / "docs" / "gradients" / "cost.json"
SAMPLES, CHANNELS, TAPS = 2000, 8, 3


def milliseconds(work: Callable[[], Any], times: int) -> float:
    """The fastest of several."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return float(f"{1000 * min(seconds):.3g}")


def forms(name: str, function: Any, by_loops: Callable[[], Any], *arguments: Any) -> dict[str, Any]:
    """One line of the table; a function without another form on the CPU has no fast one."""
    has_fast = bool(FORMS.get(function.__name__))
    return {
        name: {
            "loops": milliseconds(by_loops, 1),
            "arrays": milliseconds(lambda: function.__wrapped__(*arguments), 50),
            "fast": milliseconds(lambda: function(*arguments), 50) if has_fast else None,
        }
    }


def measure() -> dict[str, Any]:
    """All lines."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, SAMPLES, CHANNELS))
    w = rng.standard_normal((TAPS, CHANNELS, CHANNELS))
    mask = pool.max_pool(x, 2)[1]
    half = x[:, ::2].copy()
    flat, target = x.ravel().tolist(), half.repeat(2, 1).ravel().tolist()
    return (
        forms("convolution", conv.convolve, lambda: loops.conv(x, w, None, 1, 1), x, w, 1, 1, SAMPLES)
        | forms("transposed-convolution", conv.convolve_transposed,
                lambda: loops.conv_transpose(x, w, None, 1, 1, 0), x, w, 1, 1, SAMPLES)
        | forms("max-pool", pool.max_pool, lambda: loops.max_pool(x, 2), x, 2)
        | forms("unpool", pool.place, lambda: loops.place(half, mask, 2), half, mask, 2)
        | forms("upsampling", pool.repeat, lambda: loops.upsample(half, 2), half, 2)
        | forms("elu", activation.elu_forward, lambda: loops.over(loops.elu, x, 1.0), x, 1.0)
        | forms("mse", loss.squared_error, lambda: loops.mse(flat, target), x, half.repeat(2, 1))
    )  # fmt: skip


def line(name: str) -> str:
    """What a page says of its layer."""
    measured = json.loads(PATH.read_text("utf-8"))
    row = measured["milliseconds"][name]
    fast = f", the fast form {row['fast']:g} ms" if row["fast"] else ""
    return (
        f"One clip of {SAMPLES:,} samples of {CHANNELS} channels, forward: the loops take {row['loops']:g} ms, the "
        f"arrays {row['arrays']:g} ms{fast} (`python -m tests.cost`, NumPy {measured['numpy']}). Trust the ratios."
    )


def main() -> int:
    """Write the file."""
    Parser(command="tests.cost", description=__doc__).parse_args()
    with threadpool_limits(1):  # as in a training, where each thread takes a clip of its own
        measured = {"numpy": np.__version__, "milliseconds": measure()}
    PATH.write_text(json.dumps(measured, indent=1) + "\n", "utf-8")
    print(json.dumps(measured["milliseconds"], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
