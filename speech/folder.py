"""Any directory of audio files as a corpus: the first subfolder is the label."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

from speech.container import CONVERT, FOREIGN, READ
from speech.recording import CorpusError, Recording, printable
from storage.regular import read_regular

RUN_MARKER = ".nn1d-run.json"  # training/ownership.py writes it


def list_recordings(directory: Path, runs: list[Path] | None = None) -> tuple[list[Recording], list[tuple[str, str]]]:
    """Every audio file below a directory, sorted by path, and what cannot be read.

    A file counts by its suffix; none is opened. Names that start with a dot, AppleDouble files (._x) among them, are
    skipped, and so are folders that train.py wrote a run into. Links to folders are followed, each folder once.

    Parameters
    ----------
    directory : Path
        Where to look.
    runs : list or None
        Takes up the folders of runs that were passed over.

    Shapes
    ------
    directory -> [Recording, ...], [(name, reason), ...]. The name is the path below the directory with / and without
    the suffix, or with it where two files differ in nothing else; the label is the first folder of that path, else "".
    Left out are folders that cannot be read, and audio files of kinds that libsndfile does not read.

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
        left_out.append((_name(Path(error.filename).relative_to(directory)), f"unreadable: {error.strerror}"))

    seen = {directory.resolve()}
    for folder, subfolders, files in os.walk(directory, onerror=note_unreadable, followlinks=True):
        if {"config.json", RUN_MARKER} & set(files) and Path(folder) != directory and is_run(Path(folder)):
            subfolders[:] = []
            if runs is not None:
                runs.append(Path(folder))
            continue
        below = []
        for name in sorted(subfolders):
            place = (Path(folder) / name).resolve()
            if not name.startswith(".") and place not in seen:  # a link may lead back to where we came from
                seen.add(place)
                below.append(name)
        subfolders[:] = below
        for name in files:
            suffix = Path(name).suffix.lower()
            if name.startswith("."):
                continue
            if suffix in READ:
                paths.append(Path(folder, name))
            elif suffix in FOREIGN:
                left_out.append((_name(Path(folder, name).relative_to(directory)), _foreign_reason(suffix)))

    relative = sorted(path.relative_to(directory) for path in paths)
    recordings = [
        Recording(name, directory / path, label=_name(path.parts[0]) if len(path.parts) > 1 else "")
        for name, path in zip(unique_names(relative), relative, strict=True)
    ]
    return recordings, sorted(left_out)


def _foreign_reason(suffix: str) -> str:
    """Why an audio file of such a suffix is not read, and what to do."""
    if suffix in (".raw", ".pcm"):
        return (
            f"a {suffix} file does not say its sample rate and format. Convert it, for example with: ffmpeg -f s16le "
            f"-ar 16000 -ac 1 -i FILE FILE.wav"
        )
    return f"libsndfile does not read {suffix}. {CONVERT}"


def is_run(folder: Path) -> bool:
    """Whether train.py wrote a run into a folder; its config.json or its marker says so."""
    for name, keys in (("config.json", {"settings", "split", "clips_sha256"}), (RUN_MARKER, {"run", "files"})):
        try:
            content = json.loads(read_regular(folder / name))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(content, dict) and keys <= set(content):
            return True
    return False


def passed_over(runs: list[Path]) -> list[str]:
    """The sentence about folders of runs among recordings; none where there are none."""
    return [f"folder: passed over {len(runs)} folders of runs in it, such as {printable(runs[0])}"] if runs else []


def unique_names(paths: list[Path]) -> list[str]:
    """Different paths without their suffix, or with it where the name would stand for two files."""
    names = [_name(path.with_suffix("")) for path in paths]
    while doubled := {name for name, times in Counter(names).items() if times > 1}:
        names = [_name(path) if name in doubled else name for path, name in zip(paths, names, strict=True)]
    return names


def _name(path: Path | str) -> str:
    """A path with / that can always be printed and written."""
    return printable(Path(path).as_posix())
