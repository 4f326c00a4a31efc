"""What a run leaves for its reader: metrics.csv, results.json, figures, sounds and the page as a file."""

from __future__ import annotations

import json
import math
import re
import shutil
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from inference.model import load_run
from report.listening import page_files
from report.page import number
from report.table import mask_table
from speech.distortion import MEASURES
from tests.command import QUICK, ROOT, SMALL, compare, make_recordings, outcome, rows, say_gpu, start, train
from training.ownership import MARKER
from training.run_files import RunError
from training.run_folder import RunFolder

pytestmark = pytest.mark.commands

PHASES = ("pre_training", "fine_tuning")


def report(*options: str | Path, expect: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "report", *map(str, options)], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == expect, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def page_data(page: str) -> dict[str, Any]:
    """What the page's script reads."""
    return dict(json.loads(page.split('<script type="application/json" id="data">')[1].split("</script>")[0]))


def numbers(metrics: Sequence[dict[str, str]], phase: str, measure: str) -> np.ndarray:
    return np.array([float(row[measure]) for row in metrics if row["phase"] == phase])


def test_numbers_of_a_thousand_and_more_are_written_out() -> None:
    """As the table of all clips has them: an F0 error of 1070 cent, not of 1.07e+03."""
    shown = [number(value) for value in (1074.3, 12345.0, 24.96, 0.004661, -0.0112, 0.0, math.nan, None)]
    assert shown == ["1070", "12300", "25", "0.00466", "-0.0112", "0", "-", "-"]
    assert number(9.96, "dB") == "9.96 dB"


def test_metrics_have_a_row_for_every_test_clip_and_phase(listened: Path) -> None:
    metrics, clips = rows(listened / "metrics.csv"), rows(listened / "clips.csv")
    test = [clip for clip in clips if clip["part"] == "test"]
    assert len(test) == 7
    assert [(row["name"], row["phase"]) for row in metrics] == [(clip["name"], p) for clip in test for p in PHASES]
    assert all(row["label"] == clip["label"] for row, clip in zip(metrics[::2], test, strict=True))
    assert [name for name in metrics[0] if name in MEASURES] == list(MEASURES)
    for row in metrics:
        assert float(row["worst_1_noise_to_signal_db"]) >= float(row["worst_2_noise_to_signal_db"])
        assert 0 < float(row["worst_1_end_s"]) - float(row["worst_1_start_s"]) < 0.3
        assert -60 < float(row["pause_noise_db"]) < 20


def test_metrics_are_of_the_sounds_that_can_be_heard(listened: Path) -> None:
    """SNR worked out from the WAV files, which are the original and what was rebuilt, at one level."""
    metrics = {(row["name"], row["phase"]): row for row in rows(listened / "metrics.csv")}
    originals = sorted((listened / "audio").glob("*.original.wav"))
    assert len(originals) == 6
    for path in originals:
        stem = path.name.removesuffix(".original.wav")
        x, rate_hz = soundfile.read(path)
        name = next(name for name, _ in metrics if stem.endswith(re.sub(r"[^A-Za-z0-9_-]+", "-", name)))
        assert rate_hz == 16_000
        with wave.open(str(path)) as file:
            assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        for phase in PHASES:
            y, _ = soundfile.read(listened / "audio" / f"{stem}.{phase}.wav")
            assert len(y) == len(x)
            snr_db = 10 * math.log10((x**2).sum() / ((x - y) ** 2).sum())
            assert float(metrics[name, phase]["snr_db"]) == pytest.approx(snr_db, abs=0.02)


def test_the_rebuilt_sounds_are_those_of_each_phase(listened: Path) -> None:
    """The 16 bits of the original are enough for the network to make nearly the same of it again."""
    x, rate_hz = soundfile.read(min((listened / "audio").glob("*.original.wav")), dtype="float32")
    heard = {phase: soundfile.read(*(listened / "audio").glob(f"01-*.{phase}.wav"))[0] for phase in PHASES}
    for phase, weights in zip(PHASES, ("pretrained", "finetuned"), strict=True):
        expected = load_run(listened, weights).reconstruct(x, rate_hz)
        off = {name: ((y - expected) ** 2).sum() / (expected**2).sum() for name, y in heard.items()}
        assert off[phase] < 0.02
        assert min(off, key=lambda name: off[name]) == phase


def test_results_have_means_of_the_rows_with_intervals_around_them(listened: Path) -> None:
    metrics, results = rows(listened / "metrics.csv"), json.loads((listened / "results.json").read_text())
    for phase in PHASES:
        assert list(results["distortion"][phase]) == list(MEASURES)
        for measure, figures in results["distortion"][phase].items():
            values = numbers(metrics, phase, measure)
            finite = values[np.isfinite(values)]
            assert figures["clips"] == len(finite)
            assert figures["undefined"] == np.isnan(values).sum()
            if not len(finite):
                assert figures["mean"] is None
                continue
            assert figures["mean"] == pytest.approx(finite.mean(), rel=1e-4)
            assert figures["median"] == pytest.approx(np.median(values[~np.isnan(values)]), rel=1e-4)
            assert finite.min() <= figures["low"] <= figures["mean"] <= figures["high"] <= finite.max()
    assert results["distortion"]["pre_training"]["si_sdr_db"]["clips"] == 7


def test_the_page_is_one_file_that_asks_for_no_other(listened: Path) -> None:
    page = (listened / "report.html").read_text("utf-8")
    assert len(page.encode()) < 15_000_000
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:|#)""", page)
    assert "default-src 'none'" in page
    assert "--db demo" in page
    data = page_data(page)
    assert len(data["chosen"]) == 6
    assert [clip["name"] for clip in data["clips"]] == [row["name"] for row in rows(listened / "metrics.csv")[::2]]
    assert all(len(clip["sounds"]) == 3 for clip in data["clips"])
    assert len(data["sounds"]) == 35 - 7
    masks = mask_table(json.loads((listened / "results.json").read_text())["masks"])
    assert masks.notes[0] in page and len(masks.notes) == 1
    assert all(cell in page for _, cells in masks.rows for cell in cells)


def test_figures_are_there_as_svg_and_png(listened: Path) -> None:
    names = {path.stem for path in (listened / "figures").glob("*.svg")}
    assert names == {path.stem for path in (listened / "figures").glob("*.png")}
    assert {"loss-pre_training", "loss-fine_tuning", "map-label", "map-speaker", "distribution-si_sdr_db"} <= names
    kinds = [name.rsplit("-", 1)[1] for name in names if name[:2].isdigit()]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"waveform": 6, "spectrogram": 6, "representation": 6}
    for path in (listened / "figures").glob("*.png"):
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_page_can_be_made_again_to_the_same_bytes(listened: Path, tmp_path: Path) -> None:
    """Files of an older page go, those of the user stay, also where their kind and their folder are the page's."""
    run = tmp_path / "run"
    shutil.copytree(listened, run)
    older, others = "figures/09-of-an-older-page.svg", ("figures/mine.txt", "figures/mine.svg", "audio/song.wav")
    for name in (older, *others):
        (run / name).write_text("precious")
    record = json.loads((run / MARKER).read_text())
    (run / MARKER).write_text(json.dumps(record | {"files": [*record["files"], older]}))
    for name in ("report.html", "metrics.csv", "features.npy"):  # the last is large, so people remove it
        (run / name).unlink()
    assert "report.html" in report(run).stdout
    assert (run / "report.html").read_text() == (listened / "report.html").read_text()
    assert (run / "features.npy").read_bytes() == (listened / "features.npy").read_bytes()
    assert {name: (run / name).read_text() for name in others} == dict.fromkeys(others, "precious")
    again = {path.name for path in (run / "figures").iterdir()}
    assert again == {path.name for path in (listened / "figures").iterdir()} | {"mine.txt", "mine.svg"}
    for path in (listened / "figures").iterdir():
        assert (run / "figures" / path.name).read_bytes() == path.read_bytes()


def test_no_sound_is_removed_behind_a_link(listened: Path, tmp_path: Path) -> None:
    run, music = tmp_path / "run", tmp_path / "music"
    shutil.copytree(listened, run)
    shutil.move(run / "audio", music)
    (run / "audio").symlink_to(music)
    before = {path.name: path.read_bytes() for path in music.iterdir()}
    done = report(run, expect=2)
    assert done.stderr.startswith(
        f"report: run: {run / 'audio'} is a link, and a run writes and removes nothing behind"
    )
    assert {path.name: path.read_bytes() for path in music.iterdir()} == before


@pytest.mark.parametrize("content", [None, "", "phase,epoch\n", "phase,epoch,train_loss\npre_training,one,2\n", "\0"])
def test_a_history_that_is_gone_or_altered_has_a_cure(listened: Path, tmp_path: Path, content: str | None) -> None:
    run = RunFolder(tmp_path)
    if content is not None:
        (tmp_path / "history.csv").write_text(content)
    with pytest.raises(RunError, match=r"history\.csv is not there, or not what train\.py wrote\. Go on with the run"):
        run.read_history()
    run.release()
    assert len(RunFolder.open(shutil.copytree(listened, tmp_path / "run")).read_history()) == 4


def test_a_run_without_a_page_gets_it_later_also_one_of_a_gpu(tmp_path: Path) -> None:
    """Clips of a quarter of a second in two folders: too short for most measures, and none of it a crash."""
    data, run = make_recordings(tmp_path / "data"), tmp_path / "run"
    train(*SMALL, "--db", "folder", "--data-dir", data, "--out", run)
    say_gpu(run)
    assert not (run / "report.html").exists()
    assert "distortion" not in json.loads((run / "results.json").read_text())
    data = data.rename(tmp_path / "moved")
    assert "--data-dir" in report(run, expect=2).stderr
    report(run, "--data-dir", data)
    page, metrics = (run / "report.html").read_text(), rows(run / "metrics.csv")
    assert len(metrics) == 4
    assert {row["stoi"] for row in metrics} == {"nan"}
    figures = json.loads((run / "results.json").read_text())["distortion"]["pre_training"]
    assert figures["stoi"] == {"median": None, "mean": None, "low": None, "high": None, "clips": 0, "undefined": 2,
                               "infinite": 0}  # fmt: skip
    assert figures["si_sdr_db"]["clips"] == 2
    assert len(page_data(page)["chosen"]) == 2
    assert "<title>data: what the network makes of speech</title>" in page  # as the folder was called in training
    assert "STOI is left out: it is undefined for every test clip (less than 0.4 s of speech" in page


def test_silence_and_names_like_markup_are_shown_as_they_are(tmp_path: Path) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    rng = np.random.default_rng(0)
    for i in range(10):
        inside = data / ("$x_1$ <b>&" if i % 2 else "静か")
        inside.mkdir(parents=True, exist_ok=True)
        loud = 1e-4 if i < 5 else 0.3  # as good as silent
        soundfile.write(inside / f"it's {i}.wav", loud * rng.standard_normal(8000), 16_000)
    train(*QUICK, "--clip-samples", "8000", "--db", "folder", "--data-dir", data, "--out", run)
    page = (run / "report.html").read_text("utf-8")
    assert "<b>&" not in page
    assert "$x_1$ &lt;b&gt;&amp;" in page
    assert {clip["label"] for clip in page_data(page)["clips"]} <= {"$x_1$ <b>&", "静か"}
    assert "静か" in page


def test_a_run_stopped_while_its_page_is_made_goes_on_with_it(tmp_path: Path) -> None:
    run, short = tmp_path / "run", (*QUICK, "--limit", "8", "--clip-samples", "16000")
    with start(*short, "--out", run) as process:
        while not (run / "results.json").exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=120)
    assert process.returncode == 143, output + errors
    assert "--resume" in output
    assert not (run / "report.html").exists()
    train("--resume", run)
    assert (run / "report.html").exists()
    train(*short, "--out", tmp_path / "straight")
    compare(run, outcome(tmp_path / "straight"))


def test_what_is_no_run_or_has_not_ended(listened: Path, tmp_path: Path) -> None:
    assert "holds no run" in report(tmp_path, expect=2).stderr
    run = tmp_path / "run"
    shutil.copytree(listened, run)
    (run / "results.json").write_text("{}")
    before = (run / "report.html").read_bytes()
    assert "is not what train.py wrote" in report(run, expect=2).stderr
    (run / "results.json").unlink()
    assert "has not come to its end" in report(run, expect=2).stderr
    assert (run / "report.html").read_bytes() == before


def test_a_dry_run_is_told_of_every_file_of_the_page_and_no_more_bytes_than_it_takes(listened: Path) -> None:
    clips = rows(listened / "clips.csv")
    settings = json.loads((listened / "config.json").read_text())["settings"]
    sizes = page_files(sum(row["part"] == "test" for row in clips), settings["clip_samples"])
    by_name = {name.split(" ")[0]: size for name, size in sizes.items()}
    assert by_name.keys() == {"report.html", "metrics.csv", "audio/", "figures/"}
    for name, size in by_name.items():
        path = listened / name
        there = sum(file.stat().st_size for file in (path.iterdir() if path.is_dir() else [path]))
        assert there > 0 and (size is None or there <= size), name
