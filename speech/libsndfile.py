"""libsndfile, with what it keeps to itself: it is read forwards, says nothing, and what it refuses has a reason."""

from __future__ import annotations

import ctypes
import functools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import soundfile

from speech.container import CONVERT, foreign_kind
from speech.header import PatchedFile
from speech.recording import RecordingError


class Forward(soundfile.SoundFile):
    """An audio file read from its beginning to its end.

    soundfile seeks after each block that it has read, which fails in a file of unknown length and in a damaged one.
    """

    def seekable(self) -> bool:
        """No."""
        return False


def open_forward(source: str | bytes | PatchedFile) -> Forward:
    """Open an audio file, in silence."""
    with mpg123_quiet(True):
        return Forward(source)


def is_mpeg(sound: soundfile.SoundFile) -> bool:
    """Whether it is MP3, also in a WAV file."""
    return str(sound.subtype).startswith("MPEG")


def check_length(sound: soundfile.SoundFile, read: int, wanted: int, all_frames: int) -> None:
    """Raise RecordingError where what could be read is less than there should be."""
    if is_mpeg(sound):  # its own length may be an estimate; frames that were counted are there
        if wanted and (read == 0 or read < min(wanted, all_frames) * 0.98 - sound.samplerate / 10):
            raise RecordingError(f"damaged: {read} of {all_frames or wanted} frames can be decoded")
    elif read < wanted - 32 and not (sound.frames >= 1 << 62 and read):  # a FLAC file may not know how long it is
        raise RecordingError(f"cut short: its header promises {sound.frames} frames, {read} can be read")


def reason(error: soundfile.LibsndfileError, path: Path) -> str:
    """Why libsndfile refuses a file, in words that lead to the cure."""
    message = error.error_string.rstrip(".")
    if "lost sync" in message or "psf_fseek() failed" in message:  # what a FLAC file that ends too early leads to
        return f"cut short or damaged: {message}"
    with path.open("rb") as file:
        kind = foreign_kind(file.read(64), path.suffix)
    if kind:
        return f"{kind}, which libsndfile does not read. {CONVERT}"
    # What libsndfile says of an MP3 in which it finds no frame is about pipes, which would mislead here.
    if "not recognised" in message or "not a regular file" in message or not message:
        return "not an audio file that libsndfile reads"
    return f"unreadable: {message}. If other programs play it: {CONVERT[0].lower()}{CONVERT[1:]}"


_LOCK = threading.Lock()
_quiet_readers, _loud = 0, None


@contextmanager
def mpg123_quiet(needed: bool) -> Iterator[None]:
    """Keep libmpg123, which libsndfile reads MP3 with, from writing its notes to the terminal.

    It writes to the C library's stderr and takes no other wish. That is exchanged while MP3 is decoded; Python's
    sys.stderr is another. Nothing happens where the C library has no such name.
    """
    global _quiet_readers, _loud
    stderr = _c_stderr() if needed else None
    if stderr is None:
        yield
        return
    with _LOCK:
        _quiet_readers += 1
        if _quiet_readers == 1:
            _loud, stderr.value = stderr.value, _null_stream()
    try:
        yield
    finally:
        with _LOCK:
            _quiet_readers -= 1
            if _quiet_readers == 0:
                stderr.value = _loud


@functools.cache
def _c_stderr() -> ctypes.c_void_p | None:
    for name in ("stderr", "__stderrp"):
        try:
            return ctypes.c_void_p.in_dll(ctypes.CDLL(None), name) if _null_stream() else None
        except (AttributeError, OSError, TypeError, ValueError):
            continue
    return None


@functools.cache
def _null_stream() -> int | None:
    library = ctypes.CDLL(None)
    library.fopen.restype = ctypes.c_void_p
    stream = library.fopen(os.fsencode(os.devnull), b"w")
    return None if stream is None else int(stream)
