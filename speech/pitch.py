"""Fundamental frequency by autocorrelation, and how far that of a rebuilt clip is off."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import scipy  # its parts load when they are used
from numpy.lib.stride_tricks import sliding_window_view

from speech.checks import check_rate, check_waveforms

FLOOR_HZ, CEILING_HZ = 60.0, 400.0
HOP_SECONDS = 0.01
PERIODS = 3  # of the lowest pitch in a window
CANDIDATES = 8
# Costs and thresholds in the words of Boersma 1993, with the values that Praat uses.
SILENCE_THRESHOLD = 0.03
VOICING_THRESHOLD = 0.45
OCTAVE_COST = 0.01
OCTAVE_JUMP_COST = 0.35
VOICED_UNVOICED_COST = 0.14
COST_SECONDS = 0.01  # the costs of a change are those of a step of 10 ms


class Pitch(NamedTuple):
    """A pitch track: the middle of each frame, and its fundamental frequency, NaN where it is unvoiced.

    Shapes
    ------
    seconds (frames,), hz (frames,)
    """

    seconds: np.ndarray
    hz: np.ndarray


def track_pitch(
    waveform: np.ndarray,
    sample_rate_hz: int,
    floor_hz: float = FLOOR_HZ,
    ceiling_hz: float = CEILING_HZ,
    hop_seconds: float = HOP_SECONDS,
) -> Pitch:
    """Find the fundamental frequency of speech.

    Of each frame, three periods of floor_hz long, the candidates are the maxima of

        r(τ) = [Σ_i u[i] u[i + τ] / Σ_i u[i]²] / [Σ_i w[i] w[i + τ] / Σ_i w[i]²],    u = w · (x - mean x)

    with a Hann window w. Dividing by the window's own autocorrelation undoes its slope, so the highest maximum is not
    drawn to short lags. A parabola through three samples gives τ and r between samples. A path through the candidates,
    "unvoiced" among them, maximises the sum of

        r(τ) - 0.01·log2(floor_hz·τ)                          of a voiced frame
        0.45 + max(0, 2 - (peak / clip's peak) · 1.45 / 0.03) of an unvoiced frame
        -0.35·|log2(f / f')|                                  for a jump from f' to f
        -0.14                                                 for a change between voiced and unvoiced

    Parameters
    ----------
    waveform : (samples,)
    sample_rate_hz : int
    floor_hz, ceiling_hz : float
        The range of the pitch, 0 < floor_hz < ceiling_hz < sample_rate_hz / 4.
    hop_seconds : float > 0
        From one frame to the next.

    Shapes
    ------
    waveform (samples,) -> Pitch of (frames,); no frames in a clip shorter than one

    Raises
    ------
    ValueError
        The waveform is not (samples,) or holds NaN or infinite samples, or a setting is out of range.

    Source
    ------
    Boersma 1993, Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise ratio of a
    sampled sound, Proc. Institute of Phonetic Sciences 17; a parabola in place of its sinc interpolation
    """
    x, _ = check_waveforms("track_pitch", waveform, waveform)
    check_rate("track_pitch", sample_rate_hz)
    if not 0 < floor_hz < ceiling_hz < sample_rate_hz / 4 or not hop_seconds > 0:
        raise ValueError(
            f"track_pitch: needs 0 < floor_hz < ceiling_hz < {sample_rate_hz / 4:g} and hop_seconds > 0; "
            f"got {floor_hz}, {ceiling_hz} and {hop_seconds}"
        )
    length = round(PERIODS * sample_rate_hz / floor_hz)
    hop = max(1, round(hop_seconds * sample_rate_hz))
    if len(x) < length:
        return Pitch(np.zeros(0), np.zeros(0))
    frames = sliding_window_view(x, length)[::hop]
    seconds = (np.arange(len(frames)) * hop + length / 2) / sample_rate_hz
    frames = frames - frames.mean(axis=1, keepdims=True)
    peaks = np.abs(frames).max(axis=1)
    loudest = np.abs(x - x.mean()).max()
    if not peaks.max() > 1e-12 * np.abs(x).max():  # silent or constant
        return Pitch(seconds, np.full(len(frames), np.nan))

    longest = math.ceil(sample_rate_hz / floor_hz)
    hz, strength = _candidates(_autocorrelation(frames, longest + 2), sample_rate_hz, floor_hz, ceiling_hz)
    silence = np.maximum(0, 2 - peaks / loudest * (1 + VOICING_THRESHOLD) / SILENCE_THRESHOLD)
    hz = np.column_stack([np.full(len(hz), np.nan), hz])
    strength = np.column_stack([VOICING_THRESHOLD + silence, strength])
    path = _best_path(hz, strength, COST_SECONDS / hop_seconds)
    return Pitch(seconds, hz[np.arange(len(hz)), path])


def _autocorrelation(frames: np.ndarray, lags: int) -> np.ndarray:
    """r at whole lags: (frames, length) -> (frames, lags)."""
    length = frames.shape[1]
    window = np.hanning(length + 2)[1:-1]
    size = scipy.fft.next_fast_len(length + lags, real=True)

    def correlate(x: np.ndarray) -> np.ndarray:
        r = scipy.fft.irfft(np.abs(scipy.fft.rfft(x, size)) ** 2, size)[..., :lags]
        return np.divide(r, r[..., :1], out=np.zeros_like(r), where=r[..., :1] > 0)

    return correlate(frames * window) / correlate(window)


def _candidates(
    r: np.ndarray, sample_rate_hz: int, floor_hz: float, ceiling_hz: float
) -> tuple[np.ndarray, np.ndarray]:
    """The strongest maxima of r: (frames, lags) -> hz, strength (frames, CANDIDATES); NaN and -inf for none."""
    left, middle, right = r[:, :-2], r[:, 1:-1], r[:, 2:]  # middle[:, i] has lag i + 1
    frame, i = np.nonzero((middle > left) & (middle >= right) & (middle > 0))
    a, b, c = left[frame, i], middle[frame, i], right[frame, i]
    offset = 0.5 * (a - c) / (a - 2 * b + c)  # of the parabola's top, within half a sample
    top = b - 0.25 * (a - c) * offset
    top = np.minimum(top, 1 / top)  # a peak above 1 is as far from certain as one below
    lag = (i + 1 + offset) / sample_rate_hz
    inside = (lag >= 1 / ceiling_hz) & (lag <= 1 / floor_hz)

    hz, strength = np.full(middle.shape, np.nan), np.full(middle.shape, -np.inf)
    frame, i, lag = frame[inside], i[inside], lag[inside]
    hz[frame, i] = 1 / lag
    strength[frame, i] = top[inside] - OCTAVE_COST * np.log2(floor_hz * lag)
    best = np.argpartition(-strength, CANDIDATES, axis=1)[:, :CANDIDATES]
    return np.take_along_axis(hz, best, 1), np.take_along_axis(strength, best, 1)


def _best_path(hz: np.ndarray, strength: np.ndarray, cost_factor: float) -> np.ndarray:
    """Viterbi's path: hz and strength (frames, candidates) -> the candidate of each frame, (frames,)."""
    voiced = ~np.isnan(hz)
    octave = np.log2(hz, out=np.zeros_like(hz), where=voiced)
    both = voiced[:-1, :, None] & voiced[1:, None, :]
    change = voiced[:-1, :, None] != voiced[1:, None, :]
    jump = np.abs(octave[:-1, :, None] - octave[1:, None, :])
    cost = cost_factor * (OCTAVE_JUMP_COST * jump * both + VOICED_UNVOICED_COST * change)  # (frames - 1, from, to)

    total, came_from = strength[0], np.zeros(hz.shape, np.intp)
    for k in range(1, len(hz)):
        reached = total[:, None] - cost[k - 1]
        came_from[k] = reached.argmax(axis=0)
        total = reached.max(axis=0) + strength[k]
    path = np.empty(len(hz), np.intp)
    path[-1] = total.argmax()
    for k in range(len(hz) - 1, 0, -1):
        path[k - 1] = came_from[k, path[k]]
    return path


def f0_error(original: Pitch, rebuilt: Pitch) -> float:
    """Root mean square difference of pitch over the frames that are voiced in both.

    sqrt(mean_k (1200·log2(f_rebuilt[k] / f_original[k]))²)

    Shapes
    ------
    original, rebuilt Pitch of (frames,) -> ()

    Range
    -----
    0 (equal) and above [cent], 100 to a semitone; NaN where no frame is voiced in both

    Raises
    ------
    ValueError
        The tracks differ in length.

    Source
    ------
    F0 RMSE as usual in speech synthesis, in cents; tracks by `track_pitch`
    """
    _check_tracks("f0_error", original, rebuilt)
    both = ~np.isnan(original.hz) & ~np.isnan(rebuilt.hz)
    if not both.any():
        return math.nan
    cents = 1200 * np.log2(rebuilt.hz[both] / original.hz[both])
    return float(np.sqrt((cents**2).mean()))


def voicing_error(original: Pitch, rebuilt: Pitch) -> float:
    """Voicing decision error: the share of frames that are voiced in one track and unvoiced in the other.

    Shapes
    ------
    original, rebuilt Pitch of (frames,) -> ()

    Range
    -----
    0 (equal) to 1; NaN without frames

    Raises
    ------
    ValueError
        The tracks differ in length.

    Source
    ------
    Nakatani et al. 2008, A method for fundamental frequency estimation and voicing decision, Speech Communication 50
    """
    _check_tracks("voicing_error", original, rebuilt)
    if len(original.hz) == 0:
        return math.nan
    return float((np.isnan(original.hz) != np.isnan(rebuilt.hz)).mean())


def _check_tracks(who: str, original: Pitch, rebuilt: Pitch) -> None:
    if original.hz.shape != rebuilt.hz.shape:
        raise ValueError(f"{who}: both tracks must have the same frames; got {len(original.hz)} and {len(rebuilt.hz)}")
