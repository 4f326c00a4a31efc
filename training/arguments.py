"""The command line of train.py: an option for each setting, a file of settings, and what to do instead of a new run."""

from __future__ import annotations

import dataclasses
import tomllib
from argparse import SUPPRESS, ArgumentTypeError
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nn1d.command import Parser
from storage.regular import read_regular
from training.configuration import NAMES, SEPARATOR, Configuration, ConfigurationError, converted, integers


class Command(NamedTuple):
    """What a command line asks for."""

    settings: Configuration
    chosen: dict[str, Any]  # the settings that are no defaults
    resume: Path | None
    overfit: bool
    dry_run: bool


def read_arguments(arguments: Sequence[str] | None = None) -> Command:
    """What a command line asks for: options before --config before defaults.

    Raises
    ------
    ConfigurationError
        The file cannot be read, or a setting in it or on the command line is unknown or out of range.
    SystemExit
        With code 2 after a sentence about an unknown option or a text that is no number, with 0 after --help.
    """
    parser = Parser(
        command="train.py",
        prog="train.py",
        description="Learn a representation of 4-second speech clips and rebuild the audio from it: the whole first, "
        "then the decoder alone. Without options it trains on a small synthetic corpus.",
        argument_default=SUPPRESS,
    )
    groups: dict[str, Any] = {}
    for field in dataclasses.fields(Configuration):
        rule = field.metadata
        if rule["group"] not in groups:
            groups[rule["group"]] = parser.add_argument_group(rule["group"])
        group = groups[rule["group"]]
        text = rule["help"] + _default_text(field)
        option = "--" + field.name.replace("_", "-")
        if rule["kind"] is bool:
            group.add_argument(option, action="store_true", help=text)
        elif rule["several"]:
            metavar = f"{{{','.join(rule['choices'])}}}" if rule["choices"] else "NAME"
            group.add_argument(option, nargs="+", metavar=metavar, help=text)
        else:
            names = {int: "N", float: "X", str: "SIZE", Path: "PATH", integers: "N,N,..."}
            metavar = f"{{{','.join(rule['choices'])}}}" if rule["choices"] else names[rule["kind"]]
            group.add_argument(option, type=_reader(rule["kind"]), metavar=metavar, help=text)
    groups["machine"].add_argument(
        "--config",
        type=Path,
        metavar="FILE.toml",
        help="settings under these names, with _ for -; options go before them",
    )
    instead = parser.add_argument_group("instead of a new run").add_mutually_exclusive_group()
    instead.add_argument("--resume", type=Path, metavar="RUN", help="go on with the run in this folder, as it began")
    instead.add_argument("--overfit", action="store_true", help="learn one batch by heart: is everything wired?")
    instead.add_argument("--dry-run", action="store_true", help="one step of each phase; show what would be written")
    options = vars(parser.parse_args(arguments))
    options |= {name: SEPARATOR.join(options[name]) for name in options.keys() & {"db"}}
    options |= {name: tuple(options[name]) for name in options.keys() & {"leave_out"}}
    file = options.pop("config", None)
    resume, overfit, dry_run = (options.pop(name, None) for name in ("resume", "overfit", "dry_run"))
    chosen = ({} if file is None else _read_toml(file)) | options
    settings = Configuration(**(default_settings(chosen) | chosen))
    return Command(settings, chosen, resume, bool(overfit), bool(dry_run))


def _reader(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """What reads the value of an option; argparse puts the option before the sentence."""

    def read(text: str) -> Any:
        try:
            if text or kind is not Path:  # an empty path would be the folder at hand
                return kind(text)
        except ValueError:
            pass
        raise ArgumentTypeError(f"must be {NAMES[kind]}; got {text!r}")

    return read


def default_settings(chosen: dict[str, Any]) -> dict[str, Any]:
    """The defaults that differ for what is given: for the demo corpus, which has few clips, and for folds."""
    defaults: dict[str, Any] = {}
    if chosen.get("pooling", Configuration.pooling) == "fold":
        defaults |= _marked("fold")
    if chosen.get("db", Configuration.db) == "demo":
        defaults |= _marked("demo")
    return defaults


def _marked(case: str) -> dict[str, Any]:
    rules = {field.name: field.metadata[case] for field in dataclasses.fields(Configuration)}
    return {name: value for name, value in rules.items() if value is not None}


def _default_text(field: dataclasses.Field[Any]) -> str:
    if field.default in (None, ()):
        return ""
    default = ",".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
    cases = "".join(
        f"; for {case} {field.metadata[case]}" for case in ("demo", "fold") if field.metadata[case] is not None
    )
    return f" (default: {'no' if default is False else default}{cases})"


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        text = read_regular(path, "utf-8-sig")
        settings = tomllib.loads(text)
    except FileNotFoundError:
        raise ConfigurationError(f"--config: {path}: there is no such file") from None
    except IsADirectoryError:
        raise ConfigurationError(f"--config: {path} is a folder. Name a file in it") from None
    except OSError as error:
        raise ConfigurationError(f"--config: {path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"--config: {path} is not TOML: byte {error.start} is not UTF-8. Write one setting a line, like epochs = 3"
        ) from None
    except (ValueError, RecursionError) as error:  # Python refuses a number of more digits than 4,300
        reason = error if isinstance(error, (tomllib.TOMLDecodeError, RecursionError)) else "a number is too long"
        raise ConfigurationError(
            f"--config: {path} is not TOML: {reason}. Write one setting a line, like epochs = 3"
        ) from None
    try:
        return converted(settings)
    except ConfigurationError as error:
        raise ConfigurationError(f"--config: {path} has {error}") from None
