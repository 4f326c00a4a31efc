"""A pipe in place of any file that is read: an error at once, where opening it would wait for ever."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from inference.descriptor import DescriptorError, read_table
from nn1d import gradcheck
from report.comparison import check_place, read_evaluations
from speech.clip import load_clips
from speech.corpus import find_corpus
from speech.fold import read_folds
from speech.manifest import read_manifest
from speech.recording import CorpusError
from speech.shard import Shards
from speech.split import SplitError
from storage.mapped import load_rows
from storage.regular import read_regular
from tests.command import make_recordings
from training.arguments import read_arguments
from training.checkpoint import CheckpointError, load_checkpoint
from training.configuration import Configuration, ConfigurationError
from training.run_files import RunError
from training.run_folder import ReadOnlyRun

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are of Unix")
READERS: list[tuple[str, Callable[[Path], Any], type[BaseException]]] = [
    ("c.toml", lambda path: read_arguments(["--config", str(path)]), ConfigurationError),
    ("m.csv", lambda path: read_manifest(path, path.parent), CorpusError),
    ("folds.csv", read_folds, SplitError),
    ("baseline.csv", lambda path: read_table(path, ["a"]), DescriptorError),
    ("results.json", lambda path: ReadOnlyRun(path.parent).read_results(), RunError),
    ("history.csv", lambda path: ReadOnlyRun(path.parent).read_history(), RunError),
    ("config.json", lambda path: ReadOnlyRun(path.parent).read_config(), RunError),
    ("metrics.csv", lambda path: read_evaluations(path.parent), RunError),
    ("page.html", check_place, RunError),
    ("features.npy", load_rows, OSError),
    ("manifest.json", lambda path: Shards(path.parent), CorpusError),
    ("w.safetensors", lambda path: load_checkpoint(path, {}), CheckpointError),
    ("layers.py", lambda path: gradcheck.main([str(path)]), SystemExit),
]


@pytest.fixture(autouse=True)
def impatient() -> Iterator[None]:
    """A test that waits is ended."""
    signal.alarm(60)
    yield
    signal.alarm(0)


@pytest.mark.parametrize(("name", "read", "error"), READERS, ids=[name for name, *_ in READERS])
def test_no_reader_waits_for_a_pipe(
    name: str, read: Callable[[Path], Any], error: type[BaseException], tmp_path: Path
) -> None:
    if name != "config.json":
        (tmp_path / "config.json").write_text(json.dumps({"settings": Configuration().written()}))
    os.mkfifo(tmp_path / name)
    with pytest.raises(error):
        read(tmp_path / name)


def test_a_pipe_among_recordings_is_left_out(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.wav")
    (recording,) = find_corpus("folder", tmp_path).recordings
    clips, left_out = load_clips([recording], 100)
    assert len(clips) == 0 and left_out == [("x", "unreadable: it is not a regular file")]
    os.mkfifo(tmp_path / "03a01Fa.wav")
    assert find_corpus("emodb", tmp_path).notes == [
        "emodb: of the 535 recordings in speech/emodb.sha256 534 are missing, 1 are altered (used as they are)"
    ]


def test_a_pipe_in_place_of_prepared_clips_is_replaced(tmp_path: Path) -> None:
    recordings = find_corpus("folder", make_recordings(tmp_path / "recordings", 2)).recordings
    path = load_clips(recordings, 100, cache_dir=tmp_path)[0].path
    assert path is not None
    path.unlink()
    os.mkfifo(path)
    clips, _ = load_clips(recordings, 100, cache_dir=tmp_path)
    assert clips.damaged and len(clips) == 2 and path.is_file()


def test_what_is_read_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x")
    with pytest.raises(OSError, match="it is a pipe or a device, not a file"):
        read_regular(tmp_path / "x")
    with pytest.raises(IsADirectoryError):
        read_regular(tmp_path)
    (tmp_path / "y").write_bytes(b"\xef\xbb\xbfa\r\nb")
    assert read_regular(tmp_path / "y", "utf-8-sig") == "a\r\nb"
