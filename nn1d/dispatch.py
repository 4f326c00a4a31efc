"""The one place that decides where a function of arrays is computed.

A layer calls functions that are written to be read. Faster forms of them register under the function's name: those of
nn1d/cpu.py always, the CUDA kernels of nn1d/cuda when the first array of a GPU is met. A form is asked before the plain
function, the last registered first, and answers NotImplemented where it does not fit.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar, overload

import numpy as np

from nn1d.backend import array_module

P = ParamSpec("P")
R = TypeVar("R")
FORMS: dict[str, list[Callable[..., Any]]] = {}  # of each function, by its name


_kernels_on = True


@contextmanager
def plain() -> Iterator[None]:
    """Within, no CUDA kernel runs, and layers are computed one by one: to look into a network, or to compare."""
    global _kernels_on
    before, _kernels_on = _kernels_on, False
    try:
        yield
    finally:
        _kernels_on = before


def kernels_on() -> bool:
    """Whether CUDA kernels may run."""
    return _kernels_on


def register(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Have a form asked before the function of that name and before the forms that it has; arguments are the same."""

    def registered(form: Callable[P, R]) -> Callable[P, R]:
        FORMS.setdefault(name, []).insert(0, form)
        return form

    return registered


@overload
def accelerated(plain: Callable[P, R]) -> Callable[P, R]: ...
@overload
def accelerated(*, half: str) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def accelerated(plain: Callable[..., Any] | None = None, *, half: str = "kept") -> Any:
    """A function of arrays, the first argument among them, that takes the fastest form that fits.

    Parameters
    ----------
    half : {"kept", "rounded", "widened"}
        What becomes of float16 where no form takes it. A sum of products is computed in float32, and "rounded" to
        float16 if it is a signal; the gradient of a parameter stays "widened".
    """
    if plain is None:
        return lambda function: _dispatched(function, half)
    return _dispatched(plain, half)


def _dispatched(function: Callable[..., Any], half: str) -> Callable[..., Any]:
    @wraps(function)
    def dispatched(*arguments: Any, **options: Any) -> Any:
        if array_module(arguments[0]) is not np:
            _register_kernels()
        for form in FORMS.get(function.__name__, ()):
            result = form(*arguments, **options)
            if result is not NotImplemented:
                return result
        if half == "kept" or arguments[0].dtype != np.float16:
            return function(*arguments, **options)
        result = dispatched(*map(_widened, arguments), **options)
        return result.astype(np.float16) if half == "rounded" else result

    return dispatched


def _widened(argument: Any) -> Any:
    return argument.astype(np.float32) if getattr(argument, "dtype", None) == np.float16 else argument


@cache
def _register_kernels() -> None:
    importlib.import_module("nn1d.cuda")
