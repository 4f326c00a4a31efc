"""Where in a clip the distortion is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from speech.checks import check_rate, check_waveforms
from speech.snr import SILENT_DB, frame_and_hop, frame_energies

LEAST_DB = -100.0  # what a frame without any error is given


class DistortionCurve(NamedTuple):
    """Distortion over time.

    seconds (frames,) is the middle of each frame; noise_to_signal_db (frames,) is how strong the error is there; spoken
    (frames,) tells speech, up to 40 dB below the loudest frame of the original, from pauses. pause_noise_db is the mean
    energy of the error in pauses over that of the original in speech [dB], NaN where nothing is a pause.
    """

    seconds: np.ndarray
    noise_to_signal_db: np.ndarray
    spoken: np.ndarray
    pause_noise_db: float


class Segment(NamedTuple):
    """A stretch of a clip and its mean noise-to-signal ratio."""

    start_s: float
    end_s: float
    noise_to_signal_db: float


def distortion_over_time(original: np.ndarray, rebuilt: np.ndarray, sample_rate_hz: int) -> DistortionCurve:
    """Noise-to-signal ratio of frames of 30 ms, one every 7.5 ms.

    10·log10(Σ_i w[i]² (x_k[i] - y_k[i])² / max(Σ_i w[i]² x_k[i]², 10⁻⁴ E))

    E is the energy of the loudest frame of the original: noise in a pause is compared with a level 40 dB below it.
    Where the original is not that quiet, this is the negative of the frame's part in `segmental_snr`.

    Shapes
    ------
    original (samples,), rebuilt (samples,) -> DistortionCurve of (frames,); no frames in a clip shorter than one

    Range
    -----
    -100 dB (no error) and above, lower is better; NaN in all frames for a silent original

    Raises
    ------
    ValueError
        As `check_waveforms` and `check_rate`.

    Source
    ------
    frames and weights as `segmental_snr`; the 40 dB of speech as in Taal et al. 2011 (STOI), section II
    """
    x, y = check_waveforms("distortion_over_time", original, rebuilt)
    check_rate("distortion_over_time", sample_rate_hz)
    signal, noise = frame_energies(x, sample_rate_hz), frame_energies(x - y, sample_rate_hz)
    frame, hop = frame_and_hop(sample_rate_hz)
    seconds = (np.arange(len(signal)) * hop + frame / 2) / sample_rate_hz
    loudest = signal.max(initial=0)
    if loudest == 0:
        return DistortionCurve(seconds, np.full(len(signal), np.nan), signal > 0, np.nan)
    pause = loudest * 10 ** (SILENT_DB / 10)
    spoken = signal >= pause
    in_pauses = float(_decibels(noise[~spoken].mean() / signal[spoken].mean())) if not spoken.all() else np.nan
    return DistortionCurve(seconds, _decibels(noise / np.maximum(signal, pause)), spoken, in_pauses)


def _decibels(ratio: np.ndarray) -> np.ndarray:
    return 10 * np.log10(np.maximum(ratio, 10 ** (LEAST_DB / 10)))


def worst_segments(curve: DistortionCurve, count: int = 3, seconds: float = 0.2) -> list[Segment]:
    """The stretches of speech with the highest mean of the curve, worst first, no two of which overlap.

    The worst stretch is taken, then the worst of those that do not overlap it, and so on. At least half of its frames
    are speech, and the mean is theirs: what a pause hides less of is told by `pause_noise_db`.

    Parameters
    ----------
    curve : DistortionCurve
    count : int > 0
    seconds : float > 0
        Length of a segment; a shorter curve is one segment.

    Returns
    -------
    segments : list of Segment
        Fewer than `count` where no more fit; none where the curve is NaN or empty, or speech is nowhere that long.

    Raises
    ------
    ValueError
        count or seconds is out of range.
    """
    if count < 1 or not seconds > 0:
        raise ValueError(f"worst_segments: count must be at least 1 and seconds above 0; got {count} and {seconds}")
    times, values, spoken, _ = curve
    if len(values) == 0 or np.isnan(values).any():
        return []
    hop_s = float(times[1] - times[0]) if len(times) > 1 else seconds
    frames = min(len(values), max(1, round(seconds / hop_s)))
    speech, total = (
        sliding_window_view(of_each, frames).sum(axis=1) for of_each in (spoken, np.where(spoken, values, 0))
    )
    means = np.where(2 * speech >= frames, total / np.maximum(speech, 1), -np.inf)
    segments: list[Segment] = []
    while len(segments) < count and np.isfinite(means).any():
        first = int(means.argmax())
        start_s, end_s = times[first] - hop_s / 2, times[first + frames - 1] + hop_s / 2
        segments.append(Segment(float(start_s), float(end_s), float(means[first])))
        means[max(0, first - frames + 1) : first + frames] = -np.inf
    return segments
