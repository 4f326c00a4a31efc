"""Elementwise maps."""

from __future__ import annotations

import math

from nn1d.backend import Array, array_module, vector_instructions
from nn1d.cuda import activation as kernels
from nn1d.cuda.kernel import has_kernels
from nn1d.layer import require, require_floats, require_like

# NumPy has expm1 in vector instructions for AVX-512 only; elsewhere the plain one takes twenty times as long as exp
EXPM1_IS_FAST = vector_instructions("expm1").startswith(("X86_V4", "AVX512"))


class ELU:
    """Exponential linear unit: the identity above 0, an exponential that settles at -α below.

    y = x where x > 0, else α·(exp(x) - 1)

    Parameters
    ----------
    alpha : float > 0

    Shapes
    ------
    x of any shape with an axis -> y of the same shape

    Gradient
    --------
    dx = dy·(1 where x > 0, else y + α)

    Cache
    -----
    y: the next layer holds it as well.

    Source
    ------
    Clevert et al. 2016, arXiv:1511.07289, Eq. 15. Same values as torch.nn.ELU.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        require(alpha > 0, f"ELU: alpha must be positive; got {alpha!r}")
        self.alpha = float(alpha)
        self.parameters: dict[str, Array] = {}

    def __repr__(self) -> str:
        return f"ELU({self.alpha:g})"

    def forward(self, x: Array) -> tuple[Array, Array]:
        """y = α·(exp(min(x, 0)) - 1), and x where that is above 0, and y."""
        require_floats(self, x)
        if has_kernels(x):
            y = kernels.elu_forward(x, self.alpha)
            return y, y
        xp = array_module(x)
        y = xp.clip(x, -math.inf, 0)  # three times as fast as minimum
        if EXPM1_IS_FAST:
            xp.expm1(y, out=y)
        else:
            xp.exp(y, out=y)
            y -= 1
        if self.alpha != 1:
            y *= self.alpha
        if self.alpha <= 1:
            xp.maximum(x, y, out=y)  # exp(x) - 1 ≥ x: the line is the lower of the two below 0
        else:
            y += xp.clip(x, 0, math.inf)
        return y, y

    def backward(self, dy: Array, cache: Array) -> tuple[Array, dict[str, Array]]:
        """dx = dy·slope with slope = min(y, 0) + α below 0 and 1 above."""
        y = cache
        require_like(self, dy, y.shape, y.dtype)
        if has_kernels(dy, y):
            return kernels.elu_backward(dy, y, self.alpha), {}
        xp = array_module(y)
        slope = xp.clip(y, -math.inf, 0)
        slope += self.alpha
        if self.alpha != 1:
            slope[y > 0] = 1
        slope *= dy
        return slope, {}


class HardSigmoid:
    """A sigmoid of three straight lines.

    y = clip(0.2·x + 0.5, 0, 1)

    Shapes
    ------
    x of any shape with an axis -> y of the same shape

    Gradient
    --------
    dx = 0.2·dy where 0 < y < 1, else 0

    Cache
    -----
    y

    Source
    ------
    Courbariaux et al. 2015, arXiv:1511.00363, in the form of Keras 1 and 2 (slope 0.2; PyTorch's has slope 1/6).
    """

    def __init__(self) -> None:
        self.parameters: dict[str, Array] = {}

    def __repr__(self) -> str:
        return "HardSigmoid()"

    def forward(self, x: Array) -> tuple[Array, Array]:
        """y = clip(0.2·x + 0.5, 0, 1), and y."""
        require_floats(self, x)
        y = x * 0.2
        y += 0.5
        array_module(x).clip(y, 0, 1, out=y)
        return y, y

    def backward(self, dy: Array, cache: Array) -> tuple[Array, dict[str, Array]]:
        """dx = 0.2·dy inside, 0 where y was clipped."""
        y = cache
        require_like(self, dy, y.shape, y.dtype)
        dx = dy * 0.2
        dx *= (y > 0) & (y < 1)
        return dx, {}
