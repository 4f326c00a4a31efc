"""What people do with layers: numbers that are not finite, parameters shared and copied, long sums and filters."""

from __future__ import annotations

import copy
import pickle
import re
import tracemalloc
from typing import Any

import numpy as np
import pytest

from models.autoencoder import Autoencoder
from nn1d import (
    ELU,
    SGD,
    Adam,
    Conv1d,
    ConvTranspose1d,
    FlatParameters,
    HardSigmoid,
    MaxPool1d,
    MaxUnpool1d,
    Sequential,
    ShapeError,
    check_gradients,
    mse,
)
from nn1d.index_cache import BOUND_BYTES, cached_bytes
from tests import loops

SPOILT = [np.nan, np.inf, -np.inf]
FLOATS = [np.float16, np.float32, np.float64]


def refused(text: str) -> Any:
    return pytest.raises(ShapeError, match=f"^{re.escape(text)}")


# what is masked is 0, whatever stood there


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("value", SPOILT)
@pytest.mark.parametrize("size", [2, 3])
def test_pools_choose(dtype: Any, value: float, size: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.permutation(2 * 6 * size * 3).reshape(2, 6 * size, 3).astype(dtype)
    _, mask = MaxPool1d(size).forward(x)
    short, full = rng.standard_normal((2, 6, 3)).astype(dtype), rng.standard_normal(x.shape).astype(dtype)
    short[0, 2, 1] = value
    full[~mask] = value
    np.testing.assert_array_equal(MaxUnpool1d(size).forward(short, mask)[0], loops.place(short, mask, size))
    np.testing.assert_array_equal(MaxPool1d(size).backward(short, mask)[0], loops.place(short, mask, size))
    np.testing.assert_array_equal(MaxUnpool1d(size).backward(full, mask)[0], loops.select(full, mask, size))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("value", SPOILT)
def test_hard_sigmoid_lets_nothing_through_where_it_is_flat(dtype: Any, value: float) -> None:
    layer = HardSigmoid()
    _, y = layer.forward(np.array([-9.0, 9.0, 0.0], dtype))
    dx, _ = layer.backward(np.array([value, value, value], dtype), y)
    np.testing.assert_array_equal(dx, [0, 0, value])


@pytest.mark.parametrize("value", SPOILT)
@pytest.mark.parametrize(("stride", "padding"), [(1, 5), (2, 6), (3, 4)])
def test_windows_wholly_in_the_padding_give_the_bias(value: float, stride: int, padding: int) -> None:
    layer = Conv1d(2, 3, 3, stride, padding, rng=0)
    layer.parameters["bias"][:] = 1, 2, 3
    with np.errstate(invalid="ignore"):  # of infinity less infinity, inside
        y, _ = layer.forward(np.full((1, 4, 2), value, np.float32))
    np.testing.assert_array_equal(y[0, 0], [1, 2, 3])
    assert not np.isfinite(y).all()


# one array is one parameter


def test_a_layer_used_twice_has_the_sum_of_its_gradients() -> None:
    layer = Conv1d(2, 2, 3, 1, 1, rng=1, dtype=np.float64)
    network = Sequential(layer, ELU(), layer)
    assert check_gradients(network, np.random.default_rng(0).standard_normal((2, 9, 2)), rng=0).ok
    flat = FlatParameters(network.parameters)
    assert flat.vector.size == layer.parameters["weight"].size + 2
    y, cache = network.forward(np.ones((1, 9, 2)))
    _, grads = network.backward(y, cache)
    both = grads["0"]["weight"] + grads["2"]["weight"]
    np.testing.assert_array_equal(flat.flatten(grads)[: both.size], both.ravel())


def test_two_views_of_one_memory_are_refused() -> None:
    one, two = (Conv1d(2, 2, 3, 1, 1, rng=seed, dtype=np.float64) for seed in range(2))
    two.parameters["weight"] = one.parameters["weight"][:]
    network = Sequential(one, two)
    text = "0.weight and 1.weight are different arrays over one memory. To share a parameter"
    with refused(f"FlatParameters: {text}"):
        FlatParameters(network.parameters)
    with refused(f"check_gradients: {text}"):
        check_gradients(network, np.ones((1, 9, 2)), rng=0)


def test_names_of_layers_are_theirs_alone() -> None:
    with refused("Sequential: a layer cannot be named '0': that is the name of another one"):
        Sequential(ELU(), **{"0": HardSigmoid()})
    with refused("Sequential: a layer cannot be named 'a.b': a dot stands between names"):
        Sequential(**{"a.b": ELU()})
    with refused("Sequential: needs layers, with forward and backward; got [ELU(1)]. Unpack the list"):
        Sequential([ELU()])  # type: ignore[arg-type]
    with refused(
        "Sequential: needs layers, with forward and backward; got <class 'nn1d.activation.ELU'>. Make one: ELU("
    ):
        Sequential(ELU)  # type: ignore[arg-type]


def test_parameters_have_one_dtype() -> None:
    network = Sequential(Conv1d(1, 2, 3, rng=0), Conv1d(2, 1, 3, rng=0, dtype=np.float64))
    with refused("FlatParameters: all parameters must have one dtype; got float32 (0.weight) and float64 (1.weight)"):
        FlatParameters(network.parameters)


@pytest.mark.parametrize("kind", [Adam, SGD])
@pytest.mark.parametrize("views", [False, True])
def test_one_optimiser_has_one_array(kind: Any, views: bool) -> None:
    name, vector = kind.__name__, np.ones(8)
    arrays = (vector[:4], vector[4:]) if views else (np.ones(4), np.ones(4))
    optimiser = kind()
    optimiser.step(arrays[0], np.ones(4))
    optimiser.step(vector[:4] if views else arrays[0], np.ones(4))  # another view of the same numbers
    with refused(f"{name}: these parameters are not the array that was stepped before"):
        optimiser.step(arrays[1], np.ones(4))
    np.testing.assert_array_equal(arrays[1], 1)
    with refused(f"{name}: these parameters are not the array that was stepped before"):
        optimiser.step(np.ones(5), np.ones(5))
    twin, same = copy.deepcopy((optimiser, arrays[0]))
    twin.step(same, np.ones(4))
    optimiser.step(arrays[0], np.ones(4))
    np.testing.assert_array_equal(same, arrays[0])
    fixed = np.ones(4)
    fixed.setflags(write=False)
    with refused(f"{name}: the parameters are read-only, and a step moves them in place. Copy them"):
        kind().step(fixed, np.ones(4))


def test_an_array_that_takes_the_place_of_one_that_is_gone_keeps_the_moments() -> None:
    p, kept, adam, same = np.ones(4), np.ones(4), Adam(), Adam()
    for _ in range(3):
        adam.step(p, np.ones(4))
        same.step(kept, np.ones(4))
        p = p.copy()
    np.testing.assert_array_equal(p, kept)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
@pytest.mark.parametrize("vector_first", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_a_copy_trains_as_the_original(duplicate: Any, vector_first: bool, tied: bool) -> None:
    network = Autoencoder((2, 3), rng=0, tied=tied)
    flat, adam = FlatParameters(network.parameters), Adam()
    x = np.random.default_rng(0).random((1, 16, 1)).astype(np.float32)

    def step(network: Any, flat: FlatParameters, adam: Adam) -> None:
        trace, cache = network.forward(x)
        _, dy = mse(trace.reconstruction, x)
        _, grads = network.backward(type(trace)(dy, [], []), cache)
        adam.step(flat.vector, flat.flatten(grads))

    step(network, flat, adam)
    before = flat.vector.copy()
    parts = (flat, network) if vector_first else (network, flat)
    *pair, twin_adam = duplicate((*parts, adam))
    twin_network, twin = pair[::-1] if vector_first else pair
    step(twin_network, twin, twin_adam)
    step(twin_network, twin, twin_adam)
    np.testing.assert_array_equal(flat.vector, before)  # the original stays
    step(network, flat, adam)
    step(network, flat, adam)
    np.testing.assert_array_equal(twin.vector, flat.vector)
    assert not np.array_equal(flat.vector, before)


# long sums and long filters


def test_the_mean_of_many_squares_keeps_its_digits() -> None:
    rng = np.random.default_rng(0)
    y = rng.random(3_000_001, np.float32)
    loss, _ = mse(y, np.zeros_like(y))
    assert loss.dtype == np.float32
    np.testing.assert_allclose(float(loss), np.square(y, dtype=np.float64).mean(), rtol=2e-7)
    short = y[:65_536]
    assert mse(short, np.zeros_like(short))[0] == short @ short / short.size  # the bits of one product


def test_indices_of_many_lengths_stay_within_one_bound() -> None:
    convolution, pool = Conv1d(1, 1, 1025, padding=512, rng=0), MaxPool1d(2)
    tracemalloc.start()
    for length in range(20):  # 9 MiB each
        convolution.forward(np.zeros((1, 1100 + length, 1), np.float32))
    for length in range(20):  # 8 MiB each
        pool.forward(np.zeros((1, 1_000_000 + 2 * length, 1), np.float32))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert cached_bytes() <= BOUND_BYTES
    assert held < 1.2 * BOUND_BYTES
    assert cached_bytes() > BOUND_BYTES / 2  # the latest are there


@pytest.mark.parametrize("kind", [Conv1d, ConvTranspose1d])
def test_a_filter_longer_than_any_table_of_its_windows(kind: Any) -> None:
    rng = np.random.default_rng(0)
    layer, x = kind(1, 1, 6001, padding=3000, rng=0, dtype=np.float64), rng.standard_normal((1, 3000, 1))
    tracemalloc.start()
    y, cache = layer.forward(x)
    dx, grads = layer.backward(y, cache)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    w = layer.parameters["weight"][:, 0, 0]
    reach = np.convolve(x[0, :, 0], w if kind is ConvTranspose1d else w[::-1])[3000 : 3000 + 3000]
    np.testing.assert_allclose(y[0, :, 0], reach, atol=1e-10)
    np.testing.assert_allclose((dx * x).sum(), (y * y).sum(), rtol=1e-10)  # ⟨x, Aᵀ y⟩ = ⟨A x, y⟩
    np.testing.assert_allclose((grads["weight"][:, 0, 0] * w).sum(), (y * y).sum(), rtol=1e-10)
    assert most < 32 << 20
