"""Distortion of the waveform itself: mean squared error and ratios of signal to noise."""

from __future__ import annotations

import math

import numpy as np
import scipy  # its parts load when they are used
from numpy.lib.stride_tricks import sliding_window_view

from speech.checks import centred, check_rate, check_waveforms, decibels

FRAME_SECONDS = 0.03
SEGMENT_DB = (-10.0, 35.0)  # what a frame counts for at least and at most
SILENT_DB = -40.0  # a frame this far below the loudest one is a pause
LAG_SECONDS = 0.02


def mse(original: np.ndarray, rebuilt: np.ndarray, scale: float = 1.0) -> float:
    """Mean squared error on the scale that the networks see.

    Σ (x[i] - y[i])² / (n · scale²)

    Parameters
    ----------
    original, rebuilt : (samples,)
        The clip's own samples, on the scale of its recording.
    scale : float > 0
        The range of the recording that became [0, 1], as in `Clips.scale`; 1 for arrays that are on [0, 1] already.

    Range
    -----
    0 (equal) and above, no unit; NaN without samples

    Raises
    ------
    ValueError
        As `check_waveforms`, or scale is not above 0.

    Source
    ------
    the paper's loss, here without the padding
    """
    x, y = check_waveforms("mse", original, rebuilt)
    if not 0 < scale < math.inf:
        raise ValueError(f"mse: scale must be above 0; got {scale}")
    error = (x - y) / float(scale)
    return float(error @ error / error.size) if error.size else math.nan


def snr(original: np.ndarray, rebuilt: np.ndarray) -> float:
    """Signal-to-noise ratio.

    10·log10(Σ x[i]² / Σ (x[i] - y[i])²)

    Shapes
    ------
    original (samples,), rebuilt (samples,) -> ()

    Range
    -----
    -inf to inf dB: 0 for a silent rebuilt clip, inf for an equal one; NaN for a silent original

    Raises
    ------
    ValueError
        As `check_waveforms`.

    Source
    ------
    Loizou 2013, Speech Enhancement, 2nd edition, section 11.2
    """
    x, y = check_waveforms("snr", original, rebuilt)
    signal = float(x @ x)
    return decibels(signal, float((x - y) @ (x - y))) if signal > 0 else math.nan


def segmental_snr(original: np.ndarray, rebuilt: np.ndarray, sample_rate_hz: int) -> float:
    """Mean of the signal-to-noise ratios of short frames, pauses left out.

    mean_k min(max(10·log10(Σ_i w[i]² x_k[i]² / Σ_i w[i]² (x_k[i] - y_k[i])²), -10), 35)

    over the frames x_k whose energy is at most 40 dB below that of the loudest. Frames have 30 ms and start every
    7.5 ms; w is a Hann window.

    Shapes
    ------
    original (samples,), rebuilt (samples,) -> ()

    Range
    -----
    -10 to 35 dB; NaN for a silent original or a clip shorter than a frame

    Raises
    ------
    ValueError
        As `check_waveforms` and `check_rate`.

    Source
    ------
    Hansen and Pellom 1998, An effective quality evaluation protocol for speech enhancement algorithms, ICSLP; frames,
    window and limits as in Loizou 2013, comp_snr. Pauses are left out by level, as STOI does.
    """
    x, y = check_waveforms("segmental_snr", original, rebuilt)
    check_rate("segmental_snr", sample_rate_hz)
    signal, noise = frame_energies(x, sample_rate_hz), frame_energies(x - y, sample_rate_hz)
    loudest = signal.max(initial=0)
    if loudest == 0:
        return math.nan
    spoken = signal >= loudest * 10 ** (SILENT_DB / 10)
    low, high = (10 ** (db / 10) for db in SEGMENT_DB)
    signal, noise = signal[spoken], noise[spoken]
    ratio = np.divide(signal, noise, out=np.full_like(signal, high), where=noise > signal / high)
    return float(10 * np.log10(np.clip(ratio, low, high)).mean())


def si_sdr(original: np.ndarray, rebuilt: np.ndarray, remove_mean: bool = True) -> float:
    """Scale-invariant signal-to-distortion ratio.

    10·log10(Σ (α x[i])² / Σ (y[i] - α x[i])²),    α = Σ x[i] y[i] / Σ x[i]²

    Parameters
    ----------
    original, rebuilt : (samples,)
        x and y.
    remove_mean : bool
        Take the mean of each from it first.

    Range
    -----
    -inf to inf dB: inf where y = α x; NaN where either is silent, or constant with its mean removed

    Raises
    ------
    ValueError
        As `check_waveforms`.

    Source
    ------
    Le Roux et al. 2019, SDR - half-baked or well done?, arXiv:1811.02508
    """
    x, y = check_waveforms("si_sdr", original, rebuilt)
    return _si_sdr(centred(x), centred(y)) if remove_mean else _si_sdr(x, y)


def _si_sdr(x: np.ndarray, y: np.ndarray) -> float:
    power = float(x @ x)
    if power == 0 or not y.any():
        return math.nan
    target = (x @ y) / power * x
    return decibels(float(target @ target), float((y - target) @ (y - target)))


def si_sdr_aligned(
    original: np.ndarray, rebuilt: np.ndarray, sample_rate_hz: int, lag_seconds: float = LAG_SECONDS
) -> float:
    """The largest SI-SDR, means removed, over shifts of the rebuilt clip of at most ± lag_seconds.

    max_t SI-SDR(x[i], y[i + t]), over the samples where both are

    How far it is above `si_sdr` says how much of the distortion is delay.

    Parameters
    ----------
    original, rebuilt : (samples,)
    sample_rate_hz : int
    lag_seconds : float >= 0
        At most half of the clip is shifted away, however large this is.

    Range
    -----
    `si_sdr` to inf dB; NaN as there

    Raises
    ------
    ValueError
        As `check_waveforms` and `check_rate`.

    Source
    ------
    as `si_sdr`
    """
    x, y = check_waveforms("si_sdr_aligned", original, rebuilt)
    check_rate("si_sdr_aligned", sample_rate_hz)
    lag = best_lag(x, y, round(lag_seconds * sample_rate_hz))
    early, late = slice(0, len(x) - abs(lag)), slice(abs(lag), None)
    return si_sdr(x[early], y[late]) if lag >= 0 else si_sdr(x[late], y[early])


def best_lag(original: np.ndarray, rebuilt: np.ndarray, most: int) -> int:
    """By how many samples the rebuilt clip is late: the shift at which the two correlate best, of either sign.

    argmax_t ρ(x[i], y[i + t])² over |t| <= most

    ρ is the correlation coefficient of the samples where both are, and SI-SDR = 10·log10(ρ² / (1 - ρ²)). The products
    for all t come from one cross-correlation by FFT, means and energies from running sums.

    Parameters
    ----------
    original, rebuilt : (samples,)
    most : int >= 0
        The largest shift [samples]; half of the clip if that is less.

    Raises
    ------
    ValueError
        As `check_waveforms`, or most is negative.
    """
    x, y = check_waveforms("best_lag", original, rebuilt)
    if most < 0:
        raise ValueError(f"best_lag: most must be at least 0; got {most}")
    most = min(most, len(x) // 2)
    if most == 0:
        return 0
    x, y = centred(x), centred(y)  # so that the running sums stay small
    lags = np.arange(-most, most + 1)
    size = scipy.fft.next_fast_len(len(x) + most, real=True)
    spectrum = scipy.fft.rfft(y, size) * scipy.fft.rfft(x, size).conj()
    product = scipy.fft.irfft(spectrum, size)[lags]  # Σ_i x[i] y[i + t]; negative t from the end
    common = len(x) - abs(lags)

    def moments(signal: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sum and energy of the `common` samples from `start` on."""
        running = np.cumsum(np.pad(np.stack([signal, signal**2]), ((0, 0), (1, 0))), axis=1)
        total, energy = running[:, start + common] - running[:, start]
        return total, energy

    x_sum, x_energy = moments(x, np.maximum(-lags, 0))
    y_sum, y_energy = moments(y, np.maximum(lags, 0))
    covariance = product - x_sum * y_sum / common
    variances = (x_energy - x_sum**2 / common) * (y_energy - y_sum**2 / common)
    usable = variances > 1e-12 * (x @ x) * (y @ y)
    squared = np.divide(covariance**2, variances, out=np.zeros_like(variances), where=usable)
    nearest_first = np.argsort(abs(lags), kind="stable")  # of equally good shifts the smallest
    return int(lags[nearest_first[squared[nearest_first].argmax()]])


def frame_energies(x: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Energy of each frame of 30 ms under a Hann window, a frame every 7.5 ms.

    Σ_i w[i]² x[k·hop + i]²

    Shapes
    ------
    x (samples,) -> (frames,), frames = 1 + (samples - frame) // hop, or 0 where not one fits
    """
    frame, hop = frame_and_hop(sample_rate_hz)
    if len(x) < frame:
        return np.zeros(0)
    return sliding_window_view(x**2, frame)[::hop] @ np.hanning(frame + 2)[1:-1] ** 2


def frame_and_hop(sample_rate_hz: int) -> tuple[int, int]:
    """Length of a frame and distance between two [samples]."""
    frame = round(FRAME_SECONDS * sample_rate_hz)
    return frame, frame // 4


def snr_db(loss: float, variance: float) -> float:
    """Signal-to-noise ratio of a reconstruction: 10·log10(variance / mean squared error) [dB]."""
    if loss <= 0:
        return math.inf
    return 10 * math.log10(variance / loss) if variance / loss > 0 else -math.inf
