"""The mean of a measure over clips, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class MeanInterval(NamedTuple):
    """A mean with its interval, and what it is of.

    clips values went into the mean. undefined were NaN and infinite were inf or -inf; both are left out, so that one
    perfect or silent clip does not decide the mean of all.
    """

    mean: float
    low: float
    high: float
    clips: int
    undefined: int
    infinite: int


def mean_interval(
    values: Sequence[float] | np.ndarray, rng: np.random.Generator, share: float = 0.95, resamples: int = 10_000
) -> MeanInterval:
    """Mean of the finite values with a percentile bootstrap interval.

    From n values, n are drawn with replacement, `resamples` times. The interval holds the middle `share` of the means.

    Parameters
    ----------
    values : (n,)
        One value a clip.
    rng : numpy.random.Generator
        The draws; the same state gives the same interval.
    share : float in (0, 1)
    resamples : int > 0

    Returns
    -------
    interval : MeanInterval
        Mean and limits are NaN without finite values; the limits are NaN for one value, which says nothing of others.

    Raises
    ------
    ValueError
        values is not (n,), or share or resamples is out of range.

    Source
    ------
    Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13
    """
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or not 0 < share < 1 or resamples < 1:
        raise ValueError(
            f"mean_interval: needs values (n,), 0 < share < 1 and resamples >= 1; "
            f"got {array.shape}, {share} and {resamples}"
        )
    finite = array[np.isfinite(array)]
    n, undefined = len(finite), int(np.isnan(array).sum())
    mean, low, high = (float(finite.mean()) if n else math.nan), math.nan, math.nan
    if n > 1:
        means = np.array([finite[rng.integers(0, n, n)].mean() for _ in range(resamples)])
        low, high = (float(limit) for limit in np.quantile(means, [(1 - share) / 2, (1 + share) / 2]))
    return MeanInterval(mean, low, high, n, undefined, len(array) - n - undefined)
