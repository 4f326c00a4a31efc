"""A function of one number and its slope as curves, in SVG."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from report.diagram import label, panel

LEFT, TOP, WIDTH, HEIGHT = 44, 44, 420, 200  # [pixels]


def curves(
    alt: str,
    functions: list[tuple[str, Callable[[np.ndarray], np.ndarray]]],
    across: tuple[float, float],
    up: tuple[float, float],
    marks: tuple[float, ...] = (),
) -> str:
    """The SVG: each function with its name, over the numbers `across`; a line down at each of `marks`."""

    def x(value: float) -> float:
        return round(LEFT + WIDTH * (value - across[0]) / (across[1] - across[0]), 1)

    def y(value: float) -> float:
        return round(TOP + HEIGHT * (up[1] - value) / (up[1] - up[0]), 1)

    body: list[str] = []
    for value in range(int(np.ceil(across[0])), int(across[1]) + 1):
        body.append(f"<line class='thin' x1='{x(value)}' x2='{x(value)}' y1='{TOP}' y2='{TOP + HEIGHT}'/>")
        body.append(label(x(value), TOP + HEIGHT + 12, f"{value}".replace("-", "−"), 12, "soft"))
    for height in np.arange(np.ceil(up[0] * 2) / 2, up[1] + 0.01, 0.5):
        body.append(f"<line class='thin' x1='{LEFT}' x2='{LEFT + WIDTH}' y1='{y(height)}' y2='{y(height)}'/>")
        body.append(label(LEFT - 8, y(height), f"{height:g}".replace("-", "−"), 12, "soft", anchor="end"))
    body.append(f"<line class='mark' x1='{LEFT}' x2='{LEFT + WIDTH}' y1='{y(0)}' y2='{y(0)}'/>")
    for mark in marks:
        ends = f"x1='{x(mark)}' x2='{x(mark)}' y1='{TOP}' y2='{TOP + HEIGHT}'"
        body.append(f"<line class='wire' {ends} stroke-dasharray='4 4'/>")
    numbers = np.linspace(*across, 281)
    start = LEFT
    for (name, function), fill, stroke in zip(functions, ("first", "third"), ("fine", "warm"), strict=False):
        values = function(numbers)
        # a jump is no line
        pieces = np.split(np.arange(len(numbers)), np.flatnonzero(np.abs(np.diff(values)) > 0.15) + 1)
        for piece in pieces:
            points = " ".join(f"{x(numbers[i])},{y(values[i])}" for i in piece)
            body.append(f"<polyline points='{points}' class='{stroke}' fill='none' stroke-width='2.5'/>")
        body.append(f"<rect x='{start}' y='17' width='12' height='12' class='{fill}'/>")
        body.append(label(start + 18, 23, name, 13, anchor="start"))
        start += int(46 + 8.2 * len(name))
    return panel(alt, LEFT + WIDTH + 20, TOP + HEIGHT + 30, body)
