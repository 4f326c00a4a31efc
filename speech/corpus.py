"""Find a corpus by name: which directory, which recordings, what there is to say about them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType

from speech import cremad, demo, emodb, folder, ravdess, savee, tess
from speech.archive import lfs_pointers
from speech.cache import user_cache
from speech.download import URL, download_emodb
from speech.manifest import read_manifest
from speech.recording import CorpusError, Recording, printable

REQUESTED: dict[str, ModuleType] = {"savee": savee, "ravdess": ravdess, "cremad": cremad, "tess": tess}
NAMES = ("demo", "emodb", *REQUESTED, "folder")
TITLES = {
    "emodb": "Berlin EmoDB",
    "savee": "SAVEE",
    "ravdess": "RAVDESS speech",
    "cremad": "CREMA-D",
    "tess": "TESS",
    "folder": "own recordings",
    "demo": "demo corpus",
    "shards": "prepared shards",
}
SEPARATOR = "+"  # emodb+savee are two corpora taken as one


@dataclass(frozen=True)
class Corpus:
    """What was found.

    Parameters
    ----------
    name : str
        One of NAMES, or several joined by +.
    directory : Path or None
        Where it was found; None for demo, which is made by the program, and for several corpora.
    recordings : list of Recording
        What can be read.
    left_out : list of (name, reason)
        What stands in the directory but does not belong to the corpus.
    notes : list of str
        Sentences to print: how the corpus differs from the published one, what was downloaded.
    """

    name: str
    directory: Path | None
    recordings: list[Recording]
    left_out: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_corpus(
    name: str,
    data_dir: Path | None = None,
    *,
    count: int = 70,
    seed: int = 0,
    download: bool = True,
    progress: bool = False,
    cache_dir: Path | None = None,
    url: str = URL,
    checksums: Mapping[str, str] | None = None,
    manifest: Path | None = None,
    verify: bool = True,
) -> Corpus:
    """Find the recordings of a corpus: in data_dir, else in $NN1D_DATA/<name>, else in <cache>/<name>.

    emodb is downloaded to the cache where none of them holds a recording. Its files are compared with
    speech/emodb.sha256; altered ones are used where data_dir names the directory and left out elsewhere. folder has
    data_dir only. Git LFS pointers are left out.

    Several corpora, such as emodb+savee, are found one after the other; names and speakers then begin with the corpus:
    emodb/03a01Fa, spoken by emodb/03.

    Parameters
    ----------
    name : str
        One of NAMES, or several joined by +.
    data_dir : Path or None
        The directory of the corpus; the only place looked into where it is given. For several corpora, the directory
        that holds one folder for each.
    count, seed : int
        How many clips demo has, and which.
    download : bool
        Whether emodb may be downloaded.
    progress : bool
        Show a bar on stderr where that is a terminal.
    cache_dir : Path or None
        None is the user's cache folder, such as ~/.cache/nn1d.
    url, checksums : str, mapping or None
        Where emodb is downloaded from and what belongs to it; None for speech/emodb.sha256.
    manifest : Path or None
        For folder, the table that lists its recordings: speech/manifest.py.
    verify : bool
        Compare the files of emodb with the checksums. Off, no recording is opened.

    Raises
    ------
    CorpusError
        There is no such corpus, no such directory or no recording in it; the message says how to get it. Or all of its
        files are Git LFS pointers.
    """
    if manifest is not None and name != "folder":
        raise CorpusError(f"--manifest: is for --db folder; {name} says itself what its recordings are")
    if SEPARATOR in name:
        names = name.split(SEPARATOR)
        if len(set(names)) < len(names) or "folder" in names:
            raise CorpusError(f"corpus: several must differ, and none may be folder; got {', '.join(names)}")
        find = partial(
            find_corpus,
            count=count, seed=seed, download=download, progress=progress, cache_dir=cache_dir, url=url,
            checksums=checksums, verify=verify,
        )  # fmt: skip
        return _joined(
            name, [find(single, None if single == "demo" else data_dir and data_dir / single) for single in names]
        )
    if name not in NAMES:
        raise CorpusError(f"corpus: there is no {name!r}; choose one of {', '.join(NAMES)}")
    if name == "demo":
        if data_dir is not None:
            raise CorpusError(
                f"demo: is made by the program and reads no directory; got {printable(data_dir)}. Drop --data-dir"
            )
        return Corpus(name, None, demo.list_recordings(count, seed))
    if data_dir is not None and not _is_directory(name, data_dir):
        what = "is a file" if data_dir.exists() else "does not exist"
        raise CorpusError(f"{name}: the directory {printable(data_dir)} {what}. Check the spelling of --data-dir")
    if name == "folder" and data_dir is None:
        raise CorpusError("folder: needs a directory of audio files; got none. Name it with --data-dir")

    cache_dir = user_cache() if cache_dir is None else cache_dir
    places = [data_dir] if data_dir is not None else _places(name, cache_dir)
    runs: list[Path] = []
    for directory in places:
        recordings, left_out = _list(name, directory, checksums, runs, manifest)
        if recordings:
            break
    notes = folder.passed_over(runs)
    if not recordings and name == "emodb" and data_dir is None and download:
        download_emodb(directory, url, checksums, progress)
        recordings, left_out = _list(name, directory, checksums, runs)
        notes.append(f"emodb: downloaded from {url} to {printable(directory)}")
    if not recordings:
        raise CorpusError(_how_to_get(name, places, left_out, named=data_dir is not None))
    recordings, left_out = _without_pointers(name, directory, recordings, left_out)

    if name == "emodb" and verify:
        recordings, left_out, note = _checked(
            emodb.hashed(recordings), left_out, checksums, use_altered=data_dir is not None
        )
        notes += note
    if name in REQUESTED:
        whole, unusable = REQUESTED[name].RECORDINGS, set(getattr(REQUESTED[name], "UNUSABLE", ()))
        present = len(recordings) + sum(item in unusable for item, _ in left_out)
        if present != whole:
            notes.append(f"{name}: {present} of its {whole} recordings are under {printable(directory)}")
    return Corpus(name, directory, recordings, left_out, notes)


def corpus_title(name: str) -> str:
    """What a page calls a corpus, or several: Berlin EmoDB, SAVEE and TESS."""
    *others, last = (TITLES[single] for single in name.split(SEPARATOR))
    return f"{', '.join(others)} and {last}" if others else last


def spread(recordings: Sequence[Recording], limit: int | None) -> list[Recording]:
    """At most `limit` recordings, evenly spaced over the list and in its order; None is all of them.

    Raises
    ------
    ValueError
        limit < 1.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"spread: the limit must be at least 1 recording; got {limit}")
    if limit is None or limit >= len(recordings):
        return list(recordings)
    return [recordings[i * len(recordings) // limit] for i in range(limit)]


def _places(name: str, cache_dir: Path) -> list[Path]:
    data = os.environ.get("NN1D_DATA")
    return ([Path(data) / name] if data else []) + [cache_dir / name]


def _joined(name: str, corpora: Sequence[Corpus]) -> Corpus:
    """Several corpora as one; names and speakers begin with the corpus, so that they stay apart."""
    recordings = [
        dataclasses.replace(
            recording,
            name=f"{corpus.name}/{recording.name}",
            speaker=f"{corpus.name}/{recording.speaker}" if recording.speaker else "",
        )
        for corpus in corpora
        for recording in corpus.recordings
    ]
    left_out = [(f"{corpus.name}/{item}", reason) for corpus in corpora for item, reason in corpus.left_out]
    notes = [note for corpus in corpora for note in corpus.notes]
    return Corpus(name, None, recordings, left_out, notes)


def _without_pointers(
    name: str, directory: Path, recordings: list[Recording], left_out: list[tuple[str, str]]
) -> tuple[list[Recording], list[tuple[str, str]]]:
    pointers = {recording.name for recording in lfs_pointers(recordings)}
    cure = f"In the clone: git lfs install && git lfs pull, where {printable(directory)} is"
    if pointers and len(pointers) == len(recordings):
        raise CorpusError(f"{name}: all {len(pointers)} recordings are Git LFS pointers instead of audio. {cure}")
    left_out = left_out + [(item, f"a Git LFS pointer instead of audio. {cure}") for item in sorted(pointers)]
    return [recording for recording in recordings if recording.name not in pointers], left_out


def _list(
    name: str,
    directory: Path,
    checksums: Mapping[str, str] | None,
    runs: list[Path],
    manifest: Path | None = None,
) -> tuple[list[Recording], list[tuple[str, str]]]:
    if not _is_directory(name, directory):
        return [], []
    if manifest is not None:
        return read_manifest(manifest, directory), []
    if name == "emodb":
        return emodb.list_recordings(directory, checksums)
    if name == "folder":
        return folder.list_recordings(directory, runs)
    recordings, left_out = REQUESTED[name].list_recordings(directory)
    return recordings, left_out


def _is_directory(name: str, path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError as error:
        raise CorpusError(
            f"{name}: {printable(path)} cannot be read: {error.strerror}. Check its permissions"
        ) from None


def _how_to_get(name: str, places: list[Path], left_out: list[tuple[str, str]], named: bool) -> str:
    if name in REQUESTED:
        return str(REQUESTED[name].how_to_get(places, named))
    where = " or ".join(map(printable, places))
    others = f"; {len(left_out)} WAV files there are not of EmoDB" if left_out else ""
    if name == "emodb":
        return (
            f"emodb: no recordings under {where} (looked for 03a01Fa.wav and wav/03a01Fa.wav{others}). "
            + ("Leave --data-dir out" if named else "Run `python train.py --db emodb`")
            + " to have them downloaded, or see docs/corpora.md"
        )
    others = f". {len(left_out)} cannot be used, such as {left_out[0][0]}: {left_out[0][1]}" if left_out else ""
    looked_for = "looked for .wav, .flac, .ogg, .mp3 and what else libsndfile reads"
    return f"folder: no audio files under {where} ({looked_for}){others}"


def _checked(
    recordings: list[Recording],
    left_out: list[tuple[str, str]],
    checksums: Mapping[str, str] | None,
    use_altered: bool,
) -> tuple[list[Recording], list[tuple[str, str]], list[str]]:
    """Compare EmoDB with its list: what to use of it, what not, and the sentence to print where it differs."""
    result = emodb.check(recordings, checksums)
    extra = sum(1 for name, _ in left_out if emodb.NAME.fullmatch(name))
    parts = []
    if result.missing:
        parts.append(f"{len(result.missing)} are missing")
    if result.altered:
        treatment = "used as they are" if use_altered else "left out"
        parts.append(f"{len(result.altered)} are altered ({treatment})")
    if extra:
        parts.append(f"{extra} more are there that do not belong to it (left out)")
    notes = [f"emodb: of the {result.listed} recordings in speech/emodb.sha256 {', '.join(parts)}"] if parts else []
    if result.altered and not use_altered:
        altered = set(result.altered)
        left_out = [
            *left_out,
            *(
                (name, "altered: its SHA-256 is not the listed one; --data-dir uses it anyway")
                for name in result.altered
            ),
        ]
        recordings = [recording for recording in recordings if recording.name not in altered]
        if not recordings:
            raise CorpusError(f"{notes[0]}. Name the directory with --data-dir to use them anyway")
    return recordings, left_out, notes
