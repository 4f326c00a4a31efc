"""A repeated function as a CUDA graph: when it becomes one, what it holds, and what happens where it cannot."""

from __future__ import annotations

import gc
import logging
from typing import Any

import numpy as np
import pytest

from tests.gpu import standin
from tests.gpu.elementwise import CLIPS, expected, products
from tests.gpu.standin.stream import Counts
from training.cuda_graph import CapturedStep

KILOBYTE = 1024

pytestmark = pytest.mark.usefixtures("quick_kernels")


@pytest.fixture
def cp(monkeypatch: pytest.MonkeyPatch) -> Any:
    return standin.install(monkeypatch)


def failing(words: str) -> Any:
    def fail(*args: Any) -> None:
        raise standin.memory.CUDARuntimeError(words)

    return fail


def test_a_repeated_function_becomes_a_graph(cp: Any) -> None:
    repeated, rng = CapturedStep(cp), np.random.default_rng(1)
    launches = []
    for _ in range(4):
        x = rng.standard_normal((4, 1024)).astype(np.float32)
        gpu_x = cp.asarray(x)
        before = Counts.launches
        loss, slope = repeated(products, gpu_x)
        launches.append(Counts.launches - before)
        value, vector = expected(x)
        assert float(loss) == pytest.approx(value, rel=1e-5)
        np.testing.assert_allclose(slope.get(), vector, rtol=1e-4, atol=1e-5)
    assert launches[0] == 5  # plain
    assert launches[2:] == [2, 2]  # the inputs are copied, the graph is launched
    assert repeated.bytes_held > 0


def test_fewer_clips_run_plainly_and_leave_the_graph_alone(cp: Any) -> None:
    repeated = CapturedStep(cp)
    whole, part = cp.asarray(CLIPS), cp.asarray(CLIPS[:3])
    for _ in range(3):
        repeated(products, whole)
    held = repeated.bytes_held
    assert float(repeated(products, part)[0]) == pytest.approx(expected(CLIPS[:3])[0], rel=1e-5)
    assert repeated.bytes_held == held
    before = Counts.launches
    assert float(repeated(products, whole)[0]) == pytest.approx(expected(CLIPS)[0], rel=1e-5)
    assert Counts.launches - before == 2
    repeated(lambda x: (x.sum(), x), whole)  # another function: the second phase
    assert repeated.bytes_held == 0


def test_what_cannot_be_captured_runs_plainly_which_is_said_once(cp: Any, caplog: pytest.LogCaptureFixture) -> None:
    def with_a_product(x: Any) -> tuple[Any, Any]:
        return x.sum(), x @ x.T

    repeated, x = CapturedStep(cp), cp.asarray(CLIPS)
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            _, slope = repeated(with_a_product, x)
            np.testing.assert_allclose(slope.get(), CLIPS @ CLIPS.T, rtol=1e-5)
    assert [record.message for record in caplog.records] == [
        "gpu: the training step is not captured as a CUDA graph (calling cuBLAS API during stream capture is currently "
        "unsupported)"
    ]
    assert not cp.cuda.get_current_stream().is_capturing()


def test_a_graph_that_does_not_fit_is_tried_once(
    cp: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The plain call needs less: it may give free blocks back to the device. In a graph these are still in use."""

    def with_a_hole(x: Any) -> tuple[Any, Any]:
        small = (x + 1).sum()  # x + 1 is free after this
        large = cp.zeros((3, *x.shape), np.float32)  # which its memory is too small for
        return small + large.sum(), large[0]

    gc.collect()
    pool, x = cp.get_default_memory_pool(), cp.asarray(CLIPS)
    pool.free_all_blocks()
    repeated, taken = CapturedStep(cp), cp.cuda.runtime.memGetInfo()[0]
    room = standin.memory.Device.bytes_taken + 5 * CLIPS.nbytes - KILOBYTE
    monkeypatch.setattr(standin.memory, "TOTAL_BYTES", room)
    tried: list[Any] = []
    capture = repeated._capture
    repeated._capture = lambda *args: tried.append(capture(*args))  # type: ignore[method-assign]
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            assert float(repeated(with_a_hole, x)[0]) == pytest.approx((CLIPS + 1).sum(), rel=1e-5)
    assert len(tried) == 1
    assert repeated.bytes_held == 0
    (record,) = caplog.records
    assert record.message.startswith(
        "gpu: the training step is not captured as a CUDA graph (Out of memory allocating 147,456 bytes"
    )
    pool.free_all_blocks()
    monkeypatch.undo()
    assert cp.cuda.runtime.memGetInfo()[0] == taken


def test_memory_of_a_graph_goes_back_to_the_device(cp: Any) -> None:
    """CuPy 14 loses the free blocks of a pool that goes."""

    def with_a_product(x: Any) -> tuple[Any, Any]:
        return (x + 1).sum(), x @ x.T

    gc.collect()
    x, pool = cp.asarray(CLIPS), cp.get_default_memory_pool()
    pool.free_all_blocks()
    free = cp.cuda.runtime.memGetInfo()[0]
    for function in (products, with_a_product):
        repeated = CapturedStep(cp)
        for _ in range(3):
            repeated(function, x)
        assert (repeated.bytes_held > 0) == (function is products)
        repeated.forget()
        pool.free_all_blocks()
        assert cp.cuda.runtime.memGetInfo()[0] == free


def test_the_device_may_be_full_when_a_graph_is_made(cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    repeated, x = CapturedStep(cp), cp.asarray(CLIPS)
    with monkeypatch.context() as patch:
        patch.setattr(cp.cuda.Graph, "upload", failing("cudaErrorMemoryAllocation: out of memory"))
        for _ in range(3):
            assert float(repeated(products, x)[0]) == pytest.approx(expected(CLIPS)[0], rel=1e-5)
    assert repeated.bytes_held == 0
    repeated.forget()
    for _ in range(3):  # a smaller one may find room
        repeated(products, x[:3])
    assert repeated.bytes_held > 0
