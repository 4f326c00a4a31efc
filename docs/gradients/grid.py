"""Arrays as grids of coloured numbers, in SVG.

Written without a library: the same arrays give the same bytes under every version of everything, so a test can compare
the pictures, and they stay small. They lie on a light panel of their own, so they can be read on a dark page too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

import numpy as np

CELL, HEIGHT, GAP, ROW_GAP, TITLE, EDGE = 38, 26, 30, 26, 20, 16  # [pixels]
BELOW, ABOVE, SET = (111, 168, 205), (240, 164, 90), (150, 196, 140)  # colours of the lowest, the highest, and True
FONT = "font-family='DejaVu Sans, Verdana, Helvetica, sans-serif'"


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


def panel(alt: str, width: float, height: float, body: Sequence[str]) -> str:
    """The SVG of a light panel with these elements on it."""
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' width='{width:g}' height='{height:g}' "
            f"viewBox='0 0 {width:g} {height:g}' role='img'>",
            f"<title>{escape(alt)}</title>",
            f"<rect width='{width:g}' height='{height:g}' rx='8' fill='#fbfaf7' stroke='#d8d4cb'/>",
            *body,
            "</svg>\n",
        ]
    )


def _draw(body: list[str], grid: Grid, x: float, y: float, head: float, scale: float) -> float:
    """Add a grid whose corner is (x, y), its numbers below title and head; where the next part may start."""
    count, length = grid.numbers.shape
    x += 10 + 6 * len(f"{grid.rows} = 0") if grid.rows else 0
    top = y + TITLE + head
    columns = range(-grid.outside, length + grid.outside)
    body.append(label(x + len(columns) * CELL / 2, y + TITLE / 2, grid.title, 13, "#333", "bold"))
    if grid.columns:
        for j in columns:
            name = f"{grid.columns} = " * (j == columns[0]) + f"{j + grid.first}".replace("-", "−")
            body.append(label(x + (j + grid.outside + 0.5) * CELL, top - HEIGHT / 2, name, 10, "#777"))
    if grid.rows:
        for i in range(count):
            name = f"{grid.rows} = {i}" if i == 0 else str(i)
            body.append(label(x - 4, top + (i + 0.5) * HEIGHT, name, 10, "#777", anchor="end"))
    marks = []
    for i in range(count):
        for j in columns:
            corner = f"x='{x + (j + grid.outside) * CELL:g}' y='{top + i * HEIGHT:g}' width='{CELL}' height='{HEIGHT}'"
            if 0 <= j < length:
                fill, text, ink, dash = _colour(grid.numbers[i, j], scale), _number(grid.numbers[i, j]), "#1a1a1a", ""
            else:
                fill, text, ink, dash = "none", "0", "#999", " stroke-dasharray='3 3'"
            body.append(f"<rect {corner} fill='{fill}' stroke='#a9a49a'{dash}/>")
            size = 13 if len(text) < 5 else 11
            body.append(label(x + (j + grid.outside + 0.5) * CELL, top + (i + 0.5) * HEIGHT, text, size, ink))
            if (i, j) in set(grid.marked):
                marks.append(f"<rect {corner} fill='none' stroke='#1a1a1a' stroke-width='2.5'/>")
    body.extend(marks)
    return x + len(columns) * CELL + 12


def label(
    x: float, y: float, text: str, size: int, fill: str = "#1a1a1a", weight: str = "normal", anchor: str = "middle"
) -> str:
    """Text whose middle is at the height y."""
    # not by dominant-baseline, which not every viewer knows
    return (
        f"<text x='{x:g}' y='{y + 0.36 * size:.4g}' font-size='{size}' font-weight='{weight}' text-anchor='{anchor}' "
        f"fill='{fill}' {FONT}>{escape(text)}</text>"
    )


def _number(value: float) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "1" if value else "·"
    rounded = round(float(value), 2) + 0.0  # no -0
    return f"{rounded:g}".replace("-", "−")


def _colour(value: float, scale: float) -> str:
    """White at 0."""
    if isinstance(value, (bool, np.bool_)):
        end, share = SET, float(value)
    else:
        end, share = (ABOVE if value > 0 else BELOW), min(abs(float(value)) / scale, 1)
    mixed = [round(255 + (each - 255) * share) for each in end]
    return "#" + "".join(f"{each:02x}" for each in mixed)
