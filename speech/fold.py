"""Folds: which recordings are tested together, so that no speaker is both learned from and tested on."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from speech.recording import Recording
from speech.split import SplitError
from storage.atomic import write_atomic
from storage.regular import read_regular
from storage.spreadsheet import TableReader, csv_lines

MOST_LEFT_OUT = 12  # speakers that are left out one by one; more of them share ten folds
GROUPED_FOLDS = 10


def group_folds(groups: Sequence[str], what: str = "speaker") -> list[str]:
    """The fold of each recording: each group is one where there are at most 12, else ten folds of whole groups.

    Ten folds are filled with the largest group first, each into the fold that holds the fewest recordings.

    Parameters
    ----------
    groups : sequence of str
        Of each recording: its speaker, or its text.
    what : str
        What they are, for the sentence of an error.

    Shapes
    ------
    (n,) -> (n,): names of groups, or 1 to 10

    Raises
    ------
    SplitError
        A recording has no group, or there are fewer than 2.
    """
    sizes = Counter(groups)
    if "" in sizes or len(sizes) < 2:
        raise SplitError(
            f"folds need the {what} of every recording and at least 2 of them; got {len(sizes.keys() - {''})} and "
            f"{sizes['']} recordings without. For a folder a manifest says it (--manifest)"
        )
    if len(sizes) <= MOST_LEFT_OUT:
        return list(groups)
    filled = dict.fromkeys(map(str, range(1, GROUPED_FOLDS + 1)), 0)
    fold_of = {}
    for group in sorted(sizes, key=lambda group: (-sizes[group], group)):
        fold_of[group] = min(filled, key=lambda fold: (filled[fold], int(fold)))
        filled[fold_of[group]] += sizes[group]
    return [fold_of[group] for group in groups]


def find_folds(source: str, recordings: Sequence[Recording]) -> list[str]:
    """The fold of each recording by "speaker", by "manifest", or by the file of folds that `source` names.

    Raises
    ------
    SplitError
        There is no such file or no fold for a recording, or a speaker is in two folds.
    """
    speakers = [recording.speaker for recording in recordings]
    if source == "speaker":
        return group_folds(speakers)
    if source == "manifest":
        folds = [str(recording.details.get("fold", "")) for recording in recordings]
        where = "the manifest"
    else:
        written = read_folds(Path(source))
        folds = [written.get(recording.name, "") for recording in recordings]
        where = source
    missing = [recording.name for recording, fold in zip(recordings, folds, strict=True) if not fold]
    if missing:
        raise SplitError(
            f"--folds: {where} has no fold for {len(missing)} recordings, {missing[0]} (so written) among them"
        )
    if len(set(folds)) < 2:
        raise SplitError(f"--folds: {where} has a single fold, {folds[0]}. Two at least are needed")
    fold_of: dict[str, str] = {}
    for speaker, fold in zip(speakers, folds, strict=True):
        if speaker and fold_of.setdefault(speaker, fold) != fold:
            raise SplitError(f"--folds: {where} has speaker {speaker} in two folds, {fold_of[speaker]} and {fold}")
    return folds


def fold_names(folds: Sequence[str]) -> list[str]:
    """Their names, 2 before 10."""
    return sorted(set(folds), key=lambda fold: (len(fold), fold))


def write_folds(path: Path, recordings: Sequence[Recording], folds: Sequence[str]) -> None:
    """Write the fold of each recording by its name, as CSV with the columns name and fold.

    Raises
    ------
    OSError
        The file cannot be written; nothing is left behind.
    """
    rows = ((recording.name, fold) for recording, fold in zip(recordings, folds, strict=True))
    write_atomic(path, "".join(csv_lines([("name", "fold"), *rows])).encode("utf-8"))


def read_folds(path: Path) -> dict[str, str]:
    """Name -> fold, from a CSV file with these two columns.

    Raises
    ------
    SplitError
        The file cannot be read, lacks a column, or names a recording twice.
    """
    try:
        reader = TableReader(io.StringIO(read_regular(path, "utf-8-sig"), newline=""))
        reader.fieldnames = [(column or "").strip().lower() for column in reader.fieldnames or ()]
        lines = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SplitError(
            f"--folds: cannot read {path}: {reason}. Give speaker, or a CSV file of name and fold"
        ) from None
    if not lines or not {"name", "fold"} <= lines[0].keys():
        raise SplitError(f"--folds: {path} needs a first line with name and fold, and recordings below it")
    folds: dict[str, str] = {}
    for line in lines:
        if line["name"] in folds:
            raise SplitError(f"--folds: {path} names {line['name']} twice")
        folds[line["name"]] = (line["fold"] or "").strip(" ")  # as a manifest's; a file's name may end with a blank
    return folds
