"""A run that version 0.1 wrote, kept in tests/version_0_1, is still resumed, shown and used.

Its recordings are half a tenth of a second of noise. `stopped.safetensors` is the state of its first phase in the
middle of the second epoch, saved at a signal.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.command import ROOT, rows, train

pytestmark = pytest.mark.commands

KEPT = Path(__file__).with_name("version_0_1")
PHASES = (("pre_training", "own"), ("fine_tuning", "none"))
WEIGHTS = ("checkpoints/pretrained.safetensors", "checkpoints/finetuned.safetensors")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(KEPT / "run", tmp_path / "run"))


@pytest.fixture
def where(tmp_path: Path) -> tuple[str | Path, ...]:
    return ("--data-dir", KEPT / "recordings", "--cache-dir", tmp_path / "cache")


def without_seconds(history: list[dict[str, str]]) -> list[list[object]]:
    return [[row["phase"], int(row["epoch"]), *map(float, list(row.values())[2:6])] for row in history]


def alike(run: Path, kept: Path = KEPT / "run") -> None:
    """Another processor may round otherwise."""
    for row, kept_row in zip(
        without_seconds(rows(run / "history.csv")), without_seconds(rows(kept / "history.csv")), strict=True
    ):
        assert row[:2] == kept_row[:2]
        assert row[2:] == pytest.approx(kept_row[2:], rel=1e-4)
    for name in WEIGHTS:
        for key, array in load_file(kept / name).items():
            np.testing.assert_allclose(load_file(run / name)[key], array, rtol=1e-3, atol=1e-5, err_msg=key)


def test_an_ended_run_is_shown_again(run: Path, where: tuple[str | Path, ...]) -> None:
    before = {name: (run / name).read_bytes() for name in (*WEIGHTS, "clips.csv", "history.csv")}
    kept = json.loads((run / "results.json").read_text())
    done = train("--resume", run, *where)
    assert before == {name: (run / name).read_bytes() for name in before}
    features = np.load(KEPT / "run" / "features.npy")  # without the checksum that such a file ends with today
    np.testing.assert_allclose(np.load(run / "features.npy"), features, rtol=1e-3, atol=1e-5)
    results = json.loads((run / "results.json").read_text())
    for phase, kind in PHASES:
        assert results["masks"][phase][kind]["test_mse"] == pytest.approx(
            kept["masks"][phase][kind]["test_mse"], rel=1e-4
        )
        assert f"{results['masks'][phase][kind]['test_mse']:.6f}" in done.stdout
    assert "finding" not in results["masks"]
    for name in ("pre_training", "fine_tuning", "clips", "test_variance"):
        assert results[name] == kept[name]


def test_a_stopped_run_goes_on_from_the_middle_of_an_epoch(run: Path, where: tuple[str | Path, ...]) -> None:
    for name in ("results.json", "features.npy", "clips.csv", *WEIGHTS, "history.csv"):
        (run / name).unlink()
    (run / "checkpoints" / "fine_tuning.state.safetensors").unlink()
    shutil.copy(KEPT / "stopped.safetensors", run / "checkpoints" / "pre_training.state.safetensors")
    done = train("--resume", run, *where)
    assert "pre_training 1:" not in done.stdout and "pre_training 2:" in done.stdout
    alike(run)


def test_an_ended_run_is_extended(run: Path, where: tuple[str | Path, ...]) -> None:
    train("--resume", run, *where, "--fine-tune-epochs", "3")
    assert [(row["phase"], row["epoch"]) for row in rows(run / "history.csv")][2:] == [
        ("fine_tuning", "1"), ("fine_tuning", "2"), ("fine_tuning", "3"),
    ]  # fmt: skip


def test_its_page_is_made_and_its_model_evaluated(run: Path, tmp_path: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    config["settings"]["cache_dir"] = str(tmp_path / "cache")
    (run / "config.json").write_text(json.dumps(config))
    masks = json.loads((run / "results.json").read_text())["masks"]
    recordings = KEPT / "recordings"
    for command in (
        ("report", run, "--data-dir", recordings),
        ("inference", "evaluate", run, "--db", "folder", "--data-dir", recordings, "-o", tmp_path / "figures.json"),
    ):
        arguments = [sys.executable, "-m", *map(str, command)]
        done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
    page = (run / "report.html").read_text("utf-8")
    assert all(f"{masks[phase][kind]['test_mse']:.6f}" in page for phase, kind in PHASES)
    assert json.loads((run / "results.json").read_text())["masks"]["summary"] == masks["finding"]
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert {figures[phase]["masks"] for phase in ("pre_training", "fine_tuning")} == {"own", "none"}
