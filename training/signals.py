"""Ctrl-C and SIGTERM: the first asks for an end after the current step, the second ends at once."""

from __future__ import annotations

import os
import signal
from types import FrameType, TracebackType
from typing import Any


class Stopped(Exception):
    """Somebody asked for an end, and what was done is saved."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number

    def __reduce__(self) -> tuple[type[Stopped], tuple[int], dict[str, Any]]:
        return type(self), (self.code - 128,), self.__dict__


class Stop:
    """While it is entered, a signal is written down instead of acted upon.

    Attributes
    ----------
    asked : int or None
        The signal that came.
    together : bool
        Whether processes stop together: `check` raises once they have agreed, and not when a signal comes to one.
    agreed : int or None
        The signal that they stop by.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.asked: int | None = None
        self.together = False
        self.agreed: int | None = None
        self._before: dict[int, Any] = {}

    def check(self) -> None:
        """Raise Stopped if a signal came."""
        number = self.agreed if self.together else self.asked
        if number is not None:
            raise Stopped(number)

    def __enter__(self) -> Stop:
        self._before = {number: signal.signal(number, self._ask) for number in self.SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked is not None:  # the second: end the process where it is
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.asked = number
