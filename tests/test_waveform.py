"""The picture of the README: drawn from a run on the demo corpus, and from no other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from docs import waveform
from tests.command import SMALL, make_recordings, train

pytestmark = pytest.mark.commands

ROOT = Path(__file__).parents[1]


def draw(run: Path, *options: str | Path) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [sys.executable, "-m", "docs.waveform", run, *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_the_picture_is_drawn_and_the_same_twice(tmp_path: Path) -> None:
    train("--limit", "6", "--out", tmp_path / "run", *SMALL)
    drawn = []
    for name in ("one.svg", "run-waveform.svg"):
        options: list[str | Path] = ["-o", tmp_path / name] if name == "one.svg" else []
        done = draw(tmp_path / "run", *options)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"written: {tmp_path / name}\n"
        drawn.append((tmp_path / name).read_bytes())
    assert drawn[0] == drawn[1]
    ElementTree.fromstring(drawn[0])
    text = drawn[0].decode()
    assert all(colour in text for colour in ("#8a8f98", "#2389b8", "#d9730d"))


def test_readme_and_help_say_what_one_command_draws() -> None:
    for text in ((ROOT / "README.md").read_text("utf-8"), waveform.__doc__ or ""):
        assert re.search(r"python -m docs\.waveform runs/demo`?,?\s+(which )?draws `?runs/demo-waveform\.svg", text)


def test_recordings_of_people_are_not_drawn(tmp_path: Path) -> None:
    corpus = make_recordings(tmp_path / "recordings", 6)
    train("--db", "folder", "--data-dir", corpus, "--out", tmp_path / "run", *SMALL)
    done = draw(tmp_path / "run", "-o", tmp_path / "one.svg")
    assert done.returncode == 2
    assert done.stderr == f"docs.waveform: needs a run on the demo corpus; {tmp_path / 'run'} is one on folder\n"
    assert not (tmp_path / "one.svg").exists()


@pytest.mark.skipif(os.name == "nt", reason="ulimit is of Unix")
def test_what_cannot_be_read_or_written_is_a_sentence(tmp_path: Path) -> None:
    long = tmp_path / ("a" * 300)
    done = draw(long)
    assert (done.returncode, done.stderr) == (2, f"docs.waveform: {long / 'config.json'}: File name too long\n")
    train("--limit", "6", "--out", tmp_path / "run", *SMALL)
    words = [sys.executable, "-m", "docs.waveform", str(tmp_path / "run")]
    limited = ["bash", "-c", 'ulimit -f 0; exec "$@"', "bash", *words]  # no file may grow, as on a full disk
    done = subprocess.run(limited, cwd=ROOT, capture_output=True, text=True)
    picture = tmp_path / "run-waveform.svg"
    assert (done.returncode, done.stderr) == (2, f"docs.waveform: {picture}: File too large\n")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_the_committed_picture_is_small_and_for_light_and_dark() -> None:
    text = (ROOT / "docs" / "figures" / "waveform.svg").read_text("utf-8")
    assert len(text) < 120_000
    ElementTree.fromstring(text)
    assert "#ffffff" not in text  # no ground of its own
    assert "#000000" not in text
