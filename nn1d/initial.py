"""Initial weights: how to draw a filter bank (K, C, O) so that signals keep their size on the way through.

Every function has the form f(rng, shape) -> float64 array, and every draw comes from the generator that the caller
passes, so equal seeds give equal weights. With fan_in = K·C numbers behind each output and fan_out = K·O behind each
gradient of an input:
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Initializer = Callable[[np.random.Generator, tuple[int, int, int]], np.ndarray]


def glorot_uniform(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """Uniform in ±√(6 / (fan_in + fan_out)): keeps the variance of outputs and of gradients, on average, near a line.

    Shapes
    ------
    shape (K, C, O) -> float64 array (K, C, O)

    Source
    ------
    Glorot and Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks", Eq. 16.
    """
    taps, channels_in, channels_out = shape
    limit = math.sqrt(6 / (taps * (channels_in + channels_out)))
    return rng.uniform(-limit, limit, shape)


def he_normal(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """Normal with variance 2 / fan_in: for activations that drop half of their input, such as ReLU.

    Shapes
    ------
    shape (K, C, O) -> float64 array (K, C, O)

    Source
    ------
    He et al. 2015, "Delving deep into rectifiers", arXiv:1502.01852, Eq. 10.
    """
    return rng.normal(0, math.sqrt(2 / (shape[0] * shape[1])), shape)


def lecun_normal(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """Normal with variance 1 / fan_in: keeps the variance of a linear layer's output.

    Shapes
    ------
    shape (K, C, O) -> float64 array (K, C, O)

    Source
    ------
    LeCun et al. 1998, "Efficient BackProp", Eq. 16.
    """
    return rng.normal(0, math.sqrt(1 / (shape[0] * shape[1])), shape)


def zeros(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """All zero, for layers that start silent: the last one of a residual block makes the block an identity.

    Shapes
    ------
    shape (K, C, O) -> float64 array (K, C, O)

    Source
    ------
    Goyal et al. 2017, "Accurate, large minibatch SGD", arXiv:1706.02677, section 5.1.
    """
    return np.zeros(shape)
