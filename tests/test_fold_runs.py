"""Runs of train.py --pooling fold: to the end, from the middle, and in use."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from inference.model import load_run
from tests.command import SMALL, make_recordings, outcome, start, train
from tests.test_inference_command import inference

pytestmark = pytest.mark.commands


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    folder = tmp_path_factory.mktemp("corpus")
    make_recordings(folder / "recordings")
    corpus = ("--db", "folder", "--data-dir", f"{folder}/recordings", "--cache-dir", f"{folder}/cache")
    return (*corpus, *map(str, SMALL), "--pooling", "fold")


@pytest.fixture(scope="module")
def run(options: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "run"
    train(*options, "--tied", "--out", path)
    return path


def test_it_ends_without_masks_and_says_so(run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    assert list(results["masks"]) == ["summary"]
    assert "from the representation alone: 512 kbit/s of float32 numbers, and no masks" in results["masks"]["summary"]
    assert 0 <= results["fine_tuning"]["test_on_bound"] <= 1
    names = set(load_file(run / "checkpoints/finetuned.safetensors"))
    assert "encoder.1.convolution.weight" in names
    assert "decoder.0.convolution.weight" not in names  # tied: once


def test_a_stopped_run_goes_on_to_the_same_end(options: tuple[str, ...], run: Path, tmp_path: Path) -> None:
    stopped = tmp_path / "run"
    with start(*options, "--tied", "--checkpoint-every", "0", "--out", stopped) as process:
        deadline = time.monotonic() + 60
        while not (stopped / "checkpoints/pre_training.state.safetensors").exists():
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode in (0, 143)
    train("--resume", stopped)
    assert outcome(stopped) == outcome(run)


def test_it_is_used_like_any_other(run: Path, options: tuple[str, ...], tmp_path: Path) -> None:
    model = load_run(run)
    recording = next(Path(options[3]).glob("*/*.wav"))
    z = model.encode(np.zeros(8000, np.float32), 16_000)
    assert z.shape == (2000, 4)
    inference("reconstruct", run, recording, "-o", tmp_path / "again.wav")
    done = inference("evaluate", run, "--db", "folder", "--data-dir", options[3], "-o", tmp_path / "figures.json")
    figures = json.loads((tmp_path / "figures.json").read_text())
    for phase in ("pre_training", "fine_tuning"):
        assert (figures[phase]["masks"], figures[phase]["mask_bits_per_second"]) == ("none", 0)
    assert "masks: none" in done.stdout
    inference("export", run, "-o", tmp_path / "model.onnx")
    refused = inference("export", run, "-o", tmp_path / "masks.onnx", "--masks", expect=2)
    assert "--masks needs a network with max pools; the run has folds, which have none" in refused.stderr
    assert not (tmp_path / "masks.onnx").exists()


def test_the_listening_page_shows_it(options: tuple[str, ...], tmp_path: Path) -> None:
    shown = [option for option in options if option != "--no-report"]
    train(*shown, "--out", tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text()
    assert "no masks" in page
    assert "those of another clip" not in page
