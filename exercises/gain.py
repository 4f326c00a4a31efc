"""★ y[n, l, c] = g[c] · x[n, l, c]: a gain for each channel, which is learned. Write dx and dg.

g[c] is used for every clip n and every sample l: where wires part, gradients add up.
"""

import numpy as np


class Gain:
    """y = g · x, with one g a channel."""

    def __init__(self, channels, *, rng):
        self.parameters = {"gain": rng.standard_normal(channels)}

    def forward(self, x):
        """y, and x, which backward needs."""
        return self.parameters["gain"] * x, x

    def backward(self, dy, cache):
        """dx, of the shape of x, and dg, of the shape (C,)."""
        x, g = cache, self.parameters["gain"]
        raise NotImplementedError("write dx and dg; np.sum takes axis=(0, 1)")
        return dx, {"gain": dg}


def gradient_cases(rng):
    """What the checker tries."""
    yield "Gain", Gain(3, rng=rng), rng.standard_normal((2, 5, 3))
