from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.split import SplitError, split_clips, split_off


@settings(deadline=None)
@given(count=st.integers(5, 600), seed=st.integers(0, 2**32 - 1))
def test_a_random_split_has_every_clip_once_in_the_papers_shares(count: int, seed: int) -> None:
    split = split_clips(["x"] * count, rng=np.random.default_rng(seed))
    parts = [split.train, split.validation, split.test]
    assert sorted(np.concatenate(parts)) == list(range(count))
    assert abs(len(split.test) - 0.2 * count) <= 0.5
    assert abs(len(split.validation) - 0.1 * (count - len(split.test))) <= 0.6
    again = split_clips(["x"] * count, rng=np.random.default_rng(seed))
    assert all((a == b).all() for a, b in zip(parts, [again.train, again.validation, again.test], strict=True))


def test_the_papers_535_clips() -> None:
    split = split_clips([""] * 535, rng=np.random.default_rng(0))
    assert (len(split.train), len(split.validation), len(split.test)) == (385, 43, 107)
    whole = split_clips([""] * 535, validate_on="test", rng=np.random.default_rng(0))
    assert (len(whole.train), len(whole.test)) == (428, 107)
    assert (whole.validation == whole.test).all()


@settings(deadline=None)
@given(sizes=st.lists(st.integers(3, 40), min_size=2, max_size=12), seed=st.integers(0, 2**32 - 1))
def test_a_split_by_speaker_keeps_them_apart(sizes: list[int], seed: int) -> None:
    speakers = [f"s{i}" for i, size in enumerate(sizes) for _ in range(size)]
    split = split_clips(speakers, by="speaker", rng=np.random.default_rng(seed))

    def of(part: np.ndarray) -> set[str]:
        return {speakers[i] for i in part}

    assert of(split.test) and of(split.train)
    assert not of(split.test) & (of(split.train) | of(split.validation))
    assert sorted(np.concatenate([split.train, split.validation, split.test])) == list(range(len(speakers)))
    if max(sizes) * 10 < len(speakers):  # small speakers: the share can be met
        assert abs(len(split.test) / len(speakers) - 0.2) <= 0.1


def test_what_cannot_be_split_says_why() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(SplitError, match="a split needs at least 5 clips; got 4"):
        split_clips(["a"] * 4, rng=rng)
    with pytest.raises(
        SplitError, match="--split speaker needs the speaker of every clip and at least 2 of them; got 1"
    ):
        split_clips(["a"] * 9, by="speaker", rng=rng)
    with pytest.raises(SplitError, match="1 clips without"):
        split_clips(["a", "b", "", "a", "b"], by="speaker", rng=rng)
    with pytest.raises(SplitError, match="too few clips are left to train on: 1 outside the test speakers"):
        split_off(np.array([True] * 5 + [False]), rng=rng)


@pytest.mark.parametrize("seed", range(8))
def test_the_speaker_of_most_clips_is_learned_from(seed: int) -> None:
    for speakers in (["a"] * 7 + ["b"], ["a"] * 60 + ["b"] * 10 + ["c"] * 10):
        split = split_clips(speakers, by="speaker", rng=np.random.default_rng(seed))
        assert "a" not in {speakers[i] for i in split.test}
        assert len(split.test) <= len(speakers) / 4
