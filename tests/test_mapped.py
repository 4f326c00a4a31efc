"""Arrays in files: written row by row, mapped, and looked at before they are used."""

from __future__ import annotations

import shutil
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
import soundfile

from storage import mapped
from storage.mapped import OPEN_AT_ONCE, DamagedError, JoinedRows, load_rows, take_rows, write_rows

ROOT = Path(__file__).parents[1]
ROWS = np.random.default_rng(0).standard_normal((5, 40, 3)).astype(np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_rows(tmp_path / "rows.npy", iter(ROWS), len(ROWS))
    return tmp_path / "rows.npy"


def test_the_rows_are_there_for_numpy_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.testing.assert_array_equal(np.load(path), ROWS)
    monkeypatch.setattr(mapped, "BLOCK_BYTES", 100)  # many blocks, the last of another size
    np.testing.assert_array_equal(load_rows(path), ROWS)


@pytest.mark.parametrize("place", [-1, -32, -40, 128, 1000, 2500])
def test_a_bit_that_changed_is_found(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=r"rows\.npy (is damaged: its checksum is another|has no checksum)$"):
        load_rows(path)


@pytest.mark.parametrize("damage", [(b"shape", b"(hape"), (b"}", b" "), (b"'descr'", b"7      "), (b"(5,", b"(-,"),
                                    (b"\x93NUMPY", b"PK\x03\x04UM")])  # fmt: skip
def test_a_damaged_header_is_found(path: Path, damage: tuple[bytes, bytes]) -> None:
    """NumPy reads it as Python, and fails like that."""
    path.write_bytes(path.read_bytes().replace(*damage, 1))
    with pytest.raises(DamagedError, match=r"is no whole array|has no checksum"):
        load_rows(path)


@pytest.mark.parametrize("size", [0, 5, 100, 128, 2000, -40, -1])
def test_a_file_that_is_cut_is_found(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DamagedError):
        load_rows(path)


def test_a_file_of_somebody_else_has_no_checksum(path: Path) -> None:
    np.save(path, ROWS)
    with pytest.raises(DamagedError, match="has no checksum"):
        load_rows(path)
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(DamagedError, match="has no checksum"):
        load_rows(path)
    with pytest.raises(FileNotFoundError):
        load_rows(path.with_name("none.npy"))


def test_many_files_are_one_array_and_few_of_them_are_open(tmp_path: Path) -> None:
    counts, opened = [3, 1, 0, 4, 2, 5, 1, 2], []
    everything = np.random.default_rng(0).standard_normal((sum(counts), 7))
    for i, part in enumerate(np.split(everything, np.cumsum(counts)[:-1])):
        np.save(tmp_path / f"{i}.npy", part)

    def open_array(i: int) -> np.ndarray:
        array = np.load(tmp_path / f"{i}.npy", mmap_mode="r")
        opened.append(weakref.ref(array))
        return array

    joined = JoinedRows(counts, everything[0], open_array)
    assert (len(joined), joined.shape, joined.nbytes) == (18, everything.shape, everything.nbytes)
    for rows in (np.array([17, 0, 0, 4]), np.arange(18), np.array([], int), np.random.default_rng(1).permutation(18)):
        np.testing.assert_array_equal(take_rows(joined, rows), everything[rows])
    assert len(opened) > OPEN_AT_ONCE
    assert sum(array() is not None for array in opened) <= OPEN_AT_ONCE


def test_rows_are_those_of_the_array(tmp_path: Path) -> None:
    array = np.random.default_rng(0).standard_normal((40, 3000)).astype(np.float32)
    np.save(tmp_path / "array.npy", array)
    mapped = np.load(tmp_path / "array.npy", mmap_mode="r")
    for rows in (np.array([3]), np.array([39, 0, 7, 7]), np.arange(0)):
        for source in (array, mapped):
            taken = take_rows(source, rows)
            assert type(taken) is np.ndarray and not np.shares_memory(taken, source)
            assert np.array_equal(taken, array[rows]) and taken.dtype == array.dtype


WALK = """
import sys
from pathlib import Path
import numpy as np
from training.configuration import Configuration
from training.dual_training import DualTraining
from storage.mapped import write_rows
from training.workers import Workers
from speech.clip import load_clips
from speech.recording import Recording
folder, count = Path(sys.argv[1]), int(sys.argv[2])
recordings = [Recording(str(i), folder / f"{i}.wav") for i in range(count)]
clips, _ = load_clips(recordings, threads=2, cache_dir=folder)
with Workers(2) as workers:
    training = DualTraining(Configuration(channels=(1, 1, 1, 1, 1)), clips.samples, workers)
    features = write_rows(folder / "features.npy", training.encode(range(count)), count)
    training.evaluate_decoder(features, np.arange(0, count, 10))
print(clips.samples.nbytes, *(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to read the memory of a process")
def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "0.wav", np.random.default_rng(0).uniform(-1, 1, 64_000), 16_000, "PCM_U8")
    content = (tmp_path / "0.wav").read_bytes()
    for i in range(1000):  # of a recording whose last samples are its number
        (tmp_path / f"{i}.wav").write_bytes(content[:-2] + bytes(divmod(i, 256)))
    peaks = []
    for count in (50, 1000):
        command = [sys.executable, "-c", WALK, str(tmp_path), str(count)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 0, done.stderr
        size, peak_kb = map(int, done.stdout.split())
        assert size == 256_000 * count
        peaks.append(peak_kb / 1024)
    shutil.rmtree(tmp_path)  # 330 MB that nobody looks at
    assert peaks[1] - peaks[0] < 40, peaks
