"""Layers that keep the mathematics and break the protocol on purpose: what the contract must catch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nn1d import (
    ELU,
    Conv1d,
    HardSigmoid,
    Upsample1d,
)


class WritesIntoX(ELU):
    def forward(self, x: Any) -> Any:
        y, cache = super().forward(x)
        x[x < 0] = 0
        return y, cache


class WritesIntoDy(ELU):
    def backward(self, dy: Any, cache: Any) -> Any:
        dx, grads = super().backward(dy, cache)
        dy *= 0
        return dx, grads


class WritesIntoItsCache(ELU):
    """Writing into an activation that the next layer keeps: the second backward is wrong, or the neighbour's."""

    def backward(self, dy: Any, cache: Any) -> Any:
        cache[cache > 0] = 0
        cache += self.alpha
        return dy * cache, {}


class WritesIntoItsParameters(Conv1d):
    def backward(self, dy: Any, cache: Any) -> Any:
        dx, grads = super().backward(dy, cache)
        self.parameters["bias"] += 1e-9
        return dx, grads


class AddsToTheLastGradient(Conv1d):
    """Gradients added to those of the call before: what `+=` into a .grad does."""

    kept: Any = None

    def backward(self, dy: Any, cache: Any) -> Any:
        dx, grads = super().backward(dy, cache)
        self.kept = grads["weight"] if self.kept is None else self.kept + grads["weight"]
        return dx, {**grads, "weight": self.kept}


class KeepsItsCacheInItself(ELU):
    kept: Any = None

    def forward(self, x: Any) -> Any:
        y, self.kept = super().forward(x)
        return y, None

    def backward(self, dy: Any, cache: Any) -> Any:
        return super().backward(dy, self.kept)


class ReusesItsOutput(Upsample1d):
    """A buffer kept between calls: the first clip's output is overwritten by the second's."""

    buffer: Any = None

    def forward(self, x: Any) -> Any:
        y, cache = super().forward(x)
        if self.buffer is None or self.buffer.shape != y.shape or self.buffer.dtype != y.dtype:
            self.buffer = np.empty_like(y)
        self.buffer[...] = y
        return self.buffer, cache


class ReadsMemoryInItsOwnOrder(HardSigmoid):
    def forward(self, x: Any) -> Any:
        return super().forward(x.ravel("K").reshape(x.shape))


class Promotes(ELU):
    def forward(self, x: Any) -> Any:
        y, cache = super().forward(x)
        return y * np.float64(1), cache


class PromotesItsGradient(ELU):
    def backward(self, dy: Any, cache: Any) -> Any:
        dx, grads = super().backward(dy, cache)
        return dx.astype(np.float64), grads


class TakesTheTypeOfItsParameters(Conv1d):
    def forward(self, x: Any) -> Any:
        y, cache = super().forward(x)
        return y.astype(self.parameters["weight"].dtype), cache


class SingleInTheMiddle(Upsample1d):
    def forward(self, x: Any) -> Any:
        y, cache = super().forward(x.astype(np.float32))
        return y.astype(x.dtype), cache


class SumsInHalf(Conv1d):
    def backward(self, dy: Any, cache: Any) -> Any:
        dx, grads = super().backward(dy, cache)
        return dx, {name: grad.astype(dy.dtype) for name, grad in grads.items()}


class MixesClips(HardSigmoid):
    def forward(self, x: Any) -> Any:
        return super().forward(x - x.mean(0))


class RollsDice(HardSigmoid):
    def forward(self, x: Any) -> Any:
        return super().forward(x + 1e-9 * np.random.default_rng().standard_normal(x.shape).astype(x.dtype))


class LosesAGradient(Conv1d):
    def backward(self, dy: Any, cache: Any) -> Any:
        dx, grads = super().backward(dy, cache)
        return dx, {"weight": grads["weight"]}


class FlattensAGradient(Conv1d):
    def backward(self, dy: Any, cache: Any) -> Any:
        dx, grads = super().backward(dy, cache)
        return dx, {**grads, "weight": grads["weight"].ravel()}


class SwapsTheOrderOfGradients(Conv1d):
    """flatten(grads) would add the gradient of the bias to the weights."""

    def backward(self, dy: Any, cache: Any) -> Any:
        dx, grads = super().backward(dy, cache)
        return dx, {"bias": grads["bias"], "weight": grads["weight"]}


class TakesAnyDy(ELU):
    """NumPy broadcasts what does not fit, and the gradient has the right shape and wrong numbers."""

    def backward(self, dy: Any, cache: Any) -> Any:
        return dy * np.where(cache > 0, 1, cache + self.alpha).astype(cache.dtype), {}


class FailsWithoutClips(HardSigmoid):
    def forward(self, x: Any) -> Any:
        return super().forward(x.reshape(len(x), -1, x.shape[2]))


def _plain(kind: Callable[..., Any], *sizes: int) -> Callable[[Any], Any]:
    return lambda dtype: kind(*sizes)


def _filters(kind: Callable[..., Any]) -> Callable[[Any], Any]:
    return lambda dtype: kind(3, 4, 3, 1, 1, rng=np.random.default_rng(0), dtype=dtype)


# the layer, of a dtype, and the check of test_contract that catches it
PROMISES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "WritesIntoX": (_plain(WritesIntoX), "nothing_is_written"),
    "WritesIntoDy": (_plain(WritesIntoDy), "nothing_is_written"),
    "WritesIntoItsCache": (_plain(WritesIntoItsCache), "nothing_is_written"),
    "WritesIntoItsParameters": (_filters(WritesIntoItsParameters), "nothing_is_written"),
    "AddsToTheLastGradient": (_filters(AddsToTheLastGradient), "two_clips_in_flight"),
    "KeepsItsCacheInItself": (_plain(KeepsItsCacheInItself), "two_clips_in_flight"),
    "ReusesItsOutput": (_plain(ReusesItsOutput, 2), "two_clips_in_flight"),
    "ReadsMemoryInItsOwnOrder": (_plain(ReadsMemoryInItsOwnOrder), "any_layout"),
    "Promotes": (_plain(Promotes), "dtypes_stay"),
    "PromotesItsGradient": (_plain(PromotesItsGradient), "dtypes_stay"),
    "TakesTheTypeOfItsParameters": (_filters(TakesTheTypeOfItsParameters), "single_signals_meet_double_parameters"),
    "SingleInTheMiddle": (_plain(SingleInTheMiddle, 2), "double_precision_throughout"),
    "SumsInHalf": (_filters(SumsInHalf), "half_signals_meet_single_parameters"),
    "MixesClips": (_plain(MixesClips), "clips_are_independent"),
    "RollsDice": (_plain(RollsDice), "the_same_bits_again"),
    "LosesAGradient": (_filters(LosesAGradient), "gradients_are_a_tree_like_the_parameters"),
    "FlattensAGradient": (_filters(FlattensAGradient), "gradients_are_a_tree_like_the_parameters"),
    "SwapsTheOrderOfGradients": (_filters(SwapsTheOrderOfGradients), "gradients_are_a_tree_like_the_parameters"),
    "TakesAnyDy": (_plain(TakesAnyDy), "a_wrong_dy_is_refused"),
    "FailsWithoutClips": (_plain(FailsWithoutClips), "no_clips_at_all"),
}
