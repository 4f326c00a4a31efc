"""How a command reads its options and how it ends: one sentence and an exit code, never a page of usage or a traceback.

0 done, 1 the answer is no, 2 a mistake of the user, 130 stopped by Ctrl-C, 143 by SIGTERM, 141 nobody reads on.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TypeVar

Result = TypeVar("Result")


class Parser(argparse.ArgumentParser):
    """argparse's parser without abbreviations; a mistake is one sentence with the nearest name, and exit code 2.

    Parameters
    ----------
    command : str
        What the sentences begin with.
    options :
        Those of argparse.ArgumentParser; prog is python -m `command` where it is not named.
    """

    def __init__(self, *, command: str, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **{"prog": f"python -m {command}"} | options)
        self.command = command
        self._mixing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As argparse does it, but nothing unknown is left over, and names may stand between the options."""
        if self._mixing:
            return super().parse_known_args(args, namespace)
        arguments = list(sys.argv[1:] if args is None else args)
        for option in self._options_in(arguments):
            if option not in self._option_string_actions:
                known = [name for name in self._option_string_actions if name.startswith("--")]
                self.error(f"unknown option {option}{nearest(option, known) or self._help()}")
        in_order = any(isinstance(action, argparse._SubParsersAction) for action in self._actions)
        in_order = in_order or not {"-h", "--help"}.isdisjoint(arguments)  # argparse has no defaults while it mixes
        parse = super().parse_known_args if in_order else self.parse_known_intermixed_args
        self._mixing = True
        try:
            namespace, rest = parse(arguments, namespace)
        finally:
            self._mixing = False
        if rest:
            self.error(f"unexpected {' '.join(rest)}{self._help()}")
        return namespace, rest

    def _options_in(self, arguments: Sequence[str]) -> Iterator[str]:
        """The names of the options, up to the name of a subcommand, which has options of its own."""
        subcommands: Iterable[str] = ()
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                subcommands = action.choices
        for argument in arguments:
            if argument == "--" or argument in subcommands:
                return
            name = argument.split("=")[0]
            if not argument.startswith("-") or " " in name or re.match(r"-(\.?\d|$)", argument):
                continue  # a value: of digits, or with blanks, or the - that stands for a stream
            yield name if name.startswith("--") or name in self._option_string_actions else name[:2]

    def _check_value(self, action: argparse.Action, value: Any) -> None:  # argparse asks it about choices
        if action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            name = "/".join(action.option_strings) or action.metavar or action.dest
            self.error(f"{name} must be one of {', '.join(choices)}; got {value!r}{nearest(str(value), choices)}")

    def _print_message(self, message: str, file: Any = None) -> None:  # argparse's own hides that it failed
        if message:
            (file or sys.stderr).write(message)

    def error(self, message: str) -> NoReturn:
        """Say it in one sentence, and end."""
        say(f"{self.command}: {message.removeprefix('argument ')}")
        raise SystemExit(2)

    def _help(self) -> str:
        return f"; {self.prog} --help lists the options"


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: those that it may stand for, or "" where none is near."""
    by_word = {_word(candidate): candidate for candidate in known}
    word = _word(name)
    near = [candidate for candidate in by_word if word and candidate.startswith(word)]
    near = (near or difflib.get_close_matches(word, by_word, n=1))[:3]
    return f"; did you mean {' or '.join(by_word[candidate] for candidate in near)}?" if near else ""


def _word(name: str) -> str:
    return name.lower().replace("_", "-").strip("-")


def run_command(name: str, function: Callable[[], Result], *mistakes: type[Exception]) -> Result:
    """What the function returns; whatever else it comes to ends the process with a sentence and an exit code.

    Parameters
    ----------
    name : str
        What the sentence begins with.
    function : callable
        The command.
    mistakes : exception classes
        Those whose text is a sentence for the user.

    Raises
    ------
    SystemExit
        2 after a mistake, and where a file or the output cannot be written; 130, 143 and 141 as the module says.
    """
    try:
        with _signals(), redirect_stdout(_output(name)):
            try:
                return function()
            finally:
                sys.stdout.flush()
    except mistakes as error:
        say(f"{name}: {str(error).removeprefix(f'{name}: ')}")
        raise SystemExit(2) from None
    except MemoryError as error:
        say(f"{name}: there is not enough memory{f': {error}' if str(error) else ''}")
        raise SystemExit(2) from None
    except RuntimeError as error:
        if "can't start new thread" not in str(error):
            raise
        say(f"{name}: there is not enough memory, or room for processes, to start a thread. Look at ulimit -v and -u")
        raise SystemExit(2) from None
    except KeyboardInterrupt as error:
        say(f"{name}: {'terminated' if isinstance(error, Terminated) else 'interrupted'}")
        raise SystemExit(143 if isinstance(error, Terminated) else 130) from None
    except BrokenPipeError:
        raise SystemExit(141) from None
    except UnicodeEncodeError as error:
        if sys.getfilesystemencoding() == "utf-8":
            raise
        say(f"{name}: the locale cannot write the file name {error.object!a}. Choose one of UTF-8: LC_ALL=C.UTF-8")
        raise SystemExit(2) from None
    except OSError as error:
        place = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        say(f"{name}: {place}{error.strerror or error}")
        raise SystemExit(2) from None
    finally:
        _forget_output()


def say(sentence: str) -> None:
    """Print a sentence, which is one line, to standard error, if somebody listens there."""
    with suppress(OSError):
        print(" ".join(sentence.splitlines()), file=sys.stderr, flush=True)


class Terminated(KeyboardInterrupt):
    """SIGTERM came."""


@contextmanager
def _signals() -> Iterator[None]:
    """Raise where a signal comes, so that whatever is half-written is taken back on the way out."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers: dict[int, Callable[[int, FrameType | None], Any]] = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: _terminate,
    }
    before = {
        number: signal.signal(number, handler)
        for number, handler in handlers.items()
        if signal.getsignal(number) is not signal.SIG_IGN  # of a shell that keeps them from background jobs
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


class _Output:
    """Standard output; what keeps it from being written names it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write."""
        return self._named(self._stream.write, text)

    def flush(self) -> None:
        """Write what is held back."""
        self._named(self._stream.flush)

    def _named(self, function: Callable[..., Any], *arguments: str) -> Any:
        try:
            return function(*arguments)
        except OSError as error:
            error.filename = "standard output"
            raise


def _output(name: str) -> Any:
    """Standard output that shows as an escape what a terminal cannot; without one there is nobody to work for."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:  # else a file that is opened becomes a closed stream
        pass
    os.close(descriptor)
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
    if sys.stdout is None:
        say(f"{name}: standard output is closed. Send it to a file, or to {os.devnull}")
        raise SystemExit(2)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    return _Output(sys.stdout)


def _forget_output() -> None:
    """Where output cannot be written, keep Python from trying once more at its end."""
    try:
        sys.stdout.flush()
    except (OSError, AttributeError):
        with suppress(OSError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
