"""Which layer was the first whose output or gradient is not finite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from nn1d.backend import array_module
from nn1d.cuda.kernel import plain
from nn1d.layer import named_leaves


class NonFiniteLayer(RuntimeError):
    """A layer gave something that is not finite; the message names it."""


@contextmanager
def detect_anomaly(network: Any) -> Iterator[None]:
    """Every layer of the network raises NonFiniteLayer at the first value that is not finite. Slow: for afterwards."""
    layers = list(named_layers(network))
    for name, layer in layers:
        layer.forward = _checked(layer.forward, f"the output of {name} ({layer!r})")
        layer.backward = _checked(layer.backward, f"the gradient of {name} ({layer!r})")
    try:
        with plain():  # layer by layer, also where a kernel would take two of them in one
            yield
    finally:
        for _, layer in layers:
            del layer.forward, layer.backward


def named_layers(network: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The innermost layers of a network, under the names that their parameters have."""
    if isinstance(network, dict):
        children = [(f"{name}.{key}" if name else str(key), child) for key, child in network.items()]
    elif isinstance(network, (list, tuple)):
        children = [(f"{name}.{i}" if name else str(i), child) for i, child in enumerate(network)]
    elif hasattr(network, "backward"):
        silent = ("stages", "layers")  # containers that the names of parameters leave out
        children = [
            (f"{name}.{key}".strip(".") if key not in silent else name, child) for key, child in vars(network).items()
        ]
    else:
        return
    inner = [layer for path, child in children for layer in named_layers(child, path)]
    if inner or not hasattr(network, "backward"):
        yield from inner
    else:
        yield name, network


def _checked(function: Callable[..., Any], what: str) -> Callable[..., Any]:
    def checked(*arguments: Any) -> Any:
        results = function(*arguments)
        for _, array in named_leaves(results[0]):
            if not bool(array_module(array).isfinite(array).all()):
                raise NonFiniteLayer(what)
        return results

    return checked
