"""A loop over epochs that can be left after any step, and taken up again to the same bits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from nn1d import Adam
from nn1d.backend import Array, array_module
from speech.split import Indices, shuffled
from training.configuration import Configuration
from training.executor import Executor, Gradient, Number
from training.finite_check import FiniteCheck
from training.gradient_bound import GradientBound
from training.loss_scaling import LossScaler

ARRAYS = ("last", "average", "best", "mean", "square")  # the vectors of a state


class Epoch(NamedTuple):
    """What an epoch came to."""

    epoch: int
    train_loss: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    seconds: float


class Evaluation(NamedTuple):
    """Means over clips."""

    loss: Number  # mean squared error of the reconstruction, on [0, 1]
    accuracy: Number  # share of samples within 0.01 of their target
    middle: Number  # intermediate loss of Eq. 8, 0 where it has no weight
    on_bound: Number  # share of rebuilt samples that are 0 or 1, or beyond: where a hard sigmoid has no slope


class Trainer:
    """Minimises a loss by Adam, from the first step to the best weights.

    It knows what it is told: a function for the gradient of a batch, one for the evaluation of clips, and a vector. It
    asks its executor only whether numbers are synchronised (training/finite_check.py).

    Parameters
    ----------
    configuration : Configuration
        Batch size, schedule, warm-up, bound of gradients, averaging, patience, monitor, and the form of weight decay.
    parameters : (P,) array
        Changed in place by every step; the best ones when `run` returns.
    gradient : function (clips) -> (loss, gradient (P,))
    evaluation : function (clips) -> the numbers of an Evaluation
        With the parameters as they are.
    train, validation : Indices
        Clips; those that train draw the order of an epoch, if they are no array.
    epochs : int
        At most.
    learning_rate : float
        Of the first step.
    decay : (P,) array
        Strength of weight decay.
    order : numpy.random.Generator
        Draws the order of the clips.
    executor : Executor
        What computes both functions.
    scaler : LossScaler

    Attributes
    ----------
    epoch : int
        Epochs completed.
    history : list of Epoch
        One for each of them.
    best, best_epoch
        The parameters with the best evaluation, and when; 0 before the first epoch ends.
    """

    def __init__(
        self,
        configuration: Configuration,
        parameters: Array,
        gradient: Callable[[np.ndarray], Gradient],
        evaluation: Callable[[Indices], Sequence[Number]],
        train: Indices,
        validation: Indices,
        *,
        epochs: int,
        learning_rate: float,
        decay: Array,
        order: np.random.Generator,
        executor: Executor,
        scaler: LossScaler,
    ) -> None:
        self.configuration, self.parameters = configuration, parameters
        self.gradient, self.train, self.validation = gradient, train, validation
        self.epochs, self.learning_rate, self.scaler = epochs, learning_rate, scaler
        self.adam = Adam(learning_rate, weight_decay=decay, decoupled=configuration.decay == "decoupled")
        self.bound = GradientBound(configuration.clip, array_module(parameters))
        self.average, self.best = parameters.copy(), parameters.copy()
        self.epoch, self.best_epoch, self.best_value = 0, 0, -math.inf
        self.history: list[Epoch] = []
        self.batches = 0  # of the running epoch
        self.loss: Number = 0.0  # summed over its clips
        self._evaluation, self._executor = evaluation, executor
        self._check = FiniteCheck(self, executor, scaler)
        self._batches_per_epoch = math.ceil(len(train) / configuration.batch_size)
        self._order, self._order_before_epoch = order, order.bit_generator.state
        self._last: Array | None = None  # the parameters of the last step, once those in place are the best
        self._spent, self._since = 0.0, time.perf_counter()  # seconds of the running epoch: before, and since when

    @property
    def ended(self) -> bool:
        """Whether all epochs are done, or patience is."""
        return self.epoch >= self.epochs or self.epoch - self.best_epoch >= self.configuration.patience

    @property
    def seconds(self) -> float:
        """All epochs together."""
        return sum(epoch.seconds for epoch in self.history)

    def state_dict(self) -> dict[str, Any]:
        """All that the steps to come depend on: vectors under ARRAYS, and what JSON can hold under other names.

        Raises
        ------
        NotFinite
            One of the steps before was not finite.
        """
        self._check.synchronise()
        zeros = array_module(self.parameters).zeros_like(self.parameters)
        moments = (zeros if moment is None else moment for moment in (self.adam.mean, self.adam.square))
        last = self.parameters if self._last is None else self._last
        return dict(zip(ARRAYS, (last, self.average, self.best, *moments), strict=True)) | {
            "epoch": self.epoch,
            "batches": self.batches,
            "loss": self.loss,
            "adam_steps": self.adam.steps,
            "learning_rate": self.adam.learning_rate,
            "best_epoch": self.best_epoch,
            "best_value": self.best_value,
            "gradient_norms": self.bound.recent(),
            "loss_log2_backoff": self.scaler.log2_backoff,
            "order": self._order_before_epoch,
            "seconds": self._spent + time.perf_counter() - self._since,
            "history": self.history,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was called."""
        xp = array_module(self.parameters)
        self._check.discard()
        last, average, best, mean, square = (xp.array(state[name]) for name in ARRAYS)
        self.parameters[...] = last
        self.average, self.best, self.adam.mean, self.adam.square = average, best, mean, square
        self.adam.steps, self.adam.learning_rate = state["adam_steps"], state["learning_rate"]
        self.epoch, self.best_epoch, self.best_value = state["epoch"], state["best_epoch"], state["best_value"]
        self.history = [Epoch(*line) for line in state["history"]]
        self._order.bit_generator.state = self._order_before_epoch = state["order"]
        self.batches, self.loss, self._spent = state["batches"], state["loss"], state["seconds"]
        self.bound.restore(state.get("gradient_norms", []))  # states of version 0.1 have none
        self.scaler.log2_backoff = state["loss_log2_backoff"]

    def run(
        self,
        on_step: Callable[[], None] = lambda: None,
        on_epoch: Callable[[Epoch, bool], None] = lambda epoch, improved: None,
        progress: str | None = None,
    ) -> None:
        """Train to the end. Both functions may save `state_dict`, and leave by an exception.

        Parameters
        ----------
        on_step : function
        on_epoch : function (Epoch, whether it is the best so far)
        progress : str or None
            What a bar on stderr is headed by; no bar unless given.

        Raises
        ------
        NotFinite
            Before the step that would have spoilt the weights.
        """
        batch_size, total = self.configuration.batch_size, self.epochs * len(self.train)
        with tqdm(total=total, unit=" clips", desc=progress, disable=progress is None, smoothing=0.05) as bar:
            bar.update(self.epoch * len(self.train))
            self._since = time.perf_counter()
            while not self.ended:
                order = shuffled(self.train, self._order)
                bar.update(min(self.batches * batch_size, len(order)))
                while self.batches < self._batches_per_epoch:
                    start = self.batches * batch_size
                    batch = order[start : start + batch_size]
                    self.step(batch)
                    bar.update(len(batch))
                    on_step()
                epoch, improved = self._end_epoch()
                bar.set_postfix(epoch=f"{epoch.epoch}/{self.epochs}", loss=f"{epoch.train_loss:.2e}")
                on_epoch(epoch, improved)
        self._last = self.parameters.copy()
        self.parameters[...] = self.best

    def step(self, clips: np.ndarray) -> None:
        """One step of Adam; the running mean of the weights follows over `average` epochs."""
        settings, steps = self.configuration, self.epoch * self._batches_per_epoch + self.batches
        rate, warm_up = self.learning_rate, settings.warm_up * self._batches_per_epoch
        if steps < warm_up:
            rate *= (steps + 1) / (warm_up + 1)
        elif settings.schedule == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * steps / (self.epochs * self._batches_per_epoch)))
        self.adam.learning_rate = rate
        self._check.begin(clips)
        loss, gradient = self.gradient(clips)
        loss, gradient = self._check.finite(loss, gradient, clips)
        self.adam.step(self.parameters, self.bound(gradient))
        pace = 1 / (1 + settings.average * self._batches_per_epoch)
        self.average *= 1 - pace
        self.average += pace * self.parameters
        self.loss = self.loss + loss * len(clips)
        self.batches += 1

    def evaluate(self, clips: Indices) -> Evaluation:
        """The evaluation of some clips with the parameters as they are."""
        return Evaluation(*self._executor.synchronise(self._evaluation(clips)))

    def snapshot(self) -> dict[str, Any]:
        """A copy of all that a step changes."""
        arrays = {"parameters": self.parameters, "average": self.average, "mean": self.adam.mean,
                  "square": self.adam.square}  # fmt: skip
        copies = {name: None if array is None else array.copy() for name, array in arrays.items()}
        return copies | {
            "loss": self.loss, "steps": self.adam.steps, "batches": self.batches, "bound": self.bound.snapshot()
        }  # fmt: skip

    def roll_back(self, snapshot: dict[str, Any]) -> None:
        """Be as at that snapshot, which is used up."""
        self.parameters[...], self.average = snapshot["parameters"], snapshot["average"]
        self.adam.mean, self.adam.square, self.adam.steps = snapshot["mean"], snapshot["square"], snapshot["steps"]
        self.loss, self.batches = snapshot["loss"], snapshot["batches"]
        self.bound.roll_back(snapshot["bound"])

    def _end_epoch(self) -> tuple[Epoch, bool]:
        """Evaluate the running mean of the weights, and close the epoch."""
        evaluation = Evaluation(*self._check.synchronise(self._evaluate_average))
        value = evaluation.accuracy if self.configuration.monitor == "val_accuracy" else -evaluation.loss
        improved, self.epoch = value > self.best_value, self.epoch + 1
        if improved:
            self.best, self.best_epoch, self.best_value = self.average.copy(), self.epoch, value
        now = time.perf_counter()
        seconds, self._spent, self._since = self._spent + now - self._since, 0.0, now
        line = (self.loss / len(self.train), evaluation.loss, evaluation.accuracy, self.adam.learning_rate, seconds)
        self.history.append(Epoch(self.epoch, *line))
        self.batches, self.loss, self._order_before_epoch = 0, 0.0, self._order.bit_generator.state
        return self.history[-1], improved

    def _evaluate_average(self) -> Sequence[Number]:
        last = self.parameters.copy()
        self.parameters[...] = self.average
        try:
            return self._evaluation(self.validation)
        finally:
            self.parameters[...] = last
