"""Every output a weighted sum of every channel."""

from __future__ import annotations

from typing import Any

import numpy as np

from nn1d.backend import Array
from nn1d.dispatch import accelerated
from nn1d.initial import Initializer, glorot_uniform
from nn1d.layer import ShapeError, drawn, require_dtype, require_floats, require_like, require_size


@accelerated(half="rounded")
def linear(x: Array, w: Array, b: Array | None = None) -> Array:
    """y[..., o] = b[o] + Σ_c x[..., c] · w[c, o]."""
    y = x @ w
    return (y if b is None else y + b).astype(x.dtype, copy=False)


@accelerated(half="widened")
def linear_gradients(x: Array, dy: Array) -> tuple[Array, Array]:
    """dw[c, o] = Σ x[..., c] · dy[..., o] and db[o] = Σ dy[..., o], over all axes but the last."""
    rows, d_rows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    return rows.T @ d_rows, d_rows.sum(0)


class Linear:
    """Weighted sums of the channels, the same at every sample: a convolution with one tap.

    y[..., o] = b[o] + Σ_c x[..., c] · w[c, o]

    Parameters
    ----------
    in_channels, out_channels : int > 0
        C and O.
    bias : bool
        False leaves b out.
    rng : numpy.random.Generator or int
        Where the initial weights are drawn from, or the seed of a generator for this layer alone.
    initial : function (rng, shape) -> array
        One of nn1d.initial, asked for the filters (1, C, O).
    dtype : float32 or float64
        Of the parameters. x may be float16: it is summed in float32, and y is rounded.

    Shapes
    ------
    x (..., C), such as (N, C) or (N, L, C) -> y (..., O); w (C, O); b (O,)

    Gradient
    --------
    dx[..., c] = Σ_o dy[..., o] · w[c, o]
    dw[c, o] = Σ x[..., c] · dy[..., o]        over all axes but the last
    db[o] = Σ dy[..., o]

    Cache
    -----
    x itself: nothing is copied.

    Raises
    ------
    ShapeError
        A size is not a positive integer, dtype, rng or initial is none of those, or the last axis of x is not C.

    Source
    ------
    Rosenblatt 1958, "The perceptron". Same values as torch.nn.Linear, whose weight is ours transposed, (O, C).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        bias: bool = True,
        rng: np.random.Generator | int,
        initial: Initializer = glorot_uniform,
        dtype: Any = np.float32,
    ) -> None:
        self.in_channels = require_size("Linear", "in_channels", in_channels)
        self.out_channels = require_size("Linear", "out_channels", out_channels)
        require_dtype("Linear", dtype)
        weight = drawn("Linear", initial, rng, (1, self.in_channels, self.out_channels))[0]
        self.parameters: dict[str, Array] = {"weight": weight.astype(dtype)}
        if bias:
            self.parameters["bias"] = np.zeros(out_channels, dtype)

    def __repr__(self) -> str:
        return f"Linear({self.in_channels} -> {self.out_channels})"

    def forward(self, x: Array) -> tuple[Array, Array]:
        """(..., C) -> (..., O), and x."""
        require_floats(self, x)
        if x.shape[-1] != self.in_channels:
            raise ShapeError(f"{self!r}: x must be (..., {self.in_channels}), channels last; got {x.shape}")
        return linear(x, self.parameters["weight"], self.parameters.get("bias")), x

    def backward(self, dy: Array, cache: Array) -> tuple[Array, dict[str, Array]]:
        """dx, and {"weight": dw, "bias": db}."""
        x, w = cache, self.parameters["weight"]
        require_like(self, dy, (*x.shape[:-1], self.out_channels), x.dtype)
        dw, db = linear_gradients(x, dy)
        # (..., O) @ (O, C)
        return linear(dy, w.T), {"weight": dw} | ({"bias": db} if "bias" in self.parameters else {})
