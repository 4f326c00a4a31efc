"""Files that are read in one go. Only regular ones: a pipe or a device may have no end, and opening it may wait."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def check_regular(path: Path) -> None:
    """OSError unless a path leads to a regular file."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))


def read_regular(path: Path, encoding: str = "utf-8") -> str:
    """The text of a regular file, its line ends as they are; OSError or UnicodeDecodeError where it cannot be read."""
    return read_regular_bytes(path).decode(encoding)


def read_regular_bytes(path: Path) -> bytes:
    """What a regular file holds; OSError where it cannot be read."""
    check_regular(path)
    return path.read_bytes()
