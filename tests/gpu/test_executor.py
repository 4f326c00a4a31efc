"""What the training step asks of a GPU, counted on what stands in for one: waits, copies, memory, graphs."""

from __future__ import annotations

import gc
import logging
from typing import Any

import numpy as np
import pytest

from nn1d import DeviceError, to_numpy
from tests.gpu import standin
from tests.gpu.standin.stream import Counts
from training.configuration import Configuration
from training.cuda_graph import CapturedStep
from training.dual_training import DualTraining
from training.finite_check import NotFinite
from training.gpu import GpuExecutor

SETTINGS = Configuration(channels=(3, 4), clip_samples=1024, epochs=3, batch_size=8, device="cpu", average=0.0)
CLIPS = np.random.default_rng(0).uniform(0, 1, (12, 1024)).astype(np.float32)
TRAIN, VALIDATION = np.arange(8), np.arange(8, 12)
KILOBYTE = 1024

pytestmark = pytest.mark.usefixtures("quick_kernels")


@pytest.fixture
def cp(monkeypatch: pytest.MonkeyPatch) -> Any:
    return standin.install(monkeypatch)


def make(cp: Any) -> tuple[DualTraining, GpuExecutor]:
    return DualTraining(SETTINGS, CLIPS, executor := GpuExecutor(cp)), executor


def limited(cp: Any, room: int) -> GpuExecutor:
    """An executor that may take so many bytes beyond what is taken now."""
    pool = cp.get_default_memory_pool()
    pool.free_all_blocks()
    pool.set_limit(size=pool.used_bytes() + room)
    return GpuExecutor(cp)


# functions as the training step has: rows of clips in, a loss and a gradient out


def products(x: Any) -> tuple[Any, Any]:
    """Without a product of matrices, which cannot be captured."""
    y = x * x + 1
    return y.mean(), (y * x).mean(0)


def expected(x: np.ndarray) -> tuple[float, np.ndarray]:
    y = x * x + 1
    return float(y.mean()), (y * x).mean(0)


def test_one_wait_an_epoch(cp: Any) -> None:
    training, _ = make(cp)
    waits: list[int] = []
    training.pre_training(TRAIN, VALIDATION).run(on_epoch=lambda line, improved: waits.append(Counts.synchronisations))
    assert np.diff(waits).tolist() == [1, 1]


def test_clips_that_fit_are_sent_once(cp: Any) -> None:
    executor, batch = GpuExecutor(cp), np.array([3, 1, 11])
    found = executor.rows(CLIPS, batch)
    np.testing.assert_array_equal(found.get(), CLIPS[batch])
    before = Counts.uploaded_bytes
    np.testing.assert_array_equal(executor.rows(CLIPS, batch[::-1]).get(), CLIPS[batch[::-1]])
    assert Counts.uploaded_bytes - before == batch.nbytes


def test_clips_are_sent_to_stay_a_part_at_a_time(cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.gpu.UPLOAD_BYTES", 5 * CLIPS[0].nbytes)
    before = Counts.uploads
    found = GpuExecutor(cp).rows(CLIPS, np.arange(12))
    assert Counts.uploads - before == 3 + 1  # and the indices
    np.testing.assert_array_equal(found.get(), CLIPS)


@pytest.mark.parametrize("bound", ["limit", "device"])
def test_clips_that_do_not_fit_are_sent_a_batch_at_a_time(cp: Any, monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    batch = np.array([3, 1])
    if bound == "limit":
        executor = limited(cp, CLIPS.nbytes + 9 * KILOBYTE)
    else:
        executor = GpuExecutor(cp)
        monkeypatch.setattr(cp.cuda.runtime, "memGetInfo", lambda: (CLIPS.nbytes, 1 << 32))
        cp.get_default_memory_pool().free_all_blocks()
    for _ in range(2):
        before = Counts.uploaded_bytes
        np.testing.assert_array_equal(executor.rows(CLIPS, batch).get(), CLIPS[batch])
        assert Counts.uploaded_bytes - before == CLIPS[batch].nbytes


def test_clips_and_representations_stay_and_those_before_go(cp: Any) -> None:
    executor, arrays = GpuExecutor(cp), [CLIPS + i for i in range(3)]
    before = cp.get_default_memory_pool().used_bytes()
    for array in arrays:
        executor.rows(array, TRAIN)
    used = cp.get_default_memory_pool().used_bytes() - before
    assert 2 * CLIPS.nbytes <= used < 2.5 * CLIPS.nbytes
    np.testing.assert_array_equal(executor.rows(arrays[0], TRAIN).get(), arrays[0][TRAIN])


def test_a_repeated_function_becomes_a_graph(cp: Any) -> None:
    repeated, rng = CapturedStep(cp), np.random.default_rng(1)
    launches = []
    for _ in range(4):
        x = rng.standard_normal((4, 1024)).astype(np.float32)
        given = cp.asarray(x)
        before = Counts.launches
        loss, slope = repeated(products, given)
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


def test_a_graph_that_does_not_fit_is_tried_once(cp: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The plain call needs less: it may give free blocks back to the device. In a graph these are still in use."""

    def with_a_hole(x: Any) -> tuple[Any, Any]:
        small = (x + 1).sum()  # x + 1 is free after this
        large = cp.zeros((3, *x.shape), np.float32)  # which its memory is too small for
        return small + large.sum(), large[0]

    gc.collect()
    pool, x = cp.get_default_memory_pool(), cp.asarray(CLIPS)
    pool.free_all_blocks()
    pool.set_limit(size=pool.used_bytes() + 6 * CLIPS.nbytes)
    repeated, taken = CapturedStep(cp), cp.cuda.runtime.memGetInfo()[0]
    tried: list[Any] = []
    capture = repeated._capture
    repeated._capture = lambda *given: tried.append(capture(*given))  # type: ignore[method-assign]
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


def failing(words: str) -> Any:
    def fail(*given: Any) -> None:
        raise standin.memory.CUDARuntimeError(words)

    return fail


def step(executor: GpuExecutor, clips: np.ndarray = TRAIN) -> tuple[float, np.ndarray]:
    loss, slope = executor.mean_gradient(products, [CLIPS], clips)
    return float(loss), to_numpy(slope)


def test_a_batch_that_does_not_fit_goes_in_pieces_which_is_said_once(cp: Any, caplog: pytest.LogCaptureFixture) -> None:
    value, vector = expected(CLIPS[TRAIN])
    pool, most = cp.get_default_memory_pool(), []
    with caplog.at_level(logging.WARNING):
        executor = limited(cp, 80 * KILOBYTE)  # the clips do not stay; 8 of them take 32, and as much twice more
        limit = pool.get_limit()
        for _ in range(5):
            loss, slope = step(executor)
            assert loss == pytest.approx(value, rel=1e-5)
            np.testing.assert_allclose(slope, vector, rtol=1e-4)
            most.append(pool.total_bytes() + executor.step.bytes_held)
    assert max(most) <= limit
    said, *more = (record.message for record in caplog.records)
    assert len(more) == 1  # of the graph, see below
    assert said.startswith(
        "gpu: the memory does not suffice for a whole batch, which goes in pieces of 4 clips and smaller ones if need "
        "be (Out of memory allocating "
    )


def test_the_gradient_of_pieces_is_that_of_the_batch(cp: Any) -> None:
    training, executor = make(cp)
    loss, slope = training.gradient(TRAIN)
    whole_loss, whole = float(loss), to_numpy(slope)
    executor._largest[training._autoencoder.gradient] = 3
    loss, slope = training.gradient(TRAIN)
    assert float(loss) == pytest.approx(whole_loss, rel=1e-6)
    np.testing.assert_allclose(to_numpy(slope), whole, rtol=1e-4, atol=1e-6 * abs(whole).max())


def test_a_single_clip_that_does_not_fit_ends_with_a_sentence(cp: Any) -> None:
    executor = limited(cp, 4 * KILOBYTE)
    with pytest.raises(
        DeviceError, match=r"^gpu: the memory does not suffice for a single clip \(Out of memory .+\)\. "
    ):
        step(executor)


def test_what_others_left_in_the_pool_is_no_reason_for_pieces(cp: Any, caplog: pytest.LogCaptureFixture) -> None:
    executor = limited(cp, 160 * KILOBYTE)
    left = [cp.zeros(KILOBYTE, np.uint8) for _ in range(140)]
    del left  # free, but in the pool, as blocks that are too small
    pool = cp.get_default_memory_pool()
    pool._free, kept = 0, pool._free
    pool._used += kept
    release = pool.free_all_blocks

    def free_all_blocks(stream: Any = None) -> None:
        nonlocal kept
        pool._used, kept = pool._used - kept, 0
        release()

    pool.free_all_blocks = free_all_blocks
    try:
        with caplog.at_level(logging.WARNING):
            loss, _ = step(executor)
    finally:
        del pool.free_all_blocks
    assert loss == pytest.approx(expected(CLIPS[TRAIN])[0], rel=1e-5)
    assert not caplog.records


def test_a_whole_training_keeps_within_its_limit(cp: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Also where a batch does not fit, and with the same result."""
    gc.collect()
    pool = cp.get_default_memory_pool()
    pool.free_all_blocks()
    before = pool.used_bytes()
    large, executor = make(cp)
    large.pre_training(TRAIN, VALIDATION).run()
    needed = pool.total_bytes() + executor.step.bytes_held - before
    weights = large.flat.vector.get()
    del large, executor
    gc.collect()
    pool.free_all_blocks()
    limit = pool.used_bytes() + needed * 6 // 10
    pool.set_limit(size=limit)
    held: list[int] = []
    small, executor = make(cp)
    with caplog.at_level(logging.WARNING):
        small.pre_training(TRAIN, VALIDATION).run(lambda: held.append(pool.total_bytes() + executor.step.bytes_held))
    assert 0 < max(held) <= limit
    assert any("goes in pieces of" in record.message for record in caplog.records)
    np.testing.assert_allclose(small.flat.vector.get(), weights, rtol=1e-3, atol=1e-5)


def captured(executor: GpuExecutor) -> int:
    """After three steps there is a graph: the bytes that it holds."""
    for _ in range(3):
        step(executor)
    return executor.step.bytes_held


def test_the_graph_and_all_else_share_the_limit(cp: Any) -> None:
    executor, pool = limited(cp, 400 * KILOBYTE), cp.get_default_memory_pool()
    limit = pool.get_limit()
    held = captured(executor)
    assert held > 0
    assert pool.get_limit() == limit - held


def test_a_graph_lets_go_of_its_memory_where_it_is_needed(cp: Any, caplog: pytest.LogCaptureFixture) -> None:
    executor = limited(cp, 400 * KILOBYTE)
    held = captured(executor)
    pool = cp.get_default_memory_pool()
    left = pool.get_limit() - pool.used_bytes()
    numbers = (left + held // 2) // 4  # of float32: more than is left, less than with what the graph holds

    def large(x: Any) -> list[Any]:
        return [cp.zeros(numbers, np.float32).sum()]

    with caplog.at_level(logging.WARNING):
        (mean,) = executor.mean(large, [CLIPS], np.arange(1))
    assert float(mean) == 0
    assert executor.step.bytes_held == 0
    assert not caplog.records
    assert captured(executor) == held


def test_a_diagnosis_looks_at_layers_and_not_at_a_graph(cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    spoilt = CLIPS.copy()
    spoilt[2, 5] = np.nan
    training = DualTraining(SETTINGS, spoilt, executor := GpuExecutor(cp))

    def activation(x: Any) -> tuple[Any, Any]:  # a layer that can be captured without kernels of our own
        y, _ = training.network.decoder.activation.forward(x)
        return y.mean(), y.mean(0)

    monkeypatch.setattr(training._autoencoder, "gradient", activation)
    trainer = training.pre_training(TRAIN, VALIDATION)
    for _ in range(3):
        trainer.gradient(TRAIN)
    assert executor.step.bytes_held > 0
    error = NotFinite(1, 1, float("nan"), TRAIN)
    message = str(training.diverged("pre_training", trainer, error, [str(i) for i in range(12)]))
    assert "the first of it was the output of decoder.activation (ELU(1))" in message
