"""★ y = x², for each number by itself. Write dx.

The chain rule has one term: dx = dy · ∂y/∂x. What is the slope of a square?
"""


class Square:
    """y = x²."""

    parameters = {}

    def forward(self, x):
        """y, and x, which backward needs."""
        return x * x, x

    def backward(self, dy, cache):
        """dx, of the shape of x."""
        x = cache
        raise NotImplementedError("write dx from dy and x")
        return dx, {}


def gradient_cases(rng):
    """What the checker tries."""
    yield "Square", Square(), rng.standard_normal((2, 5, 3))
