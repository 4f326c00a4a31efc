"""A library that would write to the terminal is kept from it."""

from __future__ import annotations

import ctypes
import functools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

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
