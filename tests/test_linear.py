"""The linear layer."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from nn1d import Linear, ShapeError, from_torch, initial, to_torch
from tests import loops
from tests.twin import assert_alike, import_torch


@pytest.mark.parametrize("shape", [(1, 3), (4, 3), (2, 5, 3), (3,)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_is_its_definition(shape: tuple[int, ...], bias: bool) -> None:
    rng = np.random.default_rng(0)
    layer = Linear(3, 2, bias=bias, rng=rng, dtype=np.float64)
    w, b = layer.parameters["weight"], layer.parameters.get("bias", np.zeros(2))
    b += rng.standard_normal(2)
    if not bias:
        b[:] = 0
    x, dy = rng.standard_normal(shape), rng.standard_normal((*shape[:-1], 2))
    y, cache = layer.forward(x)
    np.testing.assert_allclose(y, loops.linear(x.reshape(-1, 3), w, b).reshape(dy.shape), rtol=1e-12)
    dx, grads = layer.backward(dy, cache)
    expected = loops.linear_gradients(x.reshape(-1, 3), w, dy.reshape(-1, 2))
    np.testing.assert_allclose(dx, expected[0].reshape(shape), rtol=1e-12)
    np.testing.assert_allclose(grads["weight"], expected[1], rtol=1e-12)
    assert list(grads) == list(layer.parameters)
    if bias:
        np.testing.assert_allclose(grads["bias"], expected[2], rtol=1e-12)


def test_its_initial_weights_are_those_of_a_filter_of_one_tap() -> None:
    w = Linear(5, 4, rng=np.random.default_rng(0), initial=initial.he_normal, dtype=np.float64).parameters["weight"]
    np.testing.assert_array_equal(w, initial.he_normal(np.random.default_rng(0), (1, 5, 4))[0])


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-5)])
def test_linear_is_that_of_torch(dtype: Any, tolerance: float) -> None:
    torch = import_torch()
    rng = np.random.default_rng(0)
    layer = Linear(3, 4, rng=rng, dtype=dtype)
    twin = torch.nn.Linear(3, 4).to(torch.float64 if dtype is np.float64 else torch.float32)
    from_torch(layer.parameters, {name: tensor.detach().numpy() for name, tensor in twin.state_dict().items()})
    x, dy = rng.standard_normal((2, 7, 3)).astype(dtype), rng.standard_normal((2, 7, 4)).astype(dtype)
    assert_alike(layer, twin, x, dy, tolerance)
    back = to_torch(layer.parameters)
    assert {name: array.shape for name, array in back.items()} == {"weight": (4, 3), "bias": (4,)}
    np.testing.assert_array_equal(back["weight"], twin.weight.detach().numpy())


MESSAGES = [
    (lambda rng: Linear(0, 2, rng=rng), "Linear: in_channels must be a positive integer; got 0"),
    (lambda rng: Linear(2, -1, rng=rng), "Linear: out_channels must be a positive integer; got -1"),
    (
        lambda rng: Linear(3, 2, rng=rng).forward(np.zeros((3, 4), np.float32)),
        "Linear(3 -> 2): x must be (..., 3), channels last; got (3, 4)",
    ),
]


@pytest.mark.parametrize(("mistake", "message"), MESSAGES)
def test_a_mistake_is_named(mistake: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        mistake(np.random.default_rng(0))
