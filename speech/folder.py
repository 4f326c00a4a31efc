"""Any directory of audio files as a corpus: the first subfolder is the label."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import soundfile

from speech.recording import CorpusError, Recording, printable

# A .raw file says neither its rate nor its format. The others are formats that libsndfile knows by another name.
SUFFIXES = {"." + name.lower() for name in soundfile.available_formats()} - {".raw"} | {
    *(".aif", ".aifc", ".snd", ".oga", ".opus", ".mp2", ".wave", ".bwf", ".sph", ".sf"),
}


def list_recordings(directory: Path) -> tuple[list[Recording], list[tuple[str, str]]]:
    """Every audio file below a directory, sorted by path, and the folders that could not be read.

    A file counts by its suffix; none is opened. Names that start with a dot, AppleDouble files (._x) among them, are
    skipped. Links to folders are followed, each folder once.

    Parameters
    ----------
    directory : Path
        Where to look.

    Shapes
    ------
    directory -> [Recording, ...], [(name, reason), ...]. The name is the path below the directory with / and without
    the suffix, or with it where two files differ in nothing else; the label is the first folder of that path, else "".

    Raises
    ------
    CorpusError
        The directory itself cannot be read.
    """
    paths: list[Path] = []
    left_out: list[tuple[str, str]] = []

    def note_unreadable(error: OSError) -> None:
        if Path(error.filename) == directory:
            raise CorpusError(f"folder: {printable(directory)} cannot be read: {error.strerror}. Check its permissions")
        left_out.append(
            (printable(Path(error.filename).relative_to(directory).as_posix()), f"unreadable: {error.strerror}")
        )

    seen = {directory.resolve()}
    for folder, subfolders, files in os.walk(directory, onerror=note_unreadable, followlinks=True):
        below = []
        for name in sorted(subfolders):
            place = (Path(folder) / name).resolve()
            if not name.startswith(".") and place not in seen:  # a link may lead back to where we came from
                seen.add(place)
                below.append(name)
        subfolders[:] = below
        paths.extend(
            Path(folder, name) for name in files if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
        )

    relative = sorted(path.relative_to(directory) for path in paths)
    recordings = [
        Recording(name, directory / path, label=path.parts[0] if len(path.parts) > 1 else "")
        for name, path in zip(unique_names(relative), relative, strict=True)
    ]
    return recordings, left_out


def unique_names(paths: list[Path]) -> list[str]:
    """Different paths without their suffix, or with it where the name would stand for two files."""
    names = [printable(path.with_suffix("").as_posix()) for path in paths]
    while doubled := {name for name, times in Counter(names).items() if times > 1}:
        names = [
            printable(path.as_posix()) if name in doubled else name for path, name in zip(paths, names, strict=True)
        ]
    return names
