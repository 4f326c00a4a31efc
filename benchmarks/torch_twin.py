"""The paper's network in torch.nn: the oracle of the tests and the rival of the benchmarks.

Its dotted names are ours, so that the arrays of `nn1d.to_torch` fill it with strict=True. Tensors are (N, C, L).
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.autoencoder import CHANNELS


class Residual(nn.Module):
    """x + F(x)."""

    def __init__(self, channels: int, kernel_size: int, convolution: type[nn.Module]) -> None:
        super().__init__()
        first, last = (convolution(channels, channels, kernel_size, padding=kernel_size // 2) for _ in range(2))
        self.body = nn.Sequential(nn.ELU(), first, nn.ELU(), last)

    def forward(self, x: Tensor) -> Tensor:
        """The sum."""
        return x + self.body(x)


def stage(
    before: int, after: int, kernel_size: int, convolution: type[nn.Module], *, activation: bool
) -> nn.Sequential:
    """What stands between two pools."""
    layers = nn.Sequential()
    if activation:
        layers.add_module("activation", nn.ELU())
    layers.add_module("convolution", convolution(before, after, kernel_size, padding=kernel_size // 2))
    layers.add_module("residual", Residual(after, kernel_size, convolution))
    return layers


class Twin(nn.Module):
    """Encoder and decoder; the places of the maxima are handed over as indices."""

    def __init__(
        self, channels: tuple[int, ...] = CHANNELS, kernel_size: int = 3, output: str = "hard_sigmoid"
    ) -> None:
        super().__init__()
        down, up = (1, *channels), (*reversed(channels), 1)
        self.encoder = nn.ModuleList(
            stage(before, after, kernel_size, nn.Conv1d, activation=i > 0)
            for i, (before, after) in enumerate(itertools.pairwise(down))
        )
        self.decoder = nn.ModuleList(
            stage(before, after, kernel_size, nn.ConvTranspose1d, activation=True)
            for before, after in itertools.pairwise(up)
        )
        self.output = output

    def encode(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """The representation, where the maxima were, and what entered each pool."""
        places, encoded = [], []
        for part in self.encoder:
            encoded.append(part(x))
            x, place = functional.max_pool1d(encoded[-1], 2, return_indices=True)
            places.append(place)
        return x, places, encoded

    def decode(self, z: Tensor, places: list[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        """Audio, and what left each unpool; without places by repeating samples."""
        decoded = []
        for i, part in enumerate(self.decoder):
            if places is None:
                decoded.append(functional.interpolate(z, scale_factor=2, mode="nearest"))
            else:
                decoded.append(functional.max_unpool1d(z, places[-1 - i], [2]))
            z = part(decoded[-1])
        return torch.clamp(0.2 * z + 0.5, 0, 1) if self.output == "hard_sigmoid" else z, decoded[::-1]

    def objective(self, x: Tensor, middle_weight: float = 0.0) -> tuple[Tensor, Tensor]:
        """The loss of Eq. 8, and the reconstruction."""
        z, places, encoded = self.encode(x)
        y, decoded = self.decode(z, places)
        loss = functional.mse_loss(y, x)
        if middle_weight:
            loss = loss + middle_weight * sum(functional.mse_loss(a, b) for a, b in zip(encoded, decoded, strict=True))
        return loss, y
