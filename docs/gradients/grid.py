"""Arrays as grids of coloured numbers, in SVG.

The same arrays give the same bytes, so a test can compare the pictures.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from report.diagram import label, panel

CELL, HEIGHT, GAP, ROW_GAP, TITLE, EDGE = 38, 26, 30, 26, 20, 16  # [pixels]


class Grid(NamedTuple):
    """One array (rows, columns), with what stands around it."""

    title: str
    numbers: np.ndarray
    rows: str = ""  # name of the index that counts them
    columns: str = ""
    marked: Iterable[tuple[int, int]] = ()  # places with a thick outline
    outside: int = 0  # columns at each end that are not in the array but seen as zeros
    first: int = 0  # the name of the first column


def picture(alt: str, lines: Sequence[Sequence[Grid | str]]) -> str:
    """The SVG: lines of grids, with signs such as = between them. Colours have one scale in the whole picture."""
    numbers = [abs(part.numbers).max() for line in lines for part in line if isinstance(part, Grid)]
    scale = max([float(most) for most in numbers if most], default=1.0)
    body: list[str] = []
    width, y = 0.0, float(EDGE)
    for line in lines:
        grids = [part for part in line if isinstance(part, Grid)]
        head = HEIGHT if any(grid.columns for grid in grids) else 0
        tall = head + max(len(grid.numbers) for grid in grids) * HEIGHT
        x = float(EDGE)
        for part in line:
            if isinstance(part, str):
                body.append(label(x + GAP / 2, y + TITLE + (head + tall) / 2, part, 18))
                x += GAP
            else:
                x = _draw(body, part, x, y, head, scale)
        width, y = max(width, x), y + TITLE + tall + ROW_GAP
    return panel(alt, width + EDGE, y - ROW_GAP + EDGE, body)


def _draw(body: list[str], grid: Grid, x: float, y: float, head: float, scale: float) -> float:
    """Add a grid whose corner is (x, y), its numbers below title and head; where the next part may start."""
    count, length = grid.numbers.shape
    x += 10 + 6 * len(f"{grid.rows} = 0") if grid.rows else 0
    top = y + TITLE + head
    columns = range(-grid.outside, length + grid.outside)
    body.append(label(x + len(columns) * CELL / 2, y + TITLE / 2, grid.title, 13, weight="bold"))
    if grid.columns:
        for j in columns:
            letter = re.sub(r"\bl\b", "ℓ", grid.columns)  # an l reads as a one
            name = f"{letter} = " * (j == columns[0]) + f"{j + grid.first}".replace("-", "−")
            body.append(label(x + (j + grid.outside + 0.5) * CELL, top - HEIGHT / 2, name, 10, "soft"))
    if grid.rows:
        for i in range(count):
            name = f"{grid.rows} = {i}" if i == 0 else str(i)
            body.append(label(x - 4, top + (i + 0.5) * HEIGHT, name, 10, "soft", anchor="end"))
    marks = []
    for i in range(count):
        for j in columns:
            corner = f"x='{x + (j + grid.outside) * CELL:g}' y='{top + i * HEIGHT:g}' width='{CELL}' height='{HEIGHT}'"
            if 0 <= j < length:
                look, text, ink = _colour(grid.numbers[i, j], scale), _number(grid.numbers[i, j]), "ink"
            else:
                look, text, ink = "class='edge' fill='none' stroke-dasharray='3 3'", "0", "soft"
            body.append(f"<rect {corner} {look}/>")
            size = 13 if len(text) < 5 else 11
            body.append(label(x + (j + grid.outside + 0.5) * CELL, top + (i + 0.5) * HEIGHT, text, size, ink))
            if (i, j) in set(grid.marked):
                marks.append(f"<rect {corner} class='mark' fill='none' stroke-width='2.5'/>")
    body.extend(marks)
    return x + len(columns) * CELL + 12


def _number(value: float) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "1" if value else "·"
    rounded = round(float(value), 2) + 0.0  # no -0
    return f"{rounded:g}".replace("-", "−")


def _colour(value: float, scale: float) -> str:
    """The look of a cell: the panel shows through at 0."""
    if isinstance(value, (bool, np.bool_)):
        name, share = "set", float(value)
    else:
        name, share = ("above" if value > 0 else "below"), min(abs(float(value)) / scale, 1)
    return f"class='{name} edge' fill-opacity='{share:.2g}'"
