"""Both phases of a run, saved as they go, so that the run can end at any moment and be taken up again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from speech.split import Split
from storage.mapped import write_features
from training.dual_training import DualTraining
from training.run_folder import RunFolder
from training.signals import Stop, Stopped
from training.trainer import Epoch, Judgement, NotFinite, Phase

Judge = Callable[[np.ndarray], Judgement]


class Pipeline:
    """Take a run from where it stands to its end.

    Parameters
    ----------
    run : RunFolder
    training : DualTraining
    split : Split
    names : sequence of str
        Of the clips.
    stop : Stop
        Asked after every step.
    on_epoch : function (Epoch, bool)
        Told each epoch, and whether it is the best so far.
    progress : bool
        Show bars.
    """

    def __init__(
        self,
        run: RunFolder,
        training: DualTraining,
        split: Split,
        names: Sequence[str],
        stop: Stop,
        on_epoch: Callable[[Epoch, bool], None],
        progress: bool,
    ) -> None:
        self.run, self.training, self.split, self.names = run, training, split, names
        self.stop, self.on_epoch, self.progress = stop, on_epoch, progress
        training.on_clips = stop.check

    def pre_train(self) -> dict[str, Any]:
        """Phase 1; its part of results.json."""
        phase = self.training.pre_training(self.split.train, self.split.validation)
        return self._complete(phase, self.training.judge_whole, [])

    def encode(self) -> np.ndarray:
        """The representation of every clip, in features.npy, unless it is there."""
        path, count = self.run.path / "features.npy", len(self.training.samples)
        if path.exists():
            try:
                features = np.load(path, mmap_mode="r")
                if (features.dtype, features.shape) == (np.float32, (count, *self.training.representation_shape)):
                    return features
            except (OSError, ValueError, EOFError):
                pass  # somebody has altered it: it is made again

        def rows() -> Iterator[np.ndarray]:
            shown = tqdm(total=count, desc="encoding", unit=" clips", disable=None if self.progress else True)
            with shown as bar:
                for row in self.training.encode(range(count)):
                    self.stop.check()
                    yield row
                    bar.update()

        with self.run.writing():
            return write_features(path, rows(), count)

    def fine_tune(self, features: np.ndarray) -> dict[str, Any]:
        """Phase 2; its part of results.json."""
        first = self.training.pre_training(self.split.train, self.split.validation)
        self.run.load_state(first, self.training.named)  # for its history
        self.training.flat.vector[...] = first.best
        phase = self.training.fine_tuning(features, self.split.train, self.split.validation)
        return self._complete(phase, lambda clips: self.training.judge_decoder(features, clips), first.history)

    def _complete(self, phase: Phase, judge: Judge, earlier: list[Epoch]) -> dict[str, Any]:
        """Take a phase to its end, from where it was saved if it was."""
        run, named = self.run, self.training.named
        results = run.load_state(phase, named)
        if phase.ended and results is not None:
            self._write(phase, earlier)
            phase.parameters[...] = phase.best
            return dict(results)
        run.forget_after(phase.name)
        run.write_history([*earlier, *phase.history])
        saved = time.monotonic()

        def save() -> None:
            nonlocal saved
            run.save_state(phase, named)
            saved = time.monotonic()

        def on_step() -> None:
            if time.monotonic() - saved >= phase.configuration.checkpoint_every:
                save()
            self.stop.check()

        def on_epoch(epoch: Epoch, improved: bool) -> None:
            save()
            run.write_history([*earlier, *phase.history])
            if improved:
                self._save_weights(phase)
            self.on_epoch(epoch, improved)
            self.stop.check()

        try:
            try:
                phase.run(on_step, on_epoch, self.progress)
            except Stopped:
                save()
                raise
        except NotFinite as error:
            raise self.training.diverged(phase, error, self.names) from error
        self._write(phase, earlier)
        results = phase_results(phase, judge(self.split.train), judge(self.split.test))
        results["weight_decay"] = self.training.weight_decay_part(phase.parameters)
        run.save_state(phase, named, results)
        return results

    def _write(self, phase: Phase, earlier: list[Epoch]) -> None:
        """What is made from the state: a run may have ended between saving that and writing this."""
        self.run.write_history([*earlier, *phase.history])
        self._save_weights(phase)

    def _save_weights(self, phase: Phase) -> None:
        views = self.training.flat.views
        self.run.save_weights(phase.name, {**views, **self.training.named(phase.best)})


def phase_results(phase: Phase, train: Judgement, test: Judgement) -> dict[str, Any]:
    """What results.json says of a phase."""
    return {
        "train_loss": train.loss,
        "test_loss": test.loss,
        "test_accuracy": test.accuracy,
        "middle_loss": test.middle,
        "epochs": phase.epoch,
        "best_epoch": phase.best_epoch,
        "seconds": phase.seconds,
    }
