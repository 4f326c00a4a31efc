"""A corpus in shards: a mapped file of some thousand clips each, an index beside it, one manifest.

manifest.json           how the shards were made; of each its files, their checksums, how many clips train and test
<n>.csv                 of each clip of shard n in order: INDEX
clips/<content>.npy     its clips, as speech/clip.py writes them
left_out.csv            recordings that cannot be used, with the reasons

Nothing here needs memory for each clip: what is known of one lies in the index of its shard, of which few are open.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Sequence, Set
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np

from speech.clip import Clips
from speech.recording import CorpusError, Recording, printable
from speech.split import TEST_SHARE, VALIDATION_SHARE, Split
from storage.atomic import write_atomic
from storage.mapped import BLOCK_BYTES, OPEN_AT_ONCE, JoinedRows, map_array, take_rows
from storage.regular import read_regular_bytes
from storage.spreadsheet import TableReader, csv_lines

MANIFEST = "manifest.json"
INDEX = ("name", "label", "speaker", "part", "valid_samples", "offset", "scale", "content")
PARTS = ("train", "validation", "test")
COPY = "copy"  # the part of a clip that is in an earlier shard too
SHOWN = {"train": 128, "test": 256}  # clips that are judged and shown one by one: they are in memory
CURE = "Make the shards again: python -m training shards, with the options that they were made with"

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Shard(msgspec.Struct, forbid_unknown_fields=True):
    """One shard of a manifest: its files by name, their checksums, and how many of its rows belong to each part."""

    clips: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\.npy\Z")]
    index: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{5,9}\.csv\Z")]
    rows: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    parts: dict[str, _Count]
    clips_sha256: _Digest
    index_sha256: _Digest


class Manifest(msgspec.Struct, forbid_unknown_fields=True):
    """What manifest.json holds; `settings` are those of the preparation that decide over the clips and their parts."""

    settings: dict[str, Any]
    clip_samples: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    copies: _Count
    left_out: _Count
    shards: Annotated[list[Shard], msgspec.Meta(min_length=1)]


class Index(NamedTuple):
    """What is known of the clips of a shard, row by row."""

    recordings: list[Recording]
    part: np.ndarray
    valid: np.ndarray
    offset: np.ndarray
    scale: np.ndarray
    contents: list[str]


class Shards:
    """The clips of all shards in one row of numbers, the first shard's first.

    Parameters
    ----------
    folder : Path
        Where the manifest is.

    Attributes
    ----------
    samples : JoinedRows (n, clip_samples)
        For `take_rows`. The checksum of a shard is looked at when it is opened for the first time.
    names : Names
        Of the clips, by their numbers.
    sha256 : str
        Of the manifest, and so of everything.

    Raises
    ------
    CorpusError
        There is no manifest, or it is damaged. So where a shard is opened later.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            content = read_regular_bytes(folder / MANIFEST)
            self.manifest = msgspec.json.decode(content, type=Manifest)
        except OSError as error:
            raise CorpusError(
                f"shards: {printable(folder / MANIFEST)} cannot be read: {error.strerror}. Name with --data-dir the "
                "folder that python -m training shards has written to its end"
            ) from None
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise CorpusError(
                f"shards: {printable(folder / MANIFEST)} is not what was written ({error}). {CURE}"
            ) from None
        self.sha256 = hashlib.sha256(content).hexdigest()
        row = np.broadcast_to(np.float32(0), (self.manifest.clip_samples,))  # which needs no memory
        self.samples = JoinedRows([shard.rows for shard in self.manifest.shards], row, self._open)
        self.index = lru_cache(OPEN_AT_ONCE)(self._index)
        self.names = Names(self)
        self._checked: set[int] = set()

    def __len__(self) -> int:
        """The number of clips, copies among them."""
        return len(self.samples)

    def part(self, *names: str) -> Part:
        """The clips of one of PARTS, or of several together."""
        return Part(self, names)

    def parts(self, validate_on: str = "held-out") -> ShardSplit:
        """Which clips train, which decide when to stop, which test: as `split_clips` with `validate_on`."""
        train = self.part("train") if validate_on == "held-out" else self.part("train", "validation")
        return ShardSplit(train, self.part("validation" if validate_on == "held-out" else "test"), self.part("test"))

    def take(self, numbers: np.ndarray) -> Clips:
        """Some clips, in memory."""
        indices, rows = self._places(numbers)
        pairs = list(zip(indices, rows, strict=True))

        def column(name: str, dtype: Any) -> np.ndarray:
            return np.array([getattr(index, name)[row] for index, row in pairs], dtype)

        return Clips(
            take_rows(self.samples, numbers),
            column("offset", np.float32),
            column("scale", np.float32),
            column("valid", np.int64),
            tuple(index.recordings[row] for index, row in pairs),
            tuple(index.contents[row] for index, row in pairs),
            sha256=self.sha256,
        )

    def learned(self, contents: Set[str]) -> set[str]:
        """Which of some contents of clips train or decide when to stop."""
        known: set[str] = set()
        for number in range(len(self.manifest.shards)):
            index = self.index(number)
            learned = np.isin(index.part, ("train", "validation"))
            known |= contents & {
                content for content, is_learned in zip(index.contents, learned, strict=True) if is_learned
            }
        return known

    def shown(self) -> tuple[Clips, Split]:
        """The first clips that train and that test, and which of them is which.

        Recordings are shuffled before they are cut into shards, so these are drawn from all of them.
        """
        train, test = (self.part(name)[: SHOWN[name]] for name in SHOWN)
        numbers = np.arange(len(train) + len(test))
        nothing = numbers[:0]
        return self.take(np.concatenate([train, test])), Split(numbers[: len(train)], nothing, numbers[len(train) :])

    def _places(self, numbers: np.ndarray) -> tuple[list[Index], list[int]]:
        """Of each clip the index of its shard, and its row in there."""
        shards = np.searchsorted(self.samples.ends, numbers, side="right")
        rows = np.asarray(numbers) - self.samples.starts[shards]
        return [self.index(int(shard)) for shard in shards], rows.tolist()

    def _open(self, number: int) -> np.ndarray:
        """The clips of a shard, mapped from its file."""
        shard = self.manifest.shards[number]
        path = self.folder / "clips" / shard.clips
        try:
            array = map_array(path)
            if array.shape != (shard.rows, self.manifest.clip_samples) or array.dtype != np.float32:
                raise ValueError(f"{array.shape} {array.dtype}")
            if number not in self._checked and _digest(path, array.offset, array.nbytes) != shard.clips_sha256:
                raise ValueError("another checksum")
        except OSError as error:
            raise CorpusError(f"shards: {printable(path)} cannot be read: {error.strerror}. {CURE}") from None
        except ValueError as error:
            raise CorpusError(f"shards: {printable(path)} is damaged ({error}). {CURE}") from None
        self._checked.add(number)
        return array

    def _index(self, number: int) -> Index:
        shard = self.manifest.shards[number]
        path = self.folder / shard.index
        try:
            content = read_regular_bytes(path)
        except OSError as error:
            raise CorpusError(f"shards: {printable(path)} cannot be read: {error.strerror}. {CURE}") from None
        if hashlib.sha256(content).hexdigest() != shard.index_sha256:
            raise CorpusError(f"shards: {printable(path)} is damaged (another checksum). {CURE}")
        try:
            lines = list(TableReader(io.StringIO(content.decode("utf-8"), newline="")))
            index = Index(
                [Recording(line["name"], Path(), line["label"], line["speaker"]) for line in lines],
                np.array([line["part"] for line in lines]),
                np.array([line["valid_samples"] for line in lines], np.int64),
                np.array([line["offset"] for line in lines], np.float32),
                np.array([line["scale"] for line in lines], np.float32),
                [line["content"] for line in lines],
            )
            if Counter(index.part.tolist()) != shard.parts or len(lines) != shard.rows:
                raise ValueError("other parts than the manifest says")
            valid, level = index.valid, np.concatenate([index.offset, index.scale])
            if not ((valid > 0) & (valid <= self.manifest.clip_samples)).all() or not np.isfinite(level).all():
                raise ValueError("numbers that no clip has")
            return index
        except (ValueError, LookupError, TypeError, OverflowError, csv.Error) as error:
            raise CorpusError(f"shards: {printable(path)} is not what was written ({error!r}). {CURE}") from None


class Names:
    """The names of clips by their numbers, read when they are asked for."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards

    def __len__(self) -> int:
        """How many clips have one."""
        return len(self._shards)

    def __getitem__(self, number: Any) -> Any:
        """Of a clip."""
        [index], [row] = self._shards._places(np.array([number]))
        return index.recordings[row].name


class Part:
    """Numbers of the clips that train, or that test: shard by shard, and in each in the order of its rows, or shuffled.

    Parameters
    ----------
    shards : Shards
    names : sequence of str
        Of PARTS.
    seed : int or None
        Draws the order of the shards, and in each that of its clips; the order of the files, if None. The order
        depends on nothing else, and that of a shard is known without those before it.
    """

    def __init__(self, shards: Shards, names: Sequence[str], seed: int | None = None) -> None:
        self._shards, self._names, self._seed = shards, names, seed
        listed = shards.manifest.shards
        self._order = np.arange(len(listed)) if seed is None else np.random.default_rng(seed).permutation(len(listed))
        self._ends = np.cumsum([sum(listed[shard].parts.get(name, 0) for name in names) for shard in self._order])
        self._rows = lru_cache(2)(self._rows_of)  # a batch may end in one shard and begin in another

    def __len__(self) -> int:
        """How many."""
        return int(self._ends[-1])

    def __getitem__(self, some: slice, /) -> np.ndarray:
        """Neighbours in this order."""
        start, stop, _ = some.indices(len(self))
        parts = [np.empty(0, np.int64)]
        place = int(np.searchsorted(self._ends, start, side="right"))
        while start < stop:
            end = int(self._ends[place])
            rows = self._rows(place)
            first = end - len(rows)
            parts.append(rows[start - first : stop - first])
            start, place = end, place + 1
        return np.concatenate(parts)

    def shuffled(self, rng: np.random.Generator) -> Part:
        """The same clips in an order drawn from rng: of the shards, and within each of them."""
        return Part(self._shards, self._names, int(rng.integers(2**63)))

    def _rows_of(self, place: int) -> np.ndarray:
        shard = int(self._order[place])
        rows = np.flatnonzero(np.isin(self._shards.index(shard).part, self._names))
        if self._seed is not None:
            rows = np.random.default_rng([self._seed, shard]).permutation(rows)
        return rows + self._shards.samples.starts[shard]


class ShardSplit(NamedTuple):
    """The parts (speech/split.py) of shards."""

    train: Part
    validation: Part
    test: Part


def part_of(content: str, speaker: str, by: str, seed: int) -> str:
    """Which part a clip belongs to, by what it holds or who speaks: a copy of it belongs to the same one.

    As for speech/split.py 20 % test, and a tenth of the others is held out. By speaker, all clips of one test or none.
    """
    if _share(content if by == "random" else speaker, "test", seed) < TEST_SHARE:
        return "test"
    return "validation" if _share(content, "validation", seed) < VALIDATION_SHARE else "train"


def write_index(path: Path, clips: Clips, parts: Sequence[str]) -> str:
    """Write what is known of the clips of a shard; the checksum of the file."""
    numbers = zip(clips.valid.tolist(), clips.offset.tolist(), clips.scale.tolist(), clips.contents, strict=True)
    rows = (
        (recording.name, recording.label, recording.speaker, part, *about)
        for recording, part, about in zip(clips.recordings, parts, numbers, strict=True)
    )
    content = "".join(csv_lines([INDEX, *rows])).encode("utf-8", "backslashreplace")
    write_atomic(path, content)
    return hashlib.sha256(content).hexdigest()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, without which there are no shards."""
    write_atomic(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")


def _share(text: str, purpose: str, seed: int) -> float:
    """A number from 0 to 1 that a text is hashed to."""
    digest = hashlib.sha256(f"{seed} {purpose} {text}".encode("utf-8", "backslashreplace")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _digest(path: Path, start: int, size: int) -> str:
    """The SHA-256 of a part of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(start)
        while size and (block := file.read(min(size, BLOCK_BYTES))):
            digest.update(block)
            size -= len(block)
    return digest.hexdigest()
