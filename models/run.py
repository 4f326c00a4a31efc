"""The folder of a run: what it is written into, and how nothing in it is ever half-written.

config.json                          settings, split, versions, command line, machine
history.csv                          a line an epoch
checkpoints/pretrained.safetensors   weights under dotted names
checkpoints/finetuned.safetensors
features.npy                         (n, L / 2^depth, C) float32: the representation of every clip
clips.csv                            a line a clip, in the order of features.npy
results.json                         losses of both phases, and the paper's
"""

from __future__ import annotations

import csv
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save
from threadpoolctl import threadpool_info

from models.dual_training import Epoch
from nn1d import to_numpy

FILES = ("config.json", "history.csv", "features.npy", "clips.csv", "results.json")
WEIGHTS = {"pre_training": "pretrained.safetensors", "fine_tuning": "finetuned.safetensors"}


class RunError(RuntimeError):
    """A run folder cannot be used; the message says why and what to do."""


class RunFolder:
    """Make the folder of a new run.

    Parameters
    ----------
    path : Path
    force : bool
        Replace the run that is there. Only files that a run writes are removed.

    Raises
    ------
    RunError
        Something is there already and force is off, or what is there is not a run, or the folder cannot be written.
    """

    def __init__(self, path: Path, force: bool = False) -> None:
        self.path = path
        try:
            if path.exists() and (not path.is_dir() or any(path.iterdir())):
                self._clear(force)
            (path / "checkpoints").mkdir(parents=True, exist_ok=True)
            if not os.access(path, os.W_OK):
                raise PermissionError(13, "no permission to write")
        except OSError as error:
            raise RunError(f"--out: cannot write a run into {path}: {error.strerror}. Choose another --out") from error

    def _clear(self, force: bool) -> None:
        if not (self.path / "config.json").is_file():
            raise RunError(f"--out: {self.path} exists and is not a run. Choose another --out")
        if not force:
            raise RunError(f"--out: {self.path} holds a run already. Choose another --out, or replace it with --force")
        for name in FILES:
            (self.path / name).unlink(missing_ok=True)
        shutil.rmtree(self.path / "checkpoints", ignore_errors=True)

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file at once or not at all."""
        self._replace(self.path / name, lambda path: path.write_text(json.dumps(content, indent=2) + "\n", "utf-8"))

    def append_history(self, epoch: Epoch) -> None:
        """Append a line to history.csv; it is on its way to the disk when this returns."""
        path = self.path / "history.csv"
        is_new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if is_new:
                writer.writerow(Epoch._fields)
            writer.writerow(epoch)

    def save_weights(self, phase: str, views: Mapping[str, Any]) -> None:
        """Write the weights under their dotted names; the live model stays where it is."""
        arrays = {name: np.ascontiguousarray(to_numpy(view)) for name, view in views.items()}
        content = save(arrays, {"nn1d": phase})  # one entry: the library writes several in random order
        self._replace(self.path / "checkpoints" / WEIGHTS[phase], lambda path: path.write_bytes(content))

    def load_weights(self, phase: str) -> dict[str, np.ndarray]:
        """The weights that save_weights wrote."""
        return load_file(self.path / "checkpoints" / WEIGHTS[phase])

    def write_clips(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write clips.csv: what each row of features.npy is of."""
        rows = list(rows)

        def write(path: Path) -> None:
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)

        self._replace(self.path / "clips.csv", write)

    @staticmethod
    def _replace(path: Path, write: Any) -> None:
        unfinished = path.with_name(path.name + ".part")
        write(unfinished)
        unfinished.replace(path)


def surroundings() -> dict[str, Any]:
    """What else a run depends on: versions, BLAS, git commit, command line, machine."""
    blas = [
        {name: library.get(name) for name in ("internal_api", "version", "architecture", "num_threads")}
        for library in threadpool_info()
        if library["user_api"] == "blas"
    ]
    return {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": blas,
        "machine": {"system": platform.platform(), "processor": _processor(), "cores": os.cpu_count()},
    }


def _git_commit() -> str | None:
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
