"""python -m docs.house: who imports whom, held against the rules and drawn for docs/architecture.md.

The site is not built, and the tests fail, where an import runs upwards or the drawing is not up to date.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

ROOT = Path(__file__).parents[1]
DRAWING = ROOT / "docs" / "figures" / "house.svg"

RULES = {  # room -> rooms that it may import
    "models/__main__.py": {"train.py", "report", "models", "speech", "nn1d", "storage"},
    "report/__main__.py": {"train.py", "report", "models", "speech", "nn1d", "storage"},
    "train.py": {"report", "models", "speech", "nn1d", "storage"},
    "report": {"models", "speech", "nn1d", "storage"},
    "models": {"nn1d", "storage"},
    "speech": {"storage"},
    "storage": set(),
    "nn1d": set(),
}
LIBRARIES = {"nn1d": {"numpy", "cupy", "threadpoolctl"}, "storage": set()}  # room -> the only ones that it may import
CUPY = Path("nn1d/backend.py")  # the only file that imports it
OUTSIDE = {"tests", "benchmarks", "docs"}  # may import every room, and no room imports them


class HouseError(ImportError):
    """An import breaks a rule; the message names the file, the line and the rule."""


class Import(NamedTuple):
    """One import statement."""

    file: Path
    line: int
    name: str  # dotted; of "from a import b" it is a.b
    at_once: bool  # when the file is imported, and not only when a function runs


def imports(root: Path = ROOT) -> Iterator[Import]:
    """Every import in every room."""
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
    """Of every room, relative to the root; a folder of Python files that no rule names is a room too."""
    folders = {path.parent.name for path in root.glob("*/__init__.py")} - OUTSIDE
    found = [path for folder in folders for path in (root / folder).rglob("*.py")]
    return sorted(path.relative_to(root) for path in [*found, *root.glob("*.py")])


def room(file: Path) -> str:
    """Where a file belongs."""
    name = file.as_posix()
    return name if name in RULES else file.parts[0]


def target(name: str, root: Path = ROOT) -> str:
    """The room that an import leads to, or the library; "" for Python's own."""
    first = name.split(".")[0]
    if (root / f"{first}.py").is_file():
        return f"{first}.py"
    return "" if first in sys.stdlib_module_names else first


def graph(root: Path = ROOT) -> dict[str, set[str]]:
    """Room -> rooms and libraries that it imports."""
    found: dict[str, set[str]] = {}
    for each in imports(root):
        found.setdefault(room(each.file), set()).add(target(each.name, root))
    return {name: targets - {name, ""} for name, targets in found.items()}


def check(root: Path = ROOT) -> None:
    """Hold every import against the rules.

    Raises
    ------
    HouseError
        An import runs upwards, a library is used where it may not be, a room has no rule, or files import each other.
    """
    rooms = {name.split("/")[0] for name in RULES} | OUTSIDE
    for each in imports(root):
        where, own, to = f"{each.file}:{each.line} imports {each.name}", room(each.file), target(each.name, root)
        if own not in RULES:
            raise HouseError(f"{each.file}: {own} is a room without a rule. Give it one in docs/house.py")
        if to in rooms:
            if to != own.split("/")[0] and to not in RULES[own]:
                raise HouseError(f"{where}: {own} may import {', '.join(sorted(RULES[own])) or 'no other room'}")
        elif to and to not in LIBRARIES.get(own, {to}):
            raise HouseError(f"{where}: {own} may import {', '.join(sorted(LIBRARIES[own])) or 'no library'}")
        if to == "cupy" and each.file != CUPY:
            raise HouseError(f"{where}: only {CUPY} may")
    circle = find_circle(module_graph(root))
    if circle:
        raise HouseError(f"{' -> '.join(circle)}: these files import each other")


def module_graph(root: Path = ROOT) -> dict[str, set[str]]:
    """Module -> modules that are imported when it is."""
    found: dict[str, set[str]] = {module(file): set() for file in files(root)}
    for each in imports(root):
        named = each.name if each.name in found else each.name.rpartition(".")[0]
        if each.at_once and named in found and named != module(each.file):
            found[module(each.file)].add(named)
    return found


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


class Box(NamedTuple):
    """A room on the drawing."""

    row: int
    left: int
    right: int
    title: str


BOXES = {
    "models/__main__.py": Box(0, 0, 180, "use a trained network"),
    "train.py": Box(0, 220, 430, "reads settings, trains, prints"),
    "report/__main__.py": Box(0, 470, 640, "make the page again"),
    "report": Box(1, 220, 640, "what a run shows"),
    "models": Box(2, 0, 370, "what the paper adds"),
    "speech": Box(2, 410, 640, "clips in, judgements out"),
    "nn1d": Box(3, 0, 370, "layers, gradients, Adam, the checker"),
    "storage": Box(3, 410, 640, "files that are whole or absent"),
}
WIDTH, LINE, GAP, LETTER = 640, 17, 44, 6.7


def contents(name: str, root: Path) -> list[str]:
    """The lines in a box: modules, then libraries."""
    modules = [".".join(file.with_suffix("").parts[1:]) for file in files(root)
               if room(file) == name and file.name != "__init__.py" and len(file.parts) > 1]  # fmt: skip
    libraries = sorted(graph(root).get(name, set()) - RULES.keys() - {"models", "speech", "nn1d", "report", "storage"})
    most = int((BOXES[name].right - BOXES[name].left - 24) / LETTER)
    lines = [] if name.endswith(".py") else wrap(modules, most)
    return lines + ([f"◦ {line}" for line in wrap(libraries, most - 2)] if libraries else [])


def wrap(words: list[str], most: int) -> list[str]:
    """Words in lines of at most so many letters."""
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + 2 + len(word) > most:
            lines.append("")
        lines[-1] += f"{'  ' if lines[-1] else ''}{word}"
    return lines


def reduced(edges: dict[str, set[str]]) -> list[tuple[str, str]]:
    """The edges downwards that no longer way along others implies."""
    down = {name: {to for to in targets if to in BOXES and BOXES[to].row >= BOXES[name].row}
            for name, targets in edges.items()}  # fmt: skip

    def reach(name: str) -> set[str]:
        return down.get(name, set()).union(*(reach(to) for to in down.get(name, ())))

    return sorted(
        (name, to) for name, targets in down.items() for to in targets
        if not any(to in reach(other) for other in targets - {to})
    )  # fmt: skip


def draw(root: Path = ROOT) -> str:
    """The house as SVG: a box a room, an arrow from each that imports to what it imports."""
    texts = {name: contents(name, root) for name in BOXES}
    heights = [max(58 + LINE * len(texts[name]) for name in BOXES if BOXES[name].row == row) for row in range(4)]
    tops = [sum(heights[:row]) + GAP * row for row in range(4)]
    bottom = tops[-1] + heights[-1]
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-2 -2 {WIDTH + 4} {bottom + 4}" font-family="sans-serif" '
        f'font-size="13" role="img" aria-label="Who imports whom">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
        'orient="auto-start-reverse"><path d="M0 0L8 4L0 8z" fill="#7d8590"/></marker></defs>',
    ]
    edges = graph(root)
    upwards = [(name, to) for name in BOXES for to in edges[name] if to in BOXES and BOXES[to].row < BOXES[name].row]
    lines += [arrow(name, to, tops, heights) for name, to in [*reduced(edges), *sorted(upwards)]]
    for name, box in BOXES.items():
        top, height = tops[box.row], heights[box.row]
        lines.append(
            f'<rect x="{box.left}" y="{top}" width="{box.right - box.left}" height="{height}" rx="8" fill="#eef3f7" '
            'stroke="#7d8590"/>'
        )
        title = name if name.endswith(".py") else f"{name}/"
        lines.append(f'<text x="{box.left + 12}" y="{top + 22}" font-weight="bold" fill="#10202e">{title}</text>')
        lines.append(f'<text x="{box.left + 12}" y="{top + 40}" fill="#3d4f5e">{escape(box.title)}</text>')
        for i, line in enumerate(texts[name]):
            colour = "#8a4b00" if line.startswith("◦") else "#0b5a80"
            lines.append(
                f'<text x="{box.left + 12}" y="{top + 62 + LINE * i}" font-family="monospace" font-size="11" '
                f'fill="{colour}" xml:space="preserve">{escape(line)}</text>'
            )
    return "\n".join([*lines, "</svg>\n"])


def arrow(name: str, to: str, tops: list[int], heights: list[int]) -> str:
    """From a box to one beside or below it, straight down where nothing is between; dashed to one above."""
    a, b, dashes = BOXES[name], BOXES[to], ""
    if a.row == b.row:
        y = tops[a.row] + heights[a.row] // 2
        start, end = ((a.right, y), (b.left, y)) if a.right <= b.left else ((a.left, y), (b.right, y))
    elif b.row < a.row:
        start, end = (a.right - 70, tops[a.row]), (b.left + 70, tops[b.row] + heights[b.row])
        dashes = ' stroke-dasharray="5 4"'
    else:
        left, right = max(a.left, b.left), min(a.right, b.right)
        between = [box for box in BOXES.values() if a.row < box.row < b.row and box.left < right and left < box.right]
        left = max([left, *(box.right for box in between)])
        y_end = tops[b.row]
        if left < right:
            x = (left + right) // 2
            start, end = (x, tops[a.row] + heights[a.row]), (x, y_end)
        elif b.left >= a.right:
            start, end = (a.right - 30, tops[a.row] + heights[a.row]), (b.left + 30, y_end)
        else:
            start, end = (a.left + 30, tops[a.row] + heights[a.row]), (b.right - 30, y_end)
    line = f"M{start[0]} {start[1]}L{end[0]} {end[1]}"
    return f'<path d="{line}" stroke="#7d8590" stroke-width="2" fill="none" marker-end="url(#tip)"{dashes}/>'


def main() -> int:
    """Write the drawing; 2 where an import breaks a rule."""
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
