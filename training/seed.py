"""Random numbers of a run, a stream for each purpose."""

from __future__ import annotations

import numpy as np


def generator(seed: int, purpose: str) -> np.random.Generator:
    """A stream of random numbers for one purpose, so that a change in one does not shift another."""
    return np.random.default_rng([seed, *purpose.encode()])
