"""Checkpoints: whole, of this network, and harmless; whatever else is refused in one sentence."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from nn1d import mse
from training.anomaly import NonFiniteLayer, detect_anomaly
from training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint

rng = np.random.default_rng(0)
ARRAYS = {
    name: rng.standard_normal(shape).astype(np.float32) for name, shape in {"a.w": (3, 2, 4), "a.b": (4,)}.items()
}
SHAPES = {name: array.shape for name, array in ARRAYS.items()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "c.safetensors", ARRAYS, {"epoch": 3, "best": -math.inf})
    return tmp_path / "c.safetensors"


def test_what_is_saved_comes_back(path: Path) -> None:
    arrays, about = load_checkpoint(path, SHAPES)
    assert about == {"epoch": 3, "best": -math.inf}
    assert list(arrays) == list(ARRAYS)
    assert all(np.array_equal(arrays[name], ARRAYS[name]) for name in ARRAYS)


def test_a_strided_view_comes_back(tmp_path: Path) -> None:
    view = np.arange(24, dtype=np.float32).reshape(4, 6)[:, ::2].T
    save_checkpoint(tmp_path / "v.safetensors", {"v": view}, {})
    assert np.array_equal(load_checkpoint(tmp_path / "v.safetensors", {"v": (3, 4)})[0]["v"], view)


def test_every_name_that_does_not_fit_is_listed(path: Path) -> None:
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path, {"a.w": (3, 2, 5), "b.w": (1,), "b.b": (2,)})
    assert str(error.value) == (
        f"{path}: does not fit the network: missing b.w; missing b.b; unexpected a.b; "
        "a.w must be F32 (3, 2, 5), got F32 (3, 2, 4)"
    )


def test_other_numbers_than_float32_are_refused(tmp_path: Path, path: Path) -> None:
    save_checkpoint(path, {"a.w": ARRAYS["a.w"].astype(np.float64), "a.b": ARRAYS["a.b"]}, {})
    with pytest.raises(CheckpointError, match=r"a\.w must be F32 \(3, 2, 4\), got F64 \(3, 2, 4\)"):
        load_checkpoint(path, SHAPES)


def test_a_newer_format_is_refused(path: Path) -> None:
    save_file(ARRAYS, path, {"nn1d": json.dumps({"format": 2, "sha256": ""})})
    with pytest.raises(CheckpointError, match=r"needs format 1; got 2\. Read it with the nn1d that wrote it"):
        load_checkpoint(path, SHAPES)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {},
        {"nn1d": "{"},
        {"nn1d": "3"},
        {"nn1d": "[]"},
        {"nn1d": '{"format": "x"}'},
        {"nn1d": '{"format": Infinity, "sha256": ""}'},
    ],
)
def test_a_stranger_s_file_is_refused(path: Path, metadata: dict[str, str] | None) -> None:
    save_file(ARRAYS, path, metadata)
    with pytest.raises(CheckpointError, match="not a checkpoint of nn1d"):
        load_checkpoint(path, SHAPES)


def test_a_missing_file_and_a_folder(path: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for ever
    for name, reason in (("none", "not a whole safetensors file"), (".", "not a file"), ("pipe", "not a file")):
        with pytest.raises(CheckpointError, match=reason):
            load_checkpoint(tmp_path / name, SHAPES)


def test_an_altered_number_or_word_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    number = bytearray(whole)
    number[-3] ^= 1
    word = whole.replace(b'\\"epoch\\": 3', b'\\"epoch\\": 4')
    assert word != whole
    for altered in (bytes(number), word):
        path.write_bytes(altered)
        with pytest.raises(CheckpointError, match="altered since it was written"):
            load_checkpoint(path, SHAPES)


def test_a_file_is_refused_wherever_it_is_cut(path: Path) -> None:
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(CheckpointError):
            load_checkpoint(path, SHAPES)


@settings(max_examples=200)
@given(data=st.data())
def test_a_file_with_a_changed_byte_is_refused_or_the_same(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated.safetensors"
    save_checkpoint(path, ARRAYS, {"epoch": 3})
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        arrays, about = load_checkpoint(path, SHAPES)
    except CheckpointError:
        return
    assert about == {"epoch": 3} and all(np.array_equal(arrays[name], ARRAYS[name]) for name in ARRAYS)


def test_the_first_layer_that_is_not_finite_is_named() -> None:
    from models.autoencoder import Autoencoder

    network = Autoencoder((3, 4), rng=np.random.default_rng(0))
    x = np.random.default_rng(1).uniform(0, 1, (1, 16, 1)).astype(np.float32)
    trace, cache = network.forward(x)
    _, dy = mse(trace.reconstruction, x)
    before = vars(network.encoder.stages[0]).copy()
    with detect_anomaly(network):
        network.forward(x)  # all is well
    network.parameters["decoder"]["1"]["residual"]["body"]["1"]["bias"][0] = np.inf
    with (
        detect_anomaly(network),
        pytest.raises(NonFiniteLayer, match=r"^the output of decoder\.1\.residual\.body\.1 \(ConvTranspose1d"),
    ):
        network.forward(x)
    network.parameters["decoder"]["1"]["residual"]["body"]["1"]["bias"][0] = 0
    with (
        detect_anomaly(network),
        pytest.raises(NonFiniteLayer, match=r"^the gradient of decoder\.output|^the gradient of decoder\.1\."),
    ):
        network.backward(trace._replace(reconstruction=dy * np.float32(np.nan), encoded=[], decoded=[]), cache)
    assert vars(network.encoder.stages[0]) == before
    assert "forward" not in vars(network.decoder.stages[1].layers["convolution"])
