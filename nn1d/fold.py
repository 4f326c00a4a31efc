"""Folding neighbouring samples into channels, and back: a pool that drops nothing.

Also known as space-to-depth, pixel unshuffle, squeeze or, in a filter bank, the polyphase components. Where channels
come last the s samples of a window are neighbours in memory, and folding is a reshape. A map that only moves numbers
has its inverse for a transpose: each of the two layers is the other's backward, and undoes the other.
"""

from __future__ import annotations

from nn1d.backend import Array
from nn1d.layer import ShapeError, require, require_like, require_signal, require_size


class Fold1d:
    """Lay the samples of every window of `size` beside each other, as channels.

    y[n, l, i·C + c] = x[n, s·l + i, c],    i < s

    Parameters
    ----------
    size : int > 0
        s: window length and stride [samples].

    Shapes
    ------
    x (N, L, C) -> y (N, L / s, s·C)

    Gradient
    --------
    dx[n, s·l + i, c] = dy[n, l, i·C + c]

    Cache
    -----
    the shape of x

    Raises
    ------
    ShapeError
        size is not a positive integer, x is not (N, L, C), or L is not a multiple of size.

    Source
    ------
    the answer to the paper's question of how to restore all values of a pooling region (section 5); Shi et al. 2016,
    arXiv:1609.05158, the inverse of its Eq. 4. Same values as torch.nn.functional.pixel_unshuffle of one row, with the
    channels in the order (c, i).
    """

    def __init__(self, size: int) -> None:
        self.size = require_size("Fold1d", "size", size)
        self.parameters: dict[str, Array] = {}

    def __repr__(self) -> str:
        return f"Fold1d({self.size})"

    def forward(self, x: Array) -> tuple[Array, tuple[int, ...]]:
        """A reshape, and the shape of x."""
        require_signal(self, x)
        clips, length, channels = x.shape
        if length % self.size:
            below = length // self.size * self.size
            nearest = ", ".join(str(m) for m in (below, below + self.size) if m)
            needed = f"the length must be a multiple of {self.size}; got {length}"
            raise ShapeError(f"{self!r}: {needed}. Nearest: {nearest}")
        return x.reshape(clips, length // self.size, self.size * channels), x.shape

    def backward(self, dy: Array, cache: tuple[int, ...]) -> tuple[Array, dict[str, Array]]:
        """dx: dy, unfolded."""
        clips, length, channels = cache
        require_like(self, dy, (clips, length // self.size, self.size * channels), None)
        return dy.reshape(cache), {}


class Unfold1d:
    """Lay the channels of every sample behind each other, as `size` samples.

    y[n, s·l + i, c] = x[n, l, i·C + c],    i < s

    Parameters
    ----------
    size : int > 0
        s: samples out for one sample in.

    Shapes
    ------
    x (N, L, s·C) -> y (N, s·L, C)

    Gradient
    --------
    dx[n, l, i·C + c] = dy[n, s·l + i, c]

    Cache
    -----
    the shape of x

    Raises
    ------
    ShapeError
        size is not a positive integer, x is not (N, L, C), or its channels are not a multiple of size.

    Source
    ------
    Shi et al. 2016, arXiv:1609.05158, Eq. 4. Same values as torch.nn.functional.pixel_shuffle, as for Fold1d.
    """

    def __init__(self, size: int) -> None:
        self.size = require_size("Unfold1d", "size", size)
        self.parameters: dict[str, Array] = {}

    def __repr__(self) -> str:
        return f"Unfold1d({self.size})"

    def forward(self, x: Array) -> tuple[Array, tuple[int, ...]]:
        """A reshape, and the shape of x."""
        require_signal(self, x)
        clips, length, channels = x.shape
        require(
            channels % self.size == 0,
            f"{self!r}: the channels must be a multiple of {self.size}; got {channels}. "
            "Let the convolution before it have that many",
        )
        return x.reshape(clips, length * self.size, channels // self.size), x.shape

    def backward(self, dy: Array, cache: tuple[int, ...]) -> tuple[Array, dict[str, Array]]:
        """dx: dy, folded."""
        clips, length, channels = cache
        require_like(self, dy, (clips, length * self.size, channels // self.size), None)
        return dy.reshape(cache), {}
