"""What a network is judged by: the mean squared error, and the cross-entropy of classes."""

from __future__ import annotations

import numpy as np

from nn1d.backend import Array, array_module
from nn1d.dispatch import accelerated
from nn1d.layer import require, require_array

BLOCK = 1 << 16  # squares that are summed in the type of y: a longer sum would lose digits in float32


def mse(y: Array, target: Array) -> tuple[Array, Array]:
    """Mean squared error and its gradient.

    L = (1 / n) Σ (y - target)²,    n numbers in y; sums of 65,536 squares are added in float64

    Shapes
    ------
    y, target of one shape -> L a scalar of y's dtype, dy of the shape and dtype of y

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
    require(y.shape == target.shape, f"mse: y and target must be alike; got {y.shape} and {target.shape}")
    require(y.size > 0, f"mse: no numbers have no mean; got {y.shape}")
    require(
        y.dtype != np.float16,
        "mse: y must be float32 or float64; got float16. Convert it, y.astype(np.float32), and scale dy before you "
        "convert that back",
    )
    return squared_error(y, target.astype(y.dtype, copy=False))


@accelerated
def squared_error(y: Array, target: Array) -> tuple[Array, Array]:
    """(1 / n) Σ (y - target)², and (2 / n) (y - target)."""
    difference = y - target
    flat = difference.reshape(-1)
    blocks = (flat[start : start + BLOCK] for start in range(0, y.size, BLOCK))
    loss = (sum((block @ block).astype(np.float64) for block in blocks) / y.size).astype(flat.dtype)
    difference *= 2 / y.size
    return loss, difference


def cross_entropy(x: Array, target: Array) -> tuple[Array, Array]:
    """Cross-entropy of classes, from logits, and its gradient.

    L = (1 / n) Σ (log Σ_k exp(x[..., k]) - x[..., t]),    t the right class, n decisions

    Shapes
    ------
    x (..., C) logits, target (...) of integers from 0 to C - 1 -> L a scalar of x's dtype, dx (..., C)

    Gradient
    --------
    dx[..., c] = (1 / n) (p[..., c] - (1 where c = t, else 0)),    p = softmax(x)

    Raises
    ------
    ShapeError
        target does not fit x, is not of integers, or names a class that is not there; x is empty, not of floats, or of
        float16, where a gradient divided by n would vanish.

    Source
    ------
    Bridle 1990, "Probabilistic interpretation of feedforward classification network outputs". Same value as
    torch.nn.functional.cross_entropy.
    """
    require_array("cross_entropy", x)
    require_array("cross_entropy", target, "target", "int")
    require(
        x.dtype in (np.float32, np.float64),
        f"cross_entropy: x must be float32 or float64; got {x.dtype}. Convert it: x.astype(np.float32)",
    )
    require(x.ndim > 0, "cross_entropy: x must have an axis, of classes; got a single number")
    require(x.size > 0, f"cross_entropy: no rows, or rows of no classes, have no loss; got {x.shape}")
    require(
        target.shape == x.shape[:-1],
        f"cross_entropy: target must be one class for each row of x, {x.shape[:-1]} for {x.shape}; got {target.shape}",
    )
    require(
        target.dtype.kind in "iu",
        f"cross_entropy: target must be integers; got {target.dtype}. Convert it: target.astype(int)",
    )
    require(
        target.min() >= 0 and target.max() < x.shape[-1],
        f"cross_entropy: a class must be from 0 to {x.shape[-1] - 1}; got {target.min()} to {target.max()}",
    )
    return entropy_of_classes(x, target)


@accelerated
def entropy_of_classes(x: Array, target: Array) -> tuple[Array, Array]:
    """(1 / n) Σ (log Σ exp(x) - x[t]), and (1 / n) (softmax(x) - 1 at t)."""
    xp = array_module(x)
    is_right = target.reshape(*target.shape, 1) == xp.arange(x.shape[-1])
    x = x - x.max(-1, keepdims=True)  # changes neither, and no exponential overflows
    log_p = x - xp.log(xp.exp(x).sum(-1, keepdims=True))
    loss = -xp.where(is_right, log_p, 0).sum() / target.size
    return loss, (xp.exp(log_p) - is_right) * (1 / target.size)
