"""★ y[n, l, c] = the mean of the s samples x[n, s·l ... s·l + s - 1, c]. Write dx.

Every sample is in one window. By how much does the mean move when one of its s samples moves by 1?
"""

import numpy as np


class MeanPool:
    """The mean of windows of `size` samples."""

    parameters = {}

    def __init__(self, size):
        self.size = size

    def forward(self, x):
        """y (N, L / s, C), and nothing."""
        clips, length, channels = x.shape
        return x.reshape(clips, length // self.size, self.size, channels).mean(axis=2), None

    def backward(self, dy, cache):
        """dx (N, L, C). np.repeat(a, s, axis=1) copies every sample s times."""
        raise NotImplementedError("write dx from dy and self.size")
        return dx, {}


def gradient_cases(rng):
    """What the checker tries."""
    yield "MeanPool(2)", MeanPool(2), rng.standard_normal((2, 6, 3))
    yield "MeanPool(3)", MeanPool(3), rng.standard_normal((2, 6, 3))
