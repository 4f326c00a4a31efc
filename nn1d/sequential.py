"""Layers one after another."""

from __future__ import annotations

from typing import Any

from nn1d.backend import Array
from nn1d.layer import Layer, Tree, parameters_of


class Sequential:
    """Apply layers in order.

    y = f_k(... f_2(f_1(x)))

    Parameters
    ----------
    *layers : Layer
        Named "0", "1", ... in `parameters`.
    **named : Layer
        Layers that follow, under these names.

    Shapes
    ------
    x as the first layer takes it -> y as the last one gives it

    Gradient
    --------
    the chain rule: each layer's dx is the dy of the one before

    Cache
    -----
    the caches of the layers

    Raises
    ------
    ShapeError
        One of the layers raises it.
    """

    def __init__(self, *layers: Layer, **named: Layer) -> None:
        self.layers: dict[str, Layer] = {str(i): layer for i, layer in enumerate(layers)} | named

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(repr, self.layers.values()))})"

    @property
    def parameters(self) -> dict[str, Tree]:
        """The parameters of each layer that has any."""
        return parameters_of(self.layers)

    def forward(self, x: Array) -> tuple[Array, list[Any]]:
        """Down the list."""
        caches = []
        for layer in self.layers.values():
            x, cache = layer.forward(x)
            caches.append(cache)
        return x, caches

    def backward(self, dy: Array, cache: list[Any]) -> tuple[Array, dict[str, Tree]]:
        """Up the list."""
        grads = {}
        for (name, layer), kept in zip(reversed(self.layers.items()), reversed(cache), strict=True):
            dy, grads[name] = layer.backward(dy, kept)
        return dy, {name: grads[name] for name in self.parameters}
