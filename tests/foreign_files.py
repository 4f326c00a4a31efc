"""Files that are not a run's, inside it and beside it: the same after every command, listed with their hashes."""

from __future__ import annotations

import collections
import hashlib
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.ranks import MPIEXEC
from tests.command import QUICK, ROOT, make_recordings
from tests.ranks import THERE as HAS_MPI
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
    contents = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            contents[path.relative_to(folder).as_posix()] = f"-> {path.readlink()}"
        elif path.is_file():
            contents[path.relative_to(folder).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return contents


def plant(folder: Path, *names: str) -> list[str]:
    """Write a file of each name; the names."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{name} of somebody else")
    return list(names)


def keep_foreign(folder: Path) -> collections.Counter[str]:
    """Run every command on a run with foreign files, and on one whose folders are links; what came of it."""
    tampered, counts = Tampered(folder), collections.Counter[str]()
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
            counts["refused" if code else "done"] += 1
    return counts


def call(tampered: Tampered, command: str) -> None:
    """A command of `Tampered`, or a new run in place of this one."""
    if command != "force":
        tampered.command(command)
        return
    options = ["--db", "folder", "--data-dir", str(tampered.recordings), "--cache-dir", str(tampered.cache), "--force"]
    settings = read_arguments(
        [*options, "--out", str(tampered.run), "--clip-samples", "4000", "--device", "cpu"]
    ).settings
    tampered.train["begin"](settings, Ranks())


def keep_foreign_of_many(folder: Path, times: int | None = None, seed: int = 0) -> collections.Counter[str]:
    """The same for a sweep, for shards, for --force where it is allowed, and for ranks of MPI; what came of it.

    Each command starts as a process, on a copy of what it has come to before, with files or links of others in it. All
    cases, or `times` of them at random.
    """
    work, whole, music = folder / "work", folder / "whole", folder / "music"
    recordings = make_recordings(folder / "recordings", 8)
    plant(folder, *BESIDE)
    plant(music, "a.wav", "errors.txt")
    data = ("--db", "folder", "--data-dir", recordings, "--cache-dir", folder / "cache")
    small = (*QUICK, "--clip-samples", "4000", "--threads", "1", "--no-report")
    run = ("train.py", *data, *small, "--out", work / "run")
    of_shard = ("--clip-samples", "4000", "--clips-per-shard", "4")
    shards = ("-m", "training", "shards", *data[:4], *of_shard, "--out", work / "shards")
    sweep = ("-m", "training", "sweep", *data, *small, "--jobs", "2", "--engine", "local", "--out", work / "sweep")
    ranks = (str(MPIEXEC), "-n", "2", sys.executable, "train.py")

    begun: tuple[tuple[str | Path, ...], ...] = (run, shards, sweep)
    for command in begun:
        done = call_python(command)
        assert done.returncode == 0, done.stderr
    work.rename(whole)

    def link(name: str, target: str) -> Callable[[], list[str]]:
        def make() -> list[str]:
            place = work / name
            if place.is_dir():
                shutil.rmtree(place)
            place.unlink(missing_ok=True)
            place.symlink_to(folder / target)
            return [name]

        return make

    def files(*names: str) -> Callable[[], list[str]]:
        return lambda: plant(work, *names)

    def new(kind: str, *names: str) -> Callable[[], list[str]]:
        """In place of what there was."""

        def make() -> list[str]:
            shutil.rmtree(work / kind)
            return plant(work, *(f"{kind}/{name}" for name in names))

        return make

    of_sweep = ("sweep/notes.txt", "sweep/jobs/mine.txt", "sweep/seed-0/mine.txt", "sweep/seed-0/audio/mine.wav")
    of_shards = ("shards/notes.txt", "shards/clips/mine.npy", "shards/clips/.x.unfinished", "shards/deep/00000.csv")
    again = (*sweep, "--seeds", "1")
    cases: list[tuple[str, tuple[str | Path, ...], Callable[[], list[str]], int]] = [
        ("force", (*run, "--force"), files(), 0),
        ("force", (*run, "--force"), files("run/notes.txt"), 2),
        ("force", (*run, "--force"), link("run/figures", "music"), 2),
        ("force", (*run, "--force"), new("run", "config.json", "checkpoints/a.safetensors"), 2),
        ("a new run", run, new("run", "checkpoints/precious.pt"), 2),
        ("shards", shards, new("shards", "clips/mine.npy"), 2),
        ("shards", shards, new("shards", "00000.csv"), 2),
        ("shards", shards, new("shards", "manifest.json"), 2),
        ("shards", shards, files(*of_shards), 0),
        ("shards", shards, link("shards", "music"), 2),
        ("shards", shards, link("shards/clips", "music"), 2),
        ("shards", shards, link("shards/00000.csv", "music/a.wav"), 2),
        ("shards", shards, link("shards/left_out.csv", "music/a.wav"), 2),
        ("shards", shards, link("shards/manifest.json", "music/a.wav"), 2),
        ("sweep", again, new("sweep", "notes.txt"), 2),
        ("sweep", again, new("sweep", "sweep.json"), 2),
        ("sweep", again, files(*of_sweep), 0),
        ("sweep", again, files("sweep/seed-1/mine.txt"), 1),
        ("sweep", again, link("sweep/jobs", "music"), 2),
        ("sweep", again, link("sweep/jobs/errors.txt", "music/errors.txt"), 2),
        ("sweep", again, link("sweep/seed-1", "music"), 2),
        ("sweep", again, link("sweep/sweep.csv", "music/a.wav"), 2),
        ("sweep", again, link("sweep/sweep.json", "music/a.wav"), 2),
    ]  # fmt: skip
    if HAS_MPI:
        resume = (*ranks, "--resume", work / "run")
        cases += [
            ("ranks", (*ranks, *run[1:]), new("run", "checkpoints/precious.pt"), 2),
            ("ranks", resume, files(*(f"run/{name}" for name in INSIDE)), 0),
            ("ranks", resume, link("run/checkpoints", "music"), 2),
            ("ranks", (*ranks, *run[1:], "--force"), files(), 0),
        ]
    counts = collections.Counter[str]()
    for name, command, prepare, expected in cases if times is None else random.Random(seed).sample(cases, times):
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(whole, work)
        ours = {path.as_posix() for path in (Path("work", *path.relative_to(whole).parts) for path in whole.rglob("*"))}
        foreign = [f"work/{place}" for place in prepare()]
        before = listing(folder)
        done = call_python(command)
        after = listing(folder)
        case = (name, foreign, done.returncode, done.stdout, done.stderr)
        kept = [place for place in before if place in foreign or place not in ours]
        other = [place for place in kept if after.get(place) != before[place]]
        assert not other, f"{case} touched {', '.join(other)}"
        outside = [place for place in after.keys() - before.keys() if not place.startswith(("work/", "cache/"))]
        assert not outside, f"{case} wrote {', '.join(outside)}"
        assert done.returncode == expected and "Traceback" not in done.stderr, case
        assert expected != 2 or done.stderr.count("\n") == 1, case
        counts["refused" if expected else "done"] += 1
    return counts


def call_python(words: tuple[str | Path, ...]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; of Python unless it is mpiexec's."""
    command = [*([] if words[0] == str(MPIEXEC) else [sys.executable]), *map(str, words)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL, check=False
    )
