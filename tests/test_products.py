"""A convolution as many small products: cut in any way, it gives the same bits as the plain loops."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nn1d import cpu
from nn1d.cpu import add_bias, bias_gradient, windows
from tests import loops
from tests.test_conv import (
    Geometry,
    Transposed,
    convolution,
    drawn,
    geometries,
    seeds,
    transposed,
    transposed_geometries,
)

limits = st.sampled_from([1, 50, 300, 1_000_000])  # of a small product, in multiplications
dtypes = st.sampled_from([np.float32, np.float64])


def whole_numbers(layer: Any, g: Any, seed: int, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """x and dy, and the layer's parameters, such that no order of adding rounds: every path must give the same bits."""
    rng = np.random.default_rng(seed)
    for parameter in layer.parameters.values():
        parameter[...] = rng.integers(-8, 9, parameter.shape)
    x, dy = (rng.integers(-8, 9, shape) for shape in ((g.clips, g.length, g.channels), (g.clips, g.outputs, g.outs)))
    return x.astype(dtype), dy.astype(dtype)


def check_exactly(layer: Any, x: np.ndarray, dy: np.ndarray, limit: int, expected: Any) -> None:
    with patch.object(cpu, "SMALL_PRODUCT", limit):
        y, cache = layer.forward(x)
        dx, grads = layer.backward(dy, cache)
    for ours, plain in zip((y, dx, grads["weight"], grads["bias"]), expected, strict=True):
        assert ours.dtype == x.dtype
        np.testing.assert_array_equal(ours, plain)


@drawn
@given(geometries(), st.integers(0, 40), seeds, limits, dtypes)
def test_conv_cut_into_products_of_any_size(g: Geometry, longer: int, seed: int, limit: int, dtype: Any) -> None:
    g = g._replace(length=g.length + longer, bias=True)
    layer = convolution(g, seed, dtype)[0]
    x, dy = whole_numbers(layer, g, seed, dtype)
    w, b = layer.parameters.values()
    y = loops.conv(x, w, b, g.stride, g.padding)
    check_exactly(layer, x, dy, limit, (y, *loops.conv_gradients(x, w, dy, g.stride, g.padding)))


@drawn
@given(transposed_geometries(), st.integers(0, 20), seeds, limits, dtypes)
def test_transposed_conv_cut_into_products_of_any_size(
    g: Transposed, longer: int, seed: int, limit: int, dtype: Any
) -> None:
    g = g._replace(length=g.length + longer, bias=True)
    layer = transposed(g, seed, dtype)[0]
    x, dy = whole_numbers(layer, g, seed, dtype)
    w, b = layer.parameters.values()
    y = loops.conv_transpose(x, w, b, g.stride, g.padding, g.output_padding)
    check_exactly(layer, x, dy, limit, (y, *loops.conv_transpose_gradients(x, w, dy, g.stride, g.padding)))


@drawn
@given(geometries(), st.integers(0, 200), st.integers(1, 40))
def test_every_window_is_in_the_bulk_or_at_an_end(g: Geometry, longer: int, most: int) -> None:
    length = g.length + longer
    outputs = g._replace(length=length).outputs
    cut = windows(length, g.taps, g.stride, g.padding, outputs, most)
    assert cut is not None
    bulk = [cut.first + int(np.dot(index, cut.steps)) for index in np.ndindex(cut.bulk)]
    assert sorted([*bulk, *cut.ends]) == list(range(outputs))
    assert all(0 <= l * g.stride - g.padding <= length - g.taps for l in bulk)
    products, groups, rows = cut.bulk
    assert rows <= most
    inside = sum(0 <= l * g.stride - g.padding <= length - g.taps for l in range(outputs))
    assert inside - len(bulk) < products * groups  # less than a row of each product is left over


def test_the_cut_leaves_least_over() -> None:
    cut = windows(103, 1, 1, 0, 103, 30)  # 4, 5, 6 or 7 products would leave 3, 3, 1 or 5 of 103 rows
    assert cut is not None
    assert cut.bulk == (6, 1, 17)
    assert cut.ends.tolist() == [102]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("length", [1, 7, 16, 399, 400, 401, 1_000, 1_200])
def test_a_bias_on_rows_of_any_length(length: int, dtype: Any) -> None:
    rng = np.random.default_rng(length)
    y, b = rng.standard_normal((2, length, 3)).astype(dtype), rng.standard_normal(3).astype(dtype)
    expected = y + b
    add_bias(y, b)
    np.testing.assert_array_equal(y, expected)
    dy = rng.integers(-8, 9, (2, length, 3)).astype(dtype)
    db = bias_gradient(dy)
    assert db.dtype == dtype
    np.testing.assert_array_equal(db, dy.sum((0, 1)))
