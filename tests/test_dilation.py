"""Convolutions whose taps stand apart: the plain form computes them, whatever faster forms there are."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nn1d import ELU, Conv1d, Sequential, ShapeError, cpu, from_torch
from nn1d.conv import convolve, convolve_transposed, filter_gradient
from nn1d.cuda.fusion import FusedSequential, fuse
from tests import loops
from tests.twin import assert_alike, import_torch

TAPS = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 5), st.integers(1, 4))


@settings(deadline=None, max_examples=40, derandomize=True)
@given(TAPS, st.integers(0, 8), st.integers(0, 2**32 - 1))
def test_a_dilated_convolution_is_its_definition(taps: tuple[int, int, int, int], extra: int, seed: int) -> None:
    kernel_size, stride, padding, dilation = taps
    rng = np.random.default_rng(seed)
    layer = Conv1d(2, 3, kernel_size, stride, padding, dilation, rng=rng, dtype=np.float64)
    w, b = layer.parameters["weight"], layer.parameters["bias"]
    b[:] = rng.standard_normal(3)
    length = max(1, dilation * (kernel_size - 1) + 1 - 2 * padding) + extra
    x = rng.standard_normal((2, length, 2))
    y, cache = layer.forward(x)
    np.testing.assert_allclose(y, loops.conv(x, w, b, stride, padding, dilation), rtol=1e-12, atol=1e-12)
    dy = rng.standard_normal(y.shape)
    dx, grads = layer.backward(dy, cache)
    expected = loops.conv_gradients(x, w, dy, stride, padding, dilation)
    for ours, by_loops in zip((dx, grads["weight"], grads["bias"]), expected, strict=True):
        np.testing.assert_allclose(ours, by_loops, rtol=1e-12, atol=1e-12)
    # the three faces of one form
    sizes = stride, padding
    faces = (
        (convolve(x, w, *sizes, y.shape[1], None, dilation) * dy).sum(),
        (convolve_transposed(dy, w, *sizes, length, None, dilation) * x).sum(),
        (filter_gradient(x, dy, kernel_size, *sizes, dilation) * w).sum(),
    )
    np.testing.assert_allclose(faces, faces[0], rtol=1e-10, atol=1e-10)


def test_faster_forms_leave_it_to_the_plain_one() -> None:
    x, w, y = np.ones((1, 9, 2)), np.ones((3, 2, 4)), np.ones((1, 5, 4))
    assert cpu.convolve(x, w, 1, 0, 5, None, 2) is NotImplemented
    assert cpu.convolve_transposed(y, w, 1, 0, 9, None, 2) is NotImplemented
    assert cpu.filter_gradient(x, y, 3, 1, 0, 2) is NotImplemented
    rng = np.random.default_rng(0)
    network = fuse(Sequential(ELU(), Conv1d(2, 4, 3, dilation=2, rng=rng), ELU(), Conv1d(4, 4, 3, rng=rng)))
    assert isinstance(network, FusedSequential)
    assert list(network.steps.layers) == ["0", "1", "3"], "an ELU before a dilated convolution was fused with it"


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-4)])
@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 2, 2), (2, 3, 3)])
def test_a_dilated_convolution_is_that_of_torch(
    stride: int, padding: int, dilation: int, dtype: Any, tolerance: float
) -> None:
    torch = import_torch()
    rng = np.random.default_rng(0)
    layer = Conv1d(3, 4, 3, stride, padding, dilation, rng=rng, dtype=dtype)
    twin = torch.nn.Conv1d(3, 4, 3, stride, padding, dilation).to(getattr(torch, np.dtype(dtype).name))
    from_torch(layer.parameters, {name: tensor.detach().numpy() for name, tensor in twin.state_dict().items()})
    x = rng.standard_normal((2, 20, 3)).astype(dtype)
    dy = rng.standard_normal((2, layer.outputs(20), 4)).astype(dtype)
    assert_alike(layer, twin, x, dy, tolerance, signals=True)


MESSAGES = [
    (lambda rng: Conv1d(1, 1, 3, dilation=0, rng=rng), "Conv1d: dilation must be a positive integer; got 0"),
    (
        lambda rng: Conv1d(1, 2, 3, padding=1, dilation=4, rng=rng).forward(np.zeros((1, 6, 1), np.float32)),
        "Conv1d(1 -> 2, k=3, p=1, d=4): needs at least 7 samples; got 6. "
        "Use a longer signal, a smaller kernel or more padding",
    ),
]


@pytest.mark.parametrize(("mistake", "message"), MESSAGES)
def test_a_mistake_is_named(mistake: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        mistake(np.random.default_rng(0))
