"""The network in other programs: ONNX Runtime and torch.nn give the same numbers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from inference.export import ExportError, export_onnx, export_torch
from models.autoencoder import CHANNELS, Autoencoder
from models.folded import FoldedAutoencoder
from nn1d import Conv1d, MaxPool1d, named_leaves
from tests import twin

ABOUT = {"phase": "pretrained", "sample_rate_hz": 16_000}
SIZES = [(CHANNELS, 3), ((3, 4), 5)]


def network(channels: tuple[int, ...] = (3, 4), kernel_size: int = 3, output: str = "hard_sigmoid") -> Autoencoder:
    """With biases that are not 0, so that none can be forgotten."""
    rng = np.random.default_rng(5)
    net = Autoencoder(channels, kernel_size, rng=rng, output=output)
    for _, leaf in named_leaves(net.parameters):
        if leaf.ndim == 1:
            leaf += rng.uniform(-0.3, 0.3, leaf.shape)
    return net


def clips(samples: int) -> np.ndarray:
    """Two clips, one of them half silent."""
    x = np.random.default_rng(4).uniform(0, 1, (2, samples, 1)).astype(np.float32)
    x[1, samples // 2 :] = 0.5
    return x


def run_onnx(path: Path, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    runtime: Any = pytest.importorskip("onnxruntime", reason="needs pip install -e '.[test]'")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_inputs()] == list(inputs)
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def named_masks(masks: list[np.ndarray]) -> dict[str, np.ndarray]:
    return {f"mask_{i}": mask for i, mask in enumerate(masks)}


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("part", ["both", "encoder", "decoder"])
def test_onnx_runtime_gives_our_numbers_with_folds(tmp_path: Path, part: str, tied: bool) -> None:
    net, path = FoldedAutoencoder((3, 4), rng=np.random.default_rng(5), tied=tied), tmp_path / "model.onnx"
    for _, leaf in named_leaves(net.parameters):
        leaf += (leaf.ndim == 1) * np.random.default_rng(6).uniform(-0.3, 0.3, leaf.shape).astype(np.float32)
    export_onnx(net, path, ABOUT, part, masks=False)
    for samples in (64, 1024):
        x = clips(samples)
        z = net.encoder.represent(x)
        whole = {"representation": z, "reconstruction": net.decoder.forward(z)[0]}
        outputs = run_onnx(path, **({"representation": z} if part == "decoder" else {"clips": x}))
        assert set(outputs) == {"both": set(whole), "encoder": {"representation"}, "decoder": {"reconstruction"}}[part]
        for name, values in outputs.items():
            np.testing.assert_allclose(values, whole[name], rtol=0, atol=1e-5)
    onnx: Any = pytest.importorskip("onnx", reason="needs pip install -e '.[test]'")
    stored = [constant.name for constant in onnx.load(path).graph.initializer]
    assert len(stored) == len(set(stored))
    if tied and part == "both":  # a filter is stored once
        assert not [name for name in stored if name.startswith("decoder") and name.endswith(".convolution.weight")]


def test_folds_have_no_masks_to_export(tmp_path: Path) -> None:
    net = FoldedAutoencoder((3, 4), rng=np.random.default_rng(5))
    with pytest.raises(ExportError, match="a network with folds has no masks"):
        export_onnx(net, tmp_path / "model.onnx", ABOUT)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("masks", [True, False])
@pytest.mark.parametrize("output", ["hard_sigmoid", "linear"])
@pytest.mark.parametrize(("channels", "kernel_size"), SIZES)
def test_onnx_runtime_gives_our_numbers(
    tmp_path: Path, channels: tuple[int, ...], kernel_size: int, output: str, masks: bool
) -> None:
    net, path = network(channels, kernel_size, output), tmp_path / "model.onnx"
    for samples in (64, 1024):  # one graph for clips of any length
        x = clips(samples)
        encoding = net.encoder.forward(x)[0]
        (y, _), _ = net.decoder.forward(encoding.representation, encoding.masks if masks else None)
        assert y.std() > 0.01

        export_onnx(net, path, ABOUT, "encoder", masks)
        outputs = run_onnx(path, clips=x)
        assert list(outputs) == ["representation", *(named_masks(encoding.masks) if masks else [])]
        np.testing.assert_allclose(outputs["representation"], encoding.representation, rtol=1e-5, atol=1e-5)
        if masks:
            for i, (mask, h) in enumerate(zip(encoding.masks, encoding.encoded, strict=True)):
                windows = h.reshape(2, samples >> i + 1, 2, -1)
                clear = abs(windows[:, :, 0] - windows[:, :, 1]) > 1e-5  # elsewhere rounding may decide
                assert clear.mean() > 0.4
                assert outputs[f"mask_{i}"].dtype == bool
                other = (outputs[f"mask_{i}"] != mask).reshape(windows.shape).any(axis=2)
                assert not other[clear].any()

        export_onnx(net, path, ABOUT, "decoder", masks)
        inputs = named_masks(encoding.masks) if masks else {}
        outputs = run_onnx(path, representation=encoding.representation, **inputs)
        np.testing.assert_allclose(outputs["reconstruction"], y, rtol=0, atol=1e-5)

        export_onnx(net, path, ABOUT, "both", masks)
        outputs = run_onnx(path, clips=x)
        assert list(outputs) == ["reconstruction", "representation"]
        sure = slice(0, 1) if masks else slice(None)  # where it is silent rounding decides over the masks
        np.testing.assert_allclose(outputs["reconstruction"][sure], y[sure], rtol=0, atol=1e-5)
        np.testing.assert_allclose(outputs["representation"], encoding.representation, rtol=1e-5, atol=1e-5)


LENGTHS = (1, 16, 33, 34, 36, 63, 96, 1000)


@pytest.mark.parametrize("masks", [True, False, None])
def test_a_graph_refuses_a_clip_that_cannot_be_halved(tmp_path: Path, masks: bool | None) -> None:
    """None: a network with folds. A max pool of ONNX leaves the last sample of an odd length out."""
    runtime: Any = pytest.importorskip("onnxruntime", reason="needs pip install -e '.[test]'")
    channels, rng = (2, 3, 3, 2, 4), np.random.default_rng(5)
    net: Any = network(channels) if masks is not None else FoldedAutoencoder(channels, rng=rng)
    for part in ("both", "encoder"):
        export_onnx(net, tmp_path / "model.onnx", ABOUT, part, bool(masks))
        session = runtime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
        for samples in LENGTHS:
            if samples % 32 == 0:
                z = session.run(["representation"], {"clips": clips(samples)})[0]
                np.testing.assert_allclose(z, net.encoder.represent(clips(samples)), atol=1e-5)
            else:
                with pytest.raises(Exception, match=r"Reshape node.*cannot be reshaped"):
                    session.run(None, {"clips": clips(samples)})


def test_the_decoder_of_the_graph_refuses_masks_of_another_length(tmp_path: Path) -> None:
    runtime: Any = pytest.importorskip("onnxruntime", reason="needs pip install -e '.[test]'")
    net, path = network(), tmp_path / "model.onnx"
    export_onnx(net, path, ABOUT, "decoder", True)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    masks = named_masks(net.encoder.forward(clips(64))[0].masks)
    for z in (np.zeros((2, 1, 4)), np.zeros((2, 15, 4)), np.zeros((1, 16, 4))):  # ONNX repeats along an axis of 1
        with pytest.raises(Exception, match=r"Reshape node.*cannot be reshaped"):
            session.run(None, {"representation": z.astype(np.float32)} | masks)


def test_of_equal_samples_the_first_is_the_maximum(tmp_path: Path) -> None:
    net, path = network(), tmp_path / "model.onnx"
    for _, leaf in named_leaves(net.parameters):
        leaf *= leaf.ndim == 1  # only biases are left: every sample of a stage is the same
    export_onnx(net, path, ABOUT, "encoder")
    outputs = run_onnx(path, clips=clips(64))
    for i, mask in enumerate(net.encoder.forward(clips(64))[0].masks):
        assert mask[:, ::2].all()
        np.testing.assert_array_equal(outputs[f"mask_{i}"], mask)


def test_the_decoder_of_the_graph_obeys_its_masks(tmp_path: Path) -> None:
    net, path = network(), tmp_path / "model.onnx"
    export_onnx(net, path, ABOUT, "decoder", True)
    encoding = net.encoder.forward(clips(64))[0]
    flipped = [~mask for mask in encoding.masks]
    (y, _), _ = net.decoder.forward(encoding.representation, flipped)
    reconstruction = run_onnx(path, representation=encoding.representation, **named_masks(flipped))["reconstruction"]
    np.testing.assert_allclose(reconstruction, y, rtol=0, atol=1e-5)
    (unflipped, _), _ = net.decoder.forward(encoding.representation, encoding.masks)
    assert abs(y - unflipped).max() > 1e-3


def test_a_dilated_convolution_keeps_its_dilation(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="needs pip install -e '.[onnx]'")
    net, path, x = network(), tmp_path / "model.onnx", clips(64)[:1]
    net.encoder.stages[0].layers["convolution"] = Conv1d(1, 3, 3, 1, 2, 2, rng=np.random.default_rng(5))
    export_onnx(net, path, ABOUT, "encoder")
    outputs = run_onnx(path, clips=x)
    np.testing.assert_allclose(outputs["representation"], net.encoder.forward(x)[0].representation, atol=1e-5)


def test_the_graph_says_where_it_comes_from_and_holds_no_weight_that_it_does_not_use(tmp_path: Path) -> None:
    onnx: Any = pytest.importorskip("onnx", reason="needs pip install -e '.[onnx]'")
    for part, halves in (("both", {"encoder", "decoder"}), ("encoder", {"encoder"}), ("decoder", {"decoder"})):
        export_onnx(network(), tmp_path / "model.onnx", ABOUT, part)
        model = onnx.load(tmp_path / "model.onnx")
        assert {entry.key: entry.value for entry in model.metadata_props} == {
            "phase": "pretrained",
            "sample_rate_hz": "16000",
        }
        names = [constant.name for constant in model.graph.initializer]
        assert {name.split(".")[0] for name in names if "." in name} == halves
        assert sum(name.endswith((".weight", ".bias")) for name in names) == 12 * len(halves)


def test_without_the_package_onnx_there_is_a_sentence_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ExportError, match=r"needs the package onnx\. pip install 'nn1d\[onnx\]'"):
        export_onnx(network(), tmp_path / "model.onnx", ABOUT)
    with pytest.raises(ExportError, match="part must be one of both, encoder, decoder; got 'half'"):
        export_onnx(network(), tmp_path / "model.onnx", ABOUT, "half")
    assert not list(tmp_path.iterdir())


def test_a_layer_without_an_operation_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="needs pip install -e '.[onnx]'")
    net = network()
    net.encoder.stages[0].layers["pool"] = MaxPool1d(2)
    with pytest.raises(ExportError, match=r"no ONNX operation is known for MaxPool1d\(2\)"):
        export_onnx(net, tmp_path / "model.onnx", ABOUT)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("output", ["hard_sigmoid", "linear"])
@pytest.mark.parametrize(("channels", "kernel_size"), SIZES)
def test_a_torch_twin_takes_the_weights_and_gives_our_numbers(
    tmp_path: Path, channels: tuple[int, ...], kernel_size: int, output: str
) -> None:
    torch = twin.import_torch()
    from safetensors.torch import load_file as load_tensors

    net, path = network(channels, kernel_size, output), tmp_path / "weights.safetensors"
    export_torch(net, path, ABOUT)
    other = twin.build(channels, kernel_size, output, np.float32)
    other.load_state_dict(load_tensors(path), strict=True)
    x = clips(128)[:1]  # where it is silent rounding decides over the masks
    encoding = net.encoder.forward(x)[0]
    with torch.no_grad():
        z, places, _ = other.encode(twin.signal(x))
        np.testing.assert_allclose(twin.array(z), encoding.representation, rtol=1e-5, atol=1e-5)
        for masks, indices in ((encoding.masks, places), (None, None)):
            (y, _), _ = net.decoder.forward(encoding.representation, masks)
            np.testing.assert_allclose(twin.array(other.decode(z, indices)[0]), y, rtol=0, atol=1e-5)


def test_the_torch_file_has_the_names_and_layout_of_torch(tmp_path: Path) -> None:
    net = network((3, 4), 5)
    export_torch(net, tmp_path / "w.safetensors", ABOUT)
    tensors = load_file(tmp_path / "w.safetensors")
    assert len(tensors) == 24
    ours = net.encoder.stages[1].layers["convolution"].parameters["weight"]
    assert tensors["encoder.1.convolution.weight"].shape == (4, 3, 5)  # (O, C, K)
    assert tensors["encoder.1.convolution.weight"][3, 2, 1] == ours[1, 2, 3]
    assert tensors["decoder.0.convolution.weight"].shape == (4, 3, 5)  # (C, O, K)
    assert tensors["decoder.0.convolution.weight"][3, 2, 1] == net.decoder.stages[0].layers["convolution"].parameters[
        "weight"][1, 2, 3]  # fmt: skip
