"""What a linear classifier reads out of features, on folds that keep speakers apart.

Features are standardised; a logistic regression or a linear support vector machine follows. Everything that is chosen
(the strength of either, and which statistic of a source) is chosen on the training clips of a fold, by folds within
them. docs/emotion.md explains each figure.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from speech.fold import fold_names

CLASSIFIERS = ("logistic", "svm")
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # C: small ones bind the weights more
INNER_FOLDS = 3
RESAMPLES = 2000
SHARE = 0.95


class ProbeError(ValueError):
    """A probe cannot be made; the message says why and what to do."""


class Fold(NamedTuple):
    """How one fold went."""

    name: str
    clips: int
    uar: float  # over the classes that its test clips have
    accuracy: float
    statistic: str  # chosen on its training clips
    strength: float


class Scores(NamedTuple):
    """A figure of all test clips with its interval."""

    value: float
    low: float
    high: float


class Result(NamedTuple):
    """What a classifier read out of features."""

    classes: list[str]
    predictions: list[str]  # of each clip; "" of one that was not tested
    folds: list[Fold]
    confusion: np.ndarray  # (classes, classes): row the truth, column the answer
    uar: Scores
    accuracy: Scores
    macro_f1: Scores
    chance: float  # of the UAR
    largest_class: float  # share of the clips: the accuracy of always saying the same


def check_installed() -> None:
    """Raise ProbeError where scikit-learn is missing."""
    if find_spec("sklearn") is None:
        raise ProbeError("probe: needs scikit-learn: pip install -e '.[probe]'")


@threadpool_limits.wrap(limits=1, user_api="blas")  # in products this small threads wait longer than they work
def cross_validate(
    features: Callable[[str], Mapping[str, np.ndarray]],
    labels: Sequence[str],
    folds: Sequence[str],
    groups: Sequence[str],
    classifier: str,
    *,
    rng: np.random.Generator,
    tested: Sequence[str] | None = None,
) -> Result:
    """Test each fold by what was learned from the others.

    Parameters
    ----------
    features : function fold -> {statistic: (n, d)}
        The candidates of a fold, of all clips.
    labels, folds, groups : (n,)
        Of each clip: what to read out, its fold, and what the interval is over and inner folds keep together, such as
        its speaker.
    classifier : "logistic" or "svm"
    rng : numpy.random.Generator
        Of the bootstrap.
    tested : sequence of str or None
        The folds to test; None for all of them. The others only train.

    Raises
    ------
    ProbeError
        There are fewer than two classes, or those of a fold's training clips are fewer than two.
    """
    y, fold_of, group_of = np.array(labels), np.array(folds), np.array(groups)
    classes = sorted(set(labels))
    if len(classes) < 2:
        raise ProbeError(f"probe: needs at least two classes; got {', '.join(classes) or 'none'}")
    names = fold_names(folds) if tested is None else list(tested)
    predictions = np.full(len(y), "", dtype=y.dtype)
    rows = []
    for name in names:
        test, train = fold_of == name, fold_of != name
        if len(set(y[train])) < 2:
            raise ProbeError(f"probe: without fold {name} fewer than two classes are left to learn from")
        candidates = features(name)
        statistic, strength = _choose(candidates, y, train, group_of, classifier)
        answer = _fit(candidates[statistic][train], y[train], [strength], candidates[statistic][test], classifier)[0]
        predictions[test] = answer
        right = answer == y[test]
        rows.append(
            Fold(name, int(test.sum()), _mean_recall(y[test], answer), float(right.mean()), statistic, strength)
        )
    done = np.isin(fold_of, names)
    by_group = np.stack(
        [
            _confusion(y[done & (group_of == group)], predictions[done & (group_of == group)], classes)
            for group in sorted(set(group_of[done]))
        ]
    )
    uar, accuracy, f1 = _intervals(by_group, rng)
    confusion = by_group.sum(axis=0)
    present = confusion.sum(axis=1)
    return Result(
        classes,
        [str(label) for label in predictions],
        rows,
        confusion,
        uar,
        accuracy,
        f1,
        1 / int((present > 0).sum()),
        float(present.max() / present.sum()),
    )


def _choose(
    candidates: Mapping[str, np.ndarray], y: np.ndarray, train: np.ndarray, groups: np.ndarray, classifier: str
) -> tuple[str, float]:
    """The statistic and the strength with the best UAR over inner folds, which keep groups together."""
    names = sorted(set(groups[train]))
    inner = [names[i::INNER_FOLDS] for i in range(min(INNER_FOLDS, len(names)))]
    best, choice = -1.0, (next(iter(candidates)), 1e-3)
    for statistic, x in candidates.items():
        truth: list[np.ndarray] = []
        answers: list[list[np.ndarray]] = []
        for held in inner:
            test = train & np.isin(groups, held)
            rest = train & ~test
            if len(set(y[rest])) < 2:
                continue
            answers.append(_fit(x[rest], y[rest], STRENGTHS, x[test], classifier))
            truth.append(y[test])
        for i, strength in enumerate(STRENGTHS if truth else ()):
            recall = _mean_recall(np.concatenate(truth), np.concatenate([answer[i] for answer in answers]))
            if recall > best:
                best, choice = recall, (statistic, strength)
    return choice


def _fit(
    x: np.ndarray, y: np.ndarray, strengths: Sequence[float], test: np.ndarray, classifier: str
) -> list[np.ndarray]:
    """What a classifier of each strength says of the test features."""
    from sklearn.decomposition import PCA
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    # All components: a rotation, under which both classifiers stay the same, to as many dimensions as there are clips.
    steps = [StandardScaler(), PCA(svd_solver="full")] if x.shape[1] > len(x) else [StandardScaler()]
    prepare = make_pipeline(*steps).fit(x)
    x, test = prepare.transform(x), prepare.transform(test)
    if classifier == "logistic":  # the weights of one strength are where the next one starts
        fitted = LogisticRegression(class_weight="balanced", max_iter=500, tol=1e-3, warm_start=True)
    else:
        fitted = SVC(kernel="linear", class_weight="balanced")
    answers = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of the weakest binding, which is seldom chosen
        for strength in strengths:
            answers.append(fitted.set_params(C=strength).fit(x, y).predict(test))
    return answers


def _mean_recall(truth: np.ndarray, answer: np.ndarray) -> float:
    return float(np.mean([(answer[truth == label] == label).mean() for label in sorted(set(truth))]))


def _confusion(truth: np.ndarray, answer: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    index = {label: i for i, label in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), np.int64)
    for row, column in zip(truth, answer, strict=True):
        counts[index[row], index[column]] += 1
    return counts


def _intervals(by_group: np.ndarray, rng: np.random.Generator) -> tuple[Scores, Scores, Scores]:
    """UAR, accuracy and macro F1 of all groups, with percentile intervals of the bootstrap over groups.

    Source
    ------
    Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13; groups are drawn whole since clips of one
    speaker are not independent
    """
    count = len(by_group)
    draws = rng.multinomial(count, np.full(count, 1 / count), RESAMPLES)  # how often each group is drawn
    resampled = np.tensordot(draws, by_group, axes=1)
    limits = [(1 - SHARE) / 2, (1 + SHARE) / 2]
    scores = []
    for measure in (_uar, _accuracy, _macro_f1):
        value = float(measure(by_group.sum(axis=0)[None])[0])
        low, high = np.quantile(measure(resampled), limits) if count > 1 else (np.nan, np.nan)
        scores.append(Scores(value, float(low), float(high)))
    return scores[0], scores[1], scores[2]


def _uar(confusion: np.ndarray) -> np.ndarray:
    """(R, K, K) -> (R,): recall averaged over the classes that are there."""
    truths = confusion.sum(axis=2)
    recalls = np.diagonal(confusion, axis1=1, axis2=2) / np.maximum(truths, 1)
    mean: np.ndarray = recalls.sum(axis=1) / (truths > 0).sum(axis=1)
    return mean


def _accuracy(confusion: np.ndarray) -> np.ndarray:
    share: np.ndarray = np.trace(confusion, axis1=1, axis2=2) / confusion.sum(axis=(1, 2))
    return share


def _macro_f1(confusion: np.ndarray) -> np.ndarray:
    truths, answers = confusion.sum(axis=2), confusion.sum(axis=1)
    f1 = 2 * np.diagonal(confusion, axis1=1, axis2=2) / np.maximum(truths + answers, 1)
    mean: np.ndarray = f1.sum(axis=1) / (truths + answers > 0).sum(axis=1)
    return mean


def difference(labels: Sequence[str], ours: Sequence[str], theirs: Sequence[str], groups: Sequence[str]) -> Scores:
    """UAR of some predictions minus that of others on the same clips, with an interval over the same groups.

    Clips without a prediction, which were not tested, do not count.
    """
    truth, first, second, group_of = (np.array(values) for values in (labels, ours, theirs, groups))
    classes, done = sorted(set(labels)), first != ""
    names = sorted(set(group_of[done]))
    both = [
        np.stack(
            [_confusion(truth[rows], answers[rows], classes) for name in names for rows in [done & (group_of == name)]]
        )
        for answers in (first, second)
    ]
    draws = np.random.default_rng(0).multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)
    gaps = _uar(np.tensordot(draws, both[0], axes=1)) - _uar(np.tensordot(draws, both[1], axes=1))
    value = _uar(both[0].sum(axis=0)[None])[0] - _uar(both[1].sum(axis=0)[None])[0]
    low, high = np.quantile(gaps, [(1 - SHARE) / 2, (1 + SHARE) / 2])
    return Scores(float(value), float(low), float(high))


def as_json(result: Result) -> dict[str, Any]:
    """A result as JSON can hold it; limits that are not defined are null."""

    def figure(scores: Scores) -> dict[str, float | None]:
        return {name: None if np.isnan(value) else value for name, value in scores._asdict().items()}

    return {
        "uar": figure(result.uar),
        "accuracy": figure(result.accuracy),
        "macro_f1": figure(result.macro_f1),
        "chance_uar": result.chance,
        "largest_class": result.largest_class,
        "classes": result.classes,
        "confusion": result.confusion.tolist(),
        "folds": [fold._asdict() for fold in result.folds],
    }
