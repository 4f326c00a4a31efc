from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.calibration import LOW_PASS_HZ, NOISE_DB, PLACE, low_passed, noisy, table
from speech.distortion import MEASURES
from tests.command import ROOT


def test_the_noise_has_the_level_that_it_is_called_by() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(4000) * np.linspace(0, 1, 4000)
    for db in (0.0, 17.0):
        noise = noisy(x, db, rng) - x
        assert np.isclose(10 * np.log10((x @ x) / (noise @ noise)), db)


def test_the_filter_takes_what_is_above_and_delays_nothing() -> None:
    t = np.arange(16_000) / 16_000
    low, high = np.sin(2 * np.pi * 500 * t), np.sin(2 * np.pi * 3000 * t)
    inside = slice(1000, -1000)
    np.testing.assert_allclose(low_passed(low + high, 1000, 16_000)[inside], low[inside], atol=1e-3)


def test_the_command_writes_numbers_and_figure_and_prints_the_table(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.calibration", "--limit", "2", "--out", str(tmp_path)]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    measured = json.loads((tmp_path / "distortion-calibration.json").read_text())
    assert table(measured) in printed
    assert "<svg" in (tmp_path / "distortion-calibration.svg").read_text()
    for db in NOISE_DB:
        assert abs(measured[f"noise {db} dB"]["snr_db"] - db) < 0.01
        assert abs(measured[f"noise {db} dB"]["si_sdr_db"] - db) < 0.5
    for name, about in MEASURES.items():
        worse, better = measured["noise 0 dB"][name], measured["noise 40 dB"][name]
        if worse is not None:
            assert (better > worse) == (about.better == "higher"), name
    assert measured["low-pass 1000 Hz"]["stoi"] < measured["low-pass 4000 Hz"]["stoi"]
    assert len(measured) == len(NOISE_DB) + len(LOW_PASS_HZ)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.calibration", "--limit", "1", "--out", str(tmp_path / "none")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "cannot be written" in done.stderr


def test_the_docs_show_the_numbers_beside_the_figure() -> None:
    measured = json.loads((PLACE / "distortion-calibration.json").read_text())
    assert table(measured) in (ROOT / "docs" / "distortion.md").read_text("utf-8")
