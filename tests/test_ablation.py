"""Mask ablation: the figures against the network called by hand, and the sentence against the figures."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from inference.ablation import MASKS, mask_ablation, random_masks, summary
from models.autoencoder import Autoencoder
from speech.snr import si_sdr
from training.configuration import Configuration
from training.dual_training import DualTraining
from training.workers import Workers

SETTINGS = Configuration(channels=(3, 4), clip_samples=64, epochs=25, learning_rate=0.01, batch_size=4, device="cpu")
TRAIN, TEST = np.arange(8), np.array([11, 8, 10, 9])


def make_samples() -> np.ndarray:
    noise = np.random.default_rng(3).standard_normal((12, 64)).cumsum(axis=1)
    low, high = noise.min(axis=1, keepdims=True), noise.max(axis=1, keepdims=True)
    return ((noise - low) / (high - low)).astype(np.float32)


SAMPLES = make_samples()


def score(clip: int, rebuilt: np.ndarray) -> float:
    return si_sdr(SAMPLES[clip, :50], rebuilt[:50])


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with Workers(2) as workers:
        yield workers


@pytest.fixture(scope="module")
def training(workers: Workers) -> DualTraining:
    """A tiny network after phase 1."""
    training = DualTraining(SETTINGS, SAMPLES, workers)
    training.pre_training(TRAIN, TRAIN).run()
    return training


def run(network: Autoencoder, workers: Workers, **changes: Any) -> dict[str, Any]:
    defaults: dict[str, Any] = {"clips": TEST, "score": score, "rng": np.random.default_rng(7), "executor": workers}
    return mask_ablation(network, SAMPLES, **{**defaults, **changes})


def by_hand(network: Autoencoder, clip: int, masks: list[np.ndarray] | None) -> tuple[float, float]:
    x = SAMPLES[clip][None, :, None]
    z = network.encoder.forward(x)[0].representation
    y = network.decoder.forward(z, masks)[0][0][0, :, 0]
    return float(((y - SAMPLES[clip]) ** 2).mean()), score(clip, y)


def masks_of(network: Autoencoder, clip: int) -> list[np.ndarray]:
    return network.encoder.forward(SAMPLES[clip][None, :, None])[0].masks


def test_each_kind_of_masks_is_what_the_decoder_makes_of_it(training: DualTraining, workers: Workers) -> None:
    net = training.network
    ablation = run(net, workers)
    streams = np.random.default_rng(7).spawn(4)
    masks_by_kind: dict[str, list[Any]] = {
        "own": [masks_of(net, clip) for clip in TEST],
        "another": [masks_of(net, clip) for clip in (9, 11, 8, 10)],
        "random": [random_masks(masks_of(net, 0), stream) for stream in streams],
        "none": [None] * 4,
    }
    for kind, masks in masks_by_kind.items():
        errors, scores = np.transpose([by_hand(net, clip, mask) for clip, mask in zip(TEST, masks, strict=True)])
        assert ablation[kind]["test_mse"] == pytest.approx(errors.mean(), rel=1e-5), kind
        assert ablation[kind]["test_si_sdr_db"] == pytest.approx(scores.mean(), abs=1e-3), kind
        assert ablation[kind]["clips_without_si_sdr"] == 0
    assert ablation["own"]["test_mse"] == pytest.approx(training.evaluate_autoencoder(TEST).loss, rel=1e-5)
    assert len({ablation[kind]["test_mse"] for kind in MASKS}) == 4
    assert ablation["own"]["test_mse"] < min(ablation[kind]["test_mse"] for kind in MASKS[1:])


def test_bits_are_those_that_the_decoder_receives(training: DualTraining, workers: Workers) -> None:
    ablation = run(training.network, workers)
    # 64 samples are 4 ms: 16 frames of 4 numbers, and windows of two: 32 in each of 3 channels, 16 in each of 4
    representation, masks = 16 * 4 * 32 / 0.004, (32 * 3 + 16 * 4) * math.log2(2) / 0.004
    for kind in MASKS:
        mask_bits = 0 if kind == "none" else masks
        assert ablation[kind]["representation_bits_per_second"] == pytest.approx(representation)
        assert ablation[kind]["mask_bits_per_second"] == pytest.approx(mask_bits)
        assert ablation[kind]["bits_per_second"] == pytest.approx(representation + mask_bits)
    assert ablation["pool"] == 2


def test_tied_windows_are_counted(training: DualTraining, workers: Workers) -> None:
    assert run(training.network, workers)["tied_windows"] < 0.2
    flat = np.zeros_like(SAMPLES)
    ablation = mask_ablation(training.network, flat, TEST, lambda clip, y: math.nan, rng=np.random.default_rng(0),
                             executor=workers)  # fmt: skip
    tied = windows = 0
    for h in training.network.encoder.forward(flat[:1, :, None])[0].encoded:
        for l, c in itertools.product(range(0, h.shape[1], 2), range(h.shape[2])):
            tied += h[0, l, c] == h[0, l + 1, c]
            windows += 1
    assert ablation["tied_windows"] == pytest.approx(tied / windows)
    assert ablation["tied_windows"] > 0.7


def test_clips_without_a_score_are_counted_and_left_out(training: DualTraining, workers: Workers) -> None:
    values = {8: math.nan, 9: 4.0, 10: -math.inf, 11: 6.0}
    ablation = run(training.network, workers, score=lambda clip, y: values[clip])
    assert ablation["own"]["test_si_sdr_db"] == 5
    assert ablation["own"]["clips_without_si_sdr"] == 2
    ablation = run(training.network, workers, score=lambda clip, y: math.nan)
    assert ablation["own"]["test_si_sdr_db"] is None
    json.dumps(ablation, allow_nan=False)


def test_the_same_seed_gives_the_same_figures_on_any_number_of_threads(
    training: DualTraining, workers: Workers
) -> None:
    ablation = run(training.network, workers)
    with Workers(1) as one:
        assert run(training.network, one) == ablation
    other = run(training.network, workers, rng=np.random.default_rng(8))
    assert other["random"] != ablation["random"]
    assert other["another"] == ablation["another"]


def test_one_clip_takes_the_masks_of_the_next_one_of_the_corpus(training: DualTraining, workers: Workers) -> None:
    ablation = run(training.network, workers, clips=np.array([11]))
    expected, _ = by_hand(training.network, 11, masks_of(training.network, 0))
    assert ablation["another"]["test_mse"] == pytest.approx(expected, rel=1e-5)


def test_only_the_kinds_asked_for(training: DualTraining, workers: Workers) -> None:
    ablation = run(training.network, workers, masks=("none",))
    assert set(ablation) == {"pool", "tied_windows", "none"}
    assert ablation["none"] == run(training.network, workers)["none"]
    with pytest.raises(ValueError, match="masks must be of own, another, random, none; got 'mine'"):
        run(training.network, workers, masks=("mine",))


def test_random_masks_mark_one_position_in_every_window() -> None:
    like = [np.zeros((2, 400, 5), bool), np.zeros((2, 200, 3), bool)]
    drawn = random_masks(like, np.random.default_rng(0))
    for mask, shape in zip(drawn, like, strict=True):
        assert mask.shape == shape.shape
        assert mask.dtype == bool
        np.testing.assert_array_equal(mask.reshape(2, -1, 2, mask.shape[2]).sum(axis=2), 1)
        assert 0.45 < mask[:, ::2].mean() < 0.55
    assert not np.array_equal(drawn[0][0], drawn[0][1])


def figures(mse: float, db: float | None, masks: float = 320_000.0) -> dict[str, Any]:
    return {"test_mse": mse, "test_si_sdr_db": db, "mask_bits_per_second": masks, "bits_per_second": 1_024_000 + masks}


def test_the_summary_is_read_off_the_figures() -> None:
    before = {
        "own": figures(1e-4, 20.0),
        "another": figures(3e-4, 5.0),
        "random": figures(1.03e-4, 3.0),
        "none": figures(2.5e-4, 7.0, 0.0),
        "tied_windows": 0.3,
    }
    after = {
        "own": figures(4e-4, None),
        "another": figures(8e-4, 1.0),
        "random": figures(4e-4, 1.0),
        "none": figures(2e-4, 9.0, 0.0),
        "tied_windows": 0.3,
    }
    assert summary({"pre_training": before, "fine_tuning": after}) == (
        "The pre-trained decoder has a test error of 0.0001 (SI-SDR 20.0 dB) with its own masks, which are 24% of the "
        "1,344 kbit/s that it receives (30% of the windows are ties); the error is 3 times that with those of another "
        "clip, the same within 5% with random ones, 2.5 times that with none. It does best with its own masks; from "
        "the representation alone it reaches SI-SDR 7.0 dB. "
        "The fine-tuned decoder has a test error of 0.0004 (no SI-SDR) with its own masks, which are 24% of the "
        "1,344 kbit/s that it receives (30% of the windows are ties); the error is 2 times that with those of another "
        "clip, the same within 5% with random ones, 0.5 times that with none. It does best with none; from the "
        "representation alone it reaches SI-SDR 9.0 dB. "
        "Between the two ways to use the network, pre-trained with own masks at 1,344 kbit/s and fine-tuned without "
        "at 1,024 kbit/s, the second has an error 2 times that."
    )
    assert summary({"pre_training": before}).endswith("reaches SI-SDR 7.0 dB.")
