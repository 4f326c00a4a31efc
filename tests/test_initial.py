"""Initial weights against their formulas."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from nn1d import Conv1d, ConvTranspose1d, Linear, ShapeError, initial

SHAPES = [(3, 100, 400), (5, 300, 80)]
TAPS_IN_OUT = (3, 64, 32)
ALL = [initial.glorot_uniform, initial.he_normal, initial.lecun_normal, initial.zeros]


@pytest.mark.parametrize("shape", SHAPES)
def test_glorot_fills_its_interval(shape: tuple[int, int, int]) -> None:
    taps, channels, outs = shape
    w = initial.glorot_uniform(np.random.default_rng(0), shape)
    limit = math.sqrt(6 / (taps * channels + taps * outs))
    assert abs(w).max() <= limit
    assert abs(w).max() > 0.999 * limit
    # variance (2·limit)² / 12 = 2 / (fan_in + fan_out); 120,000 draws leave 0.3 % of noise
    assert w.var() == pytest.approx(2 / (taps * (channels + outs)), rel=0.015)
    assert abs(w.mean()) < 0.02 * limit


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("function", "numerator"), [(initial.he_normal, 2), (initial.lecun_normal, 1)])
def test_normal_draws_have_their_variance(function: Any, numerator: int, shape: tuple[int, int, int]) -> None:
    w = function(np.random.default_rng(0), shape)
    deviation = math.sqrt(numerator / (shape[0] * shape[1]))
    assert w.std() == pytest.approx(deviation, rel=0.01)
    assert abs(w.mean()) < 0.02 * deviation
    # normal, not uniform: 4.6 % beyond two deviations, where a uniform draw has none
    assert (abs(w) > 2 * deviation).mean() == pytest.approx(0.0455, abs=0.004)


def test_zeros() -> None:
    assert not initial.zeros(np.random.default_rng(0), (3, 4, 5)).any()


@pytest.mark.parametrize("function", ALL)
def test_the_generator_is_the_only_source(function: Any) -> None:
    np.random.seed(1)  # noqa: NPY002
    first = function(np.random.default_rng(7), TAPS_IN_OUT)
    np.random.seed(2)  # noqa: NPY002
    state: Any = np.random.get_state()  # noqa: NPY002
    again = function(np.random.default_rng(7), TAPS_IN_OUT)
    np.testing.assert_array_equal(first, again)
    assert first.shape == TAPS_IN_OUT
    assert first.dtype == np.float64
    after: Any = np.random.get_state()  # noqa: NPY002
    np.testing.assert_array_equal(state[1], after[1])
    if function is not initial.zeros:
        assert (function(np.random.default_rng(8), TAPS_IN_OUT) != first).any()
        rng = np.random.default_rng(7)
        function(rng, TAPS_IN_OUT)
        assert (function(rng, TAPS_IN_OUT) != first).any()


@pytest.mark.parametrize("layer_class", [Conv1d, ConvTranspose1d])
def test_layers_draw_from_the_generator_and_start_without_bias(layer_class: Any) -> None:
    def draw(seed: int, dtype: Any = np.float64) -> Any:
        return layer_class(64, 32, 3, rng=np.random.default_rng(seed), initial=initial.lecun_normal, dtype=dtype)

    layer = draw(0)
    np.testing.assert_array_equal(layer.parameters["weight"], draw(0).parameters["weight"])
    assert (layer.parameters["weight"] != draw(1).parameters["weight"]).any()
    assert not layer.parameters["bias"].any()
    # single precision gets the same draw, rounded: a check in double precision is about the weights that train
    np.testing.assert_array_equal(
        draw(0, np.float32).parameters["weight"], layer.parameters["weight"].astype(np.float32)
    )


@pytest.mark.parametrize("layer_class", [Conv1d, ConvTranspose1d])
def test_fan_in_counts_what_an_output_is_the_sum_of(layer_class: Any) -> None:
    """(K, O, C) of the transposed convolution would turn fan_in around: here 20 in and 1 out, or 60 against 3."""
    rng = np.random.default_rng(0)
    layer = layer_class(200, 10, 3, rng=rng, initial=initial.lecun_normal, dtype=np.float64)
    assert layer.parameters["weight"].std() == pytest.approx(math.sqrt(1 / 600), rel=0.05)
    x = rng.standard_normal((1, 400, 200))
    y, _ = layer.forward(x)
    assert y[:, 3:-3].var() == pytest.approx(1, rel=0.2)


@pytest.mark.parametrize("kind", [Conv1d, ConvTranspose1d, Linear])
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("he_normal", r"be a function \(rng, shape\) -> array; got 'he_normal'"),
        (initial, r"be a function \(rng, shape\) -> array; got <module"),
        (lambda rng, shape: rng.normal(size=shape[1:]), r"draw an array \(\d, 2, 3\); got \(2, 3\)"),
        (lambda rng, shape: [0.0], r"draw an array \(\d, 2, 3\); got list"),
    ],
)
def test_what_draws_no_weights_is_named_with_the_cure(kind: Any, wrong: Any, said: str) -> None:
    sizes = (2, 3) if kind is Linear else (2, 3, 4)
    with pytest.raises(ShapeError, match=rf"^{kind.__name__}: initial must {said}.*\. Take one of nn1d\.initial: "):
        kind(*sizes, rng=0, initial=wrong)
