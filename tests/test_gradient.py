"""The gradient checker: right on every layer, and not to be fooled by any of the wrong ones."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import models.autoencoder
from nn1d import ELU, Conv1d, GradientError, ShapeError, check_gradients, gradcheck, named_leaves
from tests.wrong import GRADIENTS
from tests.wrong_filters import SwappedClips

RIGHT = {
    name: (layer, x, *context)
    for module in (gradcheck, models.autoencoder)
    for name, layer, x, *context in module.gradient_cases(np.random.default_rng(0))
}


@pytest.mark.parametrize("name", RIGHT)
def test_every_layer_passes(name: str) -> None:
    layer, *arguments = RIGHT[name]
    # other draws too: a checker that fails one time in ten is one that nobody believes
    for seed in range(3):
        report = check_gradients(layer, *arguments, rng=np.random.default_rng(seed), name=name)
        rows = ["input", *(path for path, _ in named_leaves(layer.parameters)), "all at once"]
        assert [slope.name for slope in report.slopes] == rows
        assert report.ok
        assert any(slope.numeric != 0 for slope in report.slopes)


@pytest.mark.parametrize("name", GRADIENTS)
def test_a_wrong_backward_is_caught(name: str) -> None:
    for seed in range(5):
        layer, *arguments = GRADIENTS[name](np.random.default_rng(seed))
        with pytest.raises(GradientError) as caught:
            check_gradients(layer, *arguments, rng=np.random.default_rng([seed, 1]), name=name)
        report = caught.value.report
        assert not report.ok
        # by the slopes, and far from the limit: where it fails does not hang on the tolerance
        worst = max(slope.relative_error for slope in report.slopes)
        assert worst > 10 * report.tolerance
        assert report.faults == []


def exhaustive_with_ones(layer: Any, x: np.ndarray, *context: Any) -> bool:
    """The usual check: every number moved by itself, and the sum of the outputs as the loss."""
    y, cache = layer.forward(x, *context)
    dx, grads = layer.backward(np.ones_like(y), cache)
    pairs = [(x, dx), *((parameter, grads[name]) for name, parameter in layer.parameters.items())]
    for array, gradient in pairs:
        for i in np.ndindex(array.shape):
            kept = array[i]
            array[i] = kept + 1e-6
            above = layer.forward(x, *context)[0].sum()
            array[i] = kept - 1e-6
            below = layer.forward(x, *context)[0].sum()
            array[i] = kept
            if abs((above - below) / 2e-6 - gradient[i]) > 1e-6 * max(1, abs(gradient[i])):
                return False
    return True


def test_a_gradient_of_ones_is_blind_to_permutations() -> None:
    """Why check_gradients draws dy: each of these is wrong, and the exhaustive check with dy = 1 lets three pass."""
    passes = {}
    for name in (
        "SwappedClips",
        "SwappedChannels",
        "ReversedTime",
        "ReversedTaps",
        "ForgottenStride",
        "FirstClipOnly",
        "BiasNotSummedOverSamples",
        "PoolThatPicksTheLast",
        "WrongSign",
        "ScaledByClips",
        "UpsampleThatTakesTheFirst",
    ):
        layer, *arguments = GRADIENTS[name](np.random.default_rng(0))
        passes[name] = exhaustive_with_ones(layer, *arguments)
    assert passes == {
        "SwappedClips": True,
        "SwappedChannels": True,
        "ReversedTime": True,
        "ReversedTaps": False,
        "ForgottenStride": False,
        "FirstClipOnly": False,
        "BiasNotSummedOverSamples": False,
        "PoolThatPicksTheLast": False,
        "WrongSign": False,
        "ScaledByClips": False,
        "UpsampleThatTakesTheFirst": False,
    }


def test_the_check_leaves_everything_as_it_was() -> None:
    rng = np.random.default_rng(0)
    layer = Conv1d(2, 3, 3, rng=rng, dtype=np.float64)
    x = rng.standard_normal((2, 8, 2))
    before = x.copy(), layer.parameters["weight"].copy(), layer.parameters["bias"].copy()
    check_gradients(layer, x, rng=rng)
    for now, then in zip((x, layer.parameters["weight"], layer.parameters["bias"]), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_the_same_seed_gives_the_same_report() -> None:
    layer, x = Conv1d(2, 3, 3, rng=np.random.default_rng(0), dtype=np.float64), np.ones((2, 8, 2))
    reports = [check_gradients(layer, x, rng=np.random.default_rng(5)) for _ in range(2)]
    assert reports[0].slopes == reports[1].slopes


def test_a_failure_says_all_that_is_known() -> None:
    layer = SwappedClips(2, 3, 3, rng=np.random.default_rng(0), dtype=np.float64)
    with pytest.raises(GradientError) as caught:
        check_gradients(layer, np.random.default_rng(1).standard_normal((2, 8, 2)), rng=np.random.default_rng(2))
    lines = str(caught.value).splitlines()
    assert re.fullmatch(r"SwappedClips\(2 -> 3, k=3\): FAILED \(tolerance 1e-06, \d+\.\d+ s\)", lines[0])
    row = r"\S+ +backward [+-]\d\.\d+e[+-]\d+   differences [+-]\d\.\d+e[+-]\d+   relative error \d\.\de[+-]\d+"
    assert re.fullmatch(r"\* input.*", lines[1])
    assert re.fullmatch(rf"\* {row}", lines[1])
    assert re.fullmatch(r"\* weight.*", lines[2])
    assert re.fullmatch(rf"  {row}", lines[3])  # the sum over clips does not mind their order
    assert lines[3].startswith("  bias")


class Faulty(ELU):
    """An ELU with a parameter that it does not use, and a fault that is chosen."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault
        self.parameters = {"gain": np.ones(2)}

    def forward(self, x: Any) -> Any:
        y, cache = super().forward(x)
        if self.fault == "forward changes x":
            x += 1
        if self.fault == "forward changes a parameter":
            self.parameters["gain"] += 1
        return y, cache

    def backward(self, dy: Any, cache: Any) -> Any:
        dx, grads = super().backward(dy, cache)
        grads = {"gain": np.zeros(2)}
        if self.fault == "backward changes dy":
            dy += 1
        if self.fault == "backward changes y":
            cache += 1
        if self.fault == "no gradient":
            grads = {}
        if self.fault == "one too many":
            grads["extra"] = np.zeros(1)
        if self.fault == "shape":
            grads["gain"] = np.zeros((2, 1))
        if self.fault == "dtype":
            dx = dx.astype(np.float32)
        if self.fault == "nan":
            dx[0, 0, 0] = np.nan
        return dx, grads


FAULTS = {
    "forward changes x": "forward changed input",
    "forward changes a parameter": "forward changed parameters.gain",
    "backward changes dy": "backward changed dy",
    "backward changes y": "backward changed output",
    "no gradient": "backward returned no gradient for gain",
    "one too many": "backward returned a gradient for extra, which is no parameter",
    "shape": "the gradient of gain is float64 (2, 1), not float64 (2,)",
    "dtype": "the gradient of input is float32 (2, 6, 2), not float64 (2, 6, 2)",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_promise_is_named(fault: str) -> None:
    with pytest.raises(GradientError) as caught:
        check_gradients(
            Faulty(fault), np.random.default_rng(0).standard_normal((2, 6, 2)), rng=np.random.default_rng(0)
        )
    assert FAULTS[fault] in caught.value.report.faults
    assert f"* {FAULTS[fault]}" in str(caught.value)


class Answers(ELU):
    """An ELU whose forward returns what the test says."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Any) -> Any:
        return self.answer(*super().forward(x))


ANSWERS = {  # what forward returns -> what is said of it, and not of backward
    "forward must return y and what backward needs; got one ndarray": lambda y, cache: y,
    "forward must return y and what backward needs; got a tuple of 3": lambda y, cache: (y, cache, cache),
    "output is float, and must be an array. Wrap it: np.array([y])": lambda y, cache: (float(y.sum()), cache),
    "output is float32 where x is float64": lambda y, cache: (y.astype(np.float32), cache),
    "output has NaN or infinity": lambda y, cache: (np.where(y > 0, np.nan, y), cache),
    "output.1 has NaN or infinity": lambda y, cache: ([y, np.where(y > 0, np.inf, y)], cache),
}


@pytest.mark.parametrize("said", ANSWERS)
def test_an_answer_of_forward_that_cannot_be_compared_is_named(said: str) -> None:
    for clips in (1, 2, 3):  # two can be taken apart as a pair
        with pytest.raises(GradientError) as caught:
            check_gradients(Answers(ANSWERS[said]), np.random.default_rng(0).standard_normal((clips, 6, 2)), rng=0)
        assert caught.value.report.faults == [said]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: np.broadcast_to(a[:1], a.shape), r"is read-only or a number .*Copy it: np\.array\((x|gain)\)"),
        (lambda a: a[:0], r"has no numbers to move; got \(0,.*\)"),
        (lambda a: a * np.nan, "has NaN or infinity"),
        (lambda a: a[(0,) * a.ndim], "is read-only or a number"),
    ],
)
def test_what_cannot_be_moved_is_named(change: Any, said: str) -> None:
    x, layer = np.ones((3, 2, 2)), Faulty("")
    with pytest.raises(ShapeError, match=rf"^check_gradients: input of ELU\(1\) {said}"):
        check_gradients(layer, change(x), rng=0)
    layer.parameters["gain"] = change(layer.parameters["gain"])
    with pytest.raises(ShapeError, match=rf"^check_gradients: gain of ELU\(1\) {said}"):
        check_gradients(layer, x, rng=0)


@pytest.mark.parametrize("setting", ["epsilon", "tolerance"])
def test_a_setting_without_a_meaning_is_named(setting: str) -> None:
    for value, said in ((0, "must be positive; got 0"), (-1e-6, "must be positive; got -1e-06"), (None, "must be a ")):
        options: Any = {setting: value}
        with pytest.raises(ShapeError, match=f"^check_gradients: {setting} {said}"):
            check_gradients(ELU(), np.ones((1, 4, 1)), rng=0, **options)


def test_a_layer_that_is_not_one_yet_is_named() -> None:
    x: Any = np.ones((1, 4, 1))
    with pytest.raises(ShapeError, match=r"got the class ELU\. Make one: ELU\(\.\.\.\)$"):
        check_gradients(ELU, x, rng=0)
    half = type("Half", (), {"parameters": {}, "forward": lambda self, x: (x, x)})
    with pytest.raises(ShapeError, match=r"got Half, which has no backward$"):
        check_gradients(half(), x, rng=0)


def test_a_gradient_that_is_not_finite_is_no_gradient() -> None:
    with pytest.raises(GradientError, match=r"\* input .*relative error inf"):
        check_gradients(
            Faulty("nan"), np.random.default_rng(0).standard_normal((2, 6, 2)), rng=np.random.default_rng(0)
        )


def test_single_precision_is_refused() -> None:
    with pytest.raises(ShapeError) as caught:
        check_gradients(ELU(), np.zeros((1, 4, 1), np.float32), rng=np.random.default_rng(0))
    assert str(caught.value) == (
        "check_gradients: input of ELU(1) must be float64; got float32. Convert it: x.astype(np.float64)"
    )
    layer = Conv1d(1, 1, 3, rng=np.random.default_rng(0))
    with pytest.raises(ShapeError, match=r"^check_gradients: weight of Conv1d\(1 -> 1, k=3\) must be float64"):
        check_gradients(layer, np.zeros((1, 4, 1)), rng=np.random.default_rng(0))
