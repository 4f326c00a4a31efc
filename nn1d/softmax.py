"""Logits to probabilities."""

from __future__ import annotations

from nn1d.backend import Array, array_module
from nn1d.layer import require, require_floats, require_like


class Softmax:
    """Make positive numbers that add up to 1 of any numbers, along the last axis.

    y[..., c] = exp(x[..., c]) / Σ_k exp(x[..., k])

    To train a classifier leave it out and give the logits to nn1d.cross_entropy, which is stable and has the shorter
    gradient.

    Shapes
    ------
    x (..., C) -> y (..., C)

    Gradient
    --------
    dx[..., c] = y[..., c]·(dy[..., c] - Σ_k dy[..., k]·y[..., k])

    Cache
    -----
    y

    Raises
    ------
    ShapeError
        x is not an array of floats, or has no numbers along the last axis.

    Source
    ------
    Bridle 1990, "Probabilistic interpretation of feedforward classification network outputs". Same values as
    torch.nn.Softmax(dim=-1).
    """

    def __init__(self) -> None:
        self.parameters: dict[str, Array] = {}

    def __repr__(self) -> str:
        return "Softmax()"

    def forward(self, x: Array) -> tuple[Array, Array]:
        """y, twice. Less its maximum, no number overflows, and the fraction stays what it was."""
        require_floats(self, x)
        require(x.shape[-1] > 0, f"{self!r}: no numbers add up to 1; got {x.shape}")
        y = array_module(x).exp(x - x.max(-1, keepdims=True))
        y /= y.sum(-1, keepdims=True)
        return y, y

    def backward(self, dy: Array, cache: Array) -> tuple[Array, dict[str, Array]]:
        """dx = y·(dy - Σ dy·y)."""
        y = cache
        require_like(self, dy, y.shape, y.dtype)
        return y * (dy - (dy * y).sum(-1, keepdims=True)), {}
