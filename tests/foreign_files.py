"""Files that are not a run's, inside it and beside it: the same after every command, listed with their hashes."""

from __future__ import annotations

import collections
import hashlib
import shutil
from functools import partial
from pathlib import Path

from tests.tampering import Tampered, outcome
from training.arguments import read_arguments
from training.rank import Ranks

INSIDE = (
    "notes.txt", ".film.part", "checkpoints/precious.pt", "checkpoints/.x.unfinished", "audio/mine.wav",
    "audio/deep/mine.wav", "figures/mine.png", "figures/mine.svg", "report.html.bak", "model/config.json",
)  # fmt: skip
BESIDE = ("run.txt", "run.replaced", "other/config.json", "other/checkpoints/a.safetensors", ".run-0.unfinished")
COMMANDS = ("resume", "report", "evaluate", "encode", "reconstruct", "probe", "rate", "force")


def listing(folder: Path) -> dict[str, str]:
    """Every file below a folder with the hash of its content; a link with where it leads."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[path.relative_to(folder).as_posix()] = f"-> {path.readlink()}"
        elif path.is_file():
            found[path.relative_to(folder).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def plant(folder: Path, *names: str) -> list[str]:
    """Write a file of each name; the names."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{name} of somebody else")
    return list(names)


def keep_foreign(folder: Path) -> collections.Counter[str]:
    """Run every command on a run with foreign files, and on one whose folders are links; what came of it."""
    tampered, found = Tampered(folder), collections.Counter[str]()
    beside = plant(folder, *BESIDE)
    music = folder / "music"
    plant(music, "a.wav", "a.png", "take.original.wav")
    for linked in (False, True):
        for command in COMMANDS:
            shutil.rmtree(tampered.run, ignore_errors=True)
            shutil.copytree(tampered.whole, tampered.run)
            inside = [f"run/{name}" for name in plant(tampered.run, *([] if linked else INSIDE))]
            if linked:
                for name in ("audio", "figures"):
                    (tampered.run / name).symlink_to(music)
                    inside.append(f"run/{name}")
            before = listing(folder)
            code, errors = outcome(partial(call, tampered, command))
            after = listing(folder)
            kept = [
                *beside,
                *inside,
                *(name for name in before if name.startswith(("music/", "recordings/", "whole/"))),
            ]
            other = [name for name in kept if after.get(name) != before[name]]
            assert not other, f"{command} touched {', '.join(other)}"
            new = [name for name in after.keys() - before.keys() if not name.startswith(("run/", "cache/", "output"))]
            assert not new, f"{command} wrote {', '.join(new)}"
            assert code in (0, 2) and (code == 0 or errors.strip().count("\n") == 0), (command, code, errors)
            refused = {"force"} | ({"report"} if linked else set())
            assert (code == 2) == (command in refused), (command, linked, code, errors)
            found["refused" if code else "done"] += 1
    return found


def call(tampered: Tampered, command: str) -> None:
    """A command of `Tampered`, or a new run in place of this one."""
    if command != "force":
        tampered.command(command)
        return
    given = ["--db", "folder", "--data-dir", str(tampered.recordings), "--cache-dir", str(tampered.cache), "--force"]
    settings = read_arguments(
        [*given, "--out", str(tampered.run), "--clip-samples", "4000", "--device", "cpu"]
    ).settings
    tampered.train["begin"](settings, Ranks())
