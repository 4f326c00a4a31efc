"""Files that are whole or absent, whatever happens while they are written."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

SUFFIX = ".part"  # of files that are not whole


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes its name when the block ends well and is removed when it does not.

    Until then it has a name of its own in the same folder, so two programs may write the same file at once: the last
    one stays. When the block has ended, the content is on the disk, and a power cut leaves the old file or the new one.

    Raises
    ------
    OSError
        The folder or the file cannot be written.
    """
    unfinished = path.with_name(f".{path.stem}-{secrets.token_hex(8)}{SUFFIX}")
    try:
        with unfinished.open("x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    if hasattr(os, "O_DIRECTORY"):  # elsewhere a folder cannot be opened, and names are on the disk at once
        folder = os.open(path.parent, os.O_DIRECTORY)
        try:
            os.fsync(folder)  # the name, too
        finally:
            os.close(folder)


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file at once or not at all; OSError where it cannot be written."""
    with new_file(path) as file:
        file.write(content)


def remove_unfinished(folder: Path) -> None:
    """Remove what a program that was killed left half-written; nobody may be writing there."""
    for path in folder.glob(f".*{SUFFIX}"):
        path.unlink(missing_ok=True)
