"""What the signals between layers are stored as: float32, or float16 with gradients that are kept within its range."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nn1d.backend import Array
from nn1d.layer import Tree, map_leaves

STEP, MOST = 4, 24  # powers of two by which the scale backs off at a time, and at most


class LossScaler:
    """Full or half precision; in half precision parameters, their gradients, sums and the loss stay float32.

    The gradient of a mean over n samples is about 1 / n, and float16 has nothing between 0 and 6e-8. So what enters
    backward is multiplied by a power of two S, and what comes out is divided by it:

    S = 2^(⌊log2 n⌋ - b)

    With b = 0 the gradient at the output is one to two times the error there. It may become 65,504 times as large on
    its way. If it leaves that range, b is raised and the step taken again (training/finite_check.py).

    Parameters
    ----------
    half : bool
    on_change : function
        Called when S has changed, before the next gradient.

    Attributes
    ----------
    log2_backoff : int
        b.

    Source
    ------
    Micikevicius et al. 2018, arXiv:1710.03740, section 3.2
    """

    def __init__(self, half: bool, on_change: Callable[[], None] = lambda: None) -> None:
        self.half, self.log2_backoff = half, 0
        self._on_change = on_change

    def signal(self, x: Array) -> Array:
        """x as layers take it; clips and representations are float32."""
        return x.astype(np.float16) if self.half else x

    def scale(self, gradients: Tree, samples: int) -> Tree:
        """The gradients of the loss, a mean over `samples`, as backward takes them."""
        if not self.half:
            return gradients
        return map_leaves(lambda dy: (dy * self._factor(samples)).astype(np.float16), gradients)

    def unscale(self, gradient: Array, samples: int) -> Array:
        """The gradient of the parameters from what backward gave."""
        return gradient * (1 / self._factor(samples)) if self.half else gradient

    def back_off(self) -> bool:
        """Make S smaller after a gradient that is not finite; False where that is not the reason."""
        if not self.half or self.log2_backoff >= MOST:
            return False
        self.log2_backoff += STEP
        self._on_change()
        return True

    def _factor(self, samples: int) -> float:
        return 2.0 ** (samples.bit_length() - 1 - self.log2_backoff)
