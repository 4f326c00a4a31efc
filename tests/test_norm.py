"""Layer normalisation."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from nn1d import LayerNorm, ShapeError, from_torch
from tests import loops
from tests.twin import assert_alike, import_torch


def drawn(channels: int, dtype: Any = np.float64) -> LayerNorm:
    rng, layer = np.random.default_rng(1), LayerNorm(channels, 1e-3, dtype=dtype)
    for parameter in layer.parameters.values():
        parameter += rng.standard_normal(channels).astype(dtype)
    return layer


@pytest.mark.parametrize("shape", [(1, 3), (4, 5), (2, 6, 3), (4, 1), (2,)])
def test_layer_norm_is_its_definition(shape: tuple[int, ...]) -> None:
    rng, layer = np.random.default_rng(0), drawn(shape[-1])
    x, dy = 3 + 2 * rng.standard_normal(shape), rng.standard_normal(shape)
    g, b = layer.parameters["weight"], layer.parameters["bias"]
    rows, d_rows = x.reshape(-1, shape[-1]), dy.reshape(-1, shape[-1])
    y, cache = layer.forward(x)
    assert cache is x
    np.testing.assert_allclose(y.reshape(rows.shape), loops.layer_norm(rows, g, b, 1e-3), rtol=1e-12, atol=1e-13)
    dx, grads = layer.backward(dy, cache)
    expected = loops.layer_norm_gradients(rows, g, d_rows, 1e-3)
    for ours, by_loops in zip((dx.reshape(rows.shape), grads["weight"], grads["bias"]), expected, strict=True):
        np.testing.assert_allclose(ours, by_loops, rtol=1e-10, atol=1e-12)


def test_equal_channels_are_no_division_by_zero() -> None:
    layer = LayerNorm(4)
    y, cache = layer.forward(np.full((2, 4), 7, np.float32))
    assert not y.any()
    dx, _ = layer.backward(np.arange(8, dtype=np.float32).reshape(2, 4), cache)
    assert np.isfinite(dx).all()
    np.testing.assert_allclose(dx.sum(1), 0, atol=1e-4)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-5)])
def test_layer_norm_is_that_of_torch(dtype: Any, tolerance: float) -> None:
    torch = import_torch()
    rng, layer = np.random.default_rng(0), LayerNorm(5, dtype=dtype)
    twin = torch.nn.LayerNorm(5).to(torch.float64 if dtype is np.float64 else torch.float32)
    with torch.no_grad():
        twin.weight += torch.from_numpy(rng.standard_normal(5).astype(dtype))
        twin.bias += torch.from_numpy(rng.standard_normal(5).astype(dtype))
    from_torch(layer.parameters, {name: tensor.numpy() for name, tensor in twin.state_dict().items()})
    x, dy = rng.standard_normal((2, 3, 8, 5)).astype(dtype)
    assert_alike(layer, twin, x, dy, tolerance)


MESSAGES = [
    (lambda: LayerNorm(0), "LayerNorm: channels must be a positive integer; got 0"),
    (lambda: LayerNorm(3, 0.0), "LayerNorm: epsilon must be positive; got 0.0"),
    (
        lambda: LayerNorm(3).forward(np.zeros((3, 4), np.float32)),
        "LayerNorm(3): x must be (..., 3), channels last; got (3, 4)",
    ),
]


@pytest.mark.parametrize(("mistake", "message"), MESSAGES)
def test_a_mistake_is_named(mistake: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        mistake()
