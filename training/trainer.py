"""A phase of training: a loop over epochs that can be left after any step, and taken up again to the same bits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from nn1d import Adam, to_numpy
from nn1d.backend import Array, array_module
from training.configuration import Configuration
from training.loss_scaling import Precision

ARRAYS = ("last", "average", "best", "mean", "square")  # what Phase.arrays gives
Gradient = Callable[[np.ndarray], tuple[float | Array, Array]]


class Epoch(NamedTuple):
    """One line of history.csv."""

    phase: str
    epoch: int
    train_loss: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    seconds: float


class Judgement(NamedTuple):
    """Means over clips; on a GPU arrays without axes, which somebody has to wait for."""

    loss: float  # mean squared error of the reconstruction, on [0, 1]
    accuracy: float  # share of samples within 0.01 of their target
    middle: float  # intermediate loss of Eq. 8, 0 where it has no weight


class NotFinite(RuntimeError):
    """A loss or a gradient is not finite; the weights are those before that step."""

    def __init__(self, phase: str, epoch: int, step: int, loss: float, clips: np.ndarray) -> None:
        super().__init__(f"{phase}: the loss or its gradient is not finite in epoch {epoch}, step {step} (loss {loss})")
        self.clips = clips


class Phase:
    """One phase, from its first step to its best weights.

    On the CPU every loss and gradient is looked at before its step. On a GPU that would keep it waiting, so they are
    looked at together at the end of an epoch and before a state is saved: one synchronisation. If one is not finite
    then, the steps since the last look are taken again one by one, to end before the one that spoils the weights.

    Parameters
    ----------
    name : "pre_training" or "fine_tuning"
    configuration : Configuration
    parameters : (P,) array
        Changed in place by every step; the best ones when `run` returns.
    decay : (P,) array
        Strength of weight decay.
    gradient : function (clips) -> (loss, gradient (P,))
    judge : function (clips) -> Judgement
        With the parameters as they are.
    train, validation : (n,) int
        Clips.
    order : numpy.random.Generator
        Draws the order of the clips.
    precision : Precision
        Asked for a smaller scale where a gradient is not finite but the loss is; then the step is taken again.

    Attributes
    ----------
    epoch : int
        Epochs completed.
    history : list of Epoch
        A line for each of them.
    best, best_epoch
        The parameters that were judged best, and when; 0 before the first epoch ends.
    """

    def __init__(
        self,
        name: str,
        configuration: Configuration,
        parameters: Array,
        decay: Array,
        gradient: Gradient,
        judge: Callable[[np.ndarray], Judgement],
        train: np.ndarray,
        validation: np.ndarray,
        order: np.random.Generator,
        precision: Precision,
    ) -> None:
        self.name, self.configuration, self.parameters = name, configuration, parameters
        self.gradient, self.judge, self.train, self.validation = gradient, judge, train, validation
        self.precision = precision
        first = name == "pre_training"
        self.epochs = configuration.epochs if first else configuration.fine_tune_epochs
        self.rate = configuration.learning_rate if first else configuration.fine_tune_learning_rate
        self.adam = Adam(self.rate, weight_decay=decay, decoupled=configuration.decay == "decoupled")
        self.average, self.best = parameters.copy(), parameters.copy()
        self.epoch, self.best_epoch, self.best_value = 0, 0, -math.inf
        self.history: list[Epoch] = []
        self._order, self._before_epoch = order, order.bit_generator.state
        self._last: Array | None = None  # the parameters of the last step, once those in place are the best
        self._batches = 0  # of the running epoch
        self._loss: Any = 0.0  # their sum, on the GPU unless somebody has looked
        self._looks = array_module(parameters) is np  # at every step, before it is taken
        self._unseen: list[np.ndarray] = []  # batches of the steps that nobody has looked at
        self._seen: dict[str, Any] = {}  # where they began
        self._spent, self._since = 0.0, time.perf_counter()  # seconds of the running epoch: before, and since when

    @property
    def ended(self) -> bool:
        """Whether all epochs are done, or patience is."""
        return self.epoch >= self.epochs or self.epoch - self.best_epoch >= self.configuration.patience

    @property
    def seconds(self) -> float:
        """All epochs together."""
        return sum(epoch.seconds for epoch in self.history)

    def arrays(self) -> dict[str, Array]:
        """With `words`, all that the steps to come depend on: the parameters, their averages, the moments of Adam."""
        self._look()
        zeros = array_module(self.parameters).zeros_like(self.parameters)
        moments = (zeros if moment is None else moment for moment in (self.adam.mean, self.adam.square))
        last = self.parameters if self._last is None else self._last
        return dict(zip(ARRAYS, (last, self.average, self.best, *moments), strict=True))

    def words(self) -> dict[str, Any]:
        """What else they depend on, as JSON can hold it."""
        self._look()
        return {
            "phase": self.name,
            "epoch": self.epoch,
            "batches": self._batches,
            "loss": self._loss,
            "adam_steps": self.adam.steps,
            "learning_rate": self.adam.learning_rate,
            "best_epoch": self.best_epoch,
            "best_value": self.best_value,
            "loss_halvings": self.precision.halvings,
            "order": self._before_epoch,
            "seconds": self._spent + time.perf_counter() - self._since,
            "history": self.history,
        }

    def restore(self, arrays: Mapping[str, Array], words: Mapping[str, Any]) -> None:
        """Go on where `arrays` and `words` were taken."""
        xp = array_module(self.parameters)
        self._unseen = []
        last, average, best, mean, square = (xp.array(arrays[name]) for name in ARRAYS)
        self.parameters[...] = last
        self.average, self.best, self.adam.mean, self.adam.square = average, best, mean, square
        self.adam.steps, self.adam.learning_rate = words["adam_steps"], words["learning_rate"]
        self.epoch, self.best_epoch, self.best_value = words["epoch"], words["best_epoch"], words["best_value"]
        self.history = [Epoch(*line) for line in words["history"]]
        self._order.bit_generator.state = self._before_epoch = words["order"]
        self._batches, self._loss, self._spent = words["batches"], words["loss"], words["seconds"]
        self.precision.halvings = words.get("loss_halvings", 0)  # states of before there was half precision have none

    def run(
        self,
        on_step: Callable[[], None] = lambda: None,
        on_epoch: Callable[[Epoch, bool], None] = lambda epoch, improved: None,
        progress: bool = False,
    ) -> None:
        """Train to the end. Both functions may save `arrays` and `words`, and leave by an exception.

        Raises
        ------
        NotFinite
            Before the step that would have spoilt the weights.
        """
        settings = self.configuration
        batches = math.ceil(len(self.train) / settings.batch_size)
        total = self.epochs * len(self.train)
        with tqdm(total=total, unit=" clips", desc=self.name, disable=not progress, smoothing=0.05) as bar:
            bar.update(self.epoch * len(self.train))
            self._since = time.perf_counter()
            while not self.ended:
                order = self._order.permutation(self.train)
                bar.update(min(self._batches * settings.batch_size, len(order)))
                while self._batches < batches:
                    start = self._batches * settings.batch_size
                    batch = order[start : start + settings.batch_size]
                    self._step(batch, batches)
                    bar.update(len(batch))
                    on_step()
                line, improved = self._judge()
                bar.set_postfix(epoch=f"{line.epoch}/{self.epochs}", loss=f"{line.train_loss:.2e}")
                on_epoch(line, improved)
        self._last = self.parameters.copy()
        self.parameters[...] = self.best

    def _step(self, batch: np.ndarray, batches: int) -> None:
        """One step of Adam; the average follows over `average` epochs of `batches` steps."""
        settings, steps = self.configuration, self.epoch * batches + self._batches
        if settings.schedule == "cosine":
            self.adam.learning_rate = self.rate * 0.5 * (1 + math.cos(math.pi * steps / (self.epochs * batches)))
        if steps < settings.warm_up * batches:
            self.adam.learning_rate = self.rate * (steps + 1) / (settings.warm_up * batches + 1)
        if not self._looks and not self._unseen:
            self._seen = {"parameters": self.parameters.copy(), "average": self.average.copy(), "loss": self._loss,
                          "mean": _copy(self.adam.mean), "square": _copy(self.adam.square),
                          "steps": self.adam.steps, "batches": self._batches}  # fmt: skip
        loss: Any
        loss, slope = self.gradient(batch)
        if self._looks:
            while not (math.isfinite(loss := float(loss)) and bool(array_module(slope).isfinite(slope).all())):
                if not (math.isfinite(loss) and self.precision.lower()):
                    raise NotFinite(self.name, self.epoch + 1, self._batches + 1, loss, batch)
                loss, slope = self.gradient(batch)
        else:
            self._unseen.append(batch)
            loss = loss.astype(np.float64)
        self.adam.step(self.parameters, slope)
        pace = 1 / (1 + settings.average * batches)
        self.average *= 1 - pace
        self.average += pace * self.parameters
        self._loss = self._loss + loss * len(batch)
        self._batches += 1

    def _look(self, judged: Judgement | None = None) -> Judgement | None:
        """Wait for the GPU: whether the steps since the last look are finite, and the numbers of a judgement.

        None where those are of weights that are gone, since the steps had to be taken again.
        """
        if not self._unseen:
            return None if judged is None else Judgement(*map(float, judged))
        xp = array_module(self.parameters)
        steps = (self._loss, xp.isfinite(self.parameters).all())
        numbers = [xp.asarray(number, np.float64) for number in (*steps, *(judged or ()))]
        loss, finite, *rest = to_numpy(xp.stack(numbers)).tolist()
        if not (math.isfinite(loss) and finite):
            self._repeat()
            return None
        self._loss, self._unseen = loss, []
        return Judgement(*rest) if judged else None

    def _repeat(self) -> None:
        """Take the steps again that nobody has looked at, one by one, with a smaller scale from where that helps.

        Raises
        ------
        NotFinite
            Before the step that is not finite.
        """
        again, seen, self._unseen = self._unseen, self._seen, []
        halvings = self.precision.halvings
        self.parameters[...], self.average, self._loss = seen["parameters"], seen["average"], seen["loss"]
        self.adam.mean, self.adam.square, self.adam.steps = seen["mean"], seen["square"], seen["steps"]
        self._batches, self._looks = seen["batches"], True
        try:
            for batch in again:
                self._step(batch, math.ceil(len(self.train) / self.configuration.batch_size))
        finally:
            self._looks = False
        if self.precision.halvings == halvings:  # not twice in the same place
            raise NotFinite(self.name, self.epoch + 1, self._batches, math.nan, again[-1])

    def _judge(self) -> tuple[Epoch, bool]:
        """Judge the average, and close the epoch."""
        judged = None
        while judged is None:
            judged = self._look(self._judge_average())
        value = judged.accuracy if self.configuration.monitor == "val_accuracy" else -judged.loss
        improved, self.epoch = value > self.best_value, self.epoch + 1
        if improved:
            self.best, self.best_epoch, self.best_value = self.average.copy(), self.epoch, value
        now = time.perf_counter()
        seconds, self._spent, self._since = self._spent + now - self._since, 0.0, now
        line = (self._loss / len(self.train), judged.loss, judged.accuracy, self.adam.learning_rate, seconds)
        self.history.append(Epoch(self.name, self.epoch, *line))
        self._batches, self._loss, self._before_epoch = 0, 0.0, self._order.bit_generator.state
        return self.history[-1], improved

    def _judge_average(self) -> Judgement:
        last = self.parameters.copy()
        self.parameters[...] = self.average
        try:
            return self.judge(self.validation)
        finally:
            self.parameters[...] = last


def _copy(array: Array | None) -> Array | None:
    return None if array is None else array.copy()
