"""Max pooling, its transpose, plain upsampling, and averages.

A max pool over windows of s samples is a selection S: one True a window, at its maximum. MaxPool1d is S x,
MaxUnpool1d is Sᵀ x, and each is the other's backward. S is the mask that the pool returns and the unpool takes.
"""

from __future__ import annotations

import numpy as np

from nn1d.backend import Array, array_module, masked
from nn1d.dispatch import accelerated
from nn1d.index_cache import cached_indices
from nn1d.layer import ShapeError, require, require_array, require_like, require_signal, require_size


@cached_indices
def _side_by_side(length: int, size: int) -> np.ndarray:
    """The samples 0, s, 2s, ..., then 1, s + 1, ...: the first of every window, then the second of every window."""
    return np.arange(length).reshape(length // max(size, 1), size).T.ravel()


def split(x: Array, size: int) -> Array:
    """The windows of x with their i-th samples side by side: (N, size, L / size, C).

    A copy by whole rows, after which every operation on the windows runs over long rows: arithmetic in place on every
    second row of 16 numbers takes three times as long.
    """
    order = _side_by_side(x.shape[1], size)
    return x.take(order, axis=1).reshape(len(x), size, x.shape[1] // size, x.shape[2])


def join(windows: Array) -> Array:
    """What split makes the windows of."""
    clips, size, count, channels = windows.shape
    return windows.reshape(clips, size * count, channels).take(_side_by_side(size * count, count), axis=1)


@accelerated
def max_pool(x: Array, size: int) -> tuple[Array, Array]:
    """The maximum of each window, and True at the first sample that reaches it."""
    windows, xp = split(x, size), array_module(x)
    y = windows.max(1)
    marks = windows == y[:, None]
    free = xp.ones(y.shape, bool)  # windows whose maximum has not been met yet
    for i in range(size - 1):
        marks[:, i] &= free
        free ^= marks[:, i]
    marks[:, size - 1] = free  # the last takes what is left, so that even nan has a place
    return y, join(marks)


@accelerated
def maxima(x: Array, size: int) -> Array:
    """The maximum of each window."""
    return split(x, size).max(1)


@accelerated
def select(x: Array, mask: Array, size: int) -> Array:
    """S x: of each window the sample that the mask marks."""
    return sum_windows(masked(x, mask), size)


@accelerated
def place(x: Array, mask: Array, size: int) -> Array:
    """Sᵀ x: each sample where the mask marks its window, 0 elsewhere. A selection, never a scatter."""
    y = repeat(x, size)
    return masked(y, mask, out=y)


@accelerated
def repeat(x: Array, size: int) -> Array:
    """Each sample `size` times."""
    return x.repeat(size, axis=1)


@accelerated
def sum_windows(dy: Array, size: int) -> Array:
    """The sum of each window of `size` samples."""
    return split(dy, size).sum(1)


class MaxPool1d:
    """Keep the maximum of every window of `size` samples, and say where it was.

    y[n, l, c] = max_i x[n, s·l + i, c],    mask[n, s·l + i, c] = True at the first i that reaches it

    Parameters
    ----------
    size : int > 0
        s: window length and stride [samples].

    Shapes
    ------
    x (N, L, C) -> y (N, L / s, C), mask (N, L, C) bool with one True a window

    Gradient
    --------
    dx[n, s·l + i, c] = dy[n, l, c] where mask[n, s·l + i, c], 0 elsewhere, even if dy is NaN or infinite

    Cache
    -----
    the mask, N·L·C bytes. It is public: hand it to MaxUnpool1d.

    Raises
    ------
    ShapeError
        size is not a positive integer, x is not (N, L, C), or L is not a multiple of size.

    Source
    ------
    the paper's Eq. 3 and 4.
    """

    def __init__(self, size: int) -> None:
        self.size = require_size("MaxPool1d", "size", size)
        self.parameters: dict[str, Array] = {}

    def __repr__(self) -> str:
        return f"MaxPool1d({self.size})"

    def forward(self, x: Array) -> tuple[Array, Array]:
        """The maxima and their mask."""
        self._check(x)
        return max_pool(x, self.size)

    def maxima(self, x: Array) -> Array:
        """The maxima alone, for a network that only runs forward."""
        self._check(x)
        return maxima(x, self.size)

    def _check(self, x: Array) -> None:
        _require_windows(self, x, self.size)

    def backward(self, dy: Array, cache: Array) -> tuple[Array, dict[str, Array]]:
        """dx = Sᵀ dy."""
        mask = cache
        require_like(self, dy, (len(mask), mask.shape[1] // self.size, mask.shape[2]), None)
        return place(dy, mask, self.size), {}


class MaxUnpool1d:
    """Put every sample back where the pool found its maximum, and zeros elsewhere.

    y[n, s·l + i, c] = x[n, l, c] where mask[n, s·l + i, c], 0 elsewhere, even if x is NaN or infinite

    Parameters
    ----------
    size : int > 0
        s: samples out for one sample in.

    Shapes
    ------
    x (N, L, C), mask (N, s·L, C) -> y (N, s·L, C)

    Gradient
    --------
    dx[n, l, c] = dy[n, s·l + i, c] at the i that mask marks

    Cache
    -----
    the mask

    Raises
    ------
    ShapeError
        size is not a positive integer, x is not (N, L, C), or the mask is not (N, s·L, C) of bool.

    Source
    ------
    the paper's Eq. 5: upsampling times mask.
    """

    def __init__(self, size: int) -> None:
        self.size = require_size("MaxUnpool1d", "size", size)
        self.parameters: dict[str, Array] = {}

    def __repr__(self) -> str:
        return f"MaxUnpool1d({self.size})"

    def forward(self, x: Array, mask: Array) -> tuple[Array, Array]:
        """Sᵀ x, and the mask."""
        require_signal(self, x)
        shape = (len(x), self.size * x.shape[1], x.shape[2])
        require_array(self, mask, "the mask", "bool")
        require(
            mask.dtype == bool,
            f"{self!r}: the mask must be of bool, as a pool gives it; got {mask.dtype}. Convert it: mask.astype(bool)",
        )
        require(
            mask.shape == shape,
            f"{self!r}: the mask must be {shape} for x {x.shape}; got {mask.shape}. "
            "Take the mask of the pool that has as many channels and as many samples out",
        )
        return place(x, mask, self.size), mask

    def backward(self, dy: Array, cache: Array) -> tuple[Array, dict[str, Array]]:
        """dx = S dy."""
        mask = cache
        require_like(self, dy, mask.shape, None)
        return select(dy, mask, self.size), {}


class Upsample1d:
    """Repeat every sample: unpooling without a mask.

    y[n, f·l + i, c] = x[n, l, c],    i < f

    Parameters
    ----------
    factor : int > 0
        f: samples out for one sample in.

    Shapes
    ------
    x (N, L, C) -> y (N, f·L, C)

    Gradient
    --------
    dx[n, l, c] = Σ_i dy[n, f·l + i, c]

    Cache
    -----
    the shape of x

    Raises
    ------
    ShapeError
        factor is not a positive integer, or x is not (N, L, C).

    Source
    ------
    the paper, section 3.2 and Figure 1b. Same values as torch.nn.Upsample(mode="nearest").
    """

    def __init__(self, factor: int) -> None:
        self.factor = require_size("Upsample1d", "factor", factor)
        self.parameters: dict[str, Array] = {}

    def __repr__(self) -> str:
        return f"Upsample1d({self.factor})"

    def forward(self, x: Array) -> tuple[Array, tuple[int, ...]]:
        """Each sample f times, and the shape of x."""
        require_signal(self, x)
        return repeat(x, self.factor), x.shape

    def backward(self, dy: Array, cache: tuple[int, ...]) -> tuple[Array, dict[str, Array]]:
        """dx: the sum of each f samples."""
        clips, length, channels = cache
        require_like(self, dy, (clips, length * self.factor, channels), None)
        return sum_windows(dy, self.factor), {}


class AvgPool1d:
    """The mean of every window of `size` samples.

    y[n, l, c] = (1 / s) Σ_i x[n, s·l + i, c],    i < s

    Parameters
    ----------
    size : int > 0
        s: window length and stride [samples].

    Shapes
    ------
    x (N, L, C) -> y (N, L / s, C)

    Gradient
    --------
    dx[n, s·l + i, c] = dy[n, l, c] / s

    Cache
    -----
    the shape of x

    Raises
    ------
    ShapeError
        size is not a positive integer, x is not (N, L, C), or L is not a multiple of size.

    Source
    ------
    LeCun et al. 1998, "Gradient-based learning applied to document recognition". Same values as torch.nn.AvgPool1d.
    """

    def __init__(self, size: int) -> None:
        self.size = require_size("AvgPool1d", "size", size)
        self.parameters: dict[str, Array] = {}

    def __repr__(self) -> str:
        return f"AvgPool1d({self.size})"

    def forward(self, x: Array) -> tuple[Array, tuple[int, ...]]:
        """The means, and the shape of x."""
        _require_windows(self, x, self.size)
        return sum_windows(x, self.size) / self.size, x.shape

    def backward(self, dy: Array, cache: tuple[int, ...]) -> tuple[Array, dict[str, Array]]:
        """dx: each dy / s, s times."""
        clips, length, channels = cache
        require_like(self, dy, (clips, length // self.size, channels), None)
        return repeat(dy / self.size, self.size), {}


class GlobalAveragePool1d:
    """The mean of each channel over all samples: what a classifier needs, of clips of any length.

    y[n, c] = (1 / L) Σ_l x[n, l, c]

    Shapes
    ------
    x (N, L, C) -> y (N, C)

    Gradient
    --------
    dx[n, l, c] = dy[n, c] / L

    Cache
    -----
    the shape of x

    Raises
    ------
    ShapeError
        x is not (N, L, C), or has no samples.

    Source
    ------
    Lin et al. 2014, "Network in network", arXiv:1312.4400, section 3.2. Same values as torch.nn.AdaptiveAvgPool1d(1).
    """

    def __init__(self) -> None:
        self.parameters: dict[str, Array] = {}

    def __repr__(self) -> str:
        return "GlobalAveragePool1d()"

    def forward(self, x: Array) -> tuple[Array, tuple[int, ...]]:
        """(N, L, C) -> (N, C), and the shape of x."""
        require_signal(self, x)
        require(x.shape[1] > 0, f"{self!r}: no samples have no mean; got {x.shape}")
        return x.mean(1), x.shape

    def backward(self, dy: Array, cache: tuple[int, ...]) -> tuple[Array, dict[str, Array]]:
        """dx: each dy / L, L times."""
        clips, length, channels = cache
        require_like(self, dy, (clips, channels), None)
        return repeat((dy / length)[:, None], length), {}


def _require_windows(layer: object, x: Array, size: int) -> None:
    require_signal(layer, x)
    length = x.shape[1]
    if length % size:
        nearest = ", ".join(str(m) for m in (length // size * size, -(-length // size) * size) if m)
        raise ShapeError(f"{layer!r}: the length must be a multiple of {size}; got {length}. Nearest: {nearest}")
