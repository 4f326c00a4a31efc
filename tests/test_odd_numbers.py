"""What people hand to layers: numbers that are not finite, arrays of others, sizes of NumPy, copies, long sums."""

from __future__ import annotations

import copy
import pickle
import re
import tracemalloc
from collections import UserDict
from typing import Any

import numpy as np
import pytest

import nn1d
from models.autoencoder import Autoencoder
from nn1d import (
    ELU,
    SGD,
    Adam,
    AvgPool1d,
    Conv1d,
    ConvTranspose1d,
    Dropout,
    FlatParameters,
    Fold1d,
    GlobalAveragePool1d,
    HardSigmoid,
    LayerNorm,
    LeakyReLU,
    Linear,
    MaxPool1d,
    MaxUnpool1d,
    ResidualBlock,
    Sequential,
    ShapeError,
    Softmax,
    Unfold1d,
    Upsample1d,
    check_gradients,
    cross_entropy,
    from_torch,
    load_parameters,
    mse,
)
from nn1d.index_cache import BOUND_BYTES, cached_bytes
from tests import loops
from tests.twin import import_torch

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


# arrays of others, sizes, types, seeds

LAYERS: list[Any] = [
    Conv1d(1, 1, 3, rng=0), ConvTranspose1d(1, 1, 3, rng=0), MaxPool1d(2), Upsample1d(2), Fold1d(2), Unfold1d(1), ELU(),
    AvgPool1d(2), GlobalAveragePool1d(), Dropout(), Linear(1, 1, rng=0), LayerNorm(1), Softmax(),
    HardSigmoid(), ResidualBlock(1, rng=0),
]  # fmt: skip


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_a_list_or_a_tensor_is_named_with_the_cure(layer: Any) -> None:
    torch = import_torch()
    name = "ELU(1)" if isinstance(layer, ResidualBlock) else repr(layer)  # the first that looks
    x = np.ones((1, 8, 1), np.float32)
    y, cache = layer.forward(x)
    for value, kind, cure in (
        (x.tolist(), "list", "np.asarray({}, np.float32)"),
        (torch.ones(1, 8, 1, requires_grad=True), "torch.Tensor", "{}.detach().cpu().numpy()"),
        (None, "NoneType", "np.asarray({}, np.float32)"),
    ):
        message = "{}: {} must be an array of NumPy or CuPy; got {}. Convert it: {}"
        with refused(message.format(name, "x", kind, cure.format("x"))):
            layer.forward(value)
        with pytest.raises(ShapeError, match=rf"dy must be an array of NumPy or CuPy; got {re.escape(kind)}\. Convert"):
            layer.backward(value, cache)
    with pytest.raises(ShapeError, match="dy must be like y, float"):
        layer.backward(np.ones(y.shape, np.int64), cache)
    with refused(f"{name}: x is a masked array. Choose what stands in the masked places: x.filled(0)"):
        layer.forward(np.ma.masked_array(x))
    assert y.dtype == np.float32


def test_other_functions_name_foreign_arrays() -> None:
    torch = import_torch()
    x, layer = np.ones((1, 8, 1), np.float32), Conv1d(1, 1, 3, rng=0)
    before = layer.parameters["weight"].copy()
    state = {"weight": torch.ones(1, 1, 3), "bias": torch.ones(1)}
    with refused("mse: y must be an array of NumPy or CuPy; got list. Convert it: np.asarray(y, np.float32)"):
        mse([1.0], x)  # type: ignore[arg-type]
    with refused("mse: target must be an array of NumPy or CuPy; got torch.Tensor. Convert it: target.detach()"):
        mse(x, torch.ones(1, 8, 1))
    with refused("cross_entropy: x must be an array of NumPy or CuPy; got list. Convert it: np.asarray(x, np.float32)"):
        cross_entropy([[1.0, 2.0]], np.zeros(1, int))  # type: ignore[arg-type]
    with refused(
        "cross_entropy: target must be an array of NumPy or CuPy; got list. Convert it: np.asarray(target, int)"
    ):
        cross_entropy(x[0, :, :], [0] * 8)  # type: ignore[arg-type]
    with refused(
        "cross_entropy: target must be an array of NumPy or CuPy; got torch.Tensor. Convert it: target.detach()"
    ):
        cross_entropy(x[0, :, :], torch.zeros(8, dtype=torch.int64))
    with refused("mse: y must hold floats, such as float32; got int64. Convert it: y.astype(np.float32)"):
        mse(np.ones(3, np.int64), np.ones(3))
    loss, dy = mse(x, np.zeros(x.shape))  # as soundfile reads a target
    assert loss.dtype == dy.dtype == np.float32
    with refused("Adam: parameters must be an array of NumPy or CuPy; got list"):
        Adam().step([1.0], [1.0])  # type: ignore[arg-type]
    with refused("Adam: gradient must be an array of NumPy or CuPy; got torch.Tensor"):
        Adam().step(np.ones(3), torch.ones(3))
    with refused("Adam: the parameters must be floats, such as float32; got int64"):
        Adam().step(np.ones(3, np.int64), np.ones(3))
    for function in (from_torch, load_parameters):
        name = function.__name__
        with refused(
            f"{name}: weight must be an array of NumPy or CuPy; got torch.Tensor. Convert it: weight.detach()"
        ):
            function(layer.parameters, state)
        with refused(f"{name}: weight must be an array of NumPy or CuPy; got list"):
            function(layer.parameters, UserDict(weight=[[[1.0]]], bias=[1.0]))  # type: ignore[arg-type]
        with refused(f"{name}: weight must hold numbers; got <U1"):
            function(layer.parameters, {"weight": np.full((3, 1, 1), "a"), "bias": np.ones(1)})
        with refused(f"{name}: needs arrays by name, such as dict(...); got list"):
            function(layer.parameters, [])  # type: ignore[arg-type]
        with refused("load_parameters: the network must be arrays by name; got the layer Conv1d(1 -> 1, k=3). Hand"):
            function(layer, {})
    with refused("FlatParameters: n must be arrays by name; got the layer Conv1d(1 -> 1, k=3). Hand over n.parameters"):
        FlatParameters({"n": layer})
    with refused("MaxUnpool1d(2): the mask must be an array of NumPy or CuPy; got list. Convert it: np.asarray(mask"):
        MaxUnpool1d(2).forward(x, [True])  # type: ignore[arg-type]
    with refused("MaxUnpool1d(2): the mask must be of bool, as a pool gives it; got float32. Convert it"):
        MaxUnpool1d(2).forward(x, np.ones((1, 16, 1), np.float32))
    np.testing.assert_array_equal(layer.parameters["weight"], before)


def test_sizes_of_numpy_are_sizes() -> None:
    two: Any = np.int64(2)
    three: Any = np.int32(3)
    one: Any = np.uint8(1)
    seed: Any = np.int64(0)
    x = np.ones((1, 12, 2), np.float32)
    layers: list[Any] = [
        Conv1d(two, two, three, one, one, rng=0), ConvTranspose1d(two, two, three, one, one, rng=0), MaxPool1d(two),
        Upsample1d(three), Fold1d(two), Unfold1d(one), ResidualBlock(two, three, rng=0),
    ]  # fmt: skip
    for layer in layers:
        y, cache = layer.forward(x)
        assert layer.backward(y, cache)[0].shape == x.shape
    assert Autoencoder((two, three), three, rng=seed).forward(x[:, :, :1])[0].reconstruction.shape == (1, 12, 1)
    with refused("MaxPool1d: size must be a positive integer; got np.float64(2.5)"):
        MaxPool1d(np.float64(2.5))  # type: ignore[arg-type]
    for build in (lambda size: Conv1d(1, 1, size, rng=0), MaxPool1d, Fold1d, Upsample1d):
        with pytest.raises(ShapeError, match=r"must be a positive integer; got True$"):
            build(True)


@pytest.mark.parametrize("kind", [Conv1d, ConvTranspose1d])
@pytest.mark.parametrize("dtype", [int, np.float16, complex, "x", None, bool, np.longdouble])
def test_parameters_are_float32_or_float64(kind: Any, dtype: Any) -> None:
    with refused(f"{kind.__name__}: dtype must be float32 or float64; got "):
        kind(1, 1, 3, rng=0, dtype=dtype)


def test_a_number_is_a_seed() -> None:
    for build in (lambda rng: Conv1d(2, 3, 3, rng=rng), lambda rng: ResidualBlock(2, rng=rng)):
        one, two = (list(nn1d.named_leaves(build(rng).parameters)) for rng in (3, np.random.default_rng(3)))
        for (_, a), (_, b) in zip(one, two, strict=True):
            np.testing.assert_array_equal(a, b)
    block = ResidualBlock(2, rng=0).body.parameters
    assert not np.array_equal(block["1"]["weight"], block["3"]["weight"])  # one stream, not one seed a layer
    for rng in (None, -1, "0", 0.5):
        with refused(f"Conv1d: rng must be a numpy.random.Generator or a seed of at least 0; got {rng!r}. Make one"):
            Conv1d(1, 1, 3, rng=rng)  # type: ignore[arg-type]


@pytest.mark.parametrize("decay", [-0.1, np.nan, np.inf, np.float32(-1), np.array([0.1, -0.1]), np.array([np.nan, 0])])
def test_a_weight_decay_is_finite_and_not_negative(decay: Any) -> None:
    with refused("Adam: weight_decay must be finite and not negative"):
        Adam(weight_decay=decay)


def test_settings_of_adam_are_numbers() -> None:
    with refused("Adam: learning_rate must be a finite number; got '0.1'"):
        Adam("0.1")  # type: ignore[arg-type]
    with refused("Adam: epsilon must be a finite number; got nan"):
        Adam(epsilon=np.nan)
    with refused("Adam: weight_decay must be an array of NumPy or CuPy; got list"):
        Adam(weight_decay=[0.1])  # type: ignore[arg-type]
    with refused("Adam: weight_decay must be a number or have the shape of the parameters, (3,); got (2,)"):
        Adam(weight_decay=np.ones(2)).step(np.ones(3), np.ones(3))


@pytest.mark.parametrize("value", ["0.5", None, [0.5], np.array([0.5, 0.5]), np.nan, np.inf, True, 0.5 + 0j])
def test_settings_of_layers_are_numbers(value: Any) -> None:
    builders: list[tuple[Any, str]] = [
        (ELU, "ELU: alpha"),
        (LeakyReLU, "LeakyReLU: negative_slope"),
        (Dropout, "Dropout: rate"),
        (lambda epsilon: LayerNorm(1, epsilon), "LayerNorm: epsilon"),
    ]
    for build, name in builders:
        with refused(f"{name} must be a finite number; got {value!r}"):
            build(value)
        build(np.float32(0.5))


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_a_matrix_is_named_with_the_cure(layer: Any) -> None:
    with pytest.raises(ShapeError, match=r": x is an np\.matrix\. Convert it: np\.asarray\(x\)$"):
        layer.forward(np.asmatrix(np.ones((8, 1), np.float32)))


@pytest.mark.parametrize("value", [np.ones((1, 8, 1)), [1.0], None, 1.0, {"a"}])
def test_what_is_no_network_is_named(value: Any) -> None:
    with refused("FlatParameters: needs arrays by name, such as network.parameters; got "):
        FlatParameters(value)
    with refused("check_gradients: needs a layer, with parameters, forward and backward; got "):
        check_gradients(value, np.ones((1, 8, 1)), rng=0)


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
