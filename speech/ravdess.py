"""Ryerson Audio-Visual Database of Emotional Speech and Song: its 1,440 recordings of speech, 24 actors, 8 emotions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from speech.archive import find_named
from speech.recording import Recording, printable

RECORDINGS = 1440  # 24 actors with 60 each: two sentences, twice, in 15 combinations of emotion and intensity
EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happiness",
    "04": "sadness",
    "05": "anger",
    "06": "fear",
    "07": "disgust",
    "08": "surprise",
}
SENTENCES = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}
INTENSITIES = {"01": "normal", "02": "strong"}
NAME = re.compile(
    r"(?P<modality>0[123])-(?P<channel>0[12])-(?P<emotion>0[1-8])-(?P<intensity>0[12])-(?P<sentence>0[12])-"
    r"(?P<repetition>0[12])-(?P<speaker>0[1-9]|1\d|2[0-4])"
)


def list_recordings(directory: Path) -> tuple[list[Recording], list[tuple[str, str]]]:
    """The recordings of RAVDESS speech below a directory, sorted by name, and what was left out with reasons.

    Any nesting of folders is read: Audio_Speech_Actors_01-24/Actor_01/03-01-01-01-01-01-01.wav, Actor_01/... and all in
    one. Songs are left out, and so is the sound of videos under a name that says so. No file is opened.

    Parameters
    ----------
    directory : Path
        Where the archive was unpacked.

    Shapes
    ------
    directory -> [Recording, ...], [(name, reason), ...]. A recording's details are sentence, text, intensity and
    repetition; its speaker is 01 to 24, women have even numbers.

    Raises
    ------
    CorpusError
        The directory cannot be read.

    Source
    ------
    Livingstone and Russo 2018, The Ryerson Audio-Visual Database of Emotional Speech and Song, PLoS ONE 13(5),
    e0196391.
    """
    fitting, others = find_named("ravdess", directory, NAME)
    reason = "its name does not read as seven numbers from modality to actor, as 03-01-05-01-02-01-12 does"
    recordings, left_out = [], [(name, reason) for name, _ in others]
    for name, path in fitting:
        parts = NAME.fullmatch(name)
        assert parts is not None
        if parts["channel"] == "02":
            left_out.append((name, "it is a song"))
        elif parts["modality"] != "03":
            left_out.append((name, "it belongs to a video; the audio-only recording has the same name with 03 first"))
        else:
            details = {
                "sentence": parts["sentence"],
                "text": SENTENCES[parts["sentence"]],
                "intensity": INTENSITIES[parts["intensity"]],
                "repetition": parts["repetition"],
            }
            recordings.append(Recording(name, path, EMOTIONS[parts["emotion"]], parts["speaker"], details))
    return recordings, sorted(left_out)


def how_to_get(places: Sequence[Path], named: bool = False) -> str:
    """What to say where no recording was found: what was looked for where, what to download, where to put it.

    `named` says that the place is one that --data-dir named.
    """
    return (
        f"ravdess: no recordings under {' or '.join(map(printable, places))} (looked for "
        "Actor_12/03-01-05-01-02-01-12.wav at any depth). See docs/corpora.md for how to get them\n"
        "To get it: download Audio_Speech_Actors_01-24.zip from https://zenodo.org/records/1188976 (200 MB, CC "
        "BY-NC-SA 4.0)\n"
        f"To put it: unpack it so that {printable(places[-1] / 'Actor_01')} is there"
        + ("" if named else ", or name where it is with --data-dir")
    )
