"""Layers one after another."""

from __future__ import annotations

from typing import Any

from nn1d.backend import Array
from nn1d.fusion import fused
from nn1d.layer import Layer, Tree


class Sequential:
    """Apply layers in order.

    y = f_k(... f_2(f_1(x)))

    Parameters
    ----------
    *layers : Layer
        Named "0", "1", ... in `parameters`.
    **named : Layer
        Layers that follow, under names of their own.

    Gradient
    --------
    the chain rule: each layer's dx is the dy of the one before.

    Cache
    -----
    the caches of the layers, as nn1d.fusion joins them on a GPU
    """

    def __init__(self, *layers: Layer, **named: Layer) -> None:
        self.layers: dict[str, Layer] = {str(i): layer for i, layer in enumerate(layers)} | named

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(repr, self.layers.values()))})"

    @property
    def parameters(self) -> dict[str, Tree]:
        """The parameters of each layer that has any."""
        return {name: layer.parameters for name, layer in self.layers.items() if layer.parameters}

    def forward(self, x: Array) -> tuple[Array, list[Any]]:
        """Down the list."""
        caches = []
        for layer in fused(self.layers, x).values():
            x, cache = layer.forward(x)
            caches.append(cache)
        return x, caches

    def backward(self, dy: Array, cache: list[Any]) -> tuple[Array, dict[str, Tree]]:
        """Up the list."""
        grads = {}
        layers = fused(self.layers, dy)
        for (name, layer), kept in zip(reversed(layers.items()), reversed(cache), strict=True):
            dy, grads[name] = layer.backward(dy, kept)
        return dy, {name: grads[name] for name in self.parameters}
