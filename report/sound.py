"""Sound in files and in a page."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from storage.atomic import write_atomic

SMALL = 0.9  # compression of an MP3: 24 kbit/s at 16 kHz
SMALL_BYTES = 3200  # of such a second, at most
TEXT = 4 / 3  # bytes of text for a byte
Encode = Callable[[np.ndarray, int], tuple[str, bytes]]


def write_wav(path: Path, waveform: np.ndarray, sample_rate_hz: int) -> None:
    """Write a waveform (samples,) as 16-bit WAV at its own level."""
    write_atomic(path, _encoded(waveform, sample_rate_hz, subtype="PCM_16", format="WAV"))


def lossless(waveform: np.ndarray, sample_rate_hz: int) -> tuple[str, bytes]:
    """A waveform (samples,) as FLAC of 16 bit, which every browser plays: media type and content."""
    return "audio/flac", _encoded(waveform, sample_rate_hz, subtype="PCM_16", format="FLAC")


def small(waveform: np.ndarray, sample_rate_hz: int) -> tuple[str, bytes]:
    """A waveform (samples,) as MP3, an eighth as large: enough to tell which clip it is, not to judge it."""
    how = {"format": "MP3", "bitrate_mode": "CONSTANT", "compression_level": SMALL}
    return "audio/mpeg", _encoded(waveform, sample_rate_hz, **how)


def _encoded(waveform: np.ndarray, sample_rate_hz: int, **how: Any) -> bytes:
    """The content of an audio file; what is beyond full scale is clipped.

    In memory: what fails in a file, the bridge to libsndfile prints and loses.
    """
    memory = io.BytesIO()
    soundfile.write(memory, np.clip(waveform, -1, 1), sample_rate_hz, **how)
    return memory.getvalue()


def fitting(seconds: Sequence[float], sample_rate_hz: int, room: int) -> tuple[Encode, int]:
    """How to hold sounds in a page, and how many: lossless if all fit, else small, else small and only the first ones.

    Parameters
    ----------
    seconds : sequence of float
        Of each; the first one is always held.
    sample_rate_hz : int
    room : int
        Bytes of text that all may take.
    """
    if sum(seconds) * 2 * sample_rate_hz * TEXT <= room:
        return lossless, len(seconds)
    return small, max(1, sum(total * SMALL_BYTES * TEXT <= room for total in accumulate(seconds)))
