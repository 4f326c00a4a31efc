"""Ratios of signal to noise against numbers worked by hand and plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.snr import best_lag, mse, segmental_snr, si_sdr, si_sdr_aligned, snr

RATE_HZ = 16_000
X, Y = np.array([3, -0.5, 2, 7]), np.array([2.5, 0, 2, 8])  # the example of torchmetrics
drawn = settings(deadline=None, max_examples=50, derandomize=True)


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(samples)


def test_the_example_that_others_give() -> None:
    assert si_sdr(X, Y, remove_mean=False) == pytest.approx(18.4030, abs=1e-4)
    assert si_sdr(X, Y) == pytest.approx(15.0918, abs=1e-4)
    assert mse(X, Y) == pytest.approx((0.25 + 0.25 + 0 + 1) / 4)
    assert mse(X, Y, scale=2) == pytest.approx(1.5 / 4 / 4)
    assert snr(X, Y) == pytest.approx(10 * math.log10((9 + 0.25 + 4 + 49) / 1.5))


def test_level_does_not_count_for_si_sdr_and_does_for_snr() -> None:
    x = noise(500)
    y = x + 0.1 * noise(500, 1)
    assert si_sdr(x, 7 * y) == pytest.approx(si_sdr(x, y))
    assert si_sdr(x + 3, y - 2) == pytest.approx(si_sdr(x, y))
    assert snr(x, 7 * y) < 0 < snr(x, y)


def test_what_is_undefined_is_nan_and_what_is_perfect_is_infinite() -> None:
    x, silent, empty = noise(800), np.zeros(800), np.zeros(0)
    assert math.isnan(snr(silent, x)) and math.isnan(si_sdr(silent, x)) and math.isnan(si_sdr(x, silent))
    assert math.isnan(si_sdr(silent + 1, x)) and math.isnan(segmental_snr(silent, x, RATE_HZ))
    assert all(math.isnan(value) for value in (mse(empty, empty), snr(empty, empty), si_sdr(empty, empty)))
    assert math.isnan(segmental_snr(x[:100], x[:100], RATE_HZ))  # shorter than a frame of 480
    assert mse(x, x) == 0 and snr(x, x) == si_sdr(x, 2 * x) == math.inf and snr(x, silent) == 0
    assert segmental_snr(x, x, RATE_HZ) == 35


def test_mistakes_are_told() -> None:
    with pytest.raises(
        ValueError, match=r"snr: original and rebuilt must be \(samples,\) of one length; got \(4,\) and \(3,\)"
    ):
        snr(X, Y[:3])
    with pytest.raises(ValueError, match=r"si_sdr: 1 of 4 samples of rebuilt are NaN or infinite"):
        si_sdr(X, np.array([1, 2, math.inf, 3]))
    with pytest.raises(ValueError, match=r"mse: scale must be above 0; got 0"):
        mse(X, Y, 0)
    with pytest.raises(ValueError, match=r"segmental_snr: sample_rate_hz must be at least 1000; got 5"):
        segmental_snr(X, Y, 5)


def test_segments_by_a_plain_loop() -> None:
    x = noise(4000) * np.repeat([1.0, 1e-3, 0.3, 2.0], 1000)  # the second quarter is a pause
    y = x + 0.2 * noise(4000, 1)
    window = [math.sin(math.pi * (i + 1) / 481) ** 2 for i in range(480)]
    parts = []
    for start in range(0, 4000 - 480 + 1, 120):
        signal = sum((window[i] * x[start + i]) ** 2 for i in range(480))
        error = sum((window[i] * (x[start + i] - y[start + i])) ** 2 for i in range(480))
        parts.append((signal, error))
    loudest = max(signal for signal, _ in parts)
    spoken = [(s, e) for s, e in parts if s >= 1e-4 * loudest]
    assert 10 < len(spoken) < len(parts)
    expected = np.mean([min(max(10 * math.log10(s / e), -10), 35) for s, e in spoken])
    assert segmental_snr(x, y, RATE_HZ) == pytest.approx(expected, rel=1e-9)


@drawn
@given(seed=st.integers(0, 2**32 - 1), samples=st.integers(4, 60), most=st.integers(0, 40), shift=st.integers(-9, 9))
def test_the_best_lag_by_trying_each(seed: int, samples: int, most: int, shift: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(samples)
    y = np.roll(x, shift) + 0.3 * rng.standard_normal(samples) + 5
    tried = {}
    for lag in range(-min(most, samples // 2), min(most, samples // 2) + 1):
        pairs = [(x[i], y[i + lag]) for i in range(samples) if 0 <= i + lag < samples]
        a, b = np.array(pairs).T
        tried[lag] = np.corrcoef(a, b)[0, 1] ** 2 if len(pairs) > 1 else 0
    best = best_lag(x, y, most)
    assert tried[best] == pytest.approx(max(tried.values()), abs=1e-9)


def test_delay_does_not_count_when_aligned() -> None:
    x = noise(RATE_HZ)
    late = np.concatenate([noise(37, 2), x[:-37]])
    assert best_lag(x, late, 320) == 37 and best_lag(late, x, 320) == -37
    assert si_sdr(x, late) < -10
    assert si_sdr_aligned(x, late, RATE_HZ) > 200
    far = np.concatenate([noise(400, 2), x[:-400]])  # beyond 20 ms
    assert si_sdr_aligned(x, far, RATE_HZ) < 0
