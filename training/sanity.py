"""Quick looks before a long run: one batch learnt by heart, one step of each phase."""

from __future__ import annotations

import dataclasses
import sys
import time

import numpy as np

from storage.mapped import take_rows
from training.configuration import Configuration
from training.data import prepare
from training.dual_training import DualTraining
from training.run_folder import check_free, new_folder
from training.terminal import say
from training.trainer import NotFinite
from training.workers import Workers

OVERFIT_STEPS = 300
OVERFIT_SHARE = {"pre_training": 0.1, "fine_tuning": 0.5}  # of the variance that may be left


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
        variance = float(take_rows(work.clips.samples, batch).var(axis=1).mean())
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
