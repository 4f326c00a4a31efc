"""Folds that leave speakers out: never one in two folds; written and read by name; a run that trains without them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.fold import find_folds, fold_names, group_folds, read_folds, write_folds
from speech.recording import Recording
from speech.split import SplitError, split_off
from tests.command import SMALL, make_recordings, train
from training.configuration import Configuration
from training.data import split_recordings


@settings(deadline=None, max_examples=50)
@given(sizes=st.lists(st.integers(1, 40), min_size=2, max_size=60), seed=st.integers(0, 99))
def test_no_group_is_in_two_folds_and_ten_folds_are_balanced(sizes: list[int], seed: int) -> None:
    groups = [f"g{i}" for i, size in enumerate(sizes) for _ in range(size)]
    np.random.default_rng(seed).shuffle(groups)
    folds = group_folds(groups)
    assert len(set(zip(groups, folds, strict=True))) == len(sizes)
    if len(sizes) <= 12:
        assert folds == groups
    else:
        filled = Counter(folds)
        assert sorted(filled, key=int) == [str(i) for i in range(1, 11)] == fold_names(folds)
        assert max(filled.values()) - min(filled.values()) <= max(sizes)


def test_the_same_recordings_in_another_order_have_the_same_folds() -> None:
    groups = [f"s{i % 15}" for i in range(200)]
    folds = dict(zip(groups, group_folds(groups), strict=True))
    again = group_folds(groups[::-1])
    assert dict(zip(groups[::-1], again, strict=True)) == folds


def test_folds_are_written_and_read_by_name(tmp_path: Path) -> None:
    recordings = [Recording(f"a,{i}", Path(f"{i}.wav"), "x", f"s{i % 3}") for i in range(9)]
    folds = find_folds("speaker", recordings)
    write_folds(tmp_path / "folds.csv", recordings, folds)
    assert read_folds(tmp_path / "folds.csv") == {f"a,{i}": f"s{i % 3}" for i in range(9)}
    assert find_folds(str(tmp_path / "folds.csv"), recordings[::-1]) == folds[::-1]
    (tmp_path / "own.csv").write_text('\ufeffFold , Name,more\r\ns0,"a,0",x\r\ns1,"a,1"\r\n', "utf-8")
    assert read_folds(tmp_path / "own.csv") == {"a,0": "s0", "a,1": "s1"}, "as a manifest is read"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name,fold\na,1\n", "has no fold for 1 recordings, b \\(so written\\) among them"),
        ("name,fold\na,1\nb,1\n", "has a single fold, 1. Two at least are needed"),
        ("name,fold\na,1\na,2\nb,2\n", "names a twice"),
        ("clip,fold\na,1\n", "needs a first line with name and fold, and recordings below it"),
        ("", "needs a first line with name and fold"),
        ("name,fold\na,1\nb,c,2\n", "line 3 has more cells than the first. A cell that holds a comma needs"),
        ("name,fold\na,1\nb,2\nc,1\n", "has speaker s in two folds, 1 and 2"),
    ],
)
def test_a_mistake_in_a_file_of_folds_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "folds.csv").write_text(text)
    one_speaker = "s" if "two folds" in sentence else ""
    recordings = [Recording(name, Path(name), "", one_speaker) for name in "ab"]
    with pytest.raises(SplitError, match=f"^--folds: .*folds.csv:? {sentence}"):
        find_folds(str(tmp_path / "folds.csv"), recordings)
    with pytest.raises(SplitError, match=r"^--folds: cannot read .*no.csv: No such file or directory"):
        find_folds(str(tmp_path / "no.csv"), recordings)


def test_blanks_around_a_fold_are_none_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "folds.csv").write_text("name, fold\na , x\nb,y \n")
    assert read_folds(tmp_path / "folds.csv") == {"a ": "x", "b": "y"}


def test_folds_without_speakers_are_refused() -> None:
    with pytest.raises(
        SplitError, match="folds need the speaker of every recording and at least 2 of them; got 1 and 1"
    ):
        group_folds(["a", ""])


def test_certain_clips_test() -> None:
    is_test = np.arange(40) % 5 == 0
    split = split_off(is_test, rng=np.random.default_rng(0))
    assert sorted(split.test) == list(range(0, 40, 5))
    assert sorted(np.concatenate([split.train, split.validation, split.test])) == list(range(40))
    assert len(split.validation) == 3
    with pytest.raises(SplitError, match="none of the 4 clips is left to test on"):
        split_off(np.zeros(4, bool), rng=np.random.default_rng(0))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[str | Path, ...]:
    folder = tmp_path_factory.mktemp("own")
    make_recordings(folder / "data")
    lines = [f"{'calm' if i % 2 == 0 else 'loud'}/take{i}.wav,s{i // 3}" for i in range(12)]
    (folder / "list.csv").write_text("path,speaker\n" + "\n".join(lines) + "\n")
    return (*SMALL, "--db", "folder", "--data-dir", folder / "data", "--manifest", folder / "list.csv")


def test_a_network_is_trained_without_the_speakers_that_are_left_out(
    data: tuple[str | Path, ...], tmp_path: Path
) -> None:
    train(*data, "--leave-out", "s1", "s3", "--out", tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["settings"]["leave_out"] == ["s1", "s3"]
    assert config["speakers"] == {"heard": ["s0", "s2"], "test": ["s1", "s3"]}
    assert len(config["split"]["test"]) == 6
    train(*data, "--folds", "speaker", "--fold", "s2", "--out", tmp_path / "fold")
    config = json.loads((tmp_path / "fold" / "config.json").read_text())
    assert config["speakers"] == {"heard": ["s0", "s1", "s3"], "test": ["s2"]}
    train("--resume", tmp_path / "fold")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"leave_out": ("s1", "s7")}, "--leave-out: folder has no speaker s7; its speakers are s0, s1, s2, s3"),
        ({"leave_out": ("s1",), "folds": "speaker"}, "each say which clips test. Give one of them"),
        ({"folds": "speaker", "split": "speaker"}, "each say which clips test. Give one of them"),
        ({"fold": "s1"}, "--fold s1: is one of which folds? Give --folds speaker too"),
        ({"folds": "speaker", "fold": "x"}, "--fold: there is no fold x; got s0, s1, s2, s3 from --folds speaker"),
        ({"leave_out": ("s0", "s1", "s2", "s3")}, "too few clips are left to train on: 0 outside the test speakers"),
    ],
)
def test_a_mistake_is_one_sentence(settings: dict[str, Any], sentence: str) -> None:
    recordings = [Recording(str(i), Path(str(i)), "", f"s{i // 3}") for i in range(12)]
    with pytest.raises(SplitError) as error:
        split_recordings(Configuration(db="folder", **settings), recordings)
    assert sentence in str(error.value)


def test_a_mistake_leaves_no_run(data: tuple[str | Path, ...], tmp_path: Path) -> None:
    failed = train(*data, "--leave-out", "s7", "--out", tmp_path / "run", expect=2)
    assert failed.stderr == "train.py: --leave-out: folder has no speaker s7; its speakers are s0, s1, s2, s3\n"
    assert not (tmp_path / "run").exists()
