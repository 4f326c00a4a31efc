"""The code blocks of a page, and the commands in it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:python|train\.py) [^`]+)`")


class Block(NamedTuple):
    """A fenced block; `output` is the text block right after it, which it claims to print."""

    line: int
    language: str
    text: str
    output: str | None


def blocks(page: Path) -> list[Block]:
    """In the order of the page."""
    text = page.read_text("utf-8")
    fences = list(FENCE.finditer(text))
    listed = []
    for i, fence in enumerate(fences):
        following = fences[i + 1] if i + 1 < len(fences) else None
        claims = following is not None and following[1] == "text" and not text[fence.end() : following.start()].strip()
        output = following[2] if following is not None and claims else None
        listed.append(Block(text.count("\n", 0, fence.start()) + 2, fence[1], fence[2], output))
    return listed


def commands(text: str) -> Iterator[list[str]]:
    """The commands of a sh block as words; those before && are commands of their own."""
    for line in text.replace("\\\n", "").splitlines():
        words = shlex.split(line, comments=True)
        while words:
            end = words.index("&&") if "&&" in words else len(words)
            yield words[:end]
            words = words[end + 1 :]


def inline_commands(page: Path) -> Iterator[list[str]]:
    """Commands within a sentence; of a|b the first."""
    for match in INLINE.finditer(FENCE.sub("", page.read_text("utf-8"))):
        command = re.sub(r"\|\S+", "", " ".join(match[1].split()))
        yield from commands(command if command.startswith("python") else f"python {command}")


def masked(text: str) -> list[str]:
    """Lines without their numbers and the width of their columns: what is measured differs from machine to machine."""
    lines = (re.sub(r"\s+", " ", re.sub(r"[-+]?\d[\d.,]*(e[-+]\d+)?", "#", line)).strip() for line in text.splitlines())
    return [line for line in lines if line]
