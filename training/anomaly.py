"""Which layer was the first whose output or gradient is not finite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from nn1d.backend import array_module
from nn1d.dispatch import plain
from nn1d.layer import named_layers, named_leaves


class NonFiniteLayer(RuntimeError):
    """A layer gave something that is not finite; the message names it."""


@contextmanager
def detect_anomaly(network: Any) -> Iterator[None]:
    """Every layer of the network raises NonFiniteLayer at the first value that is not finite. Slow: for afterwards."""
    layers: list[tuple[str, Any]] = list(named_layers(network))
    for name, layer in layers:
        layer.forward = _checked(layer.forward, f"the output of {name} ({layer!r})")
        layer.backward = _checked(layer.backward, f"the gradient of {name} ({layer!r})")
    try:
        with plain():  # layer by layer, also where a kernel would take two of them in one
            yield
    finally:
        for _, layer in layers:
            del layer.forward, layer.backward


def _checked(function: Callable[..., Any], what: str) -> Callable[..., Any]:
    def checked(*arguments: Any) -> Any:
        results = function(*arguments)
        for _, array in named_leaves(results[0]):
            if not bool(array_module(array).isfinite(array).all()):
                raise NonFiniteLayer(what)
        return results

    return checked
