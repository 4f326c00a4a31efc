"""python -m docs.network: draw the paper's network from the network itself, for README and the pages.

Shapes, channels and layers are read from an Autoencoder through which a clip has gone; a test draws it anew.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from docs.gradients.grid import label, panel
from models.autoencoder import Autoencoder

ROOT = Path(__file__).parents[1]
CLIP_SAMPLES = 64_000  # four seconds
DRAWING = ROOT / "docs" / "figures" / "network.svg"
TITLE = "The network: five stages down to the representation, five stages up to the audio, with masks handed across"

WIDTH, BOX, TALL, GAP, EDGE, TOP = 440, 176, 58, 44, 14, 84  # [pixels]
LEFT, RIGHT = EDGE, WIDTH - EDGE - BOX  # where the boxes of the encoder and of the decoder begin


def shapes(network: Autoencoder, clip_samples: int = CLIP_SAMPLES) -> tuple[list[Any], tuple[int, ...], list[Any]]:
    """What enters each pool, the representation, and what leaves each stage of the decoder: (L, C), top row first."""
    x = np.zeros((1, clip_samples, 1), np.float32)
    encoding, _ = network.encoder.forward(x)
    z = encoding.representation
    after = []
    for stage, mask in zip(network.decoder.stages, reversed(encoding.masks), strict=True):
        activated, _ = network.decoder.activation.forward(z)
        z, _ = stage.forward(network.decoder.unpool.forward(activated, mask)[0])
        after.append(z.shape[1:])
    return [h.shape[1:] for h in encoding.encoded], encoding.representation.shape[1:], after[::-1]


def draw(network: Autoencoder, clip_samples: int = CLIP_SAMPLES) -> str:
    """The SVG: the encoder goes down on the left, the decoder up on the right, and a mask crosses at each pool."""
    encoded, z, decoded = shapes(network, clip_samples)
    depth = len(encoded)
    body: list[str] = []

    def arrow(x1: float, y1: float, x2: float, y2: float, look: str = "wire") -> None:
        body.append(f"<line class='{look}' x1='{x1:g}' y1='{y1:g}' x2='{x2:g}' y2='{y2:g}' stroke-width='2'/>")
        side, down = (0, 1 if y2 > y1 else -1) if x1 == x2 else (1 if x2 > x1 else -1, 0)
        points = [(x2, y2), (x2 - 6 * side - 4 * down, y2 - 6 * down - 4 * side)]
        points.append((x2 - 6 * side + 4 * down, y2 - 6 * down + 4 * side))
        body.append(f"<polygon class='second' points='{' '.join(f'{a:g},{b:g}' for a, b in points)}'/>")

    def top(row: int) -> float:
        return TOP + row * (TALL + GAP)

    bottom = top(depth)
    body.append(label(LEFT + BOX / 2, 22, "encoder", 15, weight="bold"))
    body.append(label(RIGHT + BOX / 2, 22, "decoder", 15, weight="bold"))
    for row in range(depth):
        _stage(body, LEFT, top(row), network.encoder.stages[row], encoded[row], "other")
        _stage(body, RIGHT, top(row), network.decoder.stages[depth - 1 - row], decoded[row], "band")
        y = top(row) + TALL
        arrow(LEFT + 30, y, LEFT + 30, y + GAP)
        arrow(RIGHT + BOX - 30, y + GAP, RIGHT + BOX - 30, y)
        body.append(label(LEFT + 40, y + GAP / 2, f"max pool {network.encoder.pool.size}", 13, anchor="start"))
        unpool = f"ELU, unpool {network.decoder.unpool.size}"
        body.append(label(RIGHT + BOX - 40, y + GAP / 2, unpool, 13, anchor="end"))
        crossing = f"x1='{LEFT + 134}' y1='{y + GAP / 2:g}' x2='{RIGHT + 20}' y2='{y + GAP / 2:g}'"
        body.append(f"<line class='warm' {crossing} stroke-width='2' stroke-dasharray='5 4'/>")
        if row == 0:
            body.append(label(WIDTH / 2 - 6, y + GAP / 2 - 10, "mask", 13, "third"))
    arrow(LEFT + 30, 54, LEFT + 30, TOP)
    body.append(label(LEFT, 44, f"audio  {clip_samples} × 1", 13, anchor="start"))
    arrow(RIGHT + BOX - 30, TOP, RIGHT + BOX - 30, 54)
    output = {"HardSigmoid": "hard sigmoid"}.get(type(network.decoder.output).__name__, "linear")
    body.append(label(RIGHT + BOX, 44, f"{output}  {clip_samples} × 1", 13, anchor="end"))
    bar = f"x='{LEFT}' y='{bottom:g}' width='{WIDTH - 2 * EDGE}' height='34' rx='6'"
    body.append(f"<rect class='panel fine' {bar} stroke-width='2'/>")
    body.append(label(WIDTH / 2, bottom + 17, f"representation z  {z[0]} × {z[1]}", 15, weight="bold"))
    y = bottom + 60
    phases = (
        ("Phase 1, pre-training:", "all of it learns; masks cross."),
        ("Phase 2, fine-tuning:", "the decoder alone learns, from z;"),
        ("", "no masks: each sample is repeated."),
    )
    for i, (title, text) in enumerate(phases):
        body.append(label(LEFT, y + 20 * i, title, 13, weight="bold", anchor="start"))
        body.append(label(LEFT + 172, y + 20 * i, text, 13, anchor="start"))
    return panel(TITLE, WIDTH, y + 20 * len(phases), body)


def _stage(body: list[str], left: float, top: float, stage: Any, shape: tuple[int, ...], look: str) -> None:
    """A box: the shape of what leaves it, its convolution, and its residual block with the straight way round it."""
    body.append(f"<rect class='{look} edge' x='{left}' y='{top:g}' width='{BOX}' height='{TALL}' rx='6'/>")
    body.append(label(left + 8, top + 14, f"{shape[0]} × {shape[1]}", 13, weight="bold", anchor="start"))
    convolution = stage.layers["convolution"]
    kind = "convᵀ" if convolution.transposed else "conv"
    before = "ELU, " if "activation" in stage.layers else ""
    words = f"{before}{kind} {convolution.in_channels} → {convolution.out_channels}"
    body.append(label(left + 8, top + 45, words, 13, anchor="start"))
    if "residual" in stage.layers:
        x, y = left + BOX - 34, top + 18
        body.append(f"<rect class='gate edge' x='{x - 11:g}' y='{y - 8:g}' width='22' height='17' rx='3'/>")
        body.append(label(x, y, "F", 12))
        way = f"M{x - 25:g} {y:g}H{x - 11:g}M{x + 11:g} {y:g}H{x + 25:g}M{x - 21:g} {y:g}V{y + 14:g}H{x + 21:g}V{y:g}"
        body.append(f"<path class='fine' fill='none' stroke-width='2' d='{way}'/>")


def main() -> int:
    """Write the drawing."""
    DRAWING.parent.mkdir(exist_ok=True)
    DRAWING.write_text(draw(Autoencoder(rng=np.random.default_rng(0))), "utf-8")
    print(f"written: {DRAWING.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
