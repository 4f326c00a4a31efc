"""Adam on a GPU: adam.cu."""

from __future__ import annotations

from typing import Any

import numpy as np

from nn1d.backend import Array, array_module
from nn1d.cuda.kernel import has_kernels, launch, number, sums


def covers(adam: Any, parameters: Array, gradient: Array) -> bool:
    """Whether the kernel takes this step: one type, a decay that is one number or like the parameters."""
    decay = adam.weight_decay
    per_parameter = not isinstance(decay, (int, float))
    return (
        has_kernels(parameters, gradient, *([decay] if per_parameter else []))
        and parameters.dtype == sums(parameters)
        and parameters.flags.c_contiguous
        and (not per_parameter or decay.shape == parameters.shape)
    )


def step(adam: Any, parameters: Array, gradient: Array) -> None:
    """What Adam.step does after it has counted the step: parameters, mean and square move in place."""
    xp, decay, t = array_module(parameters), adam.weight_decay, adam.steps
    decays = None if isinstance(decay, (int, float)) else xp.ascontiguousarray(decay)
    scalars = (
        *(adam.learning_rate, adam.beta1, 1 - adam.beta1, adam.beta2, 1 - adam.beta2),
        1 / (1 - adam.beta2**t) ** 0.5,
        adam.epsilon,
        adam.learning_rate / (1 - adam.beta1**t),
    )
    own = parameters.dtype.type
    launch(
        *(parameters, "adam", f"adam<{number(parameters)}>", (-(-parameters.size // 256),), 256),
        *(parameters, xp.ascontiguousarray(gradient), adam.mean, adam.square, decays, np.int64(parameters.size)),
        *(own(0 if decays is not None else decay), np.int32(adam.decoupled), *map(own, scalars)),
    )
