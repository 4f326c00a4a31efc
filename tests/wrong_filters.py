"""Convolutions, plain and transposed, whose gradient is wrong on purpose: for tests/wrong.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from nn1d import (
    Conv1d,
    ConvTranspose1d,
)
from nn1d.conv import convolve_transposed, filter_gradient


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


FILTERS = (  # wrong at any size
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
