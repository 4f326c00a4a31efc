"""A few of the faults of tests/faults.py; `python -m tests.faults kill` and `write` do them all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import faults

pytestmark = pytest.mark.commands


def test_runs_that_are_killed_come_to_the_same_end(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="SIGKILL is of Unix")
    assert faults.kill(5, tmp_path, seed=1).total() == 5


def test_runs_whose_disk_is_full_go_on(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="the size of a file can be limited on Unix only")
    count, failed = faults.write(tmp_path, [1, 2, 3, 5, 9, 30, 57])  # clips, the marker, records, states and the last
    assert (count, failed) == (57, 7)
