"""The paper's network: its sizes, its shapes, and the same numbers as its twin in torch.nn."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from models.autoencoder import CHANNELS, Autoencoder, Decoder, Encoder, Trace
from models.objective import objective
from nn1d import (
    Adam,
    FlatParameters,
    GradientError,
    ShapeError,
    check_gradients,
    flatten,
    from_torch,
    mse,
    named_leaves,
)
from tests import twin

OUTPUTS = ["hard_sigmoid", "linear"]


def network(output: str = "hard_sigmoid", dtype: Any = np.float64, channels: tuple[int, ...] = CHANNELS) -> Autoencoder:
    return Autoencoder(channels, rng=np.random.default_rng(3), output=output, dtype=dtype)


def clips(*shape: int, dtype: Any = np.float64) -> np.ndarray:
    return np.random.default_rng(4).uniform(0, 1, shape).astype(dtype)


def test_thirty_convolutions_and_79209_parameters() -> None:
    leaves = dict(named_leaves(network().parameters))
    assert sum(name.endswith(".weight") for name in leaves) == 30
    assert sum(name.endswith(".bias") for name in leaves) == 30
    assert sum(leaf.size for leaf in leaves.values()) == 79_209
    stages = [f"{half}.{i}" for half in ("encoder", "decoder") for i in range(5)]
    parts = [
        f"{part}.{p}" for part in ("convolution", "residual.body.1", "residual.body.3") for p in ("weight", "bias")
    ]
    assert list(leaves) == [f"{stage}.{part}" for stage in stages for part in parts]


def test_every_stage_of_a_four_second_clip() -> None:
    net = network(dtype=np.float32)
    encoding, _ = net.encoder.forward(clips(1, 64_000, 1, dtype=np.float32))
    lengths = [64_000, 32_000, 16_000, 8_000, 4_000]
    shapes = [(1, length, channels) for length, channels in zip(lengths, (16, 16, 32, 32, 64), strict=True)]
    assert [h.shape for h in encoding.encoded] == shapes
    assert [mask.shape for mask in encoding.masks] == shapes
    assert encoding.representation.shape == (1, 2_000, 64)
    (y, decoded), _ = net.decoder.forward(encoding.representation, encoding.masks)
    assert [h.shape for h in decoded] == shapes
    assert y.shape == (1, 64_000, 1)
    assert y.dtype == encoding.representation.dtype == np.float32
    assert y.min() >= 0
    assert y.max() <= 1


@pytest.mark.parametrize(
    ("channels", "kernel_size", "length"), [((4,), 1, 6), ((3, 5), 5, 20), ((2, 2, 3, 2, 2, 2), 3, 128)]
)
def test_other_sizes(channels: tuple[int, ...], kernel_size: int, length: int) -> None:
    net = Autoencoder(channels, kernel_size, rng=np.random.default_rng(0), dtype=np.float64)
    x = clips(2, length, 1)
    trace, _ = net.forward(x)
    assert trace.reconstruction.shape == x.shape
    assert len(trace.encoded) == len(trace.decoded) == len(channels)
    for encoded, decoded, width in zip(trace.encoded, trace.decoded, channels, strict=True):
        assert encoded.shape == decoded.shape
        assert encoded.shape[2] == width
    weights = [leaf.shape[0] for name, leaf in named_leaves(net.parameters) if name.endswith("weight")]
    assert weights == [kernel_size] * (6 * len(channels))
    check_gradients(net, x, rng=np.random.default_rng(0))


def test_the_trace_holds_what_enters_each_pool_and_what_leaves_each_unpool() -> None:
    net = network(channels=(2, 3))
    x = clips(2, 8, 1)
    trace, _ = net.forward(x)
    encoding, _ = net.encoder.forward(x)
    for i, mask in enumerate(encoding.masks):
        np.testing.assert_array_equal(trace.encoded[i], encoding.encoded[i])
        assert not trace.decoded[i][~mask].any()
        assert trace.decoded[i][mask].all()
    pooled = trace.encoded[-1].reshape(2, 2, 2, 3).max(2)
    np.testing.assert_array_equal(encoding.representation, pooled)
    np.testing.assert_array_equal(trace.decoded[-1][encoding.masks[-1]], trace.encoded[-1][encoding.masks[-1]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_representation_alone_is_that_of_forward(dtype: Any) -> None:
    net = network(dtype=dtype)
    x = clips(3, 96, 1, dtype=dtype)
    alone = net.encoder.represent(x)
    assert alone.dtype == dtype
    np.testing.assert_array_equal(alone, net.encoder.forward(x)[0].representation)


def test_a_trace_without_its_middle_gives_the_same_gradients() -> None:
    net = network(dtype=np.float32)
    x = clips(2, 96, 1, dtype=np.float32)
    whole, whole_cache = net.forward(x)
    short, short_cache = net.forward(x, middle=False)
    assert len(whole.encoded) == len(whole.decoded) == 5
    assert short.encoded == short.decoded == []
    np.testing.assert_array_equal(short.reconstruction, whole.reconstruction)
    dy = np.random.default_rng(0).standard_normal(x.shape).astype(np.float32)
    dx, grads = net.backward(Trace(dy, [], []), short_cache)
    silent = Trace(dy, [np.zeros_like(h) for h in whole.encoded], [np.zeros_like(h) for h in whole.decoded])
    for slopes in (Trace(dy, [], []), silent):
        other_dx, other_grads = net.backward(slopes, whole_cache)
        np.testing.assert_array_equal(dx, other_dx)
        for (name, gradient), (_, other) in zip(named_leaves(grads), named_leaves(other_grads), strict=True):
            np.testing.assert_array_equal(gradient, other, err_msg=name)


@pytest.mark.parametrize("masked", [True, False])
def test_an_elu_behind_its_unpool_is_the_same(masked: bool) -> None:
    net = network()
    encoding, _ = net.encoder.forward(clips(2, 64, 1))
    masks = encoding.masks if masked else None
    d_decoded = [np.random.default_rng(5).standard_normal(h.shape) for h in encoding.encoded]
    answers = []
    for decoder in (net.decoder, net.decoder.for_fusion()):
        (y, decoded), cache = decoder.forward(encoding.representation, masks)
        dz, grads = decoder.backward(np.cos(y), cache, d_decoded)
        answers.append([*decoded, y, dz, flatten(grads)])
        assert decoder.parameters == net.decoder.parameters
    for before, behind in zip(*answers, strict=True):
        np.testing.assert_allclose(behind, before, rtol=0, atol=1e-14 * abs(before).max())
    assert all((before == behind).all() for before, behind in zip(answers[0][:-2], answers[1][:-2], strict=True))


def test_without_masks_every_value_is_repeated() -> None:
    net = network(channels=(2, 3))
    z = np.random.default_rng(0).standard_normal((2, 3, 3))
    (_, decoded), _ = net.decoder.forward(z)
    np.testing.assert_array_equal(decoded[-1], z.repeat(2, axis=1))
    np.testing.assert_array_equal(decoded[0][:, ::2], decoded[0][:, 1::2])


def test_the_start_of_the_weights() -> None:
    def weights(**options: Any) -> dict[str, np.ndarray]:
        net = Autoencoder((2, 3), rng=np.random.default_rng(0), dtype=np.float64, **options)
        return dict(named_leaves(net.parameters))

    plain, damped, linear = weights(), weights(residual_gain=0.1), weights(output="linear")
    for name, leaf in plain.items():
        gain = 0.1 if name.endswith("body.3.weight") else 1
        np.testing.assert_allclose(damped[name], gain * leaf, rtol=1e-15)
        if name.endswith("bias"):
            assert not leaf.any()
    assert linear["decoder.1.convolution.bias"].tolist() == [0.5]
    assert sum(bool((linear[name] != plain[name]).any()) for name in plain) == 1


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 2e-5)])
def test_the_same_reconstruction_loss_and_gradients_as_torch(output: str, dtype: Any, tolerance: float) -> None:
    net, other = network(output, dtype), twin.build(CHANNELS, 3, output, dtype)
    for name, leaf in named_leaves(net.parameters):
        if name.endswith("bias"):
            leaf += 0.1 * np.random.default_rng(len(name)).standard_normal(leaf.shape)
    twin.load(other, net.parameters)
    x = clips(3, 96, 1, dtype=dtype)
    theirs = twin.signal(x)
    total, reconstruction = other.objective(theirs, middle_weight=0.3)
    total.backward()

    trace, cache = net.forward(x)
    loss, d_trace = objective(trace, x, middle_weight=0.3)
    dx, grads = net.backward(d_trace, cache)
    same: Any = {"rtol": tolerance, "atol": tolerance}
    np.testing.assert_allclose(trace.reconstruction, twin.array(reconstruction), **same)
    np.testing.assert_allclose(loss.total, total.item(), **same)
    expected, ours = twin.gradients(other), dict(named_leaves(grads))
    assert list(ours) == list(expected)
    assert len(ours) == 60
    for name, grad in ours.items():
        scale = abs(expected[name]).max()
        assert scale > 0
        np.testing.assert_allclose(grad, expected[name], rtol=tolerance, atol=tolerance * scale, err_msg=name)
    # x is the target as well, and torch counts both ways
    dx = dx - d_trace.reconstruction
    np.testing.assert_allclose(dx, twin.array(theirs.grad), rtol=tolerance, atol=tolerance * abs(dx).max())


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("masked", [False, True])
def test_the_decoder_alone_is_that_of_torch(output: str, masked: bool) -> None:
    net, other = network(output), twin.build(CHANNELS, 3, output)
    twin.load(other, net.parameters)
    x = clips(2, 64, 1)
    encoding, _ = net.encoder.forward(x)
    z_theirs, indices, _ = other.encode(twin.signal(x))
    np.testing.assert_allclose(encoding.representation, twin.array(z_theirs), rtol=1e-10, atol=1e-12)
    (y, _), cache = net.decoder.forward(encoding.representation, encoding.masks if masked else None)
    _, dy = mse(y, x)
    dz, grads = net.decoder.backward(dy, cache)
    features = z_theirs.detach().requires_grad_()
    y_theirs, _ = other.decode(features, indices if masked else None)
    twin.import_torch().nn.functional.mse_loss(y_theirs, twin.signal(x).detach()).backward()
    np.testing.assert_allclose(y, twin.array(y_theirs), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(dz, twin.array(features.grad), rtol=1e-10, atol=1e-12 * abs(dz).max())
    decoder_gradients = {
        name.removeprefix("decoder."): p.grad.numpy().transpose(2, 1, 0) if p.ndim == 3 else p.grad.numpy()
        for name, p in other.named_parameters()
        if p.grad is not None
    }
    ours = dict(named_leaves(grads))
    assert list(ours) == list(decoder_gradients)
    for name, grad in ours.items():
        np.testing.assert_allclose(grad, decoder_gradients[name], rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("output", OUTPUTS)
def test_ten_steps_of_adam_are_those_of_torch(output: str, decoupled: bool) -> None:
    torch = twin.import_torch()
    net, other = network(output), twin.build(CHANNELS, 3, output)
    twin.load(other, net.parameters)
    kind = torch.optim.AdamW if decoupled else torch.optim.Adam
    optimizer = kind(other.parameters(), lr=0.001, weight_decay=0.01)
    flat, adam = FlatParameters(net.parameters), Adam(weight_decay=0.01, decoupled=decoupled)
    start = flat.vector.copy()
    for step in range(10):
        x = np.random.default_rng(step).uniform(0, 1, (2, 64, 1))
        optimizer.zero_grad()
        total, _ = other.objective(twin.signal(x).detach())
        total.backward()
        optimizer.step()
        trace, cache = net.forward(x)
        loss, d_trace = objective(trace, x)
        np.testing.assert_allclose(loss.total, total.item(), rtol=1e-9)
        adam.step(flat.vector, flatten(net.backward(d_trace, cache)[1]))
    back = network(output)
    from_torch(back.parameters, {name: tensor.numpy() for name, tensor in other.state_dict().items()})
    np.testing.assert_allclose(flat.vector, flatten(back.parameters), rtol=0, atol=1e-9)
    assert abs(flat.vector - start).max() > 5e-3  # ten steps of 0.001


def test_weights_travel_both_ways() -> None:
    net, other = network(dtype=np.float32), twin.build(CHANNELS, 3, "hard_sigmoid", np.float32)
    from_torch(net.parameters, {name: tensor.numpy() for name, tensor in other.state_dict().items()})
    x = clips(2, 64, 1, dtype=np.float32)
    _, theirs = other.objective(twin.signal(x))
    np.testing.assert_allclose(net.forward(x)[0].reconstruction, twin.array(theirs), rtol=1e-4, atol=1e-5)


def test_one_batch_is_learnt_by_heart() -> None:
    net = Autoencoder((4, 8), rng=np.random.default_rng(0), residual_gain=0.1, output="linear", dtype=np.float64)
    flat, adam = FlatParameters(net.parameters), Adam(0.01)
    x = clips(2, 64, 1)
    losses = []
    for _ in range(300):
        trace, cache = net.forward(x)
        loss, d_trace = objective(trace, x)
        losses.append(float(loss.total))
        adam.step(flat.vector, flatten(net.backward(d_trace, cache)[1]))
    # measured with three seeds: 130 to 240 times smaller
    assert losses[-1] < losses[0] / 40


def test_one_batch_is_learnt_by_the_decoder_alone() -> None:
    net = Autoencoder((4, 8), rng=np.random.default_rng(0), residual_gain=0.1, output="linear", dtype=np.float64)
    flat, adam = FlatParameters(net.decoder.parameters), Adam(0.01)
    x = clips(2, 64, 1)[:, :32]
    z = net.encoder.forward(x)[0].representation
    losses = []
    for _ in range(500):
        (y, _), cache = net.decoder.forward(z)
        loss, dy = mse(y, x)
        losses.append(float(loss))
        adam.step(flat.vector, flatten(net.decoder.backward(dy, cache)[1]))
    # predicting the mean costs the variance; measured with three seeds: 4.8 to 1,000 times below it
    assert losses[-1] < x.var() / 2


def test_a_broken_network_is_not_learnt_past_the_checker() -> None:
    """Encoder.backward without the pool's gradient of the loss in the middle: check_gradients sees it."""

    class Deaf(Autoencoder):
        def backward(self, d_trace: Trace, cache: Any) -> Any:
            return super().backward(d_trace._replace(encoded=[]), cache)

    x = clips(2, 16, 1)
    check_gradients(
        Autoencoder((2, 3), rng=np.random.default_rng(0), dtype=np.float64), x, rng=np.random.default_rng(0)
    )
    with pytest.raises(GradientError):
        check_gradients(Deaf((2, 3), rng=np.random.default_rng(0), dtype=np.float64), x, rng=np.random.default_rng(0))


def decode_with(masks: Any, z_shape: tuple[int, ...] = (1, 4, 3)) -> None:
    decoder = Decoder((2, 3), rng=np.random.default_rng(0), dtype=np.float64)
    decoder.forward(np.zeros(z_shape), masks)


def masks_of(channels: tuple[int, ...], length: int = 16) -> list[np.ndarray]:
    return Encoder(channels, rng=np.random.default_rng(0), dtype=np.float64).forward(clips(1, length, 1))[0].masks


MESSAGES = [
    (
        lambda: network().forward(clips(1, 64_001, 1)),
        "Encoder: the clip length must be a multiple of 32 (5 pools of 2); got 64001. Nearest: 64000, 64032",
    ),
    (
        lambda: network().encoder.represent(clips(1, 33, 1)),
        "Encoder: the clip length must be a multiple of 32 (5 pools of 2); got 33. Nearest: 32, 64",
    ),
    (
        lambda: network().forward(clips(1, 31, 1)),
        "Encoder: the clip length must be a multiple of 32 (5 pools of 2); got 31. Nearest: 32",
    ),
    (
        lambda: network().forward(clips(1, 0, 1)),
        "Encoder: the clip length must be a multiple of 32 (5 pools of 2); got 0. Nearest: 32",
    ),
    (
        lambda: network().forward(clips(1, 64, 2)),
        "Conv1d(1 -> 16, k=3, p=1): x must be (N, L, 1); got (1, 64, 2)",
    ),
    (
        lambda: network().forward(clips(2, 64)),
        "Conv1d(1 -> 16, k=3, p=1): x must be (N, L, 1); got (2, 64). One clip of one channel: x[None, :, None]",
    ),
    (
        lambda: network(output="softmax"),
        "Decoder: output must be hard_sigmoid or linear; got 'softmax'",
    ),
    (
        lambda: Autoencoder((2, 3), 4, rng=np.random.default_rng(0)),
        "ResidualBlock: kernel_size must be odd, to keep the length; got 4",
    ),
    (
        lambda: decode_with(masks_of((2, 4))),
        "MaxUnpool1d(2): the mask must be (1, 8, 3) for x (1, 4, 3); got (1, 8, 4). "
        "Take the mask of the pool that has as many channels and as many samples out",
    ),
    (
        lambda: decode_with(masks_of((2, 3), 32)),
        "MaxUnpool1d(2): the mask must be (1, 8, 3) for x (1, 4, 3); got (1, 16, 3). "
        "Take the mask of the pool that has as many channels and as many samples out",
    ),
    (lambda: decode_with(masks_of((3,), 8)), "Decoder: needs the masks of 2 pools; got 1"),
    (lambda: decode_with(masks_of((2, 2, 3), 32)), "Decoder: needs the masks of 2 pools; got 3"),
    (
        lambda: decode_with(None, (1, 4, 2)),
        "ConvTranspose1d(3 -> 2, k=3, p=1): x must be (N, L, 3); got (1, 8, 2)",
    ),
]


@pytest.mark.parametrize(("mistake", "message"), MESSAGES)
def test_a_mistake_is_named(mistake: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        mistake()
