"""Recordings become shards (speech/shard.py): python -m training shards --db folder --data-dir DIR --out SHARDS

A shard that is there, of the same recordings and settings, is not made again, so what was killed goes on. Threads read
recordings side by side; under mpiexec or srun each process makes every so-many-th shard.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from speech.audio import SAMPLE_RATE_HZ
from speech.clip import COPY as COPY_OF
from speech.clip import Clips, LeftOut, load_clips
from speech.recording import CorpusError, Recording, printable
from speech.shard import COPY, INDEX, MANIFEST, PARTS, Manifest, Shard, Shards, part_of, write_index, write_manifest
from speech.split import SplitError
from storage.atomic import UNFINISHED, remove_unfinished, write_atomic
from storage.spreadsheet import csv_lines
from training.configuration import SHARDS, Configuration, ConfigurationError
from training.data import LISTED_FAULTS, list_corpus
from training.machine import available_cores
from training.rank import Ranks
from training.seed import generator
from training.terminal import say

LEFT_OUT, LEFT_OUT_COLUMNS = "left_out.csv", ("name", "reason")
INDEX_NAME, CLIPS_NAME = re.compile(r"[0-9]{5,9}\.csv"), re.compile(r"[0-9a-f]{32}\.npy")
LONGEST_HEAD = 1000  # bytes


class Made(NamedTuple):
    """A shard whose clips are written; they have no samples here."""

    number: int
    clips: Clips
    left_out: LeftOut


def make_shards(settings: Configuration, folder: Path, clips_per_shard: int, ranks: Ranks) -> None:
    """Write the recordings that the settings name into a folder of shards, and say what came of it.

    Raises
    ------
    ConfigurationError, CorpusError, SplitError
        The settings do not fit, no recording can be used, a part has no clip, or the folder cannot be written. What was
        made stays, and there is no manifest.
    """
    about = {name: getattr(settings, name) for name in ("db", "limit", "split", "seed")} | {
        "clips_per_shard": clips_per_shard
    }
    _check(settings, folder, about)
    recordings, corpus = list_corpus(settings, settings.data_dir)
    if settings.split == "speaker" and not all(recording.speaker for recording in recordings):
        raise SplitError("--split speaker needs the speaker of every recording. Use --split random")
    order = generator(settings.seed, "shards").permutation(len(recordings))  # neighbours in a folder are alike
    chunks = [order[start : start + clips_per_shard] for start in range(0, len(order), clips_per_shard)]
    threads = settings.threads or ranks.threads(available_cores())
    made: list[Made] = []

    def make() -> list[tuple[int, bytes]]:
        for number in range(ranks.rank, len(chunks), ranks.size):
            some = [recordings[i] for i in chunks[number]]
            made.append(_make(number, len(chunks), some, settings.clip_samples, threads, folder))
        return [(one.number, bytes.fromhex("".join(one.clips.contents))) for one in made]

    contents = sorted(item for listed in ranks.gather(make) for item in listed)
    copies = _copies([content for _, content in contents])

    def write() -> tuple[list[Shard], LeftOut]:
        shards = [_write(folder, one, copies[one.number], settings) for one in made if len(one.clips.valid)]
        return shards, [item for one in made for item in one.left_out]

    written = ranks.gather(write)
    shards = sorted((shard for some, _ in written for shard in some), key=lambda shard: shard.index)
    left_out = sorted(corpus.left_out + [item for _, some in written for item in some])
    manifest = Manifest(about, settings.clip_samples, sum(map(len, copies)), len(left_out), shards)
    ranks.first(lambda: _finish(folder, manifest, left_out, settings.strict))


def _check(settings: Configuration, folder: Path, about: dict[str, Any]) -> None:
    if settings.db in ("demo", SHARDS) or settings.scale != "clip" or settings.leave_out or settings.folds:
        raise ConfigurationError(
            "shards: are made of files, each clip on its own scale, and split at random or by speaker. Give --db other "
            "than demo, and leave --scale, --leave-out and --folds out"
        )
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        ours = path.name in ("clips", LEFT_OUT, MANIFEST) or INDEX_NAME.fullmatch(path.name)
        if ours and path.is_symlink():
            raise CorpusError(f"--out: {printable(path)} is a link, and nothing is written behind one. Remove the link")
    known = {LEFT_OUT}
    if (folder / MANIFEST).exists():
        before = Shards(folder).manifest
        known |= {shard.index for shard in before.shards}
        if (before.settings, before.clip_samples) != (about, settings.clip_samples):
            raise CorpusError(
                f"--out: {printable(folder)} holds shards that were made with other options: {before.settings}, "
                f"{before.clip_samples} samples a clip. Choose another --out, or remove {MANIFEST}"
            )
    elif folder.exists() and (not folder.is_dir() or any(_others(folder))):
        raise CorpusError(f"--out: {printable(folder)} is there and holds no shards. Choose another --out")
    for path in _others(folder):
        if path.name not in known and INDEX_NAME.fullmatch(path.name):
            raise CorpusError(f"--out: {printable(path)} is there, and is not of shards. Move it elsewhere")


def _others(folder: Path) -> Iterator[Path]:
    """What is in a folder and in its `clips` that no preparation of shards has left there."""
    clips = folder / "clips"
    inside = sorted(folder.iterdir()) if folder.is_dir() else []
    if clips in inside and clips.is_dir() and not clips.is_symlink():
        inside = [path for path in inside if path != clips] + sorted(clips.iterdir())
    for path in inside:
        head = INDEX if INDEX_NAME.fullmatch(path.name) else LEFT_OUT_COLUMNS if path.name == LEFT_OUT else None
        if path.is_symlink() or not path.is_file():
            yield path
        elif head is not None and path.parent == folder:
            with path.open("rb") as file:
                if not file.readline(LONGEST_HEAD).startswith(",".join(head).encode()):
                    yield path
        elif not (UNFINISHED.fullmatch(path.name) or path.name == MANIFEST or CLIPS_NAME.fullmatch(path.name)):
            yield path


def _make(
    number: int, count: int, recordings: Sequence[Recording], clip_samples: int, threads: int, folder: Path
) -> Made:
    """Write the clips of a shard, unless they are there."""
    progress = sys.stderr.isatty()
    clips, left_out = load_clips(recordings, clip_samples, SAMPLE_RATE_HZ, "clip", threads, progress, folder)
    done = "there already" if clips.reused else "made again, as it was damaged" if clips.damaged else "made"
    say(f"shard {number + 1} of {count}: {len(clips)} clips, {done}")
    return Made(number, dataclasses.replace(clips, samples=clips.samples[:0].copy()), left_out)  # no file stays open


def _copies(contents: Sequence[bytes]) -> list[set[int]]:
    """Of each shard the rows whose content is in a shard before it, from the 16 bytes that each clip has."""
    everything = np.frombuffer(b"".join(contents), "S16")
    copied = np.ones(len(everything), bool)
    copied[np.unique(everything, return_index=True)[1]] = False
    ends = np.cumsum([len(content) // 16 for content in contents])
    return [set(np.flatnonzero(some).tolist()) for some in np.split(copied, ends[:-1])]


def _write(folder: Path, made: Made, copies: set[int], settings: Configuration) -> Shard:
    """Write the index of a shard; its entry in the manifest."""
    clips = made.clips
    parts = [
        COPY if row in copies else part_of(content, recording.speaker, settings.split, settings.seed)
        for row, (content, recording) in enumerate(zip(clips.contents, clips.recordings, strict=True))
    ]
    assert clips.path is not None
    index = f"{made.number:05d}.csv"
    digest = write_index(folder / index, clips, parts)
    return Shard(clips.path.name, index, len(parts), dict(sorted(Counter(parts).items())), clips.sha256, digest)


def _finish(folder: Path, manifest: Manifest, left_out: LeftOut, strict: bool) -> None:
    """Write what is of all shards, and say it."""
    for place in (folder, folder / "clips"):
        remove_unfinished(place)  # of a process that was killed
    text = "".join(csv_lines([LEFT_OUT_COLUMNS, *left_out]))
    write_atomic(folder / LEFT_OUT, text.encode("utf-8", "backslashreplace"))
    if left_out:
        same = sum(reason.startswith(COPY_OF) for _, reason in left_out)
        listed = [f"  {printable(name)}: {reason}" for name, reason in left_out[:LISTED_FAULTS]]
        say(
            f"left out {len(left_out)}, {same} of them copies; all are in {printable(folder / 'left_out.csv')}:",
            *listed,
        )
        if strict:
            raise CorpusError(f"--strict: {len(left_out)} recordings cannot be used. Mend or remove them")
    counts = {part: sum(shard.parts.get(part, 0) for shard in manifest.shards) for part in PARTS}
    if missing := [part for part in PARTS if not counts[part]]:
        raise SplitError(
            f"shards: no clip is left for {' and '.join(missing)} of {sum(counts.values())}. Take more recordings or "
            "speakers, --split random, or another --seed"
        )
    write_manifest(folder, manifest)
    others = {path.name for path in (folder / "clips").glob("*.npy")} - {shard.clips for shard in manifest.shards}
    clips = ", ".join(f"{count} {part}" for part, count in counts.items())
    say(
        f"shards: {len(manifest.shards)} with {clips} clips in {printable(folder)}; {manifest.copies} more hold the "
        "same sound as one of another shard and are not used",
        *(
            [f"{len(others)} files in {printable(folder / 'clips')} are of other recordings or options"]
            if others
            else []
        ),
    )
