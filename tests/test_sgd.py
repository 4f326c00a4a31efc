"""Stochastic gradient descent."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from nn1d import SGD, Adam, Conv1d, FlatParameters, ShapeError
from tests import loops
from tests.twin import import_torch
from tests.wrong import SGDWithARunningMean

SETTINGS = [
    {},
    {"learning_rate": 0.3},
    {"momentum": 0.9},
    {"momentum": 0.5, "weight_decay": 0.1, "learning_rate": 0.02},
]


def by_definition(p: np.ndarray, gradients: np.ndarray, options: dict[str, float]) -> list[float]:
    return loops.sgd(
        p.tolist(), gradients.tolist(), rate=options.get("learning_rate", 0.01),
        momentum=options.get("momentum", 0.0), decay=options.get("weight_decay", 0.0),
    )  # fmt: skip


def walked(optimiser: SGD, p: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    p = p.copy()
    for gradient in gradients:
        optimiser.step(p, gradient)
    return p


@pytest.mark.parametrize("options", SETTINGS)
def test_sgd_is_its_definition(options: dict[str, float]) -> None:
    rng = np.random.default_rng(0)
    p, gradients = rng.standard_normal(6), rng.standard_normal((9, 6))
    np.testing.assert_allclose(walked(SGD(**options), p, gradients), by_definition(p, gradients, options), rtol=1e-12)


def test_a_running_mean_is_no_momentum() -> None:
    rng = np.random.default_rng(0)
    p, gradients = rng.standard_normal(6), rng.standard_normal((9, 6))
    options = {"momentum": 0.9}
    wrong = walked(SGDWithARunningMean(**options), p, gradients)
    assert not np.allclose(wrong, by_definition(p, gradients, options), rtol=1e-3)


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_a_single_number_is_an_array_too(kind: Any) -> None:
    single, several = np.array(1.0), np.ones(3)
    one, other = kind(0.1), kind(0.1)
    for _ in range(3):
        one.step(single, np.array(0.5))
        other.step(several, np.full(3, 0.5))
    np.testing.assert_array_equal(several, single)


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_a_tree_in_place_of_its_vector_is_named_with_the_cure(kind: Any) -> None:
    layer, name = Conv1d(1, 1, 3, rng=0), kind.__name__
    weights = FlatParameters(layer.parameters)
    must = "must be an array of NumPy or CuPy; got"
    trees: list[Any] = [layer.parameters, (weights.vector, {}), [weights.vector]]
    for gradient in trees:
        said = f"{name}: gradient {must} {type(gradient).__name__}. Flatten it: flatten(gradient)"
        with pytest.raises(ShapeError, match=f"^{re.escape(said)}$"):
            kind().step(weights.vector, gradient)
    holders: list[Any] = [layer.parameters, layer, weights]
    for parameters in holders:
        said = f"{name}: parameters {must} {type(parameters).__name__}. Flatten them once: weights = FlatParameters("
        with pytest.raises(ShapeError, match=f"^{re.escape(said)}"):
            kind().step(parameters, weights.vector)


@pytest.mark.parametrize("kind", [SGD, Adam])
@pytest.mark.parametrize("dtype", [int, bool, complex, str, object])
def test_a_gradient_is_of_floats(kind: Any, dtype: Any) -> None:
    p = np.ones(3)
    said = f"{kind.__name__}: the gradient must be floats, such as float32; got "
    with pytest.raises(ShapeError, match=f"^{said}"):
        kind().step(p, np.ones(3, dtype))
    np.testing.assert_array_equal(p, 1)


def test_a_schedule_may_change_the_learning_rate() -> None:
    p, sgd = np.zeros(1), SGD(0.1, 0.5)
    sgd.step(p, np.ones(1))
    sgd.learning_rate = 1.0
    sgd.step(p, np.ones(1))
    np.testing.assert_allclose(p, [-0.1 - 1.5])


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_float32_stays_and_the_gradient_is_not_written(decay: float) -> None:
    p, gradient = np.ones((2, 2), np.float32), np.full((2, 2), 0.5, np.float32)
    gradient.setflags(write=False)
    sgd, before = SGD(0.1, 0.9, decay), p
    sgd.step(p, gradient)
    sgd.step(p, gradient)
    assert p is before
    assert sgd.velocity is not None
    assert p.dtype == sgd.velocity.dtype == np.float32
    assert (p < 1).all()


@pytest.mark.parametrize("options", SETTINGS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_sgd_is_that_of_torch(options: dict[str, float], dtype: Any, tolerance: float) -> None:
    torch = import_torch()
    rng = np.random.default_rng(0)
    p, gradients = rng.standard_normal(40).astype(dtype), rng.standard_normal((25, 40)).astype(dtype)
    theirs = torch.nn.Parameter(torch.from_numpy(p.copy()))
    optimizer = torch.optim.SGD(
        [theirs], lr=options.get("learning_rate", 0.01), momentum=options.get("momentum", 0),
        weight_decay=options.get("weight_decay", 0),
    )  # fmt: skip
    for gradient in gradients:
        theirs.grad = torch.from_numpy(gradient)
        optimizer.step()
    ours = walked(SGD(**options), p, gradients)
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=tolerance, atol=tolerance)


MESSAGES = [
    (lambda: SGD(-0.1), "SGD: learning_rate must not be negative; got -0.1"),
    (lambda: SGD(weight_decay=[0.1]), "SGD: weight_decay must be a finite number; got [0.1]"),  # type: ignore[arg-type]
    (lambda: SGD(momentum=1.0), "SGD: momentum must be in [0, 1); got 1.0"),
    (lambda: SGD(weight_decay=-1), "SGD: weight_decay must not be negative; got -1"),
    (
        lambda: SGD().step(np.zeros(4), np.zeros(3)),
        "SGD: the gradient must have the shape of the parameters, (4,); got (3,)",
    ),
]


@pytest.mark.parametrize(("mistake", "message"), MESSAGES)
def test_a_mistake_is_named(mistake: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        mistake()
