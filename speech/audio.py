"""A recording becomes a mono waveform at one sample rate."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
from scipy.signal import resample_poly

from speech.recording import RecordingError

SAMPLE_RATE_HZ = 16_000  # what the networks hear
LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 1_000, 768_000
SMALLEST_RANGE = 1e-6  # -120 dB of full scale: the residue of coded silence, not a voice
LARGEST_PEAK = 1e30  # so that no later step overflows float32


def read_waveform(
    source: Path | Callable[[], tuple[np.ndarray, int]], sample_rate_hz: int = 16_000, seconds: float | None = 4.0
) -> np.ndarray:
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
        The recording cannot be read, is empty or cut short, is silent or constant in the part that is read, holds NaN
        or infinite samples there, or has a sample rate outside 1 kHz to 768 kHz. The message is the reason.
    """
    mono, rate_hz = _read(source, sample_rate_hz, seconds)
    if rate_hz != sample_rate_hz:
        common = math.gcd(rate_hz, sample_rate_hz)
        mono = resample_poly(mono, sample_rate_hz // common, rate_hz // common).astype(np.float32, copy=False)
        if seconds is not None:
            mono = mono[: round(seconds * sample_rate_hz)]
        if np.ptp(mono) < SMALLEST_RANGE:
            raise RecordingError(f"silent: nothing of it is left at {sample_rate_hz} Hz")
    return mono


def read_original(source: Path | Callable[[], tuple[np.ndarray, int]]) -> tuple[np.ndarray, int]:
    """Read a whole recording as one channel at its own rate.

    Shapes
    ------
    source, as for `read_waveform` -> (samples,) float32, sample_rate_hz

    Raises
    ------
    RecordingError
        As `read_waveform`.
    """
    return _read(source, 0, None)


def _read(
    source: Path | Callable[[], tuple[np.ndarray, int]], sample_rate_hz: int, seconds: float | None
) -> tuple[np.ndarray, int]:
    """What of a recording the first `seconds` at sample_rate_hz depend on, checked, and its own rate."""
    if callable(source):
        samples, rate_hz = source()
        _check_rate(rate_hz)
        mono = _to_mono(np.asarray(samples)[: _frames_needed(rate_hz, sample_rate_hz, seconds)])
    else:
        mono, rate_hz = _read_file(Path(source), sample_rate_hz, seconds)
    if len(mono) == 0:
        raise RecordingError("empty: it has no samples")
    _check_variation(mono, rate_hz)
    return mono, rate_hz


def _frames_needed(rate_hz: int, sample_rate_hz: int, seconds: float | None) -> int | None:
    """The frames of a recording that the first `seconds` of its resampled form depend on; None for all."""
    if seconds is None:
        return None
    if rate_hz == sample_rate_hz:
        return round(seconds * sample_rate_hz)
    # resample_poly's filter reaches 10 · max(up, down) samples to each side at the rate rate_hz · up.
    up = sample_rate_hz // math.gcd(rate_hz, sample_rate_hz)
    down = rate_hz // math.gcd(rate_hz, sample_rate_hz)
    return math.ceil(seconds * rate_hz) + math.ceil(10 * max(up, down) / up) + 1


def _read_file(path: Path, sample_rate_hz: int, seconds: float | None) -> tuple[np.ndarray, int]:
    """The needed frames of a file as one channel, and the file's rate."""
    try:
        if not path.exists():
            raise RecordingError("unreadable: there is no such file")
        if not path.is_file():  # opening a pipe would wait for ever
            raise RecordingError("unreadable: it is not a regular file")
        with path.open("rb") as file:
            if not file.read(1):
                raise RecordingError("empty: the file has 0 bytes")
            file.seek(0)
            _check_header(file)
        with soundfile.SoundFile(path) as sound:
            rate_hz = sound.samplerate
            _check_rate(rate_hz)
            if sound.frames == 0:
                raise RecordingError("empty: its header says 0 frames")
            needed = _frames_needed(rate_hz, sample_rate_hz, seconds)
            wanted = sound.frames if needed is None else min(sound.frames, needed)
            # Blocks, so that memory follows what the file holds and not what its header says.
            block_frames = max(1, 2**20 // sound.channels)
            blocks, read = [], 0
            while read < wanted:
                block = sound.read(min(block_frames, wanted - read), dtype="float32", always_2d=True)
                if len(block) == 0:
                    if sound.format == "MP3" and read:  # its length is an estimate where no table in it tells
                        break
                    raise RecordingError(f"cut short: its header promises {sound.frames} frames, {read} can be read")
                blocks.append(_to_mono(block))
                read += len(block)
    except PermissionError:
        raise RecordingError("unreadable: not permitted to open it") from None
    except soundfile.LibsndfileError as error:
        raise RecordingError(_reason(error)) from None
    except TypeError:  # soundfile wants to be told
        raise RecordingError("unreadable: a .raw file does not say its sample rate and format") from None
    except OSError as error:
        raise RecordingError(f"unreadable: {error.strerror or error}") from None
    return np.concatenate(blocks), rate_hz


def _reason(error: soundfile.LibsndfileError) -> str:
    message = error.error_string.rstrip(".")
    if "lost sync" in message or "psf_fseek() failed" in message:  # what a FLAC file that ends too early leads to
        return f"cut short or damaged: {message}"
    # What libsndfile says of an MP3 in which it finds no frame is about pipes, which would mislead here.
    if "not recognised" in message or "not a regular file" in message:
        return "not an audio file that libsndfile reads"
    return f"unreadable: {message}"


def _check_header(file: BinaryIO) -> None:
    """Raise if the header of a WAV or AIFF file has an absurd rate or promises more than the file holds.

    libsndfile refuses a rate of 0 without saying why, and quietly reads what there is of a file that is cut short.
    """
    kind = file.read(12)[:4]
    if kind not in (b"RIFF", b"RF64", b"RIFX", b"FORM"):
        return
    order = "<" if kind in (b"RIFF", b"RF64") else ">"
    promised_by_ds64 = None
    for _ in range(1000):  # no real file has more chunks, and a file of zeros must not keep us here
        chunk = file.read(8)
        if len(chunk) < 8:
            return
        name, size = struct.unpack(order + "4sI", chunk)
        start = file.tell()
        if name == b"fmt " and len(body := file.read(8)) == 8:
            _check_rate(struct.unpack(order + "4xI", body)[0])
        elif name == b"ds64" and len(body := file.read(16)) == 16:
            promised_by_ds64 = struct.unpack(order + "8xQ", body)[0]
        elif name in (b"data", b"SSND"):
            held = file.seek(0, 2) - start
            if size == 0xFFFFFFFF:  # RF64, or written to a pipe before its length was known
                size = promised_by_ds64 or 0
            if size > held:
                raise RecordingError(f"cut short: its header promises {size} bytes of sound, the file holds {held}")
            return
        file.seek(start + size + size % 2)


def _check_rate(rate_hz: int) -> None:
    if not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ:
        raise RecordingError(f"a sample rate of {rate_hz} Hz; {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz can be read")


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


def _check_variation(mono: np.ndarray, rate_hz: int) -> None:
    low, high = float(mono.min()), float(mono.max())
    if high - low >= SMALLEST_RANGE:
        return
    part = f"in the {len(mono) / rate_hz:.3g} s read"
    if low == high == 0:
        raise RecordingError(f"silent: every sample {part} is 0")
    if low == high:
        raise RecordingError(f"constant: every sample {part} is {low:.3g}")
    raise RecordingError(f"silent: the samples {part} differ by no more than {high - low:.1e}")


class WaveformError(ValueError):
    """A waveform cannot be used; the message says what it needs and what it got."""


def resampled(waveform: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """A checked waveform, one channel, at 16 kHz."""
    waveform = np.asarray(waveform)
    if waveform.ndim not in (1, 2) or waveform.size == 0 or waveform.dtype.kind != "f":
        raise WaveformError(
            "waveform: must be (samples,) or (samples, channels) of floating-point numbers, and not empty; got "
            f"{waveform.shape} of {waveform.dtype}"
        )
    if bad := waveform.size - np.count_nonzero(np.isfinite(waveform)):
        raise WaveformError(f"waveform: {bad} of {waveform.size} samples are NaN or infinite")
    if (peak := float(abs(waveform).max())) > LARGEST_PEAK:
        raise WaveformError(f"waveform: samples as large as {peak:.3g}; full scale is 1")
    if not (isinstance(sample_rate_hz, (int, np.integer)) and LOWEST_RATE_HZ <= sample_rate_hz <= HIGHEST_RATE_HZ):
        raise WaveformError(
            f"waveform: the sample rate must be an integer from {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz; got "
            f"{sample_rate_hz}"
        )
    mono = waveform if waveform.ndim == 1 else waveform.mean(axis=1, dtype=np.float64)
    return convert_rate(mono.astype(np.float32), sample_rate_hz, SAMPLE_RATE_HZ)


def convert_rate(waveform: np.ndarray, rate_hz: int, new_rate_hz: int) -> np.ndarray:
    if rate_hz == new_rate_hz:
        return waveform
    common = math.gcd(rate_hz, new_rate_hz)
    return resample_poly(waveform, new_rate_hz // common, rate_hz // common).astype(np.float32, copy=False)
