"""The residual block of the paper."""

from __future__ import annotations

from typing import Any

import numpy as np

from nn1d.activation import ELU
from nn1d.backend import Array
from nn1d.conv import Conv1d, ConvTranspose1d
from nn1d.initial import Initializer, glorot_uniform
from nn1d.layer import Layer, Tree, generator, parameters_of, require
from nn1d.sequential import Sequential


class ResidualBlock:
    """Add to a signal what two filter banks, each behind an ELU, make of it.

    y = x + F(x),    F = ELU, convolution, ELU, convolution

    Parameters
    ----------
    channels : int > 0
        As many out as in.
    kernel_size : odd int > 0
        Filter length [samples]; the length of the signal is kept.
    convolution : Conv1d or ConvTranspose1d
        The class of the two layers inside.
    alpha : float > 0
        Of the ELUs.
    rng : numpy.random.Generator or int
        Where the initial weights are drawn from, or a seed.
    initial, last_initial : function (rng, shape) -> array
        For the first and for the last filter bank; a small last one makes a new block nearly an identity.
    dtype : float32 or float64

    Shapes
    ------
    x (N, L, C) -> y (N, L, C)

    Gradient
    --------
    dx = dy + F'(x)ᵀ dy: through the sum the gradient arrives whole, whatever F does.

    Cache
    -----
    the outputs of the two ELUs: 8·N·L·C bytes in float32

    Raises
    ------
    ShapeError
        kernel_size is even, or what the layers inside raise.

    Source
    ------
    the paper's Eq. 6 and Figure 2; He et al. 2016, "Identity mappings in deep residual networks", arXiv:1603.05027.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int = 3,
        *,
        convolution: type[Conv1d] | type[ConvTranspose1d] = Conv1d,
        alpha: float = 1.0,
        rng: np.random.Generator | int,
        initial: Initializer = glorot_uniform,
        last_initial: Initializer | None = None,
        dtype: Any = np.float32,
    ) -> None:
        require(
            isinstance(kernel_size, (int, np.integer)) and kernel_size % 2 == 1,
            f"ResidualBlock: kernel_size must be odd, to keep the length; got {kernel_size!r}",
        )
        rng, padding = generator("ResidualBlock", rng), int(kernel_size) // 2
        self.body = Sequential(
            ELU(alpha),
            convolution(channels, channels, kernel_size, 1, padding, rng=rng, initial=initial, dtype=dtype),
            ELU(alpha),
            convolution(
                channels, channels, kernel_size, 1, padding, rng=rng, initial=last_initial or initial, dtype=dtype
            ),
        )

    def __repr__(self) -> str:
        return f"ResidualBlock({self.body!r})"

    @property
    def layers(self) -> dict[str, Layer]:
        """F, as "body"."""
        return {"body": self.body}

    @property
    def parameters(self) -> dict[str, Tree]:
        """Those of F, under "body"."""
        return parameters_of(self.layers)

    def forward(self, x: Array) -> tuple[Array, list[Any]]:
        """y = x + F(x)."""
        y, cache = self.body.forward(x)
        y += x  # in place: a convolution keeps its input, so nobody else holds y
        return y, cache

    def backward(self, dy: Array, cache: list[Any]) -> tuple[Array, dict[str, Tree]]:
        """dx = dy + F'(x)ᵀ dy."""
        dx, grads = self.body.backward(dy, cache)
        dx += dy  # in place: dx was made by the first ELU for this sum alone
        return dx, {"body": grads}
