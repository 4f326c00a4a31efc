"""What people hand to layers: arrays of others, sizes, types and seeds of NumPy, settings that are none."""

from __future__ import annotations

import re
from collections import UserDict
from typing import Any

import numpy as np
import pytest

import nn1d
from models.autoencoder import Autoencoder
from nn1d import (
    ELU,
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
from tests.twin import import_torch

SPOILT = [np.nan, np.inf, -np.inf]
FLOATS = [np.float16, np.float32, np.float64]


def refused(text: str) -> Any:
    return pytest.raises(ShapeError, match=f"^{re.escape(text)}")


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
