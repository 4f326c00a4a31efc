"""python -m inference as a user runs it: a process of its own, on a run that train.py made."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors.numpy import load_file

from inference.model import load_run
from nn1d import to_torch
from speech.clip import load_clips
from speech.folder import list_recordings
from speech.snr import si_sdr, snr_db
from tests.command import ROOT, SMALL, make_recordings, rows, train


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_recordings(tmp_path_factory.mktemp("recordings"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, recordings: Path) -> Path:
    path = tmp_path_factory.mktemp("runs") / "small"
    train("--db", "folder", "--data-dir", recordings, *SMALL, "--out", path)
    return path


def inference(*arguments: str | Path, expect: int = 0, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "inference", *map(str, arguments)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=300,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
    )
    assert done.returncode == expect, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_a_folder_is_encoded_with_names_and_labels(run: Path, recordings: Path, tmp_path: Path) -> None:
    done = inference("encode", run, recordings, "-o", tmp_path / "f.npz")
    assert "12 recordings, 6.0 s of sound" in done.stdout
    model = load_run(run)
    with np.load(tmp_path / "f.npz") as found:
        assert found["names"].tolist() == sorted(f"{('calm', 'loud')[i % 2]}/take{i}" for i in range(12))
        assert found["labels"].tolist() == ["calm"] * 6 + ["loud"] * 6
        assert set(found["speakers"].tolist()) == {""}
        assert found["frames_per_second"] == 4000  # two pools of 2
        for name in found["names"]:
            expected = load_run(run, "pretrained").encode(*soundfile.read(recordings / f"{name}.wav"))
            np.testing.assert_array_equal(found[f"clip/{name}"], expected)
    assert expected.shape == (2000, 4)
    # the first half-window of a recording is the first half of its row in the run's own features.npy
    features = {row["name"]: i for i, row in enumerate(rows(run / "clips.csv"))}
    first = np.load(run / "features.npy")[features[name]]
    np.testing.assert_allclose(first[:900], expected[:900], atol=1e-6)
    assert model.frames_per_second == 4000


def test_a_corpus_is_encoded_with_its_speakers(run: Path, tmp_path: Path) -> None:
    inference("encode", run, "--db", "demo", "--limit", "5", "-o", tmp_path / "f.csv")
    found = rows(tmp_path / "f.csv")
    assert len(found) == 5
    assert all(row["speaker"] and row["label"] for row in found)
    assert len(found[0]) == 4 + 3 * 4


def test_bad_files_get_a_sentence_each_and_the_others_are_encoded(run: Path, recordings: Path, tmp_path: Path) -> None:
    bad, empty, good = tmp_path / "bad.wav", tmp_path / "empty.wav", recordings / "calm/take0.wav"
    bad.write_bytes(b"no sound" * 10)
    empty.touch()
    files = (bad, good, tmp_path / "none.wav", empty, good)
    done = inference("encode", run, *files, "-o", tmp_path / "f.npz", expect=2)
    assert done.stderr.splitlines() == [
        f"inference: {bad}: not an audio file that libsndfile reads",
        f"inference: {tmp_path / 'none.wav'}: unreadable: there is no such file",
        f"inference: {empty}: empty: the file has 0 bytes",
    ]
    with np.load(tmp_path / "f.npz") as found:
        assert found["names"].tolist() == [str(good.with_suffix(""))]  # given twice, encoded once
    done = inference("encode", run, bad, "-o", tmp_path / "g.npz", expect=2)
    assert done.stderr.splitlines()[-1] == "inference: encode: nothing to write: none of 1 recordings can be used"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.wav", "empty.wav", "f.npz"]


@pytest.mark.parametrize("phase", [None, "pretrained", "finetuned"])
def test_a_recording_is_rebuilt_at_its_rate_duration_and_level(run: Path, tmp_path: Path, phase: str | None) -> None:
    noise = np.convolve(np.random.default_rng(1).standard_normal(50_001), np.hanning(200), "same")
    noise *= 0.01 / abs(noise).max()
    soundfile.write(tmp_path / "clip.wav", np.stack([noise, noise], axis=1), 44_100, "PCM_24")
    options = ("--phase", phase) if phase else ()
    inference("reconstruct", run, tmp_path / "clip.wav", "-o", tmp_path / "rebuilt.wav", *options)
    about = soundfile.info(tmp_path / "rebuilt.wav")
    assert (about.samplerate, about.frames, about.channels, about.subtype) == (44_100, 50_001, 1, "PCM_24")
    rebuilt, _ = soundfile.read(tmp_path / "rebuilt.wav")
    expected = load_run(run, phase).reconstruct(soundfile.read(tmp_path / "clip.wav")[0], 44_100)
    np.testing.assert_allclose(rebuilt, expected, atol=2**-22)
    assert abs(rebuilt).max() <= 0.0101
    inference("reconstruct", run, tmp_path / "clip.wav", "-o", tmp_path / "rebuilt.flac", *options)
    assert soundfile.info(tmp_path / "rebuilt.flac").format == "FLAC"


def test_a_model_is_judged_on_a_corpus(run: Path, recordings: Path, tmp_path: Path) -> None:
    options = ("--db", "folder", "--data-dir", recordings)
    done = inference("evaluate", run, *options, "-o", tmp_path / "e.json")
    assert "10 of these clips are of the run's own training" in done.stdout
    results = json.loads((tmp_path / "e.json").read_text())
    clips, _ = load_clips(list_recordings(recordings)[0], 4000)
    assert results["clips"] == 12
    for phase, weights, masks in (("pre_training", "pretrained", "own"), ("fine_tuning", "finetuned", "none")):
        net = load_run(run, weights).network
        errors, ratios = [], []
        for i in range(12):
            encoding = net.encoder.forward(clips.samples[i][None, :, None])[0]
            (y, _), _ = net.decoder.forward(encoding.representation, encoding.masks if masks == "own" else None)
            errors.append(float(((y[0, :, 0] - clips.samples[i]) ** 2).mean()))
            ratios.append(si_sdr(clips.samples[i], y[0, :, 0]))
        assert results[phase]["masks"] == masks
        assert results[phase]["test_mse"] == pytest.approx(np.mean(errors), rel=1e-4)
        assert results[phase]["test_si_sdr_db"] == pytest.approx(np.mean(ratios), abs=1e-2)
        assert f"SNR {snr_db(float(np.mean(errors)), results['variance']):5.1f} dB" in done.stdout
    assert results["variance"] == pytest.approx(clips.samples.var(axis=1).mean(), rel=1e-4)
    assert "own training" not in inference("evaluate", run, "--db", "demo", "--limit", "3").stdout
    shutil.copytree(run, tmp_path / "other")
    config = json.loads((run / "config.json").read_text())
    (tmp_path / "other/config.json").write_text(json.dumps({**config, "split": {"train": ["else"]}}))
    assert "own training" not in inference("evaluate", tmp_path / "other", *options, "--limit", "2").stdout


def test_weights_and_graph_are_exported(run: Path, tmp_path: Path) -> None:
    inference("export", run, "-o", tmp_path / "w.safetensors", "--layout", "torch", "--phase", "pretrained")
    found, expected = load_file(tmp_path / "w.safetensors"), to_torch(load_run(run, "pretrained").network.parameters)
    assert list(found) == sorted(expected)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    onnx = pytest.importorskip("onnx", reason="needs pip install -e '.[onnx]'")
    for options, inputs, has_masks in (
        ((), ["clips"], False),
        (("--phase", "pretrained"), ["clips"], True),
        (("--phase", "pretrained", "--part", "decoder"), ["representation", "mask_0", "mask_1"], True),
        (("--phase", "pretrained", "--part", "decoder", "--no-masks"), ["representation"], False),
    ):
        inference("export", run, "-o", tmp_path / "model.onnx", *options)
        model = onnx.load(tmp_path / "model.onnx")
        about = {entry.key: entry.value for entry in model.metadata_props}
        assert [value.name for value in model.graph.input] == inputs
        assert about["masks"] == str(has_masks)
        assert about["phase"] == ("pretrained" if options else "finetuned")
        assert about["run"] == "small"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("encode", "RUN", "-o", "f.npz"), "needs audio files or folders, or --db"),
        (("encode", "RUN", "a.wav", "--db", "demo", "-o", "f.npz"), "give one of the two"),
        (("encode", "RUN", "a.wav", "-o", "f.txt"), "f.txt: the name must end with .csv or .npz"),
        (("encode", "RUN", "a.wav", "-o", "no/f.npz"), "no/f.npz: there is no folder no"),
        (("encode", ".", "a.wav", "-o", "f.npz"), "run: . holds no run (no config.json)"),
        (("encode", "RUN", "empty", "-o", "f.npz"), "empty: no audio files in this folder"),
        (("encode", "RUN", "--db", "folder", "-o", "f.npz"), "folder: needs a directory of audio files"),
        (("reconstruct", "RUN", "a.wav", "-o", "a.wav"), "a.wav: would overwrite what is read"),
        (("reconstruct", "RUN", "a.wav", "-o", "link.wav"), "link.wav: would overwrite what is read"),
        (("reconstruct", "RUN", "text.wav", "-o", "b.wav"), "text.wav: not an audio file that libsndfile reads"),
        (("reconstruct", "RUN", "a.wav", "-o", "b.txt"), "b.txt: the name must end with .aiff or"),
        (("reconstruct", "RUN", "a.wav", "-o", "b.wav/"), "b.wav: is a folder"),
        (("evaluate", "RUN"), "evaluate: needs a corpus: --db demo | emodb"),
        (("evaluate", "RUN", "--db", "demo", "-o", "RUN/config.json"), "config.json: would overwrite what is read"),
        (("export", "RUN", "-o", "w.safetensors"), "w.safetensors: the name must end with .onnx"),
        (("export", "RUN", "-o", "w.safetensors", "--layout", "torch", "--no-masks"), "--layout torch has all weights"),
        (
            ("export", "RUN", "-o", "RUN/checkpoints/pretrained.safetensors", "--layout", "torch"),
            "pretrained.safetensors: would overwrite what is read",
        ),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_written(
    run: Path, recordings: Path, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    shutil.copy(recordings / "calm/take0.wav", tmp_path / "a.wav")
    (tmp_path / "link.wav").symlink_to(tmp_path / "a.wav")
    (tmp_path / "text.wav").write_text("hello")
    (tmp_path / "empty").mkdir()
    (tmp_path / "b.wav").mkdir() if "b.wav/" in arguments else None
    before = {path: path.stat().st_mtime_ns for path in [*tmp_path.rglob("*"), *run.rglob("*")]}
    done = inference(*(word.replace("RUN", str(run)) for word in arguments), expect=2, cwd=tmp_path)
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("inference: ")
    assert {path: path.stat().st_mtime_ns for path in [*tmp_path.rglob("*"), *run.rglob("*")]} == before


def test_an_unknown_option_and_a_bad_number_end_with_2(run: Path) -> None:
    refused = inference("export", run, "-o", "x.onnx", "--phase", "both", expect=2)
    assert refused.stderr == "inference: --phase must be one of pretrained, finetuned; got 'both'\n"
    refused = inference("encode", run, "a", "-o", "x.npz", "--threads", "0", expect=2)
    assert refused.stderr == "inference: --threads: must be an integer of at least 1; got '0'\n"
    for command in ("encode", "reconstruct", "evaluate", "export"):
        assert command in inference("--help").stdout


def test_the_five_lines_of_the_readme(run: Path, recordings: Path, tmp_path: Path) -> None:
    section = (ROOT / "README.md").read_text("utf-8").split("## Take the representation away")[1]
    code = section.split("```python\n")[1].split("```")[0]
    place = code.split('load_run("')[1].split('"')[0]
    shutil.copy(recordings / "loud/take1.wav", tmp_path / "clip.wav")
    shutil.copytree(run, tmp_path / place)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, env=environment)
    assert soundfile.info(tmp_path / "clip.rebuilt.wav").frames == 8000
