"""train.py as a user runs it: a process of its own, on real files."""

from __future__ import annotations

import collections
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors.numpy import load_file

from speech.clip import load_clips
from speech.corpus import find_corpus
from tests.command import ROOT, SMALL, rows, train

pytestmark = pytest.mark.commands


@pytest.fixture
def emodb() -> Path:
    directory = Path(os.environ.get("NN1D_DATA", "")) / "emodb"
    if "NN1D_DATA" not in os.environ or not directory.is_dir():
        pytest.skip("needs EmoDB: set NN1D_DATA to the directory that holds emodb/")
    return directory


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Twelve half-second recordings of filtered noise of different loudness, in two subfolders."""
    rng = np.random.default_rng(0)
    for i in range(12):
        folder = tmp_path / "recordings" / ("calm", "loud")[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        noise = np.convolve(rng.standard_normal(8000), np.hanning(40), "same")
        soundfile.write(folder / f"take{i}.wav", 0.5 * noise / abs(noise).max(), 16_000)
    return tmp_path / "recordings"


def test_real_speech_through_the_whole_network_ends_with_the_papers_table(emodb: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = train("--db", "emodb", "--limit", "7", "--epochs", "1", "--fine-tune-epochs", "1", "--out", run)
    lines = done.stdout.splitlines()
    assert lines[-1] == f"listen: {run / 'report.html'}"
    assert f"run: {run}" in lines
    assert "Berlin EmoDB, 7 clips: mean squared error on [0, 1]" in lines
    table = {line[:15].strip(): line[15:].split() for line in lines if line[15:].split()}
    assert table["training loss"][1::2] == ["0.001360", "0.000770"]  # the paper's
    assert table["test loss"][1::2] == ["0.001050", "0.000800"]

    results = json.loads((run / "results.json").read_text())
    assert results["parameters"] == 79_209
    assert results["clips"] == 7
    assert results["paper"]["fine_tuning"] == {"train_loss": 0.00077, "test_loss": 0.0008}
    for i, phase in enumerate(("pre_training", "fine_tuning")):
        figures = results[phase]
        assert figures["epochs"] == figures["best_epoch"] == 1
        assert figures["seconds"] > 0
        assert table["test loss"][2 * i] == f"{figures['test_loss']:.6f}"
        snr = 10 * np.log10(results["test_variance"] / figures["test_loss"])
        assert table["test SNR [dB]"][2 * i] == f"{snr:.1f}"

    config = json.loads((run / "config.json").read_text())
    assert config["settings"]["db"] == "emodb"
    assert config["settings"]["learning_rate"] == 0.001
    assert config["command"][:3] == ["train.py", "--db", "emodb"]
    assert config["numpy"] == np.__version__
    assert config["blas"] and config["machine"]["processor"]
    parts = config["split"]
    assert [len(parts[part]) for part in ("train", "validation", "test")] == [5, 1, 1]
    names = {name for part in parts.values() for name in part}
    assert len(names) == 7
    assert all((emodb / "wav" / f"{name}.wav").is_file() for name in names)

    history = rows(run / "history.csv")
    assert [(row["phase"], row["epoch"]) for row in history] == [("pre_training", "1"), ("fine_tuning", "1")]
    columns = ["phase", "epoch", "train_loss", "val_loss", "val_accuracy", "learning_rate", "seconds"]
    assert list(history[0]) == columns

    features = np.load(run / "features.npy", mmap_mode="r")
    assert features.shape == (7, 2000, 64) and features.dtype == np.float32
    clips = rows(run / "clips.csv")
    assert {row["name"] for row in clips} == names
    assert {row["label"] for row in clips} <= {"anger", "boredom", "disgust", "fear", "happiness", "sadness", "neutral"}
    assert sorted(row["part"] for row in clips) == ["test"] + 5 * ["train"] + ["validation"]

    pretrained = load_file(run / "checkpoints" / "pretrained.safetensors")
    finetuned = load_file(run / "checkpoints" / "finetuned.safetensors")
    assert pretrained["encoder.0.convolution.weight"].shape == (3, 1, 16)
    assert sum(array.size for array in pretrained.values()) == 79_209
    for name, array in pretrained.items():
        same = np.array_equal(array, finetuned[name])
        assert same == name.startswith("encoder."), name


def test_the_demo_corpus_needs_no_options_but_small_ones(tmp_path: Path) -> None:
    done = train(*SMALL, "--limit", "8", "--out", tmp_path / "run")
    assert "corpus: demo, 8 recordings" in done.stdout
    assert "demo corpus, 8 clips" in done.stdout
    assert json.loads((tmp_path / "run" / "results.json").read_text())["paper"] == {}


def test_seed_decides_everything_and_threads_nothing(recordings: Path, tmp_path: Path) -> None:
    runs = {"one": ("--threads", "1"), "three": ("--threads", "3"), "other seed": ("--seed", "1")}
    for name, options in runs.items():
        train("--db", "folder", "--data-dir", recordings, *SMALL, *options, "--out", tmp_path / name)

    def contents(name: str) -> list[object]:
        folder = tmp_path / name
        weights = [
            (folder / "checkpoints" / f"{phase}.safetensors").read_bytes() for phase in ("pretrained", "finetuned")
        ]
        history = [line.rsplit(",", 1)[0] for line in (folder / "history.csv").read_text().splitlines()]
        return [*weights, history, json.loads((folder / "config.json").read_text())["split"]]

    assert contents("one") == contents("three")
    assert all(a != b for a, b in zip(contents("one"), contents("other seed"), strict=True))


def test_labels_of_a_folder_and_bad_recordings_by_name(recordings: Path, tmp_path: Path) -> None:
    (recordings / "calm" / "torn.wav").write_bytes(b"RIFF")
    soundfile.write(recordings / "loud" / "mute.wav", np.zeros(8000), 16_000)
    done = train("--db", "folder", "--data-dir", recordings, *SMALL, "--out", tmp_path / "run")
    assert "left out 2 of 14 files:" in done.stdout
    assert re.search(r"^  calm/torn: .+", done.stdout, re.MULTILINE)
    assert re.search(r"^  loud/mute: .*silent", done.stdout, re.MULTILINE)
    left_out = json.loads((tmp_path / "run" / "config.json").read_text())["left_out"]
    assert [name for name, _ in left_out] == ["calm/torn", "loud/mute"]
    labels = {row["label"] for row in rows(tmp_path / "run" / "clips.csv")}
    assert labels == {"calm", "loud"}

    strict = train("--db", "folder", "--data-dir", recordings, *SMALL, "--strict", "--out", tmp_path / "no", expect=2)
    assert "train.py: --strict: 2 files of folder cannot be used" in strict.stderr
    assert not (tmp_path / "no").exists()


def test_clips_are_prepared_once(recordings: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    options = ("--db", "folder", "--data-dir", recordings, *SMALL, "--cache-dir", cache)
    first = train(*options, "--out", tmp_path / "first")
    (file,) = (cache / "clips").iterdir()
    assert f"clips: 12 prepared in {file} (0.2 MB)\n" in first.stdout
    second = train(*options, "--out", tmp_path / "second")
    assert f"clips: 12 taken from {file} (0.2 MB)\n" in second.stdout
    assert list((cache / "clips").iterdir()) == [file]
    for run in ("first", "second"):
        config = json.loads((tmp_path / run / "config.json").read_text())
        assert (config["clips"], config["settings"]["cache_dir"]) == (str(file), str(cache))
    weights = [(tmp_path / run / "checkpoints" / "finetuned.safetensors").read_bytes() for run in ("first", "second")]
    assert weights[0] == weights[1]


OPENED = """
import collections, runpy, sys
opened = collections.Counter()
sys.addaudithook(lambda event, arguments: event == "open" and opened.update([str(arguments[0])]))
try:
    runpy.run_path("train.py", run_name="__main__")
finally:
    print("opened", sorted({times for name, times in opened.items() if name.endswith(".wav")}))
"""


@pytest.mark.parametrize("scale", ["clip", "corpus"])
def test_the_corpus_is_hashed_once(recordings: Path, tmp_path: Path, scale: str) -> None:
    """libsndfile opens files by itself, so what Python opens is hashed."""
    options = ("--db", "folder", "--data-dir", recordings, *SMALL, "--cache-dir", tmp_path / "cache", "--scale", scale)
    train(*options, "--out", tmp_path / "first")
    command = [sys.executable, "-c", OPENED, *map(str, options), "--out", str(tmp_path / "second")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "opened [1]", done.stdout + done.stderr
    (file,) = (tmp_path / "cache" / "clips").iterdir()
    samples = np.memmap(file, np.float32, "r", 128, (12, 4000))
    for run in ("first", "second"):
        config = json.loads((tmp_path / run / "config.json").read_text())
        assert config["clips_sha256"] == hashlib.sha256(samples.tobytes()).hexdigest()


def test_a_corpus_with_checksums_is_hashed_once(tmp_path: Path) -> None:
    for i, name in enumerate(("03a01Fa", "03a01Wa", "16b10Td")):
        soundfile.write(tmp_path / f"{name}.wav", np.random.default_rng(i).uniform(-1, 1, 4000), 16_000)
    sums = {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.glob("*.wav")}
    opened: collections.Counter[str] = collections.Counter()

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and watching and str(arguments[0]).startswith(str(tmp_path)):
            opened.update([Path(str(arguments[0])).suffix])

    watching = False
    sys.addaudithook(watch)
    try:
        for _ in range(2):
            opened.clear()
            watching = True
            corpus = find_corpus("emodb", tmp_path, checksums=sums)
            clips, _ = load_clips(corpus.recordings, 4000, cache_dir=tmp_path / "cache")
            watching = False
        assert (len(clips), clips.reused, opened[".wav"]) == (3, True, 3)
        opened.clear()
        watching = True
        assert len(find_corpus("emodb", tmp_path, checksums=sums, verify=False).recordings) == 3
        assert opened[".wav"] == 0
    finally:
        watching = False


def test_a_cache_folder_that_cannot_be_used_ends_with_a_sentence(recordings: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    options = ("--cache-dir", tmp_path / "file", "--out", tmp_path / "run")
    done = train("--db", "folder", "--data-dir", recordings, *SMALL, *options, expect=2)
    assert re.fullmatch(
        r"train\.py: clips: .*file.clips cannot be written: .+\. 12 clips need 0\.2 MB\. "
        r"Name another folder: --cache-dir of train.py and of python -m inference, "
        r"--out of python -m training shards\n",
        done.stderr,
    )
    assert not (tmp_path / "run").exists()


def test_too_few_clips_and_missing_corpora_end_with_a_sentence(recordings: Path, tmp_path: Path) -> None:
    few = train("--db", "folder", "--data-dir", recordings, "--limit", "4", *SMALL, expect=2)
    assert "train.py: a split needs at least 5 clips; got 4" in few.stderr
    speakers = train("--db", "folder", "--data-dir", recordings, "--split", "speaker", *SMALL, expect=2)
    assert "train.py: --split speaker needs the speaker of every clip" in speakers.stderr
    savee = train("--db", "savee", "--data-dir", tmp_path, *SMALL, expect=2)
    assert f"train.py: savee: no recordings under {tmp_path}" in savee.stderr
    assert "AudioData/DC/a01.wav and ALL/DC_a01.wav" in savee.stderr
    nowhere = train("--db", "folder", "--data-dir", tmp_path / "nowhere", expect=2)
    assert "does not exist" in nowhere.stderr


def test_a_run_is_never_overwritten_unless_forced(recordings: Path, tmp_path: Path) -> None:
    options = ("--db", "folder", "--data-dir", recordings, *SMALL)
    run = tmp_path / "run"
    train(*options, "--out", run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    refused = train(*options, "--out", run, expect=2)
    assert (
        f"train.py: --out: {run} holds a run already. Choose another --out, go on with it by --resume, or replace it "
        "with --force" in refused.stderr
    )
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    train(*options, "--out", run, "--force", "--seed", "5")
    assert json.loads((run / "config.json").read_text())["settings"]["seed"] == 5
    assert len((run / "history.csv").read_text().splitlines()) == 5

    precious = tmp_path / "thesis"
    precious.mkdir()
    (precious / "chapter1.txt").write_text("all my work")
    refused = train(*options, "--out", precious, "--force", expect=2)
    assert f"--out: {precious} exists and is not a run" in refused.stderr
    assert [path.name for path in precious.iterdir()] == ["chapter1.txt"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ("--clip-samples", "64001"),
            "the clip length must be a multiple of 32 (5 pools of 2); got 64001. Nearest: 64000",
        ),
        (("--epochs", "0"), "epochs must be at least 1; got 0"),
        (("--learning-rate", "nan"), "learning_rate must be above 0; got nan"),
        (("--learning-rate", "inf"), "learning_rate must be finite; got inf"),
        (
            ("--kernel-size", "8001"),
            "kernel_size must be at most 7999, since the ends of a longer filter meet none of the 4000 samples that "
            "the last stage has of a clip; got 8001",
        ),
        (("--threads", "1000000"), "threads must be at most 1024; got 1000000"),
        (("--kernel-size", "4"), "kernel_size must be odd, to keep the length of a clip; got 4"),
        (("--channels", "4,0"), "channels must be positive integers; got (4, 0)"),
        (("--db", "urmel"), "db must be one of demo, emodb, savee, ravdess, cremad, tess, folder, shards; got 'urmel'"),
    ],
)
def test_mistakes_on_the_command_line(options: tuple[str, ...], sentence: str) -> None:
    assert sentence in train(*options, expect=2).stderr


def test_a_gpu_that_is_not_there_is_refused_with_the_cure() -> None:
    cupy = pytest.importorskip("cupy") if "cupy" in sys.modules else None
    if cupy is not None:
        pytest.skip("this machine may have a GPU")
    done = train("--device", "gpu", expect=2)
    assert "train.py: no GPU" in done.stderr


def test_a_terminal_gets_a_bar_with_epoch_loss_speed_and_time_left(recordings: Path, tmp_path: Path) -> None:
    pty = pytest.importorskip("pty", reason="needs a system with pseudo-terminals")
    termios = pytest.importorskip("termios", reason="needs a system with pseudo-terminals")
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(ours, (24, 140))
    options = ("--db", "folder", "--data-dir", recordings, *SMALL, "--out", tmp_path / "run")
    with subprocess.Popen(
        [sys.executable, ROOT / "train.py", *options], stdout=subprocess.PIPE, stderr=theirs
    ) as process:
        os.close(theirs)
        output = b""
        try:
            while chunk := os.read(ours, 4096):
                output += chunk
        except OSError:  # Linux says so when the other end is closed
            pass
        process.communicate(timeout=120)
    os.close(ours)
    assert process.returncode == 0
    text = output.decode()
    assert re.search(r"pre_training: +\d+%.*<\d\d:\d\d,.*clips/s, epoch=1/2, loss=\d\.\d\de-\d\d", text)
    plain = train(*options, "--force")
    assert "clips/s" not in plain.stderr and "pre_training 2: loss" in plain.stdout


def test_help_says_every_default() -> None:
    text = " ".join(train("--help").stdout.split())
    for fragment in (
        "(default: demo)",
        "(default: 64000)",
        "(default: 16,16,32,32,64)",
        "(default: val_loss)",
        "(default: 30; for demo 20; for fold 12)",
    ):
        assert fragment in text
    for group in ("corpus:", "network:", "training:", "machine:"):
        assert group in text
