"""The network that the settings of a run ask for."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.autoencoder import Autoencoder
from models.folded import FoldedAutoencoder
from nn1d import initial
from training.configuration import Configuration


def build_network(settings: Configuration, rng: np.random.Generator) -> Any:
    """A new Autoencoder or FoldedAutoencoder, its first weights drawn from rng."""
    isometric = settings.initial == "isometric"
    sizes = settings.channels, settings.kernel_size
    draw = initial.glorot_uniform if isometric else getattr(initial, settings.initial)
    residual_gain, output, tied = settings.residual_gain, settings.output, settings.tied
    if settings.pooling == "fold":
        return FoldedAutoencoder(
            *sizes,
            rng=rng,
            initial=draw,
            isometric=isometric,
            residual_gain=residual_gain,
            output=output,
            tied=tied,
        )
    return Autoencoder(*sizes, rng=rng, initial=draw, residual_gain=residual_gain, output=output, tied=tied)
