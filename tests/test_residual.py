"""The residual block, and layers one after another."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from nn1d import ELU, Conv1d, ConvTranspose1d, MaxPool1d, ResidualBlock, Sequential, ShapeError, Upsample1d, initial
from tests import loops
from tests.twin import import_torch


def block(convolution: Any = Conv1d, taps: int = 3, dtype: Any = np.float64, **options: Any) -> ResidualBlock:
    rng = np.random.default_rng(0)
    layer = ResidualBlock(3, taps, convolution=convolution, rng=rng, dtype=dtype, **options)
    for name in ("1", "3"):
        layer.parameters["body"][name]["bias"][...] = rng.standard_normal(3)
    return layer


@pytest.mark.parametrize("taps", [1, 3, 5])
@pytest.mark.parametrize("alpha", [1.0, 0.5])
@pytest.mark.parametrize("convolution", [Conv1d, ConvTranspose1d])
def test_the_block_is_its_definition(convolution: Any, alpha: float, taps: int) -> None:
    layer = block(convolution, taps, alpha=alpha)
    x, dy = np.random.default_rng(1).standard_normal((2, 2, 7, 3))
    first, second = layer.parameters["body"]["1"], layer.parameters["body"]["3"]
    pad = taps // 2

    def filtered(a: np.ndarray, p: dict[str, np.ndarray]) -> np.ndarray:
        if convolution is Conv1d:
            return loops.conv(a, p["weight"], p["bias"], 1, pad)
        return loops.conv_transpose(a, p["weight"], p["bias"], 1, pad, 0)

    def gradients(a: np.ndarray, p: dict[str, np.ndarray], d: np.ndarray) -> tuple[np.ndarray, ...]:
        if convolution is Conv1d:
            return loops.conv_gradients(a, p["weight"], d, 1, pad)
        return loops.conv_transpose_gradients(a, p["weight"], d, 1, pad)

    a = loops.over(loops.elu, x, alpha)
    h = filtered(a, first)
    c = loops.over(loops.elu, h, alpha)
    y, cache = layer.forward(x)
    np.testing.assert_allclose(y, x + filtered(c, second), rtol=1e-12, atol=1e-12)

    dc, dw2, db2 = gradients(c, second, dy)
    da, dw1, db1 = gradients(a, first, dc * loops.over(loops.elu_slope, h, alpha))
    dx, grads = layer.backward(dy, cache)
    np.testing.assert_allclose(dx, dy + da * loops.over(loops.elu_slope, x, alpha), rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(
        (grads["body"][i][p] for i in "13" for p in ("weight", "bias")), (dw1, db1, dw2, db2), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def test_a_silent_last_convolution_makes_the_block_the_identity() -> None:
    layer = ResidualBlock(3, last_initial=initial.zeros, rng=np.random.default_rng(0), dtype=np.float64)
    x, dy = np.random.default_rng(1).standard_normal((2, 2, 7, 3))
    y, cache = layer.forward(x)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(layer.backward(dy, cache)[0], dy)
    assert layer.parameters["body"]["1"]["weight"].any()


def test_the_block_along_one_random_direction() -> None:
    layer = block()
    rng = np.random.default_rng(2)
    x, dy, v = rng.standard_normal((3, 2, 9, 3))
    w = layer.parameters["body"]["1"]["weight"]
    start, turn, step = w.copy(), rng.standard_normal(w.shape), 1e-5
    dx, grads = layer.backward(dy, layer.forward(x)[1])

    def moved(distance: float) -> np.ndarray:
        w[...] = start + distance * turn
        return layer.forward(x + distance * v)[0]

    numeric = (dy * (moved(step) - moved(-step))).sum() / (2 * step)
    analytic = (dx * v).sum() + (grads["body"]["1"]["weight"] * turn).sum()
    assert abs(numeric - analytic) <= 1e-8 * max(abs(analytic), (dx**2).sum() ** 0.5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-5)])
@pytest.mark.parametrize("convolution", [Conv1d, ConvTranspose1d])
def test_the_block_is_that_of_torch(convolution: Any, dtype: Any, tolerance: float) -> None:
    torch = import_torch()
    layer = block(convolution, dtype=dtype)
    x, dy = np.random.default_rng(1).standard_normal((2, 2, 12, 3)).astype(dtype)
    kind = getattr(torch.nn, convolution.__name__)
    body = torch.nn.Sequential(torch.nn.ELU(), kind(3, 3, 3, padding=1), torch.nn.ELU(), kind(3, 3, 3, padding=1))
    body.to(torch.from_numpy(x).dtype)
    with torch.no_grad():
        for i in (1, 3):
            body[i].weight.copy_(torch.from_numpy(layer.parameters["body"][str(i)]["weight"].transpose(2, 1, 0).copy()))
            body[i].bias.copy_(torch.from_numpy(layer.parameters["body"][str(i)]["bias"]))
    theirs = torch.from_numpy(x.swapaxes(1, 2).copy()).requires_grad_()
    output = theirs + body(theirs)
    output.backward(torch.from_numpy(dy.swapaxes(1, 2).copy()))
    y, cache = layer.forward(x)
    dx, grads = layer.backward(dy, cache)
    same: Any = {"rtol": tolerance, "atol": 10 * tolerance}
    np.testing.assert_allclose(y, output.detach().numpy().swapaxes(1, 2), **same)
    np.testing.assert_allclose(dx, theirs.grad.numpy().swapaxes(1, 2), **same)
    for i in (1, 3):
        ours = grads["body"][str(i)]
        np.testing.assert_allclose(ours["weight"], body[i].weight.grad.numpy().transpose(2, 1, 0), **same)
        np.testing.assert_allclose(ours["bias"], body[i].bias.grad.numpy(), **same)


def test_a_sequence_is_the_chain_of_its_layers() -> None:
    rng = np.random.default_rng(0)
    first = Conv1d(2, 4, 3, 1, 1, rng=rng, dtype=np.float64)
    last = ConvTranspose1d(4, 1, 3, 1, 1, rng=rng, dtype=np.float64)
    elu, pool, upsample = ELU(), MaxPool1d(2), Upsample1d(2)
    x, dy = rng.standard_normal((2, 8, 2)), rng.standard_normal((2, 8, 1))
    a, a_cache = first.forward(x)
    b, b_cache = elu.forward(a)
    c, c_cache = pool.forward(b)
    d, d_cache = upsample.forward(c)
    e, e_cache = last.forward(d)
    dd, last_grads = last.backward(dy, e_cache)
    dc, _ = upsample.backward(dd, d_cache)
    db, _ = pool.backward(dc, c_cache)
    da, _ = elu.backward(db, b_cache)
    dx, first_grads = first.backward(da, a_cache)

    chain = Sequential(first, elu, pool, up=upsample, out=last)
    y, cache = chain.forward(x)
    chain_dx, grads = chain.backward(dy, cache)
    np.testing.assert_array_equal(y, e)
    np.testing.assert_array_equal(chain_dx, dx)
    # in the order of the layers, and without those that have none: flatten relies on it
    assert list(grads) == list(chain.parameters) == ["0", "out"]
    np.testing.assert_array_equal(grads["0"]["weight"], first_grads["weight"])
    np.testing.assert_array_equal(grads["out"]["bias"], last_grads["bias"])
    assert chain.parameters["0"]["weight"] is first.parameters["weight"]


def test_an_empty_sequence_is_the_identity() -> None:
    x = np.random.default_rng(0).standard_normal((1, 4, 2))
    y, cache = Sequential().forward(x)
    np.testing.assert_array_equal(y, x)
    dx, grads = Sequential().backward(x, cache)
    np.testing.assert_array_equal(dx, x)
    assert grads == {}
    assert Sequential().parameters == {}


def test_a_sequence_says_what_is_in_it() -> None:
    chain = Sequential(ELU(), MaxPool1d(2), Conv1d(1, 2, 3, rng=np.random.default_rng(0)))
    assert repr(chain) == "Sequential(ELU(1), MaxPool1d(2), Conv1d(1 -> 2, k=3))"


seeded: dict[str, Any] = {"rng": np.random.default_rng(0)}
MESSAGES = [
    (lambda: ResidualBlock(3, 4, **seeded), "ResidualBlock: kernel_size must be odd, to keep the length; got 4"),
    (lambda: ResidualBlock(3, 3.0, **seeded), "ResidualBlock: kernel_size must be odd, to keep the length; got 3.0"),  # type: ignore[arg-type]
    (lambda: ResidualBlock(0, 3, **seeded), "Conv1d: in_channels must be a positive integer; got 0"),
    (lambda: ResidualBlock(3, -1, **seeded), "Conv1d: kernel_size must be a positive integer; got -1"),
    (
        lambda: ResidualBlock(3, **seeded).forward(np.zeros((1, 5, 2), np.float32)),
        "Conv1d(3 -> 3, k=3, p=1): x must be (N, L, 3); got (1, 5, 2)",
    ),
]


@pytest.mark.parametrize(("mistake", "message"), MESSAGES)
def test_a_mistake_is_named(mistake: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        mistake()
