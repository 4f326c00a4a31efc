"""Models of a listener: STOI and ESTOI for intelligibility, PESQ for quality. Libraries compute them."""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Callable
from functools import cache

import numpy as np

from speech.checks import check_rate, check_waveforms

STOI_SECONDS = 0.3969  # below it 30 frames, 25.6 ms long and 12.8 ms apart, do not fit
PESQ_RATE_HZ = 16_000
_warnings_are_global = threading.Lock()


def stoi(original: np.ndarray, rebuilt: np.ndarray, sample_rate_hz: int) -> float:
    """Short-time objective intelligibility.

    The mean, over 15 third-octave bands from 150 Hz and over stretches of 384 ms, of the correlation of the two
    envelopes. Frames 40 dB below the loudest of the original are left out first.

    Shapes
    ------
    original (samples,), rebuilt (samples,) -> ()

    Range
    -----
    -1 to 1, in practice 0 (nothing is understood) to 1; NaN for less than 0.4 s of speech, or where either is silent

    Raises
    ------
    ValueError
        As `check_waveforms` and `check_rate`.

    Source
    ------
    Taal, Hendriks, Heusdens and Jensen 2011, IEEE Trans. ASLP 19(7); package pystoi
    """
    return _stoi("stoi", original, rebuilt, sample_rate_hz, extended=False)


def estoi(original: np.ndarray, rebuilt: np.ndarray, sample_rate_hz: int) -> float:
    """Extended short-time objective intelligibility.

    As STOI, but stretches are normalised over time and over bands and then correlated whole, so that noise that comes
    and goes is judged too. pystoi adds noise of 2·10⁻¹⁶, unseeded: the last digits vary.

    Shapes
    ------
    original (samples,), rebuilt (samples,) -> ()

    Range
    -----
    -1 to 1, in practice 0 to 1; NaN as in `stoi`

    Raises
    ------
    ValueError
        As `check_waveforms` and `check_rate`.

    Source
    ------
    Jensen and Taal 2016, IEEE/ACM Trans. ASLP 24(11); package pystoi
    """
    return _stoi("estoi", original, rebuilt, sample_rate_hz, extended=True)


def _stoi(who: str, original: np.ndarray, rebuilt: np.ndarray, sample_rate_hz: int, extended: bool) -> float:
    x, y = check_waveforms(who, original, rebuilt)
    check_rate(who, sample_rate_hz)
    if len(x) < STOI_SECONDS * sample_rate_hz or not x.any() or not y.any():
        return math.nan
    import pystoi  # with SciPy's signals: a second

    with _warnings_are_global, warnings.catch_warnings():
        warnings.filterwarnings("error", message="Not enough STFT frames", category=RuntimeWarning)
        try:
            return float(pystoi.stoi(x, y, sample_rate_hz, extended))
        except RuntimeWarning:
            return math.nan


def pesq(original: np.ndarray, rebuilt: np.ndarray, sample_rate_hz: int) -> float:
    """Perceptual evaluation of speech quality, wide-band, on the scale of a mean opinion score (MOS-LQO).

    Both clips are aligned in time and level, brought to loudness in Bark bands, and their differences weighted as
    listeners were found to do.

    Shapes
    ------
    original (samples,), rebuilt (samples,) -> ()

    Range
    -----
    1.04 (bad) to 4.64 (equal); NaN where `pesq_missing` has a reason, for less than 0.25 s, for a clip in which PESQ
    finds no utterance, or where either is silent

    Raises
    ------
    ValueError
        As `check_waveforms` and `check_rate`.

    Source
    ------
    ITU-T P.862 (2001) and P.862.2 (2007); package pesq
    """
    x, y = check_waveforms("pesq", original, rebuilt)
    check_rate("pesq", sample_rate_hz)
    score, _ = _pesq_score()
    if score is None or sample_rate_hz != PESQ_RATE_HZ or not x.any() or not y.any():
        return math.nan
    return score(x, y)


def pesq_missing(sample_rate_hz: int) -> str:
    """Why PESQ is NaN for every clip, in a sentence; "" where it is not."""
    _, reason = _pesq_score()
    if reason:
        return reason
    if sample_rate_hz != PESQ_RATE_HZ:
        return f"PESQ is left out: wide-band PESQ is defined at {PESQ_RATE_HZ} Hz, the clips have {sample_rate_hz} Hz"
    return ""


@cache
def _pesq_score() -> tuple[Callable[[np.ndarray, np.ndarray], float] | None, str]:
    """PESQ of two waveforms at 16 kHz, or None and the reason."""
    try:
        import pesq as package
    except ImportError:
        return None, "PESQ is left out: the package pesq is not installed. pip install 'nn1d[pesq]' needs a C compiler"
    except ValueError as error:  # it was compiled for another NumPy
        return None, f"PESQ is left out: the package pesq cannot be loaded ({error})"

    def score(x: np.ndarray, y: np.ndarray) -> float:
        try:
            return float(package.pesq(PESQ_RATE_HZ, x, y, "wb"))
        except package.PesqError:
            return math.nan

    return score, ""
