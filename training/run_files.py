"""The files of a run: their names, and what is read from them.

config.json                          settings, split, versions, command line, machine
history.csv                          a line an epoch
checkpoints/pretrained.safetensors   weights under dotted names
checkpoints/finetuned.safetensors
checkpoints/pre_training.state.safetensors, fine_tuning.state.safetensors   where a phase goes on
features.npy                         (n, L / 2^depth, C) float32: the representation of every clip
clips.csv                            a line a clip, in the order of features.npy
results.json                         losses of both phases, ablation of the masks, distortion, and the paper's losses
metrics.csv                          a line a test clip and phase: every measure of distortion
probe.json                           what is in the representation, once python -m inference probe has asked
report.html, figures/, audio/        the listening page, its figures and sounds
comparison.html                      this run and others side by side, once python -m report RUN RUN2 has made it
lock                                 held by the process that writes here
.nn1d-run.json                       which of these the run has written: nothing else is replaced or removed
"""

from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nn1d.backend import Array
from storage.regular import read_regular
from training import schema
from training.checkpoint import CheckpointError, load_checkpoint
from training.configuration import Configuration, ConfigurationError
from training.trainer import ARRAYS, Epoch, Trainer

FILES = (
    "config.json",
    "history.csv",
    "features.npy",
    "clips.csv",
    "results.json",
    "metrics.csv",
    "probe.json",
    "report.html",
    "comparison.html",
)
FOLDERS = ("checkpoints", "figures", "audio")
WEIGHTS = {"pre_training": "pretrained.safetensors", "fine_tuning": "finetuned.safetensors"}
AFTER = {  # what no longer holds when a phase goes on
    "pre_training": (
        "results.json",
        "metrics.csv",
        "probe.json",
        "report.html",
        "comparison.html",
        "clips.csv",
        "features.npy",
        "checkpoints/fine_tuning.state.safetensors",
        "checkpoints/fine_tuning.state.previous.safetensors",
    ),
    "fine_tuning": ("results.json", "metrics.csv", "report.html", "comparison.html"),
}
SINCE_0_1 = {"finding": "summary", "loss_halvings": "loss_log2_backoff"}  # names in files, before and now
Named = Callable[[Array], Mapping[str, Array]]


class RunError(RuntimeError):
    """A run folder cannot be used; the message says why and what to do."""


class RunFiles:
    """The files of a run, read; each is checked, for anything may have happened to it since it was written."""

    def __init__(self, path: Path) -> None:
        self.path = path

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
            results = json.loads(read_regular(path))
            if isinstance(results, dict) and isinstance(results.get("masks"), dict):
                masks = {SINCE_0_1.get(name, name): part for name, part in results["masks"].items()}
                results |= {"masks": masks}
            return dict(schema.check_results(results))
        except FileNotFoundError:
            raise RunError(f"run: {self.path} has not come to its end (no results.json). {cure}") from None
        except (OSError, ValueError, RecursionError) as error:
            raise RunError(f"run: {path} is not what train.py wrote{_detail(error)}. {cure}") from error

    def read_history(self) -> list[dict[str, Any]]:
        """The lines of history.csv, with numbers where they are.

        Raises
        ------
        RunError
            It is not there, or not what train.py wrote.
        """
        path = self.path / "history.csv"
        try:
            lines = schema.read_lines(list(csv.DictReader(io.StringIO(read_regular(path), newline=""))))
            if lines:
                return [dict(line) for line in lines]
        except (OSError, ValueError, csv.Error):
            pass
        cure = f"Go on with the run, which writes it: python train.py --resume {self.path}"
        raise RunError(f"run: {path} is not there, or not what train.py wrote. {cure}")

    def load_weights(self, phase: str, views: Mapping[str, Array]) -> dict[str, np.ndarray]:
        """The weights that save_weights wrote, for a network with these parameters."""
        shapes = {name: view.shape for name, view in views.items()}
        return load_checkpoint(self.path / "checkpoints" / WEIGHTS[phase], shapes)[0]

    def load_state(self, phase: str, trainer: Trainer, named: Named) -> Mapping[str, Any] | None:
        """Set a phase to where it was saved; its part of results.json if it had ended.

        Raises
        ------
        CheckpointError
            What was saved is damaged, or of another network.
        """
        paths = [self.path / self._state(phase, kind) for kind in ("state", "state.previous")]
        damaged: CheckpointError | None = None
        for path in paths:
            if not path.exists():
                continue
            try:
                results = self._load_state(path, phase, trainer, named)
            except CheckpointError as error:
                damaged = damaged or error
                continue
            if damaged is not None:
                logging.getLogger("training").warning("run: %s. Going on from the state before it, %s", damaged, path)
            return results
        if damaged is not None:
            names = " and ".join(str(path) for path in paths if path.exists())
            raise CheckpointError(f"{damaged}. Remove {names} to begin {phase} anew")
        return None

    @staticmethod
    def _load_state(path: Path, phase: str, trainer: Trainer, named: Named) -> Mapping[str, Any] | None:
        views = named(trainer.parameters)
        shapes = {f"{kind}.{name}": tuple(view.shape) for kind in ARRAYS for name, view in views.items()}
        arrays, about = load_checkpoint(path, shapes)
        vectors = {kind: np.concatenate([arrays[f"{kind}.{name}"].ravel() for name in views]) for kind in ARRAYS}
        about = {SINCE_0_1.get(name, name): value for name, value in about.items()}
        if isinstance(history := about.get("history"), list):  # 0.1 had the phase first
            about["history"] = [line[-len(Epoch._fields) :] if isinstance(line, list) else line for line in history]
        try:
            state = schema.check_state(about)
        except schema.FormError as error:
            raise CheckpointError(f"{path}: its metadata are not those of a phase{_detail(error)}") from error
        if state["phase"] != phase:
            raise CheckpointError(f"{path}: is of {state['phase']}, not of {phase}")
        trainer.load_state_dict({"loss_log2_backoff": 0} | dict(state) | vectors)
        return state["results"]

    @staticmethod
    def _state(phase: str, kind: str = "state") -> str:
        return f"checkpoints/{phase}.{kind}.safetensors"


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
        config = schema.check(json.loads(read_regular(path)), schema.Config)
        return dict(config), Configuration.read(config["settings"])
    except (OSError, ValueError, RecursionError) as error:
        reason = error if isinstance(error, ConfigurationError) else f"it is not what train.py wrote{_detail(error)}"
        raise RunError(f"{who}: cannot read {path}: {reason}. Start a new run") from error


def _detail(error: Exception) -> str:
    """What of a file has another form than it should have, where that is known."""
    return f" ({error})" if isinstance(error, schema.FormError) else ""


def _check_run(path: Path, who: str) -> None:
    if not (path / "config.json").is_file():
        raise RunError(f"{who}: {path} holds no run (no config.json). Name the folder that train.py printed")
