"""Mean squared error."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from nn1d import ShapeError, mse
from tests import loops
from tests.twin import import_torch


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


MESSAGES = [
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
    with pytest.raises(ShapeError, match=r"^mse: .*\(0, 4, 1\)"):
        mse(np.zeros((0, 4, 1)), np.zeros((0, 4, 1)))
