"""Find the files of an unpacked archive by their names, however deep somebody nested its folders."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from speech.recording import CorpusError, Recording
from storage.regular import check_regular

LARGEST_POINTER = 1024  # bytes; Git LFS keeps below it
POINTER = b"version https://git-lfs.github.com/spec/"
Files = list[tuple[str, Path]]


def find_named(corpus: str, directory: Path, pattern: re.Pattern[str], suffix: str = ".wav") -> tuple[Files, Files]:
    """The files below a directory whose names fit, and those whose names do not; no file is opened.

    Re-uploads of a corpus often hold its folders twice, one copy inside the other: of files with one name the one that
    lies highest is taken, then the first by path. Names that start with a dot and the folder __MACOSX are skipped,
    links to folders are not followed.

    Parameters
    ----------
    corpus : str
        Begins the sentence of an error.
    directory : Path
        Where the corpus was unpacked.
    pattern : compiled regular expression
        Must fit the whole name without the suffix.
    suffix : str
        In lower case; files with another one are no recordings.

    Shapes
    ------
    -> [(name without suffix, path), ...], those whose names do not fit in the same form; both sorted by name

    Raises
    ------
    CorpusError
        The directory, or a folder in it, cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise CorpusError(f"{corpus}: {error.filename} cannot be read: {error.strerror}. Check its permissions")

    paths: list[Path] = []
    for folder, subfolders, names in os.walk(directory, onerror=refuse):
        subfolders[:] = [name for name in subfolders if not name.startswith((".", "__MACOSX"))]
        paths += [Path(folder, name) for name in names if name.lower().endswith(suffix) and not name.startswith(".")]
    fitting: dict[str, Path] = {}
    others: dict[str, Path] = {}
    for path in sorted(paths, key=lambda path: (len(path.parts), path)):
        (fitting if pattern.fullmatch(path.stem) else others).setdefault(path.stem, path)
    return sorted(fitting.items()), sorted(others.items())


def lfs_pointers(recordings: Sequence[Recording]) -> list[Recording]:
    """Those whose file is a Git LFS pointer: three lines of text that a clone without LFS leaves instead of audio.

    Only files small enough to be one are opened; one that cannot be is left to whoever reads it as audio.

    Source
    ------
    https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
    """
    return [
        recording for recording in recordings if isinstance(recording.source, Path) and _is_pointer(recording.source)
    ]


def _is_pointer(path: Path) -> bool:
    try:
        check_regular(path)
        if path.stat().st_size >= LARGEST_POINTER:
            return False
        with path.open("rb") as file:
            return file.read(len(POINTER)) == POINTER
    except OSError:
        return False
