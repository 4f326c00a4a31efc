"""The mean of a measure over clips, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy  # scipy.stats loads when it is used

RESAMPLES = 9999
DRAWN_AT_ONCE = 1_000_000  # numbers of a batch of resamples: memory stays flat in the number of clips


class BootstrapMean(NamedTuple):
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


def bootstrap_mean(
    values: Sequence[float] | np.ndarray, rng: np.random.Generator, confidence_level: float = 0.95
) -> BootstrapMean:
    """Mean of the finite values with its bias-corrected and accelerated (BCa) bootstrap interval, by scipy.stats.

    Parameters
    ----------
    values : (n,)
        One value a clip.
    rng : numpy.random.Generator
        The draws, 9999 resamples; the same state gives the same interval.
    confidence_level : float in (0, 1)

    Returns
    -------
    interval : BootstrapMean
        Mean and limits are NaN without finite values; the limits are NaN for one value, which says nothing of others,
        and the mean itself where all values are equal.

    Raises
    ------
    ValueError
        values is not (n,), or confidence_level is out of range.

    Source
    ------
    Efron 1987, Better bootstrap confidence intervals, JASA 82(397)
    """
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or not 0 < confidence_level < 1:
        raise ValueError(
            f"bootstrap_mean: needs values (n,) and 0 < confidence_level < 1; got {array.shape} and {confidence_level}"
        )
    finite = array[np.isfinite(array)]
    n, undefined = len(finite), int(np.isnan(array).sum())
    mean, low, high = (float(finite.mean()) if n else math.nan), math.nan, math.nan
    size = float(abs(finite).max()) if n else 0.0
    if n > 1 and np.ptp(finite) <= 1e-12 * size:  # all equal but for rounding: BCa would divide 0 by 0
        low = high = mean
    elif n > 1:
        interval = scipy.stats.bootstrap(
            (finite / size,),  # so that the cubes of tiny values are numbers
            np.mean,
            n_resamples=RESAMPLES,
            batch=max(1, DRAWN_AT_ONCE // n),
            confidence_level=confidence_level,
            method="BCa",
            random_state=rng,
        ).confidence_interval
        low, high = size * float(interval.low), size * float(interval.high)
    return BootstrapMean(mean, low, high, n, undefined, len(array) - n - undefined)
