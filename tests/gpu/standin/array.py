"""Arrays that NumPy cannot look into, and the functions on them that CuPy has, with its names and arguments."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from tests.gpu.standin.memory import MemoryPointer, alloc
from tests.gpu.standin.stream import enqueue, get_current_stream, upload, wait

NUMBERS = (bool, int, float, complex, np.generic)


class ndarray:
    """As cupy.ndarray: made by the functions below, or as a view of a place in memory."""

    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self,
        shape: int | Sequence[int],
        dtype: Any = float,
        memptr: MemoryPointer | None = None,
        strides: Sequence[int] | None = None,
        order: str = "C",
    ) -> None:
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        dtype = np.dtype(dtype)
        self.data = alloc(int(np.prod(shape)) * dtype.itemsize) if memptr is None else memptr
        # NumPy refuses a view beyond the block
        self._values = np.ndarray(shape, dtype, self.data.mem.bytes, self.data.offset, strides)

    shape = property(lambda self: self._values.shape)
    dtype = property(lambda self: self._values.dtype)
    ndim = property(lambda self: self._values.ndim)
    size = property(lambda self: self._values.size)
    nbytes = property(lambda self: self._values.nbytes)
    itemsize = property(lambda self: self._values.itemsize)
    strides = property(lambda self: self._values.strides)
    flags = property(lambda self: self._values.flags)
    T = property(lambda self: self._view(self._values.T))

    def __array__(self, *arguments: Any, **named: Any) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`.")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **named: Any) -> Any:
        if method != "__call__" or "out" in named:
            return NotImplemented
        return launch(ufunc, *inputs, **named)

    # to the host

    def get(self, stream: Any = None, order: str = "C", out: np.ndarray | None = None) -> np.ndarray:
        wait()
        return self._values.copy()

    def __bool__(self) -> bool:
        return bool(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __index__(self) -> int:
        return operator.index(self.get()[()])

    def item(self) -> Any:
        return self.get().item()

    def tolist(self) -> Any:
        return self.get().tolist()

    def __repr__(self) -> str:
        return repr(self.get())

    # from the host

    def set(self, arr: np.ndarray, stream: Any = None) -> None:
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if arr.dtype != self.dtype:
            raise TypeError(f"{arr.dtype} array cannot be set to {self.dtype} array")
        if arr.shape != self.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {arr.shape}")
        if not self.flags.c_contiguous:
            raise RuntimeError("Cannot set to non-contiguous array")
        upload(arr.nbytes)
        self._values[...] = arr

    # views

    def _view(self, values: np.ndarray) -> ndarray:
        start = self.data.mem.bytes.__array_interface__["data"][0]
        offset = values.__array_interface__["data"][0] - start if values.size else 0
        return ndarray(values.shape, values.dtype, MemoryPointer(self.data.mem, offset), values.strides)

    def reshape(self, *shape: Any, order: str = "C") -> ndarray:
        wanted = shape[0] if len(shape) == 1 else shape
        values = self._values.reshape(wanted)
        shares = not values.size or np.may_share_memory(values, self._values)
        return self._view(values) if shares else self.copy().reshape(wanted)

    def ravel(self, order: str = "C") -> ndarray:
        return self.reshape(-1)

    def view(self, dtype: Any = None) -> ndarray:
        return self._view(self._values.view(dtype))

    def swapaxes(self, axis1: int, axis2: int) -> ndarray:
        return self._view(self._values.swapaxes(axis1, axis2))

    def transpose(self, *axes: Any) -> ndarray:
        return self._view(self._values.transpose(*axes))

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[ndarray]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key: Any) -> ndarray:
        plain, arrays = _index(key)
        if not arrays:
            return self._view(self._values[(*plain, ...) if ... not in plain else plain])
        if any(array.dtype == bool for array in arrays):
            wait()  # how many are True?
        return launch(lambda x, *arrays: x[_with(plain, arrays)], self, *arrays)

    def __setitem__(self, key: Any, value: Any) -> None:
        plain, arrays = _index(key)
        check(value)

        def put(x: np.ndarray, value: Any, *arrays: np.ndarray) -> np.ndarray:
            x = x.copy()
            x[_with(plain, arrays)] = value
            return x

        launch(put, self, value, *arrays, out=self)

    # arithmetic

    def copy(self, order: str = "C") -> ndarray:
        return launch(np.array, self)

    def astype(self, dtype: Any, order: str = "K", casting: Any = None, copy: bool = True) -> ndarray:
        if not copy and np.dtype(dtype) == self.dtype:
            return self
        return launch(lambda x: x.astype(dtype), self)

    def fill(self, value: Any) -> None:
        self[...] = value

    def repeat(self, repeats: int, axis: int | None = None) -> ndarray:
        return launch(lambda x: x.repeat(repeats, axis), self)

    def take(self, indices: Any, axis: int | None = None, out: ndarray | None = None) -> ndarray:
        index = indices if isinstance(indices, ndarray) else to_device(np.asarray(indices))
        return launch(lambda x, index: np.take(x, index, axis), self, index, out=out)

    def _reduce(self, name: str, axis: Any, keepdims: bool, out: ndarray | None, **named: Any) -> ndarray:
        return launch(lambda x: getattr(x, name)(axis=axis, keepdims=keepdims, **named), self, out=out)

    def sum(self, axis: Any = None, dtype: Any = None, out: ndarray | None = None, keepdims: bool = False) -> ndarray:
        return self._reduce("sum", axis, keepdims, out, dtype=dtype)

    def mean(self, axis: Any = None, dtype: Any = None, out: ndarray | None = None, keepdims: bool = False) -> ndarray:
        return self._reduce("mean", axis, keepdims, out, dtype=dtype)

    def max(self, axis: Any = None, out: ndarray | None = None, keepdims: bool = False) -> ndarray:
        return self._reduce("max", axis, keepdims, out)

    def min(self, axis: Any = None, out: ndarray | None = None, keepdims: bool = False) -> ndarray:
        return self._reduce("min", axis, keepdims, out)

    def all(self, axis: Any = None, out: ndarray | None = None, keepdims: bool = False) -> ndarray:
        return self._reduce("all", axis, keepdims, out)

    def any(self, axis: Any = None, out: ndarray | None = None, keepdims: bool = False) -> ndarray:
        return self._reduce("any", axis, keepdims, out)

    def __matmul__(self, other: Any) -> ndarray:
        return matmul(self, other)

    def __rmatmul__(self, other: Any) -> ndarray:
        return matmul(other, self)

    def __imatmul__(self, other: Any) -> ndarray:
        raise TypeError("cupy.ndarray has no @=")

    def __neg__(self) -> ndarray:
        return launch(np.negative, self)

    def __invert__(self) -> ndarray:
        return launch(np.invert, self)

    def __abs__(self) -> ndarray:
        return launch(np.absolute, self)


def check(value: Any) -> None:
    """Only arrays of the device and single numbers take part in what it computes."""
    if not isinstance(value, (ndarray, *NUMBERS)):
        raise TypeError(f"Unsupported type {type(value)}")


def launch(function: Callable[..., Any], *inputs: Any, out: ndarray | None = None, **named: Any) -> ndarray:
    """Have the device compute a function of NumPy arrays, into new memory or into `out`."""
    for value in inputs:
        check(value)
    values = [value._values if isinstance(value, ndarray) else value for value in inputs]
    with np.errstate(all="ignore"):
        result = np.asarray(function(*values, **named))
    if out is None:
        out = ndarray(result.shape, result.dtype)
    elif out.shape != result.shape:
        raise ValueError(f"out has the shape {out.shape}; the result has {result.shape}")
    elif not np.can_cast(result.dtype, out.dtype, "same_kind"):
        raise TypeError(f"output (typecode {result.dtype.char!r}) could not be coerced to {out.dtype.char!r}")
    target = out._values
    known = [] if get_current_stream().is_capturing() else [result]  # a graph computes from what is there by then

    def work() -> None:
        target[...] = known.pop() if known else function(*values, **named)

    arrays = [value for value in inputs if isinstance(value, ndarray)]
    enqueue(work, [array.data.mem for array in [*arrays, out]])
    return out


def to_device(array: np.ndarray) -> ndarray:
    """A copy of what the host has."""
    if array.dtype.kind not in "?bhilqBHILQefdFD" and array.dtype.kind not in "biufc":
        raise ValueError(f"Unsupported dtype {array.dtype}")
    moved = ndarray(array.shape, array.dtype)
    upload(array.nbytes)
    moved._values[...] = array
    return moved


def matmul(a: Any, b: Any, out: ndarray | None = None) -> ndarray:
    """cuBLAS cannot be captured: CuPy refuses it."""
    if get_current_stream().is_capturing():
        raise NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")
    return launch(np.matmul, a, b, out=out)


def _index(key: Any) -> tuple[list[Any], list[ndarray]]:
    """An index whose arrays, taken out, are on the device; host arrays are sent there."""
    plain: list[Any] = []
    arrays: list[ndarray] = []
    for part in key if isinstance(key, tuple) else (key,):
        if part is None or part is Ellipsis or isinstance(part, (slice, int, np.integer)):
            plain.append(part)
            continue
        array = part if isinstance(part, ndarray) else to_device(np.asarray(part))
        if array.dtype.kind not in "biu":
            raise IndexError(f"arrays used as indices must be of integer or boolean type. (actual: {array.dtype.type})")
        plain.append(_Place(len(arrays)))
        arrays.append(array)
    return plain, arrays


class _Place(int):
    """Where in an index an array was."""


def _with(plain: Iterable[Any], arrays: Sequence[np.ndarray]) -> tuple[Any, ...]:
    return tuple(arrays[part] if isinstance(part, _Place) else part for part in plain)


def _arithmetic(name: str, ufunc: np.ufunc) -> None:
    def forward(self: ndarray, other: Any) -> ndarray:
        return launch(ufunc, self, other)

    def backward(self: ndarray, other: Any) -> ndarray:
        return launch(ufunc, other, self)

    def in_place(self: ndarray, other: Any) -> ndarray:
        return launch(ufunc, self, other, out=self)

    for prefix, function in (("", forward), ("r", backward), ("i", in_place)):
        setattr(ndarray, f"__{prefix}{name}__", function)


for _name, _ufunc in {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.true_divide, "floordiv": np.floor_divide,
    "mod": np.remainder, "pow": np.power, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
}.items():  # fmt: skip
    _arithmetic(_name, _ufunc)
for _name, _ufunc in {
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
}.items():  # fmt: skip
    setattr(ndarray, f"__{_name}__", lambda self, other, _ufunc=_ufunc: launch(_ufunc, self, other))
