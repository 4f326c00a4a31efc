"""Surrey Audio-Visual Expressed Emotion: 480 recordings, four speakers, seven emotions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from speech.recording import CorpusError, Recording, printable

RECORDINGS = 480
EMOTIONS = {
    "a": "anger",
    "d": "disgust",
    "f": "fear",
    "h": "happiness",
    "n": "neutral",
    "sa": "sadness",
    "su": "surprise",
}
NAME = re.compile(r"(?P<speaker>DC|JE|JK|KL)_(?P<emotion>sa|su|a|d|f|h|n)(?P<sentence>\d\d)")


def list_recordings(directory: Path) -> tuple[list[Recording], list[tuple[str, str]]]:
    """The recordings of SAVEE below a directory, sorted by name, and what was left out with reasons.

    Both layouts in use are read: AudioData/DC/a01.wav and ALL/DC_a01.wav, where the directory may itself be AudioData
    or ALL, or have them one or two folders further down. Of several the one with most recordings is taken. No
    file is opened.

    Parameters
    ----------
    directory : Path
        Where the corpus was unpacked.

    Shapes
    ------
    directory -> [Recording, ...], [(name, reason), ...]. Names are those of the second layout, such as DC_a01, in both.

    Raises
    ------
    CorpusError
        The directory cannot be read.

    Source
    ------
    Haq and Jackson 2009, Speaker-dependent audio-visual emotion recognition, AVSP. File names: its AudioData/Info.txt.
    """
    below = _subfolders(directory)
    layouts = [
        read(folder)
        for base in (directory, *below, *(folder for parent in below for folder in _subfolders(parent)))
        for read, name in ((_by_speaker, "AudioData"), (_all_in_one, "ALL"))
        for folder in (base / name, base)
    ]
    files = max(layouts, key=lambda names: sum(NAME.fullmatch(name) is not None for name in names))
    if not any(NAME.fullmatch(name) for name in files):
        return [], []
    recordings, left_out = [], []
    for name, path in sorted(files.items()):
        if parts := NAME.fullmatch(name):
            details = {"sentence": parts["sentence"]}
            recordings.append(Recording(name, path, EMOTIONS[parts["emotion"]], parts["speaker"], details))
        else:
            left_out.append((name, "its name does not read as speaker, emotion, sentence, as DC_a01 does"))
    return recordings, left_out


def how_to_get(places: Sequence[Path], named: bool = False) -> str:
    """What to say where no recording was found: what was looked for where, what to request, where to put it.

    `named` says that the place is one that --data-dir named.
    """
    folder = places[-1] / "AudioData"
    unpack = f"unpack it so that {printable(folder / 'DC' / 'a01.wav')} is there"
    return (
        f"savee: no recordings under {' or '.join(map(printable, places))} (looked for AudioData/DC/a01.wav and "
        "ALL/DC_a01.wav). See docs/corpora.md for how to get them\n"
        "To request: register at the University of Surrey, http://kahlan.eps.surrey.ac.uk/savee/, and download the "
        "audio data (free for research)\n"
        f"To put it: {unpack}" + ("" if named else ", or name where it is with --data-dir")
    )


def _by_speaker(folder: Path) -> dict[str, Path]:
    """The files of DC/a01.wav, ... as DC_a01, ..."""
    return {
        f"{speaker}_{path.stem}": path
        for speaker in ("DC", "JE", "JK", "KL")
        for path in _wav_files_in(folder / speaker)
    }


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise CorpusError(
            f"savee: {printable(folder)} cannot be read: {error.strerror}. Check its permissions"
        ) from None


def _all_in_one(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in _wav_files_in(folder)}


def _wav_files_in(folder: Path) -> list[Path]:
    try:
        if not folder.is_dir():
            return []
        return [path for path in folder.iterdir() if path.suffix.lower() == ".wav" and not path.name.startswith(".")]
    except OSError as error:
        raise CorpusError(
            f"savee: {printable(folder)} cannot be read: {error.strerror}. Check its permissions"
        ) from None
