"""Train the paper's system on a corpus: python train.py --db emodb

The whole first, then the decoder alone; at the end the paper's table with this run's figures. python train.py --help
lists the settings, docs/corpora.md the corpora, docs/reproduction.md what the defaults reach.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import sys
import time
import warnings
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from models.processor import blas_environment

os.environ.update(blas_environment())  # before NumPy loads its BLAS

import numpy as np
from tqdm import tqdm

from models.ablation import ablate, finding
from models.autoencoder import check_clip_samples
from models.checkpoint import CheckpointError
from models.configuration import Configuration, ConfigurationError, read_arguments
from models.course import Course
from models.dual_training import Diverged, DualTraining, generator
from models.paper import PAPER
from models.phase import Epoch, NotFinite
from models.rows import take
from models.run import RunError, RunFolder, check_free, surroundings
from models.split import Split, SplitError, split_clips
from models.stop import Stop, Stopped
from models.worker import Workers, available_cores, keep_freed_memory
from nn1d import DeviceError, ShapeError, find_device
from nn1d.backend import blas_kernels
from report.listening import publish
from report.table import as_text, paper_table
from speech.cache import user_cache
from speech.clip import Clips, load_clips
from speech.corpus import find_corpus, spread
from speech.distortion import missing
from speech.recording import CorpusError
from speech.snr import si_sdr

SAMPLE_RATE_HZ = 16_000
DEMO_CLIPS = 35
LISTED_FAULTS = 10  # bad recordings named on the screen; config.json names all
OVERFIT_STEPS = 300
OVERFIT_SHARE = {"pre_training": 0.1, "fine_tuning": 0.5}  # of the variance that may be left
MISTAKES = (CheckpointError, ConfigurationError, CorpusError, DeviceError, RunError, ShapeError, SplitError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code: 0 done, 1 diverged, 2 a mistake in the input, 130 or 143 stopped by a signal."""
    keep_freed_memory()
    warnings.simplefilter("ignore", RuntimeWarning)  # of overflow: a step that is not finite ends with a sentence
    try:
        command = read_arguments(arguments)
        if command.overfit:
            return 0 if overfit(command.settings) else 1
        if command.dry_run:
            dry_run(command.settings)
        elif command.resume is not None:
            resume(command.resume, command.given)
        else:
            train(command.settings)
    except MISTAKES as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    except Diverged as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 1
    except Stopped as error:
        return error.code
    except KeyboardInterrupt:
        print("train.py: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return 0


def train(settings: Configuration) -> None:
    """A new run: read the corpus, train both phases, print the table."""
    check_free(folder := settings.out or new_folder(settings), settings.force)
    work = prepare(settings)
    run = RunFolder.create(folder, settings.force)
    run.write_json("config.json", work.config)
    go_on(run, work)


def resume(path: Path, given: dict[str, Any]) -> None:
    """Go on with a run where it was saved last."""
    run = RunFolder.open(path)
    config, settings = run.read_config()
    if given.get("out", path).resolve() != path.resolve():
        raise RunError(f"--resume: the run is in {path}; got --out {given['out']}. Leave --out out")
    settings = settings.resumed({name: value for name, value in given.items() if name != "out"})
    if settings.device == "cpu":  # what was the GPU's
        settings = dataclasses.replace(settings, tf32="tf32" in given, half="half" in given)
    work = prepare_again(config, settings, given.get("data_dir"), "--resume")
    again = {name: work.config[name] for name in ("command", "git_commit", "threads", "device")}
    config |= {"settings": settings.written(), "resumed": [*config.get("resumed", []), again]}
    run.write_json("config.json", config)
    go_on(run, work)


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
    split = split_clips(
        [recording.speaker for recording in clips.recordings],
        by=settings.split,
        validate_on=settings.validate_on,
        rng=generator(settings.seed, "split"),
    )
    config = describe(settings, threads, clips, left_out, directory, split) | {"device": sentence}
    return Work(settings, module, threads, clips, split, config)


def go_on(run: RunFolder, work: Work) -> None:
    """Both phases, from where they stand to the table."""
    settings, clips, split = work.settings, work.clips, work.split
    say(f"run: {run.path} ({work.threads} threads, {len(split.train)} training, {len(split.test)} test clips)")
    try:
        with Stop() as stop, Workers(work.threads) as workers:
            training = DualTraining(settings, clips.samples, workers, work.module)
            course = Course(run, training, split, work.names, stop, say_epoch, sys.stderr.isatty())
            variances = [take(clips.samples, np.array([i])).var() for i in split.test]
            results: dict[str, Any] = {
                "db": settings.db,
                "clips": len(clips),
                "parameters": training.flat.vector.size,
                "test_variance": float(np.mean(variances)),
            }

            def si_sdr_db(clip: int, rebuilt: np.ndarray) -> float:
                stop.check()
                return si_sdr(clips.waveform(clip), clips.unscale(clip, rebuilt)[: clips.valid[clip]])

            def worth() -> dict[str, Any]:
                """With which masks the decoder, as it is now, rebuilds the test clips how well."""
                drawn = generator(settings.seed, "masks")
                given = (training.network, clips.samples, split.test, si_sdr_db)
                return ablate(*given, rng=drawn, workers=workers, module=work.module)

            results["pre_training"] = course.pre_train()
            masks = {"pre_training": worth()}
            features = course.encode()
            run.write_clips(clip_rows(clips, split))
            results["fine_tuning"] = course.fine_tune(features)
            masks["fine_tuning"] = worth()
            results["masks"] = masks | {"finding": finding(masks)}
            results["paper"] = PAPER.get(settings.db, {})
            run.write_json("results.json", results)
            if not settings.no_report:
                threads = work.threads if work.module is np else available_cores()
                results = publish(run, clips, split, threads, sys.stderr.isatty(), stop.check)
    except Stopped as stopped:
        say(f"stopped by {stopped}. Go on with: python train.py --resume {run.path}")
        raise
    finally:
        run.release()
    say("", as_text(paper_table(results)), results["masks"]["finding"], f"run: {run.path}")
    if not settings.no_report:
        say(*missing(SAMPLE_RATE_HZ), f"listen: {run.path / 'report.html'}")


def overfit(settings: Configuration) -> bool:
    """Learn one batch by heart, in both phases; whether that worked. Nothing is written."""
    work = prepare(settings)
    batch = work.split.train[: settings.batch_size]
    quick = dataclasses.replace(
        settings, epochs=OVERFIT_STEPS, fine_tune_epochs=OVERFIT_STEPS, patience=OVERFIT_STEPS, batch_size=len(batch),
        weight_decay=0.0, average=0.0, middle_weight=0.0,
    )  # fmt: skip
    learned = True
    with Workers(work.threads) as workers:
        training = DualTraining(quick, work.clips.samples, workers, work.module)
        variance = float(take(work.clips.samples, batch).var(axis=1).mean())
        for name in ("pre_training", "fine_tuning"):
            if name == "pre_training":
                phase = training.pre_training(batch, batch)
            else:
                features = np.stack(list(training.encode(range(len(work.clips)))))
                phase = training.fine_tuning(features, batch, batch)
            try:
                phase.run(progress=sys.stderr.isatty())
            except NotFinite as error:
                raise training.diverged(phase, error, work.names) from error
            losses = [epoch.val_loss for epoch in phase.history]
            done = min(losses) < OVERFIT_SHARE[name] * variance
            say(
                f"{name}: {len(batch)} clips, {phase.epoch} steps: loss {losses[0]:.2e} -> {min(losses):.2e}, their "
                f"variance {variance:.2e}: {'learned' if done else 'NOT learned'}"
            )
            learned &= done
    return learned


def dry_run(settings: Configuration) -> None:
    """One step of each phase, and what a run would write. Nothing is written."""
    folder = settings.out or new_folder(settings)
    check_free(folder, settings.force)
    work = prepare(settings)
    seconds = 0.0
    with Workers(work.threads) as workers:
        training = DualTraining(settings, work.clips.samples, workers, work.module)
        batch = work.split.train[: settings.batch_size]
        features = np.zeros((len(work.clips), *training.representation_shape), np.float32)
        features[batch] = list(training.encode(batch))
        steps = -(-len(work.split.train) // settings.batch_size)
        for phase, epochs in (
            (training.pre_training(work.split.train, batch), settings.epochs),
            (training.fine_tuning(features, work.split.train, batch), settings.fine_tune_epochs),
        ):
            phase.gradient(batch)  # the first is slower
            started = time.perf_counter()
            loss, slope = phase.gradient(batch)
            phase.adam.step(phase.parameters, slope)
            loss = float(loss)  # waits for a GPU
            spent = time.perf_counter() - started
            seconds += spent * steps * epochs
            after = float(phase.gradient(batch)[0])
            say(f"{phase.name}: one step of {len(batch)} clips in {1e3 * spent:.0f} ms, loss {loss:.3e} -> {after:.3e}")
        say(f"a run of {settings.epochs} + {settings.fine_tune_epochs} epochs: at most about {seconds / 60:.0f} min")
    sizes = {
        "config.json, history.csv, clips.csv, results.json": 1000 * len(work.clips),
        "checkpoints/": 2 * (1 + 5) * training.flat.vector.nbytes,
        "features.npy": features.nbytes,
    }
    say(f"would write into {folder}:", *(f"  {name:<50} {size / 1e6:8.1f} MB" for name, size in sizes.items()))


def read_corpus(
    settings: Configuration, data_dir: Path | None, threads: int
) -> tuple[Clips, list[tuple[str, str]], Path | None]:
    """Find the recordings and read them; say what was left out, or stop at it if strict."""
    progress = sys.stderr.isatty()
    cache_dir = settings.cache_dir or user_cache()
    corpus = find_corpus(settings.db, data_dir, count=DEMO_CLIPS, progress=progress, cache_dir=cache_dir)
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
    digest = hashlib.sha256()
    for i in range(len(clips)):
        digest.update(take(clips.samples, np.array([i])).data)
    return {
        "settings": settings.written(),
        "threads": threads,
        **surroundings(),
        "corpus": None if directory is None else str(directory.resolve()),
        "clips": None if clips.path is None else str(clips.path),
        "clips_sha256": digest.hexdigest(),
        "split": {part: [names[i] for i in indices] for part, indices in dataclasses.asdict(split).items()},
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


def new_folder(settings: Configuration) -> Path:
    """Where a run is written unless the user says so."""
    return Path("runs") / f"{settings.db}-{datetime.now():%Y%m%d-%H%M%S}"


def say_epoch(epoch: Epoch, improved: bool) -> None:
    """One line an epoch."""
    say(
        f"{epoch.phase} {epoch.epoch}: loss {epoch.train_loss:.3e}, validation {epoch.val_loss:.3e}, "
        f"accuracy {epoch.val_accuracy:.4f}, {epoch.seconds:.1f} s{', best so far' if improved else ''}"
    )


def place(directory: Path | None) -> str:
    """Where a corpus was found."""
    return "" if directory is None else f" from {directory}"


def say(*lines: str) -> None:
    """Print lines, above a progress bar if there is one."""
    for line in lines:
        tqdm.write(line, file=sys.stdout)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
