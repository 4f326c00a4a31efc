"""Where corpora are looked for, and what is said where there is none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from inference.__main__ import named_recordings
from speech.corpus import NAMES, find_corpus, spread
from speech.recording import CorpusError, Recording
from training.configuration import CORPORA
from training.ownership import Ownership


@pytest.fixture(autouse=True)
def no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NN1D_DATA", raising=False)


def make(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "DC_a01.wav").touch()
    return folder


def test_the_names() -> None:
    assert NAMES == CORPORA == ("demo", "emodb", "savee", "ravdess", "cremad", "tess", "folder")
    with pytest.raises(
        CorpusError, match=r"^corpus: there is no 'iemocap'; choose one of demo, emodb, savee, ravdess, "
    ):
        find_corpus("iemocap")


def test_the_named_directory_then_the_environment_then_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = make(tmp_path / "cache" / "savee")
    assert find_corpus("savee", cache_dir=tmp_path / "cache").directory == cached
    monkeypatch.setenv("NN1D_DATA", str(tmp_path / "data"))
    assert find_corpus("savee", cache_dir=tmp_path / "cache").directory == cached
    (tmp_path / "data" / "savee").mkdir(parents=True)
    assert find_corpus("savee", cache_dir=tmp_path / "cache").directory == cached, "an empty folder hides the cache"
    (tmp_path / "data" / "savee").rmdir()
    in_data = make(tmp_path / "data" / "savee")
    assert find_corpus("savee", cache_dir=tmp_path / "cache").directory == in_data
    named = make(tmp_path / "named")
    assert find_corpus("savee", named, cache_dir=tmp_path / "cache").directory == named


def test_a_named_directory_is_the_only_one_looked_into(tmp_path: Path) -> None:
    make(tmp_path / "cache" / "savee")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match=re.escape(f"no recordings under {tmp_path / 'empty'} (looked")):
        find_corpus("savee", tmp_path / "empty", cache_dir=tmp_path / "cache")


@pytest.mark.parametrize("name", ["emodb", "savee", "folder"])
def test_a_directory_that_is_not_there(tmp_path: Path, name: str) -> None:
    where = re.escape(str(tmp_path / "x"))
    with pytest.raises(CorpusError, match=f"^{name}: the directory {where} does not exist. Check the spelling"):
        find_corpus(name, tmp_path / "x")
    (tmp_path / "x").touch()
    with pytest.raises(
        CorpusError, match=f"^{name}: the directory {where} is a file. Check the spelling of --data-dir$"
    ):
        find_corpus(name, tmp_path / "x")


def test_a_directory_that_is_forbidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "is_dir", refuse)  # chmod does not stop root, as whom tests may run
    with pytest.raises(CorpusError, match=r"^savee: .* cannot be read: Permission denied. Check its permissions$"):
        find_corpus("savee", tmp_path)


def test_emodb_is_not_found(tmp_path: Path) -> None:
    where = re.escape(str(tmp_path))
    message = (
        rf"^emodb: no recordings under {where} \(looked for 03a01Fa.wav and wav/03a01Fa.wav\). Leave --data-dir out"
    )
    with pytest.raises(CorpusError, match=message):
        find_corpus("emodb", tmp_path)
    (tmp_path / "DC_a01.wav").touch()
    with pytest.raises(CorpusError, match=r"wav/03a01Fa.wav; 1 WAV files there are not of EmoDB\)"):
        find_corpus("emodb", tmp_path)
    with pytest.raises(CorpusError, match=re.escape(f"no recordings under {tmp_path / 'emodb'} (looked")) as error:
        find_corpus("emodb", cache_dir=tmp_path, download=False)
    assert "Run `python train.py --db emodb`" in str(error.value) and "--data-dir" not in str(error.value)


def test_folder_needs_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NN1D_DATA", str(tmp_path))
    with pytest.raises(
        CorpusError, match=r"^folder: needs a directory of audio files; got none. Name it with --data-dir$"
    ):
        find_corpus("folder")
    message = rf"^folder: no audio files under {re.escape(str(tmp_path))} \(looked for .wav, .flac, .ogg, .mp3 and what"
    with pytest.raises(CorpusError, match=message):
        find_corpus("folder", tmp_path)
    (tmp_path / "b.m4a").touch()
    with pytest.raises(CorpusError, match=r"1 cannot be used, such as b.m4a: libsndfile does not read .m4a. Convert"):
        find_corpus("folder", tmp_path)
    (tmp_path / "b.m4a").unlink()
    (tmp_path / "a.wav").touch()
    corpus = find_corpus("folder", tmp_path)
    assert [recording.name for recording in corpus.recordings] == ["a"]
    assert (corpus.directory, corpus.left_out, corpus.notes) == (tmp_path, [], [])


def test_runs_in_the_folder_are_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for run in ("runs/one", "runs/two"):
        (tmp_path / run / "audio").mkdir(parents=True)
        (tmp_path / run / "audio" / "1.wav").touch()
        (tmp_path / run / "config.json").write_text('{"settings": {}, "split": {}, "clips_sha256": ""}')
    (tmp_path / "runs/two/config.json").write_text("damaged")
    Ownership.begin(tmp_path / "runs/two", "audio/1.wav")
    (tmp_path / "a.wav").touch()
    corpus = find_corpus("folder", tmp_path)
    assert [recording.name for recording in corpus.recordings] == ["a"]
    (note,) = corpus.notes
    assert note.startswith("folder: passed over 2 folders of runs in it, such as ")
    named_recordings([tmp_path])
    assert capsys.readouterr().out == f"{note}\n"


def test_demo_needs_nothing(tmp_path: Path) -> None:
    corpus = find_corpus("demo", count=7, seed=3)
    assert (corpus.directory, len(corpus.recordings), corpus.left_out, corpus.notes) == (None, 7, [], [])
    with pytest.raises(
        CorpusError, match=r"^demo: is made by the program and reads no directory; got .* Drop --data-dir$"
    ):
        find_corpus("demo", tmp_path)


def test_a_complete_corpus_has_nothing_to_say(tmp_path: Path) -> None:
    (tmp_path / "03a01Fa.wav").touch()
    nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert find_corpus("emodb", tmp_path, checksums={"03a01Fa": nothing}).notes == []


@pytest.mark.parametrize(("total", "limit"), [(535, 20), (10, 3), (7, 6), (5, 1), (3, 3), (3, 99), (4, None), (0, 5)])
def test_spread_is_even_and_in_order(total: int, limit: int | None) -> None:
    recordings = [Recording(str(i), Path(str(i))) for i in range(total)]
    chosen = [int(recording.name) for recording in spread(recordings, limit)]
    assert len(chosen) == min(total, total if limit is None else limit)
    if total:
        assert chosen[0] == 0
        steps = {after - before for before, after in zip(chosen, [*chosen[1:], total], strict=True)}
        assert min(steps) >= 1
        assert max(steps) - min(steps) <= 1


def test_spread_over_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^spread: the limit must be at least 1 recording; got 0$"):
        spread([], 0)
