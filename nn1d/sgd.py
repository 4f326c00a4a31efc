"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from nn1d.backend import Array, array_module
from nn1d.layer import require, require_number
from nn1d.optimizer import Stepped


class SGD:
    """Move parameters against their gradient, or with momentum against a sum of gradients that fades.

    g = gradient + λ·p
    v = μ·v + g                             velocity, started at 0
    p = p - η·v

    Parameters
    ----------
    learning_rate : float
        η; may be changed between steps.
    momentum : float in [0, 1)
        μ: how much of the velocity is left a step later; 0 is plain descent.
    weight_decay : float
        λ; 0 switches it off.

    Attributes
    ----------
    velocity : array or None
        v; None before the first step. It belongs to one array of parameters: another needs an SGD of its own.

    Raises
    ------
    ShapeError
        A setting is out of range, parameters or gradient are no arrays of floats, the gradient has another shape than
        the parameters, or these are not the array that was stepped before.

    Source
    ------
    Polyak 1964, "Some methods of speeding up the convergence of iteration methods"; Sutskever et al. 2013, "On the
    importance of initialization and momentum in deep learning". Same values as torch.optim.SGD.
    """

    def __init__(self, learning_rate: float = 0.01, momentum: float = 0.0, weight_decay: float = 0.0) -> None:
        for name, value in (("learning_rate", learning_rate), ("weight_decay", weight_decay)):
            require_number("SGD", name, value)
            require(value >= 0, f"SGD: {name} must not be negative; got {value!r}")
        require_number("SGD", "momentum", momentum)
        require(0 <= momentum < 1, f"SGD: momentum must be in [0, 1); got {momentum!r}")
        self.learning_rate, self.momentum, self.weight_decay = learning_rate, float(momentum), float(weight_decay)
        self.velocity: Array | None = None
        self._stepped = Stepped("SGD")

    def step(self, parameters: Array, gradient: Array) -> None:
        """Update the parameters, any array, in place."""
        self._stepped.check(parameters, gradient, self.velocity)
        if self.velocity is None:
            self.velocity = array_module(parameters).zeros_like(parameters)
        self.velocity *= self.momentum
        self.velocity += gradient + self.weight_decay * parameters if self.weight_decay else gradient
        parameters -= self.learning_rate * self.velocity
