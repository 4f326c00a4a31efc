"""Layers without a kernel give on CuPy what they give on NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nn1d import (
    SGD,
    AvgPool1d,
    Conv1d,
    Dropout,
    GlobalAveragePool1d,
    LayerNorm,
    LeakyReLU,
    Linear,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
    cross_entropy,
)
from nn1d.backend import to_numpy
from tests.gpu.closeness import close, on_device

pytestmark = pytest.mark.usefixtures("kernels_run")
LAYERS = {
    "ReLU": lambda rng: ReLU(),
    "LeakyReLU": lambda rng: LeakyReLU(0.1),
    "Sigmoid": lambda rng: Sigmoid(),
    "Tanh": lambda rng: Tanh(),
    "Softmax": lambda rng: Softmax(),
    "Linear": lambda rng: Linear(3, 5, rng=rng),
    "LayerNorm": lambda rng: LayerNorm(3),
    "AvgPool1d": lambda rng: AvgPool1d(2),
    "GlobalAveragePool1d": lambda rng: GlobalAveragePool1d(),
    "Conv1d, dilated": lambda rng: Conv1d(3, 5, 3, 1, 2, 2, rng=rng),
    "Dropout": lambda rng: Dropout(0.4),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_on_the_device(cupy: Any, name: str) -> None:
    rng = np.random.default_rng(0)
    layer: Any = LAYERS[name](rng)
    x = rng.standard_normal((2, 12, 3)).astype(np.float32)
    context = (layer.draw(rng, x.shape),) if name == "Dropout" else ()
    y, cache = layer.forward(x, *context)
    dy = rng.standard_normal(y.shape).astype(np.float32)
    dx, grads = layer.backward(dy, cache)
    on_device(cupy, layer.parameters)
    gpu_y, cache = layer.forward(cupy.asarray(x), *context)
    gpu_dx, gpu_grads = layer.backward(cupy.asarray(dy), cache)
    assert type(gpu_y) is type(gpu_dx) is type(cupy.asarray(x))
    close(gpu_y, y)
    close(gpu_dx, dx)
    for part, gradient in grads.items():
        close(gpu_grads[part], gradient)


def test_cross_entropy_and_sgd_on_the_device(cupy: Any) -> None:
    rng = np.random.default_rng(0)
    x, target = rng.standard_normal((5, 4)).astype(np.float32), rng.integers(0, 4, 5)
    loss, dx = cross_entropy(x, target)
    gpu_loss, gpu_dx = cross_entropy(cupy.asarray(x), cupy.asarray(target))
    close(gpu_dx, dx)
    np.testing.assert_allclose(float(gpu_loss), loss, rtol=1e-6)
    p, there = x.copy(), cupy.asarray(x)
    for optimiser, place, gradient in ((SGD(0.1, 0.9), p, dx), (SGD(0.1, 0.9), there, gpu_dx)):
        optimiser.step(place, gradient)
        optimiser.step(place, gradient)
    np.testing.assert_allclose(to_numpy(there), p, rtol=1e-6)
