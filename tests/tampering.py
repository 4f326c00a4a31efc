"""The files of a run altered value by value, and the commands that read them: a result, or one sentence and 2."""

from __future__ import annotations

import argparse
import contextlib
import copy
import csv
import io
import json
import random
import runpy
import shutil
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from safetensors import safe_open

import inference.__main__ as inference
import report.__main__ as report
from inference.arguments import read_arguments
from nn1d.command import run_command
from report import emotion, figure
from tests.command import QUICK, ROOT, make_recordings
from training.arguments import read_arguments as read_options
from training.checkpoint import save_checkpoint
from training.data import MISTAKES
from training.rank import Ranks

DIGITS, RAW = "7" * 5000, "a number of 5,000 digits"
VALUES: dict[str, Any] = {
    "null": None,
    "text": "x",
    "number": 3,
    "fraction": 0.5,
    "truth": True,
    "huge": 10**30,
    "as large as allowed": 2**53,
    "huge fraction": 1e300,
    "negative": -1,
    "NaN": float("nan"),
    "infinity": float("inf"),
    "nested": {"a": {"b": [1, [2, {}]]}},
    "list": [1, "a", None],
    "no list": [],
    "no object": {},
    "text of 5,000 digits": DIGITS,
    RAW: RAW,
    "control characters": "\0\x01\x1f\u202e",
    "half a character": "\ud800",
}
READERS = {
    "config.json": ("resume", "report", "evaluate", "encode", "probe", "rate"),
    "results.json": ("report",),
    "probe.json": ("report",),
    "history.csv": ("report",),
    "clips.csv": ("encode",),
    "pre_training.state.safetensors": ("resume",),
    "fine_tuning.state.safetensors": ("resume",),
}

ENDLESS = (("settings", "epochs"), ("settings", "fine_tune_epochs"))  # a run of 2^53 epochs is what was asked for then


def leaves(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where every value of a JSON document stands, and every list and object; the first two of a list for the rest."""
    if path:
        yield path
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        if not isinstance(key, int) or key < 2:
            yield from leaves(value, (*path, key))


def altered(content: Any, path: tuple[Any, ...], change: str) -> Any:
    """A copy in which one value is another, or gone."""
    content = copy.deepcopy(content)
    holder = content
    for key in path[:-1]:
        holder = holder[key]
    if change == "gone":
        del holder[path[-1]]
    else:
        holder[path[-1]] = VALUES[change]
    return content


def write_json(path: Path, content: Any) -> None:
    """Also of a number that Python would not write."""
    path.write_text(json.dumps(content).replace(json.dumps(RAW), DIGITS))


class Tampered:
    """A run of eight recordings with its page and its probe, and what alters a copy of it.

    Parameters
    ----------
    folder : Path
        Takes the recordings, the run and the copy.
    """

    def __init__(self, folder: Path) -> None:
        self.recordings, self.whole, self.run = folder / "recordings", folder / "whole", folder / "run"
        self.cache, self.output = folder / "cache", folder / "output"
        self.train = runpy.run_path(str(ROOT / "train.py"), run_name="train")
        names = [
            path.relative_to(self.recordings) for path in sorted(make_recordings(self.recordings, 8).rglob("*.wav"))
        ]
        lines = [f"{path},{path.parts[0]},speaker{i % 2},text{i // 4}" for i, path in enumerate(names)]
        manifest = folder / "list.csv"
        manifest.write_text("\n".join(["path,label,speaker,text", *lines]) + "\n")
        options = [
            *QUICK, "--clip-samples", "4000", "--db", "folder", "--data-dir", str(self.recordings), "--manifest",
            str(manifest), "--cache-dir", str(self.cache), "--threads", "1", "--scale", "corpus", "--no-report",
        ]  # fmt: skip
        command = read_options([*options, "--out", str(self.whole)])
        self._ended(lambda: self.train["go_on"](*self.train["begin"](command.settings, Ranks())))
        self.source = self.whole
        self._ended(lambda: self.command("probe"))
        self.source = self.run

    @staticmethod
    def _ended(function: Callable[[], Any]) -> None:
        code, errors = outcome(function)
        assert code == 0, errors

    def changes(self, files: tuple[str, ...] = tuple(READERS)) -> list[tuple[str, str, Any, str]]:
        """Command, file, place and change: all that there are."""
        return [
            (command, name, place, change)
            for name in files
            for place in self._places(name)
            for change in ("gone", *VALUES)
            for command in READERS[name]
            if not (change == "as large as allowed" and place in ENDLESS)
        ]

    def _places(self, name: str) -> list[Any]:
        path = self._path(self.whole, name)
        if name.endswith(".json"):
            return list(leaves(json.loads(path.read_text())))
        if name.endswith(".csv"):
            lines = list(csv.reader(path.read_text().splitlines()))
            return [(row, column) for row in (0, 1, len(lines) - 1) for column in range(len(lines[0]))]
        with safe_open(path, "numpy") as file:
            about = json.loads(file.metadata()["nn1d"])
            arrays = [("array", key) for key in list(file.keys())[::5]]
        return [*(place for place in leaves(about) if place[0] not in ("format", "sha256")), *arrays]

    @staticmethod
    def _path(run: Path, name: str) -> Path:
        return run / "checkpoints" / name if name.endswith(".safetensors") else run / name

    def alter(self, name: str, place: Any, change: str) -> None:
        """Copy the run, and change one thing in one file."""
        shutil.rmtree(self.run, ignore_errors=True)
        shutil.copytree(self.whole, self.run)
        path = self._path(self.run, name)
        if name.endswith(".json"):
            write_json(path, altered(json.loads(path.read_text()), place, change))
        elif name.endswith(".csv"):
            lines = list(csv.reader(path.read_text().splitlines()))
            row, column = place
            if change == "gone":
                del lines[row][column]
            else:
                lines[row][column] = DIGITS if change == RAW else str(VALUES[change])
            text = io.StringIO(newline="")
            csv.writer(text).writerows(lines)
            path.write_bytes(text.getvalue().encode("utf-8", "surrogatepass"))
        else:
            self._alter_state(path, place, change)

    @staticmethod
    def _alter_state(path: Path, place: tuple[Any, ...], change: str) -> None:
        """With a checksum that is right."""
        path.with_name(path.name.replace(".state.", ".state.previous.")).unlink()
        with safe_open(path, "numpy") as file:
            arrays = {key: file.get_tensor(key) for key in list(file.keys())}
            about = json.loads(file.metadata()["nn1d"])
        del about["format"], about["sha256"]
        if place[0] != "array":
            about = altered(about, place, change)
        elif change == "gone":
            del arrays[place[1]]
        elif isinstance(number := VALUES[change], (int, float)):
            with np.errstate(over="ignore"):
                arrays[place[1]] = np.full_like(arrays[place[1]], number)
        save_checkpoint(path, arrays, about)

    def command(self, name: str) -> None:
        """Run a command on the run, without the start of a process."""
        run, data = str(self.source), ["--data-dir", str(self.recordings)]
        if name == "resume":
            folder, work = self.train["resume"](Path(run), {"cache_dir": self.cache}, Ranks())
            self.train["go_on"](folder, work)
        elif name == "report":
            with pytest.MonkeyPatch.context() as patch:  # pictures of sounds and PNG files take most of the time
                patch.setattr(figure, "write_clip_figures", lambda *arguments: None)
                patch.setattr(figure, "write_figure", write_text)
                patch.setattr(emotion, "write_figure", write_text)
                report.main(argparse.Namespace(run=Path(run), others=[], out=None, data_dir=None))
        elif name == "encode":
            wav = str(next(self.recordings.rglob("*.wav")))
            inference.main(read_arguments(["encode", run, wav, "-o", f"{self.output}.npz", "--threads", "1"]))
        elif name == "reconstruct":
            wav = str(next(self.recordings.rglob("*.wav")))
            inference.main(read_arguments(["reconstruct", run, wav, "-o", f"{self.output}.wav", "--threads", "1"]))
        elif name == "export":
            inference.main(read_arguments(["export", run, "-o", f"{self.output}.onnx"]))
        elif name == "evaluate":
            options = ["--db", "folder", *data, "--cache-dir", str(self.cache), "--limit", "2", "--threads", "1"]
            inference.main(read_arguments(["evaluate", run, *options]))
        elif name == "probe":
            options = ["--targets", "emotion", "--features", "representation", "--threads", "1", *data]
            inference.main(read_arguments(["probe", run, *options]))
        else:
            inference.main(read_arguments(["rate", run, *data, "--bits", "8", "--threads", "1"]))


def write_text(place: Callable[[str], Path], name: str, drawing: Figure) -> str:
    """Draw at so few dots that it is quick; the text of the SVG."""
    memory = io.BytesIO()
    drawing.set_layout_engine("none")
    drawing.savefig(memory, format="svg", dpi=10)
    return memory.getvalue().decode()


def outcome(function: Callable[[], Any]) -> tuple[int, str]:
    """The exit code of a command that is called here, and what it printed as an error."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            run_command("nn1d", function, *MISTAKES, *inference.MISTAKES)
        except SystemExit as end:
            return int(end.code or 0), errors.getvalue()
    return 0, errors.getvalue()


def tampered(folder: Path, rng: random.Random) -> Iterator[str]:
    """Each change once, in random order, until there are no more; without the page, which takes seconds."""
    return _tampered(folder, rng, {"resume", "evaluate", "encode", "probe", "rate"})


def tampered_page(folder: Path, rng: random.Random) -> Iterator[str]:
    """The same for the page of a run."""
    return _tampered(folder, rng, {"report"})


def _tampered(folder: Path, rng: random.Random, commands: set[str]) -> Iterator[str]:
    run = Tampered(folder)
    changes = [change for change in run.changes() if change[0] in commands]
    rng.shuffle(changes)
    for command, name, place, change in changes:
        run.alter(name, place, change)
        try:
            code, errors = outcome(partial(run.command, command))
        except Exception as error:
            error.add_note(f"{command} with {name} {place}: {change}")
            raise
        sentence = [line for line in errors.splitlines() if line.startswith("nn1d: ")]
        assert code == 0 or (code == 2 and len(sentence) == 1), (command, name, place, change, code, errors)
        yield f"{name}, {command}: {'refused' if code else 'a result'}"
