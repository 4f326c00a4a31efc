"""Dropout, whose randomness is handed in."""

from __future__ import annotations

import numpy as np

from nn1d.backend import Array, array_module, masked
from nn1d.layer import require, require_array, require_floats, require_like, require_number


class Dropout:
    """Set a random part of the numbers to 0 while training, and make up for it by making the others larger.

    y = x·kept / (1 - q),    kept a mask of which a share q is False

    forward draws nothing, or it would give another answer each time: draw a mask and hand it in. Without one y is x, so
    in a Sequential, whose forward takes x alone, nothing is dropped: that is how a trained network is used.

    Parameters
    ----------
    rate : float in [0, 1)
        q: the share that is dropped.

    Shapes
    ------
    x of any shape with an axis, kept bool of the same -> y of the same shape

    Gradient
    --------
    dx = dy·kept / (1 - q)

    Cache
    -----
    the mask, 1 byte a number, and the shape of x

    Raises
    ------
    ShapeError
        rate is not in [0, 1), x is not an array of floats, or the mask is not of bool or not of the shape of x.

    Source
    ------
    Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting". Same values as
    torch.nn.Dropout with the same mask.
    """

    def __init__(self, rate: float = 0.5) -> None:
        number = require_number("Dropout", "rate", rate)
        require(0 <= rate < 1, f"Dropout: rate must be in [0, 1); got {rate!r}")
        self.rate = number
        self.parameters: dict[str, Array] = {}

    def __repr__(self) -> str:
        return f"Dropout({self.rate:g})"

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """A mask for a signal of this shape: False with probability q, each by itself.

        Shapes
        ------
        shape -> bool array of that shape

        Raises
        ------
        ShapeError
            rng is no generator, which would give another mask in each step.
        """
        require(
            isinstance(rng, np.random.Generator),
            f"{self!r}: rng must be a numpy.random.Generator, so that each step has a mask of its own; got {rng!r}. "
            "Make one for all steps: np.random.default_rng(0)",
        )
        return rng.random(shape) >= self.rate

    def forward(self, x: Array, kept: Array | None = None) -> tuple[Array, tuple[Array | None, tuple[int, ...]]]:
        """y = x·kept / (1 - q), or x itself without a mask."""
        require_floats(self, x)
        if kept is None:
            return x, (None, x.shape)
        require_array(self, kept, "mask", "bool")
        require(
            kept.shape == x.shape and kept.dtype == bool,
            f"{self!r}: the mask must be bool {x.shape}; got {kept.dtype} {kept.shape}. Draw it: draw(rng, x.shape)",
        )
        kept = array_module(x).asarray(kept)
        return masked(x, kept) * (1 / (1 - self.rate)), (kept, x.shape)

    def backward(self, dy: Array, cache: tuple[Array | None, tuple[int, ...]]) -> tuple[Array, dict[str, Array]]:
        """dx = dy·kept / (1 - q)."""
        kept, shape = cache
        require_like(self, dy, shape, None)
        return (dy if kept is None else masked(dy, kept) * (1 / (1 - self.rate))), {}
