"""Files are whole or absent; what is left behind is removed, and nothing else."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest

from storage import atomic
from storage.atomic import remove_unfinished, write_atomic

ROOT = Path(__file__).parents[1]
WRITES = """
import sys, time
from pathlib import Path
from typing import BinaryIO
from storage.atomic import new_file
with new_file(Path(sys.argv[1])) as file:
    file.write(bytes(1000))
    file.flush()
    print("half", flush=True)
    sys.stdin.readline()
"""


def writing(path: Path) -> subprocess.Popen[str]:
    """A program that has written half of a file, and waits for a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITES, str(path)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == "half\n"
    return process


def test_what_a_killed_program_left_is_removed_beside_one_that_writes(tmp_path: Path) -> None:
    with writing(tmp_path / "killed.npy") as killed, writing(tmp_path / "at work.npy") as working:
        killed.kill()
        killed.wait()
        assert len(list(tmp_path.iterdir())) == 2
        remove_unfinished(tmp_path)
        (left,) = tmp_path.iterdir()
        assert left.name.startswith(".at work-")
        working.communicate("go on\n")
    assert [path.name for path in tmp_path.iterdir()] == ["at work.npy"]
    assert (tmp_path / "at work.npy").stat().st_size == 1000


@pytest.mark.parametrize(
    "name",
    [
        ".film.part", ".film.unfinished", "film-" + "0" * 32 + ".unfinished", ".film-" + "g" * 32 + ".unfinished",
        ".film-" + "0" * 31 + ".unfinished", ".film-" + "0" * 32 + ".unfinished.txt", "notes.txt",
    ],
)  # fmt: skip
def test_files_of_others_stay(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    remove_unfinished(tmp_path)
    assert (tmp_path / name).read_text() == "precious"


def test_no_link_and_no_folder_of_such_a_name_is_touched(tmp_path: Path) -> None:
    precious, folder = tmp_path / "precious", tmp_path / "folder"
    precious.write_text("precious")
    folder.mkdir()
    link = folder / (".a-" + "0" * 32 + atomic.SUFFIX)
    link.symlink_to(precious)
    inner = folder / (".b-" + "0" * 32 + atomic.SUFFIX)
    inner.mkdir()
    remove_unfinished(folder)
    assert link.is_symlink() and inner.is_dir() and precious.read_text() == "precious"
    remove_unfinished(tmp_path / "nowhere")  # is no error


@pytest.mark.parametrize("name", ["a" * 251 + ".npy", "ä" * 125 + ".npy", "𝄞" * 62, "x\udcfc.npy"])
def test_a_name_may_be_as_long_as_names_may_be(tmp_path: Path, name: str) -> None:
    write_atomic(tmp_path / name, b"whole")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_what_cannot_be_written_is_named_as_it_will_be(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as error:
        write_atomic(tmp_path / "none" / "f.npz", b"whole")
    assert error.value.filename == str(tmp_path / "none" / "f.npz")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere the names of files are UTF-8")
@pytest.mark.parametrize("name", ["é.npz", "λ" * 50 + ".npz", "怒り" * 14])
def test_a_name_is_written_where_the_locale_has_no_such_letters(tmp_path: Path, name: str) -> None:
    program = "import sys; from pathlib import Path; from storage.atomic import write_atomic\n"
    program += "write_atomic(Path(sys.argv[1]), b'x')"
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", program, str(tmp_path / name)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | locale, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cannot_sync_a_folder_holds_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Some network file systems answer so; none of them can be mounted in a test."""
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomic(tmp_path / "a", b"whole")
    assert (tmp_path / "a").read_bytes() == b"whole"

    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        write_atomic(tmp_path / "b", b"lost")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_that_another_program_removes_before_it_is_held_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, calls = atomic._lock, []

    def late(file: BinaryIO) -> bool:
        calls.append(file)
        if len(calls) == 1:
            remove_unfinished(tmp_path)
        return lock(file)

    monkeypatch.setattr(atomic, "_lock", late)
    write_atomic(tmp_path / "whole", b"content")
    assert len(calls) == 3  # held by who removes it, and by who writes it, twice
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]
