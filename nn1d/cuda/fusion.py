"""On a GPU an ELU and the convolution behind it are one kernel: the ELU costs no memory and no time of its own.

`fuse` rewrites a network once, where the GPU is set up. What it gives has the same parameters and the same layers under
the same names, and computes the same on every array; where kernels are switched off or do not fit, layer by layer.
"""

from __future__ import annotations

import copy
from typing import Any, TypeVar

from nn1d.activation import ELU
from nn1d.backend import Array
from nn1d.conv import Conv1d, ConvTranspose1d
from nn1d.cuda import convolution as kernels
from nn1d.layer import Layer, Tree, require_like, require_signal
from nn1d.residual import ResidualBlock
from nn1d.sequential import Sequential

Network = TypeVar("Network")


class Activated:
    """An ELU and the convolution behind it, as one layer.

    y = r + b + w * ELU(x),    * the map of the convolution, r a signal to add or nothing

    Parameters
    ----------
    activation : ELU
    convolution : Conv1d or ConvTranspose1d
        One whose filters nn1d.cuda.convolution.fits_shape.

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
        """The output, and x."""
        layer, parameters = self.convolution, self.convolution.parameters
        require_signal(layer, x, layer.in_channels)
        if not kernels.fits(x, parameters["weight"], layer.stride):
            a, _ = self.activation.forward(x)
            y, _ = layer.forward(a)
            return y if plus is None else y + plus, x
        y = kernels.convolve(
            x,
            parameters["weight"],
            self._padding(forwards=True),
            layer.outputs(x.shape[1]),
            backwards=layer.transposed,
            b=parameters.get("bias"),
            alpha=self.activation.alpha,
            plus=plus,
        )
        return y, x

    def backward(self, dy: Array, cache: Array, plus: Array | None = None) -> tuple[Array, dict[str, Array]]:
        """dx, and {"weight": dw, "bias": db}."""
        x, layer, parameters, alpha = cache, self.convolution, self.convolution.parameters, self.activation.alpha
        require_like(layer, dy, (len(x), layer.outputs(x.shape[1]), layer.out_channels), x.dtype)
        if not kernels.fits(x, parameters["weight"], layer.stride):
            a, kept = self.activation.forward(x)
            da, grads = layer.backward(dy, a)
            dx, _ = self.activation.backward(da, kept)
            return dx if plus is None else dx + plus, grads
        dx = kernels.convolve(
            dy,
            parameters["weight"],
            self._padding(forwards=False),
            x.shape[1],
            backwards=not layer.transposed,
            activated=x,
            activated_alpha=alpha,
            plus=plus,
        )
        sizes = layer.kernel_size, layer.stride, layer.padding, layer.transposed, layer.dilation
        dw, db = kernels.parameter_gradients(x, dy, *sizes, alpha)
        return dx, {"weight": dw} | ({"bias": db} if "bias" in parameters else {})

    def _padding(self, forwards: bool) -> int:
        """Of the convolution that the layer, or its adjoint, is: one of the two meets its taps in the other order."""
        layer = self.convolution
        return layer.padding if forwards is not layer.transposed else layer.kernel_size - 1 - layer.padding


class FusedSequential(Sequential):
    """A Sequential that runs an ELU and the convolution behind it as one layer, by the name of the convolution."""

    def __init__(self, layers: dict[str, Layer]) -> None:
        super().__init__(**layers)
        steps: dict[str, Layer] = {}
        before = ""
        for name, layer in layers.items():
            activation = steps.get(before)
            if isinstance(activation, ELU) and isinstance(layer, (Conv1d, ConvTranspose1d)) and _fits(layer):
                del steps[before]
                steps[name] = Activated(activation, layer)
            else:
                steps[name] = layer
            before = name
        self.steps = Sequential(**steps)

    def forward(self, x: Array) -> tuple[Array, list[Any]]:
        """Down the list of steps."""
        return self.steps.forward(x)

    def backward(self, dy: Array, cache: list[Any]) -> tuple[Array, dict[str, Tree]]:
        """Up the list of steps."""
        return self.steps.backward(dy, cache)


class FusedResidualBlock(ResidualBlock):
    """A ResidualBlock of two steps, the second of which adds the input as well."""

    def __init__(self, body: Sequential) -> None:
        self.body = body
        steps: dict[str, Any] = FusedSequential(body.layers).steps.layers
        (self._first_name, self._first), (self._second_name, self._second) = steps.items()

    def forward(self, x: Array) -> tuple[Array, list[Any]]:
        """y = x + F(x)."""
        h, first = self._first.forward(x)
        y, second = self._second.forward(h, x)
        return y, [first, second]

    def backward(self, dy: Array, cache: list[Any]) -> tuple[Array, dict[str, Tree]]:
        """dx = dy + F'(x)ᵀ dy."""
        dh, second = self._second.backward(dy, cache[1])
        dx, first = self._first.backward(dh, cache[0], dy)
        return dx, {"body": {self._first_name: first, self._second_name: second}}


def fuse(network: Network) -> Network:
    """The network, rewritten for a GPU: each ELU with the convolution behind it is one step, residual sums ride along.

    Parameters are shared with the network that it is made of, which stays as it is, and so are layers, except where a
    part has a `for_fusion`: it then gives another form of itself, of which more can be fused.
    """
    rewritten: Network = _fuse(network)
    return rewritten


def _fuse(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: _fuse(child) for name, child in part.items()}
    if isinstance(part, list):
        return [_fuse(child) for child in part]
    if isinstance(part, ResidualBlock):
        return FusedResidualBlock(part.body) if all(map(_fits, list(part.body.layers.values())[1::2])) else part
    if isinstance(part, Sequential):
        return FusedSequential(_fuse(part.layers))
    if not hasattr(part, "layers"):
        return part
    if hasattr(part, "for_fusion"):
        part = part.for_fusion()
    fused = copy.copy(part)
    vars(fused).update({name: _fuse(child) for name, child in vars(part).items()})
    return fused


def _fits(layer: Any) -> bool:
    return layer.dilation == 1 and kernels.fits_shape(layer.parameters["weight"].shape, layer.stride)
