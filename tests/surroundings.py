"""Terminals that are not UTF-8, and folders that may not be read or written: the same run, or one sentence."""

from __future__ import annotations

import collections
import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.command import QUICK, ROOT, compare, make_recordings, outcome, train

ENCODINGS = ("ascii", "latin-1", "cp1252", "utf-8:strict")
LOCALES = ("C", "POSIX")
CAPBSET_DROP, DAC_OVERRIDE, DAC_READ_SEARCH = 24, 1, 2  # linux/prctl.h, linux/capability.h


def locales(folder: Path, count: int | None = None) -> collections.Counter[str]:
    """Train with names that such terminals do not have, and show the run; how many came to the same end."""
    recordings = make_recordings(folder / "recordings")
    for name, new in (("calm", "Zoë"), ("loud", "怒り")):
        (recordings / name).rename(recordings / new)
    common = (*QUICK, "--clip-samples", "4000", "--db", "folder", "--data-dir", recordings, "--cache-dir", folder / "c")
    train(*common, "--out", folder / "whole")
    expected, passed = outcome(folder / "whole"), collections.Counter[str]()
    settings = [{"PYTHONIOENCODING": encoding} for encoding in ENCODINGS]
    settings += [{"LC_ALL": name, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"} for name in LOCALES]
    for number, environment in enumerate(settings[:count]):
        run = folder / f"π{number}"
        done = train(*common, "--out", run, expect=0, **environment)
        assert done.stderr == "", done.stderr
        if "LC_ALL" not in environment:  # there the names of files are bytes, and written as such
            compare(run, expected)
        passed[", ".join(f"{name}={value}" for name, value in environment.items())] += 1
    return passed


def without_rights() -> None:
    """Let the program that is executed next obey the permissions of files, whoever runs it."""
    if os.geteuid() == 0:
        for capability in (DAC_OVERRIDE, DAC_READ_SEARCH):
            if ctypes.CDLL(None, use_errno=True).prctl(CAPBSET_DROP, capability, 0, 0, 0) != 0:
                os._exit(99)


def permissions(folder: Path, count: int | None = None) -> collections.Counter[str]:
    """Every folder and file that a command needs without rights, one in each; how the command ended."""
    recordings, whole, cache = make_recordings(folder / "recordings"), folder / "whole", folder / "cache"
    small = ("--db", "folder", "--data-dir", recordings, "--cache-dir", cache)
    train(*QUICK, "--clip-samples", "4000", "--no-report", *small, "--out", whole)
    wav, out = recordings / "calm" / "take0.wav", folder / "out"
    new = ("train.py", *QUICK, "--clip-samples", "4000", "--no-report", *small, "--out", out / "new")
    encode = ("-m", "inference", "encode", "RUN", wav, "-o", out / "f.npz")
    resume, page = ("train.py", "--resume", "RUN"), ("-m", "report", "RUN")
    evaluate = ("-m", "inference", "evaluate", "RUN", *small)
    cases: list[tuple[tuple[str | Path, ...], str | Path, int]] = [
        (new, recordings, 0), (new, recordings / "calm", 0), (new, wav, 0), (new, cache, 0),
        (new, cache / "clips", 0o555), (new, out, 0), (new, out, 0o555),
        (encode, wav, 0), (encode, out, 0o555), (encode, "", 0),
        (encode, "checkpoints", 0), (encode, "config.json", 0), (encode, "checkpoints/pretrained.safetensors", 0),
        (resume, "", 0o555), (resume, "checkpoints", 0), (resume, "checkpoints", 0o555), (resume, ".nn1d-run.json", 0),
        (resume, "lock", 0), (resume, "config.json", 0), (page, "", 0o555), (page, "results.json", 0),
        (page, "history.csv", 0), (page, "features.npy", 0), (evaluate, cache, 0), (evaluate, "checkpoints", 0),
    ]  # fmt: skip
    ends = collections.Counter[str]()
    for command, place, mode in cases[:count]:
        run = folder / "run"
        for path, source in ((run, whole), (out, None)):
            shutil.rmtree(path, ignore_errors=True)
            shutil.copytree(source, path) if source is not None else path.mkdir()
        target = run / place if isinstance(place, str) else place
        before = target.stat().st_mode
        target.chmod(mode)
        words = [sys.executable, *(str(run if word == "RUN" else word) for word in command)]
        try:
            done = subprocess.run(
                words, cwd=ROOT, capture_output=True, text=True, timeout=300, preexec_fn=without_rights,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        finally:
            target.chmod(before)
        case = (command[:3], str(place), oct(mode), done.returncode, done.stdout, done.stderr)
        assert done.returncode in (0, 2) and "Traceback" not in done.stderr, case
        assert done.returncode == 0 or 1 <= done.stderr.count("\n") <= 2, case  # one left out, and none left
        ends["refused" if done.returncode else "done"] += 1
    return ends
