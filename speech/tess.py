"""Toronto Emotional Speech Set: 2,800 recordings, two actresses, seven emotions, 200 words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from speech.archive import find_named
from speech.recording import Recording, printable

RECORDINGS = 2800
EMOTIONS = {
    "angry": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happiness",
    "neutral": "neutral",
    "ps": "pleasant surprise",
    "sad": "sadness",
}
NAME = re.compile(  # one of them, OA_bite_neutral, lacks a letter
    rf"(?P<speaker>OAF|OA|YAF)_(?P<word>[a-z]+)_(?P<emotion>{'|'.join(EMOTIONS)})", re.IGNORECASE
)


def list_recordings(directory: Path) -> tuple[list[Recording], list[tuple[str, str]]]:
    """The recordings of TESS below a directory, sorted by name, and what was left out with reasons.

    Any nesting of folders is read: OAF_angry/OAF_back_angry.wav, TESS Toronto emotional speech set data/ twice, and all
    in one. No file is opened.

    Parameters
    ----------
    directory : Path
        Where the archive was unpacked.

    Shapes
    ------
    directory -> [Recording, ...], [(name, reason), ...]. A recording's details are sentence, which is the word, and
    text. Its speaker is OAF, who was 64, or YAF, who was 26.

    Raises
    ------
    CorpusError
        The directory cannot be read.

    Source
    ------
    Pichora-Fuller and Dupuis 2020, Toronto emotional speech set (TESS), Borealis, doi:10.5683/SP2/E8H2MF.
    """
    fitting, others = find_named("tess", directory, NAME)
    recordings = []
    for name, path in fitting:
        parts = NAME.fullmatch(name)
        assert parts is not None
        word = parts["word"].lower()
        details = {"sentence": word, "text": f"Say the word {word}"}
        speaker = {"OA": "OAF"}.get(parts["speaker"].upper(), parts["speaker"].upper())
        recordings.append(Recording(name, path, EMOTIONS[parts["emotion"].lower()], speaker, details))
    reason = "its name does not read as actress, word, emotion, as OAF_back_angry does"
    return recordings, [(name, reason) for name, _ in others]


def how_to_get(places: Sequence[Path], named: bool = False) -> str:
    """What to say where no recording was found: what was looked for where, what to download, where to put it.

    `named` says that the place is one that --data-dir named.
    """
    return (
        f"tess: no recordings under {' or '.join(map(printable, places))} (looked for "
        "OAF_angry/OAF_back_angry.wav at any depth). See docs/corpora.md for how to get them\n"
        "To get it: download the archive from https://doi.org/10.5683/SP2/E8H2MF (CC BY-NC-ND 4.0)\n"
        f"To put it: unpack it so that {printable(places[-1] / 'OAF_angry')} is there"
        + ("" if named else ", or name where it is with --data-dir")
    )
