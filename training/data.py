"""What a run works on: the device, the corpus as clips, their split, and what config.json says of them."""

from __future__ import annotations

import dataclasses
import itertools
import platform
import sys
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from models.autoencoder import check_clip_samples
from nn1d import DeviceError, ShapeError, find_device
from nn1d.backend import blas_kernels
from speech.audio import SAMPLE_RATE_HZ
from speech.cache import user_cache
from speech.checks import NotFiniteError
from speech.clip import COPY, Clips, load_clips
from speech.corpus import Corpus, find_corpus, spread
from speech.fold import find_folds, fold_names
from speech.recording import CorpusError, Recording, printable
from speech.shard import PARTS, Shards
from speech.split import Parts, Split, SplitError, split_clips, split_off
from storage.mapped import Rows
from training.checkpoint import CheckpointError
from training.configuration import SHARDS, Configuration, ConfigurationError
from training.environment import cpu_in_words, surroundings
from training.executor import Executor
from training.machine import available_cores
from training.memory import check_memory
from training.mpi import choose_executor
from training.rank import ALONE, RankError, Ranks
from training.run_files import RunError
from training.seed import generator
from training.terminal import say

DEMO_CLIPS = 35
LISTED_FAULTS = 10  # bad recordings named on the screen; config.json of a run names all
MISTAKES = (
    CheckpointError, ConfigurationError, CorpusError, DeviceError, NotFiniteError, RankError, RunError, ShapeError,
    SplitError,
)  # fmt: skip


class Work(NamedTuple):
    """What a run works on: all its clips, or shards, of which `clips` and `split` are those that it shows."""

    settings: Configuration
    module: Any
    threads: int
    clips: Clips
    split: Split
    config: dict[str, Any]
    ranks: Ranks = ALONE
    shards: Shards | None = None

    @property
    def samples(self) -> Rows:
        """Of the clips that it trains and tests on."""
        return self.clips.samples if self.shards is None else self.shards.samples

    @property
    def parts(self) -> Parts:
        """Which of those train and which test."""
        return self.split if self.shards is None else self.shards.parts(self.settings.validate_on)

    @property
    def names(self) -> Any:
        """Of those, by their numbers."""
        return [recording.name for recording in self.clips.recordings] if self.shards is None else self.shards.names

    def executor(self) -> Executor:
        """What computes, chosen here for the whole run; to be entered."""
        return choose_executor(self.module, self.threads, self.ranks)


def prepare(settings: Configuration, data_dir: Path | None = None, ranks: Ranks = ALONE, new: bool = True) -> Work:
    """Find the device, read the corpus, split it; a new run must fit into memory."""
    module, sentence, threads = choose_device(settings, ranks)
    if new and module is np:
        check_memory(settings, threads)
    if settings.db == SHARDS:
        return _prepare_shards(settings, data_dir or settings.data_dir, ranks, module, sentence, threads)
    clips, left_out, directory = ranks.first_of_node(
        lambda: read_corpus(settings, data_dir or settings.data_dir, threads)
    )
    ranks.same("clips", clips.sha256)
    split = split_recordings(settings, clips.recordings)
    config = describe(settings, threads, clips, left_out, directory, split) | {"device": sentence, "ranks": ranks.size}
    return Work(settings, module, threads, clips, split, config, ranks)


def prepare_batch(settings: Configuration, ranks: Ranks = ALONE) -> Work:
    """Find the device, and read as many training clips as a step takes; no other recording is opened.

    The recordings are split without knowing which of them are bad, and the files of emodb are not verified.
    """
    module, sentence, threads = choose_device(settings, ranks)
    if module is np:
        check_memory(settings, threads)
    if settings.db == SHARDS:
        shards = open_shards(settings, settings.data_dir)
        clips = shards.take(shards.part("train")[: settings.batch_size])
        batch = np.arange(len(clips))
        return Work(settings, module, threads, clips, Split(batch, batch, batch), {"device": sentence}, ranks)
    recordings = list_corpus(settings, settings.data_dir, verify=False)[0]
    train = [recordings[i] for i in split_recordings(settings, recordings).train]
    chosen: list[Recording] = []
    while (missing := settings.batch_size - len(chosen)) > 0 and train:
        some, train = train[:missing], train[missing:]
        clips, _ = load_clips(some, settings.clip_samples, SAMPLE_RATE_HZ, settings.scale, threads)
        chosen += clips.recordings
    if not chosen:
        raise CorpusError(f"{settings.db}: none of the training recordings can be used")
    clips, _ = load_clips(chosen, settings.clip_samples, SAMPLE_RATE_HZ, settings.scale, threads)
    batch = np.arange(len(clips))
    return Work(settings, module, threads, clips, Split(batch, batch, batch), {"device": sentence}, ranks)


def _prepare_shards(
    settings: Configuration, folder: Path | None, ranks: Ranks, module: Any, sentence: str, threads: int
) -> Work:
    """The same for shards: no list of clips, and a few of them to show."""
    shards = open_shards(settings, folder)
    ranks.same("shards", shards.sha256)
    clips, split = shards.shown()
    config = describe(settings, threads, clips, [], shards.folder, split)
    config |= {"split": {}, "contents": None, "speakers": {}, "device": sentence, "ranks": ranks.size}
    config["parts"] = {name: len(getattr(shards.parts(settings.validate_on), name)) for name in PARTS}
    return Work(settings, module, threads, clips, split, config, ranks, shards)


def open_shards(settings: Configuration, folder: Path | None) -> Shards:
    """The shards in a folder, if their clips are as long as they are asked for."""
    if folder is None:
        raise CorpusError("shards: need the folder that python -m training shards has written. Name it with --data-dir")
    shards = Shards(folder)
    samples = shards.manifest.clip_samples
    if samples != settings.clip_samples:
        raise CorpusError(
            f"shards: {printable(folder)} has clips of {samples} samples; got --clip-samples {settings.clip_samples}. "
            f"Give --clip-samples {samples}"
        )
    say(f"corpus: {len(shards)} clips in {len(shards.manifest.shards)} shards" + place(folder))
    return shards


def choose_device(settings: Configuration, ranks: Ranks) -> tuple[Any, str, int]:
    """NumPy or CuPy, the sentence that says so, and clips at a time on NumPy."""
    check_clip_samples(settings.clip_samples, len(settings.channels))
    number = ranks.local() if settings.device != "cpu" else 0
    module, sentence = find_device(settings.device, settings.gpu_memory, settings.tf32, settings.half, number)
    ranks.same("kind of device", module.__name__)
    threads = (settings.threads or ranks.threads(available_cores())) if module is np else 1
    say(f"{sentence}, {cpu_in_words(threads)}{_together(ranks)}" if module is np else sentence + _together(ranks))
    say(*_idle(ranks, settings.batch_size))
    return module, sentence, threads


def _together(ranks: Ranks) -> str:
    """Of several ranks how many they are, on how many machines, and whether they compute to the same bits."""
    if ranks.size == 1:
        return ""
    nodes, kernels = zip(*ranks.gather(lambda: (platform.node(), blas_kernels())), strict=True)
    machines = f" on {len(set(nodes))} machines" if len(set(nodes)) > 1 else ""
    others = [f"rank {rank} has {other}" for rank, other in enumerate(kernels) if other != kernels[0]]
    differ = f"; their BLAS kernels differ, and so do last digits by who computes a clip: {', '.join(others[:3])}"
    return f" in each of {ranks.size} ranks{machines}{differ if others else ''}"


def _idle(ranks: Ranks, batch_size: int) -> list[str]:
    """A sentence where steps are too small for the ranks."""
    if ranks.size <= batch_size:
        return []
    return [f"ranks: a step takes {batch_size} clips, so {ranks.size - batch_size} of {ranks.size} ranks have none to "
            f"train on. Give --batch-size {ranks.size} or more, or take fewer ranks"]  # fmt: skip


def prepare_again(
    config: dict[str, Any], settings: Configuration, data_dir: Path | None, who: str, ranks: Ranks = ALONE
) -> Work:
    """What a run worked on, from where its recordings were unless data_dir says otherwise; nothing may have changed."""
    before = Path(config["corpus"]) if config.get("corpus") else None
    there = before is not None and before.is_dir()
    if data_dir is None and before is not None and not there and settings.db in ("folder", SHARDS):
        raise CorpusError(
            f"{who}: the recordings were in {printable(before)}, which is not there any more. If the folder was moved, "
            "name its new place with --data-dir"
        )
    for name, path in settings.tables().items():
        if not path.exists():
            raise CorpusError(
                f"{who}: the run has its {name} from {printable(path)}, which is not there any more. If the file was "
                f"moved, name its new place: python train.py --resume RUN --{name} FILE.csv"
            )
    work = prepare(settings, data_dir or (before if there else settings.data_dir), ranks, new=False)
    if work.shards is not None and config.get("clips_sha256") != work.config["clips_sha256"]:
        raise CorpusError(
            f"{who}: the shards are not those that the run began with. Bring those back, or start a new run"
        )
    if any(config.get(name) != work.config[name] for name in ("split", "clips_sha256")):
        raise CorpusError(
            f"{who}: the recordings of {settings.db} are not those that the run began with: "
            f"{recordings_changed(config, work.config)}, or start a new run"
        )
    if before is not None and work.config["corpus"] != str(before):
        say(f"moved: the recordings were in {printable(before)}; they are the same")
        config["corpus"] = work.config["corpus"]
    return work


def split_recordings(settings: Configuration, recordings: Sequence[Recording]) -> Split:
    """Which clips train and which test: at random, by speakers, or as --leave-out or --folds says."""
    rng = generator(settings.seed, "split")
    speakers = [recording.speaker for recording in recordings]
    by = settings.split
    if sum((bool(settings.leave_out), settings.folds is not None, by != "random")) > 1:
        raise SplitError("--leave-out, --folds and --split speaker each say which clips test. Give one of them")
    if settings.fold is not None and settings.folds is None:
        raise SplitError(
            f"--fold {settings.fold}: is one of which folds? Give --folds speaker too, or --folds FILE.csv"
        )
    if settings.leave_out:
        unknown = sorted(set(settings.leave_out) - set(speakers))
        if unknown:
            known = ", ".join(sorted(set(speakers) - {""})) or "none that is named"
            raise SplitError(
                f"--leave-out: {settings.db} has no speaker {', '.join(unknown)}; its speakers are {known}"
            )
        is_test = np.isin(speakers, settings.leave_out)
    elif settings.folds is not None:
        folds = find_folds(settings.folds, recordings)
        names = fold_names(folds)
        fold = settings.fold or names[0]
        if fold not in names:
            raise SplitError(f"--fold: there is no fold {fold}; got {', '.join(names)} from --folds {settings.folds}")
        is_test = np.array([name == fold for name in folds])
    else:
        return split_clips(speakers, by=by, validate_on=settings.validate_on, rng=rng)
    return split_off(is_test, validate_on=settings.validate_on, rng=rng)


def recordings_changed(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Which recordings came, went or changed between two config.json, and what to do about it."""
    old, new = (_contents_by_name(config) for config in (before, after))
    renamed = {new_name: name for name, content in old.items() for new_name, other in new.items() if content == other}
    if len(renamed) == len(old) == len(new) and set(old) != set(new):
        new_name, name = next((new_name, name) for new_name, name in renamed.items() if new_name != name)
        return (
            f"they are the same under other names ({name} is now {new_name}). Name the folder from which they have "
            "the names that they had with --data-dir"
        )
    parts = []
    for verb, names in (
        ("came", [name for name in new if name not in old]),
        ("went", [name for name in old if name not in new]),
        ("changed", [name for name in old if name in new and old[name] != new[name]]),
    ):
        if names:
            more = f" and {len(names) - LISTED_FAULTS} more" if len(names) > LISTED_FAULTS else ""
            parts.append(f"{len(names)} {verb} ({', '.join(names[:LISTED_FAULTS])}{more})")
    return f"{', '.join(parts) or 'their split differs'}. Bring back what the run began with"


def learned_contents(config: dict[str, Any], contents: Set[str]) -> set[str] | None:
    """Which of some contents of clips a run has learned from or was stopped by; None if it does not say.

    Raises
    ------
    CorpusError
        It has learned from shards that are not there any more, or are others.
    """
    if config["settings"].get("db") == SHARDS:
        shards = Shards(Path(config.get("corpus") or ""))
        if shards.sha256 != config.get("clips_sha256"):
            raise CorpusError(
                f"shards: those in {printable(shards.folder)} are not those that the run has learned from"
            )
        return shards.learned(contents)
    of_part = config.get("contents")
    if not isinstance(of_part, dict):
        return None
    return {content for part in ("train", "validation") for content in of_part.get(part, []) if content in contents}


def _contents_by_name(config: dict[str, Any]) -> dict[str, str]:
    """Of each clip of a run; contents are empty where config.json does not know them."""
    names, contents = config.get("split", {}), config.get("contents") or {}
    return {
        name: content
        for part in ("train", "validation", "test")
        for name, content in itertools.zip_longest(names.get(part, []), contents.get(part, []), fillvalue="")
    }


def read_corpus(
    settings: Configuration, data_dir: Path | None, threads: int
) -> tuple[Clips, list[tuple[str, str]], Path | None]:
    """Find the recordings and read them; say what was left out, or stop at it if strict."""
    progress, cache_dir = sys.stderr.isatty(), settings.cache_dir or user_cache()
    recordings, corpus = list_corpus(settings, data_dir)
    clips, unusable = load_clips(
        recordings, settings.clip_samples, SAMPLE_RATE_HZ, settings.scale, threads, progress, cache_dir
    )
    if clips.path is not None:
        done = "taken from" if clips.reused else "damaged, and prepared again in" if clips.damaged else "prepared in"
        say(f"clips: {len(clips)} {done} {clips.path} ({clips.samples.nbytes / 1e6:.1f} MB)")
    left_out = corpus.left_out + unusable
    if copies := sum(reason.startswith(COPY) for _, reason in left_out):
        say(
            f"copies: {copies} of {len(recordings)} recordings hold the same sound as another one. They are left out, "
            "so that no clip is both in training and in test"
        )
    if left_out:
        listed = len(left_out) if settings.strict else LISTED_FAULTS  # what is to be mended is named in full
        named = [f"  {printable(name)}: {reason}" for name, reason in left_out[:listed]]
        more = [f"  and {len(left_out) - listed} more"] if len(left_out) > listed else []
        say(f"left out {len(left_out)} of {len(left_out) + len(clips)} files:", *named, *more)
        if settings.strict:
            raise CorpusError(f"--strict: {len(left_out)} files of {settings.db} cannot be used. Mend or remove them")
    return clips, left_out, corpus.directory


def list_corpus(settings: Configuration, data_dir: Path | None, verify: bool = True) -> tuple[list[Recording], Corpus]:
    """The recordings that the settings ask for, and the corpus that they are of."""
    if settings.db == SHARDS:
        raise CorpusError("shards: hold clips, which only train.py takes. Name recordings instead, such as --db folder")
    cache_dir = settings.cache_dir or user_cache()
    corpus = find_corpus(
        settings.db, data_dir, count=DEMO_CLIPS, progress=sys.stderr.isatty(), cache_dir=cache_dir, verify=verify,
        manifest=settings.manifest,
    )  # fmt: skip
    recordings = spread(corpus.recordings, settings.limit)
    say(*corpus.notes, f"corpus: {settings.db}, {len(recordings)} recordings" + place(corpus.directory))
    return recordings, corpus


def describe(
    settings: Configuration,
    threads: int,
    clips: Clips,
    left_out: list[tuple[str, str]],
    directory: Path | None,
    split: Split,
) -> dict[str, Any]:
    """config.json: whatever the run depends on."""
    names = [recording.name for recording in clips.recordings]
    speakers = [recording.speaker for recording in clips.recordings]
    heard = np.concatenate([split.train, split.validation if settings.validate_on == "held-out" else split.train])
    return {
        "settings": settings.written(),
        "threads": threads,
        **surroundings(),
        "corpus": None if directory is None else str(directory.resolve()),
        "clips": None if clips.path is None else str(clips.path),
        "clips_sha256": clips.sha256,
        "split": {part: [names[i] for i in indices] for part, indices in dataclasses.asdict(split).items()},
        "speakers": {
            "heard": sorted({speakers[i] for i in heard}),  # by the network; the others are new to it
            "test": sorted({speakers[i] for i in split.test}),
        },
        "contents": {part: [clips.contents[i] for i in indices] for part, indices in dataclasses.asdict(split).items()},
        "left_out": left_out,
    }


def clip_rows(clips: Clips, split: Split) -> list[dict[str, Any]]:
    """clips.csv: what each row of features.npy is of."""
    part = dict.fromkeys(split.train, "train") | dict.fromkeys(split.validation, "validation")
    part |= dict.fromkeys(split.test, "test")
    return [
        {
            "name": recording.name,
            "label": recording.label,
            "speaker": recording.speaker,
            "part": part[i],
            "valid_samples": int(clips.valid[i]),
            "offset": float(clips.offset[i]),
            "scale": float(clips.scale[i]),
        }
        for i, recording in enumerate(clips.recordings)
    ]


def place(directory: Path | None) -> str:
    """Where a corpus was found."""
    return "" if directory is None else f" from {printable(directory)}"
