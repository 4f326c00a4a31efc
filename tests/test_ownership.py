"""Files that are not the run's are neither replaced nor removed, by any command; a listing with contents proves it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command import ROOT, SMALL, make_recordings, outcome, train
from training.ownership import MARKER, Ownership, OwnershipError
from training.run_files import RunError
from training.run_folder import RunFolder


def listing(folder: Path) -> dict[str, bytes | str]:
    """Every file below, with its content, and every link, with where it leads."""
    return {
        str(path.relative_to(folder)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("corpus")
    make_recordings(folder / "recordings")
    return ["--db", "folder", "--data-dir", str(folder / "recordings"), "--cache-dir", str(folder / "cache"), *SMALL]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, options: list[str]) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    train(*options, "--out", folder)
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "run")


def precious(*names: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("precious")

    return make


def another_tool(folder: Path) -> None:
    precious("checkpoints/model.pt")(folder)
    (folder / "config.json").write_text('{"model_type": "bert", "settings": {"epochs": 3}}')


@pytest.mark.parametrize(
    "make",
    [
        precious("checkpoints/precious.pt"), precious(".film.part"), precious("lock"), precious("audio/song.wav"),
        precious("lock/inside"), another_tool, precious("config.json/inside"), precious("results.json"),
        lambda folder: (folder / MARKER).write_text("{}"),
        lambda folder: (folder / MARKER).write_text('{"run": "' + "0" * 32 + '", "files": ["../x"], "of_0_1": false}')
        and precious("notes.txt")(folder),
    ],
)  # fmt: skip
@pytest.mark.parametrize("force", [False, True])
def test_a_folder_of_somebody_else_is_no_place_for_a_run(
    tmp_path: Path, make: Callable[[Path], None], force: bool
) -> None:
    folder = tmp_path / "proj"
    folder.mkdir()
    make(folder)
    before = listing(tmp_path)
    with pytest.raises(RunError, match=rf"^--out: {folder} exists and is not a run\. Choose another --out$"):
        RunFolder.create(folder, {}, force)
    assert listing(tmp_path) == before


def test_a_folder_of_another_tool_stays_as_it_is(tmp_path: Path, options: list[str]) -> None:
    another_tool(tmp_path)
    before = listing(tmp_path)
    done = train(*options, "--out", tmp_path, "--force", expect=2)
    assert done.stderr == f"train.py: --out: {tmp_path} exists and is not a run. Choose another --out\n"
    assert listing(tmp_path) == before


def test_a_file_of_somebody_else_keeps_a_run_from_being_replaced(run: Path, options: list[str]) -> None:
    (run / "audio").mkdir()
    (run / "audio" / "song.wav").write_text("precious")
    before = listing(run)
    done = train(*options, "--out", run, "--force", expect=2)
    assert done.stderr.startswith(f"train.py: --force: {run} holds audio/song.wav, which its run is not known to have")
    assert listing(run) == before
    assert [path.name for path in run.parent.iterdir()] == ["run"]


def test_a_run_is_replaced_when_the_new_one_stands(run: Path, finished: Path, options: list[str]) -> None:
    identity = json.loads((run / MARKER).read_text())["run"]
    left = shutil.copytree(run, run.with_name("run.replaced-" + 8 * "a"))  # as a process that was killed leaves it
    (left / MARKER).write_text((left / MARKER).read_text().replace(identity, 32 * "a"))
    precious("run.replaced-12345678/notes.txt")(run.parent)
    done = train(*options, "--out", run, "--force", "--db", "nobody", expect=2)
    assert done.returncode == 2 and listing(run) == listing(finished)  # not even set aside for a mistake
    train(*options, "--out", run, "--force")
    assert outcome(run) == outcome(finished)
    assert json.loads((run / MARKER).read_text())["run"] != identity
    assert sorted(path.name for path in run.parent.iterdir()) == ["run", "run.replaced-12345678"]


def test_nothing_is_written_behind_a_link(run: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    shutil.move(run / "checkpoints", outside)
    (run / "checkpoints").symlink_to(outside)
    before = listing(tmp_path)
    done = train("--resume", run, "--epochs", "3", expect=2)
    assert done.stderr == (
        f"train.py: run: {run / 'checkpoints'} is a link, and a run writes and removes nothing behind one. "
        "Remove the link\n"
    )
    assert listing(tmp_path) == before


def test_no_file_that_is_a_link_is_replaced(run: Path, tmp_path: Path) -> None:
    shutil.move(run / "history.csv", tmp_path / "history.csv")
    (run / "history.csv").symlink_to(tmp_path / "history.csv")
    before = (tmp_path / "history.csv").read_bytes()
    done = train("--resume", run, "--epochs", "3", expect=2)
    assert "history.csv is a link" in done.stderr
    assert (tmp_path / "history.csv").read_bytes() == before and (run / "history.csv").is_symlink()


@pytest.mark.skipif(os.name == "nt", reason="ulimit is of Unix")
def test_a_run_that_cannot_be_replaced_is_where_it_was(run: Path, finished: Path, options: list[str]) -> None:
    words = [sys.executable, "train.py", *options, "--out", str(run), "--force"]
    limited = ["bash", "-c", 'ulimit -f 0; exec "$@"', "bash", *words]  # no file may grow, as on a full disk
    done = subprocess.run(limited, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(f"train.py: --out: cannot write a run into {run}: File too large. Choose another")
    assert listing(run) == listing(finished)
    assert [path.name for path in run.parent.iterdir()] == ["run"]


@pytest.mark.parametrize("force", [True, False])
def test_a_marker_that_is_a_link_stays(run: Path, tmp_path: Path, force: bool) -> None:
    shutil.move(run / MARKER, tmp_path / "marker")
    (run / MARKER).symlink_to(tmp_path / "marker")
    before = listing(tmp_path)
    with pytest.raises(RunError, match=f"{MARKER} is a link, and a run writes and removes nothing behind one"):
        RunFolder.create(run, {}, force=True) if force else RunFolder.open(run)
    assert listing(tmp_path) == before


@pytest.mark.skipif(os.name == "nt", reason="ulimit is of Unix")
@pytest.mark.usefixtures("finished")  # so that the cache is there
def test_a_run_that_cannot_write_its_settings_is_begun_again(tmp_path: Path, options: list[str]) -> None:
    words = [sys.executable, "train.py", *options, "--out", str(tmp_path / "run")]
    limited = ["bash", "-c", 'ulimit -f 1; exec "$@"', "bash", *words]  # its marker fits, config.json does not
    done = subprocess.run(limited, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        f"train.py: --out: cannot write a run into {tmp_path / 'run'}: File too large. Make room there, or choose "
        "another --out\n"
    )
    train(*options, "--out", tmp_path / "run")
    assert (tmp_path / "run/results.json").exists()


def test_a_lock_of_somebody_else_stays(run: Path) -> None:
    (run / "lock").write_text("precious")
    with pytest.raises(RunError, match=r"lock is there, and is no lock of a run, which is an empty file\. Move it"):
        RunFolder.open(run)
    assert (run / "lock").read_text() == "precious"


def test_a_run_that_is_killed_before_it_has_settings_is_begun_again(tmp_path: Path, options: list[str]) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "lock").touch()
    Ownership.begin(folder, "lock")
    train(*options, "--out", folder)
    assert (folder / "results.json").exists()


def test_files_of_others_in_a_run_survive_its_resumption(run: Path) -> None:
    for name in ("notes.txt", "checkpoints/mine.pt", ".film.part"):
        (run / name).write_text("precious")
    train("--resume", run, "--epochs", "3")
    assert {name: (run / name).read_text() for name in ("notes.txt", "checkpoints/mine.pt", ".film.part")} == {
        "notes.txt": "precious", "checkpoints/mine.pt": "precious", ".film.part": "precious",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["../a", "/a", "a/../../b", "", ".", "a\\b", "a\0b"])
def test_a_record_names_nothing_outside(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (tmp_path / "a").write_text("precious")
    (folder / MARKER).write_text(json.dumps({"run": "0" * 32, "files": [name, "c"], "of_0_1": False}))
    record = Ownership.read(folder)
    assert record is not None and record.files == {"c"}


def test_a_file_that_is_there_cannot_be_claimed(tmp_path: Path) -> None:
    record = Ownership.begin(tmp_path)
    (tmp_path / "a").write_text("precious")
    with pytest.raises(OwnershipError, match=r"a is there, and this run has not written it\. Move it elsewhere"):
        record.claim("b", "a")
    record.remove("a")
    assert (tmp_path / "a").read_text() == "precious"
    again = Ownership.read(tmp_path)
    assert again is not None and again.files == set()
