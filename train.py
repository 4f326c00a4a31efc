"""Train the paper's system on a corpus: python train.py --db emodb

The whole first, then the decoder alone; at the end the paper's table with this run's figures. python train.py --help
lists the settings, docs/corpora.md the corpora, docs/reproduction.md what the defaults reach.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from models.processor import blas_environment

os.environ.update(blas_environment())  # before NumPy loads its BLAS

import numpy as np
from tqdm import tqdm

from models.autoencoder import check_clip_samples
from models.configuration import Configuration, ConfigurationError, read_arguments
from models.dual_training import Diverged, DualTraining, Epoch, Judgement, PhaseResult, generator, write_features
from models.paper import PAPER
from models.rows import take
from models.run import RunError, RunFolder, surroundings
from models.split import Split, SplitError, split_clips
from models.worker import Workers, available_cores, keep_freed_memory
from nn1d import DeviceError, ShapeError, find_device
from nn1d.backend import blas_kernels
from report.table import paper_table
from speech.cache import user_cache
from speech.clip import Clips, load_clips
from speech.corpus import find_corpus, spread
from speech.recording import CorpusError

SAMPLE_RATE_HZ = 16_000
DEMO_CLIPS = 35
LISTED_FAULTS = 10  # bad recordings named on the screen; config.json names all
MISTAKES = (ConfigurationError, CorpusError, DeviceError, RunError, ShapeError, SplitError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code: 0 done, 1 diverged, 2 a mistake in the input, 130 interrupted."""
    try:
        train(read_arguments(arguments))
    except MISTAKES as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    except Diverged as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("train.py: interrupted", file=sys.stderr)
        return 130
    return 0


def train(settings: Configuration) -> None:
    """Read the corpus, train both phases, print the table."""
    check_clip_samples(settings.clip_samples, len(settings.channels))
    module, sentence = find_device(settings.device)
    say(f"{sentence}, BLAS {blas_kernels()}" if module is np else sentence)
    threads = (settings.threads or available_cores()) if module is np else 1
    clips, left_out = read_corpus(settings, threads)
    split = split_clips(
        [recording.speaker for recording in clips.recordings],
        by=settings.split,
        validate_on=settings.validate_on,
        rng=generator(settings.seed, "split"),
    )
    start = datetime.now()
    run = RunFolder(settings.out or Path("runs") / f"{settings.db}-{start:%Y%m%d-%H%M%S}", settings.force)
    say(f"run: {run.path} ({threads} threads, {len(split.train)} training, {len(split.test)} test clips)")
    write_config(run, settings, threads, clips, left_out, split)

    keep_freed_memory()
    with Workers(threads) as workers:
        training = DualTraining(settings, clips.samples, workers, module)
        results: dict[str, Any] = {
            "db": settings.db,
            "clips": len(clips),
            "parameters": training.flat.vector.size,
            "test_variance": float(np.mean([take(clips.samples, np.array([i])).var() for i in split.test])),
        }
        progress = sys.stderr.isatty()

        def on_epoch(epoch: Epoch, improved: bool) -> None:
            run.append_history(epoch)
            if improved:
                run.save_weights(epoch.phase, training.flat.views)
            say(epoch_line(epoch, improved))

        phase = "pre_training"
        try:
            done = training.pre_train(split.train, split.validation, on_epoch, progress=progress)
            run.save_weights(phase, training.flat.views)
            results[phase] = phase_results(done, training.judge_whole(split.train), training.judge_whole(split.test))
            results[phase]["weight_decay"] = training.weight_decay_part(training.flat.vector)
            rows = tqdm(
                training.encode(range(len(clips))),
                "encoding",
                len(clips),
                unit=" clips",
                disable=None if progress else True,
            )
            features = write_features(run.path / "features.npy", iter(rows), len(clips))
            run.write_clips(clip_rows(clips, split))

            phase = "fine_tuning"
            done = training.fine_tune(features, split.train, split.validation, on_epoch, progress=progress)
            run.save_weights(phase, training.flat.views)
        except KeyboardInterrupt:
            saved = run.path / "checkpoints"
            say(f"\ninterrupted in {phase}: the best weights so far are in {saved}" if any(saved.iterdir()) else "")
            raise
        judged = [training.judge_decoder(features, part) for part in (split.train, split.test)]
        results[phase] = phase_results(done, *judged)
        results[phase]["weight_decay"] = training.weight_decay_part(training.flat.vector)
    results["paper"] = PAPER.get(settings.db, {})
    run.write_json("results.json", results)
    say("", paper_table(results), f"run: {run.path}")


def read_corpus(settings: Configuration, threads: int) -> tuple[Clips, list[tuple[str, str]]]:
    """Find the recordings and read them; say what was left out, or stop at it if strict."""
    progress = sys.stderr.isatty()
    cache_dir = settings.cache_dir or user_cache()
    corpus = find_corpus(settings.db, settings.data_dir, count=DEMO_CLIPS, progress=progress, cache_dir=cache_dir)
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
    return clips, left_out


def write_config(
    run: RunFolder,
    settings: Configuration,
    threads: int,
    clips: Clips,
    left_out: list[tuple[str, str]],
    split: Split,
) -> None:
    """config.json: whatever the run depends on."""
    names = [recording.name for recording in clips.recordings]
    parts = {part: [names[i] for i in indices] for part, indices in dataclasses.asdict(split).items()}
    content = {
        "settings": settings.written(),
        "threads": threads,
        **surroundings(),
        "clips": None if clips.path is None else str(clips.path),
        "split": parts,
        "left_out": left_out,
    }
    run.write_json("config.json", content)


def phase_results(done: PhaseResult, train: Judgement, test: Judgement) -> dict[str, Any]:
    """What results.json says of a phase."""
    return {
        "train_loss": train.loss,
        "test_loss": test.loss,
        "test_accuracy": test.accuracy,
        "middle_loss": test.middle,
        "epochs": done.epochs,
        "best_epoch": done.best_epoch,
        "seconds": done.seconds,
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


def epoch_line(epoch: Epoch, improved: bool) -> str:
    """One line an epoch."""
    return (
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
