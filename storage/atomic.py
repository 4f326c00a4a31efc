"""Files that are whole or absent, whatever happens while they are written."""

from __future__ import annotations

import errno
import os
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

SUFFIX = ".unfinished"
UNFINISHED = re.compile(rf"\..*-[0-9a-f]{{32}}{re.escape(SUFFIX)}", re.DOTALL)  # the names of files that are not whole
LONGEST_STEM = 80  # of such a name, so that it stays one where the file's own name is as long as a name may be
NO_FOLDER_SYNC = {
    errno.EINVAL,
    errno.ENOTSUP,
    errno.ENOSYS,
    errno.EBADF,
    errno.EACCES,
    errno.EISDIR,
}  # what file systems answer


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
    unfinished, file = _open_unfinished(path)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if os.name == "posix":  # under the lock: else another program might take it for left behind
                unfinished.replace(path)
        if os.name != "posix":  # a file that is open keeps its name there
            unfinished.replace(path)
    except BaseException as error:
        unfinished.unlink(missing_ok=True)
        if (
            isinstance(error, OSError) and error.errno is not None and error.filename is None
        ):  # a full disk names no file
            error.filename = str(path)
        raise
    _sync_folder(path.parent)


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file at once or not at all; OSError where it cannot be written."""
    with new_file(path) as file:
        file.write(content)


def remove_unfinished(folder: Path) -> None:
    """Remove what programs that were killed left half-written, and nothing that one is writing now.

    A program holds a lock on what it writes; the kernel releases it when the program ends, however that is.
    """
    try:
        paths = [path for path in folder.iterdir() if UNFINISHED.fullmatch(path.name)]
    except OSError:
        return
    for path in paths:
        with suppress(OSError):  # gone, of another user, or held: on Windows a file that is open cannot be removed
            if path.is_symlink() or not path.is_file():
                continue
            with path.open("rb") as file:
                if _lock(file):
                    path.unlink()


def _open_unfinished(path: Path) -> tuple[Path, BinaryIO]:
    """A file with a name that `path` has until it is whole, held."""
    stem = os.fsencode(path.stem)[:LONGEST_STEM].decode(sys.getfilesystemencoding(), "ignore")
    while True:
        unfinished = path.with_name(f".{stem}-{secrets.token_hex(16)}{SUFFIX}")
        try:
            file = unfinished.open("x+b")
        except OSError as error:
            error.filename = str(path)
            raise
        if _lock(file) and unfinished.exists():
            return unfinished, file
        file.close()  # another program was quicker and took it for left behind


def _lock(file: BinaryIO) -> bool:
    """Hold a file until it is closed; False if another program holds it."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)  # some network file systems have no locks
    return True


def _sync_folder(folder: Path) -> None:
    """Have the kernel write the names in a folder, where the system and the file system can do that."""
    if not hasattr(os, "O_DIRECTORY"):  # elsewhere a folder cannot be opened, and names are on the disk at once
        return
    try:
        descriptor = os.open(folder, os.O_DIRECTORY)  # which needs the right to list it
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in NO_FOLDER_SYNC:
            raise
