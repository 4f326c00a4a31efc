"""Folding and unfolding: only places change, and each layer undoes the other."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nn1d import Fold1d, ShapeError, Unfold1d
from tests import loops
from tests.twin import import_torch

drawn = settings(deadline=None, max_examples=50, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
seeds = st.integers(0, 2**32 - 1)


class Geometry(NamedTuple):
    clips: int
    windows: int
    size: int
    channels: int


geometries = st.builds(Geometry, st.integers(1, 3), st.integers(1, 6), st.integers(1, 5), st.integers(1, 4))


@drawn
@given(geometries, seeds, st.sampled_from([np.float32, np.float64]), st.booleans())
def test_both_are_their_definition_and_the_backward_of_the_other(
    g: Geometry, seed: int, dtype: Any, turned: bool
) -> None:
    """Bit for bit: nothing is computed, so nothing is rounded."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((g.clips, g.windows * g.size, g.channels)).astype(dtype)
    z = rng.standard_normal((g.clips, g.windows, g.size * g.channels)).astype(dtype)
    if turned:  # the same numbers, not contiguous
        x, z = np.asfortranarray(x), np.asfortranarray(z)
    fold, unfold = Fold1d(g.size), Unfold1d(g.size)
    (folded, fold_cache), (unfolded, unfold_cache) = fold.forward(x), unfold.forward(z)
    for ours, plain in [
        (folded, loops.fold(x, g.size)),
        (fold.backward(z, fold_cache)[0], loops.unfold(z, g.size)),
        (unfolded, loops.unfold(z, g.size)),
        (unfold.backward(x, unfold_cache)[0], loops.fold(x, g.size)),
    ]:
        assert ours.dtype == dtype
        np.testing.assert_array_equal(ours, plain)
    assert fold.backward(z, fold_cache)[1] == unfold.backward(x, unfold_cache)[1] == {}


@drawn
@given(geometries, seeds)
def test_each_undoes_the_other_and_is_its_transpose(g: Geometry, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((g.clips, g.windows * g.size, g.channels))
    z = rng.standard_normal((g.clips, g.windows, g.size * g.channels))
    fold, unfold = Fold1d(g.size), Unfold1d(g.size)
    np.testing.assert_array_equal(unfold.forward(fold.forward(x)[0])[0], x)
    np.testing.assert_array_equal(fold.forward(unfold.forward(z)[0])[0], z)
    left, right = (fold.forward(x)[0] * z).sum(), (x * unfold.forward(z)[0]).sum()
    assert abs(left - right) <= 1e-12 * abs(x).sum() * abs(z).max()


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_the_same_as_torch(size: int) -> None:
    """PyTorch shuffles pixels of images: two images of `size` rows and columns each fold along both.

    One of `size` rows that are alike is a signal, of which the first row of what it folds to is ours. It orders
    channels as (c, i), ours are (i, c).
    """
    torch = import_torch()
    rng = np.random.default_rng(size)
    clips, windows, channels = 3, 4, 5
    x = rng.standard_normal((clips, windows * size, channels))
    image = torch.from_numpy(np.repeat(x.swapaxes(1, 2)[:, :, None], size, axis=2))  # (N, C, s, s·L)
    theirs = torch.nn.functional.pixel_unshuffle(image, size).numpy()  # (N, C·s·s, 1, L)
    theirs = theirs.reshape(clips, channels, size, size, windows)[:, :, 0]  # (N, C, i, L)
    np.testing.assert_array_equal(
        Fold1d(size).forward(x)[0], theirs.transpose(0, 3, 2, 1).reshape(clips, windows, size * channels)
    )


MESSAGES = [
    (
        lambda: Fold1d(2).forward(np.zeros((1, 64001, 1), np.float32)),
        "Fold1d(2): the length must be a multiple of 2; got 64001. Nearest: 64000, 64002",
    ),
    (
        lambda: Fold1d(4).forward(np.zeros((1, 3, 1), np.float32)),
        "Fold1d(4): the length must be a multiple of 4; got 3. Nearest: 4",
    ),
    (
        lambda: Fold1d(2).forward(np.zeros((64, 1))),
        "Fold1d(2): x must be (N, L, C); got (64, 1). One clip of one channel: x[None, :, None]",
    ),
    (
        lambda: Fold1d(2).backward(np.zeros((1, 4, 1)), (1, 4, 1)),
        "Fold1d(2): dy must be like y, float64 (1, 2, 2); got float64 (1, 4, 1)",
    ),
    (lambda: Fold1d(0), "Fold1d: size must be a positive integer; got 0"),
    (
        lambda: Unfold1d(2).forward(np.zeros((1, 4, 3))),
        "Unfold1d(2): the channels must be a multiple of 2; got 3. Let the convolution before it have that many",
    ),
    (
        lambda: Unfold1d(2).backward(np.zeros((1, 4, 2)), (1, 4, 2)),
        "Unfold1d(2): dy must be like y, float64 (1, 8, 1); got float64 (1, 4, 2)",
    ),
    (lambda: Unfold1d(2.0), "Unfold1d: size must be a positive integer; got 2.0"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("mistake", "message"), MESSAGES)
def test_a_mistake_is_named(mistake: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        mistake()
