"""The paper's dual training: first the whole, then the decoder alone.

Phase 1 trains encoder and decoder together, the masks handed over. The best model by the monitored quantity is kept,
every clip is encoded once and its representation saved. Phase 2 goes on with the decoder alone, from its pre-trained
weights and with a fresh Adam, from representations to audio, without masks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from models.autoencoder import Trace
from models.folded import FoldedAutoencoder
from models.objective import objective
from nn1d import FlatParameters, mse, to_numpy
from nn1d.backend import Array
from storage.mapped import take_rows
from training.anomaly import NonFiniteLayer, detect_anomaly
from training.configuration import Configuration
from training.gpu import Accelerator
from training.loss_scaling import Precision
from training.network import build_network
from training.seed import generator
from training.trainer import Gradient, Judgement, NotFinite, Phase
from training.workers import Workers

AT_ONCE = 16  # clips a thread, or on a GPU, between two looks at the world
ACCURACY_DISTANCE = 0.01  # a sample this near to its target counts as right


class Diverged(RuntimeError):
    """A loss or a gradient is not finite; the message says when, in which clips and where in the network.

    The weights are those before that step.
    """


class DualTraining:
    """The network of a run, its clips, and the two phases.

    Parameters
    ----------
    configuration : Configuration
    samples : (n, L) float32 array
        Clips scaled to [0, 1].
    workers : Workers
    module : numpy or cupy
        Where the network computes: on NumPy a clip a thread, on CuPy a batch at once (training/gpu.py).

    Attributes
    ----------
    network : Autoencoder
    flat : FlatParameters
        Its weights: the encoder's first.
    precision : Precision
        What its signals are stored as.
    """

    def __init__(self, configuration: Configuration, samples: np.ndarray, workers: Workers, module: Any = np) -> None:
        self.configuration, self.samples, self.workers, self.module = configuration, samples, workers, module
        self.network = build_network(configuration, generator(configuration.seed, "weights"))
        self.flat = FlatParameters(self.network.parameters, module)
        self.on_clips: Callable[[], None] = lambda: None  # called between clips that are judged; may raise
        self._gpu = None if module is np else Accelerator(module)
        forget = (lambda: None) if self._gpu is None else self._gpu.graph.forget
        self.precision = Precision(configuration.half, forget)

    def pre_training(self, train: np.ndarray, validation: np.ndarray) -> Phase:
        """Phase 1: encoder and decoder."""
        return self._phase("pre_training", self.flat.vector, self.whole_gradient, self._judge_whole, train, validation)

    def fine_tuning(self, features: np.ndarray, train: np.ndarray, validation: np.ndarray) -> Phase:
        """Phase 2: the decoder, from the representations that `encode` gave."""

        def gradient(clips: np.ndarray) -> tuple[float | Array, Array]:
            return self.decoder_gradient(features, clips)

        def judge(clips: np.ndarray) -> Judgement:
            return self._judge_decoder(features, clips)

        encoder_size = sum(view.size for name, view in self.flat.views.items() if name.startswith("encoder."))
        return self._phase("fine_tuning", self.flat.vector[encoder_size:], gradient, judge, train, validation)

    @property
    def representation_shape(self) -> tuple[int, int]:
        """(L / 2^depth, C) of a clip."""
        channels = self.configuration.channels
        return self.samples.shape[1] >> len(channels), channels[-1]

    def named(self, vector: Array) -> dict[str, Array]:
        """The last parameters of the network, all or those of the decoder, by their names."""
        start, named = vector.size - self.flat.vector.size, {}
        for name, own in self.flat.views.items():
            if start >= 0:
                named[name] = vector[start : start + own.size].reshape(own.shape)
            start += own.size
        return named

    def diverged(self, phase: Phase, error: NotFinite, names: Sequence[str]) -> Diverged:
        """What to tell the user: the first layer whose output or gradient was not finite, and the clips by name."""
        layer = "the loss"
        if self._gpu is not None:
            self._gpu.graph.forget()  # layers that are detect_anomaly are to be called
        try:
            with detect_anomaly(self.network):
                phase.gradient(error.clips)
        except NonFiniteLayer as spoilt:
            layer = str(spoilt)
        clips = ", ".join(names[i] for i in error.clips)
        return Diverged(f"{error}, clips {clips}; the first of it was {layer}. Try a lower learning rate")

    def whole_gradient(self, clips: np.ndarray) -> tuple[float | Array, Array]:
        """Loss of a batch in phase 1, and its gradient as one vector. On a GPU nobody has waited for either."""
        return self._mean_gradient(self._whole, [self.samples], clips)

    def decoder_gradient(self, features: np.ndarray, clips: np.ndarray) -> tuple[float | Array, Array]:
        """Loss of a batch in phase 2, and the gradient of the decoder's weights as one vector."""
        return self._mean_gradient(self._decoder, [self.samples, features], clips)

    def _whole(self, x: Array) -> tuple[Array, Array]:
        trace, cache = self._trace(x := x[:, :, None])
        loss, d_trace = objective(trace, x, self.configuration.middle_weight)
        _, grads = self.network.backward(self.precision.enter(d_trace, x.size), cache)
        return loss.total, self.precision.leave(self.flat.flatten(grads), x.size)

    def _decoder(self, x: Array, z: Array) -> tuple[Array, Array]:
        y, cache = self._decode(x := x[:, :, None], z)
        loss, d_trace = objective(Trace(y, [], []), x)
        dy = self.precision.enter(d_trace.reconstruction, x.size)
        _, grads = self.network.decoder.backward(dy, cache)
        return loss.total, self.precision.leave(self.flat.flatten(grads, "decoder"), x.size)

    def encode(self, clips: Iterable[int]) -> Iterator[np.ndarray]:
        """The representation (L / 2^depth, C) of each clip, in order."""
        indices, at_once = np.fromiter(clips, int), AT_ONCE * self.workers.threads

        def represent(x: Array) -> np.ndarray:
            z = self.network.encoder.represent(self.precision.signal(x[:, :, None]))
            return to_numpy(z).astype(np.float32, copy=False)

        if self._gpu is not None:
            for _, rows in self._gpu.pieces(represent, [self.samples], indices, at_once):
                yield from rows
            return
        # A few at a time: the disk may be slower than the network, and what waits for it takes memory.
        for some in _chunks(indices, at_once):
            yield from self.workers.map(lambda clip: represent(take_rows(self.samples, np.array([clip])))[0], some)

    def judge_whole(self, clips: np.ndarray) -> Judgement:
        """Encoder, masks and decoder on some clips, weights as they are."""
        return Judgement(*map(float, self._judge_whole(clips)))

    def judge_decoder(self, features: np.ndarray, clips: np.ndarray) -> Judgement:
        """The decoder on the representations of some clips, with masks only if phase 2 has them."""
        return Judgement(*map(float, self._judge_decoder(features, clips)))

    def _judge_whole(self, clips: np.ndarray) -> Judgement:
        def judge(x: Array) -> Judgement:
            trace, _ = self._trace(x := x[:, :, None])
            loss, _ = objective(trace, x, self.configuration.middle_weight)
            return _judge(trace.reconstruction, x, loss.middle)

        return self._mean(judge, [self.samples], clips)

    def _judge_decoder(self, features: np.ndarray, clips: np.ndarray) -> Judgement:
        def judge(x: Array, z: Array) -> Judgement:
            y, _ = self._decode(x := x[:, :, None], z)
            return _judge(y, x, 0.0)

        return self._mean(judge, [self.samples, features], clips)

    def weight_decay_part(self, parameters: Array) -> float:
        """½·λ·|w|² over the filters: what classic L2 adds to the loss, and what decoupled decay stands for."""
        return 0.5 * float(((self._decay(parameters)) * parameters * parameters).sum())

    def _trace(self, x: Array) -> tuple[Trace, Any]:
        return self.network.forward(self.precision.signal(x), middle=self.configuration.middle_weight > 0)

    def _decode(self, x: Array, z: Array) -> tuple[Array, Any]:
        """What the decoder makes of representations, with the masks of the clips if phase 2 has them."""
        if isinstance(self.network, FoldedAutoencoder):
            return self.network.decoder.forward(self.precision.signal(z))
        masks = None
        if self.configuration.fine_tune_masks:
            masks = self.network.encoder.forward(self.precision.signal(x), middle=False)[0].masks
        (y, _), cache = self.network.decoder.forward(self.precision.signal(z), masks, middle=False)
        return y, cache

    def _mean(self, judge: Callable[..., Judgement], sources: Sequence[np.ndarray], clips: np.ndarray) -> Judgement:
        """The mean over clips; on a GPU numbers that nobody has waited for."""
        if self._gpu is not None:
            total: list[Any] = [0.0] * len(Judgement._fields)
            for count, judged in self._gpu.pieces(judge, sources, clips, AT_ONCE):
                total = [sum_ + number * (count / len(clips)) for sum_, number in zip(total, judged, strict=True)]
                self.on_clips()
            return Judgement(*total)

        def one(chunk: np.ndarray) -> tuple[float, ...]:
            return tuple(map(float, judge(*(take_rows(source, chunk) for source in sources))))

        rows = []
        for some in _chunks(clips, AT_ONCE * self.workers.threads):
            rows += [np.array(row) for row in self.workers.map(one, _chunks(some, 1))]
            self.on_clips()
        return Judgement(*(float(number) for number in np.sum(rows, axis=0) / len(clips)))

    def _decay(self, parameters: Array) -> Array:
        """λ for every filter weight, 0 for every bias. The decoder's weights are the last of the vector."""
        strengths = np.concatenate(
            [
                np.full(view.size, self.configuration.weight_decay if view.ndim == 3 else 0.0, np.float32)
                for view in self.flat.views.values()
            ]
        )
        return self.module.asarray(strengths[len(strengths) - parameters.size :])

    def _phase(
        self,
        name: str,
        parameters: Array,
        gradient: Gradient,
        judge: Callable[[np.ndarray], Judgement],
        train: np.ndarray,
        validation: np.ndarray,
    ) -> Phase:
        order = generator(self.configuration.seed, name)
        given = (gradient, judge, train, validation, order, self.precision)
        return Phase(name, self.configuration, parameters, self._decay(parameters), *given)

    def _mean_gradient(
        self, gradient: Callable[..., tuple[Array, Array]], sources: Sequence[np.ndarray], batch: np.ndarray
    ) -> tuple[float | Array, Array]:
        """Loss and gradient of a batch: clips in flight on all workers, summed in their order; on a GPU all at once."""
        if self._gpu is not None:
            return self._gpu.mean_gradient(gradient, sources, batch)

        def one(chunk: np.ndarray) -> tuple[float, Array]:
            loss, slope = gradient(*(take_rows(source, chunk) for source in sources))
            return float(loss), slope

        loss, total = 0.0, None
        for one_loss, slope in self.workers.map(one, _chunks(batch, 1)):
            loss += one_loss * 1 / len(batch)
            slope *= 1 / len(batch)
            total = slope if total is None else total + slope
        return loss, total


def _chunks(clips: np.ndarray, size: int) -> list[np.ndarray]:
    return [clips[i : i + size] for i in range(0, len(clips), size)]


def _judge(y: Array, x: Array, middle: Any) -> Judgement:
    loss, _ = mse(y := y.astype(x.dtype, copy=False), x)
    return Judgement(loss, (abs(y - x) <= ACCURACY_DISTANCE).mean(), middle)
