"""Dropout with a mask that is handed in."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from nn1d import Dropout, Linear, Sequential, ShapeError
from tests import loops
from tests.twin import import_torch


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.9])
def test_dropout_is_its_definition(rate: float) -> None:
    rng, layer = np.random.default_rng(0), Dropout(rate)
    x, dy = rng.standard_normal((2, 3, 8, 4))
    kept = layer.draw(rng, x.shape)
    y, cache = layer.forward(x, kept)
    np.testing.assert_allclose(y, loops.dropout(x, kept, rate), rtol=1e-14)
    np.testing.assert_allclose(layer.backward(dy, cache)[0], loops.dropout(dy, kept, rate), rtol=1e-14)


def test_a_mask_is_of_the_generator_alone_and_drops_its_share() -> None:
    layer = Dropout(0.3)
    one, again = (layer.draw(np.random.default_rng(7), (100, 100, 4)) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    assert abs((~one).mean() - 0.3) < 0.01  # four deviations
    assert (layer.draw(np.random.default_rng(8), (100,)) != one[0, :, 0]).any()


def test_the_mean_stays() -> None:
    x = np.ones((1, 40_000, 1))
    layer = Dropout(0.4)
    y, _ = layer.forward(x, layer.draw(np.random.default_rng(0), x.shape))
    np.testing.assert_allclose(y.mean(), 1, atol=0.02)


def test_nothing_is_dropped_without_a_mask() -> None:
    rng = np.random.default_rng(0)
    x, linear = rng.standard_normal((3, 4)).astype(np.float32), Linear(4, 2, rng=rng)
    with_dropout = Sequential(Dropout(0.5), linear)
    y, cache = with_dropout.forward(x)
    np.testing.assert_array_equal(y, linear.forward(x)[0])
    np.testing.assert_array_equal(with_dropout.backward(y, cache)[0], linear.backward(y, x)[0])


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-14), (np.float32, 1e-6)])
def test_dropout_is_that_of_torch_with_its_mask(dtype: Any, tolerance: float) -> None:
    torch = import_torch()
    torch.manual_seed(0)
    x, dy = (1 + np.random.default_rng(0).random((2, 5, 30))).astype(dtype)  # no zeros but the dropped
    theirs = torch.from_numpy(x.copy()).requires_grad_()
    output = torch.nn.Dropout(0.3)(theirs)
    output.backward(torch.from_numpy(dy))
    kept = output.detach().numpy() != 0
    assert 0 < kept.mean() < 1
    y, cache = Dropout(0.3).forward(x, kept)
    np.testing.assert_allclose(y, output.detach().numpy(), rtol=tolerance)
    np.testing.assert_allclose(Dropout(0.3).backward(dy, cache)[0], theirs.grad.numpy(), rtol=tolerance)


MESSAGES = [
    (lambda: Dropout(1.0), "Dropout: rate must be in [0, 1); got 1.0"),
    (lambda: Dropout(-0.1), "Dropout: rate must be in [0, 1); got -0.1"),
    (
        lambda: Dropout().forward(np.zeros((2, 3)), np.ones((2, 1), bool)),
        "Dropout(0.5): the mask must be bool (2, 3); got bool (2, 1). Draw it: draw(rng, x.shape)",
    ),
    (
        lambda: Dropout().forward(np.zeros((2, 3)), np.ones((2, 3))),
        "Dropout(0.5): the mask must be bool (2, 3); got float64 (2, 3). Draw it: draw(rng, x.shape)",
    ),
    (
        lambda: Dropout().draw(0, (2, 3)),  # type: ignore[arg-type]
        "Dropout(0.5): rng must be a numpy.random.Generator, so that each step has a mask of its own; got 0. "
        "Make one for all steps: np.random.default_rng(0)",
    ),
]


@pytest.mark.parametrize(("mistake", "message"), MESSAGES)
def test_a_mistake_is_named(mistake: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        mistake()
