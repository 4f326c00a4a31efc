"""Training with signals in float16, on NumPy and on a GPU or what stands in for one."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from nn1d import to_numpy
from nn1d.layer import named_leaves
from training.configuration import Configuration
from training.dual_training import DualTraining
from training.executor import Executor
from training.finite_check import NotFinite
from training.gpu import GpuExecutor
from training.loss_scaling import MOST, LossScaler
from training.mpi import choose_executor
from training.trainer import ARRAYS

SETTINGS = Configuration(
    channels=(8, 8), clip_samples=64, epochs=2, fine_tune_epochs=2, batch_size=3, device="cpu", half=True
)
TRAIN, VALIDATION = np.arange(5), np.arange(5, 7)
CLIPS = np.random.default_rng(0).uniform(0, 1, (7, 64)).astype(np.float32)

pytestmark = pytest.mark.usefixtures("quick_kernels")


@pytest.fixture(params=["numpy", "gpu"])
def module(request: pytest.FixtureRequest) -> Any:
    return np if request.param == "numpy" else request.getfixturevalue("cupy")


def make(module: Any, executor: Executor | None = None, **changes: Any) -> DualTraining:
    return DualTraining(dataclasses.replace(SETTINGS, **changes), CLIPS, executor or choose_executor(module, 1))


@pytest.mark.parametrize(("samples", "scale"), [(1, 1), (64_000, 32_768), (128_000, 65_536), (2**20, 2**20)])
def test_the_scale_is_the_power_of_two_below_the_number_of_samples(samples: int, scale: int) -> None:
    dy = np.array([1 / scale, -3 / scale], np.float32)
    scaled = LossScaler(True).scale([dy], samples)[0]
    assert scaled.dtype == np.float16
    np.testing.assert_array_equal(scaled, [1, -3])
    np.testing.assert_array_equal(LossScaler(True).unscale(scaled.astype(np.float32), samples), dy)


def test_full_precision_changes_nothing() -> None:
    scaler, x = LossScaler(False), CLIPS
    assert scaler.signal(x) is scaler.scale(x, 64) is scaler.unscale(x, 64) is x
    assert not scaler.back_off()


@pytest.mark.parametrize("changes", [{}, {"middle_weight": 0.1, "fine_tune_masks": True, "output": "linear"}])
def test_gradients_are_near_those_of_full_precision(module: Any, changes: dict[str, Any]) -> None:
    half, full = make(module, **changes), make(np, half=False, **changes)
    features = np.stack(list(full.encode(range(7))))
    for in_half, in_full in (
        (half.gradient(TRAIN), full.gradient(TRAIN)),
        (half.gradient(TRAIN, features), full.gradient(TRAIN, features)),
    ):
        assert float(in_half[0]) == pytest.approx(float(in_full[0]), rel=1e-2)
        slope = to_numpy(in_half[1])
        assert slope.dtype == np.float32
        assert np.linalg.norm(slope - in_full[1]) / np.linalg.norm(in_full[1]) < 2e-2
        assert not np.array_equal(slope, in_full[1])


def test_signals_are_half_and_all_else_is_single(module: Any) -> None:
    training = make(module)
    z = next(iter(training.encode([0])))
    assert z.dtype == np.float32
    np.testing.assert_array_equal(z, z.astype(np.float16))  # what it was between the layers
    trace, _ = training.network.forward(training.scaler.signal(module.asarray(CLIPS[:1, :, None])))
    assert {leaf.dtype for _, leaf in named_leaves(trace)} == {np.dtype(np.float16)}
    trainer = training.pre_training(TRAIN, VALIDATION)
    trainer.run()
    assert {trainer.state_dict()[name].dtype for name in ARRAYS} == {np.dtype(np.float32)}


def test_both_phases_learn_as_in_full_precision(module: Any) -> None:
    histories = []
    for half in (True, False):
        training = make(module if half else np, half=half, epochs=3, fine_tune_epochs=3)
        first = training.pre_training(TRAIN, VALIDATION)
        first.run()
        second = training.fine_tuning(np.stack(list(training.encode(range(7)))), TRAIN, VALIDATION)
        second.run()
        histories.append(first.history + second.history)
    for in_half, in_full in zip(*histories, strict=True):
        assert in_half[1:3] == pytest.approx(in_full[1:3], rel=3e-2)


def test_a_gradient_beyond_the_range_backs_the_scale_off_and_the_step_is_taken_again(module: Any) -> None:
    straight, training = make(module), make(module)
    training.scaler.log2_backoff = -22  # four million times as large as it should be
    expected, trainer = (each.pre_training(TRAIN, VALIDATION) for each in (straight, training))
    expected.run()
    with np.errstate(all="ignore"):
        trainer.run()
    assert -22 < training.scaler.log2_backoff <= 2
    assert [line.epoch for line in trainer.history] == [line.epoch for line in expected.history]
    for line, expected_line in zip(trainer.history, expected.history, strict=True):
        assert line[1:4] == pytest.approx(expected_line[1:4], rel=1e-2, abs=1e-3)
    np.testing.assert_allclose(to_numpy(trainer.best), to_numpy(expected.best), atol=1e-3)


def test_a_run_that_goes_on_has_the_scale_that_it_had() -> None:
    trainer = make(np).pre_training(TRAIN, VALIDATION)
    trainer.scaler.log2_backoff = 8
    state, again = trainer.state_dict(), make(np)
    again.pre_training(TRAIN, VALIDATION).load_state_dict(state)
    assert again.scaler.log2_backoff == 8


def test_a_loss_that_is_not_finite_is_not_the_fault_of_the_scale(module: Any) -> None:
    training = make(module)
    training.samples = CLIPS.copy()
    training.samples[3, 3] = np.nan
    with pytest.raises(NotFinite, match=r"^the loss or its gradient is not finite in epoch 1"):
        training.pre_training(TRAIN, VALIDATION).run()
    assert training.scaler.log2_backoff == 0


def test_a_gradient_that_no_scale_helps_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    training = make(np)
    trainer = training.pre_training(TRAIN, VALIDATION)
    trainer.gradient = lambda clips: (0.5, np.full(training.flat.vector.size, np.inf, np.float32))
    with pytest.raises(NotFinite, match=r"not finite in epoch 1, step 1 \(loss 0\.5\)"):
        trainer.run()
    assert training.scaler.log2_backoff >= MOST


def test_a_new_scale_forgets_the_graph(cupy: Any, quick_kernels: bool) -> None:
    training = make(cupy, executor := GpuExecutor(cupy))
    loss, gradient = [training.gradient(TRAIN) for _ in range(3)][-1]
    assert (executor.step.bytes_held > 0) == quick_kernels
    before, loss = to_numpy(gradient), float(loss)
    assert training.scaler.back_off()
    assert executor.step.bytes_held == 0
    again, lower = training.gradient(TRAIN)
    assert math.isclose(float(again), loss, rel_tol=1e-6)
    np.testing.assert_allclose(to_numpy(lower), before, rtol=1e-2, atol=1e-4 * abs(before).max())
