"""A recording becomes a mono waveform at one sample rate."""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import scipy  # its parts load when they are used
import soundfile

from speech.header import HIGHEST_RATE_HZ, LOWEST_RATE_HZ, PatchedFile, Piece, check_rate, mend_header
from speech.libsndfile import check_length, is_mpeg, mpg123_quiet, open_forward, reason
from speech.mpeg import mend_mp3
from speech.recording import RecordingError
from speech.silence import CANCELLED, ROUNDING_STEPS, SMALLEST_RANGE, STEPS, between_values

SAMPLE_RATE_HZ = 16_000  # what the networks hear
LARGEST_PEAK = 1e30  # so that no later step overflows float32
LONGEST_NAME = 1023  # of a path that libsndfile opens [bytes]
BLOCK_SAMPLES = 2**20  # that are read at once
Source = Path | Callable[[], tuple[np.ndarray, int]]


def read_waveform(source: Source, sample_rate_hz: int = 16_000, seconds: float | None = 4.0) -> np.ndarray:
    """Read the beginning of a recording as one channel at one sample rate.

    Channels are averaged. Another rate is converted by polyphase resampling with scipy's default filter; as many frames
    beyond `seconds` are read as that filter sees, so that the result is the beginning of the whole recording resampled.
    Nothing further is read or allocated, however long the file is or says it is.

    Parameters
    ----------
    source : Path or function without arguments
        The audio file, or a function that returns (samples, sample_rate_hz), as in `Recording`.
    sample_rate_hz : int > 0
        The rate of the result.
    seconds : float > 0 or None
        At most this much from the beginning; None reads everything.

    Shapes
    ------
    () -> (samples,), float32, samples <= seconds · sample_rate_hz

    Raises
    ------
    RecordingError
        The recording cannot be read, is empty, cut short or damaged, is constant or nothing but rounding noise in the
        part that is read, holds NaN or infinite samples there, or has a sample rate outside 1 kHz to 768 kHz. The
        message is the reason.
    """
    blocks = Blocks(source, sample_rate_hz, seconds)
    mono = np.concatenate(list(blocks))
    if blocks.rate_hz != sample_rate_hz:
        mono = convert_rate(mono, blocks.rate_hz, sample_rate_hz)
        if seconds is not None:
            mono = mono[: round(seconds * sample_rate_hz)]
        if np.ptp(mono) < blocks.smallest_range:
            raise RecordingError(f"silent: nothing of it is left at {sample_rate_hz} Hz")
    return mono


def read_original(source: Source) -> tuple[np.ndarray, int]:
    """Read a whole recording as one channel at its own rate.

    Shapes
    ------
    source, as for `read_waveform` -> (samples,) float32, sample_rate_hz

    Raises
    ------
    RecordingError
        As `read_waveform`.
    """
    blocks = Blocks(source)
    return np.concatenate(list(blocks)), blocks.rate_hz


class Blocks:
    """The blocks of a recording as one channel at its own rate, each (samples,) float32, to be taken once.

    Parameters
    ----------
    source : Path or function without arguments
        As for `read_waveform`.
    sample_rate_hz, seconds : int, float
        Read only what the first `seconds` at this rate depend on; everything where seconds is None.

    Attributes
    ----------
    rate_hz : int
        Known when the first block has been taken.
    samples : int
        How many have been taken.
    subtype : str
        What libsndfile calls the encoding of a file; empty for a function.
    smallest_range : float
        Samples that differ by less are rounding noise, as far as the recording has been read.

    Raises
    ------
    RecordingError
        While blocks are taken, also after the last one: as `read_waveform`.
    """

    def __init__(self, source: Source, sample_rate_hz: int = 0, seconds: float | None = None) -> None:
        self.source, self.sample_rate_hz, self.seconds = source, sample_rate_hz, seconds
        self.rate_hz = self.samples = 0
        self.subtype, self.smallest_range = "", SMALLEST_RANGE
        self._low, self._high, self._between = math.inf, -math.inf, math.inf
        self._power_of_channels = self._power = 0.0

    def __iter__(self) -> Iterator[np.ndarray]:
        """Take the blocks."""
        for block, step in self._raw():
            mono = _to_mono(block)
            if len(mono) == 0:
                continue
            self.samples += len(mono)
            low, high = float(mono.min()), float(mono.max())
            self._low, self._high = min(self._low, low), max(self._high, high)
            if block.ndim == 2 and block.shape[1] > 1:
                self._power_of_channels += len(block) * float(block.var(axis=0, dtype=np.float64).mean())
                self._power += len(mono) * float(mono.var(dtype=np.float64))
            # A coarser step than that of the encoding shows where only a few values occur, such as 16 bits in 24.
            quiet = high - low <= ROUNDING_STEPS * 2**-7
            self._between = min(self._between, between_values(block)) if quiet else 0.0
            if self._between < math.inf:
                step = max(step, self._between)
            self.smallest_range = max(SMALLEST_RANGE, ROUNDING_STEPS * step * (1 + 1e-6))
            yield mono
        if self.samples == 0:
            raise RecordingError("empty: it has no samples")
        if self._power < CANCELLED * self._power_of_channels:
            raise RecordingError("silent: its channels cancel one another where they are averaged. Keep one of them")
        if self._high - self._low < self.smallest_range:
            raise RecordingError(self._silence())

    def _silence(self) -> str:
        """Why there is nothing to hear."""
        low, high = self._low, self._high
        part = f"in the {self.samples / self.rate_hz:.3g} s read"
        if low == high == 0:
            return f"silent: every sample {part} is 0"
        if low == high:
            return f"constant: every sample {part} is {low:.3g}"
        return f"silent: the samples {part} differ by no more than {high - low:.1e}"

    def _raw(self) -> Iterator[tuple[np.ndarray, float]]:
        """The blocks with all channels, and the step between values of their encoding."""
        if callable(self.source):
            samples, self.rate_hz = self.source()
            check_rate(self.rate_hz)
            samples = np.asarray(samples)
            if mistake := _shape_mistake(samples.shape):
                raise RecordingError(mistake)
            yield samples[: _frames_needed(self.rate_hz, self.sample_rate_hz, self.seconds)], 2.0**-31
            return
        path = Path(self.source)
        try:
            if not path.exists():
                raise RecordingError("unreadable: there is no such file")
            if not path.is_file():  # opening a pipe would wait for ever
                raise RecordingError("unreadable: it is not a regular file")
            with path.open("rb") as file:
                yield from self._read(path, file)
        except PermissionError:
            raise RecordingError("unreadable: not permitted to open it") from None
        except soundfile.LibsndfileError as error:
            raise RecordingError(reason(error, path)) from None
        except TypeError:  # soundfile wants to be told
            raise RecordingError("unreadable: a .raw file does not say its sample rate and format") from None
        except OSError as error:
            raise RecordingError(f"unreadable: {error.strerror or error}") from None

    def _read(self, path: Path, file: BinaryIO) -> Iterator[tuple[np.ndarray, float]]:
        if not file.read(1):
            raise RecordingError("empty: the file has 0 bytes")
        pieces = mend_header(file)
        # As bytes: a name that is not UTF-8 is none that soundfile can encode.
        name: str | bytes = str(path) if os.name == "nt" else os.fsencode(path)
        if pieces is None and len(name) > LONGEST_NAME:
            pieces = [(0, path.stat().st_size)]
        sound = open_forward(name if pieces is None else PatchedFile(file, pieces))
        try:
            streams: list[tuple[list[Piece] | None, int]] = [(None, 0)]
            if is_mpeg(sound):
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                    streams = mend_mp3(data)
            for pieces, all_frames in streams:
                if pieces is not None:
                    sound.close()
                    sound = open_forward(PatchedFile(file, pieces))
                yield from self._read_stream(sound, all_frames)
        finally:
            sound.close()

    def _read_stream(self, sound: soundfile.SoundFile, all_frames: int) -> Iterator[tuple[np.ndarray, float]]:
        self.rate_hz = sound.samplerate
        check_rate(self.rate_hz)
        if sound.frames == 0:
            raise RecordingError("empty: its header says 0 frames")
        self.subtype = sound.subtype
        step = STEPS.get(self.subtype, 2.0**-15)
        needed = _frames_needed(self.rate_hz, self.sample_rate_hz, self.seconds)
        wanted = sound.frames if needed is None else min(sound.frames, needed - self.samples)
        # Blocks, so that memory follows what the file holds and not what its header says.
        block_frames, read = max(1, BLOCK_SAMPLES // sound.channels), 0
        while read < wanted:
            with mpg123_quiet(is_mpeg(sound)):
                block = sound.read(min(block_frames, wanted - read), dtype="float32", always_2d=True)
            if len(block) == 0:
                break
            read += len(block)
            yield block, step
        check_length(sound, read, wanted, all_frames)


def _frames_needed(rate_hz: int, sample_rate_hz: int, seconds: float | None) -> int | None:
    """The frames of a recording that the first `seconds` of its resampled form depend on; None for all."""
    if seconds is None:
        return None
    if rate_hz == sample_rate_hz:
        return round(seconds * sample_rate_hz)
    return math.ceil(seconds * rate_hz) + _reach(rate_hz, sample_rate_hz)


def _reach(rate_hz: int, new_rate_hz: int) -> int:
    """How many samples at rate_hz resample_poly's filter sees to each side of one, and one more."""
    # It reaches 10 · max(up, down) samples to each side at the rate rate_hz · up.
    common = math.gcd(rate_hz, new_rate_hz)
    up, down = new_rate_hz // common, rate_hz // common
    return math.ceil(10 * max(up, down) / up) + 1


def _shape_mistake(shape: tuple[int, ...]) -> str:
    """What is wrong with an array that should be (samples,) or (samples, channels); empty if nothing."""
    if len(shape) == 2 and shape[1] > shape[0]:
        return (
            f"must be (samples, channels), as soundfile reads it; got {shape}, more channels than samples. Hand over "
            "its transpose, waveform.T"
        )
    if len(shape) not in (1, 2):
        single = sum(size > 1 for size in shape) == 1
        cure = "It is one channel: waveform.reshape(-1)" if single else "Hand over one recording at a time"
        return f"must be (samples,) or (samples, channels); got {shape}. {cure}"
    return ""


def _to_mono(samples: np.ndarray) -> np.ndarray:
    """(frames,) or (frames, channels) -> (frames,), float32."""
    bad = samples.size - np.count_nonzero(np.isfinite(samples))
    if bad:
        raise RecordingError(f"{bad} of {samples.size} samples are NaN or infinite")
    if samples.size and (peak := float(np.abs(samples).max())) > LARGEST_PEAK:
        raise RecordingError(f"samples as large as {peak:.3g}; full scale is 1")
    if samples.ndim == 2:
        samples = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float64)
    return samples.astype(np.float32)


class WaveformError(ValueError):
    """A waveform cannot be used; the message says what it needs and what it got."""


def resampled(waveform: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """A checked waveform, one channel, at 16 kHz."""
    waveform = _to_array(waveform)
    if waveform.size == 0 or waveform.dtype.kind != "f":
        cure = ""
        if waveform.dtype.kind in "iu":
            half = 1 << 8 * waveform.dtype.itemsize - 1
            zero = " - 1" if waveform.dtype.kind == "u" else ""
            cure = f". Bring whole numbers to [-1, 1]: waveform / {half}{zero}"
        raise WaveformError(
            "waveform: must be (samples,) or (samples, channels) of floating-point numbers, and not empty; got "
            f"{waveform.shape} of {waveform.dtype}{cure}"
        )
    if mistake := _shape_mistake(waveform.shape):
        raise WaveformError(f"waveform: {mistake}")
    if bad := waveform.size - np.count_nonzero(np.isfinite(waveform)):
        raise WaveformError(f"waveform: {bad} of {waveform.size} samples are NaN or infinite")
    if (peak := float(abs(waveform).max())) > LARGEST_PEAK:
        raise WaveformError(f"waveform: samples as large as {peak:.3g}; full scale is 1")
    if not (isinstance(sample_rate_hz, (int, np.integer)) and LOWEST_RATE_HZ <= sample_rate_hz <= HIGHEST_RATE_HZ):
        raise WaveformError(
            f"waveform: the sample rate must be an integer from {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz; got "
            f"{sample_rate_hz!r}"
        )
    mono = waveform if waveform.ndim == 1 else waveform.mean(axis=1, dtype=np.float64)
    return convert_rate(mono.astype(np.float32), sample_rate_hz, SAMPLE_RATE_HZ)


def _to_array(waveform: object) -> np.ndarray:
    if isinstance(waveform, np.ma.MaskedArray):
        raise WaveformError("waveform: is a masked array. Choose what stands in the masked places: waveform.filled(0)")
    try:
        return np.asarray(waveform)
    except (ValueError, TypeError, RuntimeError):  # a ragged list; a tensor of a type or place that NumPy has not
        is_tensor = hasattr(waveform, "detach")
        cure = (
            "Convert it: waveform.detach().cpu().float().numpy()" if is_tensor else "Hand over one recording at a time"
        )
        raise WaveformError(
            f"waveform: must be (samples,) or (samples, channels); got {type(waveform).__name__}, of which NumPy makes "
            f"no array. {cure}"
        ) from None


def convert_rate(waveform: np.ndarray, rate_hz: int, new_rate_hz: int) -> np.ndarray:
    if rate_hz == new_rate_hz:
        return waveform
    common = math.gcd(rate_hz, new_rate_hz)
    return scipy.signal.resample_poly(waveform, new_rate_hz // common, rate_hz // common).astype(np.float32, copy=False)


def convert_blocks(blocks: Iterable[np.ndarray], rate_hz: int, new_rate_hz: int) -> Iterator[np.ndarray]:
    """The blocks of a recording at another rate: together what `convert_rate` makes of the whole of it.

    Shapes
    ------
    blocks (samples,) float32 of any lengths at rate_hz -> (samples,) float32 at new_rate_hz
    """
    if rate_hz == new_rate_hz:
        yield from blocks
        return
    common = math.gcd(rate_hz, new_rate_hz)
    up, down = new_rate_hz // common, rate_hz // common
    # What a piece of the input decides alone: without as many samples at each end as the filter sees. Its beginning is
    # a multiple of `down`, so that the first sample out lies on the first sample in.
    margin = -(-_reach(rate_hz, new_rate_hz) // down) * down
    waiting, before = np.empty(0, np.float32), 0  # samples, how many of which are only seen by the filter
    for block in blocks:
        waiting = np.concatenate([waiting, block])
        ready = (len(waiting) - before - margin) // down * down
        if ready > 0:
            converted = convert_rate(waiting[: before + ready + margin], rate_hz, new_rate_hz)
            yield converted[before // down * up : (before + ready) // down * up]
            kept = min(before + ready, margin)
            waiting, before = waiting[before + ready - kept :], kept
    if len(waiting) > before:
        yield convert_rate(waiting, rate_hz, new_rate_hz)[before // down * up :]
