"""The paper's dual training: first the whole, then the decoder alone.

Phase 1 trains encoder and decoder together, the masks handed over. The best model by the monitored quantity is kept,
every clip is encoded once and its representation saved. Phase 2 goes on with the decoder alone, from its pre-trained
weights and with a fresh Adam, from representations to audio, without masks.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from models.autoencoder import Autoencoder, Trace
from models.configuration import Configuration
from models.objective import objective
from models.rows import take
from models.worker import Workers
from nn1d import Adam, FlatParameters, flatten, initial, mse, to_numpy
from nn1d.backend import Array

ACCURACY_DISTANCE = 0.01  # a sample this near to its target counts as right


class Epoch(NamedTuple):
    """One line of history.csv."""

    phase: str
    epoch: int
    train_loss: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    seconds: float


class Judgement(NamedTuple):
    """Means over clips."""

    loss: float  # mean squared error of the reconstruction, on [0, 1]
    accuracy: float  # share of samples within 0.01 of their target
    middle: float  # intermediate loss of Eq. 8, 0 where it has no weight


@dataclass(frozen=True)
class PhaseResult:
    """How a phase went."""

    epochs: int
    best_epoch: int
    seconds: float


class Diverged(RuntimeError):
    """A loss or a gradient is not finite; the message says when, and the weights are those before that step."""


class DualTraining:
    """The network of a run, its clips, and the two phases.

    Parameters
    ----------
    configuration : Configuration
    samples : (n, L) float32 array
        Clips scaled to [0, 1].
    workers : Workers
    module : numpy or cupy
        Where the network computes: on NumPy a clip a thread, on CuPy a batch at once.

    Attributes
    ----------
    network : Autoencoder
    flat : FlatParameters
        Its weights: the encoder's first.
    """

    def __init__(self, configuration: Configuration, samples: np.ndarray, workers: Workers, module: Any = np) -> None:
        self.configuration, self.samples, self.workers, self.module = configuration, samples, workers, module
        self.network = Autoencoder(
            configuration.channels,
            configuration.kernel_size,
            rng=generator(configuration.seed, "weights"),
            initial=getattr(initial, configuration.initial),
            residual_gain=configuration.residual_gain,
            output=configuration.output,
        )
        self.flat = FlatParameters(self.network.parameters, module)
        self._chunk = 1 if module is np else configuration.batch_size

    def pre_train(
        self,
        train: np.ndarray,
        validation: np.ndarray,
        on_epoch: Callable[[Epoch, bool], None],
        *,
        progress: bool = False,
    ) -> PhaseResult:
        """Phase 1: encoder and decoder. on_epoch is told each epoch, and whether it is the best so far."""
        return self._fit(
            "pre_training",
            self.flat.vector,
            self.whole_gradient,
            self.judge_whole,
            train,
            validation,
            on_epoch,
            progress,
        )

    def fine_tune(
        self,
        features: np.ndarray,
        train: np.ndarray,
        validation: np.ndarray,
        on_epoch: Callable[[Epoch, bool], None],
        *,
        progress: bool = False,
    ) -> PhaseResult:
        """Phase 2: the decoder, from the representations that `encode` gave."""

        def gradient(clips: np.ndarray) -> tuple[float, Array]:
            return self.decoder_gradient(features, clips)

        def judge(clips: np.ndarray) -> Judgement:
            return self.judge_decoder(features, clips)

        encoder_size = sum(view.size for name, view in self.flat.views.items() if name.startswith("encoder."))
        decoder = self.flat.vector[encoder_size:]
        return self._fit("fine_tuning", decoder, gradient, judge, train, validation, on_epoch, progress)

    def whole_gradient(self, clips: np.ndarray) -> tuple[float, Array]:
        """Loss of a batch in phase 1, and its gradient as one vector."""

        def one(chunk: np.ndarray) -> tuple[float, Array]:
            trace, cache = self._trace(x := self._batch(chunk))
            loss, d_trace = objective(trace, x, self.configuration.middle_weight)
            _, grads = self.network.backward(d_trace, cache)
            return float(loss.total), flatten(grads)

        return self._mean_gradient(one, clips)

    def decoder_gradient(self, features: np.ndarray, clips: np.ndarray) -> tuple[float, Array]:
        """Loss of a batch in phase 2, and the gradient of the decoder's weights as one vector."""

        def one(chunk: np.ndarray) -> tuple[float, Array]:
            (y, _), cache = self._decode(features, chunk)
            loss, dy = mse(y, self._batch(chunk))
            _, grads = self.network.decoder.backward(dy, cache)
            return float(loss), flatten(grads)

        return self._mean_gradient(one, clips)

    def encode(self, clips: Iterable[int]) -> Iterator[np.ndarray]:
        """The representation (L / 2^depth, C) of each clip, in order."""

        def one(clip: int) -> np.ndarray:
            return to_numpy(self.network.encoder.represent(self._batch(np.array([clip])))[0])

        # A few at a time: the disk may be slower than the network, and what waits for it takes memory.
        for some in _chunks(np.fromiter(clips, int), 16 * self.workers.threads):
            yield from self.workers.map(one, some)

    def judge_whole(self, clips: np.ndarray) -> Judgement:
        """Encoder, masks and decoder on some clips, weights as they are."""

        def one(chunk: np.ndarray) -> Judgement:
            trace, _ = self._trace(x := self._batch(chunk))
            loss, _ = objective(trace, x, self.configuration.middle_weight)
            return _judge(trace.reconstruction, x, float(loss.middle))

        return self._mean(one, clips)

    def judge_decoder(self, features: np.ndarray, clips: np.ndarray) -> Judgement:
        """The decoder on the representations of some clips, with masks only if phase 2 has them."""

        def one(chunk: np.ndarray) -> Judgement:
            (y, _), _ = self._decode(features, chunk)
            return _judge(y, self._batch(chunk), 0.0)

        return self._mean(one, clips)

    def weight_decay_part(self, parameters: Array) -> float:
        """½·λ·|w|² over the filters: what classic L2 adds to the loss, and what decoupled decay stands for."""
        return 0.5 * float(((self._decay(parameters)) * parameters * parameters).sum())

    def _trace(self, x: Array) -> tuple[Trace, Any]:
        return self.network.forward(x, middle=self.configuration.middle_weight > 0)

    def _decode(self, features: np.ndarray, clips: np.ndarray) -> tuple[tuple[Array, list[Array]], Any]:
        z = self._on_device(features, clips)
        return self.network.decoder.forward(z, self._masks(clips), middle=False)

    def _batch(self, clips: np.ndarray) -> Array:
        return self._on_device(self.samples, clips)[:, :, None]

    def _on_device(self, arrays: np.ndarray, clips: np.ndarray) -> Array:
        return self.module.asarray(take(arrays, clips))

    def _masks(self, clips: np.ndarray) -> list[Array] | None:
        if not self.configuration.fine_tune_masks:
            return None
        return self.network.encoder.forward(self._batch(clips), middle=False)[0].masks

    def _mean(self, judge: Callable[[np.ndarray], Judgement], clips: np.ndarray) -> Judgement:
        chunks = _chunks(clips, self._chunk)
        rows = [np.array(row) * len(chunk) for chunk, row in zip(chunks, self.workers.map(judge, chunks), strict=True)]
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

    def _fit(
        self,
        phase: str,
        parameters: Array,
        gradient: Callable[[np.ndarray], tuple[float, Array]],
        judge: Callable[[np.ndarray], Judgement],
        train: np.ndarray,
        validation: np.ndarray,
        on_epoch: Callable[[Epoch, bool], None],
        progress: bool,
    ) -> PhaseResult:
        settings, first = self.configuration, phase == "pre_training"
        epochs = settings.epochs if first else settings.fine_tune_epochs
        batch_size = settings.batch_size
        rate = settings.learning_rate if first else settings.fine_tune_learning_rate
        adam = Adam(rate, weight_decay=self._decay(parameters), decoupled=settings.decay == "decoupled")
        order = generator(settings.seed, phase)
        steps_per_epoch = math.ceil(len(train) / batch_size)
        steps, step = epochs * steps_per_epoch, 0
        average, pace = parameters.copy(), 1 / (1 + settings.average * steps_per_epoch)
        best, best_epoch, best_value = parameters.copy(), 0, -math.inf
        epoch, started = 0, time.perf_counter()
        with tqdm(total=epochs * len(train), unit=" clips", desc=phase, disable=not progress, smoothing=0.05) as bar:
            for epoch in range(1, epochs + 1):
                epoch_started, total = time.perf_counter(), 0.0
                for batch in _chunks(order.permutation(train), batch_size):
                    if settings.schedule == "cosine":
                        adam.learning_rate = rate * 0.5 * (1 + math.cos(math.pi * step / steps))
                    loss, slope = gradient(batch)
                    if not (math.isfinite(loss) and bool(self.module.isfinite(slope).all())):
                        raise Diverged(
                            f"{phase}: the loss or its gradient is not finite in epoch {epoch}, step {step + 1} "
                            f"(loss {loss}). Try a lower learning rate"
                        )
                    adam.step(parameters, slope)
                    average *= 1 - pace
                    average += pace * parameters
                    total += loss * len(batch)
                    step += 1
                    bar.update(len(batch))
                last = parameters.copy()
                parameters[...] = average
                judged = judge(validation)
                value = judged.accuracy if settings.monitor == "val_accuracy" else -judged.loss
                improved = value > best_value
                if improved:
                    best, best_epoch, best_value = average.copy(), epoch, value
                seconds = time.perf_counter() - epoch_started
                bar.set_postfix(epoch=f"{epoch}/{epochs}", loss=f"{total / len(train):.2e}", val=f"{judged.loss:.2e}")
                line = (total / len(train), judged.loss, judged.accuracy, adam.learning_rate, seconds)
                on_epoch(Epoch(phase, epoch, *line), improved)
                parameters[...] = last
                if epoch - best_epoch >= settings.patience:
                    break
        parameters[...] = best
        return PhaseResult(epoch, best_epoch, time.perf_counter() - started)

    def _mean_gradient(
        self, gradient: Callable[[np.ndarray], tuple[float, Array]], batch: np.ndarray
    ) -> tuple[float, Array]:
        """Loss and gradient of a batch: chunks in flight on all workers, summed in the order of the clips."""
        chunk = 1 if self.module is np else len(batch)
        loss, total = 0.0, None
        for one_loss, slope in self.workers.map(gradient, _chunks(batch, chunk)):
            loss += one_loss * chunk / len(batch)
            slope *= chunk / len(batch)
            total = slope if total is None else total + slope
        return loss, total


def generator(seed: int, purpose: str) -> np.random.Generator:
    """A stream of random numbers for one purpose, so that a change in one does not shift another."""
    return np.random.default_rng([seed, *purpose.encode()])


def write_features(path: Path, rows: Iterator[np.ndarray], count: int) -> np.ndarray:
    """Write representations as they come into one .npy file, which appears under its name when complete.

    Returns
    -------
    (count, L / 2^depth, C) array, mapped from the file: it needs no memory of its own.
    """
    unfinished = path.with_name(path.name + ".part")
    first = next(rows)
    descr, shape = np.lib.format.dtype_to_descr(first.dtype), (count, *first.shape)
    with unfinished.open("wb") as file:  # not a map, whose written pages would count as memory
        np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
        for row in itertools.chain([first], rows):
            file.write(np.ascontiguousarray(row).data)
    unfinished.replace(path)
    return np.load(path, mmap_mode="r")


def _chunks(clips: np.ndarray, size: int) -> list[np.ndarray]:
    return [clips[i : i + size] for i in range(0, len(clips), size)]


def _judge(y: Array, x: Array, middle: float) -> Judgement:
    loss, _ = mse(y, x)
    return Judgement(float(loss), float((abs(y - x) <= ACCURACY_DISTANCE).mean()), middle)
