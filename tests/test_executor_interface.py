"""The promises of training/executor.py: an executor of another kind joins, and gives the bits of threads."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pytest

from inference.ablation import mask_ablation
from nn1d import FlatParameters, to_numpy
from speech.split import Indices, Split
from storage.mapped import Rows
from training.configuration import Configuration
from training.dual_training import DualTraining
from training.executor import Executor, Gradient, Number
from training.pipeline import Pipeline
from training.run_folder import RunFolder
from training.signals import Stop
from training.workers import Workers

SETTINGS = Configuration(
    channels=(3, 4), clip_samples=64, epochs=2, fine_tune_epochs=2, batch_size=5, middle_weight=0.1, device="cpu"
)
CLIPS = np.random.default_rng(0).uniform(0, 1, (13, 64)).astype(np.float32)
SPLIT = Split(np.array([7, 2, 9, 0, 12, 4, 1, 5]), np.array([3, 11]), np.array([6, 8, 10]))
Calls = list[tuple[str, int]]


class Ranks:
    """Two ranks, as processes of MPI would be: each has a part of the clips, and the sum goes from one to the next."""

    synchronised = True

    def __init__(self, ranks: int) -> None:
        self.ranks = [Workers(1 + rank) for rank in range(ranks)]
        self.calls: Calls = []

    def shares(self, method: str, clips: Any) -> list[tuple[Workers, np.ndarray]]:
        self.calls += [(method, len(share)) for share in np.array_split(clips, len(self.ranks))]
        parts = zip(self.ranks, np.array_split(clips, len(self.ranks)), strict=True)
        return [(rank, share) for rank, share in parts if len(share)]

    def prepare(self, network: Any) -> tuple[Any, FlatParameters]:
        return self.ranks[0].prepare(network)

    def rows(self, source: Rows, clips: np.ndarray) -> np.ndarray:
        return self.ranks[0].rows(source, clips)

    def mean_gradient(self, function: Callable[..., Gradient], sources: Sequence[Rows], clips: np.ndarray) -> Gradient:
        loss: float = 0.0
        total: Any = None
        for rank, share in self.shares("mean_gradient", clips):
            for clip_loss, gradient in rank.by_clip(function, sources, share):
                gradient *= 1 / len(clips)
                loss, total = loss + float(clip_loss) / len(clips), gradient if total is None else total + gradient
        return loss, total

    def mean(
        self,
        function: Callable[..., Sequence[Number]],
        sources: Sequence[Rows],
        clips: Indices,
        on_clips: Callable[[], None] = lambda: None,
    ) -> list[float]:
        total: Any = 0.0
        for rank, share in self.shares("mean", clips):
            for clip in share:
                total = total + np.array(rank.mean(function, sources, np.array([clip]), on_clips))
        return list(np.asarray(total / len(clips)))

    def map_clips(
        self, function: Callable[..., Sequence[Any]], sources: Sequence[Rows], clips: Indices
    ) -> Iterator[Any]:
        for rank, share in self.shares("map_clips", clips):
            yield from rank.map_clips(function, sources, share)

    def synchronise(self, numbers: Sequence[Number]) -> list[float]:
        return [float(number) for number in numbers]

    def forget(self) -> None:
        pass

    def meet(self) -> None:
        pass

    def __enter__(self) -> Ranks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for rank in self.ranks:
            rank.__exit__(kind, error, traceback)


def outcome(executor: Executor, folder: Path, settings: Configuration) -> dict[str, Any]:
    """A whole run: both phases, representations and the ablation."""
    with RunFolder.create(folder, {}) as run, Stop() as stop, executor:
        training = DualTraining(settings, CLIPS, executor, stop.check)
        names = [str(i) for i in range(len(CLIPS))]
        pipeline = Pipeline(run, training, SPLIT, names, stop, lambda phase, epoch, improved: None, False)
        first = pipeline.fit("pre_training", training.pre_training(SPLIT.train, SPLIT.validation))
        features = pipeline.encode()
        second = pipeline.fit("fine_tuning", training.fine_tuning(features, SPLIT.train, SPLIT.validation))
        rng = np.random.default_rng(1)
        masks = mask_ablation(
            training.network, CLIPS, SPLIT.test, lambda clip, y: float(y[clip]), rng=rng, executor=executor
        )
        for results in (first, second):
            del results["seconds"]
        history = [line.rsplit(",", 1)[0] for line in (folder / "history.csv").read_text().splitlines()]
        weights = to_numpy(training.flat.vector).tobytes()
        return {"first": first, "second": second, "features": features.tobytes(), "masks": masks,
                "history": history, "weights": weights}  # fmt: skip


@pytest.mark.parametrize("changes", [{}, {"fine_tune_masks": True, "batch_size": 1, "half": True}])
@pytest.mark.parametrize("ranks", [2, 3])
def test_a_chain_of_ranks_gives_the_bits_of_threads(tmp_path: Path, ranks: int, changes: dict[str, Any]) -> None:
    settings = dataclasses.replace(SETTINGS, **changes)
    expected = outcome(Workers(2), tmp_path / "threads", settings)
    chain = Ranks(ranks)
    actual = outcome(chain, tmp_path / "ranks", settings)
    assert list(actual) == list(expected)
    assert [name for name in expected if actual[name] != expected[name]] == []
    assert {method for method, _ in chain.calls} == {"mean_gradient", "mean", "map_clips"}
    assert sum(count for method, count in chain.calls if method == "map_clips") == len(CLIPS) + len(SPLIT.test)


def test_a_sum_in_another_order_has_other_bits() -> None:
    """Else the test above would show nothing."""
    with Workers(1) as workers:
        training = DualTraining(SETTINGS, CLIPS, workers)
        _, gradient = training.gradient(np.arange(13))
        _, reversed_gradient = training.gradient(np.arange(13)[::-1])
    assert gradient.tobytes() != reversed_gradient.tobytes()
    np.testing.assert_allclose(gradient, reversed_gradient, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("part", [1, 4, 12])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_mean_goes_on_from_the_clips_before(part: int, threads: int) -> None:
    clips = np.arange(13)[::-1]
    with Workers(threads) as workers:
        training = DualTraining(SETTINGS, CLIPS, workers)
        loss, gradient = training.gradient(clips)
        again: Any = 0.0
        again_gradient: Any = 0
        for some in (clips[:part], clips[part:]):
            for clip_loss, clip_gradient in workers.by_clip(training._autoencoder.gradient, [CLIPS], some):
                again = again + float(clip_loss) / 13
                again_gradient = again_gradient + clip_gradient * np.float32(1 / 13)
    assert again == loss
    assert again_gradient.tobytes() == gradient.tobytes()


def test_an_executor_that_stops_between_clips_is_left(tmp_path: Path) -> None:
    class Left(Exception):
        pass

    def leave() -> None:
        raise Left

    with Workers(2) as workers:
        training = DualTraining(SETTINGS, CLIPS, workers, leave)
        with pytest.raises(Left):
            training.evaluate_autoencoder(SPLIT.test)
