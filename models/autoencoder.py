"""The paper's encoder-decoder.

    x (64000, 1)
    encoder 0..4   16 @ 64000 -> 32000, 16 @ 32000 -> 16000, 32 @ 16000 -> 8000, 32 @ 8000 -> 4000, 64 @ 4000 -> 2000
    z (2000, 64)
    decoder 0..4   64 @ 4000 -> 32, 32 @ 8000 -> 32, 32 @ 16000 -> 16, 16 @ 32000 -> 16, 16 @ 64000 -> 1

A stage of the encoder is a convolution, a residual block and a max pool; a stage of the decoder is an unpool, a
transposed convolution and a residual block. An ELU stands before every convolution but the one that reads the audio;
in the decoder it is taken before the unpool, which is the same since ELU(0) = 0, and keeps half as many numbers for
backward. (On a GPU it is one kernel with the convolution: Decoder.for_fusion.)
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from nn1d import (
    ELU,
    Conv1d,
    ConvTranspose1d,
    HardSigmoid,
    MaxPool1d,
    MaxUnpool1d,
    ResidualBlock,
    Sequential,
    ShapeError,
    Upsample1d,
)
from nn1d.backend import Array
from nn1d.initial import Initializer, glorot_uniform
from nn1d.layer import Layer, Tree, generator, parameters_of

CHANNELS = (16, 16, 32, 32, 64)
POOL = 2


class Encoding(NamedTuple):
    """What the encoder makes of clips."""

    representation: Array  # z (N, L / 2^depth, C)
    masks: list[Array]  # of each pool, the first stage first
    encoded: list[Array]  # what enters each pool; empty unless requested


class Trace(NamedTuple):
    """Every point that the loss looks at; a gradient of it has the same form."""

    reconstruction: Array  # (N, L, 1)
    encoded: list[Array]  # what enters each pool, the first stage first; empty unless requested
    decoded: list[Array]  # what leaves the unpool that answers it, in the same order; empty unless requested


def check_clip_samples(clip_samples: int, depth: int) -> None:
    """Raise ShapeError unless a clip can be halved `depth` times."""
    step = POOL**depth
    if clip_samples <= 0 or clip_samples % step:
        below = clip_samples // step * step
        nearest = ", ".join(str(length) for length in (below, below + step) if length > 0)
        raise ShapeError(
            f"Encoder: the clip length must be a multiple of {step} ({depth} pools of {POOL}); got {clip_samples}. "
            f"Nearest: {nearest}"
        )


def scaled(initial: Initializer, gain: float) -> Initializer:
    """What `initial` draws, times gain."""
    return lambda rng, shape: gain * initial(rng, shape)


class Encoder:
    """Clips to their representation: convolution, residual block and max pool, five times.

    Parameters
    ----------
    channels : tuple of int
        Filters of each stage; its length is the depth.
    kernel_size : odd int > 0
        [samples]
    rng : numpy.random.Generator or int
        Where the initial weights are drawn from, or a seed.
    initial : function (rng, shape) -> array
    residual_gain : float
        Scales the initial weights of the last convolution of each residual block: a small one starts each block near
        the identity.
    dtype : float32 or float64

    Shapes
    ------
    x (N, L, 1) -> z (N, L / 2^depth, channels[-1])

    Cache
    -----
    caches of the stages, and the masks

    Raises
    ------
    ShapeError
        L is not a multiple of 2^depth, or a size is not a positive integer.

    Source
    ------
    the paper, section 3.4.1
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
        rng, last = generator("Encoder", rng), scaled(initial, residual_gain)
        self.stages = []
        for i, (before, after) in enumerate(zip((1, *channels), channels, strict=False)):
            activation: dict[str, Layer] = {"activation": ELU()} if i > 0 else {}
            convolution = Conv1d(before, after, kernel_size, 1, kernel_size // 2, rng=rng, initial=initial, dtype=dtype)
            residual = ResidualBlock(after, kernel_size, rng=rng, initial=initial, last_initial=last, dtype=dtype)
            self.stages.append(Sequential(**activation, convolution=convolution, residual=residual))
        self.pool = MaxPool1d(POOL)

    @property
    def layers(self) -> dict[str, Layer]:
        """The stages by number, and what stands between them."""
        return {str(i): stage for i, stage in enumerate(self.stages)} | {"pool": self.pool}

    @property
    def parameters(self) -> dict[str, Tree]:
        """Arrays by stage, under names such as 0.convolution.weight and 0.residual.body.1.weight."""
        return parameters_of(self.layers)

    @property
    def convolutions(self) -> list[Layer]:
        """One a stage, the one that reads the audio first."""
        return [stage.layers["convolution"] for stage in self.stages]

    def forward(self, x: Array, middle: bool = True) -> tuple[Encoding, Any]:
        """Down: each stage, then its pool. What enters the pools is shown, and so kept, if `middle`."""
        self._check(x)
        masks, encoded, caches = [], [], []
        for stage in self.stages:
            h, cache = stage.forward(x)
            x, mask = self.pool.forward(h)
            masks.append(mask)
            caches.append(cache)
            if middle:
                encoded.append(h)
        return Encoding(x, masks, encoded), (caches, masks)

    def represent(self, x: Array) -> Array:
        """The representation alone, without what a gradient needs: nothing is kept beyond its stage."""
        self._check(x)
        for stage in self.stages:
            x = self.pool.maxima(stage.forward(x)[0])
        return x

    def _check(self, x: Array) -> None:
        if x.ndim == 3:
            check_clip_samples(x.shape[1], len(self.stages))

    def backward(self, dz: Array, cache: Any, d_encoded: Sequence[Array] = ()) -> tuple[Array, dict[str, Tree]]:
        """Up: each pool, then its stage; d_encoded is the gradient that meets each stage's output there."""
        grads = {}
        for i in reversed(range(len(self.stages))):
            caches, masks = cache
            dh, _ = self.pool.backward(dz, masks[i])
            if d_encoded:
                dh = dh + d_encoded[i]
            dz, grads[str(i)] = self.stages[i].backward(dh, caches[i])
        return dz, {name: grads[name] for name in self.parameters}


class Decoder:
    """A representation to audio: ELU, unpool, transposed convolution and residual block, five times.

    Parameters
    ----------
    channels : tuple of int
        Those of the encoder; the decoder goes through them backwards, and ends with 1.
    kernel_size, rng, initial, residual_gain, dtype
        As for Encoder.
    output : {"hard_sigmoid", "linear"}
        What bounds the audio. The bias of the last layer starts at 0.5 for linear: the middle of [0, 1], as the hard
        sigmoid has it built in.

    Shapes
    ------
    z (N, L, channels[-1]), masks as Encoder gives them or None -> reconstruction (N, L · 2^depth, 1)

    Cache
    -----
    caches of the stages and of the output, and the masks or shapes that unpooling keeps

    Raises
    ------
    ShapeError
        The masks do not belong to an encoder of these channels, or output is neither.

    Source
    ------
    the paper, section 3.4.1; without masks section 3.2, Figure 1b
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
        if output not in ("hard_sigmoid", "linear"):
            raise ShapeError(f"Decoder: output must be hard_sigmoid or linear; got {output!r}")
        rng, last = generator("Decoder", rng), scaled(initial, residual_gain)
        options: dict[str, Any] = {"rng": rng, "initial": initial, "dtype": dtype}
        self.stages = []
        for before, after in zip(reversed(channels), (*reversed(channels[:-1]), 1), strict=True):
            convolution = ConvTranspose1d(before, after, kernel_size, 1, kernel_size // 2, **options)
            residual = ResidualBlock(after, kernel_size, convolution=ConvTranspose1d, last_initial=last, **options)
            self.stages.append(Sequential(convolution=convolution, residual=residual))
        self.output = HardSigmoid() if output == "hard_sigmoid" else Sequential()
        if output == "linear":
            self.stages[-1].layers["convolution"].parameters["bias"][:] = 0.5
        self.activation: Any = ELU()
        self.unpool, self.upsample = MaxUnpool1d(POOL), Upsample1d(POOL)

    @property
    def layers(self) -> dict[str, Any]:
        """The stages by number, and what stands between them and at the end."""
        others = {name: getattr(self, name) for name in ("activation", "unpool", "upsample", "output")}
        return {str(i): stage for i, stage in enumerate(self.stages)} | others

    @property
    def parameters(self) -> dict[str, Tree]:
        """Arrays by stage, under names such as 0.convolution.weight and 0.residual.body.1.weight."""
        return parameters_of(self.layers)

    @property
    def convolutions(self) -> list[Layer]:
        """One a stage, the one that makes the audio first: each answers the encoder's of the same place."""
        return [stage.layers["convolution"] for stage in reversed(self.stages)]

    def forward(
        self, z: Array, masks: list[Array] | None = None, middle: bool = True
    ) -> tuple[tuple[Array, list[Array]], Any]:
        """Down: each ELU, its unpool, then its stage. Without masks, plain upsampling. Gives (reconstruction, decoded).

        What leaves the unpools is shown if `middle`, as it is before the ELU: what the encoder's pools took in.
        """
        if masks is not None and len(masks) != len(self.stages):
            raise ShapeError(f"Decoder: needs the masks of {len(self.stages)} pools; got {len(masks)}")
        decoded, caches = [], []
        for i, stage in enumerate(self.stages):
            mask = () if masks is None else (masks[-1 - i],)
            unpool: Any = self.upsample if masks is None else self.unpool
            a, activated = self.activation.forward(z)
            h, places = unpool.forward(a, *mask)
            if middle:
                decoded.append(h if a is z else unpool.forward(z, *mask)[0])
            z, cache = stage.forward(h)
            caches.append((unpool, activated, places, cache))
        y, output_cache = self.output.forward(z)
        return (y, decoded[::-1]), (caches, output_cache)

    def backward(self, dy: Array, cache: Any, d_decoded: Sequence[Array] = ()) -> tuple[Array, dict[str, Tree]]:
        """Up: each stage, its unpool, then its ELU; d_decoded, the first encoder stage first, goes past the ELU."""
        caches, output_cache = cache
        dz, _ = self.output.backward(dy, output_cache)
        grads = {}
        for i in reversed(range(len(self.stages))):
            unpool, activated, places, kept = caches[i]
            dh, grads[str(i)] = self.stages[i].backward(dz, kept)
            da, _ = unpool.backward(dh, places)
            dz, _ = self.activation.backward(da, activated)
            if d_decoded:
                dz = dz + unpool.backward(d_decoded[-1 - i], places)[0]
        return dz, {name: grads[name] for name in self.parameters}

    def for_fusion(self) -> Decoder:
        """The same map with each ELU behind its unpool, beside the convolution; layers and parameters are shared.

        There the ELU has twice as many numbers, most often zeros: for where it is computed with the convolution
        (nn1d.cuda.fusion), and what stands before the unpool need not be read, written or kept for it.
        """
        decoder, alpha = copy.copy(self), self.activation.alpha
        decoder.stages = [Sequential(activation=ELU(alpha), **stage.layers) for stage in self.stages]
        decoder.activation = Sequential()
        return decoder


def tie(encoder: Any, decoder: Any) -> None:
    """Let each transposed convolution of the decoder hold the filters of the encoder's convolution that it answers."""
    for convolution, transposed in zip(encoder.convolutions, decoder.convolutions, strict=True):
        transposed.parameters["weight"] = convolution.parameters["weight"]


class Autoencoder:
    """Encoder and decoder together, masks handed over: the network of phase 1.

    With the default sizes it has 30 convolutions and 79,209 parameters.

    Parameters
    ----------
    channels, kernel_size, rng, initial, residual_gain, output, dtype
        As for Encoder and Decoder; the encoder's weights are drawn first.
    tied : bool
        Transposed convolution i takes the filters of convolution i: one parameter, two uses.

    Shapes
    ------
    x (N, L, 1) -> Trace(reconstruction (N, L, 1), encoded, decoded)

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
        residual_gain: float = 1.0,
        output: str = "hard_sigmoid",
        tied: bool = False,
        dtype: Any = np.float32,
    ) -> None:
        rng = generator("Autoencoder", rng)
        options: dict[str, Any] = {"rng": rng, "initial": initial, "residual_gain": residual_gain, "dtype": dtype}
        self.encoder = Encoder(channels, kernel_size, **options)
        self.decoder = Decoder(channels, kernel_size, output=output, **options)
        if tied:
            tie(self.encoder, self.decoder)

    @property
    def layers(self) -> dict[str, Any]:
        """Encoder and decoder."""
        return {"encoder": self.encoder, "decoder": self.decoder}

    @property
    def parameters(self) -> dict[str, Tree]:
        """encoder.0.convolution.weight ... decoder.4.residual.body.3.bias."""
        return parameters_of(self.layers)

    def forward(self, x: Array, middle: bool = True) -> tuple[Trace, Any]:
        """Encode, then decode with the masks. The trace holds the middle if it is requested."""
        encoding, encoder_cache = self.encoder.forward(x, middle)
        (reconstruction, decoded), decoder_cache = self.decoder.forward(encoding.representation, encoding.masks, middle)
        return Trace(reconstruction, encoding.encoded, decoded), (encoder_cache, decoder_cache)

    def backward(self, d_trace: Trace, cache: Any) -> tuple[Array, dict[str, Tree]]:
        """Upwards. d_trace.encoded and d_trace.decoded are empty where the loss does not look at them."""
        encoder_cache, decoder_cache = cache
        dz, d_decoder = self.decoder.backward(d_trace.reconstruction, decoder_cache, d_trace.decoded)
        dx, d_encoder = self.encoder.backward(dz, encoder_cache, d_trace.encoded)
        return dx, {"encoder": d_encoder, "decoder": d_decoder}


def gradient_cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """The whole paper network at a short length, for python -m nn1d.gradcheck."""
    x = rng.uniform(0, 1, (2, 64, 1))
    for output in ("hard_sigmoid", "linear"):
        yield f"Autoencoder, 30 convolutions, {output}", Autoencoder(rng=rng, output=output, dtype=np.float64), x
