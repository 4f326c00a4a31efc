"""Every file of a run, and its cache, damaged by byte and by block: the same end, or one sentence."""

from __future__ import annotations

import collections
import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.command import compare
from tests.command import outcome as outcome_of_run
from tests.tampering import Tampered, outcome

BLOCK = 512
COMMANDS = ("resume", "evaluate", "encode", "probe", "rate")


def flipped(content: bytes, rng: random.Random) -> bytes:
    """One bit is another."""
    if not content:
        return b"\1"
    i = rng.randrange(len(content))
    return content[:i] + bytes([content[i] ^ 1 << rng.randrange(8)]) + content[i + 1 :]


def zeroed(content: bytes, rng: random.Random) -> bytes:
    """A block of zeros, as a disk leaves that has lost a page."""
    start = rng.randrange(max(1, len(content) - BLOCK))
    block = content[start : start + BLOCK]
    return content[:start] + bytes(len(block)) + content[start + len(block) :]


def cut(content: bytes, rng: random.Random) -> bytes:
    """The beginning."""
    return content[: rng.randrange(len(content) + 1)]


WAYS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "a bit flipped": flipped,
    "a block of zeros": zeroed,
    "cut": cut,
    "empty": lambda content, rng: b"",
}


def damage(folder: Path, times: int | None = None, seed: int = 0) -> collections.Counter[str]:
    """Damage each file in each way before each command, or `times` of these at random; what came of it.

    A run that goes on comes to the end that it had, unless it was its config.json that was damaged.
    """
    tampered, rng, counts = Tampered(folder), random.Random(seed), collections.Counter[str]()
    expected = outcome_of_run(tampered.whole)
    whole_cache = folder / "whole_cache"
    shutil.copytree(tampered.cache, whole_cache)
    files = [path.relative_to(folder) for root in (tampered.whole, tampered.cache) for path in root.rglob("*")]
    files = [Path("run", *path.parts[1:]) if path.parts[0] == "whole" else path for path in sorted(files)]
    cases = [(path, way, command) for path in files if path.suffix for way in WAYS for command in COMMANDS]
    for path, way, command in cases if times is None else rng.sample(cases, times):
        for source, target in ((tampered.whole, tampered.run), (whole_cache, tampered.cache)):
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target)
        (folder / path).write_bytes(WAYS[way]((folder / path).read_bytes(), rng))
        case = (str(path), way, command)
        try:
            code, errors = outcome(partial(tampered.command, command))
        except Exception as error:
            error.add_note(f"{case}")
            raise
        sentences = [line for line in errors.splitlines() if line.startswith("nn1d: ")]
        assert code == 0 or (code == 2 and len(sentences) == 1), (*case, code, errors)
        if command == "resume" and code == 0 and path.name != "config.json":
            compare(tampered.run, expected)
        counts[f"{way}: {'refused' if code else 'done'}"] += 1
    return counts
