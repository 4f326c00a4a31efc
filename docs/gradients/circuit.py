"""A calculation as wires between sums and products, in SVG: numbers above the wires, their gradients below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from report.diagram import label, panel

WIDE, TALL, WIRE, EDGE = 132, 64, 84, 14  # [pixels]


class Gate(NamedTuple):
    """One operation: "+" or "×" of two names, and the name of what comes out."""

    sign: str
    left: str
    right: str
    out: str


def backward(numbers: dict[str, float], gates: Sequence[Gate]) -> tuple[dict[str, float], dict[str, float]]:
    """All numbers, and the gradient of the last in each: along a wire a product, where wires part a sum."""
    values = dict(numbers)
    for sign, left, right, out in gates:
        values[out] = values[left] + values[right] if sign == "+" else values[left] * values[right]
    gradients = dict.fromkeys(values, 0.0)
    gradients[gates[-1].out] = 1.0
    for sign, left, right, out in reversed(gates):
        gradients[left] += gradients[out] * (1 if sign == "+" else values[right])
        gradients[right] += gradients[out] * (1 if sign == "+" else values[left])
    return values, gradients


def circuit(alt: str, numbers: dict[str, float], gates: Sequence[Gate]) -> str:
    """The SVG: inputs on the left, each gate to the right of what it takes."""
    values, gradients = backward(numbers, gates)
    column = dict.fromkeys(numbers, 0)
    row = {name: float(i) for i, name in enumerate(numbers)}
    for _, left, right, out in gates:
        column[out] = 1 + max(column[left], column[right])
        row[out] = (row[left] + row[right]) / 2
    body: list[str] = []

    def x(name: str) -> float:
        return EDGE + column[name] * WIDE

    def y(name: str) -> float:
        return EDGE + (row[name] + 0.5) * TALL

    def line(x1: float, y1: float, x2: float, y2: float) -> None:
        body.append(f"<line class='wire' x1='{x1:g}' y1='{y1:g}' x2='{x2:g}' y2='{y2:g}'/>")

    for name in values:
        line(x(name), y(name), x(name) + WIRE, y(name))
    for sign, left, right, out in gates:
        for name in (left, right):
            line(x(name) + WIRE, y(name), x(out), y(out))
        body.append(f"<circle class='gate wire' cx='{x(out):g}' cy='{y(out):g}' r='15'/>")
        body.append(label(x(out), y(out), sign, 18))
    for name, value in values.items():
        middle = x(name) + (WIRE / 2 if column[name] == 0 else WIRE / 2 + 9)
        body.append(label(middle, y(name) - 12, f"{name} = {value:g}".replace("-", "−"), 14))
        body.append(label(middle, y(name) + 13, f"d{name} = {gradients[name]:g}".replace("-", "−"), 14, "down"))
    return panel(alt, 2 * EDGE + max(column.values()) * WIDE + WIRE + 14, 2 * EDGE + len(numbers) * TALL, body)
