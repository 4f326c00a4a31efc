"""Which files of a folder a run has written: nothing else there is ever replaced or removed."""

from __future__ import annotations

import json
import secrets
from pathlib import Path, PurePosixPath

from storage.atomic import write_atomic

MARKER = ".nn1d-run.json"  # the first file of a run


class OwnershipError(RuntimeError):
    """A file is not the run's, or lies behind a link; the message names it and says what to do."""


class Ownership:
    """The record of a run in its folder, written before each file that is new in it.

    A run of version 0.1 has none. It may write over files of the names that it writes, as it always did, and owns from
    then on what it has written; it removes nothing else.

    Parameters
    ----------
    folder : Path
    identity : str
        Of the run: 32 hexadecimal digits.
    files : set of str
        What the run has written, or was about to: names relative to the folder, with slashes.
    of_0_1 : bool
        Whether the run began without a record.
    """

    def __init__(self, folder: Path, identity: str, files: set[str], of_0_1: bool = False) -> None:
        self.folder, self.identity, self.files, self.of_0_1 = folder, identity, files, of_0_1

    @classmethod
    def begin(cls, folder: Path, *there: str, of_0_1: bool = False) -> Ownership:
        """Mark a folder as that of a run, which owns files that are `there`: in one write, so never without them.

        Raises
        ------
        OSError
            It cannot be written.
        """
        record = cls(folder, secrets.token_hex(16), set(there), of_0_1)
        record._write()
        return record

    @classmethod
    def read(cls, folder: Path) -> Ownership | None:
        """The record of a run; None where there is none, or none of ours."""
        path = folder / MARKER
        try:
            if path.is_symlink() or not path.is_file():
                return None
            content = json.loads(path.read_text("utf-8"))
            identity, files, of_0_1 = content["run"], content["files"], content["of_0_1"]
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return None
        known = isinstance(identity, str) and len(identity) == 32 and isinstance(of_0_1, bool)
        if not (known and isinstance(files, list) and all(isinstance(name, str) for name in files)):
            return None
        return cls(folder, identity, {name for name in files if _inside(name)}, of_0_1)

    def claim(self, *names: str) -> None:
        """Own files that are about to be written; each may be there only if the run has written it.

        Raises
        ------
        OwnershipError
            One is of somebody else, or lies behind a link.
        OSError
            The record cannot be written.
        """
        for name in names:
            path = self.reach(name)
            if name not in self.files and not self.of_0_1 and path.exists():
                raise OwnershipError(f"{path} is there, and this run has not written it. Move it elsewhere")
        if not self.files.issuperset(names):
            self.files.update(names)
            self._write()

    def adopt(self, name: str) -> None:
        """Own a file that is there, as the lock that a run takes before it can have a record."""
        if name not in self.files:
            self.files.add(name)
            self._write()

    def reach(self, name: str) -> Path:
        """Where a file of the run lies.

        Raises
        ------
        OwnershipError
            It, or a folder on the way to it, is a link.
        """
        path = self.folder
        for part in PurePosixPath(name).parts:
            path /= part
            if path.is_symlink():
                raise OwnershipError(
                    f"{path} is a link, and a run writes and removes nothing behind one. Remove the link"
                )
        return path

    def remove(self, *names: str) -> None:
        """Remove files that the run has written; others of these names stay.

        Raises
        ------
        OwnershipError
            One lies behind a link.
        OSError
            One cannot be removed.
        """
        for name in names:
            if name in self.files:
                self.reach(name).unlink(missing_ok=True)

    def others(self) -> list[str]:
        """Files in the folder and below that the run has not written; a folder behind a link counts as a file."""
        names = []
        folders = [self.folder]
        while folders:
            for path in sorted(folders.pop().iterdir()):
                name = path.relative_to(self.folder).as_posix()
                if path.is_dir() and not path.is_symlink():
                    folders.append(path)
                elif name not in self.files and name != MARKER:
                    names.append(name)
        return sorted(names)

    def remove_all(self) -> None:
        """Remove all that the run has written, its marker last, and the folders that are empty then."""
        self.remove(*sorted(self.files))
        (self.folder / MARKER).unlink(missing_ok=True)
        folders = {self.folder / parent for name in self.files for parent in PurePosixPath(name).parents}
        for folder in sorted(folders, key=lambda path: len(path.parts), reverse=True):
            if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
                folder.rmdir()

    def _write(self) -> None:
        content = {"run": self.identity, "of_0_1": self.of_0_1, "files": sorted(self.files)}
        write_atomic(self.reach(MARKER), (json.dumps(content, indent=1) + "\n").encode())


def _inside(name: str) -> bool:
    """Whether a name stays in the folder, whoever wrote the record."""
    path = PurePosixPath(name)
    return (
        bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\\" not in name and "\0" not in name
    )
