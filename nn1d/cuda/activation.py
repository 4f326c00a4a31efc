"""ELU on a GPU: activation.cu."""

from __future__ import annotations

import numpy as np

from nn1d.backend import Array, array_module
from nn1d.cuda.kernel import has_kernels, launch, number, sums
from nn1d.dispatch import register


@register("elu_forward")
def elu_forward(x: Array, alpha: float) -> Array:
    """Stands for nn1d.activation.elu_forward: y = x where x > 0, else α·(exp(x) - 1)."""
    return _elementwise("elu_forward", alpha, x)


@register("elu_backward")
def elu_backward(dy: Array, y: Array, alpha: float) -> Array:
    """Stands for nn1d.activation.elu_backward: dx = dy·(1 where y > 0, else y + α)."""
    return _elementwise("elu_backward", alpha, dy, y)


def _elementwise(kernel: str, alpha: float, *arrays: Array) -> Array:
    if not has_kernels(*arrays):
        return NotImplemented
    xp = array_module(arrays[0])
    arrays = tuple(xp.ascontiguousarray(x) for x in arrays)
    x = arrays[0]
    result = xp.empty(x.shape, x.dtype)
    width = 4 if x.size % 4 == 0 and all(x.data.ptr % 16 == 0 for x in (*arrays, result)) else 1
    launch(
        x,
        "activation",
        f"{kernel}<{number(x)}, {width}>",
        grid=(-(-x.size // (256 * width)),),
        threads=256,
        arguments=(*arrays, result, np.int64(x.size), sums(x).type(alpha)),
    )
    return result
