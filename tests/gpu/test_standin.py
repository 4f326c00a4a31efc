"""What stands in for CuPy differs from NumPy where CuPy does."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

from nn1d.backend import array_module, to_numpy, view
from tests.gpu import standin
from tests.gpu.standin.memory import CUDARuntimeError
from tests.gpu.standin.stream import Counts


@pytest.fixture
def cp(monkeypatch: pytest.MonkeyPatch) -> Any:
    return standin.install(monkeypatch)


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_nothing_is_converted_by_itself(cp: Any) -> None:
    x, y = cp.asarray(numbers(3)), numbers(3)
    assert array_module(x) is cp
    assert not isinstance(x, np.ndarray)
    with pytest.raises(TypeError, match="Implicit conversion to a NumPy array is not allowed"):
        np.asarray(x)
    for mixed in (
        lambda: x + y, lambda: y + x, lambda: x @ y, lambda: cp.exp(y), lambda: np.add(y, x),
        lambda: cp.maximum(x, [1, 2, 3]), lambda: cp.concatenate([x, y]), lambda: x.__setitem__(slice(0, 3), y),
    ):  # fmt: skip
        with pytest.raises(TypeError):
            mixed()
    assert np.array_equal(to_numpy(x), y)


def test_what_numpy_gives_as_a_number_is_an_array_without_axes(cp: Any) -> None:
    x = cp.asarray(numbers(2, 3))
    for result in (x.sum(), x[1, 2], x.max(), x.reshape(-1) @ x.reshape(-1), cp.isfinite(x).all()):
        assert isinstance(result, cp.ndarray)
        assert result.shape == ()
    before = Counts.synchronisations
    assert float(x[1, 2]) == numbers(2, 3)[1, 2]
    assert bool(x.sum() == x.sum())
    assert Counts.synchronisations == before + 2


def test_arithmetic_is_that_of_numpy(cp: Any) -> None:
    a, b = numbers(4, 5), numbers(5)
    x, y = cp.asarray(a), cp.asarray(b)
    pairs: list[tuple[Any, Any]] = [
        (x + y, a + b), (2 - x, 2 - a), (x / 3, a / 3), (abs(x), abs(a)), (-x, -a), (x > 0, a > 0),
        (x.sum(0), a.sum(0)),
        (x @ y, a @ b), (np.float32(2) * x, 2 * a), (x.mean(), a.mean()), (cp.clip(x, -1, 0), a.clip(-1, 0)),
        (cp.tile(y, 2), np.tile(b, 2)), (x.repeat(2, axis=1), a.repeat(2, axis=1)),
        (cp.where(x > 0, x, 0), a * (a > 0)),
        (x.take(np.array([[0, 3]]), axis=0), a[[[0, 3]]]), (x[:, np.array([1, 1])], a[:, [1, 1]]),
        (x.swapaxes(0, 1).reshape(-1), a.T.ravel()), (cp.concatenate([x, x], 1), np.concatenate([a, a], 1)),
        (cp.stack([y, y], 1), np.stack([b, b], 1)), (x.copy().reshape(2, 10), a.reshape(2, 10)),
    ]  # fmt: skip
    for actual, expected in pairs:
        np.testing.assert_array_equal(actual.get(), expected)
        assert actual.dtype == expected.dtype
    x += 1
    x[1:3, ::2] *= 2
    x[:, np.array([0])] = 5
    a += 1
    a[1:3, ::2] *= 2
    a[:, [0]] = 5
    np.testing.assert_array_equal(x.get(), a)


def test_a_view_looks_at_the_same_memory(cp: Any) -> None:
    x = cp.asarray(numbers(2, 12))
    seen: Any = view(x, 1, (2, 3), (12, 2))
    np.testing.assert_array_equal(seen.get(), x.get()[:, 1:7:2])
    seen[...] = 0
    assert (x.get() == 0).sum() == 6
    x.reshape(24)[23] = 7
    assert float(x[1, 11]) == 7
    with pytest.raises((TypeError, ValueError)):
        view(x, 1_000, (2, 3), (12, 2))


def test_an_index_beyond_the_end_is_an_error(cp: Any) -> None:
    x = cp.asarray(numbers(3, 2))
    for wrong in (lambda: x.take(np.array([3]), axis=0), lambda: x[np.array([0, 3])], lambda: x[3],
                  lambda: x.__setitem__(cp.asarray([5]), 0)):  # fmt: skip
        with pytest.raises(IndexError):
            wrong()


def test_fresh_memory_is_not_zero(cp: Any) -> None:
    assert np.isnan(cp.empty((2, 3), np.float32).get()).all()
    assert np.isnan(cp.empty((2, 3), np.float64).get()).all()


def test_memory_is_counted_and_has_a_limit(cp: Any) -> None:
    pool = cp.cuda.MemoryPool()
    pool.set_limit(size=4096)
    with cp.cuda.using_allocator(pool.malloc):
        x = cp.zeros(512, np.float32)
        y = cp.zeros(512, np.float32)
        with pytest.raises(cp.cuda.memory.OutOfMemoryError, match="Out of memory allocating 512 bytes"):
            cp.zeros(1, np.float32)
        del y
        gc.collect()
        assert (pool.used_bytes(), pool.total_bytes()) == (2048, 4096)
        with pytest.raises(MemoryError):  # also without what is free in the pool, which goes to the device first
            cp.zeros(1024, np.float32)
        assert pool.total_bytes() == 2048
        cp.zeros(512, np.float32)
    assert x.size == 512


def test_a_pool_has_gaps(cp: Any) -> None:
    pool = cp.cuda.MemoryPool()
    first, second = pool.malloc(1024), pool.malloc(2048)
    del first, second
    small = pool.malloc(512)  # of the smaller block, which is not whole any more
    assert (pool.used_bytes(), pool.free_bytes()) == (512, 2560)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "_allocator", None)  # nothing new is asked for
        rest, large = pool.malloc(300), pool.malloc(1025)
    pool.free_all_blocks()
    assert (pool.used_bytes(), pool.free_bytes()) == (2560, 512)
    del small, rest, large
    pool.free_all_blocks()  # neighbours have joined
    assert pool.total_bytes() == 0


def test_a_pool_that_goes_with_free_blocks_has_lost_them(cp: Any) -> None:
    def left() -> int:
        gc.collect()
        return cp.cuda.runtime.memGetInfo()[0]

    before = left()
    for releases, lost in ((True, 0), (False, 4096)):
        pool = cp.cuda.MemoryPool()
        pool.malloc(4096)
        if releases:
            pool.free_all_blocks()
        del pool
        assert before - left() == lost


def test_a_pool_asks_its_allocator(cp: Any) -> None:
    asked: list[int] = []

    def allocate(size: int) -> Any:
        asked.append(size)
        if len(asked) == 2:
            raise cp.cuda.memory.OutOfMemoryError(size, 0)
        return cp.cuda.MemoryPointer(cp.cuda.Memory(size), 0)

    pool = cp.cuda.MemoryPool(allocate)
    pool.malloc(512)  # is free after this
    with pytest.raises(cp.cuda.memory.OutOfMemoryError, match=r"^Out of memory allocating 1,024 bytes \(allocated so"):
        pool.malloc(1000)
    assert (asked, pool.free_bytes()) == ([512, 1024], 512)  # nothing is given back for a second try


def test_the_device_has_an_end(cp: Any) -> None:
    most = cp.cuda.runtime.memGetInfo()[0]
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="cudaErrorMemoryAllocation: out of memory"):
        cp.cuda.Memory(most + 1)
    with pytest.raises(cp.cuda.memory.OutOfMemoryError):
        cp.cuda.MemoryPool().malloc(most + 1)


def test_a_graph_does_what_was_written_down_again(cp: Any) -> None:
    x = cp.asarray(numbers(4))
    pool, stream = cp.cuda.MemoryPool(), cp.cuda.Stream(non_blocking=True)
    with cp.cuda.using_allocator(pool.malloc), stream:
        stream.begin_capture()
        y = (x * 2 + 1).sum()
        graph = stream.end_capture()
    assert np.isnan(float(y))  # captured, not computed
    for values in (numbers(4), np.ones(4, np.float32)):
        x.set(values)
        graph.launch()
        assert float(y) == pytest.approx(float((values * 2 + 1).sum()), rel=1e-6)


def test_what_cannot_be_captured_is_refused(cp: Any) -> None:
    x, stream = cp.asarray(numbers(4, 4)), cp.cuda.Stream(non_blocking=True)
    cases: list[tuple[Any, type[Exception]]] = [
        (lambda: float(x.sum()), CUDARuntimeError),
        (lambda: x.get(), CUDARuntimeError),
        (lambda: cp.asarray(numbers(4)), CUDARuntimeError),
        (lambda: x.take(np.array([1]), axis=0), CUDARuntimeError),
        (lambda: cp.concatenate([x] * 9), CUDARuntimeError),  # it sends a table of addresses
        (lambda: x @ x, NotImplementedError),
        (lambda: stream.synchronize(), CUDARuntimeError),
    ]
    for function, error in cases:
        with stream:
            stream.begin_capture()
            with pytest.raises(error):
                function()
            if error is CUDARuntimeError:
                with pytest.raises(CUDARuntimeError, match="cudaErrorStreamCaptureInvalidated"):
                    stream.end_capture()
            else:
                stream.end_capture()
        assert not stream.is_capturing()
    with pytest.raises(RuntimeError, match="default"):
        cp.cuda.Stream.null.begin_capture()


def test_blocks_that_go_while_a_graph_is_made_are_an_error(cp: Any) -> None:
    x, pool, stream = cp.asarray(numbers(4)), cp.cuda.MemoryPool(), cp.cuda.Stream(non_blocking=True)
    for releases in (False, True):
        with cp.cuda.using_allocator(pool.malloc), stream:
            stream.begin_capture()
            y = cp.sqrt(x * x)  # x * x is free after this
            if releases:
                pool.free_all_blocks()
            graph = stream.end_capture()
        if releases:
            with pytest.raises(CUDARuntimeError, match="cudaErrorIllegalAddress"):
                graph.launch()
        else:
            graph.launch()
            np.testing.assert_allclose(y.get(), abs(numbers(4)))


@pytest.mark.parametrize("spoil", ["allocation", "release", "death"])
def test_a_graph_in_memory_that_was_given_away_is_an_error(cp: Any, spoil: str) -> None:
    x = cp.asarray(numbers(4))
    pool, stream = cp.cuda.MemoryPool(), cp.cuda.Stream(non_blocking=True)
    with cp.cuda.using_allocator(pool.malloc), stream:
        stream.begin_capture()
        y = cp.sqrt(x * x)
        graph = stream.end_capture()
    graph.launch()
    np.testing.assert_allclose(y.get(), abs(numbers(4)))
    if spoil == "allocation":
        pool.malloc(4)
    elif spoil == "release":
        pool.free_all_blocks()
    else:
        del y, pool
        gc.collect()
    with pytest.raises(CUDARuntimeError, match="cudaErrorIllegalAddress"):
        graph.launch()
