"""Which clips train, which decide when to stop, which test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

TEST_SHARE, VALIDATION_SHARE = 0.2, 0.1


class SplitError(ValueError):
    """The clips cannot be split; the message says what is missing."""


class Drawn(Protocol):
    """Numbers of clips that are too many for an array: any run of neighbours among them is one."""

    def __len__(self) -> int:
        """How many."""

    def __getitem__(self, some: slice, /) -> np.ndarray:
        """Neighbours."""

    def shuffled(self, rng: np.random.Generator) -> Drawn:
        """The same in an order drawn from rng."""


Indices = np.ndarray | Drawn


def shuffled(clips: Indices, rng: np.random.Generator) -> Indices:
    """Clips in an order drawn from rng."""
    return rng.permutation(clips) if isinstance(clips, np.ndarray) else clips.shuffled(rng)


class Parts(Protocol):
    """What trains, decides when to stop, and tests."""

    @property
    def train(self) -> Indices:
        """Clips that gradients are of."""

    @property
    def validation(self) -> Indices:
        """Clips that decide when to stop."""

    @property
    def test(self) -> Indices:
        """Clips that nothing has learned from."""


@dataclass(frozen=True)
class Split:
    """Indices of clips.

    Attributes
    ----------
    train, validation, test : (n,) int arrays
        Disjoint, unless validation is the test clips.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def split_clips(
    speakers: Sequence[str], *, by: str = "random", validate_on: str = "held-out", rng: np.random.Generator
) -> Split:
    """Draw a split: 20 % of the clips test, a tenth of the others is held out for early stopping.

    Parameters
    ----------
    speakers : sequence of str
        Of each clip.
    by : {"random", "speaker"}
        speaker keeps the speakers of the test clips out of training; the share is then as near to 20 % as they allow,
        taken in an order that is drawn. A speaker of more than half of the clips is never one of them.
    validate_on : {"held-out", "test"}
        test holds nothing out: the test clips decide when to stop, as the paper most likely did.
    rng : numpy.random.Generator

    Raises
    ------
    SplitError
        Fewer than 5 clips, or fewer than 2 named speakers for by="speaker".

    Source
    ------
    the paper, section 4.1.1
    """
    count = len(speakers)
    if count < 5:
        raise SplitError(f"a split needs at least 5 clips; got {count}")
    order = rng.permutation(count)
    if by == "random":
        tests = round(TEST_SHARE * count)
        test, rest = order[:tests], order[tests:]
    else:
        names = sorted(set(speakers) - {""})
        if len(names) < 2 or "" in speakers:
            raise SplitError(
                f"--split speaker needs the speaker of every clip and at least 2 of them; got {len(names)} and "
                f"{list(speakers).count('')} clips without. Use --split random"
            )
        chosen: set[str] = set()
        for name in rng.permutation(names):
            share = sum(speaker in chosen for speaker in speakers) / count
            with_name = sum(speaker in {*chosen, name} for speaker in speakers) / count
            if chosen:
                fits = abs(with_name - TEST_SHARE) < abs(share - TEST_SHARE) and len(chosen) + 1 < len(names)
            else:
                fits = with_name <= 0.5  # the one speaker of most clips is to be learned from
            if fits:
                chosen.add(str(name))
        is_test = np.array([speakers[i] in chosen for i in order])
        test, rest = order[is_test], order[~is_test]
    return _held_out(rest, test, validate_on)


def split_off(is_test: np.ndarray, *, validate_on: str = "held-out", rng: np.random.Generator) -> Split:
    """The split in which certain clips test; a tenth of the others is held out for early stopping.

    Parameters
    ----------
    is_test : (n,) bool
        Of each clip.
    validate_on, rng
        As for `split_clips`.

    Raises
    ------
    SplitError
        No clip tests, or too few are left.
    """
    order = rng.permutation(len(is_test))
    test, rest = order[is_test[order]], order[~is_test[order]]
    if not len(test):
        raise SplitError(f"none of the {len(is_test)} clips is left to test on")
    return _held_out(rest, test, validate_on)


def _held_out(rest: np.ndarray, test: np.ndarray, validate_on: str) -> Split:
    if validate_on == "test":
        return Split(rest, test, test)
    held_out = max(1, round(VALIDATION_SHARE * len(rest)))
    if held_out >= len(rest):
        raise SplitError(f"too few clips are left to train on: {len(rest)} outside the test speakers")
    return Split(rest[held_out:], rest[:held_out], test)
