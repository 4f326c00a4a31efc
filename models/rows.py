"""Rows of an array that may lie in a file larger than memory."""

from __future__ import annotations

import mmap

import numpy as np


def take(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
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
