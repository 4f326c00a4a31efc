"""One contract, run over every layer and over the network: what "a layer is two pure functions" promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nn1d
from nn1d import ShapeError
from tests.case import CASES, Case, leaves
from tests.wrong_promises import PROMISES


def like(tree: Any, change: Callable[[np.ndarray], np.ndarray]) -> Any:
    if isinstance(tree, np.ndarray):
        return change(tree)
    children = [like(child, change) for child in tree]
    return type(tree)(*children) if hasattr(tree, "_fields") else type(tree)(children)


def inputs(case: Case, seed: int, dtype: Any = np.float64, clips: int | None = None) -> tuple[Any, ...]:
    """x without ties, and the further arguments."""
    rng = np.random.default_rng(seed)
    clips = case.shape[0] if clips is None else clips
    shape = clips, *case.shape[1:]
    x = (rng.permutation(int(np.prod(shape))).reshape(shape) / 20 - 1).astype(dtype)
    return x, *case.context(rng, clips)


def gradient_of(y: Any, seed: int) -> Any:
    rng = np.random.default_rng([seed, 1])
    return like(y, lambda leaf: rng.standard_normal(leaf.shape).astype(leaf.dtype))


def equal(one: Any, other: Any, tolerance: float = 0.0) -> None:
    pairs = zip(leaves(one), leaves(other), strict=True)
    for (name, a), (other_name, b) in pairs:
        assert name == other_name
        assert a.shape == b.shape, name
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=name)


def frozen(*trees: Any) -> list[bytes]:
    """Make every array read-only, so that a write raises where it happens; and its bytes, for writes that do not."""
    for tree in trees:
        for _, leaf in leaves(tree):
            leaf.setflags(write=False)
    return [leaf.tobytes() for tree in trees for _, leaf in leaves(tree)]


def check_nothing_is_written(case: Case) -> None:
    layer, arguments = case.build(np.float64), inputs(case, 0)
    before = frozen(arguments, layer.parameters)
    try:
        y, cache = layer.forward(*arguments)
        dy = gradient_of(y, 0)
        kept = frozen(y, cache, dy)
        dx, grads = layer.backward(dy, cache)
        again = layer.backward(dy, cache)
    except ValueError as error:
        raise AssertionError(f"something was written: {error}") from error
    assert before == frozen(arguments, layer.parameters)
    assert kept == frozen(y, cache, dy)
    equal((dx, grads), again)


def check_two_clips_in_flight(case: Case) -> None:
    layer, one, other = case.build(np.float64), inputs(case, 0), inputs(case, 1)

    def alone(arguments: Any, seed: int) -> Any:
        fresh = case.build(np.float64)
        y, cache = fresh.forward(*arguments)
        return y, fresh.backward(gradient_of(y, seed), cache)

    y_one, cache_one = layer.forward(*one)
    y_other, cache_other = layer.forward(*other)
    back_one = layer.backward(gradient_of(y_one, 0), cache_one)
    back_other = layer.backward(gradient_of(y_other, 1), cache_other)
    equal((y_one, back_one), alone(one, 0))
    equal((y_other, back_other), alone(other, 1))


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "samples backwards": lambda a: np.ascontiguousarray(a[:, ::-1])[:, ::-1],
    "clips backwards": lambda a: np.ascontiguousarray(a[::-1])[::-1],
    "channels backwards": lambda a: np.ascontiguousarray(a[:, :, ::-1])[:, :, ::-1],
    "channels first": lambda a: np.ascontiguousarray(a.swapaxes(1, 2)).swapaxes(1, 2),
    "Fortran": np.asfortranarray,
    "every second sample": lambda a: np.repeat(a, 2, 1)[:, ::2],
    "middle of a longer signal": lambda a: np.pad(a, ((1, 1), (5, 3), (1, 0)))[1:-1, 5:-3, 1:],
}


def check_any_layout(case: Case) -> None:
    layer, (x, *context) = case.build(np.float64), inputs(case, 0)
    y, cache = layer.forward(x, *context)
    dy = gradient_of(y, 0)
    straight = layer.backward(dy, cache)
    for layout in LAYOUTS.values():

        def view(a: np.ndarray, layout: Callable[[np.ndarray], np.ndarray] = layout) -> np.ndarray:
            return layout(a) if a.ndim == 3 else layout(a[:, :, None])[:, :, 0]

        y_view, cache_view = layer.forward(view(x), *map(view, context))
        equal(y_view, y, 1e-12)
        # exact, since a pool marks the same sample whatever the layout is
        equal(layer.backward(like(dy, view), cache_view), straight, 1e-12)


def check_dtypes_stay(case: Case) -> None:
    for dtype in (np.float32, np.float64):
        layer, arguments = case.build(dtype), inputs(case, 0, dtype)
        assert {leaf.dtype for _, leaf in leaves(layer.parameters)} <= {np.dtype(dtype)}
        y, cache = layer.forward(*arguments)
        as_promised: Any = np.float32 if dtype is np.float32 else np.float64
        dy = gradient_of(like(y, as_promised), 0)
        back = layer.backward(dy, cache)
        for name, leaf in leaves((y, back)):
            assert leaf.dtype == dtype, f"{name} of {np.dtype(dtype)} came out as {leaf.dtype}"


def check_single_signals_meet_double_parameters(case: Case) -> None:
    """As a student has it who built a layer for the checker, and then trains it: backward takes what is like y."""
    layer, arguments = case.build(np.float64), inputs(case, 0, np.float32)
    y, cache = layer.forward(*arguments)
    for name, leaf in leaves(y):
        assert leaf.dtype == np.float32, f"{name} came out as {leaf.dtype}"
    dx, _ = layer.backward(gradient_of(y, 0), cache)
    assert dx.dtype == np.float32


def check_double_precision_throughout(case: Case) -> None:
    """Single precision differs from double by rounding, and double has digits that single does not."""
    single, double = case.build(np.float32), case.build(np.float64)
    for _, leaf in leaves(double.parameters):
        leaf[...] = leaf.astype(np.float32)
    for (_, ours), (_, theirs) in zip(leaves(single.parameters), leaves(double.parameters), strict=True):
        ours[...] = theirs
    x, *context = inputs(case, 0, np.float32)
    y_single, cache_single = single.forward(x, *context)
    y_double, cache_double = double.forward(x.astype(np.float64), *context)
    dy = gradient_of(y_single, 0)
    equal(y_single, y_double, 1e-5)
    back_single = single.backward(dy, cache_single)
    equal(back_single, double.backward(like(dy, lambda leaf: leaf.astype(np.float64)), cache_double), 1e-4)

    nudge = 1e-12 * np.random.default_rng(1).standard_normal(x.shape)  # not all alike: softmax would not move
    moved, _ = double.forward(x.astype(np.float64) + nudge, *context)
    for (name, a), (_, b) in zip(leaves(moved), leaves(y_double), strict=True):
        assert (a != b).mean() > 0.2, f"{name} has no more digits than single precision"


def check_half_signals_meet_single_parameters(case: Case) -> None:
    """Signals of float16 stay so, gradients of parameters are float32, and both are near those of single precision."""
    layer, single = case.build(np.float32), case.build(np.float32)
    x, *context = inputs(case, 0, np.float16)
    y, cache = layer.forward(x, *context)
    y_single, cache_single = single.forward(x.astype(np.float32), *context)
    dy = gradient_of(y, 0)
    dx, grads = layer.backward(dy, cache)
    dx_single, grads_single = single.backward(like(dy, lambda leaf: leaf.astype(np.float32)), cache_single)
    for name, leaf in leaves((y, dx)):
        assert leaf.dtype == np.float16, f"{name} came out as {leaf.dtype}"
    for name, leaf in leaves(grads):
        assert leaf.dtype == np.float32, f"the gradient of {name} came out as {leaf.dtype}"
    for (name, half), (_, whole) in zip(
        leaves((y, dx, grads)), leaves((y_single, dx_single, grads_single)), strict=True
    ):
        np.testing.assert_allclose(half, whole, rtol=0, atol=1e-2 * abs(whole).max(initial=1), err_msg=name)


def check_the_same_bits_again(case: Case) -> None:
    layer, arguments = case.build(np.float64), inputs(case, 0)
    y, cache = layer.forward(*arguments)
    y_again, cache_again = layer.forward(*arguments)
    equal(y, y_again)
    equal(layer.backward(gradient_of(y, 0), cache), layer.backward(gradient_of(y, 0), cache_again))


def check_clips_are_independent(case: Case) -> None:
    layer, arguments = case.build(np.float64), inputs(case, 0)
    y, cache = layer.forward(*arguments)
    dy = gradient_of(y, 0)
    dx, grads = layer.backward(dy, cache)
    total: list[np.ndarray] = [np.zeros_like(leaf) for _, leaf in leaves(grads)]
    for n in range(len(arguments[0])):

        def clip(a: np.ndarray, n: int = n) -> np.ndarray:
            return a[n : n + 1]

        y_one, cache_one = layer.forward(*map(clip, arguments))
        equal(y_one, like(y, clip), 1e-12)
        dx_one, grads_one = layer.backward(like(dy, clip), cache_one)
        equal(dx_one, clip(dx), 1e-12)
        total = [a + b for a, (_, b) in zip(total, leaves(grads_one), strict=True)]
    equal(total, [leaf for _, leaf in leaves(grads)], 1e-11)


def check_no_clips_at_all(case: Case) -> None:
    """An empty batch goes through, with a gradient of zero, or is refused with a sentence."""
    layer, arguments = case.build(np.float64), inputs(case, 0, clips=0)
    try:
        y, cache = layer.forward(*arguments)
        dx, grads = layer.backward(gradient_of(y, 0), cache)
    except ShapeError:
        return
    except ValueError as error:
        raise AssertionError(f"no clips, no sentence: {error}") from error
    assert dx.shape == arguments[0].shape
    for name, leaf in leaves(y):
        assert len(leaf) == 0, name
    for name, leaf in leaves(grads):
        assert not leaf.any(), name


def check_gradients_are_a_tree_like_the_parameters(case: Case) -> None:
    layer, arguments = case.build(np.float64), inputs(case, 0)
    y, cache = layer.forward(*arguments)
    dx, grads = layer.backward(gradient_of(y, 0), cache)
    assert dx.shape == arguments[0].shape
    # in the same order too: the flat vector relies on it
    assert [name for name, _ in leaves(grads)] == [name for name, _ in leaves(layer.parameters)]
    for (name, grad), (_, parameter) in zip(leaves(grads), leaves(layer.parameters), strict=True):
        assert grad.shape == parameter.shape, name


def check_a_wrong_dy_is_refused(case: Case) -> None:
    layer, arguments = case.build(np.float64), inputs(case, 0)
    y, cache = layer.forward(*arguments)
    dy = gradient_of(y, 0)
    bad: list[Callable[[np.ndarray], np.ndarray]] = [
        lambda a: a[:, :1],  # what NumPy would broadcast
        lambda a: a[:, :-1],
        lambda a: a[:1],
        lambda a: a[0],
        lambda a: np.concatenate([a, a], -1),
    ]
    if case.cache_knows_dtype:
        bad.append(lambda a: a.astype(np.float32))
    for change in bad:
        with pytest.raises(ShapeError, match="dy must be like y"):
            layer.backward(like(dy, change), cache)


CHECKS: dict[str, Callable[[Case], None]] = {
    check.__name__.removeprefix("check_"): check
    for check in (
        check_nothing_is_written,
        check_two_clips_in_flight,
        check_any_layout,
        check_dtypes_stay,
        check_single_signals_meet_double_parameters,
        check_double_precision_throughout,
        check_half_signals_meet_single_parameters,
        check_the_same_bits_again,
        check_clips_are_independent,
        check_no_clips_at_all,
        check_gradients_are_a_tree_like_the_parameters,
        check_a_wrong_dy_is_refused,
    )
}


@pytest.mark.parametrize("promise", CHECKS)
@pytest.mark.parametrize("layer", CASES)
def test_the_contract(layer: str, promise: str) -> None:
    CHECKS[promise](CASES[layer])


@pytest.mark.parametrize("name", PROMISES)
def test_a_layer_that_breaks_a_promise_is_caught(name: str) -> None:
    build, promise = PROMISES[name]
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        CHECKS[promise](Case(build))


def test_every_promise_has_a_layer_that_breaks_it() -> None:
    assert {promise for _, promise in PROMISES.values()} == set(CHECKS)


def test_every_layer_has_a_case() -> None:
    layers = {
        name
        for name in nn1d.__all__
        if isinstance(getattr(nn1d, name), type) and hasattr(getattr(nn1d, name), "backward") and name != "Layer"
    }
    assert layers == {type(case.build(np.float32)).__name__ for case in CASES.values()} - {
        "Autoencoder",
        "FoldedAutoencoder",
        "DecoderAlone",
    }
