"""A few of the faults of tests/faults.py; `python -m tests.faults kill` and `write` do them all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.full_disk import write
from tests.killing import kill

pytestmark = pytest.mark.commands


def test_runs_that_are_killed_come_to_the_same_end(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="SIGKILL is of Unix")
    assert kill(3, tmp_path, seed=1).total() == 3


def test_runs_whose_disk_is_full_go_on(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="the size of a file can be limited on Unix only")
    count, failed = write(tmp_path, 2, seed=5)  # a sound of the page, and a figure
    assert count > 100 and failed == 2
