"""Any directory: what counts as audio, what it is called, and what must not hang."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speech import folder
from speech.clip import load_clips
from speech.recording import CorpusError


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def listed(root: Path) -> list[tuple[str, str]]:
    return [(recording.name, recording.label) for recording in folder.list_recordings(root)[0]]


def test_the_first_subfolder_is_the_label(tmp_path: Path) -> None:
    make(tmp_path, "top.wav", "sad/b/deep.FLAC", "sad/a.ogg", "angry/1.aif", "angry/2.mp3", "notes.txt", "sad/x.avi")
    assert listed(tmp_path) == [
        ("angry/1", "angry"),
        ("angry/2", "angry"),
        ("sad/a", "sad"),
        ("sad/b/deep", "sad"),
        ("top", ""),
    ]


def test_hidden_files_and_appledouble_are_skipped(tmp_path: Path) -> None:
    make(tmp_path, ".hidden.wav", "._a.wav", ".git/a.wav", "a.wav", "sub/._b.wav")
    assert listed(tmp_path) == [("a", "")]


def test_names_are_unique(tmp_path: Path) -> None:
    make(tmp_path, "a.wav", "a.flac", "a.wav.flac", "a.wav.flac.ogg", "b.wav", "a/b.wav", "c.d.wav")
    names = [name for name, _ in listed(tmp_path)]
    assert names == ["a/b", "a.flac", "a.wav", "a.wav.flac", "a.wav.flac.ogg", "b", "c.d"]


def test_links_that_lead_back_do_not_hang(tmp_path: Path) -> None:
    make(tmp_path / "outside", "x.wav")
    make(tmp_path / "data", "sub/a.wav")
    (tmp_path / "data" / "sub" / "back").symlink_to(tmp_path / "data", target_is_directory=True)
    (tmp_path / "data" / "self").symlink_to("self")
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "outside", target_is_directory=True)
    (tmp_path / "data" / "twice").symlink_to(tmp_path / "outside", target_is_directory=True)
    assert listed(tmp_path / "data") == [("linked/x", "linked"), ("sub/a", "sub")]


def test_20000_files_are_listed_in_seconds_and_none_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Only os.walk says that these files are there: to open one of them, or to ask for its size, would fail.
    tree: list[tuple[str, list[str], list[str]]] = [
        (str(tmp_path / str(label)), [], [f"{i}.wav" for i in range(1000)]) for label in range(20)
    ]
    monkeypatch.setattr(os, "walk", lambda *_, **__: iter(tree))
    start = time.process_time()
    recordings, left_out = folder.list_recordings(tmp_path)
    assert time.process_time() - start < 5
    assert len(recordings) == len({recording.name for recording in recordings}) == 20_000
    assert left_out == []


def test_every_format_that_is_listed_is_read(tmp_path: Path) -> None:
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, 8000)
    for i, suffix in enumerate(("wav", "flac", "ogg", "mp3", "aiff", "au", "caf", "w64")):
        soundfile.write(tmp_path / f"{suffix}.{suffix}", sound[i:], 16_000)  # no two are the same
    soundfile.write(tmp_path / "x.opus", sound, 16_000, format="OGG", subtype="OPUS")
    soundfile.write(tmp_path / "x.oga", sound, 16_000, format="OGG", subtype="VORBIS")
    soundfile.write(tmp_path / "x.aif", -sound, 16_000, format="AIFF")
    recordings, _ = folder.list_recordings(tmp_path)
    clips, left_out = load_clips(recordings, clip_samples=8000)
    assert len(clips) == 11
    assert left_out == []


def test_a_name_that_is_not_utf_8_can_be_printed(tmp_path: Path) -> None:
    try:
        os.close(os.open(os.fsencode(tmp_path) + b"/tr\xe4ne.wav", os.O_CREAT))
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    ((name, _),) = listed(tmp_path)
    assert name == "tr\\udce4ne"
    name.encode("utf-8")


def test_control_characters_are_written_as_repr_does_and_names_stay_different(tmp_path: Path) -> None:
    names = ["a\nb", "a\\nb", "\x1b[31m", "\u202egnp", "é ü", "\x9f", "\udc9f", "\\udc9f"]
    make(tmp_path, *(f"{name}.wav" for name in names))
    listed_names = [name for name, _ in listed(tmp_path)]
    assert sorted(listed_names) == sorted(repr(name)[1:-1] for name in names)
    assert len(set(listed_names)) == len(names) and all(name.isprintable() for name in listed_names)


FOREIGN = ("m4a", "AAC", "webm", "wma", "amr", "ape", "wv", "3gp", "raw", "pcm", "avi")


def test_audio_of_other_kinds_is_named_with_the_cure(tmp_path: Path) -> None:
    make(tmp_path, "a.wav", "notes.txt", "film.srt", ".x.m4a", *(f"b/x.{suffix}" for suffix in FOREIGN))
    recordings, left_out = folder.list_recordings(tmp_path)
    assert [recording.name for recording in recordings] == ["a"]
    assert [name for name, _ in left_out] == sorted(f"b/x.{suffix}" for suffix in FOREIGN)
    for name, reason in left_out:
        assert Path(name).suffix.lower() in reason and "Convert it, for example with: ffmpeg " in reason


def test_runs_inside_are_passed_over(tmp_path: Path) -> None:
    make(tmp_path, "a.wav", "runs/one/audio/1.wav", "runs/two/audio/1.wav", "b/config.json", "b/c.wav", "config.json")
    for run in ("one", "two"):
        content = {"settings": {}, "split": {}, "clips_sha256": "", "seed": 0}
        (tmp_path / "runs" / run / "config.json").write_text(json.dumps(content))
    (tmp_path / "b" / "config.json").write_text('{"model": "of somebody else"}')
    runs: list[Path] = []
    recordings, left_out = folder.list_recordings(tmp_path, runs)
    assert [recording.name for recording in recordings] == ["a", "b/c"]
    assert left_out == [] and sorted(runs) == [tmp_path / "runs" / "one", tmp_path / "runs" / "two"]


def test_a_subfolder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a.wav", "secret/b.wav")
    scandir = os.scandir
    refused = {str(tmp_path / "secret")}

    def refuse(path: str) -> object:
        if str(path) in refused:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # chmod does not stop root, as whom tests may run
    recordings, left_out = folder.list_recordings(tmp_path)
    assert [recording.name for recording in recordings] == ["a"]
    assert left_out == [("secret", "unreadable: Permission denied")]
    refused.add(str(tmp_path))
    message = rf"^folder: {tmp_path} cannot be read: Permission denied. Check its permissions$"
    with pytest.raises(CorpusError, match=message):
        folder.list_recordings(tmp_path)
