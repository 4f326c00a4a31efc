"""Mean squared error, and the cross-entropy of classes with its softmax."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from nn1d import ShapeError, Softmax, cross_entropy, mse
from tests import loops
from tests.twin import assert_alike, import_torch


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 5, 3), (3, 8, 1)])
def test_mse_is_its_definition(shape: tuple[int, ...]) -> None:
    y, target = np.random.default_rng(0).standard_normal((2, *shape))
    loss, dy = mse(y, target)
    expected, expected_dy = loops.mse(y.ravel().tolist(), target.ravel().tolist())
    np.testing.assert_allclose(loss, expected, rtol=1e-14)
    np.testing.assert_allclose(dy, np.array(expected_dy).reshape(shape), rtol=1e-14)


def test_mse_writes_nothing_and_takes_any_layout() -> None:
    y, target = np.random.default_rng(0).standard_normal((2, 3, 4, 8))
    before = y.copy(), target.copy()
    expected, expected_dy = mse(y, target)
    np.testing.assert_array_equal([y, target], before)
    for array in (y, target):
        array.setflags(write=False)
    loss, dy = mse(y.swapaxes(0, 1)[:, ::-1], target.swapaxes(0, 1)[:, ::-1])
    np.testing.assert_allclose(loss, expected, rtol=1e-14)
    np.testing.assert_array_equal(dy[:, ::-1].swapaxes(0, 1), expected_dy)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtypes_stay(dtype: Any) -> None:
    loss, dy = mse(np.ones((1, 2, 1), dtype), np.zeros((1, 2, 1), dtype))
    assert loss.dtype == dtype
    assert dy.dtype == dtype


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_mse_is_that_of_torch(dtype: Any, tolerance: float) -> None:
    torch = import_torch()
    y, target = np.random.default_rng(0).standard_normal((2, 2, 900, 1)).astype(dtype)
    theirs = torch.from_numpy(y.copy()).requires_grad_()
    output = torch.nn.functional.mse_loss(theirs, torch.from_numpy(target))
    output.backward()
    loss, dy = mse(y, target)
    np.testing.assert_allclose(loss, output.item(), rtol=tolerance)
    np.testing.assert_allclose(dy, theirs.grad.numpy(), rtol=tolerance)


def logits(seed: int, dtype: Any = np.float64) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return 3 * rng.standard_normal((7, 4)).astype(dtype), rng.integers(0, 4, 7)


def test_cross_entropy_is_its_definition() -> None:
    x, target = logits(0)
    before = x.copy()
    x.setflags(write=False)
    loss, dx = cross_entropy(x, target)
    np.testing.assert_array_equal(x, before)
    expected, expected_dx = loops.cross_entropy(x.tolist(), target.tolist())
    np.testing.assert_allclose(loss, expected, rtol=1e-13)
    np.testing.assert_allclose(dx, expected_dx, rtol=1e-12, atol=1e-16)
    signal, d_signal = cross_entropy(x[:6].reshape(2, 3, 4), target[:6].reshape(2, 3))
    np.testing.assert_array_equal(signal, cross_entropy(x[:6], target[:6])[0])
    np.testing.assert_array_equal(d_signal.reshape(6, 4), cross_entropy(x[:6], target[:6])[1])


@pytest.mark.filterwarnings("error")
def test_large_logits_overflow_nothing() -> None:
    x, target = np.array([[1e4, -1e4, 0], [-1e4, -1e4, -1e4]], np.float32), np.array([1, 2])
    loss, dx = cross_entropy(x, target)
    np.testing.assert_allclose(loss, (2e4 + np.log(3)) / 2, rtol=1e-6)
    np.testing.assert_allclose(dx, np.array([[1, -1, 0], [1 / 3, 1 / 3, -2 / 3]]) / 2, rtol=1e-6)
    assert dx.dtype == loss.dtype == np.float32
    np.testing.assert_allclose(Softmax().forward(x)[0], np.array([[3, 0, 0], [1, 1, 1]]) / 3, rtol=1e-6)


def test_softmax_is_its_definition() -> None:
    x, _ = logits(1)
    dy, _ = logits(2)
    y, cache = Softmax().forward(x)
    np.testing.assert_allclose(y, [loops.softmax(row) for row in x.tolist()], rtol=1e-13)
    dx, _ = Softmax().backward(dy, cache)
    expected = [loops.softmax_gradient(*rows) for rows in zip(x.tolist(), dy.tolist(), strict=True)]
    np.testing.assert_allclose(dx, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_softmax_and_cross_entropy_are_those_of_torch(dtype: Any, tolerance: float) -> None:
    torch = import_torch()
    x, target = logits(0, dtype)
    assert_alike(Softmax(), torch.nn.Softmax(dim=-1), x, logits(1, dtype)[0], tolerance)
    theirs = torch.from_numpy(x.copy()).requires_grad_()
    output = torch.nn.functional.cross_entropy(theirs, torch.from_numpy(target))
    output.backward()
    loss, dx = cross_entropy(x, target)
    np.testing.assert_allclose(loss, output.item(), rtol=tolerance)
    np.testing.assert_allclose(dx, theirs.grad.numpy(), rtol=tolerance, atol=tolerance)


MESSAGES = [
    (
        lambda: cross_entropy(np.zeros((2, 3), np.float16), np.zeros(2, int)),
        "cross_entropy: x must be float32 or float64; got float16. Convert it: x.astype(np.float32)",
    ),
    (
        lambda: cross_entropy(np.zeros((2, 3)), np.zeros((2, 1), int)),
        "cross_entropy: target must be one class for each row of x, (2,) for (2, 3); got (2, 1)",
    ),
    (
        lambda: cross_entropy(np.zeros((0, 3)), np.zeros(0, int)),
        "cross_entropy: no rows, or rows of no classes, have no loss; got (0, 3)",
    ),
    (
        lambda: cross_entropy(np.zeros((2, 3)), np.zeros(2)),
        "cross_entropy: target must be integers; got float64. Convert it: target.astype(int)",
    ),
    (
        lambda: cross_entropy(np.array(1.0), np.array(0)),
        "cross_entropy: x must have an axis, of classes; got a single number",
    ),
    (lambda: Softmax().forward(np.zeros((2, 0))), "Softmax(): no numbers add up to 1; got (2, 0)"),
    (
        lambda: cross_entropy(np.zeros((2, 3)), np.array([0, 3])),
        "cross_entropy: a class must be from 0 to 2; got 0 to 3",
    ),
    (
        lambda: cross_entropy(np.zeros((2, 3)), np.array([-1, 2])),
        "cross_entropy: a class must be from 0 to 2; got -1 to 2",
    ),
    (
        lambda: mse(np.zeros((1, 4, 1), np.float16), np.zeros((1, 4, 1), np.float16)),
        "mse: y must be float32 or float64; got float16. Convert it, y.astype(np.float32), and scale dy before you "
        "convert that back",
    ),
    (
        lambda: mse(np.zeros((1, 4, 1)), np.zeros((1, 4))),
        "mse: y and target must be alike; got (1, 4, 1) and (1, 4)",
    ),
    # NumPy would broadcast the two, and report a loss
    (
        lambda: mse(np.zeros((2, 4, 1)), np.zeros((1, 4, 1))),
        "mse: y and target must be alike; got (2, 4, 1) and (1, 4, 1)",
    ),
]


@pytest.mark.parametrize(("mistake", "message"), MESSAGES)
def test_a_mistake_is_named(mistake: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        mistake()


def test_no_numbers_have_no_mean() -> None:
    with pytest.raises(ShapeError, match=r"^mse: no numbers have no mean; got \(0, 4, 1\)$"):
        mse(np.zeros((0, 4, 1)), np.zeros((0, 4, 1)))
