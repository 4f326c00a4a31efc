"""A corpus in shards: how it is made and made again, which clips are in it, in which order they train."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import benchmarks.shards
from report.page import corpus_title
from speech.clip import load_clips
from speech.folder import list_recordings
from speech.recording import CorpusError
from speech.shard import PARTS, Shards, part_of
from speech.split import SplitError
from storage.mapped import take_rows
from tests.command import ROOT, make_recordings, rows, train
from training.configuration import Configuration, ConfigurationError
from training.data import learned_contents, prepare_again
from training.dual_training import DualTraining
from training.rank import Ranks
from training.run_files import read_config
from training.sharding import make_shards
from training.workers import Workers

SETTINGS = Configuration(
    db="folder", clip_samples=800, channels=(3, 4), epochs=2, fine_tune_epochs=2, batch_size=3, device="cpu"
)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """29 recordings, three of them again under other names, and one that is none."""
    folder = make_recordings(tmp_path_factory.mktemp("recordings"), 29)
    for i in range(3):
        shutil.copy(sorted(folder.rglob("*.wav"))[7 * i], folder / f"again{i}.wav")
    (folder / "bad.wav").write_bytes(b"RIFF")
    return folder


@pytest.fixture(scope="module")
def settings(recordings: Path) -> Configuration:
    return dataclasses.replace(SETTINGS, data_dir=recordings)


@pytest.fixture(scope="module")
def folder(settings: Configuration, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("made") / "shards"
    make_shards(settings, place, 4, Ranks())
    return place


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "shards"))


@pytest.fixture(scope="module")
def shards(folder: Path) -> Shards:
    return Shards(folder)


def everything(shards: Shards) -> dict[str, list[int]]:
    return {name: shards.part(name)[:].tolist() for name in PARTS}


def test_every_sound_is_in_one_part_and_once(shards: Shards, recordings: Path) -> None:
    parts = everything(shards)
    numbers = sorted(number for part in parts.values() for number in part)
    clips = shards.take(np.array(numbers))
    assert len(set(clips.contents)) == len(clips) == 29
    within = sum("same sound" in line for line in (shards.folder / "left_out.csv").read_text().splitlines())
    assert (within + shards.manifest.copies, shards.manifest.left_out - within) == (3, 1)
    assert shards.manifest.copies > 0
    expected, _ = load_clips(list_recordings(recordings)[0], 800)
    row = {content: i for i, content in enumerate(expected.contents)}
    places = [row[content] for content in clips.contents]
    for name in ("samples", "offset", "scale", "valid"):
        np.testing.assert_array_equal(getattr(clips, name), getattr(expected, name)[places], name)
    assert {each.label for each in clips.recordings} - {""} == {"calm", "loud"}
    assert shards.names[numbers[3]] == clips.recordings[3].name
    assert learned_contents(
        {"settings": {"db": "shards"}, "corpus": str(shards.folder), "clips_sha256": shards.sha256}, set(clips.contents)
    ) == {clips.contents[numbers.index(i)] for i in parts["train"] + parts["validation"]}


def test_what_is_there_is_not_made_again_and_what_is_damaged_is(
    settings: Configuration, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = (copied / "manifest.json").read_bytes()
    array = np.load(copied / "clips" / Shards(copied).manifest.shards[2].clips, mmap_mode="r+")
    array[1, 5] += 1
    array.flush()
    shards = Shards(copied)
    take_rows(shards.samples, np.array([0]))
    with pytest.raises(
        CorpusError, match=r"is damaged \(another checksum\)\. Make the shards again: python -m training"
    ):
        take_rows(shards.samples, np.arange(len(shards)))
    (copied / "00001.csv").write_text("name,label\n")
    (half := copied / f".00001-{'0' * 32}.unfinished").touch()
    with pytest.raises(CorpusError, match=r"00001\.csv is damaged"):
        shards.part("train")[:]
    make_shards(settings, copied, 4, Ranks())
    lines = [line.rpartition(", ")[2] for line in capsys.readouterr().out.splitlines() if line.startswith("shard ")]
    assert lines == ["made again" if number == 2 else "there already" for number in range(9)] or lines == [
        "as it was damaged" if number == 2 else "there already" for number in range(9)
    ]
    assert (copied / "manifest.json").read_bytes() == manifest
    assert not half.exists()
    take_rows(Shards(copied).samples, np.arange(len(shards)))


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"db": "demo", "data_dir": None}, ConfigurationError, "are made of files"),
        ({"seed": 1}, CorpusError, r"holds shards that were made with other options: \{'db': 'folder'"),
        ({"clip_samples": 400}, CorpusError, "800 samples a clip. Choose another --out, or remove manifest.json"),
        ({"split": "speaker", "limit": 30}, CorpusError, "made with other options"),
    ],
)
def test_other_shards_are_not_mixed(
    settings: Configuration, folder: Path, change: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        make_shards(dataclasses.replace(settings, **change), folder, 4, Ranks())


@pytest.mark.parametrize("name", ["clips", "00000.csv", "left_out.csv", "manifest.json"])
def test_no_shard_is_written_behind_a_link(settings: Configuration, folder: Path, tmp_path: Path, name: str) -> None:
    copy, elsewhere = tmp_path / "copy", tmp_path / "elsewhere"
    shutil.copytree(folder, copy)
    (copy / name).rename(elsewhere)
    (copy / name).symlink_to(elsewhere)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CorpusError, match=f"{name} is a link, and nothing is written behind one. Remove the link"):
        make_shards(settings, copy, 4, Ranks())
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_of_something_else_and_a_part_without_clips(settings: Configuration, tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(CorpusError, match=r"is there and holds no shards\. Choose another --out$"):
        make_shards(settings, tmp_path, 4, Ranks())
    (tmp_path / "mine").rename(tmp_path / "left_out.csv")
    (tmp_path / "clips").mkdir()
    with pytest.raises(CorpusError, match=r"is there and holds no shards"):
        make_shards(settings, tmp_path, 4, Ranks())
    (tmp_path / "left_out.csv").unlink()
    with pytest.raises(SplitError, match=r"^--split speaker needs the speaker of every recording\. Use"):
        make_shards(dataclasses.replace(settings, split="speaker"), tmp_path / "new", 4, Ranks())
    with pytest.raises(SplitError, match=r"^shards: no clip is left for .*\. Take more recordings"):
        make_shards(dataclasses.replace(settings, limit=2), tmp_path / "new", 4, Ranks())
    assert not (tmp_path / "new" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"db": "emodb+shards"}, "db shards is taken alone; got emodb shards"),
        ({"split": "speaker"}, r"split is settled when shards are made \(python -m training shards\)\. Leave it out"),
        ({"limit": 5}, "limit is settled"),
        ({"folds": "speaker"}, "folds is settled"),
    ],
)
def test_what_is_settled_is_not_asked_for_again(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        Configuration(**({"db": "shards"} | change))


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[1]", b"\xff", b'{"settings": {}, "clip_samples": 8, "copies": 0, "left_out": 0, "shards": []}',
     b'{"settings": {}, "clip_samples": 8, "copies": 0, "left_out": 0, "shards": [{"clips": "../x.npy"}]}'],
)  # fmt: skip
def test_a_manifest_of_something_else(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(CorpusError, match=r"^shards: .*manifest\.json is not what was written \("):
        Shards(tmp_path)


@pytest.mark.parametrize(
    "text", ["name,label\nx,y\n", "", "\0", "{head}\na,b,c,test,x,0,1,d\n", "{head}\na,b,c,test,1,0,1,d\n"]
)
def test_an_index_of_something_else(copied: Path, text: str) -> None:
    """With the right checksum: a folder of shards may come from anybody."""
    content = text.format(head=(copied / "00000.csv").read_text().splitlines()[0]).encode()
    manifest = json.loads((copied / "manifest.json").read_text())
    manifest["shards"][0]["index_sha256"] = hashlib.sha256(content).hexdigest()
    (copied / "00000.csv").write_bytes(content)
    (copied / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CorpusError, match=r"00000\.csv is not what was written \("):
        Shards(copied).part("train")[:]


def test_an_index_of_somebody_else_stays(settings: Configuration, copied: Path) -> None:
    (copied / "00100.csv").write_text("mine")
    with pytest.raises(CorpusError, match=r"00100\.csv is there, and is not of shards\. Move it elsewhere$"):
        make_shards(settings, copied, 4, Ranks())
    assert (copied / "00100.csv").read_text() == "mine"


@pytest.mark.parametrize("name", ["manifest.json", "00000.csv", "CLIPS"])
def test_a_damaged_header_or_a_pipe_is_one_sentence(copied: Path, name: str) -> None:
    path = copied / name.replace("CLIPS", f"clips/{Shards(copied).manifest.shards[0].clips}")
    path.write_bytes(path.read_bytes().replace(b"shape", b"(hape").replace(b"format_version", b"x"))
    with contextlib.suppress(CorpusError):
        Shards(copied).take(np.arange(2))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(CorpusError, match=r"cannot be read: it is a pipe or a device"):
        Shards(copied).take(np.arange(2))


def test_the_part_of_a_clip_is_drawn_by_what_it_holds_or_who_speaks() -> None:
    contents = [f"{i:032x}" for i in range(4000)]
    speakers = [f"speaker{i % 100}" for i in range(4000)]
    for by in ("random", "speaker"):
        drawn = [part_of(*each, by, 0) for each in zip(contents, speakers, strict=True)]
        shares = [drawn.count(name) / len(drawn) for name in PARTS]
        assert shares == pytest.approx([0.72, 0.08, 0.2], abs=0.02 if by == "random" else 0.12)
        assert drawn != [part_of(*each, by, 1) for each in zip(contents, speakers, strict=True)]
    testing = {speaker for speaker, part in zip(speakers, drawn, strict=True) if part == "test"}
    assert all((part == "test") == (speaker in testing) for speaker, part in zip(speakers, drawn, strict=True))


def test_an_epoch_has_every_clip_once_in_an_order_that_can_be_entered_anywhere(shards: Shards) -> None:
    part = shards.part("train", "validation")
    plain = part[:]
    assert (np.diff(plain) > 0).all()
    orders = [part.shuffled(np.random.default_rng(seed)) for seed in (0, 0, 1)]
    drawn = [order[:] for order in orders]
    for order, numbers in zip(orders, drawn, strict=True):
        assert sorted(numbers) == plain.tolist()
        assert [len(order[start : start + 3]) for start in range(0, len(order) + 3, 3)] == [
            len(numbers[start : start + 3]) for start in range(0, len(order) + 3, 3)
        ]
        for start in (0, 2, 5, 11, len(order) - 1):
            np.testing.assert_array_equal(order[start : start + 7], numbers[start : start + 7])
        shard = np.searchsorted(shards.samples.ends, numbers, side="right")
        assert np.count_nonzero(np.diff(shard)) == len(set(shard)) - 1  # one shard after the other
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any()
    assert (drawn[0] != plain).any()


def test_training_on_shards_is_training_on_the_same_array(shards: Shards) -> None:
    """Both phases: the representations that phase 2 makes anew are those that are saved otherwise."""
    array = take_rows(shards.samples, np.arange(len(shards)))
    batch, validation = np.array([25, 3, 11, 4, 28, 0]), shards.part("validation")
    with Workers(2) as workers:
        streamed, whole = (DualTraining(SETTINGS, samples, workers) for samples in (shards.samples, array))
        features = np.stack(list(whole.encode(range(len(array)))))
        for training, some in ((streamed, None), (whole, features)):
            training.first = training.pre_training(batch, validation)  # type: ignore[attr-defined]
            training.second = training.fine_tuning(some, batch, validation)  # type: ignore[attr-defined]
        for phase in ("first", "second"):
            (loss, gradient), (other_loss, other) = (getattr(t, phase).gradient(batch) for t in (streamed, whole))
            assert loss == other_loss
            np.testing.assert_array_equal(gradient, other)
            assert getattr(streamed, phase).evaluate(validation) == getattr(whole, phase).evaluate(validation[:])


def test_a_run_that_stops_anywhere_goes_on_to_the_same_bits(shards: Shards) -> None:
    class StoppedError(Exception):
        pass

    parts = shards.parts()

    def trainer() -> Any:
        return DualTraining(SETTINGS, shards.samples, workers).fine_tuning(None, parts.train, parts.validation)

    with Workers(1) as workers:
        whole, stopped = trainer(), trainer()
        whole.run()
        for step in (2, 5, 9):
            left = [step]

            def stop(left: list[int] = left) -> None:
                left[0] -= 1
                if not left[0]:
                    raise StoppedError

            with pytest.raises(StoppedError):
                stopped.run(stop)
            state, stopped = copy.deepcopy(stopped.state_dict()), trainer()
            stopped.load_state_dict(state)
        stopped.run()
    assert stopped.parameters.tobytes() == whole.parameters.tobytes()
    assert [line[:-1] for line in stopped.history] == [line[:-1] for line in whole.history]


def test_memory_does_not_grow_with_the_number_of_clips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("resource", reason="the benchmark asks Unix for the most memory")
    monkeypatch.setattr(benchmarks.shards, "STEPS", 2)
    peaks = []
    for count in (300, 3_000, 9_000):  # the first for what is allocated once
        benchmarks.shards.generate(tmp_path / str(count), count, 16, clips_per_shard=300)
        tracemalloc.start()
        benchmarks.shards.measure(tmp_path / str(count))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert abs(peaks[2] - peaks[1]) < 6 * 6_000  # an array of their numbers alone would take more
    assert re.search(r" 9,000 clips in 30 shards: .* steps of 64 clips, \d+ MB\n$", capsys.readouterr().out)


def test_the_commands_and_a_preparation_that_is_killed(recordings: Path, folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "shards"
    options = ("--db", "folder", "--data-dir", recordings, "--out", place, "--clips-per-shard", "4", "--clip-samples")
    command = [sys.executable, "-m", "training", "shards", *map(str, options), "800"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith("shard 2"):
            pass
        process.send_signal(signal.SIGKILL)
    assert not (place / "manifest.json").exists()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "shard 1 of 9: 4 clips, there already\n" in done.stdout
    assert "shard 9 of 9: 1 clips, made\n" in done.stdout or "shard 9 of 9: 1 clips, there already\n" in done.stdout
    assert (place / "manifest.json").read_bytes() == (folder / "manifest.json").read_bytes()

    run = tmp_path / "run"
    of_run = ("--channels", "3,4", "--epochs", "1", "--fine-tune-epochs", "1", "--device", "cpu")
    wrong = train("--db", "shards", "--data-dir", place, *of_run, "--out", run, expect=2)
    assert wrong.stderr.startswith("train.py: shards: ")
    assert wrong.stderr.endswith("got --clip-samples 64000. Give --clip-samples 800\n")
    train("--db", "shards", "--data-dir", place, "--clip-samples", "800", *of_run, "--no-report", "--out", run)
    config = json.loads((run / "config.json").read_text())
    assert config["clips_sha256"] == Shards(place).sha256
    assert config["parts"] == {name: len(Shards(place).part(name)) for name in PARTS}
    assert config["split"] == {} and config["contents"] is None
    assert json.loads((run / "results.json").read_text())["clips"] == len(Shards(place))
    again = prepare_again(config, read_config(run)[1], None, "run")  # what the listening page is made of
    assert [row["name"] for row in rows(run / "clips.csv")] == [each.name for each in again.clips.recordings]
    assert (
        again.clips.contents == Shards(place).take(np.concatenate([again.parts.train[:], again.parts.test[:]])).contents
    )
    assert corpus_title(config, "shards") == "shards"
    (place / "manifest.json").write_bytes(
        (place / "manifest.json").read_bytes().replace(b'"copies": 2', b'"copies": 1')
    )
    changed = train("--resume", run, "--epochs", "2", expect=2)
    assert "the shards are not those that the run began with" in changed.stderr
