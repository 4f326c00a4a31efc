"""The paper's network in torch.nn: the oracle of the tests and the rival of the benchmarks.

Its dotted names are ours, so that the arrays of `nn1d.to_torch` fill it with strict=True. Tensors are (N, C, L). For
PyTorch's channels-last kernels, which it has for images only, the same network runs on images of one row.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
from numpy import ndarray
from torch import Tensor, nn
from torch.nn import functional

from models.autoencoder import CHANNELS


class Row(nn.Module):
    """The 1-D operations, or the same on images of one row."""

    def __init__(self, channels_last: bool) -> None:
        super().__init__()
        self.channels_last = channels_last

    def convolution(self, transposed: bool, before: int, after: int, kernel_size: int) -> nn.Module:
        """A convolution that keeps the length."""
        if not self.channels_last:
            kind = nn.ConvTranspose1d if transposed else nn.Conv1d
            return kind(before, after, kernel_size, padding=kernel_size // 2)
        flat = nn.ConvTranspose2d if transposed else nn.Conv2d
        return flat(before, after, (1, kernel_size), padding=(0, kernel_size // 2))

    def pool(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Maxima and their places."""
        if self.channels_last:
            return functional.max_pool2d(x, (1, 2), return_indices=True)
        return functional.max_pool1d(x, 2, return_indices=True)

    def unpool(self, z: Tensor, places: Tensor | None) -> Tensor:
        """Back to the places; without places by repeating samples."""
        size = (1, 2) if self.channels_last else 2
        if places is None:
            return functional.interpolate(z, scale_factor=size, mode="nearest")
        return (
            functional.max_unpool2d(z, places, [1, 2])
            if self.channels_last
            else functional.max_unpool1d(z, places, [2])
        )

    def signal(self, clips: ndarray) -> Tensor:
        """Clips (N, L) as a tensor of one channel."""
        if self.channels_last:
            return torch.from_numpy(clips[:, None, None]).to(memory_format=torch.channels_last)
        return torch.from_numpy(clips[:, None])


class Residual(nn.Module):
    """x + F(x)."""

    def __init__(self, row: Row, channels: int, kernel_size: int, transposed: bool) -> None:
        super().__init__()
        first, last = (row.convolution(transposed, channels, channels, kernel_size) for _ in range(2))
        self.body = nn.Sequential(nn.ELU(), first, nn.ELU(), last)

    def forward(self, x: Tensor) -> Tensor:
        """The sum."""
        return x + self.body(x)


def stage(row: Row, before: int, after: int, kernel_size: int, transposed: bool, activation: bool) -> nn.Sequential:
    """What stands between two pools."""
    layers = nn.Sequential()
    if activation:
        layers.add_module("activation", nn.ELU())
    layers.add_module("convolution", row.convolution(transposed, before, after, kernel_size))
    layers.add_module("residual", Residual(row, after, kernel_size, transposed))
    return layers


class Twin(nn.Module):
    """Encoder and decoder; the places of the maxima are handed over as indices."""

    def __init__(
        self,
        channels: tuple[int, ...] = CHANNELS,
        kernel_size: int = 3,
        output: str = "hard_sigmoid",
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        down, up = (1, *channels), (*reversed(channels), 1)
        self.row = Row(channels_last)
        self.encoder = nn.ModuleList(
            stage(self.row, before, after, kernel_size, False, activation=i > 0)
            for i, (before, after) in enumerate(itertools.pairwise(down))
        )
        self.decoder = nn.ModuleList(
            stage(self.row, before, after, kernel_size, True, activation=True)
            for before, after in itertools.pairwise(up)
        )
        self.output = output

    def fill(self, arrays: Mapping[str, ndarray]) -> None:
        """Take the weights that nn1d.to_torch gave."""
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        if self.row.channels_last:
            tensors = {name: w.unsqueeze(2) if w.ndim == 3 else w for name, w in tensors.items()}
        self.load_state_dict(tensors, strict=True)
        for weight in self.parameters():
            if weight.ndim == 4:
                weight.data = weight.data.contiguous(memory_format=torch.channels_last)

    def encode(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """The representation, where the maxima were, and what entered each pool."""
        places, encoded = [], []
        for part in self.encoder:
            encoded.append(part(x))
            x, place = self.row.pool(encoded[-1])
            places.append(place)
        return x, places, encoded

    def decode(self, z: Tensor, places: list[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        """Audio, and what left each unpool."""
        decoded = []
        for i, part in enumerate(self.decoder):
            decoded.append(self.row.unpool(z, None if places is None else places[-1 - i]))
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
