"""What tests of kernels compare with: how near, and the ELU by its definition."""

from __future__ import annotations

from typing import Any

import numpy as np

from nn1d.backend import to_numpy

CLOSE = {"float16": 1e-3, "float32": 1e-5, "float64": 1e-12}
FLOATS = list(CLOSE)


def close(actual: Any, expected: np.ndarray, within: float = 0.0) -> None:
    """Equal to what the type gives, or to `within`, in units of the largest number."""
    actual = to_numpy(actual)
    assert actual.shape == expected.shape
    size = max(1.0, float(abs(expected).max(initial=0)))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=max(within, CLOSE[actual.dtype.name]) * size)


def elu(x: np.ndarray, alpha: float) -> np.ndarray:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))) if alpha else x


def elu_slope(x: np.ndarray, alpha: float) -> np.ndarray:
    return np.where(x > 0, 1, alpha * np.exp(np.minimum(x, 0)))


def parameters_of(dtype: str) -> str:
    return "float64" if dtype == "float64" else "float32"


def on_device(cupy: Any, tree: Any) -> None:
    for name, child in tree.items():
        if isinstance(child, dict):
            on_device(cupy, child)
        else:
            tree[name] = cupy.asarray(child)
