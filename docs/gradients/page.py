"""python -m docs.gradients.page: run the pages of docs/gradients, and docs/api/nn1d.md, and fill in what they compute.

A page is plain Markdown, and its own template. From top to bottom, in one namespace,

    ```python                       is run; what it prints stands in the ```text block after it
    <!-- python ... -->             is run as well, unseen by the reader; what it prints stands, as Markdown, between
    ... <!-- end -->                it and the end. It knows the names of the page and those of `tools`

so a number, a table, a picture or a piece of the library's source on a page is what the code gives today. A block that
raises ends the build: the solutions of the exercises, which assert, are tests.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from docs.gradients.grid import Grid, picture
from nn1d.command import Parser

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
REFERENCE = ROOT / "docs" / "api" / "nn1d.md"
PIECE = re.compile(
    r"^<!-- python\b(?P<hidden>.*?)-->\n(?P<made>.*?)^<!-- end -->$"
    r"|^```python\n(?P<shown>.*?)^```$(?P<output>\n\n```text\n.*?^```$)?",
    re.MULTILINE | re.DOTALL,
)
TOLERANCE = 1e-6  # of the gradient checker


def build(path: Path, folder: Path = FOLDER) -> str:
    """The text of a page with all that it computes, now; its pictures are written to `folder`/figures."""
    text = path.read_text("utf-8")
    names: dict[str, Any] = {"__name__": path.stem}
    unseen: dict[str, Any] = {}

    def run(source: str, start: int, seen: dict[str, Any]) -> str:
        # blank lines before the source let a traceback name the line of the page
        lines = "\n" * text.count("\n", 0, start)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(lines + source, str(path), "exec"), seen)
        return rounded(printed.getvalue())

    def fill(piece: re.Match[str]) -> str:
        if piece["shown"] is not None:
            printed = run(piece["shown"], piece.start("shown"), names)
            names["shown"] = piece["shown"]
            return f"```python\n{piece['shown']}```" + (f"\n\n```text\n{printed}```" if printed else "")
        source = textwrap.dedent(piece["hidden"])
        unseen.update(names | tools(folder))
        printed = run(source, piece.start("hidden"), unseen)
        return f"<!-- python{piece['hidden']}-->\n\n{printed.strip()}\n\n<!-- end -->"

    return PIECE.sub(fill, text)


def tools(folder: Path) -> dict[str, Any]:
    """What the unseen blocks of a page may call: each prints Markdown."""

    def show_picture(name: str, alt: str, svg: str) -> None:
        path = folder / "figures" / f"{name}.svg"
        path.parent.mkdir(exist_ok=True)
        path.write_text(svg, "utf-8")
        print(f"![{alt}](figures/{name}.svg)")

    def draw(name: str, alt: str, *lines: Sequence[Grid | str]) -> None:
        show_picture(name, alt, picture(alt, lines))

    functions = (draw, show_picture, show_source, show_table, show_run, change, touch)
    return {"Grid": Grid, "np": np} | {function.__name__: function for function in functions}


def touch(
    arrays: dict[str, tuple[str, np.ndarray]],
    *ops: tuple[str, str, str, dict[str, Any]],
    output: str,
    dy: np.ndarray | None = None,
    mistake: tuple[str, int, str] | None = None,
    **options: Any,
) -> None:
    """Grids that a reader can change, for docs/static/grid.js: name -> (axes, numbers), and the maps between them.

    A map is (kind, names in, names out, settings), and the mistake (kind, number of its map, what it does in words).
    """
    spec: dict[str, Any] = {
        "arrays": {name: {"axes": axes, "data": numbers.tolist()} for name, (axes, numbers) in arrays.items()},
        "ops": [{"kind": kind, "in": ins.split(), "out": outs.split(), **more} for kind, ins, outs, more in ops],
        "output": output,
    }
    spec |= {"dy": dy.tolist()} if dy is not None else {}
    spec |= {"mistake": dict(zip(("kind", "op", "words"), mistake, strict=True))} if mistake else {}
    text = escape(json.dumps(spec | options, ensure_ascii=False), quote=False).replace("'", "&#39;")
    print(f"<div data-lab='{text}'>")
    print("On the site of these pages, in a browser with JavaScript, the numbers stand here to be changed.\n</div>")


def show_source(path: str, name: str, *statements: str) -> None:
    """A function, a class or a method as it stands in a file, or the statements of it that start with these words."""
    text = (ROOT / path).read_text("utf-8")
    node: Any = ast.parse(text)
    for part in name.split("."):
        node = next((child for child in ast.walk(node) if getattr(child, "name", None) == part), None)
        if node is None:
            raise LookupError(f"{path} has no {name}: name what took its place on the page")
    inside = [child for child in ast.walk(node) if isinstance(child, ast.stmt)]
    shown = [] if statements else [node]
    for start in statements:
        matching = [child for child in inside if (ast.get_source_segment(text, child) or "").startswith(start)]
        if len(matching) != 1:
            raise LookupError(f"{path}: {name} must have one statement that starts {start!r}; it has {len(matching)}")
        shown += matching
    lines = text.splitlines()
    blocks = (textwrap.dedent("\n".join(lines[statement.lineno - 1 : statement.end_lineno])) for statement in shown)
    print(f"`{path}`, `{name}`:\n\n```python\n" + "\n".join(blocks) + "\n```")


def show_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table in Markdown; the first column to the left, the others to the right."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    print("\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines))


def show_run(command: str, last: int, **modules: str) -> None:
    """The command, and the last lines that it prints, in a folder that holds these modules."""
    with tempfile.TemporaryDirectory() as folder:
        for name, source in modules.items():
            (Path(folder) / f"{name}.py").write_text(source, "utf-8")
        done = subprocess.run(
            [sys.executable, *command.split()[1:]],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.stderr:
        raise RuntimeError(f"{command}: {done.stderr}")
    printed = "\n".join(rounded(done.stdout).splitlines()[-last:])
    print(f"```sh\n{command} | tail -n {last}\n```\n\n```text\n{printed}\n```")


def change(source: str, *lines: tuple[str, str]) -> str:
    """The source with lines replaced; the change is shown as a diff."""
    shown = []
    for old, new in lines:
        if source.count(old + "\n") != 1:
            raise ValueError(f"{old!r} must be one line of the source")
        source = source.replace(old + "\n", new + "\n")
        shown += [f"-{old}", *(f"+{line}" for line in new.split("\n"))]
    print("```diff\n" + "\n".join(shown) + "\n```")
    return source


def rounded(printed: str) -> str:
    """Output of the gradient checker without the digits and the seconds that differ from one processor to the next."""

    def error(match: re.Match[str]) -> str:
        small = float(match[0]) <= TOLERANCE
        return f"{'< 1e-06' if small else match[0].strip():>{len(match[0])}}"

    lines = []
    for line in printed.splitlines():
        line = re.sub(r"[+-]\d\.\d{9}e[+-]\d\d", lambda match: f"{float(match[0]):+.4e}", line)
        line = re.sub(r"(\(tolerance \S+), \d+\.\d\d s\)", r"\1)", line)
        line = re.sub(r"(?<=relative error )\d\.\de[+-]\d\d", error, line)
        # a row of python -m nn1d.gradcheck ends with the error, the seconds or nothing, and a mark
        line = re.sub(r"( {4}\d\.\de[+-]\d\d) +(\d+\.\d{3})?(?=  WRONG$|$)", r"\1", line)
        line = re.sub(r" {4}\d\.\de[+-]\d\d(?=  WRONG$|$)", error, line)
        line = re.sub(r"(?<=relative error)  seconds$", "", line)
        lines.append(line.replace(" " * 28, "  ").rstrip())
    return "".join(line + "\n" for line in lines)


def main(arguments: list[str] | None = None) -> int:
    """Write the pages whose text has changed."""
    pages = [*sorted(FOLDER.glob("*.md")), REFERENCE]
    parser = Parser(command="docs.gradients.page", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="pages, such as convolution; all of them unless given")
    names = parser.parse_args(arguments).names
    unknown = set(names) - {page.stem for page in pages}
    if unknown:
        there = ", ".join(page.stem for page in pages)
        print(f"docs.gradients.page: there is no page {sorted(unknown)[0]}; the pages are {there}", file=sys.stderr)
        return 2
    for page in pages:
        if not names or page.stem in names:
            text = build(page)
            changed = text != page.read_text("utf-8")
            page.write_text(text, "utf-8")
            print(f"{page.relative_to(ROOT)}: {'written' if changed else 'as it was'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
