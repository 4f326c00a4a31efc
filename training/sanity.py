"""Quick looks before a long run: one batch learnt by heart, one step of each phase."""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from collections.abc import Callable, Mapping

import numpy as np

from storage.mapped import take_rows
from training.configuration import Configuration
from training.data import ALONE, prepare, prepare_batch
from training.dual_training import DualTraining
from training.finite_check import NotFinite
from training.memory import multiplications
from training.rank import Ranks
from training.run_folder import check_free, new_folder
from training.terminal import say
from training.trainer import ARRAYS, Trainer

MOST_MULTIPLICATIONS = 200_000_000_000  # of a step that is tried: 3 to 10 s of two cores
OVERFIT_STEPS = 300
OVERFIT_SHARE = {"pre_training": 0.1, "fine_tuning": 0.5}  # of the variance that may be left


def overfit(settings: Configuration, ranks: Ranks = ALONE) -> bool:
    """Learn one batch by heart, in both phases; whether that worked. No other clip is read, and nothing is written."""
    work = prepare_batch(settings, ranks)
    batch = work.split.train
    quick = dataclasses.replace(
        settings, epochs=OVERFIT_STEPS, fine_tune_epochs=OVERFIT_STEPS, patience=OVERFIT_STEPS, batch_size=len(batch),
        weight_decay=0.0, average=0.0, middle_weight=0.0,
    )  # fmt: skip
    learned = True
    with work.executor() as executor:
        training = DualTraining(quick, work.clips.samples, executor)
        variance = float(take_rows(work.clips.samples, batch).var(axis=1).mean())
        for phase in ("pre_training", "fine_tuning"):
            if phase == "pre_training":
                trainer = training.pre_training(batch, batch)
            else:
                features = np.stack(list(training.encode(range(len(work.clips)))))
                trainer = training.fine_tuning(features, batch, batch)
            try:
                trainer.run(progress=phase if sys.stderr.isatty() else None)
            except NotFinite as error:
                raise training.diverged(phase, trainer, error, work.names) from error
            losses = [epoch.val_loss for epoch in trainer.history]
            done = min(losses) < OVERFIT_SHARE[phase] * variance
            say(
                f"{phase}: {len(batch)} clips, {trainer.epoch} steps: loss {losses[0]:.2e} -> {min(losses):.2e}, their "
                f"variance {variance:.2e}: {'learned' if done else 'NOT learned'}"
            )
            learned &= done
    return learned


def dry_run(
    settings: Configuration,
    ranks: Ranks = ALONE,
    page_files: Callable[[int, int], Mapping[str, int | None]] = lambda test_clips, clip_samples: {},
) -> None:
    """One step of each phase, and what a run would write. Only the prepared clips are written, which it will find.

    A step takes some clips of a batch that is too large to try, and none is tried where a clip alone is.
    `page_files` says which files show a run with so many test clips, and their bytes, None where that is not known.
    """
    folder = settings.out or new_folder(settings)
    check_free(folder, settings.force)
    work = prepare(settings, ranks=ranks)
    seconds, states = 0.0, 0
    of_clip = multiplications(settings)
    clips = min(settings.batch_size, MOST_MULTIPLICATIONS // of_clip)
    with work.executor() as executor:
        training = DualTraining(settings, work.clips.samples, executor)
        batch = work.split.train[: max(1, clips)]
        features = np.zeros((len(work.clips), *training.representation_shape), np.float32)
        if clips:
            features[batch] = list(training.encode(batch))
        for phase, trainer in (
            ("pre_training", training.pre_training(work.split.train, batch)),
            ("fine_tuning", training.fine_tuning(features, work.split.train, batch)),
        ):
            states += 2 * len(ARRAYS) * trainer.parameters.nbytes  # and the state before it
            if clips:
                seconds += _try_step(phase, trainer, batch) / len(batch) * len(work.parts.train) * trainer.epochs
        if clips:
            minutes = math.ceil(seconds / 60)
            say(f"a run of {settings.epochs} + {settings.fine_tune_epochs} epochs: at most about {minutes} min")
        else:
            say(
                f"no step is tried: the gradient of one clip takes {of_clip:.1e} multiplications. With a smaller "
                "--kernel-size or fewer --channels one is"
            )
    sizes: dict[str, int | None] = {
        "config.json, history.csv, clips.csv, results.json": 1000 * len(work.clips),
        ".nn1d-run.json, lock": 4000,
        "checkpoints/ (weights)": 2 * training.flat.vector.nbytes,
        "checkpoints/ (states to go on from)": states,
        "features.npy": features.nbytes,
    }
    sizes |= page_files(len(work.split.test), settings.clip_samples)
    say(f"would write into {folder}:", *(f"  {name:<50} {_megabytes(size)}" for name, size in sizes.items()))
    if work.clips.path is not None:
        say(f"and has, written now or before: {work.clips.path} ({work.clips.samples.nbytes / 1e6:.1f} MB)")


def _try_step(phase: str, trainer: Trainer, batch: np.ndarray) -> float:
    """Seconds of a step, which is said."""
    trainer.gradient(batch)  # the first is slower
    started = time.perf_counter()
    loss, gradient = trainer.gradient(batch)
    trainer.adam.step(trainer.parameters, gradient)
    loss = float(loss)  # waits for a GPU
    seconds = time.perf_counter() - started
    after = float(trainer.gradient(batch)[0])
    say(f"{phase}: one step of {len(batch)} clips in {1e3 * seconds:.0f} ms, loss {loss:.3e} -> {after:.3e}")
    return seconds


def _megabytes(size: int | None) -> str:
    return "not known before" if size is None else f"{size / 1e6:8.1f} MB"
