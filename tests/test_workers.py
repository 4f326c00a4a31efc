"""Clips on several threads: the same bits, the same order, and BLAS given back as it was."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from models.objective import objective
from nn1d import flatten
from storage.mapped import write_rows
from training.configuration import Configuration
from training.dual_training import DualTraining
from training.machine import available_cores
from training.trainer import Epoch
from training.workers import Workers

TINY = Configuration(
    clip_samples=256,
    channels=(4, 4),
    epochs=2,
    fine_tune_epochs=2,
    batch_size=4,
    middle_weight=0.1,
    device="cpu",
    patience=8,
    monitor="val_loss",
)
CLIPS = np.random.default_rng(0).uniform(0, 1, (11, 256)).astype(np.float32)
TRAIN, VALIDATION = np.arange(9), np.arange(9, 11)


def train(
    threads: int, folder: Path, configuration: Configuration = TINY
) -> tuple[np.ndarray, np.ndarray, list[Epoch]]:
    """The weights after phase 1, after phase 2, and the history."""
    history: list[Epoch] = []
    with Workers(threads) as workers:
        training = DualTraining(configuration, CLIPS, workers)
        training.pre_training(TRAIN, VALIDATION).run(on_epoch=lambda epoch, improved: history.append(epoch))
        first = training.flat.vector.copy()
        features = write_rows(folder / f"{threads}.npy", training.encode(range(len(CLIPS))), len(CLIPS))
        training.fine_tuning(features, TRAIN, VALIDATION).run(on_epoch=lambda epoch, improved: history.append(epoch))
        return first, training.flat.vector.copy(), history


def test_the_weights_do_not_depend_on_the_number_of_threads(tmp_path: Path) -> None:
    first, second, history = train(1, tmp_path)
    encoder = first.size - sum(
        view.size
        for name, view in DualTraining(TINY, CLIPS, Workers(1)).flat.views.items()
        if name.startswith("decoder.")
    )
    assert (first[:encoder] == second[:encoder]).all()  # phase 2 trains the decoder alone
    assert (first[encoder:] != second[encoder:]).any()
    for threads in (2, 3):
        other_first, other_second, other_history = train(threads, tmp_path)
        assert other_first.tobytes() == first.tobytes()
        assert other_second.tobytes() == second.tobytes()
        assert [epoch._replace(seconds=0) for epoch in other_history] == [e._replace(seconds=0) for e in history]
    assert len(history) == 4


def test_the_gradient_of_a_batch_is_the_mean_over_its_clips() -> None:
    with Workers(2) as workers:
        training = DualTraining(TINY, CLIPS, workers)
        batch = np.array([5, 1, 8])
        loss, gradient = training.gradient(batch)
        trace, cache = training.network.forward(x := CLIPS[batch][:, :, None])
        whole, d_trace = objective(trace, x, TINY.middle_weight)
        whole_gradient = flatten(training.network.backward(d_trace, cache)[1])
    assert loss == pytest.approx(float(whole.total), rel=1e-5)
    np.testing.assert_allclose(gradient, whole_gradient, rtol=1e-3, atol=1e-5 * abs(whole_gradient).max())


def test_results_come_in_the_order_of_the_clips() -> None:
    def slow_start(i: int) -> int:
        time.sleep(0.02 if i == 0 else 0)
        return i * i

    for threads in (1, 3):
        with Workers(threads) as workers:
            assert list(workers.map(slow_start, range(10))) == [i * i for i in range(10)]


def test_clips_are_in_flight_together() -> None:
    meeting = threading.Barrier(3)
    with Workers(3) as workers:
        # passes only if three items are worked on at the same time
        assert sorted(workers.map(lambda i: meeting.wait(timeout=20), range(3))) == [0, 1, 2]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_failure_of_a_clip_is_not_lost(threads: int) -> None:
    def fails(i: int) -> int:
        if i == 2:
            raise KeyError("clip 2")
        return i

    with Workers(threads) as workers, pytest.raises(KeyError, match="clip 2"):
        list(workers.map(fails, range(4)))


def blas_threads() -> list[int]:
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


@pytest.mark.parametrize("threads", [1, 2])
def test_blas_is_held_to_one_thread_and_given_back(threads: int) -> None:
    np.ones((2, 2)) @ np.ones((2, 2))
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        assert before
        assert set(before) == {2}
        with Workers(threads):
            assert set(blas_threads()) == {1}
        assert blas_threads() == before
        with pytest.raises(ZeroDivisionError), Workers(threads):
            raise ZeroDivisionError
        assert blas_threads() == before


def test_threads_end_with_the_block() -> None:
    with Workers(3) as workers:
        list(workers.map(abs, range(9)))
        assert any(thread.name.startswith("clip") for thread in threading.enumerate())
    assert not any(thread.name.startswith("clip") for thread in threading.enumerate())


def test_there_is_a_core() -> None:
    assert available_cores() >= 1
