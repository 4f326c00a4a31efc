"""The network with folds: its form, its start near its own inverse, and filters that two layers share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.autoencoder import CHANNELS, Autoencoder, Trace
from models.folded import FoldedAutoencoder
from nn1d import (
    ELU,
    Adam,
    Conv1d,
    ConvTranspose1d,
    FlatParameters,
    Fold1d,
    HardSigmoid,
    ResidualBlock,
    Sequential,
    ShapeError,
    Unfold1d,
    check_gradients,
    flatten,
    from_torch,
    load_parameters,
    mse,
    named_leaves,
    to_torch,
)
from tests import twin
from tests.wrong import tied as tied_pair

KINDS: list[Any] = [Autoencoder, FoldedAutoencoder]


def speech_like(samples: int, dtype: Any = np.float64) -> np.ndarray:
    """Two clips around 0.5, as far from it as speech is: (2, samples, 1)."""
    x = np.random.default_rng(1).standard_normal((2, samples, 1)).cumsum(1)
    x -= x.mean(1, keepdims=True)
    return (0.5 + 0.06 * x / x.std(1, keepdims=True)).clip(0.05, 0.95).astype(dtype)


def test_it_has_the_papers_channels_and_representation() -> None:
    net = FoldedAutoencoder(rng=np.random.default_rng(0))
    assert flatten(net.parameters).size == 102_442
    z = net.encoder.represent(np.full((1, 64_000, 1), 0.5, np.float32))
    assert z.shape == (1, 2000, 64)
    y, _ = net.decoder.forward(z)
    assert y.shape == (1, 64_000, 1)
    np.testing.assert_array_equal(net.encoder.forward(np.full((1, 64_000, 1), 0.5, np.float32))[0], z)


def in_torch(layer: Any, x: Any, leaves: dict[str, Any], name: str) -> Any:
    """What torch's functions make of a layer of ours, on tensors (N, C, L)."""
    torch = twin.import_torch()
    functional = torch.nn.functional
    match layer:
        case Sequential():
            for child, inner in layer.layers.items():
                x = in_torch(inner, x, leaves, f"{name}.{child}")
            return x
        case ResidualBlock():
            return x + in_torch(layer.body, x, leaves, f"{name}.body")
        case Conv1d():
            return functional.conv1d(x, leaves[f"{name}.weight"], leaves[f"{name}.bias"], padding=1)
        case ConvTranspose1d():
            return functional.conv_transpose1d(x, leaves[f"{name}.weight"], leaves[f"{name}.bias"], padding=1)
        case ELU():
            return functional.elu(x)
        case HardSigmoid():
            return (0.2 * x + 0.5).clamp(0, 1)
        case Fold1d():
            return torch.cat([x[:, :, i :: layer.size] for i in range(layer.size)], dim=1)
        case Unfold1d():
            return torch.stack(x.chunk(layer.size, dim=1), dim=3).flatten(2)
    raise AssertionError(layer)


@pytest.mark.parametrize("tied", [False, True])
def test_torch_gives_the_same_numbers_and_gradients(tied: bool) -> None:
    torch = twin.import_torch()
    net = FoldedAutoencoder((3, 4), rng=np.random.default_rng(0), tied=tied, dtype=np.float64)
    for name, leaf in named_leaves(net.parameters):
        leaf += 0.1 * np.random.default_rng(len(name)).standard_normal(leaf.shape) * name.endswith("bias")
    x = speech_like(32)
    trace, cache = net.forward(x)
    loss, dy = mse(trace.reconstruction, x)
    dx, grads = net.backward(Trace(dy, [], []), cache)

    flat = FlatParameters(net.parameters)
    leaves = {name: torch.from_numpy(array.copy()).requires_grad_() for name, array in to_torch(net.parameters).items()}
    for i in range(2 if tied else 0):  # one tensor, two uses
        leaves[f"decoder.{1 - i}.convolution.weight"] = leaves[f"encoder.{i}.convolution.weight"]
    theirs = twin.signal(x)
    whole = Sequential(encoder=net.encoder, decoder=net.decoder)
    y = in_torch(whole, theirs, {f".{name}": leaf for name, leaf in leaves.items()}, "")
    torch.nn.functional.mse_loss(y, twin.signal(x).detach()).backward()
    np.testing.assert_allclose(trace.reconstruction, twin.array(y), rtol=0, atol=1e-12)
    ours = flat.flatten(grads)
    slopes = np.concatenate([leaves[name].grad.numpy().T.ravel() for name in flat.views])
    np.testing.assert_allclose(ours, slopes, rtol=0, atol=1e-12)
    assert loss > 0
    # the loss compares with x too, which the twin's target does not move with
    np.testing.assert_allclose(dx, twin.array(theirs.grad), rtol=0, atol=1e-12)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("output", ["hard_sigmoid", "linear"])
@pytest.mark.parametrize("channels", [CHANNELS, (4, 6, 8), (3, 8)])
def test_it_starts_near_its_own_inverse(channels: tuple[int, ...], output: str, tied: bool) -> None:
    """But for the ELUs: for a signal that is close enough to 0.5 they are lines, and nothing is lost."""
    net = FoldedAutoencoder(
        channels, rng=np.random.default_rng(2), isometric=True, residual_gain=0, output=output, tied=tied,
        dtype=np.float64,
    )  # fmt: skip
    x = 0.5 + 1e-5 * (speech_like(128) - 0.5)
    y = net.forward(x)[0].reconstruction
    assert ((y - x) ** 2).mean() < 1e-6 * x.var()


def test_a_start_by_chance_is_no_inverse() -> None:
    """So the test before can fail."""
    net = FoldedAutoencoder(rng=np.random.default_rng(2), residual_gain=0, dtype=np.float64)
    x = 0.5 + 1e-5 * (speech_like(128) - 0.5)
    assert ((net.forward(x)[0].reconstruction - x) ** 2).mean() > x.var()


def test_folds_lose_nothing() -> None:
    """With filters that copy, the untrained network rebuilds any clip: its 2000 x 64 numbers are twice the samples."""
    net = FoldedAutoencoder(rng=np.random.default_rng(0), residual_gain=0, output="linear")
    live = [0]  # channels that hold samples
    for down, up in zip(net.encoder.convolutions, net.decoder.convolutions, strict=True):
        width = down.in_channels // 2
        live = [i * width + c for i in range(2) for c in live]
        for layer in (down, up):
            layer.parameters["weight"][...] = 0
            layer.parameters["bias"][...] = 0
            layer.parameters["weight"][1, live, range(len(live))] = 1
        live = list(range(len(live)))
    x = speech_like(64_000, np.float32)
    np.testing.assert_array_equal(net.forward(x)[0].reconstruction, x)


def test_a_clip_that_cannot_be_folded_is_refused() -> None:
    net = FoldedAutoencoder((2, 3), rng=np.random.default_rng(0))
    for encode in (net.forward, net.encoder.represent):
        with pytest.raises(ShapeError, match=r"the clip length must be a multiple of 4 .* got 14\. Nearest: 12, 16"):
            encode(np.zeros((1, 14, 1), np.float32))
    with pytest.raises(ShapeError, match="FoldedDecoder: output must be hard_sigmoid or linear; got 'soft'"):
        FoldedAutoencoder(rng=np.random.default_rng(0), output="soft")


@pytest.mark.parametrize("kind", KINDS)
def test_tied_filters_are_one_parameter(kind: Any) -> None:
    apart, net = (kind((3, 4), rng=np.random.default_rng(0), tied=tied, dtype=np.float64) for tied in (False, True))
    flat = FlatParameters(net.parameters)
    shared = sum(layer.parameters["weight"].size for layer in net.encoder.convolutions)
    assert flat.vector.size == flatten(apart.parameters).size - shared
    assert not [name for name in flat.views if name.startswith("decoder") and name.endswith("convolution.weight")]
    x = speech_like(16)
    trace, cache = net.forward(x)
    loss, dy = mse(trace.reconstruction, x)
    _, grads = net.backward(Trace(dy, [], []), cache)
    slope = flat.flatten(grads)
    assert flat.flatten(grads["decoder"], "decoder").size == flat.vector.size - sum(
        view.size for name, view in flat.views.items() if name.startswith("encoder")
    )
    v = np.random.default_rng(4).standard_normal(slope.size)
    losses = []
    for distance in (1e-6, -2e-6):
        flat.vector += distance * v
        losses.append(float(mse(net.forward(x)[0].reconstruction, x)[0]))
    flat.vector += 1e-6 * v
    assert (losses[0] - losses[1]) / 2e-6 == pytest.approx(float(slope @ v), rel=1e-5)
    Adam(0.01).step(flat.vector, slope)
    for down, up in zip(net.encoder.convolutions, net.decoder.convolutions, strict=True):
        assert up.parameters["weight"] is down.parameters["weight"]
        assert (down.parameters["weight"] != up.parameters["bias"].sum()).all()  # both see the step
    assert float(mse(net.forward(x)[0].reconstruction, x)[0]) < loss


def test_shared_filters_are_checked_under_both_uses() -> None:
    rng = np.random.default_rng(0)
    report = check_gradients(tied_pair(rng), rng.standard_normal((2, 9, 3)), rng=rng)
    assert [slope.name for slope in report.slopes] == ["input", "0.weight", "0.bias", "1.bias", "all at once"]


def test_a_layer_whose_output_is_a_view_of_its_input_is_checked() -> None:
    """The checker moves x where it lies and puts it back: what it compares must not move along."""
    rng = np.random.default_rng(0)
    for layer, shape in ((Fold1d(2), (2, 6, 3)), (Unfold1d(3), (2, 4, 6))):
        x = rng.standard_normal(shape)
        assert np.shares_memory(layer.forward(x)[0], x)
        assert check_gradients(layer, x, rng=rng).ok


def test_a_network_of_ones_own_with_a_shared_filter_learns() -> None:
    """What FlatParameters once did without a word: two copies, one of which nobody used."""
    net = tied_pair(np.random.default_rng(0))
    flat = FlatParameters(net.parameters)
    assert list(flat.views) == ["0.weight", "0.bias", "1.bias"]
    flat.vector[...] = 0
    assert not net.forward(np.ones((1, 5, 3)))[0].any()


def test_weights_of_a_shared_filter_come_under_one_name_or_under_all() -> None:
    ones, others = tied_pair(np.random.default_rng(0)), tied_pair(np.random.default_rng(1))
    arrays = to_torch(ones.parameters)
    assert set(arrays) == {"0.weight", "0.bias", "1.weight", "1.bias"}  # as torch's state_dict has it
    np.testing.assert_array_equal(arrays["0.weight"], arrays["1.weight"])
    from_torch(others.parameters, arrays)
    np.testing.assert_array_equal(flatten(others.parameters), flatten(ones.parameters))
    views = FlatParameters(tied_pair(np.random.default_rng(2)).parameters).views
    load_parameters(others.parameters, views)
    np.testing.assert_array_equal(others.layers["1"].parameters["weight"], views["0.weight"])
    arrays["1.weight"] = arrays["1.weight"] + 1
    before = flatten(others.parameters)
    with pytest.raises(ShapeError, match=r"1\.weight must equal 0\.weight, which is the same parameter"):
        from_torch(others.parameters, arrays)
    np.testing.assert_array_equal(flatten(others.parameters), before)
