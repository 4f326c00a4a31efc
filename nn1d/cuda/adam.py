"""Adam on a GPU: adam.cu."""

from __future__ import annotations

import numpy as np

from nn1d.adam import Adam
from nn1d.backend import Array, array_module
from nn1d.cuda.kernel import has_kernels, launch, number, sums
from nn1d.dispatch import register


@register("adam_step")
def adam_step(parameters: Array, gradient: Array, m: Array, v: Array, adam: Adam) -> None:
    """Stands for nn1d.adam.adam_step, of arrays of one type; the decay is a number or an array like the parameters."""
    decay, t = adam.weight_decay, adam.steps
    decays = None if isinstance(decay, (int, float)) else decay
    if (
        not has_kernels(parameters, gradient, *([] if decays is None else [decays]))
        or parameters.dtype != sums(parameters)
        or not parameters.flags.c_contiguous
        or (decays is not None and decays.shape != parameters.shape)
    ):
        return NotImplemented
    xp, real = array_module(parameters), parameters.dtype.type
    scalars = (
        *(adam.learning_rate, adam.beta1, 1 - adam.beta1, adam.beta2, 1 - adam.beta2),
        1 / (1 - adam.beta2**t) ** 0.5,
        adam.epsilon,
        adam.learning_rate / (1 - adam.beta1**t),
    )
    launch(
        parameters,
        "adam",
        f"adam<{number(parameters)}>",
        grid=(-(-parameters.size // 256),),
        threads=256,
        arguments=(
            *(parameters, xp.ascontiguousarray(gradient), m, v),
            None if decays is None else xp.ascontiguousarray(decays),
            *(np.int64(parameters.size), real(decay if decays is None else 0), np.int32(adam.decoupled)),
            *map(real, scalars),
        ),
    )
    return None
