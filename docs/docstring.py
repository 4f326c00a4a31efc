"""Docstrings as reStructuredText: they are written to be read in the source, with the signs of the equations."""

from __future__ import annotations

import re
from typing import Any

PAPER = "https://doi.org/10.4108/eai.6-6-2021.2307539"


def process(app: Any, what: str, name: str, item: Any, options: Any, lines: list[str]) -> None:
    """Rewrite the lines of a docstring in place."""
    lines[:] = rewrite(lines)


def rewrite(lines: list[str]) -> list[str]:
    """Equations and indented blocks as they stand, everything else escaped, sections for napoleon."""
    rewritten: list[str] = []
    for title, content in sections(lines):
        if title:
            rewritten += [title, "-" * len(title)]
        for paragraph in paragraphs(content):
            rewritten += [*rewrite_paragraph(title, paragraph), ""]
    return rewritten


def sections(lines: list[str]) -> list[tuple[str, list[str]]]:
    """(title, lines) of each section; the part before the first has no title."""
    titled: list[tuple[str, list[str]]] = [("", [])]
    for i, line in enumerate(lines):
        if i + 1 < len(lines) and is_line(lines[i + 1]) and line.strip():
            titled.append((line.strip(), []))
        elif not is_line(line):
            titled[-1][1].append(line)
    return titled


def is_line(line: str) -> bool:
    """Whether it underlines a title."""
    return len(line) > 2 and set(line.strip()) == {"-"}


def paragraphs(lines: list[str]) -> list[list[str]]:
    """Runs of lines that are not empty."""
    blocks: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            blocks[-1].append(line)
        elif blocks[-1]:
            blocks.append([])
    return [paragraph for paragraph in blocks if paragraph]


def rewrite_paragraph(title: str, lines: list[str]) -> list[str]:
    """One paragraph of a section."""
    if title == "Examples" or lines[0].startswith(">>>"):
        return lines
    if title == "Shapes":
        return [f"| {escape(part)}" for part in " ".join(lines).split("; ")]
    if title == "Gradient" or (not title and is_equation(lines)) or (not title and lines[0].startswith("    ")):
        drawn = [latex(line) for line in lines]
        if all(drawn):
            return [part for line in drawn for part in (".. math::", "", f"   {line}", "")]
        return [".. code-block:: text", "   :class: equation", "", *(f"   {line}" for line in lines)]
    shown = [escape(line) for line in lines]
    return list(map(linked, shown)) if title == "Source" else shown


SIGNS = {
    "·": r" \cdot ", "Σ": r"\sum", "⌊": r"\lfloor ", "⌋": r"\rfloor ", "²": "^2", "ᵀ": "^T",
    "≤": r" \le ", "≥": r" \ge ",
}  # fmt: skip
KNOWN = re.compile(rf"[\w\s\[\](){{}},:;.+=<>/|'-]|[{''.join(SIGNS)}]")


def latex(line: str) -> str:
    """An equation of a docstring, which is written with the signs themselves, as LaTeX; "" where it is none."""
    line = line.strip()
    if not re.match(r"[\w'\[\](),·+ -]+ =", line) or KNOWN.sub("", line):
        return ""

    def named(match: re.Match[str]) -> str:
        before, word, after = match[1], match[2], match[3]
        if after in ("[", "(", "_"):
            *words, name = word.split(" ")
            kind = "operatorname" if name in ("max", "min", "exp", "clip") else "mathit"
            return before + "".join(rf"\;\text{{{other}}}\;" for other in words) + rf"\{kind}{{{name}}}" + after
        return (r"\;" if before == " " else before) + rf"\text{{{word}}}" + (r"\;" if after == " " else after)

    line = re.sub(r"\s{3,}", r" \\qquad ", line)
    line = re.sub(r"(^|[^\w\\])((?:(?:at|if|in|of) )?[A-Za-z]{3,}(?: [A-Za-z]{2,})*)(\W|_|$)", named, line)
    for sign, command in SIGNS.items():
        line = line.replace(sign, command)
    return line


def linked(line: str) -> str:
    """The line with what it names as a link: a paper on arXiv, and the one that the network is from."""
    line = re.sub(r"arXiv:(\d{4}\.\d{5})", r"`arXiv:\1 <https://arxiv.org/abs/\1>`__", line)
    return re.sub(r"\bthe paper\b", f"`the paper <{PAPER}>`__", line, count=1)


def is_equation(lines: list[str]) -> bool:
    """Whether a paragraph says what something is (y[n, l, o] = ...), or is one line and no sentence."""
    alone = len(lines) == 1 and "(" in lines[0] and not lines[0].endswith((".", ":"))
    return alone or re.match(r"[^\s([]+(\[[^]]*\])? = ", lines[0]) is not None


def escape(line: str) -> str:
    """The line without markup but for code in backticks and the mark of a list."""
    if line.startswith("* "):
        return "* " + escape(line[2:])
    words = re.split(r"(`+[^`]+`+)", line)
    plain = [re.sub(r"([\\*|])|(?<=\w)(_)(?=\W|$)", lambda match: "\\" + match.group(), word) for word in words[::2]]
    code = [f"``{word.strip('`')}``" for word in words[1::2]] + [""]
    return "".join(a + b for a, b in zip(plain, code, strict=True))
