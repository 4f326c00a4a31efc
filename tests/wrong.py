"""Layers that are wrong on purpose: what the tests must catch, kept so that a weaker test is noticed.

GRADIENTS have a wrong backward, for check_gradients. PROMISES keep the mathematics and break the protocol, for the
contract.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nn1d import (
    ELU,
    SGD,
    Adam,
    AvgPool1d,
    Conv1d,
    ConvTranspose1d,
    Dropout,
    Fold1d,
    GlobalAveragePool1d,
    HardSigmoid,
    LayerNorm,
    LeakyReLU,
    Linear,
    MaxPool1d,
    MaxUnpool1d,
    ReLU,
    ResidualBlock,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
    Unfold1d,
    Upsample1d,
)
from nn1d.conv import convolve_transposed, filter_gradient
from nn1d.gradcheck import CrossEntropy, MeanSquaredError


class SwappedClips(Conv1d):
    def backward(self, dy: Any, cache: Any) -> Any:
        return super().backward(dy[::-1], cache)


class SwappedChannels(Conv1d):
    def backward(self, dy: Any, cache: Any) -> Any:
        return super().backward(dy[:, :, ::-1], cache)


class ReversedTime(Conv1d):
    def backward(self, dy: Any, cache: Any) -> Any:
        return super().backward(dy[:, ::-1], cache)


class ReversedTaps(Conv1d):
    def backward(self, dy: Any, cache: Any) -> Any:
        _, grads = super().backward(dy, cache)
        w = np.ascontiguousarray(self.parameters["weight"][::-1])
        return convolve_transposed(dy, w, self.stride, self.padding, cache.shape[1]), grads


class ReversedTapsOfTheGradient(Conv1d):
    def backward(self, dy: Any, cache: Any) -> Any:
        dx, grads = super().backward(dy, cache)
        return dx, {**grads, "weight": grads["weight"][::-1]}


class ForgottenStride(Conv1d):
    def backward(self, dy: Any, cache: Any) -> Any:
        _, grads = super().backward(dy, cache)
        return convolve_transposed(dy, self.parameters["weight"], 1, self.padding, cache.shape[1]), grads


class ForgottenStrideOfTheFilters(Conv1d):
    def backward(self, dy: Any, cache: Any) -> Any:
        dx, grads = super().backward(dy, cache)
        return dx, {**grads, "weight": filter_gradient(cache, dy, self.kernel_size, 1, self.padding)}


class ForgottenDilation(Conv1d):
    def backward(self, dy: Any, cache: Any) -> Any:
        _, grads = super().backward(dy, cache)
        return convolve_transposed(dy, self.parameters["weight"], self.stride, self.padding, cache.shape[1]), grads


class ForgottenDilationOfTheFilters(Conv1d):
    def backward(self, dy: Any, cache: Any) -> Any:
        dx, grads = super().backward(dy, cache)
        return dx, {**grads, "weight": filter_gradient(cache, dy, self.kernel_size, self.stride, self.padding)}


class ForgottenPadding(Conv1d):
    def backward(self, dy: Any, cache: Any) -> Any:
        dx, grads = super().backward(dy, cache)
        return np.roll(dx, self.padding, 1), grads


class FirstClipOnly(Conv1d):
    def backward(self, dy: Any, cache: Any) -> Any:
        dx, grads = super().backward(dy, cache)
        return dx, {**grads, "weight": filter_gradient(cache[:1], dy[:1], self.kernel_size, self.stride, self.padding)}


class MeanOverClips(Conv1d):
    def backward(self, dy: Any, cache: Any) -> Any:
        dx, grads = super().backward(dy, cache)
        return dx, {name: grad / len(dy) for name, grad in grads.items()}


class BiasNotSummedOverSamples(Conv1d):
    def backward(self, dy: Any, cache: Any) -> Any:
        dx, grads = super().backward(dy, cache)
        return dx, {**grads, "bias": dy[:, 0].sum(0)}


class BiasNotSummedOverClips(Conv1d):
    def backward(self, dy: Any, cache: Any) -> Any:
        dx, grads = super().backward(dy, cache)
        return dx, {**grads, "bias": dy[0].sum(0)}


class WrongSign(Conv1d):
    def backward(self, dy: Any, cache: Any) -> Any:
        dx, grads = super().backward(dy, cache)
        return -dx, grads


class ScaledByClips(Conv1d):
    def backward(self, dy: Any, cache: Any) -> Any:
        dx, grads = super().backward(dy, cache)
        return dx * len(dy), grads


class FiltersNotTransposed(Conv1d):
    def backward(self, dy: Any, cache: Any) -> Any:
        _, grads = super().backward(dy, cache)
        w = np.ascontiguousarray(self.parameters["weight"].swapaxes(1, 2))
        return convolve_transposed(dy, w, self.stride, self.padding, cache.shape[1]), grads


class OneWrongSample(Conv1d):
    """The last sample misses its right-hand neighbour: what an off-by-one at the end of a signal does."""

    def backward(self, dy: Any, cache: Any) -> Any:
        dx, grads = super().backward(dy, cache)
        dx[:, -1] *= 0.5
        return dx, grads


class SlightlyOff(Conv1d):
    def backward(self, dy: Any, cache: Any) -> Any:
        dx, grads = super().backward(dy, cache)
        return dx * 1.01, grads


class TransposedReversedTaps(ConvTranspose1d):
    def backward(self, dy: Any, cache: Any) -> Any:
        dx, grads = super().backward(dy, cache)
        return dx, {**grads, "weight": grads["weight"][::-1]}


class TransposedSwappedFilters(ConvTranspose1d):
    def backward(self, dy: Any, cache: Any) -> Any:
        dx, grads = super().backward(dy, cache)
        return dx, {**grads, "weight": grads["weight"].swapaxes(1, 2)}


class PoolThatPicksTheLast(MaxPool1d):
    """Right on a rising ramp, which is why no test here pools one."""

    def backward(self, dy: Any, cache: Any) -> Any:
        mask = np.zeros_like(cache)
        mask[:, self.size - 1 :: self.size] = True
        return super().backward(dy, mask)


class PoolThatSpreads(MaxPool1d):
    def backward(self, dy: Any, cache: Any) -> Any:
        return np.repeat(dy, self.size, 1) / self.size, {}


class PoolThatMarksTheLastTie(MaxPool1d):
    def forward(self, x: Any) -> Any:
        y, mask = super().forward(np.ascontiguousarray(x[:, ::-1]))
        return np.ascontiguousarray(y[:, ::-1]), np.ascontiguousarray(mask[:, ::-1])


class PoolThatMarksEveryTie(MaxPool1d):
    def forward(self, x: Any) -> Any:
        y, _ = super().forward(x)
        return y, np.repeat(y, self.size, 1) == x


class UnpoolWithoutMask(MaxUnpool1d):
    def backward(self, dy: Any, cache: Any) -> Any:
        return dy.reshape(len(dy), -1, self.size, dy.shape[2]).sum(2), {}


class UpsampleThatAverages(Upsample1d):
    def backward(self, dy: Any, cache: Any) -> Any:
        dx, grads = super().backward(dy, cache)
        return dx / self.factor, grads


class UpsampleThatTakesTheFirst(Upsample1d):
    def backward(self, dy: Any, cache: Any) -> Any:
        return dy[:, :: self.factor].copy(), {}


class AverageThatCopies(AvgPool1d):
    """Each sample gets the whole gradient of its window: the backward of a sum."""

    def backward(self, dy: Any, cache: Any) -> Any:
        dx, grads = super().backward(dy, cache)
        return dx * self.size, grads


class AverageOfTheFirst(AvgPool1d):
    def backward(self, dy: Any, cache: Any) -> Any:
        dx = np.zeros(cache)
        dx[:, :: self.size] = dy
        return dx, {}


class GlobalAverageThatCopies(GlobalAveragePool1d):
    def backward(self, dy: Any, cache: Any) -> Any:
        dx, grads = super().backward(dy, cache)
        return dx * cache[1], grads


class NormStraight(LayerNorm):
    """Mean and deviation taken for constants."""

    def backward(self, dy: Any, cache: Any) -> Any:
        _, grads = super().backward(dy, cache)
        return dy * self.parameters["weight"] / np.sqrt(cache.var(-1, keepdims=True) + self.epsilon), grads


class NormWithoutTheVariance(LayerNorm):
    def backward(self, dy: Any, cache: Any) -> Any:
        _, grads = super().backward(dy, cache)
        dz = dy * self.parameters["weight"]
        return (dz - dz.mean(-1, keepdims=True)) / np.sqrt(cache.var(-1, keepdims=True) + self.epsilon), grads


class DropoutUnscaled(Dropout):
    def backward(self, dy: Any, cache: Any) -> Any:
        kept, _ = cache
        return dy * kept, {}


class DropoutOfAnotherMask(Dropout):
    def backward(self, dy: Any, cache: Any) -> Any:
        kept, shape = cache
        return super().backward(dy, (np.roll(kept, 1), shape))


class FoldByChannels(Fold1d):
    """What the backward of PyTorch's order, (c, i), would be."""

    def backward(self, dy: Any, cache: Any) -> Any:
        clips, length, channels = cache
        windows = dy.reshape(clips, length // self.size, channels, self.size)
        return windows.swapaxes(2, 3).reshape(cache), {}


class FoldBackwards(Fold1d):
    def backward(self, dy: Any, cache: Any) -> Any:
        clips, length, channels = cache
        windows = dy.reshape(clips, length // self.size, self.size, channels)
        return windows[:, :, ::-1].reshape(cache), {}


class UnfoldInHalves(Unfold1d):
    """The halves of the channels one behind the other, not sample by sample."""

    def backward(self, dy: Any, cache: Any) -> Any:
        clips, length, channels = cache
        halves = dy.reshape(clips, self.size, length, channels // self.size)
        return halves.swapaxes(1, 2).reshape(cache), {}


class GradientOfOneUse(Sequential):
    """Of a filter that two layers share: the second use wins."""

    def backward(self, dy: Any, cache: Any) -> Any:
        dx, grads = super().backward(dy, cache)
        first, second = grads
        return dx, {**grads, first: {**grads[first], "weight": 0 * grads[second]["weight"]}}


class ELUWithTheOtherSide(ELU):
    def backward(self, dy: Any, cache: Any) -> Any:
        return dy * np.where(cache > 0, cache + self.alpha, 1), {}


class ELUWithoutAlpha(ELU):
    def backward(self, dy: Any, cache: Any) -> Any:
        return dy * np.where(cache > 0, 1, cache + 1), {}


class ReLUSlope(ELU):
    def backward(self, dy: Any, cache: Any) -> Any:
        return dy * (cache > 0), {}


class ELUWithTheSignOfDy(ELU):
    """Right where dy is x, which is what two generators with one seed make of them."""

    def backward(self, dy: Any, cache: Any) -> Any:
        return dy * np.where(dy > 0, 1, cache + self.alpha), {}


class HardSigmoidWithoutEnds(HardSigmoid):
    def backward(self, dy: Any, cache: Any) -> Any:
        return dy * 0.2, {}


class HardSigmoidOfTorch(HardSigmoid):
    def backward(self, dy: Any, cache: Any) -> Any:
        return dy * ((cache > 0) & (cache < 1)) / 6, {}


class ReLUWithTheSignOfDy(ReLU):
    def backward(self, dy: Any, cache: Any) -> Any:
        return dy * (dy > 0), {}


class LeakyReLUWithoutTheLeak(LeakyReLU):
    def backward(self, dy: Any, cache: Any) -> Any:
        return dy * (cache > 0), {}


class SigmoidTwice(Sigmoid):
    """The slope formula is for the output; here the output goes through the sigmoid once more."""

    def backward(self, dy: Any, cache: Any) -> Any:
        return super().backward(dy, self.forward(cache)[0])


class TanhWithoutTheSquare(Tanh):
    def backward(self, dy: Any, cache: Any) -> Any:
        return dy * (1 - cache), {}


class LinearNotTransposed(Linear):
    def backward(self, dy: Any, cache: Any) -> Any:
        _, grads = super().backward(dy, cache)
        return dy @ self.parameters["weight"], grads


class LinearOfTheFirstClip(Linear):
    def backward(self, dy: Any, cache: Any) -> Any:
        dx, _ = super().backward(dy, cache)
        return dx, super().backward(dy[:1], cache[:1])[1]


class ResidualWithoutSkip(ResidualBlock):
    def backward(self, dy: Any, cache: Any) -> Any:
        dx, grads = self.body.backward(dy, cache)
        return dx, {"body": grads}


class ResidualWithSkipAlone(ResidualBlock):
    def backward(self, dy: Any, cache: Any) -> Any:
        _, grads = super().backward(dy, cache)
        return dy.copy(), grads


class AdamWithoutCorrection(Adam):
    """Takes m and v as they are, though both start at 0."""

    def step(self, parameters: Any, gradient: Any) -> None:
        taken = self.steps
        self.steps = 10**9 - 1  # where the correction is 1
        super().step(parameters, gradient)
        self.steps = taken + 1


class SGDWithARunningMean(SGD):
    def step(self, parameters: Any, gradient: Any) -> None:
        super().step(parameters, (1 - self.momentum) * gradient)


class ErrorWithoutTheTwo(MeanSquaredError):
    def backward(self, dy: Any, cache: Any) -> Any:
        dx, grads = super().backward(dy, cache)
        return dx / 2, grads


class ErrorPerClip(MeanSquaredError):
    """Divides by the clips instead of by the numbers: right for signals of one number."""

    def backward(self, dy: Any, cache: Any) -> Any:
        dx, grads = super().backward(dy, cache)
        return dx * dx[0].size, grads


class SoftmaxByItself(Softmax):
    """As if each output came of its own input alone, as a sigmoid's does."""

    def backward(self, dy: Any, cache: Any) -> Any:
        return dy * cache * (1 - cache), {}


class EntropyWithoutTheTarget(CrossEntropy):
    """The probabilities alone: 1 is not taken off at the right class."""

    def forward(self, x: Any, target: Any) -> Any:
        loss, _ = super().forward(x, target)
        return loss, Softmax().forward(x)[0] / len(x)


class EntropyOfTheSum(CrossEntropy):
    """Not divided by the number of decisions."""

    def backward(self, dy: Any, cache: Any) -> Any:
        return cache * dy[0] * len(cache), {}


def _signal(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((3, 12, 3))


def _ranks(rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(3 * 12 * 3).reshape(3, 12, 3) / 10


Case = tuple[Any, ...]  # a layer, x, and what else its forward takes
Build = Callable[[np.random.Generator], Case]


def _of(layer: Callable[..., Any], *sizes: int) -> Build:
    return lambda rng: (layer(*sizes, rng=rng, dtype=np.float64), _signal(rng))


def tied(rng: np.random.Generator, kind: type[Sequential] = Sequential) -> Sequential:
    """A convolution and a transposed one with the same filters."""
    down, up = (layer(3, 3, 3, 1, 1, rng=rng, dtype=np.float64) for layer in (Conv1d, ConvTranspose1d))
    up.parameters["weight"] = down.parameters["weight"]
    return kind(down, up)


GRADIENTS: dict[str, Build] = {
    **{
        kind.__name__: _of(kind, 3, 3, 3, 1, 1)
        for kind in (
            SwappedClips,
            SwappedChannels,
            ReversedTime,
            ReversedTaps,
            ReversedTapsOfTheGradient,
            ForgottenPadding,
            FirstClipOnly,
            MeanOverClips,
            BiasNotSummedOverSamples,
            BiasNotSummedOverClips,
            WrongSign,
            ScaledByClips,
            FiltersNotTransposed,
            OneWrongSample,
            SlightlyOff,
            TransposedReversedTaps,
            TransposedSwappedFilters,
        )
    },
    "ForgottenStride": _of(ForgottenStride, 3, 3, 3, 2, 1),
    "ForgottenStrideOfTheFilters": _of(ForgottenStrideOfTheFilters, 3, 3, 3, 2, 1),
    "ForgottenDilation": _of(ForgottenDilation, 3, 3, 3, 1, 1, 2),
    "ForgottenDilationOfTheFilters": _of(ForgottenDilationOfTheFilters, 3, 3, 3, 1, 1, 2),
    "PoolThatPicksTheLast": lambda rng: (PoolThatPicksTheLast(2), _ranks(rng)),
    "PoolThatSpreads": lambda rng: (PoolThatSpreads(3), _ranks(rng)),
    "UnpoolWithoutMask": lambda rng: (
        UnpoolWithoutMask(2),
        _signal(rng),
        MaxPool1d(2).forward(rng.standard_normal((3, 24, 3)))[1],
    ),
    "UpsampleThatAverages": lambda rng: (UpsampleThatAverages(2), _signal(rng)),
    "UpsampleThatTakesTheFirst": lambda rng: (UpsampleThatTakesTheFirst(3), _signal(rng)),
    "AverageThatCopies": lambda rng: (AverageThatCopies(3), _signal(rng)),
    "AverageOfTheFirst": lambda rng: (AverageOfTheFirst(3), _signal(rng)),
    "GlobalAverageThatCopies": lambda rng: (GlobalAverageThatCopies(), _signal(rng)),
    "NormStraight": lambda rng: (NormStraight(3, dtype=np.float64), _signal(rng)),
    "NormWithoutTheVariance": lambda rng: (NormWithoutTheVariance(3, dtype=np.float64), _signal(rng)),
    "DropoutUnscaled": lambda rng: (DropoutUnscaled(0.4), _signal(rng), rng.random((3, 12, 3)) < 0.6),
    "DropoutOfAnotherMask": lambda rng: (DropoutOfAnotherMask(0.4), _signal(rng), rng.random((3, 12, 3)) < 0.6),
    "FoldByChannels": lambda rng: (FoldByChannels(2), _signal(rng)),
    "FoldBackwards": lambda rng: (FoldBackwards(3), _signal(rng)),
    "UnfoldInHalves": lambda rng: (UnfoldInHalves(3), _signal(rng)),
    "GradientOfOneUse": lambda rng: (tied(rng, GradientOfOneUse), _signal(rng)),
    "ELUWithTheOtherSide": lambda rng: (ELUWithTheOtherSide(), _signal(rng)),
    "ELUWithoutAlpha": lambda rng: (ELUWithoutAlpha(0.5), _signal(rng)),
    "ELUWithTheSignOfDy": lambda rng: (ELUWithTheSignOfDy(), _signal(rng)),
    "ReLUSlope": lambda rng: (ReLUSlope(), _signal(rng)),
    "HardSigmoidWithoutEnds": lambda rng: (HardSigmoidWithoutEnds(), 3 * _signal(rng)),
    "HardSigmoidOfTorch": lambda rng: (HardSigmoidOfTorch(), 3 * _signal(rng)),
    "ReLUWithTheSignOfDy": lambda rng: (ReLUWithTheSignOfDy(), _signal(rng)),
    "LeakyReLUWithoutTheLeak": lambda rng: (LeakyReLUWithoutTheLeak(0.1), _signal(rng)),
    "SigmoidTwice": lambda rng: (SigmoidTwice(), _signal(rng)),
    "TanhWithoutTheSquare": lambda rng: (TanhWithoutTheSquare(), _signal(rng)),
    "LinearNotTransposed": _of(LinearNotTransposed, 3, 3),
    "LinearOfTheFirstClip": _of(LinearOfTheFirstClip, 3, 4),
    "ResidualWithoutSkip": lambda rng: (ResidualWithoutSkip(3, rng=rng, dtype=np.float64), _signal(rng)),
    "ResidualWithSkipAlone": lambda rng: (ResidualWithSkipAlone(3, rng=rng, dtype=np.float64), _signal(rng)),
    "SoftmaxByItself": lambda rng: (SoftmaxByItself(), _signal(rng)),
    "EntropyWithoutTheTarget": lambda rng: (EntropyWithoutTheTarget(), _signal(rng)[0], rng.integers(0, 3, 12)),
    "EntropyOfTheSum": lambda rng: (EntropyOfTheSum(), _signal(rng)[0], rng.integers(0, 3, 12)),
    "ErrorWithoutTheTwo": lambda rng: (ErrorWithoutTheTwo(), _signal(rng), _signal(rng)),
    "ErrorPerClip": lambda rng: (ErrorPerClip(), _signal(rng), _signal(rng)),
}


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
