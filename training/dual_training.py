"""The paper's dual training: first encoder and decoder together, then the decoder alone.

Phase 1 trains the whole autoencoder, the masks handed over. The best model by the monitored quantity is kept, every
clip is encoded once and its representation saved. Phase 2 goes on with the decoder alone, from its pre-trained weights
and with a fresh Adam, from representations to audio, without masks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from models.autoencoder import Trace
from models.folded import FoldedAutoencoder
from models.objective import objective
from nn1d import to_numpy
from nn1d.backend import Array, array_module
from speech.split import Indices
from storage.mapped import Rows
from training.anomaly import NonFiniteLayer, detect_anomaly
from training.configuration import Configuration
from training.executor import Executor, Gradient
from training.finite_check import NotFinite
from training.loss_scaling import LossScaler
from training.network import build_network
from training.seed import generator
from training.trainer import Evaluation, Trainer

ACCURACY_DISTANCE = 0.01  # a sample this near to its target counts as right


class Diverged(RuntimeError):
    """A loss or a gradient is not finite; the message says when, in which clips and where in the network.

    The weights are those before that step.
    """


class LossFunction:
    """The objective as a function of clips: what a phase minimises, with its gradient and its evaluation.

    Parameters
    ----------
    forward : function (x, ...) -> (Trace, cache)
    backward : function (d_trace, cache) -> (gradient of the input, gradients of the parameters)
    flatten : function (gradients of the parameters) -> one vector
    middle_weight : float
        Of the intermediate loss.
    scaler : LossScaler
    """

    def __init__(
        self,
        forward: Callable[..., tuple[Trace, Any]],
        backward: Callable[[Trace, Any], tuple[Array, Any]],
        flatten: Callable[[Any], Array],
        middle_weight: float,
        scaler: LossScaler,
    ) -> None:
        self._forward, self._backward, self._flatten = forward, backward, flatten
        self._middle_weight, self._scaler = middle_weight, scaler

    def gradient(self, x: Array, *inputs: Array) -> Gradient:
        """Loss of clips and its gradient as one vector: x (N, L), and what else the forward pass takes."""
        trace, cache = self._forward(x := x[:, :, None], *inputs)
        loss, d_trace = objective(trace, x, self._middle_weight)
        _, grads = self._backward(self._scaler.scale(d_trace, x.size), cache)
        return loss.total, self._scaler.unscale(self._flatten(grads), x.size)

    def evaluate(self, x: Array, *inputs: Array) -> Evaluation:
        """The parts of the loss of clips, and the share of samples that are right."""
        trace, _ = self._forward(x := x[:, :, None], *inputs)
        loss, _ = objective(trace, x, self._middle_weight)
        y = trace.reconstruction.astype(x.dtype, copy=False)
        accuracy, on_bound = (abs(y - x) <= ACCURACY_DISTANCE).mean(), ((y <= 0) | (y >= 1)).mean()
        return Evaluation(loss.reconstruction, accuracy, loss.middle, on_bound)


class DualTraining:
    """The network of a run, its clips, and the two phases.

    Parameters
    ----------
    configuration : Configuration
    samples : (n, L) float32 array, or the JoinedRows of several
        Clips scaled to [0, 1].
    executor : Executor
        Where and in how many pieces the network computes.
    on_clips : function
        Called now and then while clips are evaluated; may raise.

    Attributes
    ----------
    network : Autoencoder or FoldedAutoencoder
    flat : FlatParameters
        Its weights: the encoder's first.
    scaler : LossScaler
        What its signals are stored as.
    """

    def __init__(
        self,
        configuration: Configuration,
        samples: Rows,
        executor: Executor,
        on_clips: Callable[[], None] = lambda: None,
    ) -> None:
        self.configuration, self.samples, self.executor = configuration, samples, executor
        network = build_network(configuration, generator(configuration.seed, "weights"))
        self.network, self.flat = executor.prepare(network)
        self.scaler = LossScaler(configuration.half, executor.forget)
        self._on_clips = on_clips
        autoencoder, decoder, weight = self.network, self.network.decoder, configuration.middle_weight
        self._autoencoder = LossFunction(self._code, autoencoder.backward, self.flat.flatten, weight, self.scaler)
        self._decoder = LossFunction(
            self._decode,
            lambda d_trace, cache: decoder.backward(d_trace.reconstruction, cache),
            lambda grads: self.flat.flatten(grads, "decoder"),
            0.0,
            self.scaler,
        )

    def pre_training(self, train: Indices, validation: Indices) -> Trainer:
        """Phase 1: encoder and decoder."""
        settings = self.configuration
        return self._trainer(
            "pre_training", None, self.flat.vector, train, validation, settings.epochs, settings.learning_rate
        )

    def fine_tuning(self, features: np.ndarray | None, train: Indices, validation: Indices) -> Trainer:
        """Phase 2: the decoder, from the representations that `encode` gave; if None from the same, made in each step.

        A mask lets one of the POOL places of a window through, plain upsampling all of them. So a decoder that learned
        with masks gets POOL times as much at each stage as it is used to. Its output is far off, the first steps of a
        fresh Adam go the full rate back, and some end where the hard sigmoid has no slope for any sample. So the
        filters that meet what was upsampled are multiplied by `fine_tune_gain`, 1 / POOL, which keeps the means.
        Filters that are tied stay: the saved representations are made with them.
        """
        settings = self.configuration
        if settings.pooling == "max" and not (settings.fine_tune_masks or settings.tied):
            for convolution in self.network.decoder.convolutions:
                convolution.parameters["weight"] *= settings.fine_tune_gain
        encoder_size = sum(view.size for name, view in self.flat.views.items() if name.startswith("encoder."))
        decoder = self.flat.vector[encoder_size:]
        return self._trainer(
            "fine_tuning", features, decoder, train, validation, settings.fine_tune_epochs,
            settings.fine_tune_learning_rate,
        )  # fmt: skip

    def gradient(self, clips: np.ndarray, features: np.ndarray | None = None) -> Gradient:
        """Loss of a batch and its gradient as one vector: of phase 1, or of phase 2 where it is given features.

        Neither is synchronised unless the executor is.
        """
        loss, sources = self._loss(features is not None, features)
        return self.executor.mean_gradient(loss.gradient, sources, clips)

    def evaluate_autoencoder(self, clips: np.ndarray) -> Evaluation:
        """Encoder, masks and decoder on some clips, weights as they are."""
        return self._evaluate(None, clips)

    def evaluate_decoder(self, features: np.ndarray, clips: np.ndarray) -> Evaluation:
        """The decoder on the representations of some clips, with masks only if phase 2 has them."""
        return self._evaluate(features, clips)

    def encode(self, clips: Iterable[int]) -> Iterator[np.ndarray]:
        """The representation (L / 2^depth, C) of each clip, in order."""
        return self.executor.map_clips(self._represent, [self.samples], np.fromiter(clips, int))

    @property
    def representation_shape(self) -> tuple[int, int]:
        """(L / 2^depth, C) of a clip."""
        channels = self.configuration.channels
        return self.samples.shape[1] >> len(channels), channels[-1]

    def named(self, vector: Array) -> dict[str, Array]:
        """The last parameters of the network, all or those of the decoder, by their names."""
        start, named = vector.size - self.flat.vector.size, {}
        for name, view in self.flat.views.items():
            if start >= 0:
                named[name] = vector[start : start + view.size].reshape(view.shape)
            start += view.size
        return named

    def weight_decay_part(self, parameters: Array) -> float:
        """½·λ·|w|² over the filters: what classic L2 adds to the loss, and what decoupled decay stands for."""
        return 0.5 * float(((self._decay(parameters)) * parameters * parameters).sum())

    def diverged(self, phase: str, trainer: Trainer, error: NotFinite, names: Sequence[str]) -> Diverged:
        """What to tell the user: the first layer whose output or gradient was not finite, and the clips by name."""
        layer = "the loss"
        self.executor.forget()  # a recorded gradient calls no layers
        try:
            with detect_anomaly(self.network):
                trainer.gradient(error.clips)
        except NonFiniteLayer as first:
            layer = str(first)
        clips = ", ".join(names[i] for i in error.clips)
        return Diverged(f"{phase}: {error}, clips {clips}; the first of it was {layer}. Try a lower learning rate")

    def _code(self, x: Array) -> tuple[Trace, Any]:
        return self.network.forward(self.scaler.signal(x), middle=self.configuration.middle_weight > 0)

    def _decode(self, x: Array, z: Array | None = None) -> tuple[Trace, Any]:
        if z is None:
            z = self.network.encoder.represent(self.scaler.signal(x)).astype(np.float32, copy=False)
        if isinstance(self.network, FoldedAutoencoder):
            y, cache = self.network.decoder.forward(self.scaler.signal(z))
            return Trace(y, [], []), cache
        masks = None
        if self.configuration.fine_tune_masks:
            masks = self.network.encoder.forward(self.scaler.signal(x), middle=False)[0].masks
        (y, _), cache = self.network.decoder.forward(self.scaler.signal(z), masks, middle=False)
        return Trace(y, [], []), cache

    def _represent(self, clips: np.ndarray, x: Array) -> list[np.ndarray]:
        z = self.network.encoder.represent(self.scaler.signal(x[:, :, None]))
        return list(to_numpy(z).astype(np.float32, copy=False))

    def _loss(self, fine_tuning: bool, features: np.ndarray | None) -> tuple[LossFunction, list[Rows]]:
        """What a phase minimises, and what it takes rows of."""
        loss = self._decoder if fine_tuning else self._autoencoder
        return loss, [self.samples] if features is None else [self.samples, features]

    def _evaluate(self, features: np.ndarray | None, clips: np.ndarray) -> Evaluation:
        loss, sources = self._loss(features is not None, features)
        numbers = self.executor.mean(loss.evaluate, sources, clips, self._on_clips)
        return Evaluation(*self.executor.synchronise(numbers))

    def _trainer(
        self,
        purpose: str,
        features: np.ndarray | None,
        parameters: Array,
        train: Indices,
        validation: Indices,
        epochs: int,
        learning_rate: float,
    ) -> Trainer:
        loss, sources = self._loss(purpose == "fine_tuning", features)
        return Trainer(
            self.configuration,
            parameters,
            partial(self.executor.mean_gradient, loss.gradient, sources),
            partial(self.executor.mean, loss.evaluate, sources, on_clips=self._on_clips),
            train,
            validation,
            epochs=epochs,
            learning_rate=learning_rate,
            decay=self._decay(parameters),
            order=generator(self.configuration.seed, purpose),
            executor=self.executor,
            scaler=self.scaler,
        )

    def _decay(self, parameters: Array) -> Array:
        """λ for every filter weight, 0 for every bias. The decoder's weights are the last of the vector."""
        strengths = np.concatenate(
            [
                np.full(view.size, self.configuration.weight_decay if view.ndim == 3 else 0.0, np.float32)
                for view in self.flat.views.values()
            ]
        )
        return array_module(parameters).asarray(strengths[len(strengths) - parameters.size :])
