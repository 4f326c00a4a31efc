"""Mean squared error."""

from __future__ import annotations

import numpy as np

from nn1d.backend import Array
from nn1d.dispatch import accelerated
from nn1d.layer import require


def mse(y: Array, target: Array) -> tuple[Array, Array]:
    """Mean squared error and its gradient.

    L = (1 / n) Σ (y - target)²,    n numbers in y

    Shapes
    ------
    y, target of one shape -> L a scalar of y's dtype, dy of the shape of y

    Gradient
    --------
    dy = (2 / n) (y - target)

    Raises
    ------
    ShapeError
        The shapes differ, y is empty, or y is of float16, where a gradient divided by n would vanish.

    Source
    ------
    the paper's Eq. 7. Same value as torch.nn.functional.mse_loss.
    """
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
    loss = flat @ flat / y.size
    difference *= 2 / y.size
    return loss, difference
