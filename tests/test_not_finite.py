"""A run whose weights are infinite, or so large that what comes out is: one sentence by every command, and 2."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

import inference.__main__ as inference
import report.__main__ as report
from inference.arguments import read_arguments
from speech.checks import NotFiniteError
from training.checkpoint import CheckpointError, save_checkpoint


@pytest.fixture
def spoilt(listened: Path, tmp_path: Path) -> Callable[[float], Path]:
    def copy(value: float) -> Path:
        run = tmp_path / "run"
        shutil.copytree(listened, run)
        for name in ("pretrained", "finetuned"):
            path = run / "checkpoints" / f"{name}.safetensors"
            with safe_open(path, "numpy") as file:
                arrays = {key: file.get_tensor(key) for key in list(file.keys())}
                about = json.loads(file.metadata()["nn1d"])
            del about["format"], about["sha256"]
            for key in arrays:
                if key.endswith("weight"):
                    arrays[key] = np.resize(np.array([value, -value], np.float32), arrays[key].shape)
            save_checkpoint(path, arrays, about)
        return run

    return copy


def commands(run: Path, wav: Path, folder: Path) -> dict[str, Callable[[], object]]:
    words = {
        "encode": ["encode", str(run), str(wav), "-o", str(folder / "f.npz")],
        "reconstruct": ["reconstruct", str(run), str(wav), "-o", str(folder / "r.wav")],
        "evaluate": ["evaluate", str(run), "--db", "demo", "--limit", "2"],
        "export": ["export", str(run), "-o", str(folder / "n.onnx")],
    }
    called: dict[str, Callable[[], object]] = {
        name: lambda arguments=arguments: inference.main(read_arguments(arguments))  # type: ignore[misc]
        for name, arguments in words.items()
    }
    return called | {"report": lambda: report.main(argparse.Namespace(run=run, others=[], out=None, data_dir=None))}


def test_infinite_weights_are_refused_by_every_command(spoilt: Callable[[float], Path], tmp_path: Path) -> None:
    run = spoilt(np.inf)
    wav = next(run.glob("audio/*.original.wav"))
    for name, command in commands(run, wav, tmp_path).items():
        with pytest.raises(CheckpointError, match=r"pre|fine.*: holds numbers that are NaN or infinite, in \w+\."):
            command()
        assert not list(tmp_path.glob("*.npz")) + list(tmp_path.glob("*.onnx")), name


def test_weights_that_overflow_are_a_sentence(
    spoilt: Callable[[float], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = spoilt(1e30)
    wav = next(run.glob("audio/*.original.wav"))
    called = commands(run, wav, tmp_path)
    with pytest.raises(inference.CommandError, match=r"^encode: nothing to write: none of 1 recordings can be used"):
        called["encode"]()
    assert "its representation holds NaN or infinity" in capsys.readouterr().err
    with pytest.raises(inference.CommandError, match="what is rebuilt holds NaN or infinity"):
        called["reconstruct"]()
    for name in ("evaluate", "report"):
        with pytest.raises(NotFiniteError, match="samples of rebuilt are NaN or infinite"):
            called[name]()
    assert not list(tmp_path.glob("*.*z*")) + list(tmp_path.glob("*.wav"))
