from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nn1d import Adam
from storage.mapped import write_rows
from training.configuration import Configuration
from training.data import prepare
from training.dual_training import DualTraining
from training.finite_check import NotFinite
from training.seed import generator
from training.terminal import saturation
from training.trainer import ARRAYS, Epoch
from training.workers import Workers

SETTINGS = Configuration(channels=(3, 4), clip_samples=64, epochs=3, fine_tune_epochs=3, device="cpu")
TRAIN, VALIDATION = np.arange(7), np.arange(7, 10)


@pytest.fixture
def workers() -> Iterator[Workers]:
    with Workers(2) as workers:
        yield workers


def make(workers: Workers, **changes: object) -> DualTraining:
    noise = np.random.default_rng(3).standard_normal((10, 64)).cumsum(axis=1)
    low, high = noise.min(axis=1, keepdims=True), noise.max(axis=1, keepdims=True)
    samples = ((noise - low) / (high - low)).astype(np.float32)
    return DualTraining(dataclasses.replace(SETTINGS, **changes), samples, workers)  # type: ignore[arg-type]


def run(training: DualTraining, phase: str = "pre_training") -> tuple[list[Epoch], list[bool]]:
    epochs: list[Epoch] = []
    improvements: list[bool] = []

    def on_epoch(epoch: Epoch, improved: bool) -> None:
        epochs.append(epoch)
        improvements.append(improved)

    if phase == "pre_training":
        training.pre_training(TRAIN, VALIDATION).run(on_epoch=on_epoch)
    else:
        features = np.stack(list(training.encode(range(10))))
        training.fine_tuning(features, TRAIN, VALIDATION).run(on_epoch=on_epoch)
    return epochs, improvements


@pytest.mark.parametrize("average", [0.0, 0.5])
def test_an_epoch_is_adam_along_the_schedule_and_a_running_mean(workers: Workers, average: float) -> None:
    training, twin = make(workers, epochs=1, average=average), make(workers, epochs=1)
    w, adam = twin.flat.vector, Adam(weight_decay=twin._decay(twin.flat.vector), decoupled=True)
    mean, steps, pace = w.copy(), math.ceil(7 / 2), 1 / (1 + average * math.ceil(7 / 2))
    order = generator(0, "pre_training").permutation(TRAIN)
    for step in range(steps):
        _, gradient = twin.gradient(order[2 * step : 2 * step + 2])
        adam.learning_rate = 0.001 * (1 + math.cos(math.pi * step / steps)) / 2
        adam.step(w, gradient)
        mean = (1 - pace) * mean + pace * w
    epochs, _ = run(training)
    np.testing.assert_allclose(training.flat.vector, mean, rtol=1e-5, atol=1e-8)
    assert average == 0 or not np.allclose(training.flat.vector, w, rtol=1e-5, atol=1e-8)
    assert epochs[0].learning_rate == pytest.approx(0.001 * (1 + math.cos(math.pi * 3 / 4)) / 2)


@pytest.mark.parametrize("phase", ["pre_training", "fine_tuning"])
@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy"])
def test_the_best_model_is_kept(workers: Workers, phase: str, monitor: str) -> None:
    # a rate so high that the loss goes up and down
    training = make(workers, epochs=9, fine_tune_epochs=9, learning_rate=0.3, fine_tune_learning_rate=0.3,
                    schedule="constant", patience=12, monitor=monitor, output="linear", average=0.0)  # fmt: skip
    epochs, improvements = run(training, phase)
    values = [epoch.val_accuracy if monitor == "val_accuracy" else -epoch.val_loss for epoch in epochs]
    best = int(np.argmax(values))
    assert not all(improvements)  # else this would show nothing
    assert improvements == [value > max(values[:i], default=-math.inf) for i, value in enumerate(values)]
    if phase == "pre_training":
        evaluation = training.evaluate_autoencoder(VALIDATION)
    else:
        evaluation = training.evaluate_decoder(np.stack(list(training.encode(range(10)))), VALIDATION)
    assert (evaluation.loss, evaluation.accuracy) == (epochs[best].val_loss, epochs[best].val_accuracy)


def test_early_stopping_waits_for_patience_epochs(workers: Workers) -> None:
    training = make(workers, epochs=50, learning_rate=1e-30, weight_decay=0.0, patience=4)
    trainer = training.pre_training(TRAIN, VALIDATION)
    trainer.run()
    assert (trainer.epoch, trainer.best_epoch) == (5, 1)


def test_phase_2_trains_the_decoder_alone(workers: Workers) -> None:
    training = make(workers)
    run(training)
    before = {name: view.copy() for name, view in training.flat.views.items()}
    epochs, _ = run(training, "fine_tuning")
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3]
    for name, view in training.flat.views.items():
        assert np.array_equal(view, before[name]) == name.startswith("encoder."), name


def test_masks_in_phase_2_make_its_decoder_the_pretrained_one(workers: Workers) -> None:
    clips = np.arange(10)
    with_masks, without = make(workers, fine_tune_masks=True), make(workers)
    features = np.stack(list(with_masks.encode(range(10))))
    whole = with_masks.evaluate_autoencoder(clips)
    assert with_masks.evaluate_decoder(features, clips) == whole
    assert without.evaluate_decoder(features, clips).loss != whole.loss


def test_each_part_of_the_objective_is_reported(workers: Workers) -> None:
    training = make(workers, middle_weight=0.25, weight_decay=0.1)
    evaluation = training.evaluate_autoencoder(VALIDATION)
    assert evaluation.middle > 0
    loss, _ = training.gradient(VALIDATION)
    assert loss == pytest.approx(evaluation.loss + 0.25 * evaluation.middle, rel=1e-5)
    filters = [view for view in training.flat.views.values() if view.ndim == 3]
    assert len(filters) == 12
    expected = 0.05 * sum(float((w.astype(float) ** 2).sum()) for w in filters)
    assert training.weight_decay_part(training.flat.vector) == pytest.approx(expected, rel=1e-5)


def test_weight_decay_shrinks_filters_and_leaves_biases(workers: Workers) -> None:
    for decay in ("decoupled", "l2"):
        plain, decayed = (
            make(workers, epochs=1, decay=decay, weight_decay=0.0, average=0.0),
            make(workers, epochs=1, decay=decay, weight_decay=50.0, average=0.0),
        )
        run(plain)
        run(decayed)
        size = {t: sum(float((v**2).sum()) for v in t.flat.views.values() if v.ndim == 3) for t in (plain, decayed)}
        assert size[decayed] < 0.999 * size[plain], decay
    strengths = dict(
        zip(np.cumsum([v.size for v in plain.flat.views.values()]), decayed.flat.views.values(), strict=True)
    )
    vector = decayed._decay(decayed.flat.vector)
    assert all((vector[end - v.size : end] == (50 if v.ndim == 3 else 0)).all() for end, v in strengths.items())


def test_a_clip_that_is_not_finite_stops_the_run_before_the_weights(workers: Workers) -> None:
    training = make(workers)
    assert isinstance(training.samples, np.ndarray)
    training.samples[3, 5] = np.nan
    with pytest.raises(NotFinite, match=r"^the loss or its gradient is not finite in epoch 1, step \d"):
        run(training)
    assert np.isfinite(training.flat.vector).all()


def test_features_appear_when_they_are_complete(tmp_path: Path) -> None:
    rows = [np.full((2, 3), i, np.float32) for i in range(4)]

    def broken() -> Iterator[np.ndarray]:
        yield from rows[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_rows(tmp_path / "features.npy", broken(), 4)
    assert not (tmp_path / "features.npy").exists()
    features = write_rows(tmp_path / "features.npy", iter(rows), 4)
    assert isinstance(features, np.memmap)
    assert np.array_equal(np.load(tmp_path / "features.npy"), np.stack(rows))
    assert [path.name for path in tmp_path.iterdir()] == ["features.npy"]


def test_streams_of_random_numbers_are_apart() -> None:
    draws = {purpose: generator(7, purpose).integers(0, 2**62) for purpose in ("split", "weights", "pre_training")}
    assert len(set(draws.values())) == 3
    assert generator(7, "split").integers(0, 2**62) == draws["split"]
    assert generator(8, "split").integers(0, 2**62) != draws["split"]


def test_phase_2_begins_near_the_means_of_phase_1(workers: Workers) -> None:
    """Without masks each stage gets twice as much: undivided, the filters would make the output too large."""
    training = make(workers, epochs=30, learning_rate=0.01, output="linear", patience=30)
    training.pre_training(TRAIN, VALIDATION).run()
    features = np.stack(list(training.encode(range(10))))
    filters = [layer.parameters["weight"].copy() for layer in training.network.decoder.convolutions]
    undivided = training.evaluate_decoder(features, TRAIN).loss
    training.fine_tuning(features, TRAIN, VALIDATION)
    assert training.evaluate_decoder(features, TRAIN).loss < undivided
    for layer, before in zip(training.network.decoder.convolutions, filters, strict=True):
        np.testing.assert_array_equal(layer.parameters["weight"], before / 2)


@pytest.mark.parametrize("changes", [{"fine_tune_masks": True}, {"tied": True}, {"pooling": "fold"}])
def test_phase_2_begins_with_the_filters_of_phase_1_where_nothing_changes_or_they_are_shared(
    workers: Workers, changes: dict[str, object]
) -> None:
    training = make(workers, **changes)
    before = training.flat.vector.copy()
    training.fine_tuning(np.stack(list(training.encode(range(10)))), TRAIN, VALIDATION)
    np.testing.assert_array_equal(training.flat.vector, before)


def test_the_first_run_of_the_tutorial_does_not_die() -> None:
    """Its decoder once had 99.97 % of the rebuilt samples at exactly 1, and a validation loss of 0.27."""
    settings = dataclasses.replace(
        Configuration(), limit=10, epochs=2, fine_tune_epochs=2, learning_rate=0.002, device="cpu"
    )
    work = prepare(settings)
    with work.executor() as executor:
        training = DualTraining(settings, work.clips.samples, executor)
        training.pre_training(work.split.train, work.split.validation).run()
        features = np.stack(list(training.encode(range(10))))
        phase = training.fine_tuning(features, work.split.train, work.split.validation)
        phase.run()
        test = training.evaluate_decoder(features, work.split.test)
    assert test.on_bound == 0
    assert max(epoch.val_loss for epoch in phase.history) < 0.02


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("hard_sigmoid", "are 0 or 1, where a hard sigmoid has no slope and nothing is learned. Try a lower learning"),
        ("linear", "are at most 0 or at least 1, which no clip goes beyond. Try a lower learning rate or --warm-up 1"),
    ],
)
def test_a_run_whose_samples_sit_on_a_bound_says_so(workers: Workers, output: str, sentence: str) -> None:
    training = make(workers, output=output, fine_tune_learning_rate=1.0, clip=0.0, average=0.0)
    run(training)
    features = np.stack(list(training.encode(range(10))))
    training.fine_tuning(features, TRAIN, VALIDATION).run()
    phases = training.evaluate_autoencoder(VALIDATION), training.evaluate_decoder(features, VALIDATION)
    results = {
        name: {"test_on_bound": float(phase.on_bound)}
        for name, phase in zip(("pre_training", "fine_tuning"), phases, strict=True)
    }
    results["pre_training"] = {}  # of version 0.1
    said = saturation(results, output)
    assert len(said) == 1, results
    assert said[0].startswith("fine_tuning: ")
    assert sentence in said[0]
    assert saturation({name: {"test_on_bound": 0.4} for name in results}, output) == []


@pytest.mark.parametrize("tied", [False, True])
def test_phase_2_with_folds_trains_the_decoder_alone(workers: Workers, tied: bool) -> None:
    training = make(workers, pooling="fold", tied=tied, epochs=2)
    run(training)
    encoder = {name: view.copy() for name, view in training.flat.views.items() if name.startswith("encoder")}
    decoder = training.flat.vector.copy()
    epochs, _ = run(training, "fine_tuning")
    assert epochs
    for name, view in encoder.items():  # tied filters are the encoder's: the saved representations are made with them
        np.testing.assert_array_equal(training.flat.views[name], view)
    assert (training.flat.vector != decoder).any()


def test_the_rate_rises_over_the_warm_up(workers: Workers) -> None:
    training = make(workers, epochs=2, warm_up=1.5, schedule="constant")
    phase, rates = training.pre_training(TRAIN, VALIDATION), []
    phase.run(on_step=lambda: rates.append(phase.adam.learning_rate))
    np.testing.assert_allclose(rates, 0.001 * np.array([1 / 7, 2 / 7, 3 / 7, 4 / 7, 5 / 7, 6 / 7, 1, 1]))


def test_a_training_with_bounded_gradients_goes_on_to_the_same_bits(workers: Workers) -> None:
    settings: dict[str, object] = {"epochs": 8, "patience": 8, "clip": 0.5}
    whole = make(workers, **settings)
    whole.pre_training(TRAIN, VALIDATION).run()
    unbounded = make(workers, **(settings | {"clip": 0.0}))
    unbounded.pre_training(TRAIN, VALIDATION).run()
    assert (whole.flat.vector != unbounded.flat.vector).any()

    class Enough(Exception):
        pass

    first = make(workers, **settings)
    phase, steps = first.pre_training(TRAIN, VALIDATION), 0

    def on_step() -> None:
        nonlocal steps
        steps += 1
        if steps == 14:
            raise Enough

    with pytest.raises(Enough):
        phase.run(on_step)
    state = phase.state_dict()
    words = json.loads(json.dumps({name: value for name, value in state.items() if name not in ARRAYS}))
    second = make(workers, **settings)
    again = second.pre_training(TRAIN, VALIDATION)
    again.load_state_dict(words | {name: state[name] for name in ARRAYS})
    again.run()
    np.testing.assert_array_equal(second.flat.vector, whole.flat.vector)
