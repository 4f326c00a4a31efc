"""python -m docs.house: who imports whom, held against the rules and drawn for docs/architecture.md.

The site is not built, and the tests fail, where an import runs upwards or the drawing is not up to date.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

from nn1d.command import Parser

ROOT = Path(__file__).parents[1]
DRAWING = ROOT / "docs" / "figures" / "house.svg"

FLOORS = (  # from the top; a room may import what stands below it, never what stands beside it or above
    ("tests",),
    ("benchmarks", "docs"),
    ("train.py",),
    ("report",),
    ("inference",),
    ("training",),
    ("models", "speech"),
    ("nn1d", "storage"),
)
COMMAND = "train.py"  # imported by nobody
STRANGERS = {("models", "storage"), ("speech", "nn1d")}  # one above the other, and yet neither knows the other
LIBRARIES = {"nn1d": {"numpy", "cupy", "threadpoolctl"}, "storage": {"numpy"}}  # room -> the only ones it may import
CUPY = Path("nn1d/device.py")  # the only file that imports it, but for tests and benchmarks
FREE = {"tests", "benchmarks"}  # may ask for CuPy where they measure or replace it


class HouseError(ImportError):
    """An import breaks a rule; the message names the file, the line and the rule."""


class Import(NamedTuple):
    """One import statement."""

    file: Path
    line: int
    name: str  # dotted; of "from a import b" it is a.b
    at_once: bool  # when the file is imported, and not only when a function runs


@cache
def imports(root: Path = ROOT) -> tuple[Import, ...]:
    """Every import in every room."""
    return tuple(_imports(root))


def _imports(root: Path) -> Iterator[Import]:
    for file in files(root):
        tree = ast.parse((root / file).read_text("utf-8"))
        inside = {id(node) for function in ast.walk(tree) if isinstance(function, (ast.FunctionDef, ast.Lambda))
                  for node in ast.walk(function)}  # fmt: skip
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                package = ".".join(file.parts[: len(file.parts) - node.level]) if node.level else ""
                module = ".".join(filter(None, (package, node.module)))
                names = [f"{module}.{alias.name}" for alias in node.names]
            else:
                continue
            yield from (Import(file, node.lineno, name, id(node) not in inside) for name in names)


def files(root: Path = ROOT) -> list[Path]:
    """Of every room, relative to the root; a folder of Python files that stands on no floor is a room too."""
    folders = {path.parent for path in root.glob("*/__init__.py")}
    paths = [path for folder in folders for path in folder.rglob("*.py")]
    return sorted(path.relative_to(root) for path in [*paths, *root.glob("*.py")])


def floor(room: str) -> int:
    """How far below the top a room stands.

    Raises
    ------
    StopIteration
        On no floor.
    """
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def allowed(room: str) -> list[str]:
    """The rooms that a room may import."""
    below = [other for rooms in FLOORS[floor(room) + 1 :] for other in rooms]
    return sorted(other for other in below if other != COMMAND and (room, other) not in STRANGERS)


def target(name: str, root: Path = ROOT) -> str:
    """The room that an import leads to, or the library; "" for Python's own."""
    first = name.split(".")[0]
    if (root / f"{first}.py").is_file():
        return f"{first}.py"
    return "" if first in sys.stdlib_module_names else first


def graph(root: Path = ROOT) -> dict[str, set[str]]:
    """Room -> rooms and libraries that it imports."""
    edges: dict[str, set[str]] = {}
    for statement in imports(root):
        edges.setdefault(statement.file.parts[0], set()).add(target(statement.name, root))
    return {room: targets - {room, ""} for room, targets in edges.items()}


def check(root: Path = ROOT) -> None:
    """Hold every import against the rules.

    Raises
    ------
    HouseError
        An import runs upwards or leads to train.py, a library is used where it may not be, a room stands on no floor,
        or files import each other.
    """
    rooms = {room for level in FLOORS for room in level}
    for file in files(root):
        if file.parts[0] not in rooms:
            raise HouseError(f"{file}: {file.parts[0]} is a room without a floor. Give it one in docs/house.py")
    for statement in imports(root):
        room, to = statement.file.parts[0], target(statement.name, root)
        where = f"{statement.file}:{statement.line} imports {statement.name}"
        if to in rooms:
            if to != room and to not in allowed(room):
                raise HouseError(f"{where}: {room} may import {', '.join(allowed(room)) or 'no other room'}")
        elif to and to not in LIBRARIES.get(room, {to}):
            raise HouseError(f"{where}: {room} may import {', '.join(sorted(LIBRARIES[room])) or 'no library'}")
        if to == "cupy" and room not in FREE and statement.file != CUPY:
            raise HouseError(f"{where}: only {CUPY} may")
    circle = find_circle(module_graph(root))
    if circle:
        raise HouseError(f"{' -> '.join(circle)}: these files import each other")


def module_graph(root: Path = ROOT) -> dict[str, set[str]]:
    """Module -> modules that are imported when it is."""
    edges: dict[str, set[str]] = {module(file): set() for file in files(root)}
    for statement in imports(root):
        name = statement.name if statement.name in edges else statement.name.rpartition(".")[0]
        if statement.at_once and name in edges and name != module(statement.file):
            edges[module(statement.file)].add(name)
    return edges


def module(file: Path) -> str:
    """The name under which a file is imported."""
    return ".".join(file.with_suffix("").parts).removesuffix(".__init__")


def find_circle(edges: dict[str, set[str]]) -> list[str]:
    """Names that lead back to the first of them; empty where there are none."""
    done: set[str] = set()

    def walk(path: list[str]) -> list[str]:
        for name in sorted(edges.get(path[-1], ())):
            if name in path:
                return [*path[path.index(name) :], name]
            if name not in done and (circle := walk([*path, name])):
                return circle
        done.add(path[-1])
        return []

    return next((circle for name in sorted(edges) if (circle := walk([name]))), [])


TITLES = {
    "benchmarks": "speed and precision, measured",
    "docs": "the pages, and what makes them",
    "train.py": "the command: reads settings, trains, prints",
    "report": "what a run shows",
    "inference": "a trained run used again",
    "training": "fitting, and runs that survive",
    "models": "the paper",
    "speech": "clips in, measures out",
    "nn1d": "layers, gradients, Adam, the checker",
    "storage": "files that are whole or absent",
}
WIDTH, LINE, GAP, LETTER = 640, 17, 30, 6.7
COLOURS = {  # on a light and on a dark page
    "box": ("#eef3f7", "#1d2630"),
    "ink": ("#10202e", "#e6edf3"),
    "soft": ("#52606b", "#a0abb8"),
    "module": ("#0b5a80", "#6cc0e5"),
    "library": ("#8a4b00", "#ffa657"),
}
INDENT = 64  # where the boxes begin, right of the number of their floor


class Box(NamedTuple):
    """A room on the drawing."""

    left: int
    right: int
    top: int
    lines: list[str]


def contents(room: str, columns: int, root: Path) -> list[str]:
    """The lines in a box: modules, then libraries."""
    if room in ("benchmarks", "docs"):
        return []  # the building, not what is drawn of it
    modules = [".".join(file.with_suffix("").parts[1:]) for file in files(root)
               if file.parts[0] == room and file.name != "__init__.py" and len(file.parts) > 1]  # fmt: skip
    libraries = sorted(graph(root).get(room, set()) - {other for level in FLOORS for other in level})
    return wrap(modules, columns) + ([f"◦ {line}" for line in wrap(libraries, columns - 2)] if libraries else [])


def wrap(words: list[str], columns: int) -> list[str]:
    """Words in lines of at most so many letters."""
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + 2 + len(word) > columns:
            lines.append("")
        lines[-1] += f"{'  ' if lines[-1] else ''}{word}"
    return [line for line in lines if line]


def boxes(root: Path) -> tuple[dict[str, Box], list[tuple[int, int]]]:
    """Where each room is drawn, and top and height of each floor."""
    placed: dict[str, Box] = {}
    levels, top = [], 0
    for rooms in FLOORS[1:]:  # without the tests
        width = (WIDTH - INDENT - GAP * (len(rooms) - 1)) // len(rooms)
        texts = [contents(room, int((width - 24) / LETTER), root) for room in rooms]
        for i, (room, lines) in enumerate(zip(rooms, texts, strict=True)):
            left = INDENT + i * (width + GAP)
            placed[room] = Box(left, left + width, top, lines)
        height = 52 + LINE * max(map(len, texts))
        levels.append((top, height))
        top += height + GAP
    return placed, levels


def draw(root: Path = ROOT) -> str:
    """The house as SVG: a box a room, a floor a row; an arrow down each side says which way imports run."""
    placed, levels = boxes(root)
    bottom = sum(levels[-1])
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH + 4}" height="{bottom + 4}" '
        f'viewBox="-2 -2 {WIDTH + 4} {bottom + 4}" font-family="sans-serif" font-size="13" role="img" '
        f'aria-label="The rooms on their floors: each imports only from floors below">',
        f"<style>{rules(0)}@media(prefers-color-scheme:dark){{{rules(1)}}}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
        'orient="auto-start-reverse"><path d="M0 0L8 4L0 8z" fill="#7d8590"/></marker></defs>',
        f'<path d="M50 0L50 {bottom}" stroke="#7d8590" stroke-width="2" fill="none" marker-end="url(#tip)"/>',
        f'<text x="42" y="{bottom - 6}" text-anchor="start" class="soft" transform="rotate(-90 42 {bottom - 6})">'
        "imports run downwards only</text>",
    ]
    for number, (top, height) in enumerate(levels):
        lines.append(
            f'<text x="16" y="{top + height // 2}" font-weight="bold" class="soft">{len(levels) - number}</text>'
        )
    for room, box in placed.items():
        height = dict(levels)[box.top]
        lines.append(
            f'<rect x="{box.left}" y="{box.top}" width="{box.right - box.left}" height="{height}" rx="8" '
            'class="box" stroke="#7d8590"/>'
        )
        title = room if room.endswith(".py") else f"{room}/"
        lines.append(f'<text x="{box.left + 12}" y="{box.top + 20}" font-weight="bold" class="ink">{title}</text>')
        lines.append(f'<text x="{box.left + 12}" y="{box.top + 38}" class="soft">{escape(TITLES[room])}</text>')
        for i, line in enumerate(box.lines):
            kind = "library" if line.startswith("◦") else "module"
            lines.append(
                f'<text x="{box.left + 12}" y="{box.top + 58 + LINE * i}" font-family="monospace" font-size="11" '
                f'class="{kind}" xml:space="preserve">{escape(line)}</text>'
            )
    return "\n".join([*lines, "</svg>\n"])


def rules(scheme: int) -> str:
    """The colours of the drawing, on a light (0) or a dark (1) page."""
    return "".join(f".{name}{{fill:{colours[scheme]}}}" for name, colours in COLOURS.items())


def main() -> int:
    """Write the drawing; 2 where an import breaks a rule."""
    Parser(command="docs.house", description=__doc__).parse_args()
    try:
        check()
    except HouseError as error:
        print(f"docs.house: {error}", file=sys.stderr)
        return 2
    DRAWING.parent.mkdir(exist_ok=True)
    DRAWING.write_text(draw(), "utf-8")
    print(f"written: {DRAWING.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
