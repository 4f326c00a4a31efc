"""One's own recordings with a manifest: labels, speakers, texts and folds that no folder name says."""

from __future__ import annotations

from pathlib import Path

import pytest

from speech.corpus import find_corpus
from speech.manifest import read_manifest
from speech.recording import CorpusError
from tests.command import SMALL, make_recordings, rows, train


def write(folder: Path, text: str) -> Path:
    (folder / "list.csv").write_text(text, encoding="utf-8")
    return folder / "list.csv"


def test_every_column(tmp_path: Path) -> None:
    manifest = write(
        tmp_path,
        "speaker,Path,fold,label,text,mood\nanna,a/1.wav,x,joy,hello,9\nbert,a/2.flac,y,,,\n,/elsewhere/3.wav,,rage,,\n",
    )
    first, second, third = read_manifest(manifest, tmp_path)
    assert (first.name, first.source, first.label, first.speaker) == ("a/1", tmp_path / "a/1.wav", "joy", "anna")
    assert dict(first.details) == {"text": "hello", "fold": "x"}
    assert (second.label, second.speaker, dict(second.details)) == ("", "bert", {"fold": "y"})
    assert (third.source, third.label, dict(third.details)) == (Path("/elsewhere/3.wav"), "rage", {})


@pytest.mark.parametrize("columns", ["path", "path,speaker", "path,label", "text,path", "\ufeffpath,fold"])
def test_any_subset_of_the_columns(tmp_path: Path, columns: str) -> None:
    (recording,) = read_manifest(
        write(tmp_path, f"{columns}\n{','.join(['v.wav'] * len(columns.split(',')))}\n"), tmp_path
    )
    assert recording.name == "v"
    assert (recording.speaker != "", recording.label != "") == ("speaker" in columns, "label" in columns)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "",
            "needs a first line with a column path, and any of .*, with commas between them; got an empty file",
        ),
        ("file,label\na.wav,x\n", "needs a first line with a column path, and any of .*; got file, label"),
        ("path,label\n", "lists no recording. Write one a line below path, label"),
        ("path,label\na.wav,x\n,y\n", "line 3 of .* has no path"),
        ("path\na.wav\nb.wav\na.wav\n", "a.wav is in .* twice, in lines 2 and 4"),
        ("path,text,fold\na.wav,well, how,1\n", "line 2 has more cells than the first. .* needs quotation marks"),
        ('path,text\na.wav,"x\nb.wav,y\n', "unexpected end of data after line 1; look there for a quotation mark"),
        ("path,label,Label\na.wav,x,y\n", "it has two columns label"),
        ("path,label\na\0.wav,x\n", "line 2 of .* has a zero byte in its path. Take it out"),
        ("path;label\na.wav;x\n", "any of label, speaker, text, fold, with commas between them; got path;label"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(CorpusError, match=sentence):
        read_manifest(write(tmp_path, text), tmp_path)


def test_empty_cells_beyond_the_columns_and_columns_without_a_name_are_passed_over(tmp_path: Path) -> None:
    (recording,) = read_manifest(write(tmp_path, 'path,label,,\na.wav,"x, ""y""",,,,\n'), tmp_path)
    assert (recording.name, recording.label) == ("a", 'x, "y"')


def test_what_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"^--manifest: cannot read .*: No such file or directory. It must be a CSV"):
        read_manifest(tmp_path / "list.csv", tmp_path)
    (tmp_path / "list.csv").write_bytes(b"path\n\xff\xfe\n")
    with pytest.raises(CorpusError, match=r"^--manifest: cannot read .* It must be a CSV file in UTF-8$"):
        read_manifest(tmp_path / "list.csv", tmp_path)
    with pytest.raises(
        CorpusError, match=r"^--manifest: is for --db folder; savee says itself what its recordings are$"
    ):
        find_corpus("savee", tmp_path, manifest=tmp_path / "list.csv")


def test_a_run_finds_its_manifest_and_folds_from_any_folder_and_where_they_were_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_recordings(tmp_path / "data")
    names = [f"{'calm' if i % 2 == 0 else 'loud'}/take{i}" for i in range(12)]
    write(tmp_path, "path,label\n" + "".join(f"{name}.wav,x\n" for name in names))
    (tmp_path / "folds.csv").write_text("name,fold\n" + "".join(f"{name},{i % 3}\n" for i, name in enumerate(names)))
    monkeypatch.chdir(tmp_path)
    train(
        *SMALL, "--db", "folder", "--data-dir", data, "--manifest", "list.csv", "--folds", "folds.csv", "--out", "run"
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    train("--resume", tmp_path / "run")
    for option, name in (("manifest", "list.csv"), ("folds", "folds.csv")):
        (tmp_path / name).rename(name)
        failed = train("--resume", tmp_path / "run", expect=2)
        assert failed.stderr == (
            f"train.py: --resume: the run has its {option} from {tmp_path / name}, which is not there any more. If the "
            f"file was moved, name its new place: python train.py --resume RUN --{option} FILE.csv\n"
        )
        train("--resume", tmp_path / "run", f"--{option}", name)
        train("--resume", tmp_path / "run")
    Path("other.csv").write_text("name,fold\n" + "".join(f"{name},{i % 4}\n" for i, name in enumerate(names)))
    failed = train("--resume", tmp_path / "run", "--folds", "other.csv", expect=2)
    assert "are not those that the run began with: their split differs" in failed.stderr
    failed = train("--resume", tmp_path / "run", "--fold", "1", expect=2)
    assert "--resume: fold cannot change within a run: the run has None; got 1" in failed.stderr


def test_training_by_the_folds_of_a_manifest(tmp_path: Path) -> None:
    data = make_recordings(tmp_path / "data")
    lines = [f"{'calm' if i % 2 == 0 else 'loud'}/take{i}.wav,s{i // 4},{'ab'[i // 8]}" for i in range(12)]
    manifest = write(tmp_path, "path,speaker,fold\n" + "\n".join([*lines, "gone.wav,s9,a"]) + "\n")
    options = (*SMALL, "--db", "folder", "--data-dir", data, "--manifest", manifest)
    done = train(*options, "--folds", "manifest", "--fold", "b", "--out", tmp_path / "run")
    assert "gone: unreadable: there is no such file" in done.stdout
    clips = rows(tmp_path / "run" / "clips.csv")
    assert len(clips) == 12
    assert {row["speaker"] for row in clips if row["part"] == "test"} == {"s2"}
    assert {row["speaker"] for row in clips if row["part"] != "test"} == {"s0", "s1"}
    failed = train(*options, "--folds", "manifest", "--fold", "c", "--out", tmp_path / "other", expect=2)
    assert "--fold: there is no fold c; got a, b from --folds manifest" in failed.stderr
