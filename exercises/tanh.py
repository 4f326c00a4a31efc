"""★★ y = tanh x. Write dx, and keep nothing but y.

tanh x = (exp(x) - exp(-x)) / (exp(x) + exp(-x)). Derive its slope by the rule for quotients, and write it with y alone.
"""

import numpy as np


class Tanh:
    """y = tanh x."""

    parameters = {}

    def forward(self, x):
        """y twice: the output, and what is kept."""
        y = np.tanh(x)
        return y, y

    def backward(self, dy, cache):
        """dx, from dy and y."""
        y = cache
        raise NotImplementedError("write dx from dy and y")
        return dx, {}


def gradient_cases(rng):
    """What the checker tries."""
    yield "Tanh", Tanh(), rng.standard_normal((2, 5, 3))
