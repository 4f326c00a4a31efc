"""The paper's network in torch.nn, under our dotted names: an oracle that differentiates by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nn1d import to_torch


def import_torch() -> Any:
    """torch on one thread, since these arrays are small and the cores are busy; skips the test where it is absent."""
    torch: Any = pytest.importorskip("torch", reason="the oracle needs pip install -e '.[oracle]'")
    torch.set_num_threads(1)
    return torch


def build(channels: tuple[int, ...], kernel_size: int, output: str, dtype: Any = np.float64) -> Any:
    """An untrained twin of Autoencoder(channels, kernel_size, output=output)."""
    torch = import_torch()
    from benchmarks.torch_twin import Twin  # only here: it imports torch

    return Twin(channels, kernel_size, output).to(torch.float64 if np.dtype(dtype) == np.float64 else torch.float32)


def load(twin: Any, parameters: Any) -> None:
    """Our weights into the twin; every name must fit."""
    twin.fill(to_torch(parameters))


def signal(x: np.ndarray) -> Any:
    """(N, L, C) to a tensor (N, C, L) that wants a gradient."""
    return import_torch().from_numpy(x.swapaxes(1, 2).copy()).requires_grad_()


def array(tensor: Any) -> np.ndarray:
    """And back."""
    values = tensor.detach().numpy()
    return values.swapaxes(1, 2) if values.ndim == 3 else values


def gradients(twin: Any) -> dict[str, np.ndarray]:
    """Of every parameter, in our layout."""
    return {
        name: p.grad.numpy().transpose(2, 1, 0) if p.ndim == 3 else p.grad.numpy()
        for name, p in twin.named_parameters()
    }


def assert_alike(layer: Any, twin: Any, x: np.ndarray, dy: np.ndarray, tolerance: float, signals: bool = False) -> None:
    """A layer gives the numbers of its twin, forward and backward; `signals` go to the twin as (N, C, L).

    The parameters of both are under the same names, and have been made equal before.
    """
    torch = import_torch()

    def there(a: np.ndarray) -> Any:
        return signal(a) if signals and a.ndim == 3 else torch.from_numpy(a.copy()).requires_grad_()

    theirs = there(x)
    output = twin(theirs)
    output.backward(there(dy).detach())
    y, cache = layer.forward(x)
    dx, grads = layer.backward(dy, cache)
    back = array if signals else lambda tensor: tensor.detach().numpy()
    pairs = {"y": (y, back(output)), "dx": (dx, back(theirs.grad))}
    for name, p in getattr(twin, "named_parameters", dict)():
        pairs[name] = grads[name], p.grad.numpy().T
    for name, (ours, expected) in pairs.items():
        np.testing.assert_allclose(ours, expected, rtol=tolerance, atol=tolerance, err_msg=name)
