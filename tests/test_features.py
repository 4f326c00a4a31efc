"""Representations of many recordings in one file."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

from inference.features import Row, member_name, write_csv, write_npz


def rows() -> list[Row]:
    rng = np.random.default_rng(0)
    return [
        Row(name, label, speaker, frames / 500, rng.standard_normal((frames, 3)).astype(np.float32))
        for name, label, speaker, frames in (
            ("calm/a", "calm", "", 5),
            ("names", "", "Zoë", 1),
            ("x, \"y\"\nz", "loud", "2", 7),
        )
    ]  # fmt: skip


def test_an_npz_file_has_every_representation_and_what_is_known_of_it(tmp_path: Path) -> None:
    write_npz(tmp_path / "f.npz", iter(rows()), 500.0)
    with np.load(tmp_path / "f.npz", allow_pickle=False) as stored:
        assert stored["names"].tolist() == [row.name for row in rows()]
        assert stored["labels"].tolist() == ["calm", "", "loud"]
        assert stored["speakers"].tolist() == ["", "Zoë", "2"]
        assert stored["seconds"].tolist() == [0.01, 0.002, 0.014]
        assert stored["frames_per_second"] == 500
        for row in rows():
            z = stored[f"clip/{member_name(row.name)}"]
            assert z.dtype == np.float32
            np.testing.assert_array_equal(z, row.representation)
        assert len(stored.files) == 5 + 3


NAMES = ["../../a", "/a", "//a", "a//b", "..", ".", "a/..", "a/./b", "%2E%2E", "%2Fa", "a\x01b", "a\\..\\b", "ä b/c.d"]


def test_no_member_leads_out_of_the_folder_that_an_archive_is_unpacked_into(tmp_path: Path) -> None:
    z = np.ones((2, 3), np.float32)
    write_npz(tmp_path / "f.npz", (Row(name, "", "", 1.0, i * z) for i, name in enumerate(NAMES)), 500.0)
    with zipfile.ZipFile(tmp_path / "f.npz") as archive:
        for member in archive.namelist():
            assert not {"..", ".", ""} & set(member.split("/")) and member.isprintable() and "\\" not in member, member
    with np.load(tmp_path / "f.npz") as stored:
        assert stored["names"].tolist() == NAMES
        assert [unquote(name) for name in stored.files[: len(NAMES)]] == [f"clip/{name}" for name in NAMES]
        for i, name in enumerate(NAMES):
            assert (stored[f"clip/{member_name(name)}"] == i).all()
    assert member_name("ä b/c.d") == "ä b/c.d"


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", rows(), 500.0)
    write_npz(tmp_path / "b.npz", rows(), 500.0)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_csv_file_has_one_line_a_recording(tmp_path: Path) -> None:
    write_csv(tmp_path / "f.csv", iter(rows()))
    with (tmp_path / "f.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0] == [
        "name", "label", "speaker", "seconds",
        "mean_0", "mean_1", "mean_2", "std_0", "std_1", "std_2", "max_0", "max_1", "max_2",
    ]  # fmt: skip
    assert len(lines) == 4
    for line, row in zip(lines[1:], rows(), strict=True):
        assert line[:3] == [row.name, row.label, row.speaker]
        assert float(line[3]) == row.seconds
        numbers = np.array(line[4:], float).reshape(3, 3)
        for channel in range(3):
            values = [float(frame[channel]) for frame in row.representation]
            mean = sum(values) / len(values)
            deviation = (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5
            assert numbers[:, channel].tolist() == pytest.approx([mean, deviation, max(values)], rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", ["f.npz", "f.csv"])
def test_a_failure_half_way_leaves_what_was_there(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("before")

    def broken() -> Iterator[Row]:
        yield rows()[0]
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        write_csv(tmp_path / name, broken()) if name.endswith("csv") else write_npz(tmp_path / name, broken(), 500.0)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "before"
