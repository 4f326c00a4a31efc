"""Pooling, unpooling, upsampling: selections and their transposes."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nn1d import AvgPool1d, GlobalAveragePool1d, MaxPool1d, MaxUnpool1d, ShapeError, Upsample1d, pool
from tests import loops
from tests.twin import assert_alike, import_torch
from tests.wrong import PoolThatMarksEveryTie, PoolThatMarksTheLastTie

drawn = settings(deadline=None, max_examples=50, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
seeds = st.integers(0, 2**32 - 1)


class Geometry(NamedTuple):
    clips: int
    windows: int
    size: int
    channels: int


geometries = st.builds(Geometry, st.integers(1, 3), st.integers(1, 6), st.integers(1, 5), st.integers(1, 4))


def ranks(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """No ties, and no order that a wrong pool could profit from."""
    return rng.permutation(int(np.prod(shape))).reshape(shape) / 10 - 3.0


@drawn
@given(geometries, seeds, st.booleans())
def test_pool_is_its_definition(g: Geometry, seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    shape = g.clips, g.windows * g.size, g.channels
    x = rng.integers(-1, 2, shape).astype(float) if ties else ranks(rng, *shape)
    pool = MaxPool1d(g.size)
    y, mask = pool.forward(x)
    expected, expected_mask = loops.max_pool(x, g.size)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(mask, expected_mask)
    dy = rng.standard_normal(y.shape)
    dx, grads = pool.backward(dy, mask)
    np.testing.assert_array_equal(dx, loops.place(dy, expected_mask, g.size))
    assert grads == {}


@drawn
@given(geometries, seeds)
def test_unpool_is_its_definition(g: Geometry, seed: int) -> None:
    rng = np.random.default_rng(seed)
    _, mask = loops.max_pool(ranks(rng, g.clips, g.windows * g.size, g.channels), g.size)
    x = rng.standard_normal((g.clips, g.windows, g.channels))
    unpool = MaxUnpool1d(g.size)
    y, cache = unpool.forward(x, mask)
    np.testing.assert_array_equal(y, loops.place(x, mask, g.size))
    dy = rng.standard_normal(y.shape)
    np.testing.assert_array_equal(unpool.backward(dy, cache)[0], loops.select(dy, mask, g.size))


@drawn
@given(geometries, seeds)
def test_upsampling_is_its_definition(g: Geometry, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((g.clips, g.windows, g.channels))
    upsample = Upsample1d(g.size)
    y, cache = upsample.forward(x)
    np.testing.assert_array_equal(y, loops.upsample(x, g.size))
    dy = rng.standard_normal(y.shape)
    np.testing.assert_allclose(upsample.backward(dy, cache)[0], loops.sum_windows(dy, g.size), rtol=1e-14, atol=1e-14)


@drawn
@given(geometries, seeds)
def test_average_pools_are_their_definition(g: Geometry, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((g.clips, g.windows * g.size, g.channels))
    y, cache = AvgPool1d(g.size).forward(x)
    np.testing.assert_allclose(y, loops.average_pool(x, g.size), rtol=1e-13, atol=1e-15)
    dy = rng.standard_normal(y.shape)
    expected = loops.average_pool_gradient(dy, g.size)
    np.testing.assert_allclose(AvgPool1d(g.size).backward(dy, cache)[0], expected, rtol=1e-13)
    whole, cache = GlobalAveragePool1d().forward(x)
    np.testing.assert_allclose(whole, loops.average_pool(x, x.shape[1])[:, 0], rtol=1e-13, atol=1e-15)
    dx, _ = GlobalAveragePool1d().backward(dy[:, 0], cache)
    np.testing.assert_allclose(dx, loops.average_pool_gradient(dy[:, :1], x.shape[1]), rtol=1e-13)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-6)])
def test_average_pools_are_those_of_torch(dtype: Any, tolerance: float) -> None:
    torch = import_torch()
    x, dy = np.random.default_rng(0).standard_normal((2, 3, 12, 4)).astype(dtype)
    assert_alike(AvgPool1d(3), torch.nn.AvgPool1d(3), x, dy[:, :4], tolerance, signals=True)
    overall = torch.nn.AdaptiveAvgPool1d(1)
    assert_alike(GlobalAveragePool1d(), lambda t: overall(t)[:, :, 0], x, dy[:, 0], tolerance, signals=True)


@drawn
@given(geometries, seeds, st.sampled_from([np.float32, np.float64]), st.booleans())
def test_each_part_is_its_plain_form(g: Geometry, seed: int, dtype: Any, turned: bool) -> None:
    """Bit for bit, and in the dtype that came in; a sum only of whole numbers, which no order of adding rounds."""
    rng = np.random.default_rng(seed)
    x, z = (
        rng.integers(-9, 10, (g.clips, length, g.channels)).astype(dtype) for length in (g.windows * g.size, g.windows)
    )
    if turned:  # the same numbers, not contiguous
        x, z = (np.asfortranarray(a) for a in (x, z))
    _, mask = loops.max_pool(x, g.size)
    windows = pool.split(x, g.size)
    assert windows.shape == (g.clips, g.size, g.windows, g.channels)
    for i in range(g.size):
        np.testing.assert_array_equal(windows[:, i], x[:, i :: g.size])
    pairs = [
        (pool.join(windows), x),
        (pool.select(x, mask, g.size), loops.select(x, mask, g.size)),
        (pool.select(x, mask | (x > 0), g.size), loops.select(x, mask | (x > 0), g.size)),
        (pool.place(z, mask, g.size), loops.place(z, mask, g.size)),
        (pool.repeat(z, g.size), loops.upsample(z, g.size)),
        (pool.sum_windows(x, g.size), loops.sum_windows(x, g.size)),
        (MaxPool1d(g.size).maxima(x), loops.max_pool(x, g.size)[0]),
    ]
    for ours, plain in pairs:
        assert ours.dtype == dtype
        np.testing.assert_array_equal(ours, plain)


@drawn
@given(geometries, seeds)
def test_adjoints(g: Geometry, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((2, g.clips, g.windows * g.size, g.channels))
    z = rng.standard_normal((g.clips, g.windows, g.channels))
    pool, unpool, upsample = MaxPool1d(g.size), MaxUnpool1d(g.size), Upsample1d(g.size)
    pooled, mask = pool.forward(x)
    pairs = [
        ((pooled * z).sum(), (x * unpool.forward(z, mask)[0]).sum()),
        ((unpool.forward(z, mask)[0] * y).sum(), (z * unpool.backward(y, mask)[0]).sum()),
        ((upsample.forward(z)[0] * y).sum(), (z * upsample.backward(y, z.shape)[0]).sum()),
    ]
    for left, right in pairs:
        assert abs(left - right) <= 1e-12 * max(abs(left), abs(y).sum() * abs(z).max(), abs(x).sum() * abs(z).max())


@drawn
@given(geometries, seeds)
def test_backward_of_each_is_forward_of_the_other(g: Geometry, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = ranks(rng, g.clips, g.windows * g.size, g.channels)
    pooled, mask = MaxPool1d(g.size).forward(x)
    np.testing.assert_array_equal(
        MaxUnpool1d(g.size).forward(pooled, mask)[0], MaxPool1d(g.size).backward(pooled, mask)[0]
    )
    np.testing.assert_array_equal(MaxUnpool1d(g.size).backward(x, mask)[0], pooled)


@drawn
@given(geometries, seeds)
def test_pool_along_one_random_direction(g: Geometry, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = ranks(rng, g.clips, g.windows * g.size, g.channels)
    pool = MaxPool1d(g.size)
    y, mask = pool.forward(x)
    dy, v = rng.standard_normal(y.shape), rng.standard_normal(x.shape)
    step = 1e-3 / abs(v).max()  # ranks are 0.1 apart, so no maximum moves and the map is linear there
    terms = dy * (pool.forward(x + step * v)[0] - pool.forward(x - step * v)[0]) / (2 * step)
    analytic = (pool.backward(dy, mask)[0] * v).sum()
    assert abs(terms.sum() - analytic) <= 1e-9 * max(abs(analytic), abs(terms).sum())


def check_first_of_ties(pool: Any) -> None:
    """A plateau, as in clipped or silent audio: the gradient goes to one sample, the first."""
    x = np.array([3.0, 3, 3, 1, 2, 2, 0, 0, 0]).reshape(1, 9, 1)
    _, mask = pool.forward(x)
    dx, _ = pool.backward(np.array([10.0, 20, 30]).reshape(1, 3, 1), mask)
    assert mask[0, :, 0].tolist() == [True, False, False, False, True, False, True, False, False]
    assert dx[0, :, 0].tolist() == [10, 0, 0, 0, 20, 0, 30, 0, 0]


def test_the_first_of_ties_is_marked() -> None:
    check_first_of_ties(MaxPool1d(3))


@pytest.mark.parametrize("wrong", [PoolThatMarksTheLastTie, PoolThatMarksEveryTie])
def test_ties_tell_wrong_pools_apart(wrong: type[MaxPool1d]) -> None:
    with pytest.raises(AssertionError):
        check_first_of_ties(wrong(3))


def test_every_window_has_one_mark_whatever_is_in_it() -> None:
    x = np.array([-np.inf, -np.inf, np.nan, 1, np.inf, np.inf, -0.0, 0.0], np.float32).reshape(1, 8, 1)
    y, mask = MaxPool1d(2).forward(x)
    assert mask.dtype == bool
    assert mask.reshape(1, 4, 2, 1).sum(2).ravel().tolist() == [1, 1, 1, 1]
    assert np.isnan(y[0, 1, 0])  # a broken sample is not hidden
    np.testing.assert_array_equal(MaxPool1d(2).maxima(x), y)


@pytest.fixture
def torch() -> Any:
    return import_torch()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("ties", [False, True])
def test_the_same_as_torch(torch: Any, size: int, ties: bool, dtype: Any) -> None:
    rng = np.random.default_rng(size)
    shape = 3, 4 * size, 5
    x = (rng.integers(-1, 2, shape) if ties else rng.standard_normal(shape)).astype(dtype)
    dy, du = rng.standard_normal((3, 4, 5)).astype(dtype), rng.standard_normal(shape).astype(dtype)

    theirs = torch.from_numpy(x.swapaxes(1, 2).copy()).requires_grad_()
    pooled, indices = torch.nn.MaxPool1d(size, return_indices=True)(theirs)
    (pool_dx,) = torch.autograd.grad(pooled, theirs, torch.from_numpy(dy.swapaxes(1, 2).copy()))
    values = pooled.detach().requires_grad_()
    unpooled = torch.nn.MaxUnpool1d(size)(values, indices)
    (unpool_dx,) = torch.autograd.grad(unpooled, values, torch.from_numpy(du.swapaxes(1, 2).copy()))
    upsampled = torch.nn.Upsample(scale_factor=size, mode="nearest")(values)
    (upsample_dx,) = torch.autograd.grad(upsampled, values, torch.from_numpy(du.swapaxes(1, 2).copy()))

    def last(tensor: Any) -> np.ndarray:
        return tensor.detach().numpy().swapaxes(1, 2)

    pool, unpool, upsample = MaxPool1d(size), MaxUnpool1d(size), Upsample1d(size)
    y, mask = pool.forward(x)
    np.testing.assert_array_equal(y, last(pooled))
    np.testing.assert_array_equal(pool.backward(dy, mask)[0], last(pool_dx))
    np.testing.assert_array_equal(unpool.forward(y, mask)[0], last(unpooled))
    np.testing.assert_array_equal(unpool.backward(du, mask)[0], last(unpool_dx))
    np.testing.assert_array_equal(upsample.forward(y)[0], last(upsampled))
    np.testing.assert_allclose(upsample.backward(du, y.shape)[0], last(upsample_dx), rtol=1e-6, atol=1e-6)


MESSAGES = [
    (
        lambda: MaxPool1d(2).forward(np.zeros((1, 64001, 1), np.float32)),
        "MaxPool1d(2): the length must be a multiple of 2; got 64001. Nearest: 64000, 64002",
    ),
    (
        lambda: MaxPool1d(4).forward(np.zeros((1, 3, 1), np.float32)),
        "MaxPool1d(4): the length must be a multiple of 4; got 3. Nearest: 4",
    ),
    (
        lambda: MaxPool1d(4).maxima(np.zeros((1, 9, 1), np.float32)),
        "MaxPool1d(4): the length must be a multiple of 4; got 9. Nearest: 8, 12",
    ),
    (
        lambda: MaxPool1d(2).forward(np.zeros((64, 1))),
        "MaxPool1d(2): x must be (N, L, C); got (64, 1). One clip of one channel: x[None, :, None]",
    ),
    (
        lambda: MaxPool1d(2).backward(np.zeros((1, 4, 1)), np.zeros((1, 4, 1), bool)),
        "MaxPool1d(2): dy must be like y, float64 (1, 2, 1); got float64 (1, 4, 1)",
    ),
    (lambda: MaxPool1d(0), "MaxPool1d: size must be a positive integer; got 0"),
    (lambda: MaxPool1d(2.0), "MaxPool1d: size must be a positive integer; got 2.0"),  # type: ignore[arg-type]
    (
        lambda: MaxUnpool1d(2).forward(np.zeros((1, 4, 3)), np.zeros((1, 8, 2), bool)),
        "MaxUnpool1d(2): the mask must be (1, 8, 3) for x (1, 4, 3); got (1, 8, 2). "
        "Take the mask of the pool that has as many channels and as many samples out",
    ),
    (
        lambda: MaxUnpool1d(2).forward(np.zeros((1, 4)), np.zeros((1, 8, 2), bool)),
        "MaxUnpool1d(2): x must be (N, L, C); got (1, 4). One clip of one channel: x[None, :, None]",
    ),
    (
        lambda: MaxUnpool1d(2).backward(np.zeros((1, 4, 3)), np.zeros((1, 8, 3), bool)),
        "MaxUnpool1d(2): dy must be like y, float64 (1, 8, 3); got float64 (1, 4, 3)",
    ),
    (lambda: AvgPool1d(0), "AvgPool1d: size must be a positive integer; got 0"),
    (
        lambda: AvgPool1d(4).forward(np.zeros((1, 9, 1), np.float32)),
        "AvgPool1d(4): the length must be a multiple of 4; got 9. Nearest: 8, 12",
    ),
    (
        lambda: GlobalAveragePool1d().forward(np.zeros((1, 0, 2))),
        "GlobalAveragePool1d(): no samples have no mean; got (1, 0, 2)",
    ),
    (lambda: MaxUnpool1d(-1), "MaxUnpool1d: size must be a positive integer; got -1"),
    (
        lambda: Upsample1d(3).forward(np.zeros(4)),
        "Upsample1d(3): x must be (N, L, C); got (4,)",
    ),
    (
        lambda: Upsample1d(3).backward(np.zeros((1, 4, 1)), (1, 4, 1)),
        "Upsample1d(3): dy must be like y, float64 (1, 12, 1); got float64 (1, 4, 1)",
    ),
    (lambda: Upsample1d("2"), "Upsample1d: factor must be a positive integer; got '2'"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("mistake", "message"), MESSAGES)
def test_a_mistake_is_named(mistake: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        mistake()
