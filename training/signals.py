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


class Stop:
    """While it is entered, a signal is written down instead of acted upon.

    Attributes
    ----------
    asked : int or None
        The signal that came.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.asked: int | None = None
        self._before: dict[int, Any] = {}

    def check(self) -> None:
        """Raise Stopped if a signal came."""
        if self.asked is not None:
            raise Stopped(self.asked)

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
