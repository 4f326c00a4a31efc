"""SAVEE: both layouts, and what to do where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from speech import savee
from speech.corpus import find_corpus
from speech.recording import CorpusError

LABELS = {
    "a01": "anger",
    "d02": "disgust",
    "f03": "fear",
    "h04": "happiness",
    "n30": "neutral",
    "sa05": "sadness",
    "su15": "surprise",
}


def by_speaker(folder: Path) -> None:
    for speaker in ("DC", "JE", "JK", "KL"):
        (folder / speaker).mkdir(parents=True)
        for name in LABELS:
            (folder / speaker / f"{name}.wav").touch()
    (folder / "Info.txt").touch()


def all_in_one(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for speaker in ("DC", "JE", "JK", "KL"):
        for name in LABELS:
            (folder / f"{speaker}_{name}.wav").touch()


@pytest.mark.parametrize(
    ("layout", "below"),
    [
        *[(by_speaker, below) for below in ("AudioData", "", "AudioData/AudioData", "savee/AudioData", "savee")],
        *[(all_in_one, below) for below in ("ALL", "", "AudioData/ALL", "savee", "ALL/ALL")],
    ],
)
def test_both_layouts_have_the_same_names(tmp_path: Path, layout: object, below: str) -> None:
    assert callable(layout)
    layout(tmp_path / below)
    recordings, left_out = savee.list_recordings(tmp_path)
    assert left_out == []
    assert [recording.name for recording in recordings] == [
        f"{s}_{n}" for s in ("DC", "JE", "JK", "KL") for n in LABELS
    ]
    for recording in recordings:
        speaker, name = recording.name.split("_")
        assert (recording.speaker, recording.label) == (speaker, LABELS[name])
        assert recording.details == {"sentence": name[-2:]}
        assert isinstance(recording.source, Path)
        assert recording.source.is_file()


def test_a_recording_that_is_there_twice_is_listed_once(tmp_path: Path) -> None:
    by_speaker(tmp_path / "AudioData")
    all_in_one(tmp_path / "ALL")
    assert len(savee.list_recordings(tmp_path)[0]) == 28


def test_a_few_recordings_hide_no_others(tmp_path: Path) -> None:
    all_in_one(tmp_path / "ALL")
    for place in ("AudioData/DC", "AudioData/AudioData/JK", "DC", "."):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        for name in ("a01.wav", "a02.wav", "DC_a03.wav"):
            (tmp_path / place / name).touch()
    assert len(savee.list_recordings(tmp_path)[0]) == 28


def test_names_that_fit_no_pattern_are_named(tmp_path: Path) -> None:
    all_in_one(tmp_path)
    for name in ("DC_s01.wav", "DC_saa01.wav", "XX_a01.wav", "DC_a1.wav", "._DC_a01.wav"):
        (tmp_path / name).touch()
    recordings, left_out = savee.list_recordings(tmp_path)
    assert len(recordings) == 28
    reason = "its name does not read as speaker, emotion, sentence, as DC_a01 does"
    assert left_out == [(name, reason) for name in ("DC_a1", "DC_s01", "DC_saa01", "XX_a01")]


def test_a_partial_corpus_says_so(tmp_path: Path) -> None:
    by_speaker(tmp_path / "AudioData")
    assert find_corpus("savee", tmp_path).notes == [f"savee: 28 of its 480 recordings are under {tmp_path}"]


def test_where_there_is_none_three_lines_say_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "savee").mkdir(parents=True)
    with pytest.raises(CorpusError) as error:
        find_corpus("savee", Path("data/savee"))
    first, second, third = str(error.value).splitlines()
    assert first == (
        "savee: no recordings under data/savee (looked for AudioData/DC/a01.wav and ALL/DC_a01.wav). "
        "See docs/corpora.md for how to get them"
    )
    assert second.startswith("To request: register at the University of Surrey, http://kahlan.eps.surrey.ac.uk/savee/")
    assert third == "To put it: unpack it so that data/savee/AudioData/DC/a01.wav is there"
    with pytest.raises(CorpusError, match=r"a01.wav is there, or name where it is with --data-dir$"):
        find_corpus("savee", cache_dir=tmp_path)


def test_every_place_that_was_looked_into_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NN1D_DATA", str(tmp_path / "data"))
    with pytest.raises(CorpusError) as error:
        find_corpus("savee", cache_dir=tmp_path / "cache")
    assert f"no recordings under {tmp_path}/data/savee or {tmp_path}/cache/savee (looked for" in str(error.value)


def test_an_unreadable_folder_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refuse)  # chmod does not stop root, as whom tests may run
    with pytest.raises(CorpusError, match=r"^savee: .* cannot be read: Permission denied. Check its permissions$"):
        savee.list_recordings(tmp_path)


@pytest.mark.parametrize("inside", ["archive/SAVEE/AudioData", "archive/SAVEE"])
def test_recordings_two_folders_further_down_are_found(tmp_path: Path, inside: str) -> None:
    for name in ("DC/a01.wav", "JE/sa02.wav"):
        path = tmp_path / inside / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
    recordings, left_out = savee.list_recordings(tmp_path)
    assert [recording.name for recording in recordings] == ["DC_a01", "JE_sa02"] and left_out == []
