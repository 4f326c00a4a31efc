"""On a GPU an ELU and the convolution behind it are one kernel: the ELU costs no memory and no time of its own."""

from __future__ import annotations

import numpy as np

from nn1d.activation import ELU
from nn1d.backend import Array, array_module
from nn1d.conv import Conv1d, ConvTranspose1d
from nn1d.cuda import convolution as kernels
from nn1d.layer import Layer, Tree, require_like, require_signal


class Activated:
    """An ELU and the convolution behind it, on arrays of a GPU.

    y = r + b + w * ELU(x),    * the map of the convolution, r a signal to add or nothing

    Parameters
    ----------
    activation : ELU
    convolution : Conv1d or ConvTranspose1d
        One that nn1d.cuda.convolution covers.

    Gradient
    --------
    dx = r' + ELU'(x)·(wᵀ * dy),    r' a gradient to add or nothing

    Cache
    -----
    x, before the ELU: somebody else holds it as well, as the input of a residual block or what a convolution gave.
    """

    def __init__(self, activation: ELU, convolution: Conv1d | ConvTranspose1d) -> None:
        self.activation, self.convolution = activation, convolution

    @property
    def parameters(self) -> dict[str, Tree]:
        """Those of the convolution."""
        return self.convolution.parameters

    def forward(self, x: Array, plus: Array | None = None) -> tuple[Array, Array]:
        """Y, and x."""
        require_signal(self.convolution, x, self.convolution.in_channels)
        return kernels.forward(self.convolution, x, self.activation.alpha, plus), x

    def backward(self, dy: Array, cache: Array, plus: Array | None = None) -> tuple[Array, dict[str, Array]]:
        """dx, and {"weight": dw, "bias": db}."""
        x, layer = cache, self.convolution
        require_like(layer, dy, (len(x), layer.outputs(x.shape[1]), layer.out_channels), x.dtype)
        return kernels.backward(layer, dy, x, self.activation.alpha, plus)


def fused(layers: dict[str, Layer], x: Array) -> dict[str, Layer]:
    """The layers as they run on arrays like x: on a GPU, an ELU and the convolution behind it are one layer.

    It goes by the name of the convolution. On the CPU the layers are what they are.
    """
    if array_module(x) is np:
        return layers
    found: dict[str, Layer] = {}
    before: tuple[str, Layer] | None = None
    for name, layer in layers.items():
        if (
            before is not None
            and isinstance(before[1], ELU)
            and isinstance(layer, (Conv1d, ConvTranspose1d))
            and kernels.covers(layer, x)
        ):
            del found[before[0]]
            found[name] = Activated(before[1], layer)
        else:
            found[name] = layer
        before = name, layer
    return found
