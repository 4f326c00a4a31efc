"""Layer normalisation.

Batch normalisation is not here, since a layer is two pure functions: it mixes the clips of a batch, so a clip's output
would depend on its neighbours and no clip could go through a core of its own; and forward would write running means
into the layer, and read them or not by a flag for training. Over channels all that is needed is in the sample itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nn1d.backend import Array
from nn1d.dispatch import accelerated
from nn1d.layer import ShapeError, require, require_dtype, require_floats, require_like, require_number, require_size


@accelerated(half="rounded")
def standardised(x: Array, epsilon: float) -> Array:
    """z = (x - m) / √(v + ε), with the mean m and the variance v over the last axis."""
    z = x - x.mean(-1, keepdims=True)
    return z / ((z * z).mean(-1, keepdims=True) + epsilon) ** 0.5


@accelerated(half="rounded")
def standardised_gradient(dz: Array, x: Array, epsilon: float) -> Array:
    """dx = (dz - mean of dz - z · mean of (dz · z)) / √(v + ε)."""
    z = x - x.mean(-1, keepdims=True)
    deviation = ((z * z).mean(-1, keepdims=True) + epsilon) ** 0.5
    z /= deviation
    return (dz - dz.mean(-1, keepdims=True) - z * (dz * z).mean(-1, keepdims=True)) / deviation


@accelerated(half="widened")
def scale_gradients(dy: Array, z: Array) -> tuple[Array, Array]:
    """dg[c] = Σ dy[..., c] · z[..., c] and db[c] = Σ dy[..., c]."""
    rows = dy.reshape(-1, dy.shape[-1])
    return (rows * z.reshape(rows.shape)).sum(0), rows.sum(0)


class LayerNorm:
    """Move the channels of each sample to mean 0 and variance 1; then scale and shift each channel.

    m = (1 / C) Σ_c x[..., c],    v = (1 / C) Σ_c (x[..., c] - m)²
    y[..., c] = g[c] · (x[..., c] - m) / √(v + ε) + b[c]

    Parameters
    ----------
    channels : int > 0
        C
    epsilon : float > 0
        ε: keeps the division from failing where all channels are alike.
    dtype : float32 or float64
        Of the parameters, which begin as g = 1 and b = 0. x may be float16: its means are taken in float32, and y is
        rounded.

    Shapes
    ------
    x (..., C), such as (N, C) or (N, L, C) -> y of the same shape; g (C,); b (C,)

    Gradient
    --------
    with dz = g·dy and z = (x - m) / √(v + ε), means over the channels,
    dx = (dz - mean of dz - z · mean of (dz · z)) / √(v + ε)
    dg[c] = Σ dy[..., c] · z[..., c],    db[c] = Σ dy[..., c]        over all axes but the last

    Cache
    -----
    x itself: z is computed again.

    Raises
    ------
    ShapeError
        channels is not a positive integer, epsilon is not positive, or the last axis of x is not C.

    Source
    ------
    Ba et al. 2016, "Layer normalization", arXiv:1607.06450. Same values as torch.nn.LayerNorm(channels).
    """

    def __init__(self, channels: int, epsilon: float = 1e-5, *, dtype: Any = np.float32) -> None:
        self.channels = require_size("LayerNorm", "channels", channels)
        require_dtype("LayerNorm", dtype)
        number = require_number("LayerNorm", "epsilon", epsilon)
        require(epsilon > 0, f"LayerNorm: epsilon must be positive; got {epsilon!r}")
        self.epsilon = number
        self.parameters: dict[str, Array] = {"weight": np.ones(channels, dtype), "bias": np.zeros(channels, dtype)}

    def __repr__(self) -> str:
        return f"LayerNorm({self.channels})"

    def forward(self, x: Array) -> tuple[Array, Array]:
        """y, and x."""
        require_floats(self, x)
        if x.shape[-1] != self.channels:
            raise ShapeError(f"{self!r}: x must be (..., {self.channels}), channels last; got {x.shape}")
        y = standardised(x, self.epsilon) * self.parameters["weight"] + self.parameters["bias"]
        return y.astype(x.dtype, copy=False), x

    def backward(self, dy: Array, cache: Array) -> tuple[Array, dict[str, Array]]:
        """dx, and {"weight": dg, "bias": db}."""
        x = cache
        require_like(self, dy, x.shape, x.dtype)
        dz = (dy * self.parameters["weight"]).astype(x.dtype, copy=False)
        dg, db = scale_gradients(dy, standardised(x, self.epsilon))
        return standardised_gradient(dz, x, self.epsilon), {"weight": dg, "bias": db}
