from __future__ import annotations

import itertools
import math

from report.selection import LEAST, MOST, select


def test_best_median_worst_and_one_of_every_label() -> None:
    scores = [3.0, 9.0, 1.0, 5.0, 7.0, 2.0, 8.0]
    labels = ["calm", "angry", "calm", "calm", "sad", "sad", "sad"]
    assert select(scores, labels)[:4] == [
        (1, "the best"),
        (3, "the median"),
        (2, "the worst"),
        (4, "typical of sad"),  # of 8, 7 and 2 the middle one
    ]
    chosen = [i for i, _ in select(scores, labels)]
    assert len(chosen) == len(set(chosen)) == LEAST


def test_clips_without_a_score_are_neither_best_nor_worst_and_come_last() -> None:
    chosen = select([math.nan, 1.0, math.nan, 2.0, 3.0], ["", "", "silent", "", ""])
    assert chosen[:4] == [(4, "the best"), (3, "the median"), (1, "the worst"), (2, "typical of silent")]
    assert {i for i, _ in chosen} == {0, 1, 2, 3, 4}
    assert select([math.nan, math.nan], ["a", "a"])[0] == (1, "typical of a")


def test_one_clip_is_shown_once_and_many_labels_fill_no_more_than_the_page() -> None:
    assert select([4.0], ["x"]) == [(0, "the best")]
    many = select([float(i) for i in range(100)], [f"label {i}" for i in range(100)])
    assert len(many) == MOST
    assert [why for _, why in many[:3]] == ["the best", "the median", "the worst"]


def test_without_labels_the_ranks_between_are_filled() -> None:
    chosen = select([float(i) for i in range(13)], [""] * 13)
    assert len(chosen) == LEAST
    assert [i for i, _ in chosen[:3]] == [12, 6, 0]
    assert all(why.startswith("rank ") and why.endswith(" of 13") for _, why in chosen[3:])
    ranks = sorted(i for i, _ in chosen)
    assert max(b - a for a, b in itertools.pairwise(ranks)) <= 4
