"""The kernels of convolutions against their NumPy form, on cores and on tensor cores: as tests/gpu/test_kernels.py"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nn1d import ShapeError
from nn1d.backend import to_numpy, view
from nn1d.conv import bias_gradient, convolve, convolve_transposed, filter_gradient
from nn1d.cuda import convolution
from tests.gpu.closeness import FLOATS, close, elu, elu_slope, parameters_of

pytestmark = pytest.mark.usefixtures("kernels_run")
drawn = settings(
    deadline=None, derandomize=True, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def tf32(x: np.ndarray) -> np.ndarray:
    """The nearest numbers of eleven binary digits, of two the larger."""
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.trunc(mantissa * 2**11 + np.copysign(0.5, mantissa)), exponent - 11)


class Geometry(NamedTuple):
    dtype: str
    fast: bool  # float32 is multiplied in TF32
    clips: int
    length: int
    channels: int
    outs: int
    taps: int
    padding: int
    seed: int

    @property
    def outputs(self) -> int:
        return self.length + 2 * self.padding - self.taps + 1

    def numbers(self, *shape: int) -> np.ndarray:
        rng = np.random.default_rng([self.seed, *shape])
        return rng.standard_normal(shape).astype(self.dtype)

    def parameters(self, *shape: int) -> np.ndarray:
        return self.numbers(*shape).astype("float64" if self.dtype == "float64" else "float32")

    def factor(self, x: np.ndarray) -> np.ndarray:
        """x as products take it, in float64."""
        rounds = (self.fast or self.dtype == "float16") and min(self.channels, self.outs) >= 8
        return tf32(x.astype(np.float64)) if rounds else x.astype(np.float64)

    def activated(self, x: np.ndarray, alpha: float) -> np.ndarray:
        return self.factor(elu(x.astype(self.parameters().dtype), alpha))

    def within(self, alpha: float) -> float:
        """An ELU whose last digit differs may be rounded to the other neighbour."""
        return 2e-4 if alpha and self.dtype != "float64" else 0.0

    @contextmanager
    def products(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CUPY_TF32", str(int(self.fast)))
            yield


PLAIN = [
    ("float32", False, 3),
    ("float64", False, 3),
    ("float32", False, 1),
    ("float64", False, 2),
    ("float32", False, 9),
]
TENSOR = [
    ("float16", False, 3),
    ("float32", True, 3),
    ("float16", False, 1),
    ("float32", True, 2),
    ("float16", False, 9),
]


@st.composite
def geometries(draw: st.DrawFn, kinds: list[tuple[str, bool, int]]) -> Geometry:
    """Every kernel that the paper's network needs, and the ends of what is covered: edges of tiles, short signals."""
    dtype, fast, taps = draw(st.sampled_from(kinds))
    channels = draw(st.sampled_from([8, 12, 16, 17, 64] if fast else [1, 2, 4, 7, 8, 12, 16, 17, 64]))
    outs = draw(st.sampled_from([9, 16, 20, 32, 33, 64, 70] if fast else [1, 3, 4, 16, 20, 32, 33, 64, 70]))
    tiles = convolution.TENSOR_SAMPLES if fast else convolution.SAMPLES
    edge = next(samples for tile, samples in tiles.items() if tile >= min(outs, 64))
    lengths = [1, 2, 5, 63, 64, 65] + [edge + more for more in (-1, 0, 1, 13)] * (channels * outs < 600)
    length = draw(st.sampled_from(lengths))
    padding = draw(st.integers(max(0, -(-(taps - length) // 2)), taps + 1))
    return Geometry(
        dtype, fast, draw(st.integers(1, 2)), length, channels, outs, taps, padding, draw(st.integers(0, 99))
    )


@pytest.mark.parametrize("kinds", [PLAIN, TENSOR])
@drawn
@given(st.data(), st.sampled_from([0.0, 1.0, 1.7]), st.booleans(), st.booleans(), st.booleans())
def test_convolution(
    cupy: Any, kinds: Any, data: st.DataObject, alpha: float, backwards: bool, biased: bool, summed: bool
) -> None:
    g = data.draw(geometries(kinds))
    x = g.numbers(g.clips, g.length, g.channels)
    w, b = g.parameters(g.taps, g.channels, g.outs), g.parameters(g.outs)
    plus = g.numbers(g.clips, g.outputs, g.outs)
    stored = np.ascontiguousarray(w[::-1].swapaxes(1, 2)) if backwards else w
    with g.products():
        y = convolution.convolve(
            *(cupy.asarray(x), cupy.asarray(stored), g.padding, g.outputs),
            backwards=backwards,
            b=cupy.asarray(b) if biased else None,
            alpha=alpha,
            plus=cupy.asarray(plus) if summed else None,
        )
    assert y.dtype == g.dtype
    expected = convolve(g.activated(x, alpha), g.factor(w), 1, g.padding, g.outputs)
    close(y, expected + biased * b + summed * plus, g.within(alpha))


@pytest.mark.parametrize("kinds", [PLAIN, TENSOR])
@drawn
@given(st.data(), st.sampled_from([0.0, 0.5, 1.0]), st.booleans())
def test_input_gradient(cupy: Any, kinds: Any, data: st.DataObject, alpha: float, summed: bool) -> None:
    g = data.draw(geometries(kinds))
    dy, w = g.numbers(g.clips, g.outputs, g.outs), g.parameters(g.taps, g.channels, g.outs)
    h, plus = g.numbers(g.clips, g.length, g.channels), g.numbers(g.clips, g.length, g.channels)[::-1]
    with g.products():
        dx = convolution.convolve(
            *(cupy.asarray(dy), cupy.asarray(w), g.taps - 1 - g.padding, g.length),
            backwards=True,
            activated=cupy.asarray(h) if alpha else None,
            activated_alpha=alpha,
            plus=cupy.asarray(plus) if summed else None,
        )
    expected = convolve_transposed(g.factor(dy), g.factor(w), 1, g.padding, g.length)
    close(dx, expected * (elu_slope(h.astype(np.float64), alpha) if alpha else 1) + summed * plus)


@pytest.mark.parametrize("kinds", [PLAIN, TENSOR])
@settings(drawn, max_examples=24)
@given(st.data(), st.sampled_from([0.0, 1.0]), st.booleans(), st.sampled_from([32, 1024]))
def test_filter_gradient(cupy: Any, kinds: Any, data: st.DataObject, alpha: float, backwards: bool, span: int) -> None:
    g = data.draw(geometries(kinds))
    x, dy = g.numbers(g.clips, g.length, g.channels), g.numbers(g.clips, g.outputs, g.outs)
    shape = (g.taps, g.outs, g.channels) if backwards else (g.taps, g.channels, g.outs)
    with g.products(), pytest.MonkeyPatch.context() as patch:  # many short stretches, fewer blocks than stretches
        patch.setattr(convolution, "SPAN", span)
        patch.setattr(
            convolution, "PARTIAL_SUMS", dict.fromkeys(convolution.PARTIAL_SUMS, 3 * g.taps * g.channels * g.outs + 10)
        )
        dw, db = convolution.filter_gradient(
            cupy.asarray(x), cupy.asarray(dy), shape, g.padding, backwards=backwards, alpha=alpha
        )
    assert dw.dtype == db.dtype == g.parameters().dtype
    expected = filter_gradient(g.activated(x, alpha), g.factor(dy), g.taps, 1, g.padding)
    close(dw, expected[::-1].swapaxes(1, 2) if backwards else expected, g.within(alpha))
    close(db, bias_gradient(dy.astype(np.float64)))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("taps", [2, 3])
@pytest.mark.parametrize(("channels", "outs"), [(1, 1), (1, 16), (16, 1), (16, 16)])
def test_filter_gradient_of_every_tile(cupy: Any, dtype: str, taps: int, channels: int, outs: int) -> None:
    g = Geometry(dtype, False, 2, 1100, channels, outs, taps, 1, 0)
    x, dy = g.numbers(2, g.length, channels), g.numbers(2, g.outputs, outs)
    dw, db = convolution.filter_gradient(cupy.asarray(x), cupy.asarray(dy), (taps, channels, outs), 1, alpha=1.0)
    close(dw, filter_gradient(g.activated(x, 1.0), g.factor(dy), taps, 1, 1), g.within(1.0))
    close(db, bias_gradient(dy.astype(np.float64)))


def test_which_products_are_rounded(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One third is no number of TF32: its difference from the nearest one is gone. From 8 channels on both sides on."""

    def rounds(dtype: str, channels: int = 8, outs: int = 8) -> bool:
        w = np.zeros((1, channels, outs), "f8" if dtype == "float64" else "f4")
        w[0, 0], w[0, 1] = 1 / 3, -tf32(np.array(1 / 3))
        y = convolution.convolve(cupy.asarray(np.ones((1, 8, channels), dtype)), cupy.asarray(w), 0, 8)
        return float(y[0, 0, 0]) == 0

    monkeypatch.delenv("CUPY_TF32", raising=False)
    assert [rounds(dtype) for dtype in FLOATS] == [True, False, False]
    monkeypatch.setenv("CUPY_TF32", "1")
    assert [rounds(dtype) for dtype in FLOATS] == [True, True, False]
    assert [rounds("float32", 7, 8), rounds("float32", 8, 7)] == [False, False]
    if os.environ.get("NN1D_GPU") != "1":  # a GPU before Ampere has no TF32
        monkeypatch.setattr(cupy.cuda.Device, "compute_capability", "75")
        assert [rounds(dtype) for dtype in FLOATS] == [False, False, False]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", FLOATS)
def test_what_is_not_finite_stays_so(cupy: Any, monkeypatch: pytest.MonkeyPatch, dtype: str, bad: float) -> None:
    """In each output that it reaches, and in no other; a run that diverges must be seen to."""
    monkeypatch.setenv("CUPY_TF32", "1")
    x, w = np.ones((1, 70, 8), dtype), np.ones((3, 8, 9), parameters_of(dtype))
    x[0, 40, 3] = bad
    y = to_numpy(convolution.convolve(cupy.asarray(x), cupy.asarray(w), 1, 70))
    dw, db = convolution.filter_gradient(cupy.asarray(np.ones((1, 70, 8), dtype)), cupy.asarray(x), (3, 8, 8), 1)
    reached = np.zeros((70, 9), bool)
    reached[39:42] = True
    np.testing.assert_array_equal(~np.isfinite(y[0]), reached)
    np.testing.assert_array_equal(~np.isfinite(to_numpy(dw)), np.broadcast_to(np.arange(8) == 3, (3, 8, 8)))
    np.testing.assert_array_equal(~np.isfinite(to_numpy(db)), np.arange(8) == 3)


def test_a_clip_beyond_32_bits_is_refused(cupy: Any) -> None:
    x = view(cupy.asarray(np.zeros(4, "f")), 0, (1, 2**31, 1), (0, 0, 1))
    with pytest.raises(ShapeError, match="a clip may have 2147418112 numbers; got 2147483648 x 1"):
        convolution.convolve(x, cupy.asarray(np.zeros((1, 1, 1), "f")), 0, 1)
