"""Rows of an array that may lie in a file larger than memory."""

from __future__ import annotations

import itertools
import mmap
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from storage.atomic import new_file


def take_rows(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """array[rows], after which the pages of an array that is mapped from a file are let go.

    The kernel counts every page that was looked at as memory of the process until another one needs it, so a walk over
    the file would look like a program that grows. The pages let go stay in the kernel's cache: the next look costs no
    reading.

    Shapes
    ------
    array (n, ...), rows (k,) int -> (k, ...), a copy
    """
    taken = array[rows]
    if isinstance(array.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):  # Windows trims by itself
        array.base.madvise(mmap.MADV_DONTNEED)
    return taken


def write_features(path: Path, rows: Iterator[np.ndarray], count: int) -> np.ndarray:
    """Write representations as they come into one .npy file, which appears under its name when complete.

    Returns
    -------
    (count, L / 2^depth, C) array, mapped from the file: it needs no memory of its own.
    """
    first = next(rows)
    descr, shape = np.lib.format.dtype_to_descr(first.dtype), (count, *first.shape)
    with new_file(path) as file:  # not a map, whose written pages would count as memory
        np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
        for row in itertools.chain([first], rows):
            file.write(np.ascontiguousarray(row).data)
    return np.load(path, mmap_mode="r")
