"""The interval of a mean: Efron's formula worked out apart, and data that say little or nothing."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from speech.bootstrap import bootstrap_mean


def draws(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_skewed_values_get_the_interval_of_efron_s_formula_and_not_that_of_percentiles() -> None:
    values = draws(5).lognormal(0, 1.2, 40)
    n, normal = len(values), NormalDist()
    means = values[draws(1).integers(0, n, (40_000, n))].mean(axis=1)
    bias = normal.inv_cdf(float((means < values.mean()).mean()))
    without = (values.sum() - values) / (n - 1)  # the mean without each value
    difference = without.mean() - without
    acceleration = (difference**3).sum() / (6 * (difference**2).sum() ** 1.5)
    limits, percentiles = [], []
    for share in (0.025, 0.975):
        z = bias + normal.inv_cdf(share)
        limits.append(float(np.quantile(means, normal.cdf(bias + z / (1 - acceleration * z)))))
        percentiles.append(float(np.quantile(means, share)))
    interval = bootstrap_mean(values, draws())
    width = limits[1] - limits[0]
    assert [interval.low, interval.high] == pytest.approx(limits, abs=0.03 * width)
    assert interval.high - percentiles[1] > 0.1 * width  # the formula makes a difference here
    assert interval.low - percentiles[0] > 0.03 * width


def test_the_mean_is_of_the_finite_values_and_the_others_are_counted() -> None:
    values = draws(5).normal(3, 2, 100)
    interval = bootstrap_mean([*values, math.nan, math.inf, -math.inf], draws())
    assert (interval.clips, interval.undefined, interval.infinite) == (100, 1, 2)
    assert interval.mean == pytest.approx(values.mean())
    assert interval == bootstrap_mean(values, draws())._replace(undefined=1, infinite=2)
    narrow = bootstrap_mean(values, draws(), confidence_level=0.5)
    assert interval.low < narrow.low < interval.mean < narrow.high < interval.high


@pytest.mark.parametrize(
    ("values", "mean", "limits"),
    [
        ([], math.nan, [math.nan, math.nan]),
        ([math.nan, math.inf], math.nan, [math.nan, math.nan]),
        ([2.0], 2.0, [math.nan, math.nan]),  # one clip says nothing of others
        ([2.0, math.nan], 2.0, [math.nan, math.nan]),
        ([1.0, 3.0], 2.0, [1.0, 3.0]),
        ([35.0] * 9, 35.0, [35.0, 35.0]),
        ([0.0] * 9, 0.0, [0.0, 0.0]),
        ([0.1 + 0.2, 0.3], 0.3, [0.3, 0.3]),  # equal but for rounding
        ([-1e-120, -3e-120], -2e-120, [-3e-120, -1e-120]),  # whose cubes are 0
        ([1e200, 3e200], 2e200, [1e200, 3e200]),  # whose cubes are infinite
    ],
)
def test_values_that_say_little(values: list[float], mean: float, limits: list[float]) -> None:
    """Without a warning, which the tests turn into errors."""
    interval = bootstrap_mean(values, draws())
    assert interval.mean == pytest.approx(mean, rel=1e-12, abs=0, nan_ok=True)
    assert [interval.low, interval.high] == pytest.approx(limits, rel=1e-12, abs=0, nan_ok=True)


def test_one_clip_unlike_all_others() -> None:
    interval = bootstrap_mean([1e-9] * 99 + [1.0], draws())
    assert 1e-9 <= interval.low < interval.mean < interval.high < 0.1


def test_what_is_out_of_range() -> None:
    for level in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match="0 < confidence_level < 1"):
            bootstrap_mean([1.0], draws(), level)
    with pytest.raises(ValueError, match=r"needs values \(n,\)"):
        bootstrap_mean(np.zeros((2, 2)), draws())
