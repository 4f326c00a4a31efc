"""The probe's protocol on made-up features, where what must come out is known."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, recall_score

from inference.probe import CLASSIFIERS, ProbeError, as_json, cross_validate, difference
from speech.fold import group_folds

SPEAKERS = [f"s{i // 12}" for i in range(72)]
LABELS = [("joy", "rage", "rest")[i % 3] for i in range(72)]


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def informative(noise: float = 0.5) -> np.ndarray:
    centres = {"joy": [3, 0, 0], "rage": [0, 3, 0], "rest": [0, 0, 3]}
    return np.array([centres[label] for label in LABELS]) + noise * rng().standard_normal((72, 3))


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_what_is_there_is_read_out_and_noise_is_not(classifier: str) -> None:
    folds = group_folds(SPEAKERS)
    there = cross_validate(lambda _: {"x": informative()}, LABELS, folds, SPEAKERS, classifier, rng=rng())
    assert there.uar.value > 0.95
    assert [fold.name for fold in there.folds] == sorted(set(SPEAKERS))
    noise = np.random.default_rng(1).standard_normal((72, 200))
    absent = cross_validate(lambda _: {"x": noise}, LABELS, folds, SPEAKERS, classifier, rng=rng())
    assert 0.1 < absent.uar.value < 0.55
    assert absent.chance == pytest.approx(1 / 3) == absent.largest_class


def test_scores_are_those_of_scikit_learn() -> None:
    labels = [*LABELS[:60], *["rest"] * 12]
    result = cross_validate(lambda _: {"x": informative(4)}, labels, SPEAKERS, SPEAKERS, "logistic", rng=rng())
    assert result.uar.value == pytest.approx(recall_score(labels, result.predictions, average="macro"))
    assert result.accuracy.value == pytest.approx(accuracy_score(labels, result.predictions))
    assert result.macro_f1.value == pytest.approx(f1_score(labels, result.predictions, average="macro"))
    assert result.confusion.sum(axis=1).tolist() == [labels.count(name) for name in result.classes]
    for i, name in enumerate(result.classes):
        predicted = [answer for answer, label in zip(result.predictions, labels, strict=True) if label == name]
        assert result.confusion[i].tolist() == [predicted.count(answer) for answer in result.classes]
    assert sum(fold.accuracy * fold.clips for fold in result.folds) / 72 == pytest.approx(result.accuracy.value)


def test_a_speaker_that_gives_itself_away_does_not_help() -> None:
    """Features that name the speaker, whose label never varies: learned by heart unless folds leave speakers out."""
    labels = [("joy", "rage")[int(speaker[1]) % 2] for speaker in SPEAKERS]
    marks = np.eye(6)[[int(speaker[1]) for speaker in SPEAKERS]] + 0.01 * rng().standard_normal((72, 6))
    kept_apart = cross_validate(lambda _: {"x": marks}, labels, group_folds(SPEAKERS), SPEAKERS, "logistic", rng=rng())
    mixed = [str(i % 4) for i in range(72)]
    by_heart = cross_validate(lambda _: {"x": marks}, labels, mixed, SPEAKERS, "logistic", rng=rng())
    assert by_heart.uar.value > 0.95
    assert kept_apart.uar.value < 0.8


def test_nothing_is_chosen_by_the_test_clips() -> None:
    """A statistic that is perfect on one speaker alone is not chosen for that speaker's fold."""
    honest = informative(1.5)
    tempting = rng().standard_normal((72, 3))
    of_last = np.array(SPEAKERS) == "s5"
    tempting[of_last] = informative(0)[of_last] * 10
    candidates = {"tempting": tempting, "honest": honest}
    result = cross_validate(lambda _: candidates, LABELS, SPEAKERS, SPEAKERS, "logistic", rng=rng())
    assert result.folds[-1].name == "s5"
    assert result.folds[-1].statistic == "honest"
    seen: list[str] = []

    def of_fold(fold: str) -> dict[str, np.ndarray]:
        seen.append(fold)
        changed = honest.copy()
        changed[np.array(SPEAKERS) == fold] = 0  # what the test clips hold changes no choice
        return {"tempting": tempting * (np.array(SPEAKERS) != fold)[:, None], "honest": changed}

    again = cross_validate(of_fold, LABELS, SPEAKERS, SPEAKERS, "logistic", rng=rng())
    assert seen == sorted(set(SPEAKERS))
    assert [(fold.statistic, fold.strength) for fold in again.folds] == [
        (fold.statistic, fold.strength) for fold in result.folds
    ]


def test_more_numbers_than_clips_is_the_same_classifier() -> None:
    """Fits in a rotated space give what scikit-learn gives on the features themselves."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x = np.concatenate([informative(2), rng().standard_normal((72, 150))], axis=1)
    result = cross_validate(lambda _: {"x": x}, LABELS, SPEAKERS, SPEAKERS, "logistic", rng=rng())
    for fold in result.folds:
        train = np.array(SPEAKERS) != fold.name
        plain = make_pipeline(
            StandardScaler(), LogisticRegression(C=fold.strength, class_weight="balanced", max_iter=1000)
        )
        answers = plain.fit(x[train], np.array(LABELS)[train]).predict(x[~train])
        same = np.mean(answers == np.array(result.predictions)[~train])
        assert same >= 11 / 12  # but for a clip on the border


def test_intervals_are_over_speakers() -> None:
    """Speakers of whom all or nothing is right: clips alone would give a far narrower interval."""
    x = informative(0.1)
    x[np.isin(SPEAKERS, ["s0", "s1"])] *= -1
    result = cross_validate(lambda _: {"x": x}, LABELS, SPEAKERS, SPEAKERS, "logistic", rng=rng())
    assert result.uar.high - result.uar.low > 0.3
    again = cross_validate(lambda _: {"x": x}, LABELS, SPEAKERS, SPEAKERS, "logistic", rng=rng())
    assert again.uar == result.uar
    single = cross_validate(
        lambda _: {"x": x}, LABELS, ["test" if s == "s5" else "train" for s in SPEAKERS], SPEAKERS, "logistic",
        rng=rng(), tested=["test"],
    )  # fmt: skip
    assert (single.predictions[:60], len(set(single.predictions[60:]) - {""})) == ([""] * 60, 3)
    assert as_json(single)["uar"]["low"] is None


def test_a_difference_is_paired() -> None:
    good, bad = LABELS, ["joy"] * 72
    gap = difference(LABELS, good, bad, SPEAKERS)
    assert (gap.value, gap.low, gap.high) == (pytest.approx(2 / 3), pytest.approx(2 / 3), pytest.approx(2 / 3))
    same = difference(LABELS, good, good, SPEAKERS)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_constant_features_and_no_warning() -> None:
    x = np.concatenate([informative(), np.ones((72, 3))], axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = cross_validate(lambda _: {"x": x}, LABELS, SPEAKERS, SPEAKERS, "svm", rng=rng())
    assert result.uar.value > 0.9


def test_what_cannot_be_probed_says_why() -> None:
    with pytest.raises(ProbeError, match=r"^probe: needs at least two classes; got joy$"):
        cross_validate(lambda _: {"x": informative()}, ["joy"] * 72, SPEAKERS, SPEAKERS, "svm", rng=rng())
    labels = ["joy" if speaker == "s0" else "rage" for speaker in SPEAKERS]
    with pytest.raises(ProbeError, match=r"^probe: without fold s0 fewer than two classes are left to learn from$"):
        cross_validate(lambda _: {"x": informative()}, labels, SPEAKERS, SPEAKERS, "svm", rng=rng())
