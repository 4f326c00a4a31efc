"""Gradients that are much longer than those before them are shortened, and a resumed training goes on the same."""

from __future__ import annotations

import json

import numpy as np
import pytest

from training.gradient_bound import LEAST, RECENT, GradientBound


def pointing(norm: float) -> np.ndarray:
    return np.array([0.6, 0.0, -0.8], np.float32) * np.float32(norm)


def test_only_what_is_too_long_is_shortened_and_keeps_its_direction() -> None:
    bound = GradientBound(3.0)
    for _ in range(LEAST):
        np.testing.assert_array_equal(bound(pointing(2.0)), pointing(2.0))
    np.testing.assert_allclose(bound(pointing(5.9)), pointing(5.9), rtol=1e-6)
    np.testing.assert_allclose(bound(pointing(600.0)), pointing(6.0), rtol=1e-6)
    assert not bound(pointing(0.0)).any()


def test_the_first_gradients_pass_whatever_their_length() -> None:
    bound = GradientBound(3.0)
    for i in range(LEAST):
        np.testing.assert_array_equal(bound(pointing(10.0**i)), pointing(10.0**i))


def test_gradients_that_stay_longer_become_usual() -> None:
    bound = GradientBound(2.0)
    for _ in range(RECENT):
        bound(pointing(1.0))
    for _ in range(RECENT // 2):
        np.testing.assert_allclose(bound(pointing(100.0)), pointing(2.0), rtol=1e-6)
    for _ in range(2):
        last = bound(pointing(100.0))
    np.testing.assert_allclose(last, pointing(100.0), rtol=1e-6)


def test_a_factor_of_0_lets_everything_pass() -> None:
    bound = GradientBound(0.0)
    for _ in range(2 * LEAST):
        bound(pointing(1.0))
    np.testing.assert_array_equal(bound(pointing(1e6)), pointing(1e6))
    assert bound.recent() == []


@pytest.mark.parametrize("seen", [0, 5, LEAST, RECENT - 1, RECENT, RECENT + 1, 3 * RECENT + 7])
def test_a_saved_bound_goes_on_to_the_same_bits(seen: int) -> None:
    norms = np.random.default_rng(seen).lognormal(0, 1.5, seen + 300)
    one, other = GradientBound(1.5), GradientBound(1.5)
    for norm in norms[:seen]:
        one(pointing(norm))
    other.restore(json.loads(json.dumps(one.recent())))
    for norm in norms[seen:]:
        np.testing.assert_array_equal(one(pointing(norm)), other(pointing(norm)))


def test_steps_can_be_taken_again() -> None:
    bound = GradientBound(1.5)
    for norm in np.linspace(1, 2, 20):
        bound(pointing(norm))
    snapshot = bound.snapshot()
    once = [bound(pointing(norm)) for norm in (9.0, 1.0, 4.0)]
    bound.roll_back(snapshot)
    again = [bound(pointing(norm)) for norm in (9.0, 1.0, 4.0)]
    np.testing.assert_array_equal(once, again)
