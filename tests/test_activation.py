"""Elementwise maps."""

from __future__ import annotations

import math
import re
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nn1d import ELU, HardSigmoid, LeakyReLU, ReLU, ShapeError, Sigmoid, Tanh, cpu
from nn1d.dispatch import FORMS
from tests import loops
from tests.twin import assert_alike, import_torch

drawn = settings(deadline=None, max_examples=40, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
seeds = st.integers(0, 2**32 - 1)
shapes = st.tuples(st.integers(1, 3), st.integers(1, 20), st.integers(1, 4))
alphas = st.sampled_from([0.1, 0.5, 1.0, 1.7])


@drawn
@given(shapes, seeds, alphas, st.booleans())
def test_elu_is_its_definition(shape: tuple[int, ...], seed: int, alpha: float, fast: bool) -> None:
    """Either way to the exponential, whichever this processor is the faster at."""
    rng = np.random.default_rng(seed)
    x, dy = 3 * rng.standard_normal((2, *shape))
    x.flat[0] = 0  # the kink itself
    layer = ELU(alpha)
    with patch.dict(FORMS, expm1=[] if fast else [cpu.expm1]):
        y, cache = layer.forward(x)
    np.testing.assert_allclose(y, loops.over(loops.elu, x, alpha), rtol=1e-12, atol=1e-15)
    dx, grads = layer.backward(dy, cache)
    np.testing.assert_allclose(dx, dy * loops.over(loops.elu_slope, x, alpha), rtol=1e-12, atol=1e-15)
    assert grads == {}


@drawn
@given(shapes, seeds)
def test_hard_sigmoid_is_its_definition(shape: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, dy = 3 * rng.standard_normal((2, *shape))
    layer = HardSigmoid()
    y, cache = layer.forward(x)
    np.testing.assert_allclose(y, loops.over(loops.hard_sigmoid, x), rtol=1e-15, atol=0)
    dx, grads = layer.backward(dy, cache)
    np.testing.assert_allclose(dx, dy * loops.over(loops.hard_sigmoid_slope, x), rtol=1e-15, atol=0)
    assert grads == {}


OTHERS: dict[str, tuple[Any, Any, Any, list[float], str]] = {  # layer, its definition, its slope, more, torch's name
    "ReLU": (ReLU(), loops.relu, loops.relu_slope, [], "ReLU()"),
    "LeakyReLU": (LeakyReLU(0.1), loops.leaky_relu, loops.leaky_relu_slope, [0.1], "LeakyReLU(0.1)"),
    "Sigmoid": (Sigmoid(), loops.sigmoid, loops.sigmoid_slope, [], "Sigmoid()"),
    "Tanh": (Tanh(), loops.tanh, loops.tanh_slope, [], "Tanh()"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_an_activation_is_its_definition(name: str) -> None:
    layer, function, slope, more, _ = OTHERS[name]
    x, dy = 3 * np.random.default_rng(0).standard_normal((2, 3, 20, 4))
    x.flat[0] = 0  # the kink of those that have one
    y, cache = layer.forward(x)
    assert cache is y
    np.testing.assert_allclose(y, loops.over(function, x, *more), rtol=1e-12, atol=1e-15)
    dx, grads = layer.backward(dy, cache)
    # 1 - y² loses digits where y is near 1
    np.testing.assert_allclose(dx, dy * loops.over(slope, x, *more), rtol=1e-9, atol=1e-14)
    assert grads == {}


@pytest.mark.parametrize(
    ("layer", "ends", "slopes"),
    [
        (ReLU(), [0, 0, 1e4, np.inf], [0, 0, 1, 1]),
        (LeakyReLU(0.5), [-np.inf, -5e3, 1e4, np.inf], [0.5, 0.5, 1, 1]),
        (Sigmoid(), [0, 0, 1, 1], [0, 0, 0, 0]),
        (Tanh(), [-1, -1, 1, 1], [0, 0, 0, 0]),
    ],
)
@pytest.mark.filterwarnings("error")
def test_an_activation_far_out(layer: Any, ends: list[float], slopes: list[float]) -> None:
    x = np.array([-np.inf, -1e4, 1e4, np.inf], np.float32)
    y, cache = layer.forward(x)
    assert y.tolist() == ends
    assert layer.backward(np.ones_like(x), cache)[0].tolist() == slopes
    assert np.isnan(layer.forward(np.full(1, np.nan))[0]).all()  # a broken sample is not hidden


def test_a_sigmoid_keeps_the_digits_of_small_numbers() -> None:
    y, _ = Sigmoid().forward(np.array([-30.0, -700.0]))
    np.testing.assert_allclose(y, np.exp([-30.0, -700.0]), rtol=1e-12)


@drawn
@given(shapes, seeds, alphas)
def test_elu_along_one_random_direction(shape: tuple[int, ...], seed: int, alpha: float) -> None:
    rng = np.random.default_rng(seed)
    x, dy, v = rng.standard_normal((3, *shape))
    x += 0.01 * np.sign(x)  # away from the kink
    layer = ELU(alpha)
    step = 1e-5
    terms = dy * (layer.forward(x + step * v)[0] - layer.forward(x - step * v)[0]) / (2 * step)
    analytic = (layer.backward(dy, layer.forward(x)[1])[0] * v).sum()
    assert abs(terms.sum() - analytic) <= 1e-8 * max(abs(analytic), abs(terms).sum())


@pytest.mark.parametrize("fast", [False, True])
def test_elu_far_out(monkeypatch: pytest.MonkeyPatch, fast: bool) -> None:
    monkeypatch.setitem(FORMS, "expm1", [] if fast else [cpu.expm1])
    x = np.array([-1e4, -100, 100, 1e4, -np.inf, np.inf], np.float32).reshape(1, 6, 1)
    y, cache = ELU().forward(x)
    assert y.ravel().tolist() == [-1, -1, 100, 1e4, -1, np.inf]
    dx, _ = ELU().backward(np.ones_like(x), cache)
    assert dx.ravel().tolist() == [0, 0, 1, 1, 0, 1]
    assert y.dtype == dx.dtype == np.float32
    assert np.isnan(ELU().forward(np.full((1, 1, 1), np.nan))[0]).all()  # a broken sample is not hidden


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.filterwarnings("error")
def test_elu_keeps_the_digits_of_small_numbers(monkeypatch: pytest.MonkeyPatch, fast: bool, dtype: Any) -> None:
    """exp(x) - 1 in float32 is 0 at -1e-8, and has lost half of its digits at -1e-3."""
    monkeypatch.setitem(FORMS, "expm1", [] if fast else [cpu.expm1])
    limits = np.finfo(dtype)
    x = -np.logspace(np.log10(float(limits.tiny)) + 1, 2, 5001).astype(dtype)
    y, _ = ELU().forward(x)
    np.testing.assert_allclose(y, np.expm1(x.astype(np.longdouble)), rtol=2 * limits.eps, atol=0)
    assert ELU().forward(dtype([-1e-8]))[0] == dtype(math.expm1(dtype(-1e-8)))
    subnormal = -np.arange(1, 1000).astype(dtype) * limits.smallest_subnormal
    np.testing.assert_allclose(ELU().forward(subnormal)[0], subnormal, rtol=0, atol=limits.smallest_subnormal)
    ends = ELU().forward(dtype([-0.0, 0.0, -np.inf, np.inf, np.nan]))[0]
    np.testing.assert_array_equal(ends, dtype([0, 0, -1, np.inf, np.nan]))


def test_hard_sigmoid_ends_at_two_and_a_half() -> None:
    x = np.array([-9, -2.4, 0, 2.4, 9]).reshape(1, 5, 1)
    y, cache = HardSigmoid().forward(x)
    np.testing.assert_allclose(y.ravel(), [0, 0.02, 0.5, 0.98, 1], atol=1e-15)
    np.testing.assert_array_equal(HardSigmoid().backward(np.ones_like(x), cache)[0].ravel(), [0, 0.2, 0.2, 0.2, 0])


@pytest.fixture
def torch() -> Any:
    return import_torch()


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-6)])
@pytest.mark.parametrize("alpha", [1.0, 0.3])
def test_elu_is_that_of_torch(torch: Any, alpha: float, dtype: Any, tolerance: float) -> None:
    x, dy = (2 * np.random.default_rng(0).standard_normal((2, 3, 50, 4))).astype(dtype)
    theirs = torch.from_numpy(x.copy()).requires_grad_()
    output = torch.nn.ELU(alpha)(theirs)
    output.backward(torch.from_numpy(dy))
    y, cache = ELU(alpha).forward(x)
    np.testing.assert_allclose(y, output.detach().numpy(), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(ELU(alpha).backward(dy, cache)[0], theirs.grad.numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-6)])
def test_hard_sigmoid_is_a_clamp_of_torch(torch: Any, dtype: Any, tolerance: float) -> None:
    x, dy = (3 * np.random.default_rng(0).standard_normal((2, 3, 50, 4))).astype(dtype)
    theirs = torch.from_numpy(x.copy()).requires_grad_()
    output = torch.clamp(0.2 * theirs + 0.5, 0, 1)
    output.backward(torch.from_numpy(dy))
    y, cache = HardSigmoid().forward(x)
    np.testing.assert_allclose(y, output.detach().numpy(), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(HardSigmoid().backward(dy, cache)[0], theirs.grad.numpy(), rtol=tolerance, atol=0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-6)])
@pytest.mark.parametrize("name", OTHERS)
def test_an_activation_is_that_of_torch(torch: Any, name: str, dtype: Any, tolerance: float) -> None:
    layer, *_, twin = OTHERS[name]
    x, dy = (2 * np.random.default_rng(0).standard_normal((2, 3, 50, 4))).astype(dtype)
    assert_alike(layer, eval(twin, vars(torch.nn)), x, dy, tolerance)


MESSAGES = [
    (lambda: ELU(0), "ELU: alpha must be positive; got 0"),
    (lambda: ELU(-1.0), "ELU: alpha must be positive; got -1.0"),
    (lambda: ELU(float("nan")), "ELU: alpha must be a finite number; got nan"),
    (lambda: LeakyReLU(0), "LeakyReLU: negative_slope must be between 0 and 1; got 0"),
    (lambda: LeakyReLU(1.5), "LeakyReLU: negative_slope must be between 0 and 1; got 1.5"),
    (
        lambda: ELU(0.5).backward(np.zeros((1, 3, 1)), np.zeros((1, 4, 1))),
        "ELU(0.5): dy must be like y, float64 (1, 4, 1); got float64 (1, 3, 1)",
    ),
    (
        lambda: HardSigmoid().backward(np.zeros((1, 4, 1)), np.zeros((1, 4, 1), np.float32)),
        "HardSigmoid(): dy must be like y, float32 (1, 4, 1); got float64 (1, 4, 1)",
    ),
]


@pytest.mark.parametrize(("mistake", "message"), MESSAGES)
def test_a_mistake_is_named(mistake: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        mistake()


@pytest.mark.parametrize("layer", [ELU(), HardSigmoid(), ReLU(), LeakyReLU(), Sigmoid(), Tanh()])
def test_what_is_no_array_of_floats_is_refused(layer: Any) -> None:
    with pytest.raises(ShapeError, match=r"x must hold floats, such as float32; got int64\. Convert it: x\.astype"):
        layer.forward(np.arange(4))
    with pytest.raises(ShapeError, match=r"x must have an axis; got a single number\. Wrap it: x\[None\]"):
        layer.forward(np.float32(3))
