"""Weights in and out of a network, by name, in our layout and in that of torch.nn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nn1d import (
    Conv1d,
    ConvTranspose1d,
    FlatParameters,
    Sequential,
    ShapeError,
    flatten,
    from_torch,
    load_parameters,
    named_leaves,
    to_torch,
)
from tests.twin import import_torch


def network(seed: int) -> Sequential:
    rng = np.random.default_rng(seed)
    return Sequential(first=Conv1d(2, 3, 5, rng=rng), last=ConvTranspose1d(3, 4, 2, rng=rng))


def arrays(seed: int) -> dict[str, np.ndarray]:
    return {name: leaf.copy() for name, leaf in named_leaves(network(seed).parameters)}


def test_the_layout_of_torch() -> None:
    ours = network(0).parameters
    state = to_torch(ours)
    assert {name: array.shape for name, array in state.items()} == {
        "first.weight": (3, 2, 5),  # (O, C, K)
        "first.bias": (3,),
        "last.weight": (3, 4, 2),  # (C, O, K)
        "last.bias": (4,),
    }
    assert state["first.weight"][2, 1, 4] == ours["first"]["weight"][4, 1, 2]
    assert state["last.weight"][2, 3, 1] == ours["last"]["weight"][1, 3, 2]
    assert all(array.flags.c_contiguous for array in state.values())


def test_there_and_back() -> None:
    one, other = network(0), network(1)
    from_torch(other.parameters, to_torch(one.parameters))
    np.testing.assert_array_equal(flatten(other.parameters), flatten(one.parameters))


def test_out_is_a_copy() -> None:
    one = network(0)
    before = flatten(one.parameters)
    for array in to_torch(one.parameters).values():
        if array.ndim == 3:
            array += 1
    np.testing.assert_array_equal(flatten(one.parameters), before)


def test_loading_writes_into_the_arrays_that_the_layers_hold() -> None:
    one = network(0)
    flat = FlatParameters(one.parameters)
    load_parameters(one.parameters, arrays(1))
    np.testing.assert_array_equal(flat.vector, flatten(network(1).parameters))
    load_parameters(flat.views, arrays(2))
    np.testing.assert_array_equal(flatten(one.parameters), flatten(network(2).parameters))


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        (lambda a: a.pop("last.bias"), ["missing last.bias"]),
        (lambda a: a.update(extra=np.zeros(3)), ["unexpected extra"]),
        (
            lambda a: a.update({"first.weight": np.zeros((3, 2, 5))}),
            ["first.weight must be (5, 2, 3), got (3, 2, 5)"],
        ),
        (
            lambda a: (a.pop("first.bias"), a.update({"first.b": np.zeros(3), "last.bias": np.zeros(1)})),
            ["missing first.bias", "unexpected first.b", "last.bias must be (4,), got (1,)"],
        ),
    ],
)
def test_weights_that_do_not_fit_are_all_named_and_none_is_loaded(change: Any, faults: list[str]) -> None:
    one, new = network(0), arrays(1)
    change(new)
    before = flatten(one.parameters)
    with pytest.raises(ShapeError) as caught:
        load_parameters(one.parameters, new)
    assert str(caught.value) == f"the weights do not fit the network: {'; '.join(faults)}"
    np.testing.assert_array_equal(flatten(one.parameters), before)


def test_a_torch_layer_that_is_not_the_twin_is_refused() -> None:
    state = to_torch(network(0).parameters)
    state["first.weight"] = state["first.weight"][:, :, :4]
    with pytest.raises(ShapeError, match=r"first.weight must be \(5, 2, 3\), got \(4, 2, 3\)"):
        from_torch(network(1).parameters, state)


def test_weights_that_are_nan_are_loaded_as_they_are() -> None:
    """What overflowed is for the caller to look at; it is no parameter that differs from itself."""
    one, shared = network(0), Conv1d(3, 3, 3, 1, 1, rng=0)
    load_parameters(one.parameters, {name: array * np.nan for name, array in arrays(1).items()})
    assert np.isnan(flatten(one.parameters)).all()
    tied = Sequential(shared, shared)
    state = {name: leaf * np.nan for name, leaf in named_leaves(tied.parameters)}
    load_parameters(tied.parameters, state)
    assert np.isnan(shared.parameters["weight"]).all()
    with pytest.raises(ShapeError, match=r"1\.bias must equal 0\.bias, which is the same parameter$"):
        load_parameters(tied.parameters, state | {"1.bias": np.zeros(3)})


def test_what_is_no_tree_of_arrays_is_named_with_the_cure() -> None:
    one: Any = network(0)
    with pytest.raises(
        ShapeError, match=r"^to_torch: the network must be arrays by name; got the layer .*\.parameters$"
    ):
        to_torch(one)
    for function in (load_parameters, from_torch):
        with pytest.raises(
            ShapeError, match=rf"^{function.__name__}: first is a dict.*: dict\(named_leaves\(\.\.\.\)\)$"
        ):
            function(one.parameters, network(1).parameters)


def test_one_vector_for_all_parameters() -> None:
    one = network(0)
    before = flatten(one.parameters)
    flat = FlatParameters(one.parameters)
    np.testing.assert_array_equal(flat.vector, before)
    assert list(flat.views) == ["first.weight", "first.bias", "last.weight", "last.bias"]
    assert sum(view.size for view in flat.views.values()) == flat.vector.size == 5 * 2 * 3 + 3 + 2 * 4 * 3 + 4
    flat.vector[:] = np.arange(flat.vector.size)
    # the layers see the change, through their own dictionaries
    assert one.layers["first"].parameters["bias"].tolist() == [30, 31, 32]
    np.testing.assert_array_equal(flatten(one.parameters), flat.vector)
    x = np.ones((1, 9, 2), np.float32)
    moved, _ = one.forward(x)
    flat.vector[:] = 0
    assert moved.any()
    assert not one.forward(x)[0].any()


def test_torch_layers_take_our_arrays() -> None:
    torch = import_torch()
    one = network(0)
    twin = torch.nn.Sequential()
    twin.add_module("first", torch.nn.Conv1d(2, 3, 5))
    twin.add_module("last", torch.nn.ConvTranspose1d(3, 4, 2))
    twin.load_state_dict({name: torch.from_numpy(array) for name, array in to_torch(one.parameters).items()}, True)
    x = np.random.default_rng(0).standard_normal((2, 9, 2)).astype(np.float32)
    theirs = twin(torch.from_numpy(x.swapaxes(1, 2).copy())).detach().numpy().swapaxes(1, 2)
    np.testing.assert_allclose(one.forward(x)[0], theirs, rtol=1e-5, atol=1e-5)
    other = network(1)
    from_torch(other.parameters, {name: tensor.numpy() for name, tensor in twin.state_dict().items()})
    np.testing.assert_array_equal(flatten(other.parameters), flatten(one.parameters))
