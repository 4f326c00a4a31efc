"""★★★ Layer norm: at each sample the C channels are moved to mean 0 and variance 1, then scaled and shifted.

    m = mean of x over c,  v = mean of (x - m)² over c,  z = (x - m) / √(v + ε),  y[n, l, c] = g[c] · z[n, l, c] + b[c]

Write dx, dg and db. Every x of a sample is in its m and in its v, so its gradient has three ways: straight, by the mean
and by the variance. Derive each, beginning with dz = g · dy, and add them up: that is the exercise. Before the checker
looks: m takes away what is added to all x of a sample, so dx must add up to 0 over c.
"""

import numpy as np


class LayerNorm:
    """Over channels."""

    def __init__(self, channels, *, rng, epsilon=1e-5):
        self.epsilon = epsilon
        self.parameters = {"gain": rng.standard_normal(channels), "bias": rng.standard_normal(channels)}

    def forward(self, x):
        """y, and z with 1 / √(v + ε)."""
        gap = x - x.mean(axis=2, keepdims=True)
        scale = 1 / np.sqrt((gap * gap).mean(axis=2, keepdims=True) + self.epsilon)
        z = gap * scale
        return self.parameters["gain"] * z + self.parameters["bias"], (z, scale)

    def backward(self, dy, cache):
        """dx (N, L, C), dg (C,) and db (C,)."""
        z, scale = cache
        g = self.parameters["gain"]
        raise NotImplementedError("write dx, dg and db")
        return dx, {"gain": dg, "bias": db}


def gradient_cases(rng):
    """What the checker tries."""
    yield "LayerNorm", LayerNorm(5, rng=rng), rng.standard_normal((2, 4, 5))
