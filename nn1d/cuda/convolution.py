"""Convolutions with stride 1 on a GPU: convolution.cu, filter_gradient.cu, the same on tensor cores, and sum.cu."""

from __future__ import annotations

from typing import Any

import numpy as np

from nn1d.backend import Array, array_module
from nn1d.cuda.kernel import NUMBERS, has_kernels, launch, number, sums, tensor_cores, wide
from nn1d.layer import require

MOST_TAPS = 9  # more would not leave room for a tile in shared memory
MOST_CHANNELS = 256  # beyond, the products of cuBLAS are likely to be faster; not measured
SAMPLES = {1: 512, 16: 512, 32: 256, 64: 128}  # of the tile that a block of convolution.cu makes, by its channels
TENSOR_SAMPLES = {16: 256, 32: 128, 64: 128}  # the same of tensor_convolution.cu
LEAST_CHANNELS = 8  # on both sides, for tensor cores: fewer would be filled up to it with zeros
SPAN = 1024  # samples that a block of filter_gradient.cu takes from a clip at a time
PARTIAL_SUMS = 2**21  # numbers that its rows have together, at most


def covers(layer: Any, x: Array) -> bool:
    """Whether the kernels compute this Conv1d or ConvTranspose1d on x, forward and backward."""
    return (
        has_kernels(x)
        and has_kernels(w := layer.parameters["weight"])
        and w.dtype == sums(x)
        and layer.stride == 1
        and layer.kernel_size <= MOST_TAPS
        and max(layer.in_channels, layer.out_channels) <= MOST_CHANNELS
    )


def forward(layer: Any, x: Array, alpha: float = 0.0, plus: Array | None = None) -> Array:
    """y = plus + layer(ELU(x)); alpha 0 leaves the ELU out."""
    w, b = layer.parameters["weight"], layer.parameters.get("bias")
    outputs = layer.outputs(x.shape[1])
    return convolve(x, w, _padding(layer), outputs, backwards=layer.transposed, b=b, alpha=alpha, plus=plus)


def backward(
    layer: Any, dy: Array, x: Array, alpha: float = 0.0, plus: Array | None = None
) -> tuple[Array, dict[str, Array]]:
    """dx = plus + ELU'(x)·layerᵀ(dy), and {"weight": dw, "bias": db}."""
    w, padding, at = layer.parameters["weight"], _padding(layer), x if alpha else None
    dx = convolve(
        *(dy, w, layer.kernel_size - 1 - padding, x.shape[1]),
        backwards=not layer.transposed,
        at=at,
        slope_alpha=alpha,
        plus=plus,
    )
    dw, db = filter_gradient(x, dy, w.shape, padding, backwards=layer.transposed, alpha=alpha)
    return dx, {"weight": dw} | ({"bias": db} if "bias" in layer.parameters else {})


def _padding(layer: Any) -> int:
    """The padding of the convolution that a layer is: a ConvTranspose1d is one with its filters read backwards."""
    return layer.kernel_size - 1 - layer.padding if layer.transposed else layer.padding


def convolve(
    x: Array,
    w: Array,
    padding: int,
    outputs: int,
    *,
    backwards: bool = False,
    b: Array | None = None,
    alpha: float = 0.0,
    at: Array | None = None,
    slope_alpha: float = 0.0,
    plus: Array | None = None,
) -> Array:
    """y[n, l, o] = plus[n, l, o] + ELU'(at[n, l, o])·(b[o] + Σ_{k,c} ELU(x[n, l + k - p, c])·w[k, c, o]).

    Parameters
    ----------
    x : (N, L, C) array
    w : (K, C, O) array
        Where `backwards`, (K, O, C), and the taps are met in the other order: w[K - 1 - k, o, c].
    padding, outputs : int
        p, which may be negative, and how many l.
    b, at, plus : arrays or None
        Each None leaves its part out; w and b are float32 where x is float16.
    alpha, slope_alpha : float
        Of the ELU and of the slope; alpha 0 leaves the ELU out.
    """
    xp, (clips, length, channels), taps = array_module(x), x.shape, len(w)
    outs = w.shape[1 if backwards else 2]
    _check_size(length, channels)
    _check_size(outputs, outs)
    x, w = xp.ascontiguousarray(x), xp.ascontiguousarray(w)
    at, plus = (each if each is None else xp.ascontiguousarray(each) for each in (at, plus))
    y = xp.empty((clips, outputs, outs), x.dtype)
    kernel, samples = ("tensor_convolution", TENSOR_SAMPLES) if _on_tensors(x, outs) else ("convolution", SAMPLES)
    tile = next(tile for tile in samples if tile >= min(outs, 64))
    launch(
        *(x, kernel, f"{kernel}<{number(x)}, {taps}, {tile}>"),
        (clips * -(-outputs // samples[tile]), -(-outs // tile)),
        128,
        *(x, w, b, at, plus, y),
        *map(np.int32, (length, channels, outputs, outs, padding, backwards)),
        *(sums(x).type(alpha), sums(x).type(slope_alpha), np.int32(wide(x)), np.int32(wide(at, plus, y))),
    )
    return y


def filter_gradient(
    x: Array, dy: Array, shape: tuple[int, ...], padding: int, *, backwards: bool = False, alpha: float = 0.0
) -> tuple[Array, Array]:
    """dw[k, c, o] = Σ_{n,l} ELU(x[n, l + k - p, c])·dy[n, l, o] and db[o] = Σ_{n,l} dy[n, l, o].

    dw has the given shape: (K, C, O), or (K, O, C) with the taps in the other order where `backwards`. The samples are
    dealt out to blocks by the shapes alone, so the sums have the same order on every GPU.
    """
    xp, taps = array_module(x), shape[0]
    (clips, length, channels), (_, outputs, outs) = x.shape, dy.shape
    _check_size(length, channels)
    _check_size(outputs, outs)
    x, dy = xp.ascontiguousarray(x), xp.ascontiguousarray(dy)
    width = taps * channels * outs + outs
    stretches = clips * -(-outputs // SPAN)
    most = max(1, PARTIAL_SUMS // width)
    blocks = max(1, -(-stretches // max(1, -(-stretches // most))))
    rows, total = xp.empty((blocks, width), sums(x)), xp.empty(width, sums(x))
    c_tile, o_tile = (1 if count == 1 else 16 for count in (channels, outs))
    kernel, sizes = "filter_gradient", f", {c_tile}, {o_tile}"
    if _on_tensors(x, outs):
        kernel, sizes = "tensor_filter_gradient", ""
    launch(
        *(x, kernel, f"{kernel}<{number(x)}, {taps}{sizes}>"),
        (blocks, -(-channels // c_tile) * -(-outs // o_tile)),
        128,
        *(x, dy, rows),
        *map(np.int32, (clips, length, channels, outputs, outs, padding, backwards)),
        *(sums(x).type(alpha), np.int32(SPAN), np.int32(wide(x)), np.int32(wide(dy))),
    )
    sum_of_rows(rows, total, 1)
    return total[:-outs].reshape(shape), total[-outs:]


def sum_of_rows(rows: Array, out: Array, scale: float) -> None:
    """out = rows.sum(0)·scale, in the numbers of rows."""
    count, width = rows.shape
    kernel = f"sum_of_rows<{number(rows)}, {number(out)}>"
    sizes = np.int32(count), np.int32(width)
    launch(rows, "sum", kernel, (-(-width // 32),), 512, rows, out, *sizes, rows.dtype.type(scale))


def _on_tensors(x: Array, outs: int) -> bool:
    return min(x.shape[2], outs) >= LEAST_CHANNELS and tensor_cores(x)


def _check_size(length: int, channels: int) -> None:
    require(
        length * channels <= NUMBERS,
        f"nn1d.cuda: a clip may have {NUMBERS} numbers; got {length} x {channels}. Cut it into shorter ones",
    )
