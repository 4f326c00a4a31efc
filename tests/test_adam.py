"""Adam, with both kinds of weight decay."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nn1d import Adam, ShapeError
from tests import loops
from tests.twin import import_torch

SETTINGS = [
    {},
    {"learning_rate": 0.05, "beta1": 0.5, "beta2": 0.8, "epsilon": 1e-3},
    {"weight_decay": 0.1},
    {"weight_decay": 0.1, "decoupled": True, "learning_rate": 0.02},
    {"beta1": 0.0, "beta2": 0.0},
]


@settings(deadline=None, max_examples=30, derandomize=True)
@given(
    st.sampled_from(SETTINGS),
    st.integers(1, 6),
    st.integers(1, 12),
    st.sampled_from([1e-6, 1.0, 1e6]),
    st.integers(0, 2**32 - 1),
)
def test_adam_is_its_definition(options: dict[str, Any], size: int, steps: int, scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    p, gradients = rng.standard_normal(size), scale * rng.standard_normal((steps, size))
    expected = loops.adam(
        p.tolist(),
        gradients.tolist(),
        rate=options.get("learning_rate", 0.001),
        beta1=options.get("beta1", 0.9),
        beta2=options.get("beta2", 0.999),
        epsilon=options.get("epsilon", 1e-8),
        decay=[options.get("weight_decay", 0.0)] * size,
        decoupled=options.get("decoupled", False),
    )
    adam = Adam(**options)
    for gradient in gradients:
        adam.step(p, gradient)
    np.testing.assert_allclose(p, expected, rtol=1e-11, atol=1e-13)
    assert adam.steps == steps


@pytest.mark.parametrize("decoupled", [False, True])
def test_every_parameter_may_have_its_own_decay(decoupled: bool) -> None:
    rng = np.random.default_rng(0)
    p, gradients, decay = rng.standard_normal(4), rng.standard_normal((5, 4)), np.array([0.3, 0, 0.01, 0])
    expected = loops.adam(
        p.tolist(),
        gradients.tolist(),
        rate=0.01,
        beta1=0.9,
        beta2=0.999,
        epsilon=1e-8,
        decay=decay.tolist(),
        decoupled=decoupled,
    )
    adam = Adam(0.01, weight_decay=decay, decoupled=decoupled)
    for gradient in gradients:
        adam.step(p, gradient)
    np.testing.assert_allclose(p, expected, rtol=1e-12)


def test_the_first_step_has_the_length_of_the_learning_rate() -> None:
    """What bias correction is for: without it the first steps are 0.1 / √0.001 times as long."""
    p = np.zeros(3)
    Adam(0.25).step(p, np.array([1e-3, -5, 1e5]))
    np.testing.assert_allclose(p, [-0.25, 0.25, -0.25], rtol=1e-4)


def test_a_schedule_may_change_the_learning_rate() -> None:
    p, adam = np.zeros(1), Adam(0.1)
    adam.step(p, np.ones(1))
    adam.learning_rate = 0.0
    adam.step(p, np.ones(1))
    np.testing.assert_allclose(p, [-0.1], rtol=1e-6)


@pytest.mark.parametrize("decay", [0.0, 0.1, np.float64(0.1)])
@pytest.mark.parametrize("decoupled", [False, True])
def test_float32_stays_and_the_gradient_is_not_written(decay: float, decoupled: bool) -> None:
    p, gradient = np.ones(4, np.float32), np.full(4, 0.5, np.float32)
    gradient.setflags(write=False)
    adam = Adam(weight_decay=decay, decoupled=decoupled)
    before = p
    adam.step(p, gradient)
    adam.step(p, gradient)
    assert p is before
    assert p.dtype == np.float32
    assert adam.mean is not None
    assert adam.square is not None
    assert adam.mean.dtype == adam.square.dtype == np.float32
    assert (p < 1).all()


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.05])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_adam_is_that_of_torch(decoupled: bool, decay: float, dtype: Any, tolerance: float) -> None:
    torch = import_torch()
    rng = np.random.default_rng(0)
    p, gradients = rng.standard_normal(40).astype(dtype), rng.standard_normal((25, 40)).astype(dtype)
    theirs = torch.nn.Parameter(torch.from_numpy(p.copy()))
    kind = torch.optim.AdamW if decoupled else torch.optim.Adam
    optimizer = kind([theirs], lr=0.01, betas=(0.8, 0.99), eps=1e-6, weight_decay=decay)
    adam = Adam(0.01, 0.8, 0.99, 1e-6, weight_decay=decay, decoupled=decoupled)
    for gradient in gradients:
        theirs.grad = torch.from_numpy(gradient)
        optimizer.step()
        adam.step(p, gradient)
    np.testing.assert_allclose(p, theirs.detach().numpy(), rtol=tolerance, atol=tolerance)


MESSAGES = [
    (lambda: Adam(-0.1), "Adam: learning_rate must not be negative; got -0.1"),
    (lambda: Adam(beta1=1.0), "Adam: beta1 and beta2 must be in [0, 1); got 1.0, 0.999"),
    (lambda: Adam(beta2=-0.1), "Adam: beta1 and beta2 must be in [0, 1); got 0.9, -0.1"),
    (lambda: Adam(epsilon=0), "Adam: epsilon must be positive; got 0"),
    (
        lambda: Adam().step(np.zeros(4), np.zeros(3)),
        "Adam: the gradient must have the shape of the parameters, (4,); got (3,)",
    ),
]


@pytest.mark.parametrize(("mistake", "message"), MESSAGES)
def test_a_mistake_is_named(mistake: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        mistake()
