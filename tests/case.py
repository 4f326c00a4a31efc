"""Every layer, and the network, with an input: what tests/test_contract.py runs over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.autoencoder import Autoencoder, Decoder
from models.folded import FoldedAutoencoder
from nn1d import (
    ELU,
    AvgPool1d,
    Conv1d,
    ConvTranspose1d,
    Dropout,
    Fold1d,
    GlobalAveragePool1d,
    HardSigmoid,
    LayerNorm,
    LeakyReLU,
    Linear,
    MaxPool1d,
    MaxUnpool1d,
    ReLU,
    ResidualBlock,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
    Unfold1d,
    Upsample1d,
)


class DecoderAlone:
    """The decoder of phase 2 as a layer: without masks, and with the gradient that meets each stage."""

    def __init__(self, dtype: Any) -> None:
        self.decoder = Decoder((2, 3), rng=np.random.default_rng(0), dtype=dtype)

    @property
    def parameters(self) -> Any:
        return self.decoder.parameters

    def forward(self, z: Any) -> Any:
        return self.decoder.forward(z)

    def backward(self, dy: Any, cache: Any) -> Any:
        return self.decoder.backward(dy[0], cache, dy[1])


@dataclass(frozen=True)
class Case:
    """A layer of either dtype, its input, and further arguments of forward (arrays of as many clips)."""

    build: Callable[[Any], Any]
    shape: tuple[int, int, int] = (3, 12, 3)
    context: Callable[[np.random.Generator, int], tuple[Any, ...]] = lambda rng, clips: ()
    cache_knows_dtype: bool = True


def marks(size: int) -> Callable[[np.random.Generator, int], tuple[np.ndarray]]:
    def mask(rng: np.random.Generator, clips: int) -> tuple[np.ndarray]:
        winners = rng.integers(0, size, (clips, 12, 1, 3))
        return ((np.arange(size)[None, None, :, None] == winners).reshape(clips, 12 * size, 3),)

    return mask


def kept(rng: np.random.Generator, clips: int) -> tuple[np.ndarray]:
    return (rng.random((clips, 12, 3)) < 0.6,)


def filters(kind: Any, *sizes: Any, **options: Any) -> Callable[[Any], Any]:
    def build(dtype: Any) -> Any:
        rng = np.random.default_rng(0)
        layer = kind(*sizes, rng=rng, dtype=dtype, **options)
        for _, parameter in leaves(layer.parameters):
            parameter += 0.1 * rng.standard_normal(parameter.shape)  # biases too
        return layer

    return build


def norm(dtype: Any) -> LayerNorm:
    layer = LayerNorm(3, dtype=dtype)
    layer.parameters["weight"][:] = [1, -2, 0.5]
    return layer


def chain(dtype: Any) -> Sequential:
    rng = np.random.default_rng(0)
    return Sequential(
        Conv1d(3, 4, 3, 1, 1, rng=rng, dtype=dtype),
        ELU(),
        MaxPool1d(2),
        up=Upsample1d(2),
        out=ConvTranspose1d(4, 2, 3, 1, 1, rng=rng, dtype=dtype),
    )


CASES: dict[str, Case] = {
    "Conv1d, the paper's": Case(filters(Conv1d, 3, 4, 3, 1, 1)),
    "Conv1d, stride 2": Case(filters(Conv1d, 3, 2, 5, 2, 2)),
    "Conv1d, gaps between windows, no bias": Case(filters(Conv1d, 3, 2, 2, 3, bias=False)),
    "Conv1d, dilation 2": Case(filters(Conv1d, 3, 2, 3, 2, 1, 2)),
    "ConvTranspose1d, the paper's": Case(filters(ConvTranspose1d, 3, 4, 3, 1, 1)),
    "ConvTranspose1d, stride 3": Case(filters(ConvTranspose1d, 3, 2, 4, 3, 1, 2)),
    "MaxPool1d(2)": Case(lambda dtype: MaxPool1d(2), cache_knows_dtype=False),
    "MaxPool1d(3)": Case(lambda dtype: MaxPool1d(3), cache_knows_dtype=False),
    "MaxUnpool1d(2)": Case(lambda dtype: MaxUnpool1d(2), context=marks(2), cache_knows_dtype=False),
    "MaxUnpool1d(3)": Case(lambda dtype: MaxUnpool1d(3), context=marks(3), cache_knows_dtype=False),
    "Upsample1d(2)": Case(lambda dtype: Upsample1d(2), cache_knows_dtype=False),
    "Upsample1d(1)": Case(lambda dtype: Upsample1d(1), cache_knows_dtype=False),
    "Fold1d(2)": Case(lambda dtype: Fold1d(2), cache_knows_dtype=False),
    "Fold1d(3)": Case(lambda dtype: Fold1d(3), cache_knows_dtype=False),
    "Unfold1d(3)": Case(lambda dtype: Unfold1d(3), cache_knows_dtype=False),
    "Unfold1d(1)": Case(lambda dtype: Unfold1d(1), cache_knows_dtype=False),
    "ELU": Case(lambda dtype: ELU()),
    "ELU(0.5)": Case(lambda dtype: ELU(0.5)),
    "HardSigmoid": Case(lambda dtype: HardSigmoid()),
    "ReLU": Case(lambda dtype: ReLU()),
    "LeakyReLU": Case(lambda dtype: LeakyReLU(0.1)),
    "Sigmoid": Case(lambda dtype: Sigmoid()),
    "Tanh": Case(lambda dtype: Tanh()),
    "Linear": Case(filters(Linear, 3, 4)),
    "Linear, no bias": Case(filters(Linear, 3, 2, bias=False)),
    "Softmax": Case(lambda dtype: Softmax()),
    "AvgPool1d(3)": Case(lambda dtype: AvgPool1d(3), cache_knows_dtype=False),
    "GlobalAveragePool1d": Case(lambda dtype: GlobalAveragePool1d(), cache_knows_dtype=False),
    "LayerNorm": Case(norm),
    "Dropout": Case(lambda dtype: Dropout(0.4), context=kept, cache_knows_dtype=False),
    "Dropout, without a mask": Case(lambda dtype: Dropout(0.4), cache_knows_dtype=False),
    "Sequential": Case(chain),
    "ResidualBlock": Case(filters(ResidualBlock, 3)),
    "ResidualBlock, transposed": Case(filters(ResidualBlock, 3, convolution=ConvTranspose1d)),
    "Autoencoder": Case(filters(Autoencoder, (2, 3)), (3, 16, 1)),
    "Autoencoder, linear": Case(filters(Autoencoder, (2, 3), output="linear"), (3, 16, 1)),
    "FoldedAutoencoder": Case(filters(FoldedAutoencoder, (2, 3)), (3, 16, 1)),
    "FoldedAutoencoder, tied": Case(filters(FoldedAutoencoder, (2, 3), tied=True, output="linear"), (3, 16, 1)),
    "Autoencoder, tied": Case(filters(Autoencoder, (2, 3), tied=True), (3, 16, 1)),
    "Decoder without masks": Case(DecoderAlone, (3, 4, 3)),
}


def leaves(tree: Any, name: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Every array of nested dictionaries, lists and tuples, by path; the rest of a cache is not data."""
    if isinstance(tree, np.ndarray):
        yield name, tree
    elif isinstance(tree, dict):
        for key, child in tree.items():
            yield from leaves(child, f"{name}.{key}")
    elif isinstance(tree, (list, tuple)):
        for i, child in enumerate(tree):
            yield from leaves(child, f"{name}.{i}")
