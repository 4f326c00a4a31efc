"""★★★ A transposed convolution: y[n, s·l + k, o] = Σ_{l,k,c} w[k, o, c] · x[n, l, c]. Write dx and dw.

Forward spreads each sample over K outputs, s apart. y[:, k : k + s·L : s] is what tap k writes to.
"""

import numpy as np


class Spread:
    """Stride s, no padding, no bias; filters (K, O, C)."""

    def __init__(self, taps, channels, outputs, stride, *, rng):
        self.stride = stride
        self.parameters = {"weight": rng.standard_normal((taps, outputs, channels))}

    def forward(self, x):
        """y (N, (L - 1)·s + K, O), and x."""
        w, s, (clips, length, _) = self.parameters["weight"], self.stride, x.shape
        y = np.zeros((clips, (length - 1) * s + len(w), w.shape[1]))
        for k in range(len(w)):
            y[:, k : k + s * (length - 1) + 1 : s] += x @ w[k].T
        return y, x

    def backward(self, dy, cache):
        """dx (N, L, C) and dw (K, O, C)."""
        x, w, s = cache, self.parameters["weight"], self.stride
        raise NotImplementedError("write dx and dw")
        return dx, {"weight": dw}


def gradient_cases(rng):
    """What the checker tries."""
    yield "Spread, s = 2", Spread(3, 2, 4, 2, rng=rng), rng.standard_normal((2, 5, 2))
    yield "Spread, s = 3", Spread(2, 3, 2, 3, rng=rng), rng.standard_normal((2, 4, 3))
