"""The folder of a run: what it is written into, and how nothing in it is ever half-written.

config.json                          settings, split, versions, command line, machine
history.csv                          a line an epoch
checkpoints/pretrained.safetensors   weights under dotted names
checkpoints/finetuned.safetensors
checkpoints/pre_training.state.safetensors, fine_tuning.state.safetensors   where a phase goes on
features.npy                         (n, L / 2^depth, C) float32: the representation of every clip
clips.csv                            a line a clip, in the order of features.npy
results.json                         losses of both phases, what the masks are worth, distortion, and the paper's losses
metrics.csv                          a line a test clip and phase: every measure of distortion
probe.json                           what is in the representation, once python -m inference probe has asked
report.html, figures/, audio/        the listening page, its figures and sounds
lock                                 held by the process that writes here
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from nn1d import to_numpy
from nn1d.backend import Array
from storage.atomic import SUFFIX, remove_unfinished, write_atomic
from training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from training.configuration import Configuration, ConfigurationError
from training.trainer import ARRAYS, Epoch, Phase

FILES = (
    "config.json",
    "history.csv",
    "features.npy",
    "clips.csv",
    "results.json",
    "metrics.csv",
    "probe.json",
    "report.html",
)
FOLDERS = ("checkpoints", "figures", "audio")
WEIGHTS = {"pre_training": "pretrained.safetensors", "fine_tuning": "finetuned.safetensors"}
AFTER = {  # what no longer holds when a phase goes on
    "pre_training": (
        "results.json",
        "metrics.csv",
        "probe.json",
        "report.html",
        "clips.csv",
        "features.npy",
        "checkpoints/fine_tuning.state.safetensors",
    ),
    "fine_tuning": ("results.json", "metrics.csv", "report.html"),
}
Named = Callable[[Array], Mapping[str, Array]]


class RunError(RuntimeError):
    """A run folder cannot be used; the message says why and what to do."""


class RunFolder:
    """The folder of a run, which this process alone may write into until it ends.

    Raises
    ------
    RunError
        Another process writes there, or a file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path / "lock")
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            raise RunError(f"run: another process is writing into {path}. Wait for its end, or stop it") from None
        except OSError as error:
            raise RunError(f"run: cannot write into {path}: {error.strerror}. Choose another folder") from error
        remove_unfinished(path)
        remove_unfinished(path / "checkpoints")

    @classmethod
    def create(cls, path: Path, force: bool = False) -> RunFolder:
        """Make the folder of a new run; with force in place of the run that is there. Only its own files are removed.

        Raises
        ------
        RunError
            Something is there already and force is off, or what is there is not a run, or it cannot be written.
        """
        try:
            check_free(path, force)
            path.mkdir(parents=True, exist_ok=True)
            run = cls(path)
            check_free(path, force)  # another process may have been quicker
            for name in FILES:
                (path / name).unlink(missing_ok=True)
            for name in FOLDERS:
                shutil.rmtree(path / name, ignore_errors=True)
            (path / "checkpoints").mkdir(exist_ok=True)
        except OSError as error:
            raise RunError(f"--out: cannot write a run into {path}: {error.strerror}. Choose another --out") from error
        return run

    @classmethod
    def open(cls, path: Path, who: str = "--resume") -> RunFolder:
        """The folder of a run to go on with; `who` begins the sentence of an error."""
        _check_run(path, who)
        run = cls(path)
        run.make_checkpoints()
        return run

    def make_checkpoints(self) -> None:
        """The folder of the checkpoints, where somebody removed it."""
        with self._writing("checkpoints") as path:
            path.mkdir(exist_ok=True)

    def release(self) -> None:
        """Let another process write here."""
        self._lock.release()

    def read_config(self, who: str = "--resume") -> tuple[dict[str, Any], Configuration]:
        """What config.json holds, and its settings."""
        return read_config(self.path, who)

    def read_results(self) -> dict[str, Any]:
        """What results.json holds.

        Raises
        ------
        RunError
            The run has not ended, or the file is not what train.py wrote.
        """
        path = self.path / "results.json"
        cure = f"Go on with the run, which writes it: python train.py --resume {self.path}"
        try:
            results = json.loads(path.read_text("utf-8"))
            if {"pre_training", "fine_tuning", "masks", "test_variance", "db", "clips"} <= set(results):
                return dict(results)
        except FileNotFoundError:
            raise RunError(f"run: {self.path} has not come to its end (no results.json). {cure}") from None
        except (OSError, ValueError, TypeError, RecursionError):
            pass
        raise RunError(f"run: {path} is not what train.py wrote. {cure}")

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file at once or not at all."""
        self._write(name, json.dumps(content, indent=2) + "\n")

    def write_history(self, epochs: Iterable[Epoch]) -> None:
        """Write history.csv anew: it never holds half a line, nor an epoch twice."""
        self._write_rows("history.csv", Epoch._fields, epochs)

    def write_clips(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write clips.csv: what each row of features.npy is of."""
        self._write_rows("clips.csv", list(rows[0]), (row.values() for row in rows))

    def write_metrics(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write metrics.csv: every measure of every test clip after each phase."""
        self._write_rows("metrics.csv", list(rows[0]), (row.values() for row in rows))

    def write_page(self, text: str) -> None:
        """Write report.html."""
        self._write("report.html", text)

    def save_weights(self, phase: str, views: Mapping[str, Array]) -> None:
        """Write the weights under their dotted names; the live model stays where it is."""
        with self._writing(f"checkpoints/{WEIGHTS[phase]}") as path:
            save_checkpoint(path, {name: to_numpy(view) for name, view in views.items()}, {"phase": phase})

    def load_weights(self, phase: str, views: Mapping[str, Array]) -> dict[str, np.ndarray]:
        """The weights that save_weights wrote, for a network with these parameters."""
        shapes = {name: view.shape for name, view in views.items()}
        return load_checkpoint(self.path / "checkpoints" / WEIGHTS[phase], shapes)[0]

    def save_state(self, phase: Phase, named: Named, results: Mapping[str, Any] | None = None) -> None:
        """Write where a phase stands, and its part of results.json when it has ended."""
        arrays = {
            f"{kind}.{name}": to_numpy(view)
            for kind, vector in phase.arrays().items()
            for name, view in named(vector).items()
        }
        with self._writing(self._state(phase.name)) as path:
            save_checkpoint(path, arrays, phase.words() | {"results": results})

    def load_state(self, phase: Phase, named: Named) -> Mapping[str, Any] | None:
        """Set a phase to where it was saved; its part of results.json if it had ended.

        Raises
        ------
        CheckpointError
            What was saved is damaged, or of another network.
        """
        path = self.path / self._state(phase.name)
        if not path.exists():
            return None
        own = named(phase.parameters)
        shapes = {f"{kind}.{name}": tuple(view.shape) for kind in ARRAYS for name, view in own.items()}
        arrays, words = load_checkpoint(path, shapes)
        vectors = {kind: np.concatenate([arrays[f"{kind}.{name}"].ravel() for name in own]) for kind in ARRAYS}
        try:
            phase.restore(vectors, words)
            return words["results"]
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"{path}: its metadata are not those of a phase") from error

    def forget_after(self, phase: str) -> None:
        """Remove what was made from the end of a phase that goes on."""
        for name in AFTER[phase]:
            with self._writing(name) as path:
                path.unlink(missing_ok=True)

    @staticmethod
    def _state(phase: str) -> str:
        return f"checkpoints/{phase}.state.safetensors"

    def _write_rows(self, name: str, head: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(head)
        writer.writerows(rows)
        self._write(name, text.getvalue())

    def _write(self, name: str, text: str) -> None:
        with self._writing(name) as path:
            write_atomic(path, text.encode("utf-8"))

    @contextmanager
    def _writing(self, name: str) -> Iterator[Path]:
        with self.writing():
            yield self.path / name

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Say in one sentence what keeps a file of the run from being written."""
        try:
            yield
        except OSError as error:
            raise RunError(
                f"run: cannot write into {self.path}: {error.strerror or error}. What was saved before is whole: make "
                f"room there, then go on with python train.py --resume {self.path}"
            ) from error


def check_free(path: Path, force: bool) -> None:
    """Raise RunError unless a new run may be written there."""
    if not path.exists():
        return
    inside = {child.name for child in path.iterdir()} if path.is_dir() else {""}
    if "config.json" in inside:
        if not force:
            raise RunError(
                f"--out: {path} holds a run already. Choose another --out, go on with it by --resume, or replace it "
                "with --force"
            )
    elif any(name not in ("lock", "checkpoints") and not name.endswith(SUFFIX) for name in inside):
        raise RunError(f"--out: {path} exists and is not a run. Choose another --out")


def read_config(path: Path, who: str = "run") -> tuple[dict[str, Any], Configuration]:
    """What config.json of a run holds, and its settings; `who` begins the sentence of an error.

    Raises
    ------
    RunError
        There is none, or it is not what train.py wrote.
    """
    _check_run(path, who)
    path = path / "config.json"
    try:
        config = json.loads(path.read_text("utf-8"))
        return config, Configuration.read(config["settings"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        reason = error if isinstance(error, ConfigurationError) else "it is not what train.py wrote"
        raise RunError(f"{who}: cannot read {path}: {reason}. Start a new run") from error


def _check_run(path: Path, who: str) -> None:
    if not (path / "config.json").is_file():
        raise RunError(f"{who}: {path} holds no run (no config.json). Name the folder that train.py printed")


def new_folder(settings: Configuration) -> Path:
    """Where a run is written unless the user says so."""
    return Path("runs") / f"{settings.db}-{datetime.now():%Y%m%d-%H%M%S}"
