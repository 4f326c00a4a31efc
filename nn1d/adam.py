"""Adam, with classic and with decoupled weight decay."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nn1d.backend import Array, array_module
from nn1d.dispatch import accelerated
from nn1d.layer import require, require_array, require_number
from nn1d.optimizer import Stepped


class Adam:
    """Move parameters against the running mean of their gradient, each in units of its running size.

    g = gradient                            (+ λ·p with classic L2)
    m = β1·m + (1 - β1)·g                   running mean
    v = β2·v + (1 - β2)·g²                  running mean of the square
    m̂ = m / (1 - β1ᵗ),  v̂ = v / (1 - β2ᵗ)   both started at 0; this undoes the bias towards it
    p = p - η·m̂ / (√v̂ + ε)                  (- η·λ·p with decoupled decay)

    Parameters
    ----------
    learning_rate : float
        η; may be changed between steps.
    beta1, beta2 : float in [0, 1)
    epsilon : float > 0
    weight_decay : float or array like the parameters
        λ: 0 switches it off; an array gives every parameter its own.
    decoupled : bool
        False adds λ·p to the gradient (the gradient of ½λ|p|²); True shrinks p beside the step (AdamW).

    Attributes
    ----------
    steps : int
        t: steps taken.
    mean, square : array or None
        m and v; None before the first step. They belong to one array of parameters: another needs an Adam of its own.

    Raises
    ------
    ShapeError
        A setting is out of range, parameters or gradient are no arrays of floats, the gradient has another shape than
        the parameters, or these are not the array that was stepped before.

    Source
    ------
    Kingma and Ba 2015, arXiv:1412.6980, Algorithm 1; Loshchilov and Hutter 2019, arXiv:1711.05101, Algorithm 2.
    Same values as torch.optim.Adam and torch.optim.AdamW.
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float | Array = 0.0,
        decoupled: bool = False,
    ) -> None:
        settings = {"learning_rate": learning_rate, "beta1": beta1, "beta2": beta2, "epsilon": epsilon}
        for name, value in settings.items():
            require_number("Adam", name, value)
        require(learning_rate >= 0, f"Adam: learning_rate must not be negative; got {learning_rate!r}")
        require(0 <= beta1 < 1 and 0 <= beta2 < 1, f"Adam: beta1 and beta2 must be in [0, 1); got {beta1!r}, {beta2!r}")
        require(epsilon > 0, f"Adam: epsilon must be positive; got {epsilon!r}")
        _check_decay(weight_decay)
        self.learning_rate, self.beta1, self.beta2, self.epsilon = learning_rate, beta1, beta2, epsilon
        self.weight_decay, self.decoupled = weight_decay, decoupled
        self.steps = 0
        self.mean: Array | None = None
        self.square: Array | None = None
        self._stepped = Stepped("Adam")

    def step(self, parameters: Array, gradient: Array) -> None:
        """Update the parameters, any array, in place."""
        decay = self.weight_decay
        self._stepped.check(parameters, gradient, self.mean)
        require(
            isinstance(decay, (int, float, np.number)) or decay.shape in ((), parameters.shape),
            f"Adam: weight_decay must be a number or have the shape of the parameters, {parameters.shape}; "
            f"got {getattr(decay, 'shape', decay)}",
        )
        if self.mean is None or self.square is None:
            xp = array_module(parameters)
            self.mean, self.square = xp.zeros_like(parameters), xp.zeros_like(parameters)
        self.steps += 1
        adam_step(parameters, gradient, self.mean, self.square, self)


def _check_decay(decay: Any) -> None:
    if not isinstance(decay, (int, float, np.number)):
        require_array("Adam", decay, "weight_decay")
        require(decay.dtype.kind in "fiu", f"Adam: weight_decay must hold numbers; got {decay.dtype}")
    fits = (decay >= 0) & (decay < math.inf)  # NaN is neither
    require(
        bool(fits if isinstance(fits, bool) else fits.all()),
        "Adam: weight_decay must be finite and not negative"
        + (f"; got {decay!r}" if isinstance(decay, (int, float, np.number)) else " in every place"),
    )


@accelerated
def adam_step(parameters: Array, gradient: Array, m: Array, v: Array, adam: Adam) -> None:
    """Move p, m and v in place by the formulas of Adam, whose t is this step."""
    xp, rate, decay = array_module(parameters), adam.learning_rate, adam.weight_decay
    decays = not isinstance(decay, (int, float)) or decay != 0
    if decays and not adam.decoupled:
        gradient = gradient + decay * parameters
    if decays and adam.decoupled:
        parameters -= rate * decay * parameters
    m *= adam.beta1
    m += (1 - adam.beta1) * gradient
    v *= adam.beta2
    v += (1 - adam.beta2) * gradient * gradient
    size = xp.sqrt(v, out=xp.empty_like(v))  # a single number would be no array
    size *= 1 / (1 - adam.beta2**adam.steps) ** 0.5
    size += adam.epsilon
    xp.divide(m, size, out=size)
    size *= rate / (1 - adam.beta1**adam.steps)
    parameters -= size
