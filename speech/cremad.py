"""Crowd-sourced Emotional Multimodal Actors Dataset: 7,442 recordings, 91 actors, 6 emotions, 12 sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from speech.archive import find_named
from speech.recording import Recording, printable

RECORDINGS = 7442
EMOTIONS = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happiness",
    "NEU": "neutral",
    "SAD": "sadness",
}
SENTENCES = {
    "IEO": "It's eleven o'clock",
    "TIE": "That is exactly what happened",
    "IOM": "I'm on my way to the meeting",
    "IWW": "I wonder what this is about",
    "TAI": "The airplane is almost full",
    "MTI": "Maybe tomorrow it will be cold",
    "IWL": "I would like a new alarm clock",
    "ITH": "I think I have a doctor's appointment",
    "DFA": "Don't forget a jacket",
    "ITS": "I think I've seen this before",
    "TSI": "The surface is slick",
    "WSI": "We'll stop in a couple of minutes",
}
INTENSITIES = {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified", "X": "unspecified"}
NAME = re.compile(  # one of them, 1040_ITH_SAD_X, ends with a single X
    rf"(?P<speaker>10(?:0[1-9]|[1-8]\d|9[01]))_(?P<sentence>{'|'.join(SENTENCES)})_(?P<emotion>{'|'.join(EMOTIONS)})_"
    rf"(?P<intensity>{'|'.join(INTENSITIES)})"
)
UNUSABLE = {  # in every copy of the corpus
    "1076_MTI_SAD_XX": "it holds no sound, in every copy of the corpus",
    "1064_IEO_DIS_MD": "it holds the sentence in every emotion, in every copy of the corpus",
}


def list_recordings(directory: Path) -> tuple[list[Recording], list[tuple[str, str]]]:
    """The recordings of CREMA-D below a directory, sorted by name, and what was left out with reasons.

    Any nesting of folders is read: AudioWAV/1001_DFA_ANG_XX.wav as in the repository, and all in one. The MP3 files of
    the repository are the same recordings and are not looked at. No file is opened.

    Parameters
    ----------
    directory : Path
        Where the corpus was cloned or unpacked.

    Shapes
    ------
    directory -> [Recording, ...], [(name, reason), ...]. A recording's details are sentence, text and intensity; its
    label is the emotion that the actor was asked for, its speaker 1001 to 1091.

    Raises
    ------
    CorpusError
        The directory cannot be read.

    Source
    ------
    Cao, Cooper, Keutmann, Gur, Nenkova and Verma 2014, CREMA-D: Crowd-sourced Emotional Multimodal Actors Dataset, IEEE
    Transactions on Affective Computing 5(4).
    """
    fitting, others = find_named("cremad", directory, NAME)
    reason = "its name does not read as actor, sentence, emotion, intensity, as 1001_DFA_ANG_XX does"
    recordings, left_out = [], [(name, reason) for name, _ in others]
    for name, path in fitting:
        parts = NAME.fullmatch(name)
        assert parts is not None
        if name in UNUSABLE:
            left_out.append((name, UNUSABLE[name]))
        else:
            details = {
                "sentence": parts["sentence"],
                "text": SENTENCES[parts["sentence"]],
                "intensity": INTENSITIES[parts["intensity"]],
            }
            recordings.append(Recording(name, path, EMOTIONS[parts["emotion"]], parts["speaker"], details))
    return recordings, sorted(left_out)


def how_to_get(places: Sequence[Path], named: bool = False) -> str:
    """What to say where no recording was found: what was looked for where, what to clone, where to put it.

    `named` says that the place is one that --data-dir named.
    """
    return (
        f"cremad: no recordings under {' or '.join(map(printable, places))} (looked for "
        "AudioWAV/1001_DFA_ANG_XX.wav at any depth). See docs/corpora.md for how to get them\n"
        "To get it: install Git LFS (git lfs install), then git clone "
        "https://github.com/CheyneyComputerScience/CREMA-D (Open Database License)\n"
        f"To put it: let {printable(places[-1] / 'AudioWAV')} be there"
        + ("" if named else ", or name where it is with --data-dir")
    )
