"""python -m inference as a user runs it: a process of its own, on a run that train.py made."""

from __future__ import annotations

import json
import os
import shutil
import signal
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
from tests.command import ROOT, SMALL, make_recordings, rows, say_gpu, train

pytestmark = pytest.mark.commands


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
    with np.load(tmp_path / "f.npz") as encodings:
        assert encodings["names"].tolist() == sorted(f"{('calm', 'loud')[i % 2]}/take{i}" for i in range(12))
        assert encodings["labels"].tolist() == ["calm"] * 6 + ["loud"] * 6
        assert set(encodings["speakers"].tolist()) == {""}
        assert encodings["frames_per_second"] == 4000  # two pools of 2
        for name in encodings["names"]:
            expected = load_run(run, "pretrained").encode(*soundfile.read(recordings / f"{name}.wav"))
            np.testing.assert_array_equal(encodings[f"clip/{name}"], expected)
    assert expected.shape == (2000, 4)
    # the first half-window of a recording is the first half of its row in the run's own features.npy
    features = {row["name"]: i for i, row in enumerate(rows(run / "clips.csv"))}
    first = np.load(run / "features.npy")[features[name]]
    np.testing.assert_allclose(first[:900], expected[:900], atol=1e-6)
    assert model.frames_per_second == 4000


def test_a_corpus_is_encoded_with_its_speakers(run: Path, tmp_path: Path) -> None:
    inference("encode", run, "--db", "demo", "--limit", "5", "-o", tmp_path / "f.csv")
    table = rows(tmp_path / "f.csv")
    assert len(table) == 5
    assert all(row["speaker"] and row["label"] for row in table)
    assert len(table[0]) == 4 + 3 * 4


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
    with np.load(tmp_path / "f.npz") as encodings:
        assert encodings["names"].tolist() == [str(good.with_suffix(""))]  # given twice, encoded once
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


MINUTES = """
import resource, runpy
try:
    runpy.run_module("inference", run_name="__main__", alter_sys=True)
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
SMALL_DISK = """
import resource, runpy, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
runpy.run_module("inference", run_name="__main__", alter_sys=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kB on Linux only")
def test_a_long_recording_needs_no_more_memory_than_a_short_one(run: Path, tmp_path: Path) -> None:
    second = np.random.default_rng(3).uniform(-0.5, 0.5, (48_000, 2)).astype(np.float32)
    peaks = []
    for minutes in (1, 6):
        path = tmp_path / f"{minutes}.wav"
        with soundfile.SoundFile(path, "w", 48_000, 2, "PCM_16") as file:
            for _ in range(60 * minutes):
                file.write(second)
        arguments = ("encode", run, path, "-o", tmp_path / "f.npz")
        done = subprocess.run(
            [sys.executable, "-c", MINUTES, *map(str, arguments)], capture_output=True, text=True, cwd=ROOT, check=True
        )
        peaks.append(int(done.stdout.splitlines()[-1]))
        assert f"{60 * minutes}.0 s of sound" in done.stdout
    assert peaks[1] - peaks[0] < 25, peaks  # MiB; 5 minutes are 55 at this rate, 18 at 16 kHz, and their frames 18
    with np.load(tmp_path / "f.npz") as encodings:
        assert encodings["clip/6"].shape == (6 * 60 * 4000, 4)


@pytest.mark.parametrize(("source", "target"), [("a.mp3", "b.wav"), ("a.wav", "b.opus"), ("a.ogg", "b.aif")])
def test_any_kind_of_recording_is_rebuilt_into_any_kind(
    run: Path, recordings: Path, tmp_path: Path, source: str, target: str
) -> None:
    sound, rate_hz = soundfile.read(recordings / "calm/take0.wav")
    soundfile.write(tmp_path / source, sound, rate_hz, **({"subtype": "MS_ADPCM"} if source == "a.wav" else {}))
    inference("reconstruct", run, tmp_path / source, "-o", tmp_path / target)
    about = soundfile.info(tmp_path / target)
    assert (about.samplerate, about.frames) == (rate_hz, soundfile.info(tmp_path / source).frames)
    assert (about.subtype == "OPUS") == (target == "b.opus")
    assert sorted(path.name for path in tmp_path.iterdir()) == [source, target]


def test_a_rate_that_a_format_does_not_hold_is_one_sentence(run: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(5).uniform(-0.1, 0.1, 5000), 44_100)
    done = inference("reconstruct", run, tmp_path / "a.wav", "-o", tmp_path / "b.opus", expect=2)
    held = "8000, 12000, 16000, 24000, 48000"
    assert done.stderr == (
        f"inference: {tmp_path / 'b.opus'}: .opus cannot hold 44100 Hz, but {held} Hz. Try .wav or .flac\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="needs a system that limits the size of files")
def test_a_full_disk_is_one_sentence(run: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(5).uniform(-0.1, 0.1, 100_000), 16_000)
    for name in ("b.wav", "b.ogg"):
        arguments = ("reconstruct", run, tmp_path / "a.wav", "-o", tmp_path / name)
        command = [sys.executable, "-c", SMALL_DISK, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        assert (
            done.returncode == 2 and done.stderr == f"inference: {tmp_path / name} cannot be written: File too large\n"
        )
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_names_that_are_not_utf_8_or_hold_control_characters(run: Path, recordings: Path, tmp_path: Path) -> None:
    sound = (recordings / "calm/take0.wav").read_bytes()
    folder = tmp_path / "names"
    folder.mkdir()
    names = [b"x_\xfc.wav", b"\x1b[31mred.wav", b"new\nline.wav"]
    try:
        for i, name in enumerate(names):
            (folder / os.fsdecode(name)).write_bytes(sound[: -2 * i or None])
        (folder / os.fsdecode(b"bad\n\xff.wav")).write_bytes(b"no sound")
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    done = inference("encode", run, folder, "-o", tmp_path / "f.npz", expect=2)
    assert done.stderr == f"inference: {folder}/bad\\n\\udcff.wav: not an audio file that libsndfile reads\n"
    with np.load(tmp_path / "f.npz") as encodings:
        assert encodings["names"].tolist() == ["\\x1b[31mred", "new\\nline", "x_\\udcfc"]
    for name in names:
        rebuilt = tmp_path / os.fsdecode(name)
        done = inference("reconstruct", run, folder / os.fsdecode(name), "-o", rebuilt)
        assert rebuilt.is_file() and done.stdout.count("\n") == 1 and "\x1b" not in done.stdout


def test_audio_of_other_kinds_is_named(run: Path, recordings: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    shutil.copytree(recordings / "calm", folder)
    (folder / "b").mkdir()
    (folder / "b" / "x.m4a").write_bytes(b"\0\0\0 ftypM4A ")
    cure = "libsndfile does not read .m4a. Convert it, for example with: ffmpeg -i FILE FILE.wav"
    done = inference("encode", run, folder, "-o", tmp_path / "f.npz", expect=2)
    assert done.stderr == f"inference: {folder}/b/x.m4a: {cure}\n"
    done = inference("encode", run, folder / "b", "-o", tmp_path / "g.npz", expect=2)
    assert done.stderr == (
        f"inference: {folder}/b: no audio files in this folder that can be read; 1 cannot be used: "
        f"{folder}/b/x.m4a: {cure}\n"
    )


def test_the_folder_at_hand_is_a_folder_of_recordings_or_a_run(run: Path, recordings: Path, tmp_path: Path) -> None:
    inference("encode", run, ".", "-o", tmp_path / "f.npz", cwd=recordings)
    inference("encode", ".", recordings, "-o", tmp_path / "g.npz", cwd=run)
    assert np.load(tmp_path / "f.npz").files == np.load(tmp_path / "g.npz").files
    corpus = ("--db", "folder", "--data-dir", recordings)
    done = inference("evaluate", ".", *corpus, "-o", tmp_path / "e.json", cwd=run)
    assert f", by {run.name}\n" in done.stdout and json.loads((tmp_path / "e.json").read_text())["run"] == run.name


def test_both_decoders_are_measured_on_a_corpus(run: Path, recordings: Path, tmp_path: Path) -> None:
    options = ("--db", "folder", "--data-dir", recordings)
    done = inference("evaluate", run, *options, "-o", tmp_path / "e.json")
    assert "10 of these 12 clips are of the run's own training" in done.stdout
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


@pytest.mark.parametrize(
    ("missing", "phase", "masks"), [("pretrained", "fine_tuning", "none"), ("finetuned", "pre_training", "own")]
)
def test_a_decoder_is_called_by_what_it_is_also_where_it_is_alone_and_of_a_gpu(
    run: Path, recordings: Path, tmp_path: Path, missing: str, phase: str, masks: str
) -> None:
    options = ("--db", "folder", "--data-dir", recordings, "--limit", "2")
    shutil.copytree(run, other := tmp_path / "other")
    config = json.loads((run / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "contents": {"train": ["else"]}}))
    say_gpu(other)
    whole = inference("evaluate", other, *options).stdout
    assert "own training" not in whole
    (other / f"checkpoints/{missing}.safetensors").unlink()
    lines = inference("evaluate", other, *options, "-o", tmp_path / "e.json").stdout.splitlines()
    assert lines[-1] in whole.splitlines()
    assert [line.split()[0] for line in lines if "masks:" in line] == [phase]
    results = json.loads((tmp_path / "e.json").read_text())
    assert {"pre_training", "fine_tuning"} & set(results) == {phase}
    assert results[phase]["masks"] == masks


def test_training_clips_are_recognised_wherever_they_lie(run: Path, recordings: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for i, path in enumerate(sorted(recordings.rglob("*.wav"))):
        soundfile.write(elsewhere / f"{i}.flac", *soundfile.read(path))
    done = inference("evaluate", run, "--db", "folder", "--data-dir", elsewhere, "--cache-dir", tmp_path / "cache")
    assert "10 of these 12 clips are of the run's own training" in done.stdout
    assert f"prepared in {tmp_path / 'cache' / 'clips'}" in done.stdout
    shutil.copytree(run, tmp_path / "other")
    config = json.loads((run / "config.json").read_text())
    for contents, sentence in (({"train": ["else"]}, ""), (None, "may be of its own training")):
        (tmp_path / "other/config.json").write_text(json.dumps({**config, "contents": contents}))
        done = inference("evaluate", tmp_path / "other", "--db", "folder", "--data-dir", elsewhere, "--limit", "2")
        assert sentence in done.stdout and ("own training" in done.stdout) == bool(sentence)


def test_weights_and_graph_are_exported(run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(run, tmp_path / os.fsdecode(b"run\xff"))  # no text of a graph holds it
    inference("export", run, "-o", tmp_path / "w.safetensors", "--layout", "torch", "--phase", "pretrained")
    exported, expected = load_file(tmp_path / "w.safetensors"), to_torch(load_run(run, "pretrained").network.parameters)
    assert list(exported) == sorted(expected)
    assert all(np.array_equal(exported[name], expected[name]) for name in expected)
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
        assert about["run"] == "run\\udcff"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("encode", "RUN", "-o", "f.npz"), "needs audio files or folders, or --db"),
        (("encode", "RUN", "a.wav", "--db", "demo", "-o", "f.npz"), "give one of the two"),
        (("encode", "RUN", "a.wav", "-o", "f.txt"), "f.txt: the name must end with .csv or .npz"),
        (("encode", "RUN", "a.wav", "-o", "no/f.npz"), "no/f.npz: there is no folder no"),
        (("encode", ".", "a.wav", "-o", "f.npz"), "run: . holds no run (no config.json)"),
        (("encode", "RUN", "empty", "-o", "f.npz"), "empty: no audio files in this folder that can be read"),
        (("encode", "RUN", "--db", "folder", "-o", "f.npz"), "folder: needs a directory of audio files"),
        (("reconstruct", "RUN", "a.wav", "-o", "a.wav"), "a.wav: would overwrite what is read"),
        (("reconstruct", "RUN", "a.wav", "-o", "link.wav"), "link.wav: would overwrite what is read"),
        (("reconstruct", "RUN", "text.wav", "-o", "b.wav"), "text.wav: not an audio file that libsndfile reads"),
        (("reconstruct", "RUN", "a.wav", "-o", "b.txt"), "b.txt: the name must end with .aif or"),
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
