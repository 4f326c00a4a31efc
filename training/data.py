"""What a run works on: the device, the corpus as clips, their split, and what config.json says of them."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from models.autoencoder import check_clip_samples
from nn1d import DeviceError, ShapeError, find_device
from nn1d.backend import blas_kernels
from speech.audio import SAMPLE_RATE_HZ
from speech.cache import user_cache
from speech.clip import Clips, load_clips
from speech.corpus import find_corpus, spread
from speech.fold import find_folds, fold_names
from speech.recording import CorpusError, Recording
from speech.split import Split, SplitError, split_clips, split_off
from storage.mapped import take_rows
from training.checkpoint import CheckpointError
from training.configuration import Configuration, ConfigurationError
from training.environment import surroundings
from training.machine import available_cores
from training.run_folder import RunError
from training.seed import generator
from training.terminal import say

DEMO_CLIPS = 35
LISTED_FAULTS = 10  # bad recordings named on the screen; config.json names all
MISTAKES = (CheckpointError, ConfigurationError, CorpusError, DeviceError, RunError, ShapeError, SplitError)


class Work(NamedTuple):
    """What a run works on."""

    settings: Configuration
    module: Any
    threads: int
    clips: Clips
    split: Split
    config: dict[str, Any]

    @property
    def names(self) -> list[str]:
        """Of the clips."""
        return [recording.name for recording in self.clips.recordings]


def prepare(settings: Configuration, data_dir: Path | None = None) -> Work:
    """Find the device, read the corpus, split it."""
    check_clip_samples(settings.clip_samples, len(settings.channels))
    module, sentence = find_device(settings.device, settings.gpu_memory, settings.tf32, settings.half)
    say(f"{sentence}, BLAS {blas_kernels()}" if module is np else sentence)
    threads = (settings.threads or available_cores()) if module is np else 1
    clips, left_out, directory = read_corpus(settings, data_dir or settings.data_dir, threads)
    split = draw_split(settings, clips.recordings)
    config = describe(settings, threads, clips, left_out, directory, split) | {"device": sentence}
    return Work(settings, module, threads, clips, split, config)


def prepare_again(config: dict[str, Any], settings: Configuration, data_dir: Path | None, who: str) -> Work:
    """What a run worked on, from where its recordings were unless data_dir says otherwise; nothing may have changed."""
    found = Path(config["corpus"]) if config.get("corpus") else None
    work = prepare(settings, data_dir or (found if found is not None and found.is_dir() else settings.data_dir))
    for name in ("split", "clips_sha256"):
        if config.get(name) != work.config[name]:
            raise CorpusError(
                f"{who}: the recordings of {settings.db} are not those that the run began with ({name} in "
                "config.json). Bring them back, name their folder with --data-dir, or start a new run"
            )
    return work


def draw_split(settings: Configuration, recordings: Sequence[Recording]) -> Split:
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


def read_corpus(
    settings: Configuration, data_dir: Path | None, threads: int
) -> tuple[Clips, list[tuple[str, str]], Path | None]:
    """Find the recordings and read them; say what was left out, or stop at it if strict."""
    progress = sys.stderr.isatty()
    cache_dir = settings.cache_dir or user_cache()
    corpus = find_corpus(settings.db, data_dir, count=DEMO_CLIPS, progress=progress, cache_dir=cache_dir,
                         manifest=settings.manifest)  # fmt: skip
    recordings = spread(corpus.recordings, settings.limit)
    say(*corpus.notes, f"corpus: {settings.db}, {len(recordings)} recordings" + place(corpus.directory))
    clips, unusable = load_clips(
        recordings, settings.clip_samples, SAMPLE_RATE_HZ, settings.scale, threads, progress, cache_dir
    )
    if clips.path is not None:
        done = "taken from" if clips.reused else "prepared in"
        say(f"clips: {len(clips)} {done} {clips.path} ({clips.samples.nbytes / 1e6:.1f} MB)")
    left_out = corpus.left_out + unusable
    if left_out:
        named = [f"  {name}: {reason}" for name, reason in left_out[:LISTED_FAULTS]]
        more = [f"  and {len(left_out) - LISTED_FAULTS} more, see config.json"] if len(left_out) > LISTED_FAULTS else []
        say(f"left out {len(left_out)} of {len(left_out) + len(clips)} files:", *named, *more)
        if settings.strict:
            raise CorpusError(f"--strict: {len(left_out)} files of {settings.db} cannot be used. Mend or remove them")
    return clips, left_out, corpus.directory


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
    digest = hashlib.sha256()
    for i in range(len(clips)):
        digest.update(take_rows(clips.samples, np.array([i])).data)
    return {
        "settings": settings.written(),
        "threads": threads,
        **surroundings(),
        "corpus": None if directory is None else str(directory.resolve()),
        "clips": None if clips.path is None else str(clips.path),
        "clips_sha256": digest.hexdigest(),
        "split": {part: [names[i] for i in indices] for part, indices in dataclasses.asdict(split).items()},
        "speakers": {
            "heard": sorted({speakers[i] for i in heard}),  # by the network; the others are new to it
            "test": sorted({speakers[i] for i in split.test}),
        },
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
    return "" if directory is None else f" from {directory}"
