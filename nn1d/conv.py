"""Convolution, transposed convolution and their gradients: one form, three faces.

    T(x, w, y) = Σ_{n,l,k,c,o}  x[n, s·l + k - p, c] · w[k, c, o] · y[n, l, o]

is linear in each of x, w and y. Its slope in y is the convolution, its slope in x is the transposed convolution, its
slope in w is the gradient of the filters. Every forward and every backward in this file is one of the three.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from nn1d.backend import Array, array_module, view
from nn1d.cuda import convolution as kernels
from nn1d.initial import Initializer, glorot_uniform
from nn1d.layer import require, require_like, require_signal

SMALL_PRODUCT = 1_000_000  # multiplications up to which OpenBLAS works on the operands as they lie, without packing


class Windows(NamedTuple):
    """All windows of a signal: the bulk, which matrix products read in place, and the rest, which is copied."""

    bulk: tuple[int, int, int]  # products, groups, rows
    steps: tuple[int, int, int]  # windows from one to the next along each axis of bulk
    first: int  # the l of the first window of the bulk
    ends: np.ndarray  # the l of all other windows (E,)
    samples: np.ndarray  # what they see (E, K), or the nearest sample of the signal
    inside: np.ndarray  # whether they see it (E, K, 1)


@lru_cache(maxsize=4096)
def windows(length: int, kernel_size: int, stride: int, padding: int, outputs: int, most_rows: int) -> Windows:
    """Sort the windows s·l - p + (0 ... K-1), l < outputs, of a signal.

    Every m-th window, m = ⌈K / s⌉, is clear of the one before, so the signal holds m groups of windows that are the
    rows of a matrix without a copy. A group is cut into products of at most `most_rows` rows. The rest are the windows
    that hang over an end of the signal, where zeros are seen, and the few that do not fill the last product.
    """
    groups = -(-kernel_size // stride)
    first = min(max(0, -(-padding // stride)), outputs)  # the first window that starts inside
    end = min(max(first, (length + padding - kernel_size) // stride + 1), outputs)  # after the last that ends inside
    rows = (end - first) // groups
    least = max(1, -(-rows // most_rows))
    products = min(range(least, 2 * least), key=lambda products: rows % products)
    rows //= products
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


def frames(x: Array, at: Windows, kernel_size: int, stride: int, padding: int) -> tuple[Array, Array]:
    """The windows as rows: a view (N, products, groups, rows, K·C) of x, contiguous, and a copy (N, E, K·C)."""
    clips, length, channels = x.shape
    width = kernel_size * channels
    steps = [step * stride * channels for step in at.steps]
    start = (at.first * stride - padding) * channels
    bulk = view(x, start, (clips, *at.bulk, width), (length * channels, *steps, 1))
    ends = x.take(at.samples, axis=1)
    ends *= array_module(x).asarray(at.inside)
    return bulk, ends.reshape(clips, len(at.ends), width)


def answers(y: Array, at: Windows) -> Array:
    """The outputs of the bulk as rows: a view (N, products, groups, rows, O) of y, which is contiguous."""
    clips, length, channels = y.shape
    steps = [step * channels for step in (length, *at.steps)]
    return view(y, at.first * channels, (clips, *at.bulk, channels), (*steps, 1))


def widened(x: Array) -> Array:
    """A signal in the numbers that sums have: float32 for float16, else its own."""
    return x.astype(np.result_type(x.dtype, np.float32), copy=False)


def slope_in_y(x: Array, w: Array, stride: int, padding: int, outputs: int) -> Array:
    """Convolution: y[n, l, o] = Σ_{k,c} x[n, s·l + k - p, c] · w[k, c, o], for l < outputs."""
    xp, x, (taps, channels, channels_out) = array_module(x), widened(x), w.shape
    at = windows(x.shape[1], taps, stride, padding, outputs, most_rows(*w.shape))
    bulk, ends = frames(xp.ascontiguousarray(x), at, taps, stride, padding)
    w = w.reshape(taps * channels, channels_out)
    y = xp.empty((len(x), outputs, channels_out), x.dtype)
    # (..., rows, K·C) @ (K·C, O)
    xp.matmul(bulk, w, out=answers(y, at))
    y[:, at.ends] = ends @ w
    return y


def slope_in_x(y: Array, w: Array, stride: int, padding: int, length: int) -> Array:
    """Transposed convolution: x[n, s·l + k - p, c] = Σ_{l,k,o} w[k, c, o] · y[n, l, o], for a signal of `length`.

    Every s-th sample meets every s-th tap only, so each of the s phases is a convolution with those taps, reversed.
    """
    if stride == 1:
        return slope_in_y(y, w[::-1].swapaxes(1, 2), 1, len(w) - 1 - padding, length)
    y = widened(y)
    x = array_module(y).zeros((len(y), length, w.shape[1]), y.dtype)
    for phase in range(min(stride, len(w))):
        taps = w[phase::stride]
        first = -(-(padding - phase) // stride)  # windows before the one whose tap `phase` is the first sample inside
        samples = range(first * stride + phase - padding, length, stride)
        x[:, samples.start :: stride] = slope_in_x(y, taps, 1, first, len(samples))
    return x


def slope_in_w(x: Array, y: Array, kernel_size: int, stride: int, padding: int) -> Array:
    """Gradient of the filters: w[k, c, o] = Σ_{n,l} x[n, s·l + k - p, c] · y[n, l, o]."""
    xp, x, y, channels, channels_out = array_module(x), widened(x), widened(y), x.shape[2], y.shape[2]
    at = windows(x.shape[1], kernel_size, stride, padding, y.shape[1], most_rows(kernel_size, channels, channels_out))
    bulk, ends = frames(xp.ascontiguousarray(x), at, kernel_size, stride, padding)
    y = xp.ascontiguousarray(y)
    # (..., O, rows) @ (..., rows, K·C), summed over clips, products and groups
    w = (answers(y, at).swapaxes(3, 4) @ bulk).sum((0, 1, 2))
    w += (y[:, at.ends].swapaxes(1, 2) @ ends).sum(0)
    return w.reshape(channels_out, kernel_size, channels).transpose(1, 2, 0)


def add_bias(y: Array, b: Array) -> None:
    """y[n, l, o] += b[o], in place. Rows of up to 400 samples keep the inner loop long where O is small."""
    rows = math.gcd(y.shape[1], 400)
    y = y.reshape(len(y), y.shape[1] // rows, rows * y.shape[2])
    y += array_module(b).tile(b, rows)


def sum_over_samples(dy: Array) -> Array:
    """The gradient of a bias, db[o] = Σ_{n,l} dy[n, l, o], as a matrix product: much faster than a sum over rows."""
    xp, rows = array_module(dy), widened(dy).reshape(-1, dy.shape[2])
    return xp.ones(len(rows), rows.dtype) @ rows


def _check_sizes(name: str, sizes: dict[str, int], least: dict[str, int]) -> None:
    for size, value in sizes.items():
        bound = least.get(size, 1)
        require(
            isinstance(value, (int, np.integer)) and value >= bound,
            f"{name}: {size} must be an integer of at least {bound}; got {value!r}",
        )


def _parameters(weight: np.ndarray, channels: int, bias: bool, dtype: Any) -> dict[str, Array]:
    return {"weight": weight.astype(dtype)} | ({"bias": np.zeros(channels, dtype)} if bias else {})


def _describe(layer: Any) -> str:
    stride = f", s={layer.stride}" if layer.stride != 1 else ""
    padding = f", p={layer.padding}" if layer.padding else ""
    return (
        f"{type(layer).__name__}({layer.in_channels} -> {layer.out_channels}, k={layer.kernel_size}{stride}{padding})"
    )


class Conv1d:
    """Correlate signals with a bank of learned filters.

    y[n, l, o] = b[o] + Σ_{k,c} x[n, s·l + k - p, c] · w[k, c, o],    x outside of its L samples being 0

    Parameters
    ----------
    in_channels, out_channels : int > 0
        C and O.
    kernel_size : int > 0
        Filter length K [samples].
    stride : int > 0
        s: samples from one output to the next.
    padding : int >= 0
        p: zeros seen before the first and after the last sample.
    bias : bool
        False leaves b out.
    rng : numpy.random.Generator
        Where the initial weights are drawn from.
    initial : function (rng, shape) -> array
        One of nn1d.initial.
    dtype : float32 or float64
        Of the parameters. x may be float16: it is summed in float32, and y is rounded.

    Shapes
    ------
    x (N, L, C) -> y (N, ⌊(L + 2p - K) / s⌋ + 1, O); w (K, C, O); b (O,)

    Gradient
    --------
    dx[n, i, c] = Σ_{l,k,o: s·l + k - p = i} w[k, c, o] · dy[n, l, o]
    dw[k, c, o] = Σ_{n,l} x[n, s·l + k - p, c] · dy[n, l, o]
    db[o] = Σ_{n,l} dy[n, l, o]

    Cache
    -----
    x itself: nothing is copied.

    Raises
    ------
    ShapeError
        A size is not a positive integer, x is not (N, L, C), or L + 2p < K.

    Source
    ------
    the paper's Eq. 1; Dumoulin and Visin 2016, arXiv:1603.07285. Same values as torch.nn.Conv1d on transposed arrays.
    """

    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        *,
        bias: bool = True,
        rng: np.random.Generator,
        initial: Initializer = glorot_uniform,
        dtype: Any = np.float32,
    ) -> None:
        sizes = {"in_channels": in_channels, "out_channels": out_channels, "kernel_size": kernel_size}
        _check_sizes("Conv1d", {**sizes, "stride": stride, "padding": padding}, {"padding": 0})
        weight = initial(rng, (kernel_size, in_channels, out_channels))
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel_size
        self.stride, self.padding = stride, padding
        self.parameters = _parameters(weight, out_channels, bias, dtype)

    __repr__ = _describe

    def forward(self, x: Array) -> tuple[Array, Array]:
        """(N, L, C) -> (N, outputs, O), and x."""
        require_signal(self, x, self.in_channels)
        if kernels.covers(self, x):
            return kernels.forward(self, x), x
        y = slope_in_y(x, self.parameters["weight"], self.stride, self.padding, self.outputs(x.shape[1]))
        if "bias" in self.parameters:
            add_bias(y, self.parameters["bias"])
        return y.astype(x.dtype, copy=False), x

    def backward(self, dy: Array, cache: Array) -> tuple[Array, dict[str, Array]]:
        """dx, and {"weight": dw, "bias": db}."""
        x, w = cache, self.parameters["weight"]
        require_like(self, dy, (len(x), self.outputs(x.shape[1]), self.out_channels), x.dtype)
        if kernels.covers(self, x):
            return kernels.backward(self, dy, x)
        dx = slope_in_x(dy, w, self.stride, self.padding, x.shape[1])
        grads = {"weight": slope_in_w(x, dy, self.kernel_size, self.stride, self.padding)}
        if "bias" in self.parameters:
            grads["bias"] = sum_over_samples(dy)
        return dx.astype(x.dtype, copy=False), grads

    def outputs(self, length: int) -> int:
        """How many samples come out of `length`."""
        room = length + 2 * self.padding - self.kernel_size
        require(
            room >= 0,
            f"{self!r}: needs at least {self.kernel_size - 2 * self.padding} samples; got {length}. "
            "Use a longer signal, a smaller kernel or more padding",
        )
        return room // self.stride + 1


class ConvTranspose1d:
    """Spread every sample over a window by learned filters: the transpose of the linear map that Conv1d is.

    y[n, s·l + k - p, o] = b[o] + Σ_{l,k,c} w[k, o, c] · x[n, l, c]

    Parameters
    ----------
    in_channels, out_channels : int > 0
        C and O.
    kernel_size : int > 0
        Filter length K [samples].
    stride : int > 0
        s: output samples from one input sample to the next.
    padding : int >= 0
        p: samples cut off at each end of the output.
    output_padding : int >= 0, smaller than stride
        Samples added at the end: several lengths give the same length under Conv1d, and this says which one is meant.
    bias, rng, initial, dtype
        As for Conv1d.

    Shapes
    ------
    x (N, L, C) -> y (N, (L - 1)·s - 2p + K + output_padding, O); w (K, O, C): the filters of the Conv1d(O -> C) whose
    transpose this is; b (O,)

    Gradient
    --------
    dx[n, l, c] = Σ_{k,o} dy[n, s·l + k - p, o] · w[k, o, c]        a convolution
    dw[k, o, c] = Σ_{n,l} dy[n, s·l + k - p, o] · x[n, l, c]
    db[o] = Σ_{n,l} dy[n, l, o]

    Cache
    -----
    x itself: nothing is copied.

    Raises
    ------
    ShapeError
        A size is not a positive integer, output_padding is not smaller than the stride, x is not (N, L, C), or nothing
        of the output would be left.

    Source
    ------
    the paper's Eq. 2; Dumoulin and Visin 2016, arXiv:1603.07285, section 4. Same values as torch.nn.ConvTranspose1d on
    transposed arrays.
    """

    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        output_padding: int = 0,
        *,
        bias: bool = True,
        rng: np.random.Generator,
        initial: Initializer = glorot_uniform,
        dtype: Any = np.float32,
    ) -> None:
        sizes = {"in_channels": in_channels, "out_channels": out_channels, "kernel_size": kernel_size}
        sizes |= {"stride": stride, "padding": padding, "output_padding": output_padding}
        _check_sizes("ConvTranspose1d", sizes, {"padding": 0, "output_padding": 0})
        require(
            output_padding < stride,
            f"ConvTranspose1d: output_padding must be smaller than the stride, {stride}; got {output_padding}",
        )
        # drawn as (K, C, O), so that fan_in counts what an output is the sum of
        weight = initial(rng, (kernel_size, in_channels, out_channels)).swapaxes(1, 2)
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel_size
        self.stride, self.padding = stride, padding
        self.parameters = _parameters(weight, out_channels, bias, dtype)
        self.output_padding = output_padding

    __repr__ = _describe

    def forward(self, x: Array) -> tuple[Array, Array]:
        """(N, L, C) -> (N, outputs, O), and x."""
        require_signal(self, x, self.in_channels)
        if kernels.covers(self, x):
            return kernels.forward(self, x), x
        y = slope_in_x(x, self.parameters["weight"], self.stride, self.padding, self.outputs(x.shape[1]))
        if "bias" in self.parameters:
            add_bias(y, self.parameters["bias"])
        return y.astype(x.dtype, copy=False), x

    def backward(self, dy: Array, cache: Array) -> tuple[Array, dict[str, Array]]:
        """dx, and {"weight": dw, "bias": db}."""
        x, w = cache, self.parameters["weight"]
        require_like(self, dy, (len(x), self.outputs(x.shape[1]), self.out_channels), x.dtype)
        if kernels.covers(self, x):
            return kernels.backward(self, dy, x)
        dx = slope_in_y(dy, w, self.stride, self.padding, x.shape[1])
        grads = {"weight": slope_in_w(dy, x, self.kernel_size, self.stride, self.padding)}
        if "bias" in self.parameters:
            grads["bias"] = sum_over_samples(dy)
        return dx.astype(x.dtype, copy=False), grads

    def outputs(self, length: int) -> int:
        """How many samples come out of `length`."""
        outputs = (length - 1) * self.stride - 2 * self.padding + self.kernel_size + self.output_padding
        require(
            length > 0 and outputs > 0,
            f"{self!r}: {length} samples would give {outputs}. Use a longer signal, a larger kernel or less padding",
        )
        return outputs
