"""Whether losses and gradients are finite: asked at every step, or once for many steps, which are then replayed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from nn1d.backend import Array, array_module
from training.executor import Executor, Gradient, Number
from training.loss_scaling import LossScaler


class NotFinite(RuntimeError):
    """A loss or a gradient is not finite; the weights are those before that step."""

    def __init__(self, epoch: int, step: int, loss: float, clips: np.ndarray) -> None:
        super().__init__(f"the loss or its gradient is not finite in epoch {epoch}, step {step} (loss {loss})")
        self.clips = clips


class Steps(Protocol):
    """What takes the steps, and can be set back to take them again."""

    parameters: Array
    loss: Number
    epoch: int
    batches: int

    def gradient(self, clips: np.ndarray) -> Gradient:
        """Loss and gradient of a batch."""

    def step(self, clips: np.ndarray) -> None:
        """One step along the gradient."""

    def snapshot(self) -> dict[str, Any]:
        """A copy of all that a step changes."""

    def roll_back(self, snapshot: dict[str, Any]) -> None:
        """Be as at that snapshot."""


class FiniteCheck:
    """Ends a training before a step that would spoil the weights.

    Where the executor's numbers are synchronised, each loss and gradient is checked before its step. Elsewhere, as on
    a GPU, that would cost a wait at every step. There the steps are only noted, and `synchronise` checks all of them
    together. If one is not finite then, training goes back to the snapshot before the first of them and replays them
    with a check of each.

    In half precision a gradient may leave the range of float16 while the loss is finite: the scale backs off, and the
    gradient is computed again.

    Parameters
    ----------
    steps : Steps
    executor : Executor
    scaler : LossScaler
    """

    def __init__(self, steps: Steps, executor: Executor, scaler: LossScaler) -> None:
        self._steps, self._executor, self._scaler = steps, executor, scaler
        self._at_once = executor.synchronised
        self._noted: list[np.ndarray] = []  # batches of the steps that are not synchronised
        self._snapshot: dict[str, Any] = {}  # before the first of them

    def begin(self, clips: np.ndarray) -> None:
        """Note a step before it is taken."""
        if not self._at_once:
            if not self._noted:
                self._snapshot = self._steps.snapshot()
            self._noted.append(clips)

    def finite(self, loss: Number, gradient: Array, clips: np.ndarray) -> Gradient:
        """The loss and gradient of a noted step, finite unless that is only seen later.

        Raises
        ------
        NotFinite
        """
        if not self._at_once:
            return loss, gradient
        while not (math.isfinite(loss := float(loss)) and bool(array_module(gradient).isfinite(gradient).all())):
            if not (math.isfinite(loss) and self._scaler.back_off()):
                raise NotFinite(self._steps.epoch + 1, self._steps.batches + 1, loss, clips)
            loss, gradient = self._steps.gradient(clips)
        return loss, gradient

    def synchronise(self, numbers: Callable[[], Sequence[Number]] = tuple) -> list[float]:
        """Wait for all noted steps, and for numbers that are computed from the parameters after them.

        Raises
        ------
        NotFinite
            Before the step that is not finite.
        """
        while self._noted:
            steps, following = self._steps, numbers()
            finite = array_module(steps.parameters).isfinite(steps.parameters).all()
            loss, finite, *values = self._executor.synchronise([steps.loss, finite, *following])
            if math.isfinite(loss) and finite:
                steps.loss, self._noted = loss, []
                return values
            self._replay()
        return self._executor.synchronise(following) if (following := numbers()) else []

    def discard(self) -> None:
        """Forget the noted steps: the parameters are others."""
        self._noted = []

    def _replay(self) -> None:
        noted, self._noted = self._noted, []
        before = self._scaler.log2_backoff
        self._steps.roll_back(self._snapshot)
        self._at_once = True
        try:
            for clips in noted:
                self._steps.step(clips)
        finally:
            self._at_once = False
        if self._scaler.log2_backoff == before:  # all were finite in the replay: it would go on for ever
            raise NotFinite(self._steps.epoch + 1, self._steps.batches, math.nan, noted[-1])
