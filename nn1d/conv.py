"""Convolution, transposed convolution and their gradients: one form, three faces.

    T(x, w, y) = Σ_{n,l,k,c,o}  x[n, s·l + d·k - p, c] · w[k, c, o] · y[n, l, o]

is linear in each of x, w and y. Its gradient in y is the convolution, its gradient in x the transposed convolution,
its gradient in w that of the filters. Every forward and every backward here is one of the three. They are written to be
read, one tap k after the other; faster forms of them are in nn1d/cpu.py, and for a GPU in nn1d/cuda.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from nn1d.backend import Array, array_module
from nn1d.dispatch import accelerated
from nn1d.initial import Initializer, glorot_uniform
from nn1d.layer import drawn, require, require_dtype, require_like, require_signal, require_size


@accelerated(half="rounded")
def convolve(
    x: Array, w: Array, stride: int, padding: int, outputs: int, b: Array | None = None, dilation: int = 1
) -> Array:
    """y[n, l, o] = b[o] + Σ_{k,c} x[n, s·l + d·k - p, c] · w[k, c, o], for l < outputs."""
    x, y = padded(x, padding), array_module(x).zeros((len(x), outputs, w.shape[2]), x.dtype)
    for k in range(len(w)):
        y += x[:, dilation * k : dilation * k + stride * outputs : stride] @ w[k]
    return y if b is None else y + b


@accelerated(half="rounded")
def convolve_transposed(
    y: Array, w: Array, stride: int, padding: int, length: int, b: Array | None = None, dilation: int = 1
) -> Array:
    """x[n, s·l + d·k - p, c] = b[c] + Σ_{l,k,o} w[k, c, o] · y[n, l, o], for a signal of `length`: the adjoint."""
    x = array_module(y).zeros((len(y), length + 2 * padding, w.shape[1]), y.dtype)
    for k in range(len(w)):
        x[:, dilation * k : dilation * k + stride * y.shape[1] : stride] += y @ w[k].T
    x = x[:, padding : padding + length]
    return x if b is None else x + b


@accelerated(half="widened")
def filter_gradient(x: Array, y: Array, kernel_size: int, stride: int, padding: int, dilation: int = 1) -> Array:
    """w[k, c, o] = Σ_{n,l} x[n, s·l + d·k - p, c] · y[n, l, o]."""
    x, span = padded(x, padding), stride * y.shape[1]
    taps = [x[:, dilation * k : dilation * k + span : stride].swapaxes(1, 2) @ y for k in range(kernel_size)]
    return array_module(x).stack([tap.sum(0) for tap in taps])


@accelerated(half="widened")
def bias_gradient(dy: Array) -> Array:
    """db[o] = Σ_{n,l} dy[n, l, o]."""
    return dy.sum((0, 1))


@accelerated(half="widened")
def parameter_gradients(
    x: Array, dy: Array, kernel_size: int, stride: int, padding: int, transposed: bool, dilation: int = 1
) -> tuple[Array, Array]:
    """The gradients dw and db of a Conv1d, or of a ConvTranspose1d, in which input and output change places."""
    signals = (dy, x) if transposed else (x, dy)
    return filter_gradient(*signals, kernel_size, stride, padding, dilation), bias_gradient(dy)


def padded(x: Array, padding: int) -> Array:
    """x with zeros before its first and after its last sample."""
    clips, length, channels = x.shape
    wide = array_module(x).zeros((clips, length + 2 * padding, channels), x.dtype)
    wide[:, padding : padding + length] = x
    return wide


class _FilterBank:
    """What Conv1d and ConvTranspose1d share: the map forwards, its adjoint backwards."""

    transposed: ClassVar[bool]
    _map: ClassVar[Callable[..., Array]]
    _adjoint: ClassVar[Callable[..., Array]]
    in_channels: int
    out_channels: int
    kernel_size: int
    stride: int
    padding: int
    dilation: int = 1
    parameters: dict[str, Array]

    def __repr__(self) -> str:
        channels = f"{self.in_channels} -> {self.out_channels}"
        stride = f", s={self.stride}" if self.stride != 1 else ""
        padding = f", p={self.padding}" if self.padding else ""
        dilation = f", d={self.dilation}" if self.dilation != 1 else ""
        return f"{type(self).__name__}({channels}, k={self.kernel_size}{stride}{padding}{dilation})"

    def outputs(self, length: int) -> int:
        """How many samples come out of `length`."""
        raise NotImplementedError

    def forward(self, x: Array) -> tuple[Array, Array]:
        """(N, L, C) -> (N, outputs, O), and x."""
        require_signal(self, x, self.in_channels)
        w, b = self.parameters["weight"], self.parameters.get("bias")
        y = self._map(x, w, self.stride, self.padding, self.outputs(x.shape[1]), b, self.dilation)
        return y.astype(x.dtype, copy=False), x

    def backward(self, dy: Array, cache: Array) -> tuple[Array, dict[str, Array]]:
        """dx, and {"weight": dw, "bias": db}."""
        x, w = cache, self.parameters["weight"]
        require_like(self, dy, (len(x), self.outputs(x.shape[1]), self.out_channels), x.dtype)
        dx = self._adjoint(dy, w, self.stride, self.padding, x.shape[1], None, self.dilation)
        sizes = self.kernel_size, self.stride, self.padding, self.transposed, self.dilation
        dw, db = parameter_gradients(x, dy, *sizes)
        return dx, {"weight": dw} | ({"bias": db} if "bias" in self.parameters else {})


def _check_sizes(name: str, sizes: dict[str, int], least: dict[str, int]) -> None:
    for size, value in sizes.items():
        require_size(name, size, value, least.get(size, 1))


def _parameters(weight: np.ndarray, channels: int, bias: bool, dtype: Any) -> dict[str, Array]:
    return {"weight": weight.astype(dtype)} | ({"bias": np.zeros(channels, dtype)} if bias else {})


class Conv1d(_FilterBank):
    """Correlate signals with a bank of learned filters.

    y[n, l, o] = b[o] + Σ_{k,c} x[n, s·l + d·k - p, c] · w[k, c, o],    x outside of its L samples being 0

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
    dilation : int > 0
        d: samples from one tap to the next. Above 1 only the plain form fits, which is slower.
    bias : bool
        False leaves b out.
    rng : numpy.random.Generator or int
        Where the initial weights are drawn from, or the seed of a generator for this layer alone.
    initial : function (rng, shape) -> array
        One of nn1d.initial.
    dtype : float32 or float64
        Of the parameters. x may be float16: it is summed in float32, and y is rounded.

    Shapes
    ------
    x (N, L, C) -> y (N, ⌊(L + 2p - d·(K - 1) - 1) / s⌋ + 1, O); w (K, C, O); b (O,)

    Gradient
    --------
    dx[n, i, c] = Σ_{l,k,o: s·l + d·k - p = i} w[k, c, o] · dy[n, l, o]
    dw[k, c, o] = Σ_{n,l} x[n, s·l + d·k - p, c] · dy[n, l, o]
    db[o] = Σ_{n,l} dy[n, l, o]

    Cache
    -----
    x itself: nothing is copied.

    Raises
    ------
    ShapeError
        A size is not a positive integer, dtype, rng or initial is none of those, x is not (N, L, C), or
        L + 2p < d·(K - 1) + 1.

    Source
    ------
    the paper's Eq. 1; Dumoulin and Visin 2016, arXiv:1603.07285. Same values as torch.nn.Conv1d on transposed arrays.
    """

    transposed = False
    _map, _adjoint = staticmethod(convolve), staticmethod(convolve_transposed)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        *,
        bias: bool = True,
        rng: np.random.Generator | int,
        initial: Initializer = glorot_uniform,
        dtype: Any = np.float32,
    ) -> None:
        sizes = {"in_channels": in_channels, "out_channels": out_channels, "kernel_size": kernel_size}
        _check_sizes("Conv1d", {**sizes, "stride": stride, "padding": padding, "dilation": dilation}, {"padding": 0})
        require_dtype("Conv1d", dtype)
        weight = drawn("Conv1d", initial, rng, (kernel_size, in_channels, out_channels))
        self.in_channels, self.out_channels, self.kernel_size = int(in_channels), int(out_channels), int(kernel_size)
        self.stride, self.padding, self.dilation = int(stride), int(padding), int(dilation)
        self.parameters = _parameters(weight, out_channels, bias, dtype)

    def outputs(self, length: int) -> int:
        """How many samples come out of `length`."""
        seen = self.dilation * (self.kernel_size - 1) + 1  # from the first tap to the last
        room = length + 2 * self.padding - seen
        require(
            room >= 0,
            f"{self!r}: needs at least {seen - 2 * self.padding} samples; got {length}. "
            "Use a longer signal, a smaller kernel or more padding",
        )
        return room // self.stride + 1


class ConvTranspose1d(_FilterBank):
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
        A size is not a positive integer, output_padding is not smaller than the stride, dtype, rng or initial is none
        of those, x is not (N, L, C), or nothing of the output would be left.

    Source
    ------
    the paper's Eq. 2; Dumoulin and Visin 2016, arXiv:1603.07285, section 4. Same values as torch.nn.ConvTranspose1d on
    transposed arrays.
    """

    transposed = True
    _map, _adjoint = staticmethod(convolve_transposed), staticmethod(convolve)

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
        rng: np.random.Generator | int,
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
        require_dtype("ConvTranspose1d", dtype)
        # drawn as (K, C, O), so that fan_in counts what an output is the sum of
        weight = drawn("ConvTranspose1d", initial, rng, (kernel_size, in_channels, out_channels)).swapaxes(1, 2)
        self.in_channels, self.out_channels, self.kernel_size = int(in_channels), int(out_channels), int(kernel_size)
        self.stride, self.padding = int(stride), int(padding)
        self.parameters = _parameters(weight, out_channels, bias, dtype)
        self.output_padding = int(output_padding)

    def outputs(self, length: int) -> int:
        """How many samples come out of `length`."""
        outputs = (length - 1) * self.stride - 2 * self.padding + self.kernel_size + self.output_padding
        require(
            length > 0 and outputs > 0,
            f"{self!r}: {length} samples would give {outputs}. Use a longer signal, a larger kernel or less padding",
        )
        return outputs
