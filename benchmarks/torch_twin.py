"""The paper's network in torch.nn: the oracle of the tests and the rival of the benchmarks.

Its dotted names are ours, so that `nn1d.to_torch` fills it with strict=True. Arrays are (N, C, L) here.
"""

from __future__ import annotations

import torch
from torch import nn

from models.autoencoder import CHANNELS


class Residual(nn.Module):
    """x + F(x)."""

    def __init__(self, channels: int, convolution: type[nn.Module]) -> None:
        super().__init__()
        own = {"kernel_size": 3, "padding": 1}
        self.body = nn.Sequential(
            nn.ELU(), convolution(channels, channels, **own), nn.ELU(), convolution(channels, channels, **own)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The sum."""
        return x + self.body(x)


def stage(before: int, after: int, convolution: type[nn.Module], *, activation: bool) -> nn.Sequential:
    """What stands between two pools."""
    layers = nn.Sequential()
    if activation:
        layers.add_module("activation", nn.ELU())
    layers.add_module("convolution", convolution(before, after, kernel_size=3, padding=1))
    layers.add_module("residual", Residual(after, convolution))
    return layers


class Twin(nn.Module):
    """Encoder and decoder, masks handed over as indices."""

    def __init__(self, channels: tuple[int, ...] = CHANNELS, output: str = "hard_sigmoid") -> None:
        super().__init__()
        downwards = zip((1, *channels), channels, strict=False)
        upwards = zip(reversed(channels), (*reversed(channels[:-1]), 1), strict=True)
        self.encoder = nn.ModuleList(
            stage(before, after, nn.Conv1d, activation=i > 0) for i, (before, after) in enumerate(downwards)
        )
        self.decoder = nn.ModuleList(
            stage(before, after, nn.ConvTranspose1d, activation=True) for before, after in upwards
        )
        self.pool, self.unpool = nn.MaxPool1d(2, return_indices=True), nn.MaxUnpool1d(2)
        self.output = output

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The representation, and where the maxima were."""
        places = []
        for part in self.encoder:
            x, place = self.pool(part(x))
            places.append(place)
        return x, places

    def decode(self, z: torch.Tensor, places: list[torch.Tensor] | None = None) -> torch.Tensor:
        """Audio; without places by repeating samples."""
        for i, part in enumerate(self.decoder):
            z = z.repeat_interleave(2, dim=2) if places is None else self.unpool(z, places[-1 - i])
            z = part(z)
        return torch.clip(0.2 * z + 0.5, 0, 1) if self.output == "hard_sigmoid" else z

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Phase 1's network."""
        return self.decode(*self.encode(x))
