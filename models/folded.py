"""The encoder-decoder with folds in place of pools: nothing is dropped, so nothing but z is handed over.

    x (64000, 1)
    encoder 0..4   fold to 2 @ 32000 -> 16, 32 @ 16000 -> 16, 32 @ 8000 -> 32, 64 @ 4000 -> 32, 64 @ 2000 -> 64
    z (2000, 64)
    decoder 0..4   64 @ 2000 -> 64, unfolded 32 @ 4000 -> 64, 32 @ 8000 -> 32, 16 @ 16000 -> 32, 16 @ 32000 -> 2,
                   unfolded 1 @ 64000

A stage of the encoder is a fold, a convolution and a residual block; one of the decoder a transposed convolution, an
unfold and a residual block. So transposed convolution i, counted from the audio, has the shape of convolution i, and
with the same filters it is its transpose. An ELU stands before every convolution but the one that reads the audio.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np

from models.autoencoder import CHANNELS, POOL, Trace, check_clip_samples, scaled, tie
from nn1d import ELU, Conv1d, ConvTranspose1d, Fold1d, HardSigmoid, ResidualBlock, Sequential, Unfold1d
from nn1d.backend import Array
from nn1d.initial import Initializer, glorot_uniform
from nn1d.layer import Tree, generator, require

# Of the audio's size: how large signals are inside at the start. An ELU is the straighter the smaller they are.
QUIET = 0.3


class FoldedEncoder(Sequential):
    """Clips to their representation: fold, convolution and residual block, five times.

    Parameters
    ----------
    channels : tuple of int
        Filters of each stage; its length is the depth.
    kernel_size : odd int > 0
        [samples]
    rng, initial, residual_gain, dtype
        As for models.autoencoder.Encoder.

    Shapes
    ------
    x (N, L, 1) -> z (N, L / 2^depth, channels[-1])

    Raises
    ------
    ShapeError
        L is not a multiple of 2^depth, or a size is not a positive integer.

    Source
    ------
    the paper's section 3.4.1, and the first piece of its future work
    """

    def __init__(
        self,
        channels: tuple[int, ...] = CHANNELS,
        kernel_size: int = 3,
        *,
        rng: np.random.Generator | int,
        initial: Initializer = glorot_uniform,
        residual_gain: float = 1.0,
        dtype: Any = np.float32,
    ) -> None:
        drawn: dict[str, Any] = {"rng": generator("FoldedEncoder", rng), "initial": initial, "dtype": dtype}
        last = scaled(initial, residual_gain)
        stages = {}
        for i, (before, after) in enumerate(zip((1, *channels), channels, strict=False)):
            activation = {"activation": ELU()} if i > 0 else {}
            stages[str(i)] = Sequential(
                **activation,
                fold=Fold1d(POOL),
                convolution=Conv1d(POOL * before, after, kernel_size, 1, kernel_size // 2, **drawn),
                residual=ResidualBlock(after, kernel_size, last_initial=last, **drawn),
            )
        super().__init__(**stages)

    @property
    def convolutions(self) -> list[Conv1d]:
        """One a stage, the one that reads the audio first."""
        return [cast(Any, stage).layers["convolution"] for stage in self.layers.values()]

    def forward(self, x: Array) -> tuple[Array, list[Any]]:
        """Down the stages."""
        if x.ndim == 3:
            check_clip_samples(x.shape[1], len(self.layers))
        return super().forward(x)

    def represent(self, x: Array) -> Array:
        """The representation alone, without what a gradient needs: nothing is kept beyond its stage."""
        if x.ndim == 3:
            check_clip_samples(x.shape[1], len(self.layers))
        for stage in self.layers.values():
            x = stage.forward(x)[0]
        return x


class FoldedDecoder(Sequential):
    """A representation to audio: ELU, transposed convolution, unfold and residual block, five times.

    Parameters
    ----------
    channels : tuple of int
        Those of the encoder; the decoder goes through them backwards, and ends with 1.
    kernel_size, rng, initial, residual_gain, output, dtype
        As for models.autoencoder.Decoder.

    Shapes
    ------
    z (N, L, channels[-1]) -> reconstruction (N, L · 2^depth, 1)

    Raises
    ------
    ShapeError
        A size is not a positive integer, or output is neither.
    """

    def __init__(
        self,
        channels: tuple[int, ...] = CHANNELS,
        kernel_size: int = 3,
        *,
        rng: np.random.Generator | int,
        initial: Initializer = glorot_uniform,
        residual_gain: float = 1.0,
        output: str = "hard_sigmoid",
        dtype: Any = np.float32,
    ) -> None:
        require(
            output in ("hard_sigmoid", "linear"),
            f"FoldedDecoder: output must be hard_sigmoid or linear; got {output!r}",
        )
        drawn: dict[str, Any] = {"rng": generator("FoldedDecoder", rng), "initial": initial, "dtype": dtype}
        last = scaled(initial, residual_gain)
        stages: dict[str, Any] = {}
        for i, (before, after) in enumerate(zip(reversed(channels), (*reversed(channels[:-1]), 1), strict=True)):
            stages[str(i)] = Sequential(
                activation=ELU(),
                convolution=ConvTranspose1d(before, POOL * after, kernel_size, 1, kernel_size // 2, **drawn),
                unfold=Unfold1d(POOL),
                residual=ResidualBlock(after, kernel_size, convolution=ConvTranspose1d, last_initial=last, **drawn),
            )
        self.depth = len(stages)
        if output == "hard_sigmoid":
            stages["output"] = HardSigmoid()
        else:
            stages[str(self.depth - 1)].layers["convolution"].parameters["bias"][:] = 0.5  # the middle of [0, 1]
        super().__init__(**stages)

    @property
    def convolutions(self) -> list[ConvTranspose1d]:
        """One a stage, the one that makes the audio first: each answers the encoder's of the same place."""
        stages = list(self.layers.values())[: self.depth]
        return [cast(Any, stage).layers["convolution"] for stage in reversed(stages)]


class FoldedAutoencoder:
    """Encoder and decoder with folds.

    Parameters
    ----------
    channels, kernel_size, rng, residual_gain, output, dtype
        As for models.autoencoder.Autoencoder.
    initial : function (rng, shape) -> array
    isometric : bool
        Start the convolutions as `start_isometric` says.
    tied : bool
        Transposed convolution i takes the filters of convolution i: one parameter, two uses.

    Shapes
    ------
    x (N, L, 1) -> Trace(reconstruction (N, L, 1), [], [])

    Cache
    -----
    those of both
    """

    def __init__(
        self,
        channels: tuple[int, ...] = CHANNELS,
        kernel_size: int = 3,
        *,
        rng: np.random.Generator | int,
        initial: Initializer = glorot_uniform,
        isometric: bool = False,
        residual_gain: float = 1.0,
        output: str = "hard_sigmoid",
        tied: bool = False,
        dtype: Any = np.float32,
    ) -> None:
        rng = generator("FoldedAutoencoder", rng)
        drawn: dict[str, Any] = {"rng": rng, "initial": initial, "residual_gain": residual_gain, "dtype": dtype}
        self.encoder = FoldedEncoder(channels, kernel_size, **drawn)
        self.decoder = FoldedDecoder(channels, kernel_size, output=output, **drawn)
        if isometric:
            start_isometric(self.encoder, self.decoder, 5.0 if output == "hard_sigmoid" else 1.0, tied, rng)
        if tied:
            tie(self.encoder, self.decoder)

    @property
    def parameters(self) -> dict[str, Tree]:
        """encoder.0.convolution.weight ... decoder.4.residual.body.3.bias."""
        return {"encoder": self.encoder.parameters, "decoder": self.decoder.parameters}

    def forward(self, x: Array, middle: bool = False) -> tuple[Trace, Any]:
        """Encode, then decode. There is no middle to look at: a fold takes in what its unfold gives out, rearranged."""
        z, encoder_cache = self.encoder.forward(x)
        y, decoder_cache = self.decoder.forward(z)
        return Trace(y, [], []), (encoder_cache, decoder_cache)

    def backward(self, d_trace: Trace, cache: Any) -> tuple[Array, dict[str, Tree]]:
        """Upwards."""
        encoder_cache, decoder_cache = cache
        dz, d_decoder = self.decoder.backward(d_trace.reconstruction, decoder_cache)
        dx, d_encoder = self.encoder.backward(dz, encoder_cache)
        return dx, {"encoder": d_encoder, "decoder": d_decoder}


def start_isometric(
    encoder: FoldedEncoder, decoder: FoldedDecoder, output_scale: float, tied: bool, rng: np.random.Generator
) -> None:
    """Set the filters of all convolutions so that the network, but for its ELUs, rebuilds every clip.

    A folded clip lives in a subspace of its channels: 2 of 2, then 4 of 32, 8 of 32, 16 of 64 and 32 of 64. The middle
    tap of each convolution turns that subspace at random into the space of its outputs and keeps every length, so its
    transpose turns it back. The other taps start at 0. Where there are fewer outputs than the subspace has directions
    (a narrow representation) the last ones are lost.

    The first bias takes 0.5 off the audio, because an ELU is near the identity where its input is near 0: a clip has
    a standard deviation of about 0.06 around it.

    Parameters
    ----------
    encoder : FoldedEncoder
    decoder : FoldedDecoder
    output_scale : float
        What the last transposed convolution has to multiply by: 5 before a hard sigmoid.
    tied : bool
        Whether it has the filters of the first convolution; then either multiplies by the root.
    rng : numpy.random.Generator

    Source
    ------
    Xiao et al. 2018, arXiv:1806.05393, section 3 (delta-orthogonal filters), with the subspace kept in view
    """
    live: np.ndarray = np.ones((1, 1))
    for convolution, transposed in zip(encoder.convolutions, decoder.convolutions, strict=True):
        live = np.kron(np.eye(POOL), live)  # folded: each of the samples of a window has channels of its own
        taps, inputs, outputs = convolution.parameters["weight"].shape
        kept = min(inputs, outputs)
        basis = np.linalg.qr(np.hstack([live, rng.standard_normal((inputs, inputs))]))[0][:, :kept]
        turned = np.linalg.qr(rng.standard_normal((outputs, outputs)))[0][:kept]
        weight = np.zeros((taps, inputs, outputs))
        weight[taps // 2] = basis @ turned
        live = weight[taps // 2].T @ live[:, :kept]
        for layer in (convolution, transposed):
            layer.parameters["weight"][...] = weight
    first, last = encoder.convolutions[0].parameters, decoder.convolutions[0].parameters
    first["weight"] *= output_scale**0.5 if tied else QUIET
    last["weight"] *= output_scale**0.5 if tied else output_scale / QUIET
    first["bias"][...] = -0.5 * first["weight"].sum((0, 1))


def gradient_cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """The whole network at a short length, for python -m nn1d.gradcheck."""
    x = rng.uniform(0, 1, (2, 64, 1))
    for tied in (False, True):
        name = f"FoldedAutoencoder, {'tied' if tied else 'filters of its own'}"
        yield name, FoldedAutoencoder(rng=rng, tied=tied, dtype=np.float64), x
