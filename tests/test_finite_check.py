"""A check once an epoch ends a training where the check at every step does; on NumPy, without a GPU."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from training.configuration import Configuration
from training.dual_training import DualTraining
from training.finite_check import NotFinite
from training.trainer import ARRAYS, Trainer
from training.workers import Workers

SETTINGS = Configuration(channels=(3, 4), clip_samples=64, epochs=3, batch_size=2, device="cpu")
TRAIN, VALIDATION = np.arange(7), np.arange(7, 9)
CLIPS = np.random.default_rng(0).uniform(0, 1, (9, 64)).astype(np.float32)


class Unsynchronised(Workers):
    """Says that its numbers are not finished, and counts how often they are waited for."""

    synchronised = False
    waits = 0

    def synchronise(self, numbers: Any) -> list[float]:
        self.waits += 1
        return super().synchronise(numbers)


def make(executor: Workers, clips: np.ndarray = CLIPS, **changes: Any) -> Trainer:
    settings = dataclasses.replace(SETTINGS, **changes)
    return DualTraining(settings, clips, executor).pre_training(TRAIN, VALIDATION)


def test_one_wait_an_epoch_and_the_same_bits() -> None:
    expected, trainer = make(Workers(1)), make(executor := Unsynchronised(1))
    expected.run()
    waits: list[int] = []
    trainer.run(on_epoch=lambda epoch, improved: waits.append(executor.waits))
    assert waits == [1, 2, 3]
    assert trainer.parameters.tobytes() == expected.parameters.tobytes()
    assert [line._replace(seconds=0) for line in trainer.history] == [
        line._replace(seconds=0) for line in expected.history
    ]


@pytest.mark.parametrize("saves", [False, True])
def test_a_clip_that_is_not_finite_ends_it_before_the_same_step(saves: bool) -> None:
    clips, outcomes = CLIPS.copy(), []
    clips[3, 5] = np.nan
    for kind in (Workers, Unsynchronised):
        trainer = make(kind(1), clips)
        with pytest.raises(NotFinite) as caught:
            trainer.run(trainer.state_dict if saves else lambda: None)  # type: ignore[arg-type]
        vectors = [trainer.state_dict()[name].tobytes() for name in ARRAYS]
        outcomes.append((str(caught.value), caught.value.clips.tolist(), trainer.adam.steps, vectors))
    assert outcomes[0] == outcomes[1]
    assert 3 in outcomes[0][1] and outcomes[0][2] > 0


def test_in_half_precision_the_scale_backs_off_in_the_replay() -> None:
    expected, trainer = make(Workers(1), half=True), make(Unsynchronised(1), half=True)
    with np.errstate(all="ignore"):
        for each in (expected, trainer):
            each.scaler.log2_backoff = -22  # four million times as large as it should be
            each.run()
    assert trainer.scaler.log2_backoff == expected.scaler.log2_backoff > -22
    assert trainer.parameters.tobytes() == expected.parameters.tobytes()


def test_steps_of_before_are_discarded_with_the_parameters() -> None:
    trainer = make(Unsynchronised(1))
    state = {name: np.copy(part) if name in ARRAYS else part for name, part in trainer.state_dict().items()}
    trainer.step(TRAIN[:2])
    trainer.parameters[...] = np.nan
    trainer.load_state_dict(state)
    trainer.state_dict()
    assert np.isfinite(trainer.parameters).all()
