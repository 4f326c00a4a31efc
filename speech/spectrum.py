"""Distortion of the spectrum: log-spectral distance, multi-scale STFT and mel distances."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import scipy  # its parts load when they are used
from numpy.lib.stride_tricks import sliding_window_view

from speech.checks import check_rate, check_waveforms

SCALES = ((2048, 150), (512, 80))  # window [samples] and mel bands
LEAST_MAGNITUDE = 1e-5  # below it logarithms are not told apart
LSD_SECONDS = 0.032
LSD_RANGE_DB = 80.0


def log_spectral_distance(original: np.ndarray, rebuilt: np.ndarray, sample_rate_hz: int) -> float:
    """Root mean square difference of two log spectra, averaged over frames.

    mean_t sqrt(mean_f (10·log10(X[t, f] / Y[t, f]))²)

    X and Y are power spectra under Hann windows of 32 ms, one every 8 ms. Both are held at or above a level 80 dB below
    the largest value of X, so that the logarithm of next to nothing does not decide.

    Shapes
    ------
    original (samples,), rebuilt (samples,) -> ()

    Range
    -----
    0 (equal) and above [dB]; NaN for a silent original or a clip of 16 ms or less

    Raises
    ------
    ValueError
        As `check_waveforms` and `check_rate`.

    Source
    ------
    Gray and Markel 1976, Distance measures for speech processing, IEEE Trans. ASSP 24(5), section III with p = 2; the
    80 dB are ours
    """
    x, y = check_waveforms("log_spectral_distance", original, rebuilt)
    check_rate("log_spectral_distance", sample_rate_hz)
    window = 4 * round(LSD_SECONDS * sample_rate_hz / 4)
    if len(x) <= window // 2 or not x.any():
        return math.nan
    before, after = magnitudes(x, window), magnitudes(y, window)
    least = before.max() * 10 ** (-LSD_RANGE_DB / 20)
    difference = 20 * np.log10(np.maximum(before, least) / np.maximum(after, least))
    return float(np.sqrt((difference**2).mean(axis=1)).mean())


def stft_distance(original: np.ndarray, rebuilt: np.ndarray) -> float:
    """Multi-scale STFT distance with the constants of the Descript Audio Codec's evaluation.

    Σ_s mean_{t,f} |X - Y| + mean_{t,f} |log10 max(X, 10⁻⁵)² - log10 max(Y, 10⁻⁵)²|

    X and Y are magnitudes under Hann windows of s = 2048 and 512 samples, one every s / 4 samples, the clip mirrored at
    its ends. The codec's script resamples to 22.05 and 44.1 kHz first; here the clip keeps its rate, so figures compare
    with each other and not with the codec's.

    Shapes
    ------
    original (samples,), rebuilt (samples,) -> ()

    Range
    -----
    0 (equal) and above, no unit; depends on the level; NaN for a clip of 1024 samples or fewer

    Raises
    ------
    ValueError
        As `check_waveforms`.

    Source
    ------
    descriptinc/descript-audio-codec, scripts/evaluate.py with the defaults of dac.nn.loss.MultiScaleSTFTLoss;
    Engel et al. 2020, DDSP, arXiv:2001.04643
    """
    x, y = check_waveforms("stft_distance", original, rebuilt)
    if not _fits(x):
        return math.nan
    return sum(_distance(magnitudes(x, window), magnitudes(y, window)) for window, _ in SCALES)


def mel_distance(original: np.ndarray, rebuilt: np.ndarray, sample_rate_hz: int) -> float:
    """Multi-scale mel distance with the constants of the Descript Audio Codec's evaluation.

    Σ_s mean_{t,m} |M X - M Y| + mean_{t,m} |log10 max(M X, 10⁻⁵)² - log10 max(M Y, 10⁻⁵)²|

    X and Y as in `stft_distance`; M are 150 mel bands for s = 2048 and 80 for s = 512, from 0 Hz to half the rate.

    Shapes
    ------
    original (samples,), rebuilt (samples,) -> ()

    Range
    -----
    0 (equal) and above, no unit; depends on the level; NaN for a clip of 1024 samples or fewer

    Raises
    ------
    ValueError
        As `check_waveforms` and `check_rate`.

    Source
    ------
    descriptinc/descript-audio-codec, scripts/evaluate.py with the defaults of dac.nn.loss.MelSpectrogramLoss; mel bands
    as in `mel_bands`
    """
    x, y = check_waveforms("mel_distance", original, rebuilt)
    check_rate("mel_distance", sample_rate_hz)
    if not _fits(x):
        return math.nan
    total = 0.0
    for window, bands in SCALES:
        weights = mel_bands(sample_rate_hz, window, bands).T  # (bins, bands)
        total += _distance(magnitudes(x, window) @ weights, magnitudes(y, window) @ weights)
    return total


def _fits(x: np.ndarray) -> bool:
    """Whether the clip is long enough to be mirrored by half of the longest window."""
    return len(x) > max(window for window, _ in SCALES) // 2


def _distance(x: np.ndarray, y: np.ndarray) -> float:
    """Mean absolute difference of two magnitudes plus that of the logarithms of their squares."""
    logarithms = 2 * np.log10(np.maximum(x, LEAST_MAGNITUDE) / np.maximum(y, LEAST_MAGNITUDE))
    return float(np.abs(x - y).mean() + np.abs(logarithms).mean())


def magnitudes(x: np.ndarray, window: int) -> np.ndarray:
    """Magnitudes of the short-time Fourier transform, frames centred on every window / 4-th sample.

    |Σ_i h[i] x[t·window/4 + i - window/2] exp(-2πj·i·f / window)|

    h is the periodic Hann window; x is mirrored about its first and its last sample.

    Shapes
    ------
    x (samples,), samples > window / 2 -> (1 + samples // (window / 4), window / 2 + 1)
    """
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    frames = sliding_window_view(np.pad(x, window // 2, mode="reflect"), window)[:: window // 4]
    return np.abs(scipy.fft.rfft(frames * hann, axis=1))


@lru_cache(maxsize=8)
def mel_bands(sample_rate_hz: int, window: int, bands: int) -> np.ndarray:
    """Triangles on the mel scale, each of area 1 on the Hz scale.

    M[m, f] = 2 / (c[m+2] - c[m]) · max(0, min((f - c[m]) / (c[m+1] - c[m]), (c[m+2] - f) / (c[m+2] - c[m+1])))

    The corners c [Hz] are equally spaced in mel from 0 Hz to half the rate. Below 1 kHz a mel is 200/3 Hz, above it
    27 mel are a factor of 6.4.

    Shapes
    ------
    -> (bands, window / 2 + 1), to be multiplied with magnitudes; it is shared, so do not write into it

    Source
    ------
    Slaney 1998, Auditory Toolbox, version 2; the default of librosa.filters.mel
    """
    corners = mel_corners(sample_rate_hz, bands)[:, None]
    hz = np.arange(window // 2 + 1) * sample_rate_hz / window
    width = np.diff(corners, axis=0)
    rising, falling = (hz - corners[:-2]) / width[:-1], (corners[2:] - hz) / width[1:]
    return 2 / (corners[2:] - corners[:-2]) * np.maximum(0, np.minimum(rising, falling))


def mel_corners(sample_rate_hz: int, bands: int) -> np.ndarray:
    """Where the triangles of `mel_bands` begin, and so where those before them peak: band m peaks at corner m + 1.

    Shapes
    ------
    -> (bands + 2,), rising from 0 Hz to half the rate [Hz]
    """
    knee_mel, factor = 15.0, math.log(6.4) / 27

    def to_mel(hz: float) -> float:
        return hz * 3 / 200 if hz < 1000 else knee_mel + math.log(hz / 1000) / factor

    mel = np.linspace(0, to_mel(sample_rate_hz / 2), bands + 2)
    return np.where(mel < knee_mel, mel * 200 / 3, 1000 * np.exp((mel - knee_mel) * factor))
