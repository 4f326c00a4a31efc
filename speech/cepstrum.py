"""Log-mel levels and mel-frequency cepstral coefficients of a waveform, frame by frame."""

from __future__ import annotations

import numpy as np
from scipy.fft import dct

from speech.spectrum import magnitudes, mel_bands

WINDOW = 512  # samples: 32 ms at 16 kHz, one every 8 ms
BANDS = 64
COEFFICIENTS = 20
LEAST_POWER = 1e-10


def log_mel(waveform: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """The logarithm of the power in 64 mel bands.

    L[t, m] = log(Σ_f M[m, f] · X[t, f]² + 10⁻¹⁰)

    X are magnitudes under Hann windows of 512 samples, one every 128; M as in `mel_bands`. A waveform of 256 samples or
    fewer is padded with zeros first.

    Shapes
    ------
    waveform (samples,) -> (frames, 64)
    """
    if len(waveform) <= WINDOW // 2:
        waveform = np.pad(waveform, (0, WINDOW // 2 + 1 - len(waveform)))
    power = magnitudes(waveform.astype(np.float64), WINDOW) ** 2
    levels: np.ndarray = np.log(power @ mel_bands(sample_rate_hz, WINDOW, BANDS).T + LEAST_POWER)
    return levels


def mfcc(levels: np.ndarray) -> np.ndarray:
    """The first 20 coefficients of the orthonormal cosine transform of log-mel levels.

    Shapes
    ------
    levels (frames, bands) -> (frames, 20)

    Source
    ------
    Davis and Mermelstein 1980, Comparison of parametric representations for monosyllabic word recognition, IEEE Trans.
    ASSP 28(4)
    """
    coefficients: np.ndarray = dct(levels, axis=1, norm="ortho")[:, :COEFFICIENTS]
    return coefficients
