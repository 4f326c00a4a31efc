"""Every kernel against its NumPy form: without a GPU on the CPU (tests/gpu/harness.py), with NN1D_GPU=1 on CuPy"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nn1d import (
    ELU,
    Adam,
    Conv1d,
    ConvTranspose1d,
    GradientError,
    MaxPool1d,
    ResidualBlock,
    Sequential,
    ShapeError,
    check_gradients,
    mse,
    named_layers,
)
from nn1d.backend import to_numpy
from nn1d.conv import bias_gradient, convolve, filter_gradient
from nn1d.cuda import convolution, loss, pool
from nn1d.cuda.fusion import Activated, FusedResidualBlock, FusedSequential, fuse
from nn1d.dispatch import FORMS, plain
from tests.gpu import harness
from tests.gpu.closeness import FLOATS, close, elu, elu_slope, on_device, parameters_of
from training.anomaly import NonFiniteLayer, detect_anomaly

pytestmark = pytest.mark.usefixtures("kernels_run")
drawn = settings(
    deadline=None, derandomize=True, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("layer_class", [Conv1d, ConvTranspose1d])
@pytest.mark.parametrize(
    ("taps", "stride", "padding", "covered"), [(3, 1, 1, True), (2, 1, 3, True), (3, 2, 1, False), (11, 1, 5, False)]
)
def test_layers(cupy: Any, dtype: str, layer_class: Any, taps: int, stride: int, padding: int, covered: bool) -> None:
    rng = np.random.default_rng(0)
    layer = layer_class(3, 5, taps, stride, padding, rng=rng, dtype=parameters_of(dtype), bias=taps != 2)
    x = rng.standard_normal((2, 37, 3)).astype(dtype)
    y, cache = layer.forward(x)
    dy = rng.standard_normal(y.shape).astype(dtype)
    dx, grads = layer.backward(dy, cache)
    on_device(cupy, layer.parameters)
    assert convolution.fits(cupy.asarray(x), layer.parameters["weight"], stride) is covered
    gpu_y, cache = layer.forward(cupy.asarray(x))
    gpu_dx, gpu_grads = layer.backward(cupy.asarray(dy), cache)
    close(gpu_y, y)
    close(gpu_dx, dx)
    assert list(gpu_grads) == list(grads)
    for name, each in grads.items():
        close(gpu_grads[name], each)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("layer_class", [Conv1d, ConvTranspose1d])
@pytest.mark.parametrize("alpha", [1.0, 0.3])
def test_fused_forms_equal_layer_by_layer(cupy: Any, dtype: str, layer_class: Any, alpha: float) -> None:
    rng, parameter_dtype = np.random.default_rng(1), parameters_of(dtype)
    within = 5e-3 if dtype == "float16" else 0.0  # layer by layer, what is between two layers is rounded as well
    block = ResidualBlock(6, 3, convolution=layer_class, alpha=alpha, rng=rng, dtype=parameter_dtype)
    network = Sequential(
        first=layer_class(2, 4, 3, 1, 1, rng=rng, dtype=parameter_dtype),
        activation=ELU(alpha),
        convolution=layer_class(4, 6, 3, 1, 1, rng=rng, dtype=parameter_dtype),
        residual=block,
        last=ELU(alpha),
    )
    x = rng.standard_normal((2, 41, 2)).astype(dtype)
    y, cache = network.forward(x)
    dy = rng.standard_normal(y.shape).astype(dtype)
    dx, grads = network.backward(dy, cache)
    on_device(cupy, network.parameters["first"])
    on_device(cupy, network.parameters["convolution"])
    on_device(cupy, network.parameters["residual"])
    joined = fuse(network)
    assert isinstance(joined, FusedSequential)
    assert {name: type(step) for name, step in joined.steps.layers.items()} == {
        "first": layer_class,
        "convolution": Activated,
        "residual": FusedResidualBlock,
        "last": ELU,
    }
    assert [(name, layer) for name, layer in named_layers(joined)] == list(named_layers(network))
    fused_y, cache = joined.forward(cupy.asarray(x))
    fused_dx, fused_grads = joined.backward(cupy.asarray(dy), cache)
    for other in (network, joined):  # by other kernels, and by none
        for switch in (nullcontext, plain):
            with switch():
                one_by_one, cache = other.forward(cupy.asarray(x))
                close(one_by_one, y, within)
                close(other.backward(cupy.asarray(dy), cache)[0], dx, within)
    close(fused_y, y, within)
    close(fused_dx, dx, within)
    assert list(fused_grads) == list(grads) == ["first", "convolution", "residual"]
    assert list(fused_grads["residual"]["body"]) == ["1", "3"]
    for part in ("first", "convolution"):
        for name, each in grads[part].items():
            close(fused_grads[part][name], each, within)
    for place, filters in grads["residual"]["body"].items():
        for name, each in filters.items():
            close(fused_grads["residual"]["body"][place][name], each, within)


def test_signals_that_lie_askew(cupy: Any) -> None:
    """Strided, and not aligned to 16 bytes: packs of four would be read from between two addresses."""
    rng = np.random.default_rng(2)
    x, w = rng.standard_normal((2, 21, 8)).astype("f"), rng.standard_normal((3, 8, 8)).astype("f")
    flat = cupy.asarray(np.concatenate([[0], x.ravel()]).astype("f"))
    askew = flat[1:].reshape(x.shape)
    strided = cupy.asarray(np.repeat(x, 2, axis=1))[:, ::2]
    for view in (askew, strided):
        close(convolution.convolve(view, cupy.asarray(w), 1, 21), convolve(x, w, 1, 1, 21))
        dw, db = convolution.filter_gradient(cupy.asarray(x), view, (3, 8, 8), 1)
        close(dw, filter_gradient(x, x, 3, 1, 1))
        close(db, bias_gradient(x))
        y, cache = ELU().forward(view)
        close(y, elu(x, 1))
        close(ELU().backward(view, cache)[0], x * elu_slope(x, 1))
        close(pool.place(view, None, 2), x.repeat(2, axis=1))


def test_a_spoilt_layer_is_named_within_what_is_one_kernel(cupy: Any) -> None:
    network = fuse(Sequential(ELU(), Conv1d(2, 2, 3, 1, 1, rng=np.random.default_rng(0)), ELU()))
    on_device(cupy, network.parameters["1"])
    x = cupy.asarray(np.full((1, 5, 2), np.inf, "f"))
    with detect_anomaly(network), pytest.raises(NonFiniteLayer, match=r"^the output of 0 \(ELU"):
        network.forward(x)


@pytest.mark.parametrize("shape", [(0, 5, 2), (2, 0, 2)])
def test_nothing_is_made_of_nothing(cupy: Any, shape: tuple[int, ...]) -> None:
    layer = Conv1d(2, 3, 3, 1, 1, rng=np.random.default_rng(0))
    expected = layer.forward(np.zeros((0, 5, 2), "f"))[0] if not shape[0] else None
    on_device(cupy, layer.parameters)
    x = cupy.asarray(np.zeros(shape, "f"))
    if expected is None:
        with pytest.raises(ShapeError):
            layer.forward(x)
        return
    y, cache = layer.forward(x)
    dx, grads = layer.backward(y, cache)
    assert (y.shape, dx.shape) == (expected.shape, shape)
    assert (to_numpy(grads["weight"]) == 0).all()
    assert (to_numpy(grads["bias"]) == 0).all()


@drawn
@given(
    st.integers(1, 4), st.sampled_from([1, 3, 4, 8]), st.integers(1, 70), st.integers(0, 99), st.sampled_from(FLOATS)
)
def test_pools(cupy: Any, size: int, channels: int, windows: int, seed: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 4, (2, windows * size, channels)).astype(dtype)  # many ties
    layer = MaxPool1d(size)
    y, mask = layer.forward(x)
    dx, _ = layer.backward(y, mask)
    gpu_y, gpu_mask = layer.forward(cupy.asarray(x))
    gpu_dx, _ = layer.backward(gpu_y, gpu_mask)
    pairs = [(gpu_y, y), (gpu_mask, mask), (gpu_dx, dx), (layer.maxima(cupy.asarray(x)), y)]
    pairs += [
        (pool.select(cupy.asarray(x), gpu_mask, size), (x * mask).reshape(2, windows, size, channels).sum(2)),
        (pool.select(cupy.asarray(x), None, size), x.reshape(2, windows, size, channels).sum(2)),
        (pool.place(gpu_y, None, size), y.repeat(size, axis=1)),
    ]
    for here, there in pairs:
        assert here.dtype == there.dtype
        np.testing.assert_array_equal(to_numpy(here), there)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("channels", [1, 4])
def test_a_pool_of_what_is_not_a_number(cupy: Any, channels: int, dtype: str) -> None:
    x = np.array([np.nan, 1, 1, np.nan, np.nan, np.nan, -np.inf, np.inf, 0, -0.0, -np.inf, -np.inf], dtype)
    x = x.reshape(1, -1, 1).repeat(channels, axis=2)
    for size in (2, 3):
        y, mask = MaxPool1d(size).forward(x)
        gpu_y, gpu_mask = MaxPool1d(size).forward(cupy.asarray(x))
        np.testing.assert_array_equal(to_numpy(gpu_y), y)
        np.testing.assert_array_equal(to_numpy(gpu_mask), mask)


@pytest.mark.parametrize("alpha", [1.0, 0.5, 2.0])
@pytest.mark.parametrize("count", [1, 4, 255, 1025])
@pytest.mark.parametrize("dtype", FLOATS)
def test_elu(cupy: Any, alpha: float, count: int, dtype: str) -> None:
    x = np.random.default_rng(count).standard_normal((1, count)).astype(dtype)
    x[0, 0] = 0
    _, cache = ELU(alpha).forward(x)
    dy = x[:, ::-1].copy()
    gpu_y, gpu_cache = ELU(alpha).forward(cupy.asarray(x))
    close(ELU(alpha).backward(cupy.asarray(dy), gpu_cache)[0], ELU(alpha).backward(dy, cache)[0])
    close(gpu_y, elu(x, alpha).astype(dtype))


def test_elu_keeps_its_digits(cupy: Any) -> None:
    """Relative to itself, from where it is x to where it is -1: the bounds of nn1d/cuda/element.cuh."""
    x = np.concatenate([-np.logspace(-37, 3, 3000), -np.linspace(0.4, 0.6, 2000), np.linspace(0, 9, 3)]).astype("f")
    x = x.reshape(1, -1, 1)
    y, _ = ELU().forward(cupy.asarray(x))
    exact = elu(x.astype(np.float64), 1)
    assert (abs(to_numpy(y) - exact) <= 5e-7 * abs(exact)).all()
    one = cupy.asarray(np.ones((1, 1, 1), "f"))
    dx = convolution.convolve(
        *(cupy.asarray(np.ones_like(x)), one, 0, x.shape[1]), activated=cupy.asarray(x), activated_alpha=1.0
    )
    exact = elu_slope(x.astype(np.float64), 1)
    assert (abs(to_numpy(dx) - exact) <= 3e-7 * (1 + abs(x)) * exact + 2.0**-126).all()
    for special, value in ((np.nan, np.nan), (-np.inf, -1), (np.inf, np.inf), (0.0, 0)):
        y, _ = ELU().forward(cupy.asarray(np.full((1, 1, 4), special, "f")))
        np.testing.assert_array_equal(to_numpy(y), np.full((1, 1, 4), value, "f"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 255, 4096, 4097, 20_000])
def test_mse(cupy: Any, monkeypatch: pytest.MonkeyPatch, dtype: str, count: int) -> None:
    monkeypatch.setattr(loss, "MOST_BLOCKS", 3)
    rng = np.random.default_rng(count)
    y, target = rng.standard_normal((2, 1, count)).astype(dtype)
    gpu_loss, dy = mse(cupy.asarray(y), cupy.asarray(target))
    assert (gpu_loss.shape, gpu_loss.dtype) == ((), dtype)
    difference = y.astype(np.float64) - target
    np.testing.assert_allclose(float(gpu_loss), (difference**2).mean(), rtol=1e-7 if dtype == "float32" else 1e-13)
    close(dy, 2 / count * difference)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("decay", ["none", "number", "array"])
def test_adam(cupy: Any, dtype: str, decoupled: bool, decay: str) -> None:
    rng = np.random.default_rng(3)
    start, gradients = rng.standard_normal(300).astype(dtype), rng.standard_normal((4, 300)).astype(dtype)
    decays = {"none": 0.0, "number": 0.1, "array": rng.uniform(0, 0.1, 300).astype(dtype) * (rng.random(300) < 0.5)}
    strength: Any = decays[decay]
    ours, theirs = (
        Adam(0.01, weight_decay=each, decoupled=decoupled)
        for each in (strength, cupy.asarray(strength) if decay == "array" else strength)
    )
    here, there = start.copy(), cupy.asarray(start)
    for gradient in gradients:
        ours.step(here, gradient)
        theirs.step(there, cupy.asarray(gradient))
    assert theirs.steps == 4
    for actual, expected in ((there, here), (theirs.mean, ours.mean), (theirs.square, ours.square)):
        close(actual, expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("layer_class", [Conv1d, ConvTranspose1d])
def test_the_gradient_check_runs_through_the_kernels(
    cupy: Any, monkeypatch: pytest.MonkeyPatch, layer_class: Any
) -> None:
    """Against differences of the forward kernels, which know nothing of the backward ones."""
    monkeypatch.setattr(harness.RawModule, "runs", 1)
    rng = np.random.default_rng(5)
    network = Sequential(
        layer_class(1, 4, 3, 1, 1, rng=rng, dtype=np.float64),
        ResidualBlock(4, 3, convolution=layer_class, rng=rng, dtype=np.float64),
        MaxPool1d(2),
        ELU(),
    )
    for name in ("0", "1"):
        on_device(cupy, network.parameters[name])
    x = cupy.asarray(rng.standard_normal((2, 12, 1)))
    assert check_gradients(network, x, rng=rng).ok
    assert check_gradients(fuse(network), x, rng=rng).ok
    right = convolution.parameter_gradients

    def wrong(*arguments: Any) -> Any:
        dw, db = right(*arguments)
        return dw, db * 1.001

    monkeypatch.setattr(convolution, "parameter_gradients", wrong)
    monkeypatch.setitem(FORMS, "parameter_gradients", [wrong])
    with pytest.raises(GradientError, match=r"\* .*bias"):
        check_gradients(fuse(network), x, rng=rng)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_two_runs_give_the_same_bits(cupy: Any, dtype: str) -> None:
    rng = np.random.default_rng(4)
    block = fuse(ResidualBlock(16, 3, rng=rng))
    on_device(cupy, block.parameters["body"])
    x = cupy.asarray(rng.standard_normal((3, 1100, 16)).astype(dtype))
    runs = []
    for _ in range(2):
        y, cache = block.forward(x)
        value, dy = mse(y.astype("f"), x.astype("f"))
        dx, grads = block.backward((1000 * dy).astype(dtype), cache)
        runs.append([value, dx, *(each for part in grads["body"].values() for each in part.values())])
    for one, other in zip(*runs, strict=True):
        assert to_numpy(one).tobytes() == to_numpy(other).tobytes()
