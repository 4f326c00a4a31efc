"""Rows of an array that may lie in a file larger than memory."""

from __future__ import annotations

import hashlib
import itertools
import mmap
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from storage.atomic import new_file
from storage.regular import check_regular

MARK = b"sha256 of the numbers:"  # before the checksum at the end of a file
BLOCK_BYTES = 1 << 24
OPEN_AT_ONCE = 4  # arrays of many files


class JoinedRows:
    """Arrays of several files as one, of which rows are taken (`take_rows`); few files are open at a time.

    Parameters
    ----------
    counts : sequence of int
        Rows of each array.
    row : array
        Of their shape and dtype.
    open_array : function (i) -> array i
        Called again when another few have been used.
    """

    def __init__(self, counts: Sequence[int], row: np.ndarray, open_array: Callable[[int], np.ndarray]) -> None:
        self.ends = np.cumsum(np.array(counts, np.int64))
        self.starts = self.ends - counts
        self.shape, self.dtype = (int(sum(counts)), *row.shape), row.dtype
        self.nbytes = self.shape[0] * row.nbytes
        self._open = lru_cache(OPEN_AT_ONCE)(open_array)

    def __len__(self) -> int:
        """The number of rows."""
        return self.shape[0]

    def take(self, rows: np.ndarray) -> np.ndarray:
        """These rows, in this order.

        Shapes
        ------
        rows (k,) int -> (k, ...), a copy
        """
        taken: np.ndarray = np.empty((len(rows), *self.shape[1:]), self.dtype)
        array_of = np.searchsorted(self.ends, rows, side="right")
        for i in np.unique(array_of):
            here = array_of == i
            taken[here] = take_rows(self._open(int(i)), rows[here] - self.starts[i])
        return taken


Rows = np.ndarray | JoinedRows


def take_rows(array: Rows, rows: np.ndarray) -> Any:
    """array[rows], after which the pages of an array that is mapped from a file are let go.

    The kernel counts every page that was looked at as memory of the process until another one needs it, so a walk over
    the file would look like a program that grows. The pages let go stay in the kernel's cache: the next look costs no
    reading.

    Shapes
    ------
    array (n, ...), rows (k,) int -> (k, ...), a copy
    """
    if isinstance(array, JoinedRows):
        return array.take(rows)
    taken = array[rows]
    if isinstance(array.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):  # Windows trims by itself
        array.base.madvise(mmap.MADV_DONTNEED)
    return taken


class DamagedError(ValueError):
    """A file does not hold what was written into it; the message says how that shows."""


def write_rows(path: Path, rows: Iterator[np.ndarray], count: int) -> np.ndarray:
    """Write rows as they come into one .npy file, which appears under its name when complete.

    After the array, where `np.load` does not look, stands its checksum.

    Returns
    -------
    (count, ...) array, mapped from the file: it needs no memory of its own.
    """
    first, digest = next(rows), hashlib.sha256()
    descr, shape = np.lib.format.dtype_to_descr(first.dtype), (count, *first.shape)
    with new_file(path) as file:  # not a map, whose written pages would count as memory
        np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
        for row in itertools.chain([first], rows):
            numbers = np.ascontiguousarray(row).data
            digest.update(numbers)
            file.write(numbers)
        file.write(MARK + digest.digest())
    return np.load(path, mmap_mode="r")


def map_array(path: Path) -> np.memmap:
    """The array of an .npy file, mapped from it.

    Raises
    ------
    DamagedError
        The file holds no whole array.
    OSError
        It cannot be read, or is no regular file.
    """
    check_regular(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a header that Python 2 could have written
            return np.lib.format.open_memmap(path, "r")
    except (OSError, MemoryError):
        raise
    except Exception as error:  # NumPy reads a damaged header as Python, and fails in a dozen ways
        raise DamagedError(f"{path} is no whole array") from error


def load_rows(path: Path) -> np.ndarray:
    """The array that `write_rows` wrote, mapped from the file, after a look at every byte of it.

    Raises
    ------
    DamagedError
        The file is not whole, has no checksum, or another one.
    OSError
        It cannot be read.
    """
    array = map_array(path)
    digest, left = hashlib.sha256(), array.nbytes
    with path.open("rb") as file:
        file.seek(array.offset)
        while left and (block := file.read(min(left, BLOCK_BYTES))):
            digest.update(block)
            left -= len(block)
        tail = file.read(len(MARK) + digest.digest_size + 1)
    if left or not tail.startswith(MARK):
        raise DamagedError(f"{path} has no checksum")
    if tail != MARK + digest.digest():
        raise DamagedError(f"{path} is damaged: its checksum is another")
    return array
