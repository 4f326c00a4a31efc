"""Layers one after another."""

from __future__ import annotations

from typing import Any

from nn1d.backend import Array
from nn1d.layer import Layer, Tree, parameters_of, require


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
        One of the layers raises it; a name is that of two layers, or has a dot, which stands between names; or what is
        given is no layer.
    """

    def __init__(self, *layers: Layer, **named: Layer) -> None:
        for name in named:
            require(
                "." not in name and not (name.isdecimal() and int(name) < len(layers)),
                f"Sequential: a layer cannot be named {name!r}: "
                + ("a dot stands between names" if "." in name else "that is the name of another one, by its number"),
            )
        for layer in (*layers, *named.values()):
            require(
                hasattr(layer, "forward") and hasattr(layer, "backward") and not isinstance(layer, type),
                f"Sequential: needs layers, with forward and backward; got {layer!r}"
                + (". Unpack the list: Sequential(*layers)" if isinstance(layer, (list, tuple)) else "")
                + (f". Make one: {layer.__name__}(...)" if isinstance(layer, type) else "")
                + (". Unpack the names: Sequential(**layers)" if isinstance(layer, dict) else ""),
            )
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
