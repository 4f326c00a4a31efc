"""Convolutions with stride 1 on a GPU: convolution.cu, filter_gradient.cu, the same on tensor cores, and sum.cu."""

from __future__ import annotations

import numpy as np

from nn1d.backend import Array, array_module
from nn1d.cuda.kernel import NUMBERS, has_kernels, launch, number, sums, tensor_cores, wide
from nn1d.dispatch import register
from nn1d.layer import require

MOST_TAPS = 9  # more would not leave room for a tile in shared memory
MOST_CHANNELS = 256  # beyond, the products of cuBLAS are likely to be faster; not measured
SAMPLES = {1: 512, 16: 512, 32: 256, 64: 128}  # of the tile that a block of convolution.cu makes, by its channels
TENSOR_SAMPLES = {16: 256, 32: 128, 64: 128}  # the same of tensor_convolution.cu
LEAST_CHANNELS = 8  # on both sides, for tensor cores: fewer would be filled up to it with zeros
SPAN = 1024  # samples that a block of filter_gradient.cu takes from a clip at a time
PARTIAL_SUMS = {"filter_gradient": 2**20, "tensor_filter_gradient": 2**21}  # numbers that all rows have, at most


def fits(x: Array, w: Array, stride: int) -> bool:
    """Whether the kernels compute a convolution of x with the filters w, forward and backward."""
    return has_kernels(x) and has_kernels(w) and w.dtype == sums(x) and fits_shape(w.shape, stride)


def fits_shape(shape: tuple[int, ...], stride: int) -> bool:
    """Whether the kernels compute convolutions with filters of this shape."""
    taps, *channels = shape
    return stride == 1 and taps <= MOST_TAPS and max(channels) <= MOST_CHANNELS


@register("convolve")
def _convolve(
    x: Array, w: Array, stride: int, padding: int, outputs: int, b: Array | None = None, dilation: int = 1
) -> Array:
    """Stands for nn1d.conv.convolve: x and w as they are, not `backwards`, the same padding."""
    return convolve(x, w, padding, outputs, b=b) if dilation == 1 and fits(x, w, stride) else NotImplemented


@register("convolve_transposed")
def _convolve_transposed(
    y: Array, w: Array, stride: int, padding: int, length: int, b: Array | None = None, dilation: int = 1
) -> Array:
    """Stands for nn1d.conv.convolve_transposed, which with stride 1 is a convolution as well.

    Sample m of x meets y[l]·w[k] where m = l + k - p. With j = K - 1 - k that is l = m + j - (K - 1 - p): a convolution
    with the padding K - 1 - p that meets its taps `backwards`, w[K - 1 - j], and in which the channels change places.
    """
    if dilation != 1 or not fits(y, w, stride):
        return NotImplemented
    return convolve(y, w, len(w) - 1 - padding, length, backwards=True, b=b)


@register("parameter_gradients")
def parameter_gradients(
    x: Array,
    dy: Array,
    kernel_size: int,
    stride: int,
    padding: int,
    transposed: bool,
    dilation: int = 1,
    alpha: float = 0.0,
) -> tuple[Array, Array]:
    """Stands for nn1d.conv.parameter_gradients: dw and db, of a layer whose input is ELU(x) where alpha is not 0.

    Of a Conv1d with the padding that it has. A ConvTranspose1d is a convolution whose filters are read `backwards` with
    the padding K - 1 - p (see _convolve_transposed), and so are written their gradients.
    """
    channels = (dy.shape[2], x.shape[2]) if transposed else (x.shape[2], dy.shape[2])
    shape = kernel_size, *channels
    if dilation != 1 or not has_kernels(x, dy) or not fits_shape(shape, stride):
        return NotImplemented
    if transposed:
        padding = kernel_size - 1 - padding
    return filter_gradient(x, dy, shape, padding, backwards=transposed, alpha=alpha)


def convolve(
    x: Array,
    w: Array,
    padding: int,
    outputs: int,
    *,
    backwards: bool = False,
    b: Array | None = None,
    alpha: float = 0.0,
    activated: Array | None = None,
    activated_alpha: float = 0.0,
    plus: Array | None = None,
) -> Array:
    """Stands for nn1d.conv.convolve, between an ELU and a sum.

    y[n, l, o] = plus[n, l, o] + ELU'(activated[n, l, o])·(b[o] + Σ_{k,c} ELU(x[n, l + k - p, c])·w[k, c, o]).

    Parameters
    ----------
    x : (N, L, C) array
    w : (K, C, O) array
        Where `backwards`, (K, O, C), and the taps are met in the other order: w[K - 1 - k, o, c].
    padding, outputs : int
        p, which may be negative, and how many l. `backwards` takes K - 1 - padding of the layer, to stand for
        nn1d.conv.convolve_transposed: the gradient of x in a Conv1d, the forward of a ConvTranspose1d.
    b, activated, plus : arrays or None
        None leaves a part out; w and b are float32 where x is float16.
    alpha, activated_alpha : float
        Of the ELU of x, 0 leaving it out, and of the one whose derivative is taken.
    """
    xp, (clips, length, channels), taps = array_module(x), x.shape, len(w)
    outs = w.shape[1 if backwards else 2]
    _check_size(length, channels)
    _check_size(outputs, outs)
    x, w = xp.ascontiguousarray(x), xp.ascontiguousarray(w)
    activated, plus = (signal if signal is None else xp.ascontiguousarray(signal) for signal in (activated, plus))
    y = xp.empty((clips, outputs, outs), x.dtype)
    kernel, samples = ("tensor_convolution", TENSOR_SAMPLES) if _on_tensors(x, outs) else ("convolution", SAMPLES)
    tile = next(tile for tile in samples if tile >= min(outs, 64))
    real = sums(x).type
    launch(
        x,
        kernel,
        f"{kernel}<{number(x)}, {taps}, {tile}>",
        grid=(clips * -(-outputs // samples[tile]), -(-outs // tile)),
        threads=128,
        arguments=(
            *(x, w, b, activated, plus, y),
            *map(np.int32, (length, channels, outputs, outs, padding, backwards)),
            *(real(alpha), real(activated_alpha), np.int32(wide(x)), np.int32(wide(activated, plus, y))),
        ),
    )
    return y


def filter_gradient(
    x: Array, dy: Array, shape: tuple[int, ...], padding: int, *, backwards: bool = False, alpha: float = 0.0
) -> tuple[Array, Array]:
    """Stands for nn1d.conv.filter_gradient and nn1d.conv.bias_gradient, behind an ELU.

    dw[k, c, o] = Σ_{n,l} ELU(x[n, l + k - p, c])·dy[n, l, o] and db[o] = Σ_{n,l} dy[n, l, o].

    dw has the shape (K, C, O), or (K, O, C) with the taps in the other order where `backwards`. The samples are dealt
    out to blocks by the shapes alone, so the sums have the same order on every GPU.
    """
    xp, taps = array_module(x), shape[0]
    (clips, length, channels), (_, outputs, outs) = x.shape, dy.shape
    _check_size(length, channels)
    _check_size(outputs, outs)
    x, dy = xp.ascontiguousarray(x), xp.ascontiguousarray(dy)
    width = taps * channels * outs + outs
    stretches = clips * -(-outputs // SPAN)
    c_tile, o_tile = (1 if count == 1 else 16 for count in (channels, outs))
    kernel, sizes = "filter_gradient", f", {c_tile}, {o_tile}"
    if _on_tensors(x, outs):
        kernel, sizes = "tensor_filter_gradient", ""
    most = max(1, PARTIAL_SUMS[kernel] // width)
    blocks = max(1, -(-stretches // max(1, -(-stretches // most))))
    rows, total = xp.empty((blocks, width), sums(x)), xp.empty(width, sums(x))
    launch(
        x,
        kernel,
        f"{kernel}<{number(x)}, {taps}{sizes}>",
        grid=(blocks, -(-channels // c_tile) * -(-outs // o_tile)),
        threads=128,
        arguments=(
            *(x, dy, rows),
            *map(np.int32, (clips, length, channels, outputs, outs, padding, backwards)),
            *(sums(x).type(alpha), np.int32(SPAN), np.int32(wide(x)), np.int32(wide(dy))),
        ),
    )
    sum_of_rows(rows, total, 1)
    return total[:-outs].reshape(shape), total[-outs:]


def sum_of_rows(rows: Array, out: Array, scale: float) -> None:
    """Stands for numpy.sum: out = rows.sum(0)·scale, in the numbers of rows."""
    count, width = rows.shape
    launch(
        rows,
        "sum",
        f"sum_of_rows<{number(rows)}, {number(out)}>",
        grid=(-(-width // 32),),
        threads=512,
        arguments=(rows, out, np.int32(count), np.int32(width), rows.dtype.type(scale)),
    )


def _on_tensors(x: Array, outs: int) -> bool:
    return min(x.shape[2], outs) >= LEAST_CHANNELS and tensor_cores(x)


def _check_size(length: int, channels: int) -> None:
    require(
        length * channels <= NUMBERS,
        f"nn1d.cuda: a clip may have {NUMBERS} numbers; got {length} x {channels}. Cut it into shorter ones",
    )
