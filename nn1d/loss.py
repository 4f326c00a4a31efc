"""Mean squared error."""

from __future__ import annotations

import numpy as np

from nn1d.backend import Array
from nn1d.dispatch import accelerated
from nn1d.layer import require, require_array

BLOCK = 1 << 16  # squares that are summed in the type of y: a longer sum would lose digits in float32


def mse(y: Array, target: Array) -> tuple[Array, Array]:
    """Mean squared error and its gradient.

    L = (1 / n) Σ (y - target)²,    n numbers in y; sums of 65,536 squares are added in float64

    Shapes
    ------
    y, target of one shape -> L a scalar of y's dtype, dy of the shape of y

    Gradient
    --------
    dy = (2 / n) (y - target)

    Raises
    ------
    ShapeError
        One of them is no array of floats, the shapes differ, y is empty, or y is of float16, where a gradient divided
        by n would vanish.

    Source
    ------
    the paper's Eq. 7. Same value as torch.nn.functional.mse_loss.
    """
    require_array("mse", y, "y")
    require_array("mse", target, "target")
    for name, array in (("y", y), ("target", target)):
        require(
            array.dtype.kind == "f",
            f"mse: {name} must hold floats, such as float32; got {array.dtype}. Convert it: {name}.astype(np.float32)",
        )
    require(
        y.shape == target.shape and y.size > 0, f"mse: y and target must be alike; got {y.shape} and {target.shape}"
    )
    require(
        y.dtype != np.float16,
        "mse: y must be float32 or float64; got float16. Convert it, y.astype(np.float32), and scale dy before you "
        "convert that back",
    )
    return squared_error(y, target)


@accelerated
def squared_error(y: Array, target: Array) -> tuple[Array, Array]:
    """(1 / n) Σ (y - target)², and (2 / n) (y - target)."""
    difference = y - target
    flat = difference.reshape(-1)
    blocks = (flat[start : start + BLOCK] for start in range(0, y.size, BLOCK))
    loss = (sum((block @ block).astype(np.float64) for block in blocks) / y.size).astype(flat.dtype)
    difference *= 2 / y.size
    return loss, difference
