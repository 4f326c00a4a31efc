"""Pools on a GPU: pool.cu. The functions are those of nn1d.pool."""

from __future__ import annotations

import numpy as np

from nn1d.backend import Array, array_module
from nn1d.cuda.kernel import has_kernels, launch, number, wide
from nn1d.dispatch import register


@register("max_pool")
def max_pool(x: Array, size: int) -> tuple[Array, Array]:
    """Stands for nn1d.pool.max_pool: the maxima of windows (N, L / s, C) and their mask (N, L, C)."""
    if not has_kernels(x):
        return NotImplemented
    mask = array_module(x).empty(x.shape, bool)
    return _max_pool(x, mask, size), mask


@register("maxima")
def maxima(x: Array, size: int) -> Array:
    """Stands for nn1d.pool.maxima: the maxima of windows alone."""
    return _max_pool(x, None, size) if has_kernels(x) else NotImplemented


@register("place")
def place(x: Array, mask: Array | None, size: int) -> Array:
    """Stands for nn1d.pool.place: each sample where the mask marks its window, else 0; everywhere without a mask."""
    if not has_kernels(x):
        return NotImplemented
    xp, (clips, length, channels) = array_module(x), x.shape
    x, mask = xp.ascontiguousarray(x), mask if mask is None else xp.ascontiguousarray(mask)
    y = xp.empty((clips, length * size, channels), x.dtype)
    _launch("place", x, mask, y, x, size)
    return y


@register("repeat")
def repeat(x: Array, size: int) -> Array:
    """Stands for nn1d.pool.repeat: each sample `size` times; the kernel `place` without a mask."""
    return place(x, None, size)


@register("select")
def select(x: Array, mask: Array | None, size: int) -> Array:
    """Stands for nn1d.pool.select: of each window the sample that the mask marks; the sum without a mask."""
    if not has_kernels(x):
        return NotImplemented
    xp, (clips, length, channels) = array_module(x), x.shape
    x, mask = xp.ascontiguousarray(x), mask if mask is None else xp.ascontiguousarray(mask)
    y = xp.empty((clips, length // size, channels), x.dtype)
    _launch("select", x, mask, y, y, size)
    return y


@register("sum_windows")
def sum_windows(dy: Array, size: int) -> Array:
    """Stands for nn1d.pool.sum_windows: the sum of each window of `size` samples; `select` without a mask."""
    return select(dy, None, size)


def _max_pool(x: Array, mask: Array | None, size: int) -> Array:
    xp, (clips, length, channels) = array_module(x), x.shape
    y = xp.empty((clips, length // size, channels), x.dtype)
    _launch("max_pool", xp.ascontiguousarray(x), y, mask, y, size)
    return y


def _launch(kernel: str, first: Array, second: Array | None, third: Array | None, short: Array, size: int) -> None:
    """A kernel of three arrays, where `short` is the one with a number a window."""
    clips, windows, channels = short.shape
    width = 4 if wide(first, second, third) else 1
    threads = clips * windows * (channels // width)
    launch(
        first,
        "pool",
        f"{kernel}<{number(first)}, {width}>",
        grid=(-(-threads // 256),),
        threads=256,
        arguments=(first, second, third, np.int64(clips * windows), np.int32(size), np.int32(channels)),
    )
