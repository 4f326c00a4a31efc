"""★★ A convolution without padding: y[n, l, o] = Σ_{k,c} x[n, l + k, c] · w[k, c, o]. Write dw.

dx is there. Which x stands beside w[k, c, o] in the sum, and for which n and l? np.einsum("nlc,nlo->co", a, b) sums a
product over n and l.
"""

import numpy as np


class Convolution:
    """Stride 1, no padding, no bias."""

    def __init__(self, taps, channels, outputs, *, rng):
        self.parameters = {"weight": rng.standard_normal((taps, channels, outputs))}

    def forward(self, x):
        """y (N, L - K + 1, O), and x."""
        w = self.parameters["weight"]
        length = x.shape[1] - len(w) + 1
        return sum(x[:, k : k + length] @ w[k] for k in range(len(w))), x

    def backward(self, dy, cache):
        """dx (N, L, C) and dw (K, C, O)."""
        x, w = cache, self.parameters["weight"]
        length = dy.shape[1]
        dx, dw = np.zeros_like(x), np.zeros_like(w)
        for k in range(len(w)):
            dx[:, k : k + length] += dy @ w[k].T
            raise NotImplementedError("write dw[k], a matrix (C, O)")
        return dx, {"weight": dw}


def gradient_cases(rng):
    """What the checker tries."""
    yield "Convolution", Convolution(3, 2, 4, rng=rng), rng.standard_normal((2, 7, 2))
