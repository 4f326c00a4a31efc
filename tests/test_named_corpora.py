"""RAVDESS, CREMA-D and TESS as they are handed out and passed on, by files with those names and made-up sounds."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from speech import cremad, ravdess, tess
from speech.clip import load_clips
from speech.corpus import find_corpus
from speech.recording import CorpusError
from tests.command import SMALL, train

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 123456\n" % (b"0" * 64)


def ravdess_names() -> Iterator[str]:
    """The 1,440 of the archive: neutral has no strong form."""
    for actor in range(1, 25):
        for emotion in range(1, 9):
            for intensity in (1, 2)[: 1 if emotion == 1 else 2]:
                for sentence in (1, 2):
                    for repetition in (1, 2):
                        yield f"03-01-{emotion:02}-{intensity:02}-{sentence:02}-{repetition:02}-{actor:02}"


def tess_names() -> Iterator[str]:
    """The 2,800 of the archive, with 200 made-up words; one name lacks a letter."""
    for speaker in ("OAF", "YAF"):
        for emotion in ("angry", "disgust", "fear", "happy", "neutral", "ps", "sad"):
            for i in range(200):
                word = "bite" if i == 0 else f"{'abcdefghij'[i // 20]}{'abcdefghijklmnopqrst'[i % 20]}g"
                odd = (speaker, word, emotion) == ("OAF", "bite", "neutral")
                yield f"{'OA' if odd else speaker}_{word}_{emotion}"


def touch(folder: Path, names: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{name}.wav").touch()


def by_actor(folder: Path) -> None:
    for name in ravdess_names():
        (folder / f"Actor_{name[-2:]}").mkdir(parents=True, exist_ok=True)
        (folder / f"Actor_{name[-2:]}" / f"{name}.wav").touch()


@pytest.mark.parametrize("below", ["", "Audio_Speech_Actors_01-24", "archive/audio_speech_actors_01-24"])
def test_ravdess_is_whole_in_every_nesting(tmp_path: Path, below: str) -> None:
    by_actor(tmp_path / below)
    corpus = find_corpus("ravdess", tmp_path)
    assert (len(corpus.recordings), corpus.left_out, corpus.notes) == (1440, [], [])
    assert ravdess.RECORDINGS == 1440
    assert len(Counter(item.speaker for item in corpus.recordings)) == 24
    emotions = Counter(item.label for item in corpus.recordings)
    assert emotions.pop("neutral") == 96
    assert set(emotions) == {"calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise"}
    assert set(emotions.values()) == {192}
    (one,) = (item for item in corpus.recordings if item.name == "03-01-05-01-02-01-12")
    assert (one.label, one.speaker) == ("anger", "12")
    assert dict(one.details) == {
        "sentence": "02", "text": "Dogs are sitting by the door", "intensity": "normal", "repetition": "01"
    }  # fmt: skip


def test_ravdess_that_holds_its_folders_twice_has_each_recording_once(tmp_path: Path) -> None:
    by_actor(tmp_path)
    by_actor(tmp_path / "audio_speech_actors_01-24")
    corpus = find_corpus("ravdess", tmp_path)
    assert (len(corpus.recordings), corpus.left_out, corpus.notes) == (1440, [], [])
    assert all(isinstance(item.source, Path) and item.source.parents[1] == tmp_path for item in corpus.recordings)


def test_ravdess_leaves_songs_and_the_sound_of_videos_out(tmp_path: Path) -> None:
    touch(tmp_path / "Actor_01", ["03-01-05-01-02-01-01", "03-02-05-01-02-01-01", "01-01-05-01-02-01-01"])
    touch(tmp_path / "Actor_01", ["03-01-09-01-02-01-01", "03-01-05-01-02-01-25", "._03-01-05-01-02-01-01"])
    (tmp_path / "Actor_01" / "02-01-05-01-02-01-01.mp4").touch()
    corpus = find_corpus("ravdess", tmp_path)
    assert [item.name for item in corpus.recordings] == ["03-01-05-01-02-01-01"]
    odd = "its name does not read as seven numbers from modality to actor, as 03-01-05-01-02-01-12 does"
    assert corpus.left_out == [
        (
            "01-01-05-01-02-01-01",
            "it belongs to a video; the audio-only recording has the same name with 03 first",
        ),
        ("03-01-05-01-02-01-25", odd),
        ("03-01-09-01-02-01-01", odd),
        ("03-02-05-01-02-01-01", "it is a song"),
    ]
    assert corpus.notes == [f"ravdess: 1 of its 1440 recordings are under {tmp_path}"]


def test_a_few_ravdess_files_are_stereo_or_have_a_chunk_before_the_sound(tmp_path: Path) -> None:
    """The 48 kHz files of some actors have two channels, others a chunk FLLR of 4,044 bytes before the data."""
    rng = np.random.default_rng(0)
    sound = 0.2 * rng.standard_normal(48_000)
    folder = tmp_path / "Actor_05"
    folder.mkdir()
    plain, stereo, filled = (folder / f"03-01-0{emotion}-01-01-01-05.wav" for emotion in (1, 2, 3))
    soundfile.write(plain, sound, 48_000)
    soundfile.write(stereo, np.stack([sound, sound], axis=1), 48_000)
    content = plain.read_bytes()
    start = content.index(b"data")
    filler = b"FLLR" + (4044).to_bytes(4, "little") + bytes(4044)
    size = (int.from_bytes(content[4:8], "little") + len(filler)).to_bytes(4, "little")
    filled.write_bytes(content[:4] + size + content[8:start] + filler + content[start:])
    clips, left_out = load_clips(find_corpus("ravdess", tmp_path).recordings, clip_samples=16_000)
    assert left_out == []
    assert clips.valid.tolist() == [16_000] * 3
    np.testing.assert_allclose(clips.waveform(1), clips.waveform(0), atol=1e-4)
    np.testing.assert_array_equal(clips.waveform(2), clips.waveform(0))


@pytest.mark.parametrize("below", ["AudioWAV", "", "archive/CREMA-D/AudioWAV"])
def test_cremad(tmp_path: Path, below: str) -> None:
    names = ["1001_DFA_ANG_XX", "1040_ITH_SAD_X", "1091_WSI_HAP_XX", "1010_IEO_FEA_HI", "1080_TIE_NEU_XX"]
    touch(tmp_path / below, [*names, "1076_MTI_SAD_XX", "1064_IEO_DIS_MD", "1092_DFA_ANG_XX", "1001_XXX_ANG_XX"])
    (tmp_path / "AudioMP3").mkdir()
    (tmp_path / "AudioMP3" / "1002_DFA_ANG_XX.mp3").touch()
    corpus = find_corpus("cremad", tmp_path)
    assert {item.name: (item.speaker, item.label, item.details["text"]) for item in corpus.recordings} == {
        "1001_DFA_ANG_XX": ("1001", "anger", "Don't forget a jacket"),
        "1010_IEO_FEA_HI": ("1010", "fear", "It's eleven o'clock"),
        "1040_ITH_SAD_X": ("1040", "sadness", "I think I have a doctor's appointment"),
        "1080_TIE_NEU_XX": ("1080", "neutral", "That is exactly what happened"),
        "1091_WSI_HAP_XX": ("1091", "happiness", "We'll stop in a couple of minutes"),
    }
    odd = "its name does not read as actor, sentence, emotion, intensity, as 1001_DFA_ANG_XX does"
    assert corpus.left_out == [
        ("1001_XXX_ANG_XX", odd),
        ("1064_IEO_DIS_MD", "it holds the sentence in every emotion, in every copy of the corpus"),
        ("1076_MTI_SAD_XX", "it holds no sound, in every copy of the corpus"),
        ("1092_DFA_ANG_XX", odd),
    ]
    assert corpus.notes == [f"cremad: 7 of its 7442 recordings are under {tmp_path}"]
    assert (len(cremad.SENTENCES), len(cremad.EMOTIONS)) == (12, 6)


@pytest.mark.parametrize("layout", ["by emotion", "nested twice", "all in one"])
def test_tess_is_whole_in_every_layout(tmp_path: Path, layout: str) -> None:
    again = "TESS Toronto emotional speech set data"
    for name in tess_names():
        speaker, _, emotion = name.split("_")
        folder = {"ps": "Pleasant_surprise", "sad": "Sad", "fear": "Fear"}.get(emotion, emotion)
        below = "" if layout == "all in one" else f"{'OAF' if speaker == 'OA' else speaker}_{folder}"
        for root in [tmp_path, tmp_path / again] if layout == "nested twice" else [tmp_path]:
            (root / below).mkdir(parents=True, exist_ok=True)
            (root / below / f"{name}.wav").touch()
    corpus = find_corpus("tess", tmp_path)
    assert (len(corpus.recordings), corpus.left_out, corpus.notes) == (2800, [], [])
    assert Counter(item.speaker for item in corpus.recordings) == {"OAF": 1400, "YAF": 1400}
    assert set(Counter(item.label for item in corpus.recordings).values()) == {400}
    (one,) = (item for item in corpus.recordings if item.name == "OA_bite_neutral")
    assert (one.speaker, one.label, one.details["text"]) == ("OAF", "neutral", "Say the word bite")
    assert {item.label for item in corpus.recordings if item.name.endswith("_ps")} == {"pleasant surprise"}
    touch(tmp_path, ["OAF_bite_bored"])
    odd = "its name does not read as actress, word, emotion, as OAF_back_angry does"
    assert tess.list_recordings(tmp_path)[1] == [("OAF_bite_bored", odd)]


@pytest.mark.parametrize(
    ("name", "looked_for", "cure"),
    [
        (
            "ravdess",
            "Actor_12/03-01-05-01-02-01-12.wav at any depth",
            "Audio_Speech_Actors_01-24.zip from https://zenodo",
        ),
        ("cremad", "AudioWAV/1001_DFA_ANG_XX.wav at any depth", "git lfs install"),
        ("tess", "OAF_angry/OAF_back_angry.wav at any depth", "https://doi.org/10.5683/SP2/E8H2MF"),
    ],
)
def test_where_there_is_none_three_lines_say_how_to_get_it(
    tmp_path: Path, name: str, looked_for: str, cure: str
) -> None:
    touch(tmp_path / "a", ["x", "y"])
    with pytest.raises(CorpusError) as error:
        find_corpus(name, tmp_path)
    first, second, third = str(error.value).splitlines()
    assert first == (
        f"{name}: no recordings under {tmp_path} (looked for {looked_for}). See docs/corpora.md for how to get them"
    )
    assert cure in second
    assert third.startswith("To put it: ")
    assert str(tmp_path) in third


@pytest.mark.parametrize(
    ("db", "names"),
    [
        ("cremad", ["1001_DFA_ANG_XX", "1002_DFA_ANG_XX"]),
        ("ravdess", ["03-01-05-01-02-01-12", "03-01-05-01-02-01-13"]),
        ("folder", ["a", "b"]),
    ],
)
def test_git_lfs_pointers_instead_of_audio_are_recognised(tmp_path: Path, db: str, names: list[str]) -> None:
    for name in names:
        (tmp_path / f"{name}.wav").write_bytes(POINTER)
    cure = f"In the clone: git lfs install && git lfs pull, where {tmp_path} is"
    with pytest.raises(CorpusError) as error:
        find_corpus(db, tmp_path)
    assert str(error.value) == f"{db}: all 2 recordings are Git LFS pointers instead of audio. {cure}"
    soundfile.write(tmp_path / f"{names[0]}.wav", np.sin(np.arange(800)), 16_000)
    corpus = find_corpus(db, tmp_path)
    assert [item.name for item in corpus.recordings] == names[:1]
    assert corpus.left_out == [(names[1], f"a Git LFS pointer instead of audio. {cure}")]


def make_several(data: Path) -> None:
    rng = np.random.default_rng(0)
    for i, name in enumerate(ravdess_names()):
        if i % 60 < 2 and i < 300:
            (data / "ravdess").mkdir(parents=True, exist_ok=True)
            soundfile.write(data / "ravdess" / f"{name}.wav", 0.1 * rng.standard_normal(24_000), 48_000)
    (data / "savee").mkdir()
    for speaker in ("DC", "JE"):
        for i in range(1, 5):
            soundfile.write(data / "savee" / f"{speaker}_a0{i}.wav", 0.1 * rng.standard_normal(8000), 16_000)


def test_several_corpora_keep_their_names_apart(tmp_path: Path) -> None:
    make_several(tmp_path)
    corpus = find_corpus("savee+ravdess", tmp_path)
    assert (corpus.name, corpus.directory, len(corpus.recordings)) == ("savee+ravdess", None, 18)
    assert len({item.name for item in corpus.recordings}) == 18
    first, last = corpus.recordings[0], corpus.recordings[-1]
    assert (first.name, first.speaker, first.label) == ("savee/DC_a01", "savee/DC", "anger")
    assert (last.name, last.speaker) == ("ravdess/03-01-01-01-01-02-05", "ravdess/05")
    assert corpus.notes == [
        f"savee: 8 of its 480 recordings are under {tmp_path / 'savee'}",
        f"ravdess: 10 of its 1440 recordings are under {tmp_path / 'ravdess'}",
    ]
    assert [item.name for item in find_corpus("savee+demo", tmp_path, count=1).recordings][-1].startswith("demo/")
    for name in ("savee+savee", "savee+folder"):
        with pytest.raises(CorpusError, match=r"^corpus: several must differ, and none may be folder; got savee, "):
            find_corpus(name, tmp_path)
    with pytest.raises(CorpusError, match=r"^corpus: there is no 'x'; choose one of demo, emodb, savee, ravdess"):
        find_corpus("savee+x", tmp_path)


def test_training_on_several_corpora(tmp_path: Path) -> None:
    make_several(tmp_path / "data")
    run = tmp_path / "run"
    done = train(*SMALL, "--db", "savee", "ravdess", "--data-dir", tmp_path / "data", "--out", run)
    assert "SAVEE and RAVDESS speech, 18 clips" in done.stdout
    names = [line.split(",")[0] for line in (run / "clips.csv").read_text().splitlines()[1:]]
    assert len([name for name in names if name.startswith("savee/")]) == 8
    assert len([name for name in names if name.startswith("ravdess/")]) == 10
    before = (run / "checkpoints" / "finetuned.safetensors").read_bytes()
    train("--resume", run, expect=0)
    assert (run / "checkpoints" / "finetuned.safetensors").read_bytes() == before


def test_a_clone_without_lfs_ends_with_the_cure(tmp_path: Path) -> None:
    """As git writes it where the program git-lfs is missing: the pointer stays in the place of the file."""
    (tmp_path / "AudioWAV").mkdir()
    (tmp_path / "AudioWAV" / "1001_DFA_ANG_XX.wav").write_bytes(POINTER)
    environment = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@y", "-C", str(tmp_path)]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *command], check=True, env=environment)
    subprocess.run(["git", "clone", "-q", str(tmp_path), str(tmp_path / "clone")], check=True, env=environment)
    failed = train("--db", "cremad", "--data-dir", tmp_path / "clone", "--out", tmp_path / "run", expect=2)
    assert "cremad: all 1 recordings are Git LFS pointers instead of audio. In the clone: git lfs" in failed.stderr
    assert not (tmp_path / "run").exists()
