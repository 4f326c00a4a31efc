"""Some of the bad input of tests/fuzz.py; `python -m tests.fuzz` gives more of it."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("resource", reason="peak memory is measured as Unix tells it")
from tests.fuzz import KINDS, fuzz

pytestmark = pytest.mark.commands

GOOD = {
    "files of a run": "config.json, evaluate: a result",
    "audio files": "read",
    "config.json": "read",
    "command lines": "accepted",
    "shapes given to layers": "computed",
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "files of a run, shown"])  # which takes minutes
def test_bad_input_ends_with_a_result_or_a_sentence(kind: str, tmp_path: Path) -> None:
    count = 25 if kind == "files of a run" else 300  # each of them is a command
    counts = fuzz(kind, count, tmp_path)
    assert counts.total() == count
    assert len(counts) > 1  # neither all refused nor all taken
    assert kind not in GOOD or counts[GOOD[kind]] > 0
