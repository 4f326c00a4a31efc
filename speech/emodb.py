"""The Berlin Database of Emotional Speech: 535 recordings, ten speakers, seven emotions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from speech.recording import CorpusError, Recording
from storage.regular import check_regular

EMOTIONS = {
    "W": "anger",  # Wut, Ärger
    "L": "boredom",  # Langeweile
    "E": "disgust",  # Ekel
    "A": "fear",  # Angst
    "F": "happiness",  # Freude
    "T": "sadness",  # Trauer
    "N": "neutral",
}
CHECKSUMS = Path(__file__).with_name("emodb.sha256")
NAME = re.compile(r"(?P<speaker>\d\d)(?P<text>[ab]\d\d)(?P<emotion>[WLEAFTN])(?P<version>[a-z])")
DEPTH = 4  # folders on the way to the WAV files, each alone in the one before
LARYNGOGRAMS = re.compile(r"laryng[a-z]*|lary?|egg|lx", re.IGNORECASE)


def read_checksums(path: Path = CHECKSUMS) -> dict[str, str]:
    """The SHA-256 of every recording by its name, such as 03a01Fa, from a list as sha256sum writes it."""
    pairs = (line.split() for line in path.read_text("ascii").splitlines())
    return {name.removesuffix(".wav"): digest for digest, name in pairs}


def list_recordings(
    directory: Path, checksums: Mapping[str, str] | None = None
) -> tuple[list[Recording], list[tuple[str, str]]]:
    """The recordings of EmoDB below a directory, sorted by name, and what was left out with reasons.

    The WAV files are looked for in the directory, in its folder `wav`, and, where the directory holds a single folder,
    in that folder and its `wav`, and so on, three folders down. A folder of laryngograms is never looked into. A
    recording whose name is not among the 535 of the list (EmoDB 2.0 has 281 more) is left out. No file is opened but
    erkennung.txt.

    Parameters
    ----------
    directory : Path
        Where the corpus was unpacked.
    checksums : mapping or None
        Name -> SHA-256, the list of what belongs to the corpus; None for speech/emodb.sha256.

    Shapes
    ------
    directory -> [Recording, ...], [(name, reason), ...]. A recording's details are text and version and, where
    erkennung.txt is in the WAV files' folder or the one above, recognised_percent and natural_percent: how many of 20
    listeners recognised the emotion and found it natural.

    Raises
    ------
    CorpusError
        The directory cannot be read or is, by its name, the one of the laryngograms.

    Source
    ------
    Burkhardt, Paeschke, Rolfes, Sendlmeier, Weiss 2005, A database of German emotional speech, Interspeech.
    """
    listed = read_checksums() if checksums is None else checksums
    wav_files = _find_wav_files(directory)
    perception = _read_perception(wav_files)
    recordings, left_out = [], []
    for path in wav_files:
        parts = NAME.fullmatch(path.stem)
        if parts is None:
            left_out.append((path.stem, "its name does not read as speaker, text, emotion, version, as 03a01Fa does"))
        elif path.stem not in listed:
            left_out.append((path.stem, f"it is not one of the {len(listed)} recordings of EmoDB"))
        else:
            details = {"text": parts["text"], "version": parts["version"], **perception.get(path.stem, {})}
            recordings.append(Recording(path.stem, path, EMOTIONS[parts["emotion"]], parts["speaker"], details))
    return recordings, left_out


@dataclass(frozen=True)
class Check:
    """How the recordings found compare with the list: names that are missing and names whose content differs."""

    listed: int
    missing: tuple[str, ...]
    altered: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Every listed recording is there, bit for bit."""
        return not self.missing and not self.altered


def hashed(recordings: list[Recording]) -> list[Recording]:
    """The recordings with the SHA-256 of their files; None for one that cannot be read."""
    return [replace(recording, sha256=_sha256(recording.source)) for recording in recordings]


def check(recordings: list[Recording], checksums: Mapping[str, str] | None = None) -> Check:
    """Compare recordings with the list of SHA-256 sums; a file that cannot be read counts as altered."""
    listed = read_checksums() if checksums is None else checksums
    sums = {recording.name: recording.sha256 or _sha256(recording.source) for recording in recordings}
    return Check(
        listed=len(listed),
        missing=tuple(name for name in listed if name not in sums),
        altered=tuple(name for name, sha256 in sums.items() if sha256 != listed.get(name)),
    )


def _sha256(source: object) -> str | None:
    path = Path(str(source))
    try:
        check_regular(path)
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _find_wav_files(directory: Path) -> list[Path]:
    """The WAV files of the folder that holds most names of EmoDB, else of the first that holds any; sorted."""
    if LARYNGOGRAMS.fullmatch(directory.resolve().name):
        raise CorpusError(
            f"emodb: {directory} is named as a folder of laryngograms, which are not speech. Name the folder above it"
        )
    try:
        folders = [files for folder in _folders(directory) if (files := _wav_files_in(folder))]
    except OSError as error:
        raise CorpusError(f"emodb: {error.filename} cannot be read: {error.strerror}. Check its permissions") from None
    return max(folders, key=lambda files: sum(NAME.fullmatch(path.stem) is not None for path in files), default=[])


def _folders(folder: Path) -> Iterator[Path]:
    for _ in range(DEPTH):
        yield folder
        if (folder / "wav").is_dir():
            yield folder / "wav"
        inside = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__MACOSX"))]
        if len(inside) != 1 or inside[0].name == "wav" or _holds_laryngograms(inside[0].name):
            return
        folder = inside[0]


def _holds_laryngograms(name: str) -> bool:
    """One of the words of a folder's name says so."""
    return any(LARYNGOGRAMS.fullmatch(word) for word in re.split(r"[^A-Za-z]+", name))


def _wav_files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() == ".wav" and not path.name.startswith("."))


def _read_perception(wav_files: list[Path]) -> dict[str, dict[str, float]]:
    """Name -> its perception figures; empty where erkennung.txt is in none of its places."""
    folders = [wav_files[0].parent, wav_files[0].parent.parent] if wav_files else []
    path = next((folder / "erkennung.txt" for folder in folders if (folder / "erkennung.txt").is_file()), None)
    figures: dict[str, dict[str, float]] = {}
    if path is None:
        return figures
    try:
        lines = path.read_text("latin-1").splitlines()
    except OSError as error:
        raise CorpusError(f"emodb: {path} cannot be read: {error.strerror}. Check its permissions") from None
    for line in lines:
        # Tab-separated and padded with no-break spaces: number, file, recognised, natural, with decimal commas.
        cells = [cell.strip().replace(",", ".") for cell in line.split("\t")]
        if len(cells) == 4 and re.fullmatch(r"\d+(\.\d+)?", cells[2]) and re.fullmatch(r"\d+(\.\d+)?", cells[3]):
            name = cells[1].removesuffix(".wav")
            figures[name] = {"recognised_percent": float(cells[2]), "natural_percent": float(cells[3])}
    return figures
