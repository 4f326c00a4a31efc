"""Elementwise maps."""

from __future__ import annotations

import math

from nn1d.backend import Array, array_module, masked
from nn1d.dispatch import accelerated
from nn1d.layer import require, require_floats, require_like, require_number


@accelerated
def elu_forward(x: Array, alpha: float) -> Array:
    """y = x where x > 0, else α·(exp(x) - 1)."""
    xp = array_module(x)
    y = xp.clip(x, -math.inf, 0)  # three times as fast as minimum
    expm1(y)
    if alpha != 1:
        y *= alpha
    if alpha <= 1:
        xp.maximum(x, y, out=y)  # exp(x) - 1 ≥ x: the line is the lower of the two below 0
    else:
        y += xp.clip(x, 0, math.inf)
    return y


@accelerated
def elu_backward(dy: Array, y: Array, alpha: float) -> Array:
    """dx = dy·(1 where y > 0, else y + α)."""
    dx = array_module(y).clip(y, -math.inf, 0)
    dx += alpha
    if alpha != 1:
        dx[y > 0] = 1
    dx *= dy
    return dx


@accelerated
def expm1(x: Array) -> None:
    """x = exp(x) - 1, in place, with its relative precision near 0; x ≤ 0."""
    array_module(x).expm1(x, out=x)


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

    Raises
    ------
    ShapeError
        alpha is not positive, or x is not an array of floats.

    Source
    ------
    Clevert et al. 2016, arXiv:1511.07289, Eq. 15. Same values as torch.nn.ELU.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        number = require_number("ELU", "alpha", alpha)
        require(alpha > 0, f"ELU: alpha must be positive; got {alpha!r}")
        self.alpha = number
        self.parameters: dict[str, Array] = {}

    def __repr__(self) -> str:
        return f"ELU({self.alpha:g})"

    def forward(self, x: Array) -> tuple[Array, Array]:
        """y, twice: the output, and what backward needs."""
        require_floats(self, x)
        y = elu_forward(x, self.alpha)
        return y, y

    def backward(self, dy: Array, cache: Array) -> tuple[Array, dict[str, Array]]:
        """dx = dy·(1 where y > 0, else y + α)."""
        y = cache
        require_like(self, dy, y.shape, y.dtype)
        return elu_backward(dy, y, self.alpha), {}


class HardSigmoid:
    """A sigmoid of three straight lines.

    y = clip(0.2·x + 0.5, 0, 1)

    Shapes
    ------
    x of any shape with an axis -> y of the same shape

    Gradient
    --------
    dx = 0.2·dy where 0 < y < 1, else 0, even if dy is NaN or infinite

    Cache
    -----
    y

    Raises
    ------
    ShapeError
        x is not an array of floats.

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
        return masked(dx, (y > 0) & (y < 1), out=dx), {}


class ReLU:
    """Rectified linear unit: what is positive passes, the rest is 0.

    y = max(x, 0)

    Shapes
    ------
    x of any shape with an axis -> y of the same shape

    Gradient
    --------
    dx = dy where x > 0, else 0

    Cache
    -----
    y: the next layer holds it as well.

    Raises
    ------
    ShapeError
        x is not an array of floats.

    Source
    ------
    Nair and Hinton 2010, "Rectified linear units improve restricted Boltzmann machines". Same values as torch.nn.ReLU.
    """

    def __init__(self) -> None:
        self.parameters: dict[str, Array] = {}

    def __repr__(self) -> str:
        return "ReLU()"

    def forward(self, x: Array) -> tuple[Array, Array]:
        """y = max(x, 0), twice: the output, and what backward needs."""
        require_floats(self, x)
        y = array_module(x).clip(x, 0, math.inf)
        return y, y

    def backward(self, dy: Array, cache: Array) -> tuple[Array, dict[str, Array]]:
        """dx = dy where y > 0, else 0."""
        y = cache
        require_like(self, dy, y.shape, y.dtype)
        return masked(dy, y > 0), {}


class LeakyReLU:
    """ReLU that lets a small part of what is negative pass, so that no gradient is ever 0.

    y = x where x > 0, else a·x

    Parameters
    ----------
    negative_slope : float in (0, 1)
        a

    Shapes
    ------
    x of any shape with an axis -> y of the same shape

    Gradient
    --------
    dx = dy where x > 0, else a·dy

    Cache
    -----
    y: the next layer holds it as well. It has the sign of x.

    Raises
    ------
    ShapeError
        negative_slope is not between 0 and 1, or x is not an array of floats.

    Source
    ------
    Maas et al. 2013, "Rectifier nonlinearities improve neural network acoustic models". Same values as
    torch.nn.LeakyReLU.
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        number = require_number("LeakyReLU", "negative_slope", negative_slope)
        require(0 < negative_slope < 1, f"LeakyReLU: negative_slope must be between 0 and 1; got {negative_slope!r}")
        self.negative_slope = number
        self.parameters: dict[str, Array] = {}

    def __repr__(self) -> str:
        return f"LeakyReLU({self.negative_slope:g})"

    def forward(self, x: Array) -> tuple[Array, Array]:
        """y = max(x, a·x), twice."""
        require_floats(self, x)
        y = array_module(x).maximum(x, x * self.negative_slope)
        return y, y

    def backward(self, dy: Array, cache: Array) -> tuple[Array, dict[str, Array]]:
        """dx = dy where y > 0, else a·dy."""
        y = cache
        require_like(self, dy, y.shape, y.dtype)
        return array_module(y).where(y > 0, dy, dy * self.negative_slope), {}


class Sigmoid:
    """The logistic function: any number becomes one between 0 and 1.

    y = 1 / (1 + exp(-x))

    Shapes
    ------
    x of any shape with an axis -> y of the same shape

    Gradient
    --------
    dx = dy·y·(1 - y)

    Cache
    -----
    y: the next layer holds it as well.

    Raises
    ------
    ShapeError
        x is not an array of floats.

    Source
    ------
    Verhulst 1845; as an activation Rumelhart et al. 1986, "Learning representations by back-propagating errors". Same
    values as torch.nn.Sigmoid.
    """

    def __init__(self) -> None:
        self.parameters: dict[str, Array] = {}

    def __repr__(self) -> str:
        return "Sigmoid()"

    def forward(self, x: Array) -> tuple[Array, Array]:
        """y = 1 / (1 + exp(-x)), or the same times exp(x) / exp(x) where x < 0: no exponential overflows."""
        require_floats(self, x)
        xp = array_module(x)
        small = xp.exp(-xp.abs(x))
        y = xp.where(x < 0, small, 1) / (1 + small)
        return y, y

    def backward(self, dy: Array, cache: Array) -> tuple[Array, dict[str, Array]]:
        """dx = dy·y·(1 - y)."""
        y = cache
        require_like(self, dy, y.shape, y.dtype)
        return dy * y * (1 - y), {}


class Tanh:
    """The hyperbolic tangent: any number becomes one between -1 and 1.

    y = (exp(x) - exp(-x)) / (exp(x) + exp(-x))

    Shapes
    ------
    x of any shape with an axis -> y of the same shape

    Gradient
    --------
    dx = dy·(1 - y²)

    Cache
    -----
    y: the next layer holds it as well.

    Raises
    ------
    ShapeError
        x is not an array of floats.

    Source
    ------
    LeCun et al. 1998, "Efficient BackProp", section 4.4. Same values as torch.nn.Tanh.
    """

    def __init__(self) -> None:
        self.parameters: dict[str, Array] = {}

    def __repr__(self) -> str:
        return "Tanh()"

    def forward(self, x: Array) -> tuple[Array, Array]:
        """y = tanh x, twice."""
        require_floats(self, x)
        y = array_module(x).tanh(x)
        return y, y

    def backward(self, dy: Array, cache: Array) -> tuple[Array, dict[str, Array]]:
        """dx = dy·(1 - y²)."""
        y = cache
        require_like(self, dy, y.shape, y.dtype)
        return dy * (1 - y * y), {}
