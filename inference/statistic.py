"""Statistics over time: a signal of any length becomes a vector of one length.

A linear probe sees only these. Emotion is less in what a channel of the representation is on average than in how strong
it is over some 30 ms and how that changes, which is what a logarithm of a short deviation says; docs/emotion.md has
what each brings.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

LEVEL_SECONDS = 0.032
BAND_SECONDS = 0.128
BAND_EDGES = np.array([1, 4, 8, 12, 16, 24, 33]) / 32  # of half the frame rate; at 500 frames a second 8 to 250 Hz
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
LEAST_LEVEL = 1e-4  # of a representation, whose channels are of the order of 0.1
LEAST_POWER = 1e-6
LEAST_CHANGE = 1e-6

Statistic = Callable[[np.ndarray, float], np.ndarray]


def moments(frames: np.ndarray, frames_per_second: float) -> np.ndarray:
    """Mean, standard deviation, maximum and minimum of each channel.

    Shapes
    ------
    frames (T, C) -> (4·C,)
    """
    frames = frames.astype(np.float64)
    return np.concatenate([frames.mean(axis=0), frames.std(axis=0), frames.max(axis=0), frames.min(axis=0)])


def contour(levels: np.ndarray, frames_per_second: float) -> np.ndarray:
    """How levels go: mean, standard deviation, five quantiles, and the logarithm of the mean step from frame to frame.

    Shapes
    ------
    levels (T, C) -> (8·C,)
    """
    steps = np.abs(np.diff(levels, axis=0)).mean(axis=0) if len(levels) > 1 else np.zeros(levels.shape[1])
    spread = [levels.mean(axis=0), levels.std(axis=0), *np.quantile(levels, QUANTILES, axis=0)]
    return np.concatenate([*spread, np.log(steps + LEAST_CHANGE)])


def levels(frames: np.ndarray, frames_per_second: float) -> np.ndarray:
    """The contour of each channel's short-time level: the logarithm of its deviation within 32 ms, every 16 ms.

    E[m, c] = log(std_{i in window m} z[i, c] + 10⁻⁴)

    Shapes
    ------
    frames (T, C) -> (8·C,)
    """
    windows = _windows(frames, max(2, round(LEVEL_SECONDS * frames_per_second)), 2)
    return contour(np.log(windows.std(axis=-1) + LEAST_LEVEL), frames_per_second)


def bands(frames: np.ndarray, frames_per_second: float) -> np.ndarray:
    """Mean and deviation over time of the logarithm of each channel's power in six bands, in windows of 128 ms.

    B[m, b, c] = log(Σ_{f in band b} |FFT(hann · (z[window m, c] - mean))|²[f] + 10⁻⁶)

    Voice lies in these bands: at 500 frames a second they reach from 8 to 250 Hz.

    Shapes
    ------
    frames (T, C) -> (12·C,)
    """
    windows = _windows(frames, max(4, 2 * round(BAND_SECONDS * frames_per_second / 2)), 4)  # (M, C, window)
    length = windows.shape[-1]
    centred = windows - windows.mean(axis=-1, keepdims=True)
    power = np.abs(np.fft.rfft(centred * np.hanning(length), axis=-1)) ** 2  # (M, C, bins)
    edges = np.unique(np.round(BAND_EDGES * (length // 2)).astype(int))
    sums = np.add.reduceat(power[..., : edges[-1]], edges[:-1], axis=-1)
    logarithms = np.log(sums + LEAST_POWER)
    return np.concatenate([logarithms.mean(axis=0).ravel(), logarithms.std(axis=0).ravel()])


def levels_and_bands(frames: np.ndarray, frames_per_second: float) -> np.ndarray:
    """Both.

    Shapes
    ------
    frames (T, C) -> (20·C,)
    """
    return np.concatenate([levels(frames, frames_per_second), bands(frames, frames_per_second)])


OF_SIGNALS: dict[str, Statistic] = {
    "moments": moments,
    "levels": levels,
    "bands": bands,
    "levels+bands": levels_and_bands,
}
OF_LEVELS: dict[str, Statistic] = {"moments": moments, "contour": contour}  # of what is a logarithm already


def _windows(frames: np.ndarray, length: int, overlap: int) -> np.ndarray:
    """(T, C) -> (M, C, length), a step of length / overlap apart; a shorter signal is filled with its last frame."""
    frames = frames.astype(np.float64)
    if len(frames) < length:
        frames = np.pad(frames, ((0, length - len(frames)), (0, 0)), mode="edge")
    windows: np.ndarray = sliding_window_view(frames, length, axis=0)[:: max(1, length // overlap)]
    return windows
