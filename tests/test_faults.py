"""A few of the faults of tests/faults.py; `python -m tests.faults` does them all."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.damage import damage
from tests.foreign_files import keep_foreign, keep_foreign_of_many
from tests.full_disk import write
from tests.killing import kill
from tests.surroundings import permissions

pytestmark = pytest.mark.commands


def test_runs_that_are_killed_come_to_the_same_end(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="SIGKILL is of Unix")
    assert kill(3, tmp_path, seed=1).total() == 3


def test_runs_whose_disk_is_full_go_on(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="the size of a file can be limited on Unix only")
    count, failed = write(tmp_path, 2, seed=5)  # a sound of the page, and a figure
    assert count > 100 and failed == 2


def test_files_of_others_are_as_they_were_after_every_command(tmp_path: Path) -> None:
    assert keep_foreign(tmp_path) == {"done": 13, "refused": 3}


def test_files_of_others_in_sweeps_and_shards_are_as_they_were(tmp_path: Path) -> None:
    assert keep_foreign_of_many(tmp_path, 3, seed=1).total() == 3


def test_damaged_files_are_noticed(tmp_path: Path) -> None:
    counts = damage(tmp_path, 25)
    assert counts.total() == 25 and len(counts) > 2


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="rights are dropped as Linux does it")
def test_what_may_not_be_read_or_written_is_a_sentence(tmp_path: Path) -> None:
    assert permissions(tmp_path, 2).total() == 2
