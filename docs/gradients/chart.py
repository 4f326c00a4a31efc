"""The figure of whole-network.md: the length of the gradient after each layer, from the loss to the first filter."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from report.diagram import label, panel

LEFT, RIGHT, TOP, BOTTOM, HEIGHT, STEP = 70, 20, 64, 54, 260, 17  # [pixels]
AFTER, BEFORE, THROUGH = ("first", "fine"), ("second", "grey"), ("third", "warm")  # classes of a fill and of a stroke


def chart(alt: str, notes: dict[str, Any]) -> str:
    """The SVG, from the content of network.json."""
    layers = [note for note in notes["after"]["layers"] if not note["name"].endswith("body")]
    every = [note["dx"] for when in ("before", "after") for note in notes[when]["layers"]]
    low, high = math.floor(math.log10(min(every))), math.ceil(math.log10(max(every)))

    def x(i: float) -> float:
        return LEFT + (i + 0.5) * STEP

    def y(value: float) -> float:
        return round(TOP + HEIGHT * (high - math.log10(value)) / (high - low), 2)

    body: list[str] = []
    _bands(body, layers, x)
    for power in range(low, high + 1):
        height = y(10.0**power)
        body.append(f"<line x1='{LEFT}' x2='{x(len(layers) - 0.5):g}' y1='{height:g}' y2='{height:g}' class='thin'/>")
        body.append(label(LEFT - 8, height, f"1e−{-power}" if power < 0 else f"1e{power}", 11, "soft", anchor="end"))
    for when, (fill, stroke) in (("before", BEFORE), ("after", AFTER)):
        lengths = [note["dx"] for note in notes[when]["layers"] if not note["name"].endswith("body")]
        points = " ".join(f"{x(i):g},{y(length):g}" for i, length in enumerate(lengths))
        body.append(f"<polyline points='{points}' class='{stroke}' fill='none' stroke-width='2'/>")
        body += [
            f"<circle cx='{x(i):g}' cy='{y(length):g}' r='2.6' class='{fill}'/>" for i, length in enumerate(lengths)
        ]
    through = {note["name"]: note["dx"] for note in notes["after"]["layers"] if note["name"].endswith("body")}
    for i, note in enumerate(layers):
        if note["name"] + ".body" in through:
            height = y(through[note["name"] + ".body"])
            body.append(f"<rect x='{x(i) - 4:g}' y='{height - 4:g}' width='8' height='8' class='{THROUGH[0]}'/>")
    start = float(LEFT)
    for text, (fill, _) in (
        ("length of dx, before training", BEFORE),
        ("after training", AFTER),
        ("through F of a residual block, after training", THROUGH),
    ):
        body.append(f"<rect x='{start:g}' y='19' width='10' height='10' class='{fill}'/>")
        body.append(label(start + 16, 24, text, 12, anchor="start"))
        start += 36 + 6.6 * len(text)
    body.append(label(x(len(layers) / 2), TOP + HEIGHT + 40, "from the loss to the first filter", 12))
    return panel(alt, x(len(layers)) + RIGHT, TOP + HEIGHT + BOTTOM, body)


def _bands(body: list[str], layers: list[dict[str, Any]], x: Callable[[float], float]) -> None:
    """A band for each stage, with its name below."""
    names = stages([note["name"] for note in layers])
    for stage in dict.fromkeys(names):
        inside = [i for i, name in enumerate(names) if name == stage]
        left, right = x(inside[0] - 0.5), x(inside[-1] + 0.5)
        half, _, number = stage.partition(" ")
        if not int(number or 1) % 2:
            band = ("band", "other")[half == "encoder"]
            body.append(f"<rect x='{left:g}' y='{TOP}' width='{right - left:g}' height='{HEIGHT}' class='{band}'/>")
        body.append(label((left + right) / 2, TOP + HEIGHT + 14, stage, 10, "soft"))


def stages(names: list[str]) -> list[str]:
    """The stage of each layer in the order of backward. Layers that all stages share belong to the stage around them.

    A decoder stage is left through its unpool and its ELU; an encoder stage is entered through its pool.
    """
    stages = [".".join(name.split(".")[:2]) if name.split(".")[1].isdigit() else "" for name in names]
    for i, name in enumerate(names):
        if name in ("decoder.unpool", "decoder.activation"):
            stages[i] = stages[i - 1]
    for i in reversed(range(len(names))):
        if names[i] in ("encoder.pool", "decoder.output"):
            stages[i] = stages[i + 1]
    return [stage.replace(".", " ") for stage in stages]
