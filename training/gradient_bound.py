"""A bound for the gradients of single batches, taken from those before them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nn1d.backend import Array, to_numpy

RECENT, LEAST = 100, 10  # norms that the median is of, and those it takes to say anything


class GradientBound:
    """Shorten a gradient that is much longer than those of the last batches.

    g = g · min(1, factor · median(|g| of the last 100 batches) / |g|)

    Adam divides by the running size of the gradient, which follows over some thousand steps. So one batch whose
    gradient is ten times as long as usual makes a step of up to three times the rate, in a direction of its own.

    Parameters
    ----------
    factor : float
        0 lets every gradient pass.
    module : numpy or cupy
        Where the gradients are. Nothing waits for a GPU but `recent`.

    Source
    ------
    Pascanu et al. 2013, arXiv:1211.5063, section 3.2; a quantile of past norms as threshold: Seetharaman et al. 2020,
    arXiv:2007.14469
    """

    def __init__(self, factor: float, module: Any = np) -> None:
        self.factor, self._module = factor, module
        self._norms: Array = module.zeros(RECENT, np.float32)
        self._count = 0  # gradients seen

    def __call__(self, gradient: Array) -> Array:
        """The gradient, or the same direction within the bound. It counts as seen."""
        if self.factor == 0:
            return gradient
        xp = self._module
        norm = xp.sqrt((gradient * gradient).sum())
        known = min(self._count, RECENT)
        if known >= LEAST:
            most = xp.maximum(self.factor * xp.median(self._norms[:known]), np.finfo(np.float32).tiny)
            gradient = gradient * (most / xp.maximum(norm, most)).astype(gradient.dtype)
        self._norms[self._count % RECENT] = norm
        self._count += 1
        return gradient

    def recent(self) -> list[float]:
        """The norms that the next gradient is compared with, the oldest first."""
        oldest = self._count % RECENT if self._count > RECENT else 0
        return [float(norm) for norm in np.roll(to_numpy(self._norms[: self._count]), -oldest)]

    def restore(self, recent: Sequence[float]) -> None:
        """Go on where `recent` was called."""
        self._norms = self._module.zeros(RECENT, np.float32)
        self._norms[: len(recent)] = self._module.asarray(recent, np.float32)
        self._count = len(recent)

    def snapshot(self) -> tuple[Array, int]:
        """A copy of what a gradient changes."""
        return self._norms.copy(), self._count

    def roll_back(self, snapshot: tuple[Array, int]) -> None:
        """Be as at that snapshot, which is used up."""
        self._norms, self._count = snapshot
