"""What a probe reads out of which clips, and which of them are tested together."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from inference.probe import ProbeError
from speech.clip import Clips
from speech.corpus import SEPARATOR, corpus_title
from speech.emotion import shared_label
from speech.fold import find_folds, group_folds
from speech.recording import Recording
from speech.split import SplitError
from training.configuration import Configuration
from training.seed import generator
from training.terminal import say

TARGETS = ("emotion", "speaker", "text")
RANDOM_FOLDS = 5


class Task(NamedTuple):
    """One thing to read out, and how it is tested."""

    target: str
    how: str  # such as "leaving speakers out"
    clips: np.ndarray  # indices of those that take part
    labels: list[str]
    folds: list[str]
    groups: list[str]  # what the interval is over
    unit: str  # what a group is
    tested: list[str] | None = None


def check_folds(options: argparse.Namespace, targets: Sequence[str]) -> None:
    """Options that say how emotion is tested need a test of emotion by folds."""
    named = _of_emotion(options)
    if options.train is not None and (named or options.targets):
        raise ProbeError(
            f"{' and '.join(named) or '--targets'}: from --train to --test there is emotion alone, and no folds. "
            "Leave it out"
        )
    if named and "emotion" not in targets:
        raise ProbeError(f"{' and '.join(named)}: is about the folds of emotion, which --targets leaves out")
    if options.folds is not None and options.by != "speaker":
        raise ProbeError("--folds and --by each say what the folds are. Give one of them")


def _of_emotion(options: argparse.Namespace) -> list[str]:
    """Options given that say how emotion is tested."""
    values = {"--folds": options.folds, "--write-folds": options.write_folds, "--by": options.by == "text" or None}
    return [option for option, value in values.items() if value is not None]


def find_tasks(
    options: argparse.Namespace, settings: Configuration, clips: Clips, targets: Sequence[str]
) -> list[Task]:
    """What can be read out of these clips, and how; a sentence where something cannot, an error where nothing can."""
    if options.train is not None:
        return [_across(options, clips)]
    tasks: list[Task] = []
    reasons = []
    for target in targets:
        try:
            tasks.append({"emotion": _emotion, "speaker": _speaker, "text": _text}[target](options, settings, clips))
        except (ProbeError, SplitError) as error:
            if target == "emotion" and _of_emotion(options):
                raise
            reasons.append(error)
    if not tasks:
        raise reasons[0]
    say(*(str(reason) for reason in reasons))
    return tasks


def _across(options: argparse.Namespace, clips: Clips) -> Task:
    """Shared emotions, from all of some corpora to all of others."""
    labels = [shared_label(item.label) for item in clips.recordings]
    testing = [item.name.split("/")[0] in options.test for item in clips.recordings]
    common = {x for x, t in zip(labels, testing, strict=True) if t} & {
        x for x, t in zip(labels, testing, strict=True) if not t
    }
    part = np.array([i for i, label in enumerate(labels) if label in common - {""}], int)
    if len(common - {""}) < 2:
        raise ProbeError("probe: these corpora share fewer than two emotions")
    how = f"from {corpus_title(SEPARATOR.join(options.train))} to {corpus_title(SEPARATOR.join(options.test))}"
    folds = ["test" if testing[i] else "train" for i in part]
    speakers = [clips.recordings[i].speaker for i in part]
    return Task("emotion", how, part, [labels[i] for i in part], folds, speakers, "speakers", ["test"])


def _emotion(options: argparse.Namespace, settings: Configuration, clips: Clips) -> Task:
    """Of several corpora the shared emotions, so that none is known by the corpus that alone has its name."""
    several = SEPARATOR in settings.db
    all_labels = [shared_label(item.label) if several else item.label for item in clips.recordings]
    part = np.array([i for i, label in enumerate(all_labels) if label], int)
    recordings, labels = [clips.recordings[i] for i in part], [all_labels[i] for i in part]
    if len(set(labels)) < 2:
        raise ProbeError(f"probe: {settings.db} has labels of {len(set(labels))} emotions; at least two are needed")
    by_text = options.by == "text"
    groups, unit = ([_text_of(item) if by_text else item.speaker for item in recordings], f"{options.by}s")
    if options.folds is None:
        return Task("emotion", f"leaving {unit} out", part, labels, group_folds(groups, options.by), groups, unit)
    folds = find_folds(options.folds, recordings)
    groups, unit = (groups, unit) if all(groups) else (folds, "folds")
    return Task("emotion", f"folds of {options.folds}", part, labels, folds, groups, unit)


def _speaker(options: argparse.Namespace, settings: Configuration, clips: Clips) -> Task:
    """On texts that are left out, where it is known which they are."""
    speakers, texts = [item.speaker for item in clips.recordings], [_text_of(item) for item in clips.recordings]
    _check_known("speaker", speakers, settings)
    everything = np.arange(len(clips))
    if all(texts) and len(set(texts)) > 1:
        return Task("speaker", "leaving texts out", everything, speakers, group_folds(texts, "text"), texts, "texts")
    order = generator(settings.seed, "probe folds").permutation(len(clips)) % RANDOM_FOLDS
    folds = [str(i + 1) for i in order]
    return Task(
        "speaker", "random folds", everything, speakers, folds, [item.name for item in clips.recordings], "clips"
    )


def _text(options: argparse.Namespace, settings: Configuration, clips: Clips) -> Task:
    speakers, texts = [item.speaker for item in clips.recordings], [_text_of(item) for item in clips.recordings]
    _check_known("text", texts, settings)
    folds = group_folds(speakers)
    return Task("text", "leaving speakers out", np.arange(len(clips)), texts, folds, speakers, "speakers")


def _text_of(recording: Recording) -> str:
    return str(recording.details.get("text", ""))


def _check_known(target: str, labels: Sequence[str], settings: Configuration) -> None:
    names = set(labels) - {""}
    if "" in labels or len(names) < 2:
        raise ProbeError(
            f"probe: the {target} cannot be read out: it needs the {target} of every clip and at least 2 of them; "
            f"{settings.db} has {len(names)}, and {list(labels).count('')} of {len(labels)} clips without"
        )
