"""Offsets beyond 2³¹ numbers: the last block of a launch on arrays of which only the end is really there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nn1d import Adam
from nn1d.conv import filter_gradient
from nn1d.cuda.kernel import NUMBERS, source
from tests.gpu import harness
from tests.gpu.harness import KernelError, Part, RawModule

pytestmark = pytest.mark.skipif(harness.compiler() is None, reason="needs g++ with AddressSanitizer, on Linux")
MANY = 3 * 2**31 + 4096  # numbers: no 32 bits count to it, with a sign or without


def launch(file: str, kernel: str, blocks: int, columns: int, threads: int, *arguments: Any) -> None:
    """The last block of every column of a grid (blocks, columns)."""
    run = RawModule(source(file), ("-std=c++17",), (kernel,)).get_function(kernel)
    for column in range(columns):
        last = blocks * (column + 1) - 1
        run((blocks, columns), (threads,), arguments, blocks=range(last, last + 1))


def numbers(*shape: int) -> np.ndarray:
    """Such that products are the same in TF32."""
    return (np.random.default_rng(0).integers(-999, 1000, shape) / 256).astype("f")


def empty(*shape: int) -> np.ndarray:
    return np.full(shape, np.nan, "f")


def ints(*values: int) -> list[np.int32]:
    return [np.int32(value) for value in values]


def test_what_is_missing_is_missing() -> None:
    with pytest.raises(KernelError, match="SEGV"):
        x, y = Part(numbers(4096), MANY - 4096), Part(empty(4096), MANY - 4096)
        launch("activation", "elu_forward<float, 1>", 16, 1, 256, x, y, np.int64(MANY), np.float32(1))


def test_an_offset_in_32_bits_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    short = source("convolution").replace("const long long clip", "const int clip")
    monkeypatch.setitem(globals(), "source", lambda file: short)
    with pytest.raises(KernelError, match="signed integer overflow"):
        test_convolution("convolution", 16, 512)


@pytest.mark.parametrize(
    ("kernel", "channels", "tile"), [("convolution", 1, 512), ("convolution", 16, 512), ("tensor_convolution", 16, 256)]
)
def test_convolution(kernel: str, channels: int, tile: int) -> None:
    """One tap, a clip of as many numbers as a clip may have, and two before it."""
    length = NUMBERS // channels
    tiles = -(-length // tile)
    end = length - (tiles - 1) * tile  # outputs of the last tile
    x, w, r, y = numbers(end, channels), numbers(1, channels, channels), numbers(end, channels), empty(end, channels)
    before = 3 * length * channels - x.size
    null = np.uintp(0)
    launch(
        *(kernel, f"{kernel}<float, 1, {channels}>", 3 * tiles, 1, 128),
        *(Part(x, before), w, null, null, Part(r, before), Part(y, before)),
        *ints(length, channels, length, channels, 0, 0),
        *(np.float32(0), np.float32(0), *ints(0, 0)),
    )
    np.testing.assert_allclose(y, x @ w[0] + r, atol=1e-4)


@pytest.mark.parametrize(
    ("file", "kernel"),
    [
        ("filter_gradient", "filter_gradient<float, 1, 16, 16>"),
        ("tensor_filter_gradient", "tensor_filter_gradient<float, 1>"),
    ],
)
def test_filter_gradient(file: str, kernel: str) -> None:
    span, length, channels = 64, NUMBERS // 16, 16
    spans = -(-length // span)
    x, dy = numbers(length - (spans - 1) * span, channels), numbers(length - (spans - 1) * span, channels)
    width = channels * channels + channels
    before, row = 3 * length * channels - x.size, empty(width)
    launch(
        *(file, kernel, 3 * spans, 1, 128),
        *(Part(x, before), Part(dy, before), Part(row, (3 * spans - 1) * width)),
        *ints(3, length, channels, length, channels, 0, 0),
        *(np.float32(0), *ints(span, 0, 0)),
    )
    np.testing.assert_allclose(
        row[:-channels].reshape(1, 16, 16), filter_gradient(x[None], dy[None], 1, 1, 0), atol=1e-3
    )
    np.testing.assert_allclose(row[-channels:], dy.sum(0), atol=1e-4)


def test_pools() -> None:
    windows, kept = MANY // 2, 256
    x, y = numbers(kept, 2), empty(kept)
    mask, placed, selected = np.zeros((kept, 2), bool), empty(kept, 2), empty(kept)
    long, short = MANY - x.size, windows - kept
    sizes = np.int64(windows), *ints(2, 1)
    grid = -(-windows // 256), 1, 256
    launch("pool", "max_pool<float, 1>", *grid, Part(x, long), Part(y, short), Part(mask, long), *sizes)
    np.testing.assert_array_equal(y, x.max(1))
    launch("pool", "place<float, 1>", *grid, Part(y, short), Part(mask, long), Part(placed, long), *sizes)
    np.testing.assert_array_equal(placed, x * mask)
    launch("pool", "select<float, 1>", *grid, Part(x, long), Part(mask, long), Part(selected, short), *sizes)
    np.testing.assert_array_equal(selected, y)


def test_vectors() -> None:
    blocks, before = -(-MANY // 256), MANY - 256
    x, y, rows = numbers(256), empty(256), np.zeros(1)
    launch(
        "activation",
        "elu_forward<float, 1>",
        blocks,
        1,
        256,
        Part(x, before),
        Part(y, before),
        np.int64(MANY),
        np.float32(1),
    )
    np.testing.assert_allclose(y, np.where(x > 0, x, np.expm1(x)), atol=1e-6)
    dx = empty(256)
    parts = (Part(x, before), Part(y, before), Part(dx, before))
    launch("activation", "elu_backward<float, 1>", blocks, 1, 256, *parts, np.int64(MANY), np.float32(1))
    np.testing.assert_allclose(dx, x * np.where(x > 0, 1, np.exp(x)), atol=1e-6)
    rest = Part(rows, blocks - 1), np.int64(MANY), np.int64(256), np.float32(2)
    launch("loss", "squared_difference<float>", blocks, 1, 256, *parts, *rest)
    np.testing.assert_allclose(dx, 2 * (x - y), atol=1e-6)
    np.testing.assert_allclose(rows[0], ((x - y) ** 2).sum(), rtol=1e-6)
    p, gradient, mean, square = (numbers(4, 256)[i] ** 2 for i in range(4))
    adam = Adam(0.01)
    adam.mean, adam.square, expected = mean.copy(), square.copy(), p.copy()
    adam.step(expected, gradient)
    state = [Part(each, before) for each in (p, gradient, mean, square)]
    scalars = 0.01, 0.9, 1 - 0.9, 0.999, 1 - 0.999, 1 / (1 - 0.999) ** 0.5, 1e-8, 0.01 / (1 - 0.9)
    launch(
        *("adam", "adam<float>", blocks, 1, 256),
        *(*state, np.uintp(0), np.int64(MANY), np.float32(0), np.int32(0)),
        *map(np.float32, scalars),
    )
    np.testing.assert_allclose(p, expected, atol=1e-6)
