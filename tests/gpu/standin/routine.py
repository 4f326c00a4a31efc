"""Functions of the module: each is one of CuPy's, with its arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tests.gpu.standin.array import launch, matmul, ndarray, to_device


def _ufunc(ufunc: np.ufunc) -> Callable[..., ndarray]:
    def function(*inputs: Any, out: ndarray | None = None, dtype: Any = None) -> ndarray:
        return launch(ufunc, *inputs, out=out, **({} if dtype is None else {"dtype": dtype}))

    function.__name__ = ufunc.__name__
    return function


absolute, add, divide, equal, exp, expm1, greater, isfinite, less, log, maximum, minimum, multiply, negative, sqrt, \
    square, subtract, tanh, true_divide = (
        _ufunc(each)
        for each in (
            np.absolute, np.add, np.divide, np.equal, np.exp, np.expm1, np.greater, np.isfinite, np.less, np.log,
            np.maximum, np.minimum, np.multiply, np.negative, np.sqrt, np.square, np.subtract, np.tanh,
            np.true_divide,
        )
    )  # fmt: skip
abs = absolute  # noqa: A001  (the names are CuPy's)
dot = matmul


def asarray(a: Any, dtype: Any = None, order: Any = None) -> ndarray:
    if isinstance(a, ndarray):
        return a if dtype is None else a.astype(dtype, copy=False)
    return to_device(np.asarray(a, dtype))


def array(obj: Any, dtype: Any = None, copy: bool = True, order: str = "K", subok: bool = False) -> ndarray:
    return asarray(obj, dtype).copy() if isinstance(obj, ndarray) else to_device(np.asarray(obj, dtype))


def asnumpy(a: Any, stream: Any = None, order: str = "C", out: Any = None) -> np.ndarray:
    return a.get() if isinstance(a, ndarray) else np.asarray(a)


def ascontiguousarray(a: ndarray, dtype: Any = None) -> ndarray:
    return a if a.flags.c_contiguous and dtype in (None, a.dtype) else a.astype(a.dtype if dtype is None else dtype)


def empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return ndarray(shape, dtype)


def full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C") -> ndarray:
    made = ndarray(shape, np.asarray(fill_value).dtype if dtype is None else dtype)
    made.fill(fill_value)
    return made


def zeros(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return full(shape, 0, dtype)


def ones(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return full(shape, 1, dtype)


def empty_like(prototype: ndarray, dtype: Any = None) -> ndarray:
    return ndarray(prototype.shape, prototype.dtype if dtype is None else dtype)


def zeros_like(a: ndarray, dtype: Any = None) -> ndarray:
    return full(a.shape, 0, a.dtype if dtype is None else dtype)


def ones_like(a: ndarray, dtype: Any = None) -> ndarray:
    return full(a.shape, 1, a.dtype if dtype is None else dtype)


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> ndarray:
    values = np.arange(*((start,) if stop is None else (start, stop, step)), dtype=dtype)
    return launch(lambda _: values, 0)


def concatenate(tup: Sequence[ndarray], axis: int = 0, out: ndarray | None = None) -> ndarray:
    tup = _arrays(tup)
    if len(tup) > 8:  # one kernel, which is sent a table of addresses
        to_device(np.zeros(len(tup), np.int64))
    return launch(lambda *parts: np.concatenate(parts, axis), *tup, out=out)


def stack(tup: Sequence[ndarray], axis: int = 0, out: ndarray | None = None) -> ndarray:
    tup = _arrays(tup)
    return concatenate([launch(lambda part: np.expand_dims(part, axis), part) for part in tup], axis, out)


def _arrays(tup: Sequence[ndarray]) -> list[ndarray]:
    if not all(isinstance(part, ndarray) for part in tup):
        raise TypeError("Only cupy arrays can be concatenated")
    return list(tup)


def tile(A: ndarray, reps: Any) -> ndarray:
    return launch(lambda a: np.tile(a, reps), A)


def repeat(a: ndarray, repeats: int, axis: int | None = None) -> ndarray:
    return a.repeat(repeats, axis)


def take(a: ndarray, indices: Any, axis: int | None = None, out: ndarray | None = None) -> ndarray:
    return a.take(indices, axis, out)


def clip(a: ndarray, a_min: Any, a_max: Any, out: ndarray | None = None) -> ndarray:
    return launch(lambda a: np.clip(a, a_min, a_max), a, out=out)


def where(condition: Any, x: Any = None, y: Any = None) -> ndarray:
    return launch(np.where, condition, x, y)


def copyto(dst: ndarray, src: Any, casting: str = "same_kind", where: Any = None) -> None:
    launch(lambda source: np.broadcast_to(source, dst.shape), src, out=dst)


def sum(a: ndarray, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:  # noqa: A001
    return a.sum(axis, dtype, out, keepdims)


def median(a: ndarray, axis: Any = None) -> ndarray:
    return launch(lambda a: np.median(a, axis), a)


def result_type(*arrays_and_dtypes: Any) -> np.dtype:
    return np.result_type(*(each.dtype if isinstance(each, ndarray) else each for each in arrays_and_dtypes))


__all__ = [name for name, thing in list(vars().items()) if callable(thing) and not name.startswith("_")]
for _name in ("Any", "Callable", "Sequence", "launch", "to_device", "ndarray"):
    __all__.remove(_name)
