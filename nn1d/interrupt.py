"""Ctrl-C while one of nn1d's commands still imports: a line and 130, as nn1d/command.py has it from then on."""

from __future__ import annotations

import os
import signal
import sys

COMMANDS = {
    "nn1d.doctor": "doctor",
    "nn1d-doctor": "doctor",
    "nn1d.gradcheck": "gradcheck",
    "nn1d-gradcheck": "gradcheck",
}


def command_of_this_process() -> str | None:
    """The command of nn1d that Python was started for, before its module runs; None in any other program."""
    name = sys.argv[0] if hasattr(sys, "argv") and sys.argv else ""
    if name == "-m":  # until the module is found
        name = sys.orig_argv[sys.orig_argv.index("-m") + 1] if "-m" in sys.orig_argv[:-1] else ""
    return COMMANDS.get(name.replace("\\", "/").rpartition("/")[2].removesuffix(".exe"))


def end_quietly(command: str) -> None:
    """Let SIGINT and SIGTERM end the process with one line: an import may swallow an exception."""

    def end(number: int, frame: object) -> None:
        os.write(2, f"{command}: {'interrupted' if number == signal.SIGINT else 'terminated'}\n".encode())
        os._exit(128 + number)  # nothing is written yet

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)


if command := command_of_this_process():
    end_quietly(command)
