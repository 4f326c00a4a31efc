"""CSV that no spreadsheet runs, and that comes back as it was."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.descriptor import read_table
from inference.features import Row, write_csv
from speech.fold import read_folds, write_folds
from speech.manifest import read_manifest
from speech.recording import Recording
from storage.spreadsheet import TableReader, csv_lines

ROOT = Path(__file__).parents[1]
CELLS = st.text(st.sampled_from("='+-@\t\r\n1.e,\"a ＝"), max_size=6) | st.text(max_size=8)
FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-a", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''-a", "＝1"]


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=4))
def test_cells_come_back_as_they_were_and_none_is_a_formula(rows: list[tuple[str, str, str]]) -> None:
    rows = [tuple(cell.replace("\0", "") for cell in row) for row in rows]  # type: ignore[misc]
    text = "".join(csv_lines([("a", "b", "c"), *rows]))
    assert [tuple(row.values()) for row in TableReader(io.StringIO(text, newline=""))] == rows
    for row in csv.reader(io.StringIO(text, newline="")):
        for cell in row:
            if re.match("[=+\\-@\t\r\n＝＋－＠]", cell):
                float(cell)


@pytest.mark.parametrize("number", ["-1", "+2.5e-3", "-inf", "-.5", -3, 0.25, True])
def test_numbers_stay_numbers(number: object) -> None:
    assert list(csv_lines([[number]])) == [f"{number}\r\n"]


def test_what_is_written_for_others_reads_back(tmp_path: Path) -> None:
    recordings = [Recording(name, tmp_path) for name in FORMULAS]
    write_folds(tmp_path / "folds.csv", recordings, FORMULAS)
    assert read_folds(tmp_path / "folds.csv") == dict(zip(FORMULAS, FORMULAS, strict=True))
    z = np.arange(3, dtype=np.float32)[None] - 1
    write_csv(tmp_path / "features.csv", [Row(name, name, name, 1.0, z) for name in FORMULAS])
    assert read_table(tmp_path / "features.csv", FORMULAS)[:, 0].tolist() == [-1] * len(FORMULAS)
    text = "".join(csv_lines([("path", "label", "speaker"), *((f"{i}.wav", "=x", "-y") for i in range(2))]))
    (tmp_path / "list.csv").write_text(text)
    assert "'=x,'-y" in text
    assert {(item.label, item.speaker) for item in read_manifest(tmp_path / "list.csv", tmp_path)} == {("=x", "-y")}


def test_every_table_is_written_in_one_place() -> None:
    """No other file of the project has a csv.writer of its own."""
    rooms = ("inference", "models", "nn1d", "report", "speech", "storage", "training")
    files = [ROOT / "train.py", *(path for room in rooms for path in (ROOT / room).rglob("*.py"))]
    writers = [path.name for path in files if re.search(r"csv\.(Dict)?[wW]riter", path.read_text("utf-8"))]
    assert writers == ["spreadsheet.py"]
