"""The paper's network in torch.nn, under our dotted names: an oracle that differentiates by itself."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from nn1d import to_torch


def import_torch() -> Any:
    """torch on one thread, since these arrays are small and the cores are busy; skips the test where it is absent."""
    torch: Any = pytest.importorskip("torch", reason="the oracle needs pip install -e '.[oracle]'")
    torch.set_num_threads(1)
    return torch


def build(channels: tuple[int, ...], kernel_size: int, output: str, dtype: Any = np.float64) -> Any:
    """An untrained twin of Autoencoder(channels, kernel_size, output=output)."""
    torch = import_torch()
    nn, pad = torch.nn, kernel_size // 2

    class Residual(nn.Module):  # type: ignore[name-defined]
        def __init__(self, kind: Any, width: int) -> None:
            super().__init__()
            filters = [kind(width, width, kernel_size, padding=pad) for _ in range(2)]
            self.body = nn.Sequential(nn.ELU(), filters[0], nn.ELU(), filters[1])

        def forward(self, x: Any) -> Any:
            return x + self.body(x)

    def stage(kind: Any, before: int, after: int, first: bool = False) -> Any:
        one = nn.Sequential()
        if not first:
            one.add_module("activation", nn.ELU())
        one.add_module("convolution", kind(before, after, kernel_size, padding=pad))
        one.add_module("residual", Residual(kind, after))
        return one

    class Twin(nn.Module):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            widths = [1, *channels]
            self.encoder = nn.ModuleList(
                stage(nn.Conv1d, a, b, first=i == 0) for i, (a, b) in enumerate(zip(widths, channels, strict=False))
            )
            down = [*reversed(channels), 1]
            self.decoder = nn.ModuleList(stage(nn.ConvTranspose1d, a, b) for a, b in pairwise(down))

        def encode(self, x: Any) -> Any:
            indices, encoded = [], []
            for one in self.encoder:
                encoded.append(one(x))
                x, where = nn.functional.max_pool1d(encoded[-1], 2, return_indices=True)
                indices.append(where)
            return x, indices, encoded

        def decode(self, z: Any, indices: Any = None) -> Any:
            decoded = []
            for i, one in enumerate(self.decoder):
                if indices is None:
                    decoded.append(nn.functional.interpolate(z, scale_factor=2, mode="nearest"))
                else:
                    decoded.append(nn.functional.max_unpool1d(z, indices[-1 - i], 2))
                z = one(decoded[-1])
            return (torch.clamp(0.2 * z + 0.5, 0, 1) if output == "hard_sigmoid" else z), decoded[::-1]

        def objective(self, x: Any, middle_weight: float = 0.0) -> Any:
            z, indices, encoded = self.encode(x)
            y, decoded = self.decode(z, indices)
            loss = nn.functional.mse_loss(y, x)
            middle = sum(nn.functional.mse_loss(a, b) for a, b in zip(encoded, decoded, strict=True))
            return loss + middle_weight * middle, y

    return Twin().to(torch.float64 if np.dtype(dtype) == np.float64 else torch.float32)


def load(twin: Any, parameters: Any) -> None:
    """Our weights into the twin; every name must fit."""
    torch = import_torch()
    twin.load_state_dict({name: torch.from_numpy(array) for name, array in to_torch(parameters).items()}, strict=True)


def signal(x: np.ndarray) -> Any:
    """(N, L, C) to a tensor (N, C, L) that wants a gradient."""
    return import_torch().from_numpy(x.swapaxes(1, 2).copy()).requires_grad_()


def array(tensor: Any) -> np.ndarray:
    """And back."""
    values = tensor.detach().numpy()
    return values.swapaxes(1, 2) if values.ndim == 3 else values


def gradients(twin: Any) -> dict[str, np.ndarray]:
    """Of every parameter, in our layout."""
    return {
        name: p.grad.numpy().transpose(2, 1, 0) if p.ndim == 3 else p.grad.numpy()
        for name, p in twin.named_parameters()
    }
