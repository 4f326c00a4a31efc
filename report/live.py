"""The trained network as the page's script runs it: weights as text, and where in it each layer has its own."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from inference.model import Model
from models.folded import FoldedAutoencoder


def describe_network(models: Mapping[str, Model]) -> dict[str, Any]:
    """The encoder and the decoder of every phase, for report/network.js.

    Parameters
    ----------
    models : mapping
        Phase -> the network as it was then; the encoder is that of the first.

    Returns
    -------
    dict
        weights: float32, little-endian, as base64. Each convolution is [start in them, taps, inputs, outputs]: filters
        (taps, inputs, outputs), then biases. Those of a transposed convolution of stride 1 are turned round, w[K-1-k]
        for w[k], and their inputs and outputs change places; then it is a convolution.
    """
    numbers: list[np.ndarray] = []

    def layer(convolution: Any) -> list[int]:
        w, b = convolution.parameters["weight"], convolution.parameters["bias"]
        w = w[::-1].swapaxes(1, 2) if convolution.transposed else w
        start = sum(len(part) for part in numbers)
        numbers.extend([np.ascontiguousarray(w).ravel(), b])
        return [start, *w.shape]

    def stages(part: Any) -> list[dict[str, Any]]:
        described = []
        for stage in (part.layers[str(i)] for i in range(len(part.convolutions))):
            body = list(stage.layers["residual"].body.layers.values())
            described.append(
                {"convolution": layer(stage.layers["convolution"]), "residual": [layer(body[1]), layer(body[3])]}
            )
        return described

    first = next(iter(models.values()))
    described: dict[str, Any] = {
        "fold": isinstance(first.network, FoldedAutoencoder),
        "output": first.configuration.output,
        "clip_samples": first.length,
        "masks": [model.masks for model in models.values()],
        "encoder": stages(first.network.encoder),
        "decoders": [stages(model.network.decoder) for model in models.values()],
    }
    weights = np.concatenate(numbers).astype("<f4")
    return described | {"weights": base64.b64encode(weights.tobytes()).decode()}
