"""Convolution and transposed convolution: the definitions as loops, the three faces of one form, PyTorch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from nn1d import Conv1d, ConvTranspose1d, ShapeError, cpu
from nn1d.conv import convolve, convolve_transposed, filter_gradient
from nn1d.dispatch import FORMS
from tests import loops
from tests.twin import import_torch

# derandomize: the same examples in every run, so that a red run is red again
drawn = settings(deadline=None, max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
seeds = st.integers(0, 2**32 - 1)
FUNCTIONS = ("convolve", "convolve_transposed", "filter_gradient", "bias_gradient")


@pytest.fixture(params=["to read", "fast"], scope="module", autouse=True)
def forms(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test runs on the form of the functions that is written to be read, and on that of nn1d/cpu.py."""
    forms = {name: [getattr(cpu, name)] if request.param == "fast" else [] for name in FUNCTIONS}
    with patch.dict(FORMS, forms):
        yield


class Geometry(NamedTuple):
    clips: int
    length: int  # of the signal that the windows slide over: in of Conv1d, out of ConvTranspose1d
    channels: int
    outs: int
    taps: int
    stride: int
    padding: int
    bias: bool

    @property
    def outputs(self) -> int:
        return (self.length + 2 * self.padding - self.taps) // self.stride + 1


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    taps, stride, padding = draw(st.integers(1, 6)), draw(st.integers(1, 7)), draw(st.integers(0, 8))
    length = draw(st.integers(max(1, taps - 2 * padding), max(1, taps - 2 * padding) + 11))
    small = st.integers(1, 4)
    return Geometry(
        draw(st.integers(1, 3)), length, draw(small), draw(small), taps, stride, padding, draw(st.booleans())
    )


class Transposed(NamedTuple):
    clips: int
    length: int
    channels: int
    outs: int
    taps: int
    stride: int
    padding: int
    output_padding: int
    bias: bool

    @property
    def outputs(self) -> int:
        return (self.length - 1) * self.stride - 2 * self.padding + self.taps + self.output_padding


@st.composite
def transposed_geometries(draw: st.DrawFn) -> Transposed:
    taps, stride, padding = draw(st.integers(1, 6)), draw(st.integers(1, 5)), draw(st.integers(0, 5))
    small = st.integers(1, 4)
    extra = draw(st.integers(0, stride - 1))
    # enough samples that something of the output is left after `padding` samples are cut at both ends
    least = max(1, -(-(1 + 2 * padding - taps - extra) // stride) + 1)
    length = draw(st.integers(least, least + 5))
    geometry = Transposed(
        draw(st.integers(1, 3)), length, draw(small), draw(small), taps, stride, padding, extra, draw(st.booleans())
    )
    assume(geometry.outputs > 0)
    return geometry


def convolution(g: Geometry, seed: int, dtype: Any = np.float64) -> tuple[Conv1d, np.ndarray, np.ndarray]:
    """A layer, with a bias that is not zero, and random x and dy."""
    rng = np.random.default_rng(seed)
    layer = Conv1d(g.channels, g.outs, g.taps, g.stride, g.padding, bias=g.bias, rng=rng, dtype=dtype)
    for parameter in layer.parameters.values():
        parameter[...] = rng.standard_normal(parameter.shape)
    x = rng.standard_normal((g.clips, g.length, g.channels)).astype(dtype)
    return layer, x, rng.standard_normal((g.clips, g.outputs, g.outs)).astype(dtype)


def transposed(g: Transposed, seed: int, dtype: Any = np.float64) -> tuple[ConvTranspose1d, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    layer = ConvTranspose1d(
        g.channels, g.outs, g.taps, g.stride, g.padding, g.output_padding, bias=g.bias, rng=rng, dtype=dtype
    )
    for parameter in layer.parameters.values():
        parameter[...] = rng.standard_normal(parameter.shape)
    x = rng.standard_normal((g.clips, g.length, g.channels)).astype(dtype)
    return layer, x, rng.standard_normal((g.clips, g.outputs, g.outs)).astype(dtype)


def close(ours: np.ndarray, theirs: np.ndarray) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


@drawn
@given(geometries(), seeds)
def test_conv_is_its_definition(g: Geometry, seed: int) -> None:
    layer, x, dy = convolution(g, seed)
    w, b = layer.parameters["weight"], layer.parameters.get("bias")
    y, cache = layer.forward(x)
    close(y, loops.conv(x, w, b, g.stride, g.padding))
    dx, grads = layer.backward(dy, cache)
    expected_dx, expected_dw, expected_db = loops.conv_gradients(x, w, dy, g.stride, g.padding)
    close(dx, expected_dx)
    close(grads["weight"], expected_dw)
    assert ("bias" in grads) == g.bias
    if g.bias:
        close(grads["bias"], expected_db)


@drawn
@given(transposed_geometries(), seeds)
def test_transposed_conv_is_its_definition(g: Transposed, seed: int) -> None:
    layer, x, dy = transposed(g, seed)
    w, b = layer.parameters["weight"], layer.parameters.get("bias")
    y, cache = layer.forward(x)
    close(y, loops.conv_transpose(x, w, b, g.stride, g.padding, g.output_padding))
    dx, grads = layer.backward(dy, cache)
    expected_dx, expected_dw, expected_db = loops.conv_transpose_gradients(x, w, dy, g.stride, g.padding)
    close(dx, expected_dx)
    close(grads["weight"], expected_dw)
    assert ("bias" in grads) == g.bias
    if g.bias:
        close(grads["bias"], expected_db)


@drawn
@given(geometries(), seeds)
def test_the_three_faces_of_one_form_agree(g: Geometry, seed: int) -> None:
    layer, x, y = convolution(g, seed)
    w = layer.parameters["weight"]
    faces = [
        (convolve(x, w, g.stride, g.padding, g.outputs) * y).sum(),
        (convolve_transposed(y, w, g.stride, g.padding, g.length) * x).sum(),
        (filter_gradient(x, y, g.taps, g.stride, g.padding) * w).sum(),
    ]
    # relative to the sum without its signs: that is what rounding is relative to
    size = abs(x).sum() * abs(w).max() * abs(y).max() + 1e-300
    assert abs(faces[0] - faces[1]) <= 1e-12 * max(abs(faces[0]), 1e-3 * size)
    assert abs(faces[0] - faces[2]) <= 1e-12 * max(abs(faces[0]), 1e-3 * size)


@drawn
@given(geometries(), seeds)
def test_transposed_conv_is_the_adjoint_of_conv(g: Geometry, seed: int) -> None:
    conv, x, y = convolution(g._replace(bias=False), seed)
    # what Conv1d did not reach at the end is what output_padding gives back
    unseen = g.length - ((g.outputs - 1) * g.stride - 2 * g.padding + g.taps)
    adjoint = ConvTranspose1d(
        g.outs, g.channels, g.taps, g.stride, g.padding, unseen, bias=False, rng=np.random.default_rng(0), dtype=float
    )
    adjoint.parameters["weight"] = conv.parameters["weight"]
    left, right = (conv.forward(x)[0] * y).sum(), (x * adjoint.forward(y)[0]).sum()
    assert abs(left - right) <= 1e-12 * max(abs(left), (abs(conv.forward(x)[0]) * abs(y)).sum())


@drawn
@given(geometries(), seeds)
def test_conv_along_one_random_direction(g: Geometry, seed: int) -> None:
    layer, x, dy = convolution(g, seed)
    check_along_one_direction(layer, x, dy, seed)


@drawn
@given(transposed_geometries(), seeds)
def test_transposed_conv_along_one_random_direction(g: Transposed, seed: int) -> None:
    layer, x, dy = transposed(g, seed)
    check_along_one_direction(layer, x, dy, seed)


def check_along_one_direction(layer: Any, x: np.ndarray, dy: np.ndarray, seed: int) -> None:
    """Input and parameters at once. Both maps are of degree two together, so a difference of any size is exact."""
    rng = np.random.default_rng([seed, 1])
    _, cache = layer.forward(x)
    dx, grads = layer.backward(dy, cache)
    direction = rng.standard_normal(x.shape)
    turns = {name: rng.standard_normal(p.shape) for name, p in layer.parameters.items()}
    start = {name: p.copy() for name, p in layer.parameters.items()}

    def moved(distance: float) -> np.ndarray:
        for name, p in layer.parameters.items():
            p[...] = start[name] + distance * turns[name]
        return layer.forward(x + distance * direction)[0]

    terms = dy * (moved(0.5) - moved(-0.5))
    analytic = (dx * direction).sum() + sum((grads[name] * turns[name]).sum() for name in turns)
    assert abs(terms.sum() - analytic) <= 1e-10 * max(abs(analytic), abs(terms).sum())


@pytest.fixture
def torch() -> Any:
    return import_torch()


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 2e-5)])
@pytest.mark.parametrize(
    "g",
    [
        Geometry(2, 40, 3, 4, 3, 1, 1, True),
        Geometry(3, 33, 2, 5, 7, 2, 3, True),
        Geometry(1, 21, 4, 2, 2, 5, 0, False),
        Geometry(2, 3, 2, 3, 5, 1, 6, True),
        Geometry(2, 1, 2, 2, 3, 1, 1, True),
    ],
)
def test_conv_is_that_of_torch(torch: Any, g: Geometry, dtype: Any, tolerance: float) -> None:
    layer, x, dy = convolution(g, 0, dtype)
    twin = torch.nn.Conv1d(g.channels, g.outs, g.taps, g.stride, g.padding, bias=g.bias)
    compare_with_torch(torch, layer, twin, x, dy, tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 2e-5)])
@pytest.mark.parametrize(
    "g",
    [
        Transposed(2, 40, 3, 4, 3, 1, 1, 0, True),
        Transposed(3, 13, 2, 5, 7, 2, 3, 1, True),
        Transposed(1, 9, 4, 2, 2, 5, 0, 4, False),
        Transposed(2, 6, 2, 3, 4, 3, 2, 0, True),
        Transposed(2, 1, 2, 2, 3, 1, 1, 0, True),
    ],
)
def test_transposed_conv_is_that_of_torch(torch: Any, g: Transposed, dtype: Any, tolerance: float) -> None:
    layer, x, dy = transposed(g, 0, dtype)
    twin = torch.nn.ConvTranspose1d(g.channels, g.outs, g.taps, g.stride, g.padding, g.output_padding, bias=g.bias)
    compare_with_torch(torch, layer, twin, x, dy, tolerance)


def compare_with_torch(torch: Any, layer: Any, twin: Any, x: np.ndarray, dy: np.ndarray, tolerance: float) -> None:
    # torch has channels before samples, and the axes of both kinds of filters in reverse order
    twin = twin.to(torch.from_numpy(x).dtype)
    with torch.no_grad():
        twin.weight.copy_(torch.from_numpy(layer.parameters["weight"].transpose(2, 1, 0).copy()))
        if twin.bias is not None:
            twin.bias.copy_(torch.from_numpy(layer.parameters["bias"]))
    theirs = torch.from_numpy(x.swapaxes(1, 2).copy()).requires_grad_()
    output = twin(theirs)
    output.backward(torch.from_numpy(dy.swapaxes(1, 2).copy()))

    y, cache = layer.forward(x)
    dx, grads = layer.backward(dy, cache)
    same: Any = {"rtol": tolerance, "atol": tolerance * 10}
    np.testing.assert_allclose(y, output.detach().numpy().swapaxes(1, 2), **same)
    np.testing.assert_allclose(dx, theirs.grad.numpy().swapaxes(1, 2), **same)
    np.testing.assert_allclose(grads["weight"], twin.weight.grad.numpy().transpose(2, 1, 0), **same)
    if twin.bias is not None:
        np.testing.assert_allclose(grads["bias"], twin.bias.grad.numpy(), **same)


def test_long_signals_meet_every_kind_of_window() -> None:
    """Lengths around a multiple of the window, where a group of windows may end one too early or too late."""
    rng = np.random.default_rng(0)
    for taps in (1, 2, 3, 5):
        for stride in (1, 2, 3, 4):
            layer = Conv1d(1, 1, taps, stride, taps // 2, rng=rng, dtype=np.float64)
            for length in range(taps * stride, 3 * taps * stride + 2):
                x = rng.standard_normal((1, length, 1))
                w = layer.parameters["weight"][:, 0, 0]
                padded = np.pad(x[0, :, 0], taps // 2)
                expected = np.correlate(padded, w, "valid")[::stride]
                close(layer.forward(x)[0][0, :, 0], expected)


def test_windows_are_not_taken_from_another_geometry() -> None:
    """The plan of windows is kept between calls: two signals one sample apart must not share one."""
    rng = np.random.default_rng(0)
    layer = Conv1d(1, 1, 3, 1, 1, rng=rng, dtype=np.float64)
    for length in (10, 11, 10, 12):
        x = rng.standard_normal((1, length, 1))
        close(layer.forward(x)[0], loops.conv(x, layer.parameters["weight"], None, 1, 1))


def test_a_signal_of_padding_alone_gives_the_bias() -> None:
    layer = Conv1d(2, 3, 3, 2, 2, rng=0, dtype=np.float64)
    layer.parameters["bias"][:] = 1, 2, 3
    y, cache = layer.forward(np.zeros((2, 0, 2)))
    close(y, np.tile([[1.0, 2.0, 3.0]], (2, 1, 1)))
    dx, grads = layer.backward(np.ones_like(y), cache)
    assert dx.shape == (2, 0, 2)
    close(grads["weight"], np.zeros((3, 2, 3)))
    close(grads["bias"], np.full(3, 2.0))


RNG = np.random.default_rng(0)

MESSAGES = [
    (
        lambda: Conv1d(16, 32, 3, 1, 1, rng=RNG).forward(np.zeros((8, 16, 64000), np.float32)),
        "Conv1d(16 -> 32, k=3, p=1): x must be (N, L, 16); got (8, 16, 64000). Channels come last: x.swapaxes(1, 2)",
    ),
    (
        lambda: Conv1d(1, 4, 3, rng=RNG).forward(np.zeros((8, 100), np.float32)),
        "Conv1d(1 -> 4, k=3): x must be (N, L, 1); got (8, 100). One clip of one channel: x[None, :, None]",
    ),
    (
        lambda: Conv1d(2, 4, 3, rng=RNG).forward(np.zeros((8, 100, 3), np.float32)),
        "Conv1d(2 -> 4, k=3): x must be (N, L, 2); got (8, 100, 3)",
    ),
    (
        lambda: Conv1d(2, 4, 5, 2, rng=RNG).forward(np.zeros((1, 4, 2), np.float32)),
        "Conv1d(2 -> 4, k=5, s=2): needs at least 5 samples; got 4. "
        "Use a longer signal, a smaller kernel or more padding",
    ),
    (
        lambda: Conv1d(2, 4, 5, 1, 1, rng=RNG).forward(np.zeros((1, 2, 2), np.float32)),
        "Conv1d(2 -> 4, k=5, p=1): needs at least 3 samples; got 2. "
        "Use a longer signal, a smaller kernel or more padding",
    ),
    (
        lambda: Conv1d(2, 4, 3, rng=RNG).backward(np.zeros((1, 7, 4), np.float32), np.zeros((1, 10, 2), np.float32)),
        "Conv1d(2 -> 4, k=3): dy must be like y, float32 (1, 8, 4); got float32 (1, 7, 4)",
    ),
    (
        lambda: Conv1d(2, 4, 3, rng=RNG).backward(np.zeros((1, 8, 4)), np.zeros((1, 10, 2), np.float32)),
        "Conv1d(2 -> 4, k=3): dy must be like y, float32 (1, 8, 4); got float64 (1, 8, 4)",
    ),
    (lambda: Conv1d(0, 4, 3, rng=RNG), "Conv1d: in_channels must be a positive integer; got 0"),
    (lambda: Conv1d(1, 2.0, 3, rng=RNG), "Conv1d: out_channels must be a positive integer; got 2.0"),  # type: ignore[arg-type]
    (lambda: Conv1d(1, 2, -3, rng=RNG), "Conv1d: kernel_size must be a positive integer; got -3"),
    (lambda: Conv1d(1, 2, 3, 0, rng=RNG), "Conv1d: stride must be a positive integer; got 0"),
    (lambda: Conv1d(1, 2, 3, 1, -1, rng=RNG), "Conv1d: padding must be an integer of at least 0; got -1"),
    (
        lambda: ConvTranspose1d(16, 32, 3, 2, 1, rng=RNG).forward(np.zeros((8, 16, 64000), np.float32)),
        "ConvTranspose1d(16 -> 32, k=3, s=2, p=1): x must be (N, L, 16); got (8, 16, 64000). "
        "Channels come last: x.swapaxes(1, 2)",
    ),
    (
        lambda: ConvTranspose1d(2, 1, 3, 1, 2, rng=RNG).forward(np.zeros((1, 2, 2), np.float32)),
        "ConvTranspose1d(2 -> 1, k=3, p=2): 2 samples would give 0. "
        "Use a longer signal, a larger kernel or less padding",
    ),
    (
        lambda: ConvTranspose1d(2, 4, 3, 2, rng=RNG).backward(
            np.zeros((1, 8, 4), np.float32), np.zeros((1, 4, 2), np.float32)
        ),
        "ConvTranspose1d(2 -> 4, k=3, s=2): dy must be like y, float32 (1, 9, 4); got float32 (1, 8, 4)",
    ),
    (
        lambda: ConvTranspose1d(1, 2, 3, 2, 1, 2, rng=RNG),
        "ConvTranspose1d: output_padding must be smaller than the stride, 2; got 2",
    ),
    (
        lambda: ConvTranspose1d(1, 2, 3, 2, 1, -1, rng=RNG),
        "ConvTranspose1d: output_padding must be an integer of at least 0; got -1",
    ),
    (
        lambda: ConvTranspose1d(1, 2, 3, None, rng=RNG),  # type: ignore[arg-type]
        "ConvTranspose1d: stride must be a positive integer; got None",
    ),
]


@pytest.mark.parametrize(("mistake", "message"), MESSAGES)
def test_a_mistake_is_named(mistake: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        mistake()
