"""Faster forms for the CPU: a convolution as many small matrix products that read the signal where it lies.

They register under the names of functions in nn1d/conv.py and nn1d/activation.py. Those of convolutions take arrays
of a GPU as well, where no kernel fits.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from nn1d.backend import Array, array_module, masked, vector_instructions, view
from nn1d.dispatch import register
from nn1d.index_cache import cached_indices

MOST_COPIED = 1 << 24  # samples that windows at the ends see, copied; beyond it tap by tap takes less memory
MOST_HELD = 1 << 26  # numbers that a form may hold beside its operands: 256 MiB in float32; beyond it tap by tap, too
SMALL_PRODUCT = 1_000_000  # multiplications up to which OpenBLAS works on the operands as they lie, without packing


class Windows(NamedTuple):
    """All windows of a signal: the bulk, which matrix products read in place, and the rest, which is copied."""

    bulk: tuple[int, int, int]  # products, groups, rows
    steps: tuple[int, int, int]  # windows from one to the next along each axis of bulk
    first: int  # the l of the first window of the bulk
    ends: np.ndarray  # the l of all other windows (E,)
    samples: np.ndarray  # what they see (E, K), or the nearest sample of the signal
    inside: np.ndarray  # whether they see it (E, K, 1)


@cached_indices
def windows(length: int, kernel_size: int, stride: int, padding: int, outputs: int, most_rows: int) -> Windows | None:
    """Sort the windows s·l - p + (0 ... K-1), l < outputs, of a signal.

    Every m-th window, m = ⌈K / s⌉, is clear of the one before, so the signal holds m groups of windows that are the
    rows of a matrix without a copy. A group is cut into products of at most `most_rows` rows. The rest are the windows
    that hang over an end of the signal, where zeros are seen, and the few that do not fill the last product: None if
    these see more than MOST_COPIED samples, or if there is no sample to see.
    """
    groups = -(-kernel_size // stride)
    first = min(max(0, -(-padding // stride)), outputs)  # the first window that starts inside
    end = min(max(first, (length + padding - kernel_size) // stride + 1), outputs)  # after the last that ends inside
    rows = (end - first) // groups
    fewest = max(1, -(-rows // most_rows))
    products = min(range(fewest, 2 * fewest), key=lambda count: rows % count)
    rows //= products
    if not length or (outputs - products * groups * rows) * kernel_size > MOST_COPIED:
        return None
    ends = np.r_[:first, first + products * groups * rows : outputs]
    samples = ends[:, None] * stride - padding + np.arange(kernel_size)
    inside = (samples >= 0) & (samples < length)
    return Windows(
        (products, groups, rows),
        (groups * rows, 1, groups),
        first,
        ends,
        samples.clip(0, length - 1),
        inside[:, :, None],
    )


def most_rows(kernel_size: int, channels: int, channels_out: int) -> int:
    """Rows of frames (K·C numbers) times filters (K·C, O) that make a small product."""
    return max(1, SMALL_PRODUCT // (kernel_size * channels * channels_out))


def frames(x: Array, cut: Windows, kernel_size: int, stride: int, padding: int) -> tuple[Array, Array]:
    """The windows as rows: a view (N, products, groups, rows, K·C) of x, contiguous, and a copy (N, E, K·C)."""
    clips, length, channels = x.shape
    width = kernel_size * channels
    steps = [step * stride * channels for step in cut.steps]
    start = (cut.first * stride - padding) * channels
    bulk = view(x, start, (clips, *cut.bulk, width), (length * channels, *steps, 1))
    ends = x.take(cut.samples, axis=1)
    ends = masked(ends, array_module(x).asarray(cut.inside), out=ends)
    return bulk, ends.reshape(clips, len(cut.ends), width)


def answers(y: Array, cut: Windows) -> Array:
    """The outputs of the bulk as rows: a view (N, products, groups, rows, O) of y, which is contiguous."""
    clips, length, channels = y.shape
    steps = [step * channels for step in (length, *cut.steps)]
    return view(y, cut.first * channels, (clips, *cut.bulk, channels), (*steps, 1))


def add_bias(y: Array, b: Array) -> None:
    """y[n, l, o] += b[o], in place. Rows of up to 400 samples keep the inner loop long where O is small."""
    rows = math.gcd(y.shape[1], 400)
    y = y.reshape(len(y), y.shape[1] // rows, rows * y.shape[2])
    y += array_module(b).tile(b, rows)


@register("convolve")
def convolve(
    x: Array, w: Array, stride: int, padding: int, outputs: int, b: Array | None = None, dilation: int = 1
) -> Array:
    """As nn1d.conv.convolve: every window of the signal, as a row, times the filters as a matrix."""
    if x.dtype == np.float16 or dilation != 1:
        return NotImplemented
    xp, (taps, channels, channels_out) = array_module(x), w.shape
    cut = windows(x.shape[1], taps, stride, padding, outputs, most_rows(*w.shape))
    if cut is None or len(x) * cut.samples.size * channels > MOST_HELD:
        return NotImplemented
    bulk, ends = frames(xp.ascontiguousarray(x), cut, taps, stride, padding)
    w = w.reshape(taps * channels, channels_out)
    y = xp.empty((len(x), outputs, channels_out), x.dtype)
    # (..., rows, K·C) @ (K·C, O)
    xp.matmul(bulk, w, out=answers(y, cut))
    y[:, cut.ends] = ends @ w
    if b is not None:
        add_bias(y, b)
    return y


@register("convolve_transposed")
def convolve_transposed(
    y: Array, w: Array, stride: int, padding: int, length: int, b: Array | None = None, dilation: int = 1
) -> Array:
    """As nn1d.conv.convolve_transposed: a convolution with the taps reversed, or one for each phase of the stride.

    Every s-th sample meets every s-th tap only, so each of the s phases is a convolution with those taps, reversed.
    """
    if dilation != 1:
        return NotImplemented
    if stride == 1:
        return convolve(y, w[::-1].swapaxes(1, 2), 1, len(w) - 1 - padding, length, b)
    if y.dtype == np.float16:
        return NotImplemented
    x = array_module(y).zeros((len(y), length, w.shape[1]), y.dtype)
    for phase in range(min(stride, len(w))):
        taps = w[phase::stride]
        first = -(-(padding - phase) // stride)  # windows before the one whose tap `phase` is the first sample inside
        samples = range(first * stride + phase - padding, length, stride)
        part = convolve_transposed(y, taps, 1, first, len(samples))
        if part is NotImplemented:
            return NotImplemented
        x[:, samples.start :: stride] = part
    if b is not None:
        add_bias(x, b)
    return x


@register("filter_gradient")
def filter_gradient(x: Array, y: Array, kernel_size: int, stride: int, padding: int, dilation: int = 1) -> Array:
    """As nn1d.conv.filter_gradient: the windows as columns times the outputs as rows."""
    if x.dtype == np.float16 or dilation != 1:
        return NotImplemented
    xp, channels, channels_out = array_module(x), x.shape[2], y.shape[2]
    cut = windows(x.shape[1], kernel_size, stride, padding, y.shape[1], most_rows(kernel_size, channels, channels_out))
    if cut is None:
        return NotImplemented
    products, groups, _ = cut.bulk  # each gives K·C·O numbers, before they are summed
    if len(x) * channels * max(cut.samples.size, products * groups * kernel_size * channels_out) > MOST_HELD:
        return NotImplemented
    bulk, ends = frames(xp.ascontiguousarray(x), cut, kernel_size, stride, padding)
    y = xp.ascontiguousarray(y)
    # (..., O, rows) @ (..., rows, K·C), summed over clips, products and groups
    w = (answers(y, cut).swapaxes(3, 4) @ bulk).sum((0, 1, 2))
    w += (y[:, cut.ends].swapaxes(1, 2) @ ends).sum(0)
    return w.reshape(channels_out, kernel_size, channels).transpose(1, 2, 0)


@register("bias_gradient")
def bias_gradient(dy: Array) -> Array:
    """As nn1d.conv.bias_gradient: as a matrix product, which is twenty times as fast as a sum over rows."""
    if dy.dtype == np.float16:
        return NotImplemented
    rows = dy.reshape(-1, dy.shape[2])
    return array_module(dy).ones(len(rows), dy.dtype) @ rows


def expm1(x: Array) -> None:
    """As nn1d.activation.expm1: t = tanh(x / 2), exp(x) - 1 = 2·t / (1 - t), which cancels nothing where x ≤ 0.

    Within two units of the last digit (exp(x) - 1 as it stands is 0 at -1e-8 in float32), but where x / 2 is subnormal:
    there within one of the smallest steps.
    """
    if array_module(x) is not np or x.dtype == np.float16:
        return NotImplemented
    x *= 0.5
    np.tanh(x, out=x)
    x /= 1 - x
    x *= 2
    return None


# NumPy has expm1 in vector instructions for AVX-512 only, and tanh for AVX2 and others as well: there expm1 takes nine
# times as long
if not vector_instructions("expm1").startswith(("X86_V4", "AVX512")):
    register("expm1")(expm1)
