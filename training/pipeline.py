"""The stages of a run, saved as they go, so that it can end at any moment and be taken up again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from speech.split import Parts
from storage.mapped import DamagedError, load_rows
from training.dual_training import DualTraining
from training.finite_check import NotFinite
from training.run_folder import RunFolder
from training.signals import Stop, Stopped
from training.terminal import say
from training.trainer import Epoch, Trainer


class Pipeline:
    """Take each stage of a run from where it stands to its end.

    Parameters
    ----------
    run : RunFolder
    training : DualTraining
    split : Parts
    names : sequence of str
        Of the clips.
    stop : Stop
        Asked after every step.
    on_epoch : function (phase, Epoch, bool)
        Told each epoch, and whether it is the best so far.
    progress : bool
        Show bars.
    """

    def __init__(
        self,
        run: RunFolder,
        training: DualTraining,
        split: Parts,
        names: Sequence[str],
        stop: Stop,
        on_epoch: Callable[[str, Epoch, bool], None],
        progress: bool,
    ) -> None:
        self.run, self.training, self.split, self.names = run, training, split, names
        self.stop, self.on_epoch, self.progress = stop, on_epoch, progress
        self._history: dict[str, list[Epoch]] = {}  # of each phase

    def fit(self, phase: str, trainer: Trainer) -> dict[str, Any]:
        """Train a phase to its end, from where it was saved if it was; its part of results.json."""
        run, named = self.run, self.training.named
        results = run.load_state(phase, trainer, named)
        self._history[phase] = trainer.history
        if trainer.ended and results is not None:
            self._write(phase, trainer)
            trainer.parameters[...] = trainer.best
            return dict(results)
        run.forget_after(phase)
        run.write_history(self._history)
        saved = time.monotonic()

        def save() -> None:
            nonlocal saved
            run.save_state(phase, trainer, named)
            saved = time.monotonic()

        def on_step() -> None:
            if time.monotonic() - saved >= self.training.configuration.checkpoint_every:
                save()
            self.stop.check()

        def on_epoch(epoch: Epoch, improved: bool) -> None:
            save()
            run.write_history(self._history)
            if improved:
                self._save_weights(phase, trainer)
            self.on_epoch(phase, epoch, improved)
            self.stop.check()

        try:
            try:
                trainer.run(on_step, on_epoch, phase if self.progress else None)
            except Stopped:
                save()
                raise
        except NotFinite as error:
            raise self.training.diverged(phase, trainer, error, self.names) from error
        self._write(phase, trainer)
        results = self._results(trainer)
        run.save_state(phase, trainer, named, results)
        return results

    def encode(self) -> np.ndarray:
        """The representation of every clip, in features.npy, unless it is there."""
        path, count = self.run.path / "features.npy", len(self.training.samples)
        if path.exists():
            try:
                features = load_rows(path)
                if (features.dtype, features.shape) == (np.float32, (count, *self.training.representation_shape)):
                    return features
                reason = f"{path} is of other clips"
            except (OSError, DamagedError) as error:
                reason = str(error)
            say(f"features: {reason}. It is made again")

        def rows() -> Iterator[np.ndarray]:
            shown = tqdm(total=count, desc="encoding", unit=" clips", disable=None if self.progress else True)
            with shown as bar:
                for row in self.training.encode(range(count)):
                    self.stop.check()
                    yield row
                    bar.update()

        self.run.write_features(rows(), count)
        self.training.executor.meet()  # others have written nothing
        return np.load(path, mmap_mode="r")

    def _results(self, trainer: Trainer) -> dict[str, Any]:
        """What results.json says of a phase, with its best weights."""
        train, test = trainer.evaluate(self.split.train), trainer.evaluate(self.split.test)
        return {
            "train_loss": train.loss,
            "test_loss": test.loss,
            "test_accuracy": test.accuracy,
            "middle_loss": test.middle,
            "test_on_bound": test.on_bound,
            "epochs": trainer.epoch,
            "best_epoch": trainer.best_epoch,
            "seconds": trainer.seconds,
            "weight_decay": self.training.weight_decay_part(trainer.parameters),
        }

    def _write(self, phase: str, trainer: Trainer) -> None:
        """What is made from the state: a run may have ended between saving that and writing this."""
        self.run.write_history(self._history)
        self._save_weights(phase, trainer)

    def _save_weights(self, phase: str, trainer: Trainer) -> None:
        views = self.training.flat.views
        self.run.save_weights(phase, {**views, **self.training.named(trainer.best)})
