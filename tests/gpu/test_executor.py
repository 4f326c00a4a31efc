"""What the training step asks of a GPU, counted on what stands in for one: waits, copies, memory."""

from __future__ import annotations

import gc
import logging
from typing import Any

import numpy as np
import pytest

from nn1d import DeviceError, array_module, flatten, to_numpy
from nn1d.cuda import kernel
from tests.gpu import standin
from tests.gpu.elementwise import CLIPS, expected, products
from tests.gpu.standin.stream import Counts
from training.configuration import Configuration
from training.dual_training import DualTraining
from training.finite_check import NotFinite
from training.gpu import GpuExecutor

SETTINGS = Configuration(channels=(3, 4), clip_samples=64, epochs=3, batch_size=8, device="cpu", average=0.0)
SHORT_CLIPS = np.ascontiguousarray(CLIPS[:, :64])
TRAIN, VALIDATION = np.arange(8), np.arange(8, 12)
KILOBYTE = 1024

pytestmark = pytest.mark.usefixtures("quick_kernels")


@pytest.fixture
def cp(monkeypatch: pytest.MonkeyPatch) -> Any:
    return standin.install(monkeypatch)


def make(cp: Any) -> tuple[DualTraining, GpuExecutor]:
    return DualTraining(SETTINGS, SHORT_CLIPS, executor := GpuExecutor(cp)), executor


def limited(cp: Any, room: int) -> GpuExecutor:
    """An executor that may take so many bytes beyond what is taken now."""
    gc.collect()  # arrays of earlier tests may be left in cycles
    pool = cp.get_default_memory_pool()
    pool.free_all_blocks()
    pool.set_limit(size=pool.total_bytes() + room)  # with the gaps in blocks that are in use
    return GpuExecutor(cp)


def test_one_wait_an_epoch(cp: Any) -> None:
    training, _ = make(cp)
    waits: list[int] = []
    training.pre_training(TRAIN, VALIDATION).run(on_epoch=lambda line, improved: waits.append(Counts.synchronisations))
    assert np.diff(waits).tolist() == [1, 1]


def test_clips_that_fit_are_sent_once(cp: Any) -> None:
    executor, batch = GpuExecutor(cp), np.array([3, 1, 11])
    rows = executor.rows(CLIPS, batch)
    np.testing.assert_array_equal(rows.get(), CLIPS[batch])
    before = Counts.uploaded_bytes
    np.testing.assert_array_equal(executor.rows(CLIPS, batch[::-1]).get(), CLIPS[batch[::-1]])
    assert Counts.uploaded_bytes - before == batch.nbytes


def test_clips_are_sent_to_stay_a_part_at_a_time(cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.gpu.UPLOAD_BYTES", 5 * CLIPS[0].nbytes)
    before = Counts.uploads
    rows = GpuExecutor(cp).rows(CLIPS, np.arange(12))
    assert Counts.uploads - before == 3 + 1  # and the indices
    np.testing.assert_array_equal(rows.get(), CLIPS)


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


def step(executor: GpuExecutor, clips: np.ndarray = TRAIN) -> tuple[float, np.ndarray]:
    loss, slope = executor.mean_gradient(products, [CLIPS], clips)
    return float(loss), to_numpy(slope)


def test_a_batch_that_does_not_fit_goes_in_pieces_which_is_said_once(cp: Any, caplog: pytest.LogCaptureFixture) -> None:
    value, vector = expected(CLIPS[TRAIN])
    pool, most = cp.get_default_memory_pool(), []
    with caplog.at_level(logging.WARNING):
        executor = limited(cp, 90 * KILOBYTE)  # the clips do not stay; a clip takes 4, and as much several times more
        limit = pool.get_limit()
        for _ in range(5):
            loss, slope = step(executor)
            assert loss == pytest.approx(value, rel=1e-5)
            np.testing.assert_allclose(slope, vector, rtol=1e-4)
            most.append(pool.total_bytes() + executor.step.bytes_held)
    assert max(most) <= limit
    assert executor.step.bytes_held > 0
    assert [record.message for record in caplog.records] == [
        "gpu: the memory does not suffice for a whole batch, which goes in pieces of 2 clips"
    ]


def with_a_gap(x: Any) -> tuple[Any, Any]:
    """x + 1 leaves a gap that is too small for what comes after it."""
    return (x + 1).mean(), (x[:, None] * array_module(x).ones((1, 2, 1), np.float32)).sum(1).mean(0)


@pytest.mark.parametrize("function", [products, with_a_gap])
@pytest.mark.parametrize("room", [100, 130, 200, 300])
def test_a_smaller_last_batch_leaves_the_graph_alone(cp: Any, function: Any, room: int) -> None:
    """However near the memory is to its end."""
    executor, graphs = limited(cp, room * KILOBYTE), set()
    for epoch in range(4):
        for clips in (TRAIN, TRAIN[:1], TRAIN[:3], TRAIN[:7]):
            loss, slope = executor.mean_gradient(function, [CLIPS], clips)
            value, vector = function(CLIPS[clips])
            assert float(loss) == pytest.approx(float(value), rel=1e-5)
            np.testing.assert_allclose(to_numpy(slope), vector, rtol=1e-4)
        if epoch > 0:
            graphs.add(executor.step._graph)
    assert len(graphs) == 1
    assert None not in graphs


def test_the_gradient_of_pieces_is_that_of_the_batch(cp: Any) -> None:
    training, executor = make(cp)
    loss, slope = training.gradient(TRAIN)
    whole_loss, whole = float(loss), to_numpy(slope)
    executor._fitting[training._autoencoder.gradient] = 3
    loss, slope = training.gradient(TRAIN)
    assert float(loss) == pytest.approx(whole_loss, rel=1e-6)
    np.testing.assert_allclose(to_numpy(slope), whole, rtol=1e-4, atol=1e-6 * abs(whole).max())


@pytest.mark.parametrize("room", [4, 30])  # of 20 that a clip takes, and as many for what runs beside the graph
def test_a_single_clip_that_does_not_fit_ends_with_a_sentence(cp: Any, room: int) -> None:
    executor = limited(cp, room * KILOBYTE)
    words = (
        r"^gpu: half of the memory that is left, [\d,]+ bytes, does not suffice for a single clip\. Allow more of it "
    )
    with pytest.raises(DeviceError, match=words):
        step(executor)


def test_gradients_that_are_neighbours_are_copied_at_once(cp: Any) -> None:
    numbers = np.random.default_rng(0).standard_normal((3, 11)).astype("f")
    first, second, third = (cp.asarray(row) for row in numbers)
    tree = {
        "a": {"weight": first[:6].reshape(2, 3), "bias": first[6:8], "more": first[8:]},
        "b": {"weight": second[4:10].reshape(3, 2), "bias": second[:4]},  # the other way round
        "c": {"weight": third[:4], "bias": third[5:]},  # one is left out between
    }
    before = Counts.launches
    vector = flatten(tree)
    assert Counts.launches - before == 5
    expected = [numbers[0], numbers[1, 4:10], numbers[1, :4], numbers[2, :4], numbers[2, 5:]]
    np.testing.assert_array_equal(to_numpy(vector), np.concatenate(expected))


def test_a_convolution_s_gradients_are_neighbours(cp: Any, quick_kernels: bool) -> None:
    if not quick_kernels:
        pytest.skip("needs g++ with AddressSanitizer on Linux")
    training, _ = make(cp)
    x = cp.asarray(SHORT_CLIPS[:, :, None])
    trace, cache = training.network.forward(x)
    _, grads = training.network.backward(trace, cache)
    before = Counts.launches
    training.flat.flatten(grads)
    assert Counts.launches - before == 4 * 3  # of the four stages, and not twice as many


def test_the_size_of_a_piece_follows_what_the_function_takes(cp: Any) -> None:
    def larger(x: Any) -> tuple[Any, Any]:
        return products(cp.stack([x, x, x]).sum(0))

    executor = limited(cp, 500 * KILOBYTE)
    for function in (products, larger):
        executor.mean_gradient(function, [CLIPS], TRAIN)
    small, large = executor._fitting[products], executor._fitting[larger]
    assert 1 < large < small
    for _ in range(4):  # of functions that are gone nothing is kept
        executor.mean_gradient(lambda x: products(x), [CLIPS], TRAIN)
    assert products not in executor._fitting


@pytest.mark.parametrize(
    ("changes", "megabytes"), [({}, 73.7), ({"half": True}, 37.2), ({"channels": (8, 16, 32)}, 38.5)]
)
def test_bytes_of_a_clip_follow_the_network(
    cp: Any, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], megabytes: float
) -> None:
    """The paper's has 74 MB. Kernels take no memory of a pool and are left out."""

    class NoModule:
        def __init__(self, **options: Any) -> None: ...

        def get_function(self, name: str) -> Any:
            return lambda *arguments: None

    monkeypatch.setattr(cp, "RawModule", NoModule)
    kernel._function.cache_clear()
    clips = np.zeros((3, 64_000), np.float32)
    training = DualTraining(Configuration(device="cpu", average=0.0, **changes), clips, executor := GpuExecutor(cp))
    try:
        training.gradient(np.arange(2))
    finally:
        kernel._function.cache_clear()
    (fitting,) = executor._fitting.values()
    assert executor._room() / 2 / fitting / 1e6 == pytest.approx(megabytes * 17 / 16, rel=0.04)


def test_a_whole_training_keeps_within_its_limit(cp: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Also where a batch does not fit, and with the same result."""
    gc.collect()
    pool = cp.get_default_memory_pool()
    pool.free_all_blocks()
    before = pool.used_bytes()
    large, executor = make(cp)
    large.pre_training(TRAIN, VALIDATION).run()
    needed = pool.total_bytes() + executor.step.bytes_held - before
    weights = to_numpy(large.flat.vector)
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
    np.testing.assert_allclose(to_numpy(small.flat.vector), weights, rtol=1e-3, atol=1e-5)


def test_the_graph_and_all_else_share_the_limit(cp: Any) -> None:
    executor, pool = limited(cp, 400 * KILOBYTE), cp.get_default_memory_pool()
    limit = pool.get_limit()
    for _ in range(3):
        step(executor)
    assert executor.step.bytes_held > 0
    assert pool.get_limit() == limit - executor.step.bytes_held
    executor.forget()
    assert pool.get_limit() == limit


def test_a_diagnosis_looks_at_layers_and_not_at_a_graph(cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    spoilt = CLIPS.copy()
    spoilt[2, 5] = np.nan
    training = DualTraining(SETTINGS, spoilt, executor := GpuExecutor(cp))

    def activation(x: Any) -> tuple[Any, Any]:  # a layer that can be captured without kernels of our own
        y, _ = training.network.decoder.stages[0].layers["activation"].forward(x)
        return y.mean(), y.mean(0)

    monkeypatch.setattr(training._autoencoder, "gradient", activation)
    trainer = training.pre_training(TRAIN, VALIDATION)
    for _ in range(3):
        trainer.gradient(TRAIN)
    assert executor.step.bytes_held > 0
    error = NotFinite(1, 1, float("nan"), TRAIN)
    message = str(training.diverged("pre_training", trainer, error, [str(i) for i in range(12)]))
    assert "the first of it was the output of decoder.0.activation (ELU(1))" in message
