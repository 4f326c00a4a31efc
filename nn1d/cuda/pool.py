"""Pools on a GPU: pool.cu. The functions are those of nn1d.pool."""

from __future__ import annotations

import numpy as np

from nn1d.backend import Array, array_module
from nn1d.cuda.kernel import launch, number, wide


def max_pool(x: Array, size: int, masked: bool = True) -> tuple[Array, Array | None]:
    """The maxima of windows (N, L / s, C) and their mask (N, L, C), or None."""
    xp, (clips, length, channels) = array_module(x), x.shape
    x = xp.ascontiguousarray(x)
    y = xp.empty((clips, length // size, channels), x.dtype)
    mask = xp.empty(x.shape, bool) if masked else None
    _launch("max_pool", x, y, mask, y, size)
    return y, mask


def place(x: Array, mask: Array | None, size: int) -> Array:
    """Each sample where the mask marks its window, 0 elsewhere; everywhere without a mask."""
    xp, (clips, length, channels) = array_module(x), x.shape
    x, mask = xp.ascontiguousarray(x), mask if mask is None else xp.ascontiguousarray(mask)
    y = xp.empty((clips, length * size, channels), x.dtype)
    _launch("place", x, mask, y, x, size)
    return y


def select(x: Array, mask: Array | None, size: int) -> Array:
    """Of each window the sample that the mask marks; the sum without a mask."""
    xp, (clips, length, channels) = array_module(x), x.shape
    x, mask = xp.ascontiguousarray(x), mask if mask is None else xp.ascontiguousarray(mask)
    y = xp.empty((clips, length // size, channels), x.dtype)
    _launch("select", x, mask, y, y, size)
    return y


def _launch(kernel: str, first: Array, second: Array | None, third: Array | None, short: Array, size: int) -> None:
    """A kernel of three arrays, where `short` is the one with a number a window."""
    clips, windows, channels = short.shape
    width = 4 if wide(first, second, third) else 1
    threads = clips * windows * (channels // width)
    launch(
        *(first, "pool", f"{kernel}<{number(first)}, {width}>", (-(-threads // 256),), 256),
        *(first, second, third, np.int64(clips * windows), np.int32(size), np.int32(channels)),
    )
