"""The folder of a run, written: by one process at a time, and no file of it (run_files.py) is ever half there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from nn1d import to_numpy
from nn1d.backend import Array
from storage.atomic import UNFINISHED, remove_unfinished, write_atomic
from storage.mapped import write_rows
from storage.spreadsheet import csv_lines
from training.checkpoint import save_checkpoint
from training.configuration import Configuration
from training.ownership import Ownership, OwnershipError
from training.run_files import AFTER, FILES, FOLDERS, WEIGHTS, Named, RunError, RunFiles, read_config
from training.trainer import ARRAYS, Epoch, Trainer

ASIDE = ".replaced-"  # and the beginning of a run's identity: where it is until the one in its place stands


class RunFolder(RunFiles):
    """The folder of a run, which this process alone may write into: to its end, or to that of a `with` block.

    Only files that the run has written are ever replaced or removed (training/ownership.py), and nothing behind a link.

    Raises
    ------
    RunError
        Another process writes there, or a file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._ownership = Ownership(path, "", set())  # of nothing
        lock = path / "lock"
        self._lock = FileLock(lock)
        try:
            if lock.is_symlink() or (lock.exists() and (not lock.is_file() or lock.stat().st_size > 0)):
                raise RunError(
                    f"run: {lock} is there, and is no lock of a run, which is an empty file. Move it elsewhere"
                )
            self._lock.acquire(blocking=False)
        except Timeout:
            raise RunError(f"run: another process is writing into {path}. Wait for its end, or stop it") from None
        except OSError as error:
            raise RunError(f"run: cannot write into {path}: {error.strerror}. Choose another folder") from error
        for folder in (path, *(path / name for name in FOLDERS)):
            if not folder.is_symlink() or folder == path:
                remove_unfinished(folder)

    @classmethod
    def create(cls, path: Path, config: Mapping[str, Any], force: bool = False) -> RunFolder:
        """Make the folder of a new run with its config.json; with force in place of the run that is there.

        That one is renamed first, and removed when the new one stands.

        Raises
        ------
        RunError
            Something is there already and force is off, or what is there is not a run's, or it cannot be written.
        """
        check_free(path, force)
        replaced = None
        try:
            if path.exists():
                path = path.resolve()  # of a link, what it leads to
            if _holds_run(path):
                replaced = _set_aside(path)
            path.mkdir(parents=True, exist_ok=True)
            run = cls(path)
            try:
                check_free(path, force)  # another process may have been quicker
                if (unfinished := Ownership.read(path)) is not None:  # killed before there was a config.json
                    unfinished.remove(*unfinished.files - {"lock"})
                run._ownership = Ownership.begin(path, "lock")
                run.make_checkpoints()
                run.write_json("config.json", config)
            except BaseException:
                run.release()
                if replaced is not None:
                    run._ownership.files.add("lock")  # also where there could be no record
                    run._ownership.remove_all()
                raise
        except (OSError, OwnershipError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise RunError(f"--out: cannot write a run into {path}: {reason}. Choose another --out") from error
        finally:
            if replaced is not None and not (path / "config.json").exists():
                if path.is_dir() and not any(path.iterdir()):
                    path.rmdir()
                replaced.rename(path)
                replaced = None
        if force:
            with run.writing():
                for old in _replaced(path):  # another, if this was killed before it came to that
                    old.remove_all()
        return run

    @classmethod
    def open(cls, path: Path, who: str = "--resume") -> RunFolder:
        """The folder of a run to go on with; `who` begins the sentence of an error."""
        read_config(path, who)  # before anything is written there
        run = cls(path)
        with run.writing():
            run._ownership = Ownership.read(path) or _adopted(path)
            run._ownership.adopt("lock")
        run.make_checkpoints()
        return run

    def make_checkpoints(self) -> None:
        """Make the folder of the checkpoints where it has been removed."""
        with self.writing():
            self._ownership.reach("checkpoints").mkdir(exist_ok=True)

    def place(self, name: str) -> Path:
        """Where to write a file of the run, whose folder is there then; within `writing`."""
        self._ownership.claim(name)
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        return path

    def clear(self, folder: str) -> None:
        """Remove what the run has written into one of its folders; within `writing`."""
        self._ownership.remove(*(name for name in self._ownership.files if name.startswith(f"{folder}/")))

    def release(self) -> None:
        """Let another process write here."""
        self._lock.release()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file at once or not at all."""
        self._write(name, json.dumps(content, indent=2) + "\n")

    def write_results(self, results: Mapping[str, Any]) -> None:
        """Write results.json: as `read_results` gives it, or the whole of it for the first time."""
        self.write_json("results.json", results)

    def write_history(self, history: Mapping[str, Iterable[Epoch]]) -> None:
        """Write history.csv anew, from the epochs of each phase: it never holds half a line, nor an epoch twice."""
        rows = ((phase, *epoch) for phase, epochs in history.items() for epoch in epochs)
        self._write_rows("history.csv", ("phase", *Epoch._fields), rows)

    def write_clips(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write clips.csv: what each row of features.npy is of."""
        self._write_rows("clips.csv", list(rows[0]), (row.values() for row in rows))

    def write_metrics(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write metrics.csv: every measure of every test clip after each phase."""
        self._write_rows("metrics.csv", list(rows[0]), (row.values() for row in rows))

    def write_features(self, rows: Iterator[np.ndarray], count: int) -> None:
        """Write features.npy, row by row."""
        with self._writing("features.npy") as path:
            write_rows(path, rows, count)

    def write_page(self, text: str) -> None:
        """Write report.html."""
        self._write("report.html", text)

    def write_comparison(self, text: str) -> None:
        """Write comparison.html: this run and others side by side."""
        self._write("comparison.html", text)

    def save_weights(self, phase: str, views: Mapping[str, Array]) -> None:
        """Write the weights under their dotted names; the live model stays where it is."""
        with self._writing(f"checkpoints/{WEIGHTS[phase]}") as path:
            save_checkpoint(path, {name: to_numpy(view) for name, view in views.items()}, {"phase": phase})

    def save_state(self, phase: str, trainer: Trainer, named: Named, results: Mapping[str, Any] | None = None) -> None:
        """Write where a phase stands, and its part of results.json when it has ended."""
        state = trainer.state_dict()
        arrays = {f"{kind}.{name}": to_numpy(view) for kind in ARRAYS for name, view in named(state.pop(kind)).items()}
        name = self._state(phase)
        with self._writing(name) as path, self._writing(self._state(phase, "state.previous")) as previous:
            if path.exists():
                path.replace(previous)  # to go on from, should the new one be damaged
            save_checkpoint(path, arrays, {"phase": phase, **state, "results": results})

    def forget_after(self, phase: str) -> None:
        """Remove what was made from the end of a phase that goes on."""
        with self.writing():
            self._ownership.remove(*AFTER[phase])

    def _write_rows(self, name: str, head: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
        self._write(name, "".join(csv_lines([head, *rows])))

    def _write(self, name: str, text: str) -> None:
        with self._writing(name) as path:
            write_atomic(path, text.encode("utf-8", "backslashreplace"))  # a command line may hold what is no Unicode

    @contextmanager
    def _writing(self, name: str) -> Iterator[Path]:
        with self.writing():
            yield self.place(name)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Say in one sentence what keeps a file of the run from being written."""
        try:
            yield
        except OwnershipError as error:
            raise RunError(f"run: {error}") from error
        except OSError as error:
            reason = f"{self.path}: {error.strerror or error}"
            if not self.path.exists():
                raise RunError(
                    f"run: cannot write into {reason}. The folder is gone, and what was saved with it: start again"
                ) from error
            if not (self.path / "config.json").exists():  # there is nothing to go on with
                raise RunError(
                    f"--out: cannot write a run into {reason}. Make room there, or choose another --out"
                ) from error
            raise RunError(
                f"run: cannot write into {reason}. What was saved before is whole: make room there, then go on with "
                f"python train.py --resume {self.path}"
            ) from error


class ReadOnlyRun(RunFolder):
    """The folder of a run for a process that only reads: it may take part in the training, and another one writes.

    Raises
    ------
    RunError
        The folder is not there.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise RunError(
                f"run: {path} is not there. Let the run be in a folder that all processes see: --out DIR on a file "
                "system that the machines share"
            )
        self.path = path

    def write_features(self, rows: Iterator[np.ndarray], count: int) -> None:
        """Take part in computing them."""
        for _ in rows:
            pass

    def save_weights(self, phase: str, views: Mapping[str, Array]) -> None:
        """Nothing is written."""

    def save_state(self, phase: str, trainer: Trainer, named: Named, results: Mapping[str, Any] | None = None) -> None:
        """Nothing is written."""

    def forget_after(self, phase: str) -> None:
        """Nothing is removed."""

    def release(self) -> None:
        """Nothing is held."""

    def _write(self, name: str, text: str) -> None:
        """Nothing is written."""


def check_free(path: Path, force: bool) -> None:
    """Raise RunError unless a new run may be written there: nowhere, into an empty folder, or with force over a run."""
    try:
        if not path.exists():
            return
        if _holds_run(path):
            if not force:
                raise RunError(
                    f"--out: {path} holds a run already. Choose another --out, go on with it by --resume, or replace "
                    "it with --force"
                )
            return
        unfinished = Ownership.read(path) if path.is_dir() else None
        if unfinished is not None and not unfinished.others():
            return  # killed before there was a config.json
        inside = list(path.iterdir()) if path.is_dir() else [path]
    except OSError as error:
        raise RunError(f"--out: cannot look into {path}: {error.strerror}. Choose another --out") from error
    if not all(
        (file.name == "lock" and file.stat().st_size == 0) or UNFINISHED.fullmatch(file.name) for file in inside
    ):
        raise RunError(f"--out: {path} exists and is not a run. Choose another --out")


def _holds_run(path: Path) -> bool:
    """Whether a folder is a run's: marked as one, or with what version 0.1 wrote into config.json."""
    if not (path / "config.json").is_file():
        return False
    if Ownership.read(path) is not None:
        return True
    try:
        config, _ = read_config(path)
    except RunError:
        return False
    return {"split", "clips_sha256"} <= set(config)


def _set_aside(path: Path) -> Path:
    """Rename a run that is to be replaced; where it is then.

    Raises
    ------
    RunError
        Another process writes into it, or there are files in it that it has not written.
    """
    old = RunFolder(path)
    try:
        with old.writing():
            ownership = Ownership.read(path) or _adopted(path)
            others = [name for name in ownership.others() if name != "lock"]
        if others:
            more = f" and {len(others) - 1} more" if len(others) > 1 else ""
            raise RunError(
                f"--force: {path} holds {others[0]}{more}, which its run is not known to have written. Move such files "
                "elsewhere, or choose another --out"
            )
        aside = path.with_name(f"{path.name}{ASIDE}{ownership.identity[:8]}")
        path.rename(aside)
    finally:
        old.release()
    return aside


def _replaced(path: Path) -> Iterator[Ownership]:
    """The runs that `_set_aside` has renamed from this path."""
    for place in path.parent.iterdir():
        name, _, identity = place.name.rpartition(ASIDE)
        old = Ownership.read(place) if name == path.name and not place.is_symlink() else None
        if old is not None and old.identity[:8] == identity:
            yield old


def _adopted(path: Path) -> Ownership:
    """A record for a run of version 0.1, which has none: of the files whose names were always its own."""
    ownership = Ownership.begin(path, of_0_1=True)
    checkpoints = [f"checkpoints/{name}" for name in WEIGHTS.values()]
    checkpoints += [f"checkpoints/{phase}.state.safetensors" for phase in WEIGHTS]
    ownership.claim(*(name for name in ("lock", *FILES, *checkpoints) if (path / name).is_file()))
    return ownership


def new_folder(settings: Configuration) -> Path:
    """Where a run is written unless the user says so."""
    return Path("runs") / f"{settings.db}-{datetime.now():%Y%m%d-%H%M%S}"
