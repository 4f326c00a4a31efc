"""Two waveforms to be compared: an original and what was rebuilt from it."""

from __future__ import annotations

import math

import numpy as np

ROUNDING = 1e-28  # of an energy in float64: what is smaller than this part (-280 dB) is rounding, not sound


class NotFiniteError(ValueError):
    """A waveform holds NaN or infinity; the message says which."""


def check_waveforms(who: str, original: np.ndarray, rebuilt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both waveforms in float64, or an error in one sentence.

    Shapes
    ------
    original (samples,), rebuilt (samples,) -> the same two, float64; samples may be 0

    Raises
    ------
    ValueError
        They are not (samples,) of one length; NotFiniteError where they hold NaN or infinite samples. `who` begins the
        sentence.
    """
    x, y = np.asarray(original, np.float64), np.asarray(rebuilt, np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"{who}: original and rebuilt must be (samples,) of one length; got {x.shape} and {y.shape}")
    for name, signal in (("original", x), ("rebuilt", y)):
        if bad := signal.size - np.count_nonzero(np.isfinite(signal)):
            raise NotFiniteError(f"{who}: {bad} of {signal.size} samples of {name} are NaN or infinite")
    return x, y


def check_rate(who: str, sample_rate_hz: int) -> None:
    """Raise a ValueError if a sample rate is too low for speech.

    Raises
    ------
    ValueError
        sample_rate_hz is below 1000.
    """
    if not sample_rate_hz >= 1000:
        raise ValueError(f"{who}: sample_rate_hz must be at least 1000; got {sample_rate_hz}")


def decibels(signal: float, noise: float) -> float:
    """10·log10(signal / noise) of two energies: inf without noise, -inf without signal, NaN without either."""
    if noise <= ROUNDING * signal:
        return math.inf if signal > 0 else math.nan
    return 10 * math.log10(signal / noise) if signal > ROUNDING * noise else -math.inf


def centred(x: np.ndarray) -> np.ndarray:
    """The waveform less its mean; exact zeros where it is constant."""
    if x.size == 0:
        return x
    y = x - x.mean()
    return y if y @ y > ROUNDING * (x @ x) else np.zeros_like(x)
