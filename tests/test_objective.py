"""The loss of Eq. 8 and its gradient, on both sides of every pool."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.autoencoder import Autoencoder, Trace
from models.objective import objective
from nn1d import GradientError, ShapeError, check_gradients
from tests import loops


def trace_and_target() -> tuple[Trace, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = [(2, 8, 2), (2, 4, 3)]
    encoded, decoded = ([rng.standard_normal(shape) for shape in shapes] for _ in range(2))
    return Trace(rng.standard_normal((2, 8, 1)), encoded, decoded), rng.standard_normal((2, 8, 1))


def mse(a: np.ndarray, b: np.ndarray) -> tuple[float, np.ndarray]:
    loss, slope = loops.mse(a.ravel().tolist(), b.ravel().tolist())
    return loss, np.array(slope).reshape(a.shape)


@pytest.mark.parametrize("weight", [0.25, 1.0])
def test_the_parts_are_their_definitions(weight: float) -> None:
    trace, x = trace_and_target()
    loss, d = objective(trace, x, weight)
    reconstruction, dy = mse(trace.reconstruction, x)
    stages = [mse(a, b) for a, b in zip(trace.encoded, trace.decoded, strict=True)]
    middle = sum(part for part, _ in stages)
    np.testing.assert_allclose(loss.reconstruction, reconstruction, rtol=1e-13)
    np.testing.assert_allclose(loss.middle, middle, rtol=1e-13)
    np.testing.assert_allclose(loss.total, reconstruction + weight * middle, rtol=1e-13)
    np.testing.assert_allclose(d.reconstruction, dy, rtol=1e-13)
    for i, (_, slope) in enumerate(stages):
        np.testing.assert_allclose(d.encoded[i], weight * slope, rtol=1e-13)
        np.testing.assert_allclose(d.decoded[i], -weight * slope, rtol=1e-13)


def test_without_weight_the_middle_is_not_looked_at() -> None:
    trace, x = trace_and_target()
    loss, d = objective(trace, x)
    assert loss.middle == 0
    assert loss.total == loss.reconstruction
    assert d.encoded == d.decoded == []


def test_nothing_is_written_and_single_precision_stays() -> None:
    trace, x = trace_and_target()
    single = Trace(
        trace.reconstruction.astype(np.float32),
        [a.astype(np.float32) for a in trace.encoded],
        [a.astype(np.float32) for a in trace.decoded],
    )
    for array in (single.reconstruction, *single.encoded, *single.decoded):
        array.setflags(write=False)
    loss, d = objective(single, x.astype(np.float32), 0.3)
    assert loss.total.dtype == np.float32
    assert {array.dtype for array in (d.reconstruction, *d.encoded, *d.decoded)} == {np.dtype(np.float32)}


def test_a_target_of_another_length_is_refused() -> None:
    trace, x = trace_and_target()
    with pytest.raises(ShapeError, match=r"^mse: y and target must be alike; got \(2, 8, 1\) and \(2, 4, 1\)$"):
        objective(trace, x[:, :4])


class WholeObjective:
    """The objective of a network as a layer: its output is the loss, and its input the clips that go in."""

    def __init__(self, weight: float, deaf: str = "") -> None:
        self.network = Autoencoder((2, 3), rng=np.random.default_rng(0), output="linear", dtype=np.float64)
        self.weight, self.deaf = weight, deaf

    @property
    def parameters(self) -> Any:
        return self.network.parameters

    def forward(self, x: np.ndarray, target: np.ndarray) -> Any:
        trace, cache = self.network.forward(x)
        loss, d_trace = objective(trace, target, self.weight)
        return np.asarray([loss.total]), (d_trace, cache)

    def backward(self, dy: np.ndarray, cache: Any) -> Any:
        d_trace, kept = cache
        sides: Any = ([d * dy[0] for d in side] for side in d_trace[1:])
        scaled = Trace(d_trace.reconstruction * dy[0], *sides)
        if self.deaf:
            silence: dict[str, Any] = {self.deaf: []}
            scaled = scaled._replace(**silence)
        return self.network.backward(scaled, kept)


def run(layer: WholeObjective, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, target = rng.uniform(0, 1, (2, 2, 16, 1))
    check_gradients(layer, x, target, rng=rng)


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_the_gradient_of_the_whole_objective(weight: float) -> None:
    for seed in range(3):
        run(WholeObjective(weight), seed)


@pytest.mark.parametrize("side", ["encoded", "decoded"])
def test_a_middle_loss_that_reaches_one_side_only_is_caught(side: str) -> None:
    with pytest.raises(GradientError):
        run(WholeObjective(0.7, deaf=side), 0)
