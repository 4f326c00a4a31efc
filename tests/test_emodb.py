"""EmoDB: what its file names say, what belongs to it, what listeners thought."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

import pytest

from speech import emodb
from speech.corpus import find_corpus
from speech.recording import CorpusError

LISTED = {"03a01Fa": "", "03a01Wa": "", "16b10Td": ""}


@pytest.fixture
def real() -> Path:
    data = os.environ.get("NN1D_DATA")
    if not data or not (Path(data) / "emodb").is_dir():
        pytest.skip("needs EmoDB: set NN1D_DATA to the folder that holds emodb/")
    return Path(data) / "emodb"


def make(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(name.encode())
    return folder


def names_in(directory: Path) -> list[str]:
    return [recording.name for recording in emodb.list_recordings(directory, LISTED)[0]]


def test_a_name_says_speaker_text_emotion_and_version(tmp_path: Path) -> None:
    make(tmp_path, "16b10Td.wav")
    (recording,), left_out = emodb.list_recordings(tmp_path)
    assert (recording.name, recording.speaker, recording.label) == ("16b10Td", "16", "sadness")
    assert recording.details == {"text": "b10", "version": "d"}
    assert recording.source == tmp_path / "16b10Td.wav"
    assert left_out == []


def test_every_emotion_letter_is_german(tmp_path: Path) -> None:
    names = {f"03a01{letter}a": "" for letter in "WLEAFTN"}
    make(tmp_path, *(f"{name}.wav" for name in names))
    labels = {recording.name[5]: recording.label for recording in emodb.list_recordings(tmp_path, names)[0]}
    assert labels == {
        "W": "anger",
        "L": "boredom",
        "E": "disgust",
        "A": "fear",
        "F": "happiness",
        "T": "sadness",
        "N": "neutral",
    }


@pytest.mark.parametrize(
    "below", ["", "wav", "EmoDB", "EmoDB/wav", "download/wav", "a/EmoDB", "a/EmoDB/wav", "a/b/EmoDB/wav"]
)
def test_the_wav_folder_is_found(tmp_path: Path, below: str) -> None:
    make(tmp_path / below, "03a01Fa.wav", "16b10Td.WAV", ".03a01Wa.wav", "._03a01Wa.wav", "notes.txt")
    if below == "wav":
        make(tmp_path / "labsilb", "03a01Wa.wav")
    recordings, left_out = emodb.list_recordings(tmp_path, LISTED)
    assert [recording.name for recording in recordings] == ["03a01Fa", "16b10Td"]
    assert left_out == []


def test_a_folder_among_several_is_not_guessed(tmp_path: Path) -> None:
    make(tmp_path / "one", "03a01Fa.wav")
    make(tmp_path / "two", "16b10Td.wav")
    assert emodb.list_recordings(tmp_path) == ([], [])


def test_emodb_2_trains_on_the_535_and_never_on_laryngograms(tmp_path: Path) -> None:
    make(tmp_path / "wav", "03a01Fa.wav", "03a01Wa.wav", "03a01Xa.wav", "09a05Fa.wav", "speaker.wav")
    make(tmp_path / "laryngograms", "03a01Fa.wav", "16b10Td.wav")
    recordings, left_out = emodb.list_recordings(tmp_path, LISTED)
    assert [recording.source for recording in recordings] == [
        tmp_path / "wav" / f"{n}.wav" for n in ("03a01Fa", "03a01Wa")
    ]
    assert left_out == [
        ("03a01Xa", "its name does not read as speaker, text, emotion, version, as 03a01Fa does"),
        ("09a05Fa", "it is not one of the 3 recordings of EmoDB"),
        ("speaker", "its name does not read as speaker, text, emotion, version, as 03a01Fa does"),
    ]


@pytest.mark.parametrize("name", ["laryngograms", "Laryngogramme", "lar", "egg", "lx"])
def test_a_folder_of_laryngograms_is_never_looked_into(tmp_path: Path, name: str) -> None:
    make(tmp_path / name, "03a01Fa.wav")
    assert emodb.list_recordings(tmp_path, LISTED) == ([], [])
    (tmp_path / name).rename(tmp_path / f"emodb_{name}2")
    assert emodb.list_recordings(tmp_path, LISTED) == ([], [])
    (tmp_path / f"emodb_{name}2").rename(tmp_path / name)
    message = f"^emodb: {re.escape(str(tmp_path / name))} is named as a folder of laryngograms, which are not speech"
    with pytest.raises(CorpusError, match=message):
        emodb.list_recordings(tmp_path / name, LISTED)


@pytest.mark.parametrize("name", ["large", "emodb", "eggs", "polar"])
def test_other_names_are_no_laryngograms(tmp_path: Path, name: str) -> None:
    make(tmp_path / name, "03a01Fa.wav")
    assert names_in(tmp_path / name) == names_in(tmp_path) == ["03a01Fa"]
    (tmp_path / name).rename(tmp_path / "without_laryngograms")
    assert names_in(tmp_path / "without_laryngograms") == ["03a01Fa"], "the user named it"


def test_perception_figures_have_decimal_commas_and_odd_bytes(tmp_path: Path) -> None:
    make(tmp_path / "wav", "03a01Fa.wav", "03a01Wa.wav", "16b10Td.wav")
    (tmp_path / "erkennung.txt").write_bytes(
        b"Nr.\tSatz\terkannt\tnatuerlich\n1\xa0\xa0\t03a01Fa.wav\t90,00\xa0\xa0\t7,50\xa0\r\n"
        b"2\t03a01Wa.wav\tviele\t90,00\n3\t16b10Td.wav\n\n"
    )
    details = {recording.name: dict(recording.details) for recording in emodb.list_recordings(tmp_path, LISTED)[0]}
    assert details["03a01Fa"] == {"text": "a01", "version": "a", "recognised_percent": 90.0, "natural_percent": 7.5}
    assert details["03a01Wa"] == {"text": "a01", "version": "a"}
    assert details["16b10Td"] == {"text": "b10", "version": "d"}


def test_an_unreadable_folder_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refuse)  # chmod does not stop root, as whom tests may run
    message = f"^emodb: {re.escape(str(tmp_path))} cannot be read: Permission denied. Check its permissions$"
    with pytest.raises(CorpusError, match=message):
        emodb.list_recordings(tmp_path)


def test_the_list_has_535_sums() -> None:
    sums = emodb.read_checksums()
    assert len(sums) == 535
    assert all(emodb.NAME.fullmatch(name) and re.fullmatch("[0-9a-f]{64}", digest) for name, digest in sums.items())


def test_the_real_corpus(real: Path) -> None:
    recordings, left_out = emodb.list_recordings(real)
    assert left_out == []
    assert emodb.check(recordings) == emodb.Check(535, (), ())
    assert emodb.check(recordings).complete
    # The counts that the authors publish.
    assert Counter(recording.label for recording in recordings) == {
        "anger": 127, "boredom": 81, "neutral": 79, "happiness": 71, "fear": 69, "sadness": 62, "disgust": 46,
    }  # fmt: skip
    assert sorted({recording.speaker for recording in recordings}) == [
        "03", "08", "09", "10", "11", "12", "13", "14", "15", "16",
    ]  # fmt: skip
    assert len({recording.details["text"] for recording in recordings}) == 10


def test_real_perception_figures(real: Path) -> None:
    if not (real / "erkennung.txt").is_file():
        pytest.skip("needs erkennung.txt of EmoDB beside its wav folder")
    details = {recording.name: recording.details for recording in emodb.list_recordings(real)[0]}
    assert details["03a01Fa"]["recognised_percent"] == 90
    assert details["03a01Fa"]["natural_percent"] == 75
    assert details["16b10Wb"]["recognised_percent"] == 100
    assert details["16b10Wb"]["natural_percent"] == 75
    assert all({"recognised_percent", "natural_percent"} <= set(figures) for figures in details.values())


@pytest.fixture
def partial(real: Path, tmp_path: Path) -> Path:
    """10 real recordings, one of them altered, and one that does not belong to the corpus."""
    folder = make(tmp_path / "data" / "emodb" / "wav", "16a01Xy.wav")
    paths = sorted((real / "wav").glob("*.wav"))[:10]
    for path in paths:
        (folder / path.name).write_bytes(path.read_bytes())
    data = bytearray(paths[3].read_bytes())
    data[1000] ^= 1
    (folder / paths[3].name).write_bytes(data)
    make(folder, "03a01Zz.wav", "09b10La.wav")
    return folder.parent


def test_a_directory_that_the_user_named_is_used_as_it_is(partial: Path) -> None:
    corpus = find_corpus("emodb", partial)
    assert len(corpus.recordings) == 10
    assert corpus.notes == [
        "emodb: of the 535 recordings in speech/emodb.sha256 525 are missing, 1 are altered (used as they are), "
        "1 more are there that do not belong to it (left out)"
    ]
    assert [name for name, _ in corpus.left_out] == ["03a01Zz", "09b10La", "16a01Xy"]


def test_altered_files_elsewhere_are_left_out(partial: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NN1D_DATA", str(partial.parent))
    corpus = find_corpus("emodb", download=False)
    altered = sorted(path.stem for path in (partial / "wav").glob("*.wav"))
    assert len(corpus.recordings) == 9
    (left_out,) = [(name, reason) for name, reason in corpus.left_out if reason.startswith("altered")]
    assert left_out[0] in altered
    assert left_out[1] == "altered: its SHA-256 is not the listed one; --data-dir uses it anyway"
    assert "1 are altered (left out)" in corpus.notes[0]


def test_nothing_but_altered_files_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "emodb", "03a01Fa.wav")
    monkeypatch.setenv("NN1D_DATA", str(tmp_path))
    message = (
        "^emodb: of the 535 recordings in speech/emodb.sha256 534 are missing, 1 are altered \\(left out\\). "
        "Name the directory with --data-dir to use them anyway$"
    )
    with pytest.raises(CorpusError, match=message):
        find_corpus("emodb", download=False)


def test_a_file_that_cannot_be_read_counts_as_altered(tmp_path: Path) -> None:
    (tmp_path / "03a01Fa.wav").symlink_to(tmp_path / "none")
    recordings, _ = emodb.list_recordings(tmp_path, LISTED)
    assert emodb.check(recordings, LISTED) == emodb.Check(3, ("03a01Wa", "16b10Td"), ("03a01Fa",))
