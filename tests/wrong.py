"""Layers whose gradient is wrong on purpose: what check_gradients must catch, kept so that a weaker one is noticed."""

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
from nn1d.gradcheck import CrossEntropy, MeanSquaredError
from tests.wrong_filters import (
    FILTERS,
    ForgottenDilation,
    ForgottenDilationOfTheFilters,
    ForgottenStride,
    ForgottenStrideOfTheFilters,
)


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
    **{kind.__name__: _of(kind, 3, 3, 3, 1, 1) for kind in FILTERS},
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
