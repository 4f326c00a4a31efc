"""Arrays as grids of coloured numbers, in SVG.

Written without a library: the same arrays give the same bytes under every version of everything, so a test can compare
the pictures, and they stay small. A style inside of them has colours for light and for dark.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

import numpy as np

CELL, HEIGHT, GAP, ROW_GAP, TITLE, EDGE = 38, 26, 30, 26, 20, 16  # [pixels]
# class -> colours on a light and on a dark page
FILLS = {
    "panel": ("#fbfaf7", "#1f2124"),
    "above": ("#f0a45a", "#b0641a"),  # of the highest number; smaller ones let the panel through
    "below": ("#6fa8cd", "#3f7ea8"),
    "set": ("#96c48c", "#4f8646"),
    "gate": ("#ffffff", "#2c2f33"),
    "band": ("#f1ede4", "#2a2d30"),
    "other": ("#e9eef0", "#26313a"),
    "first": ("#0b6e99", "#6cc0e5"),
    "second": ("#857f75", "#a8a196"),
    "third": ("#d9730d", "#ff9d45"),
    "down": ("#b3261e", "#ff8a80"),
    "soft": ("#666159", "#b9b3a8"),
    "ink": ("#1a1a1a", "#f1eee8"),
}
STROKES = {
    "edge": ("#a9a49a", "#6d685f"),
    "thin": ("#d8d4cb", "#3d4045"),
    "wire": ("#857f75", "#a8a196"),
    "mark": ("#1a1a1a", "#f1eee8"),
    "fine": ("#0b6e99", "#6cc0e5"),
    "grey": ("#857f75", "#a8a196"),
    "warm": ("#d9730d", "#ff9d45"),
}


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
    """The SVG of a panel with these elements on it."""
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' width='{width:g}' height='{height:g}' "
            f"viewBox='0 0 {width:g} {height:g}' role='img'>",
            f"<title>{escape(alt)}</title>",
            style("".join(body)),
            f"<rect class='panel thin' width='{width:g}' height='{height:g}' rx='8'/>",
            *body,
            "</svg>\n",
        ]
    )


def style(body: str) -> str:
    """The colours of the classes that occur, light and dark."""
    used = {name for names in re.findall(r"class='([^']*)'", body) for name in names.split()} | {"panel", "thin", "ink"}

    def rules(scheme: int) -> str:
        fills = [f".{name}{{fill:{colours[scheme]}}}" for name, colours in FILLS.items() if name in used]
        strokes = [f".{name}{{stroke:{colours[scheme]}}}" for name, colours in STROKES.items() if name in used]
        return "".join([*fills, *strokes])

    font = "text{font-family:'DejaVu Sans',Verdana,Helvetica,sans-serif}"
    return f"<style>{font}{rules(0)}@media(prefers-color-scheme:dark){{{rules(1)}}}</style>"


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


def label(
    x: float, y: float, text: str, size: int, kind: str = "ink", weight: str = "normal", anchor: str = "middle"
) -> str:
    """Text whose middle is at the height y."""
    # not by dominant-baseline, which not every viewer knows
    bold = f" font-weight='{weight}'" if weight != "normal" else ""
    return (
        f"<text class='{kind}' x='{x:g}' y='{y + 0.36 * size:.4g}' font-size='{size}'{bold} text-anchor='{anchor}'>"
        f"{escape(text)}</text>"
    )


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
