"""★★ A convolution with padding: y[n, l, o] = Σ_{k,c} x[n, l + k - p, c] · w[k, c, o]. Write dx.

dw is there. Which outputs does x[n, i, c] reach, and through which tap? Mind the ends: of the padding, which forward
adds, nobody wants a gradient.
"""

import numpy as np


class Convolution:
    """Stride 1, padding p, no bias."""

    def __init__(self, taps, channels, outputs, padding, *, rng):
        self.padding = padding
        self.parameters = {"weight": rng.standard_normal((taps, channels, outputs))}

    def forward(self, x):
        """y (N, L + 2p - K + 1, O), and the padded x."""
        w = self.parameters["weight"]
        padded = np.pad(x, ((0, 0), (self.padding, self.padding), (0, 0)))
        length = padded.shape[1] - len(w) + 1
        return sum(padded[:, k : k + length] @ w[k] for k in range(len(w))), padded

    def backward(self, dy, cache):
        """dx (N, L, C), without the padding, and dw (K, C, O)."""
        padded, w = cache, self.parameters["weight"]
        length = dy.shape[1]
        dw = np.stack([np.einsum("nlc,nlo->co", padded[:, k : k + length], dy) for k in range(len(w))])
        raise NotImplementedError("write dx: first of the padded signal, then without its ends")
        return dx, {"weight": dw}


def gradient_cases(rng):
    """What the checker tries."""
    yield "Convolution, p = 1", Convolution(3, 2, 4, 1, rng=rng), rng.standard_normal((2, 7, 2))
    yield "Convolution, p = 0", Convolution(2, 2, 3, 0, rng=rng), rng.standard_normal((2, 7, 2))
