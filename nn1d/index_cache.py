"""Indices that depend on sizes alone, computed once for each and kept: all of them together within one bound."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from threading import Lock
from typing import Any, TypeVar

import numpy as np

R = TypeVar("R")
BOUND_BYTES = 64 << 20  # a network on clips of one length needs a few

_kept: OrderedDict[tuple[Any, ...], tuple[Any, int]] = OrderedDict()  # the one used last at the end
_bytes = 0
_lock = Lock()  # of the clips that are in flight on several threads


def cached_indices(compute: Callable[..., R]) -> Callable[..., R]:
    """A function of integers that gives arrays, or a tuple with arrays. What was not used for longest goes first."""

    @wraps(compute)
    def cached(*sizes: int, **named: int) -> R:
        global _bytes
        key = (compute, sizes, *named.items())
        with _lock:
            if key in _kept:
                _kept.move_to_end(key)
                return _kept[key][0]
        indices = compute(*sizes, **named)
        parts = indices if isinstance(indices, tuple) else (indices,)
        count = sum(part.nbytes for part in parts if isinstance(part, np.ndarray))
        with _lock:
            if count <= BOUND_BYTES and key not in _kept:
                _kept[key] = indices, count
                _bytes += count
                while _bytes > BOUND_BYTES:
                    _bytes -= _kept.popitem(last=False)[1][1]
        return indices

    return cached


def cached_bytes() -> int:
    """How many bytes are kept now."""
    return _bytes
