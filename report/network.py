"""A network in one picture, drawn from the network itself: with pools or with folds, of any depth and any channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from inference.model import Model
from models.folded import FoldedAutoencoder
from nn1d import HardSigmoid
from nn1d.layer import named_parameters
from report.diagram import label, panel

WIDTH, BOX, LINE, GAP, EDGE, TOP = 440, 176, 18, 44, 14, 84  # [pixels]
LEFT, RIGHT = EDGE, WIDTH - EDGE - BOX  # where the boxes of the encoder and of the decoder begin
Shape = tuple[int, int]  # samples, channels


def stages(coder: Any) -> list[Any]:
    """The stages of an encoder or a decoder in the order of its forward."""
    return [coder.layers[str(i)] for i in range(len(coder.convolutions))]


def shapes(network: Any, clip_samples: int) -> tuple[list[Shape], Shape, list[Shape]]:
    """What leaves each stage of the encoder, the representation, and what leaves each stage of the decoder.

    Of the decoder the last one first: as the rows of the picture. A clip of zeros goes through the network.
    """
    encoder, decoder, pooled = network.encoder, network.decoder, not isinstance(network, FoldedAutoencoder)
    h = np.zeros((1, clip_samples, 1), np.float32)
    encoded, decoded, masks = [], [], []
    for stage in stages(encoder):
        h, _ = stage.forward(h)
        encoded.append(h.shape[1:])
        if pooled:
            h, mask = encoder.pool.forward(h)
            masks.append(mask)
    representation = h.shape[1:]
    for stage in stages(decoder):
        if pooled:
            h, _ = decoder.unpool.forward(decoder.activation.forward(h)[0], masks.pop())
        h, _ = stage.forward(h)
        decoded.append(h.shape[1:])
    return encoded, representation, decoded[::-1]


def draw(network: Any, clip_samples: int, fine_tune_masks: bool = False) -> str:
    """The SVG: the encoder goes down on the left, the decoder up on the right, and a mask crosses at each pool.

    Parameters
    ----------
    network : Autoencoder or FoldedAutoencoder
    clip_samples : int
    fine_tune_masks : bool
        Whether the decoder takes masks in phase 2 as well.
    """
    encoded, z, decoded = shapes(network, clip_samples)
    depth, pooled = len(encoded), not isinstance(network, FoldedAutoencoder)
    tall = 40 + LINE if pooled else 40 + 2 * LINE
    body: list[str] = []

    def arrow(x: float, y1: float, y2: float) -> None:
        body.append(f"<line class='wire' x1='{x:g}' y1='{y1:g}' x2='{x:g}' y2='{y2:g}' stroke-width='2'/>")
        back = -6 if y2 > y1 else 6
        body.append(f"<polygon class='second' points='{x:g},{y2:g} {x - 4:g},{y2 + back:g} {x + 4:g},{y2 + back:g}'/>")

    def top(row: int) -> float:
        return TOP + row * (tall + GAP)

    bottom = top(depth)
    body.append(label(LEFT + BOX / 2, 22, "encoder", 15, weight="bold"))
    body.append(label(RIGHT + BOX / 2, 22, "decoder", 15, weight="bold"))
    for row, (down, up) in enumerate(zip(stages(network.encoder), reversed(stages(network.decoder)), strict=True)):
        _stage(body, LEFT, top(row), tall, down, encoded[row], "other")
        _stage(body, RIGHT, top(row), tall, up, decoded[row], "band")
        y = top(row) + tall
        arrow(LEFT + 30, y, y + GAP)
        arrow(RIGHT + BOX - 30, y + GAP, y)
        if pooled:
            body.append(label(LEFT + 40, y + GAP / 2, f"max pool {network.encoder.pool.size}", 13, anchor="start"))
            unpool = f"ELU, unpool {network.decoder.unpool.size}"
            body.append(label(RIGHT + BOX - 40, y + GAP / 2, unpool, 13, anchor="end"))
            crossing = f"x1='{LEFT + 134}' y1='{y + GAP / 2:g}' x2='{RIGHT + 20}' y2='{y + GAP / 2:g}'"
            body.append(f"<line class='warm' {crossing} stroke-width='2' stroke-dasharray='5 4'/>")
        if pooled and row == 0:
            body.append(label(WIDTH / 2 - 6, y + GAP / 2 - 10, "mask", 13, "third"))
    arrow(LEFT + 30, 54, TOP)
    body.append(label(LEFT, 44, f"audio  {clip_samples} × 1", 13, anchor="start"))
    arrow(RIGHT + BOX - 30, TOP, 54)
    output = "hard sigmoid" if isinstance(network.decoder.layers.get("output"), HardSigmoid) else "linear"
    body.append(label(RIGHT + BOX, 44, f"{output}  {clip_samples} × 1", 13, anchor="end"))
    bar = f"x='{LEFT}' y='{bottom:g}' width='{WIDTH - 2 * EDGE}' height='34' rx='6'"
    body.append(f"<rect class='panel fine' {bar} stroke-width='2'/>")
    body.append(label(WIDTH / 2, bottom + 17, f"representation z  {z[0]} × {z[1]}", 15, weight="bold"))
    crossing = "; masks cross." if pooled else "."
    second = [
        "the decoder alone learns, from z" + ("." if not pooled else " and the masks." if fine_tune_masks else ";")
    ]
    if pooled and not fine_tune_masks:
        second.append("no masks: each sample is repeated.")
    y = bottom + 60
    for title, texts in (
        ("Phase 1, pre-training:", [f"all of it learns{crossing}"]),
        ("Phase 2, fine-tuning:", second),
    ):
        body.append(label(LEFT, y, title, 13, weight="bold", anchor="start"))
        for text in texts:
            body.append(label(LEFT + 172, y, text, 13, anchor="start"))
            y += 20
    masks = ", with masks handed across" if pooled else ""
    title = f"The network: {depth} stages down to the representation, {depth} stages up to the audio{masks}"
    return panel(title, WIDTH, y, body)


def _stage(body: list[str], left: float, top: float, tall: float, stage: Any, shape: Shape, look: str) -> None:
    """A box: the shape of what leaves it, its layers, and its residual block with the straight way round it."""
    body.append(f"<rect class='{look} edge' x='{left}' y='{top:g}' width='{BOX}' height='{tall:g}' rx='6'/>")
    body.append(label(left + 8, top + 14, f"{shape[0]} × {shape[1]}", 13, weight="bold", anchor="start"))
    words = [_words(name, layer) for name, layer in stage.layers.items() if name != "residual"]
    lines = [", ".join(words)] if tall < 40 + 2 * LINE else [", ".join(words[:-1]) + ",", words[-1]]
    for i, line in enumerate(lines):
        body.append(label(left + 8, top + 45 + LINE * i, line, 13, anchor="start"))
    if "residual" in stage.layers:
        x, y = left + BOX - 34, top + 18
        body.append(f"<rect class='gate edge' x='{x - 11:g}' y='{y - 8:g}' width='22' height='17' rx='3'/>")
        body.append(label(x, y, "F", 12))
        way = f"M{x - 25:g} {y:g}H{x - 11:g}M{x + 11:g} {y:g}H{x + 25:g}M{x - 21:g} {y:g}V{y + 14:g}H{x + 21:g}V{y:g}"
        body.append(f"<path class='fine' fill='none' stroke-width='2' d='{way}'/>")


def _words(name: str, layer: Any) -> str:
    if name == "convolution":
        return f"{'convᵀ' if layer.transposed else 'conv'} {layer.in_channels} → {layer.out_channels}"
    return f"{name} {layer.size}" if name in ("fold", "unfold") else type(layer).__name__


def network_section(models: Mapping[str, Model]) -> dict[str, str]:
    """The network of a run as the page shows it: the picture, and what it does not say."""
    from report.figure import data_uri  # with matplotlib

    model = next(iter(models.values()))
    network, settings = model.network, model.configuration
    parameters = sum(leaf.size for leaf in named_parameters(network.parameters).values())
    sentences = [
        f"{parameters:,} parameters; filters of {settings.kernel_size} samples.",
        "A box says samples × channels of what leaves it.",
        "F is a residual block: two convolutions, and a way round them.",
    ]
    if settings.tied:
        sentences.append("Each transposed convolution has the filters of the convolution beside it.")
    depth = len(settings.channels)
    return {
        "about": " ".join(sentences),
        "uri": data_uri("image/svg+xml", draw(network, model.length, settings.fine_tune_masks)),
        "alt": f"The run's network: {depth} stages down to the representation, {depth} stages up to the audio",
    }
