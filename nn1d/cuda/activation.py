"""ELU on a GPU: activation.cu."""

from __future__ import annotations

import numpy as np

from nn1d.backend import Array, array_module
from nn1d.cuda.kernel import launch, number, sums


def elu_forward(x: Array, alpha: float) -> Array:
    """y = x where x > 0, else α·(exp(x) - 1)."""
    return _elementwise("elu_forward", alpha, x)


def elu_backward(dy: Array, y: Array, alpha: float) -> Array:
    """dx = dy·(1 where y > 0, else y + α)."""
    return _elementwise("elu_backward", alpha, dy, y)


def _elementwise(kernel: str, alpha: float, *arrays: Array) -> Array:
    xp = array_module(arrays[0])
    given = [xp.ascontiguousarray(each) for each in arrays]
    x = given[0]
    result = xp.empty(x.shape, x.dtype)
    width = 4 if x.size % 4 == 0 and all(each.data.ptr % 16 == 0 for each in [*given, result]) else 1
    blocks = -(-x.size // (256 * width))
    kernel = f"{kernel}<{number(x)}, {width}>"
    launch(x, "activation", kernel, (blocks,), 256, *given, result, np.int64(x.size), sums(x).type(alpha))
    return result
