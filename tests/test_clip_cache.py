"""Prepared clips in a file: the same numbers as in memory, made once, whole or absent."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

import speech.clip
from speech.audio import read_waveform
from speech.cache import digest, file_name
from speech.clip import Clips, load_clips
from speech.recording import CorpusError, Recording
from storage.atomic import SUFFIX, new_file

ROOT = Path(__file__).parents[1]
LENGTH = 300
DATA = 128  # where the header ends
TAIL = DATA + 5 * 4 * LENGTH  # where the samples end
LEFT_OUT = [("text", "not an audio file that libsndfile reads"), ("gone", "unreadable: there is no such file")]


@pytest.fixture
def recordings(tmp_path: Path) -> list[Recording]:
    """Five recordings of two rates, shorter and longer than a clip, with two among them that cannot be used."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    for i in range(5):
        noise = np.random.default_rng(i).uniform(-0.1 * (i + 1), 0.1 * (i + 1), 100 + 150 * i)
        soundfile.write(folder / f"{i}.wav", noise, 16_000 if i % 2 else 22_050)
    (folder / "text.wav").write_text("no sound")
    return [Recording(name, folder / f"{name}.wav") for name in ("0", "text", "1", "2", "gone", "3", "4")]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def load(
    recordings: Sequence[Recording], cache_dir: Path | None, clip_samples: int = LENGTH, scaling: str = "clip"
) -> Clips:
    return load_clips(recordings, clip_samples, scaling=scaling, cache_dir=cache_dir)[0]


def file_of(clips: Clips) -> Path:
    assert clips.path is not None
    return clips.path


def assert_same(one: Clips, other: Clips) -> None:
    for name in ("samples", "offset", "scale", "valid"):
        a, b = getattr(one, name), getattr(other, name)
        assert a.dtype == b.dtype and np.array_equal(a, b), name
    assert one.recordings == other.recordings


def python(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("scaling", ["clip", "corpus"])
def test_mapped_clips_are_those_in_memory(recordings: list[Recording], cache: Path, scaling: str) -> None:
    in_memory, left_out = load_clips(recordings, LENGTH, scaling=scaling)
    made, made_left_out = load_clips(recordings, LENGTH, scaling=scaling, cache_dir=cache)
    again, again_left_out = load_clips(recordings, LENGTH, scaling=scaling, cache_dir=cache)
    assert left_out == made_left_out == again_left_out == LEFT_OUT
    assert (in_memory.path, in_memory.reused, made.reused, again.reused) == (None, False, False, True)
    for mapped in (made, again):
        assert_same(mapped, in_memory)
        assert isinstance(mapped.samples, np.memmap) and not mapped.samples.flags.writeable
        np.testing.assert_array_equal(mapped.waveform(0), in_memory.waveform(0))
    assert np.array_equal(np.load(file_of(made)), in_memory.samples)  # any program reads the file


def test_offset_and_scale_keep_every_digit(recordings: list[Recording], cache: Path) -> None:
    clips = load(recordings, cache)
    for i, recording in enumerate(clips.recordings):
        waveform = read_waveform(recording.source, 16_000, LENGTH / 16_000)
        padded = np.pad(waveform, (0, LENGTH - len(waveform)))
        assert (clips.offset[i], clips.scale[i]) == (padded.min(), padded.max() - padded.min())
        assert clips.valid[i] == len(waveform)


def test_a_second_call_writes_and_reads_no_audio(
    recordings: list[Recording], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file_of(load(recordings, cache))
    before = path.stat()
    read: list[object] = []
    monkeypatch.setattr(speech.clip, "read_waveform", lambda *source: read.append(source))
    renamed = [Recording(f"{recording.name}!", recording.source) for recording in recordings]
    clips, left_out = load_clips(renamed, LENGTH, cache_dir=cache)
    assert clips.reused and clips.path == path and read == []
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert [recording.name for recording in clips.recordings] == ["0!", "1!", "2!", "3!", "4!"]
    assert [name for name, _ in left_out] == ["text!", "gone!"]


def test_whatever_changes_the_numbers_makes_another_file(recordings: list[Recording], cache: Path) -> None:
    paths = [
        file_of(load(recordings, cache)),
        file_of(load(recordings, cache, clip_samples=LENGTH + 1)),
        file_of(load(recordings, cache, scaling="corpus")),
        file_of(load(recordings[::-1], cache)),
        file_of(load(recordings[:-1], cache)),
        file_of(load_clips(recordings, LENGTH, 8_000, cache_dir=cache)[0]),
    ]
    audio = recordings[-1].source
    assert isinstance(audio, Path)
    stat, content = audio.stat(), bytearray(audio.read_bytes())
    content[-1] ^= 1
    audio.write_bytes(content)
    os.utime(audio, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # the same size, the same time, another sound
    paths.append(file_of(load(recordings, cache)))
    soundfile.write(audio.with_name("gone.wav"), np.linspace(0, 1, 90), 16_000)
    clips = load(recordings, cache)
    assert len(clips) == 6 and not clips.reused
    assert len({*paths, clips.path}) == len(paths) + 1
    os.utime(audio, ns=(0, 0))
    assert load(recordings, cache).path == clips.path


def test_the_name_knows_suffixes_and_the_text_of_the_program(tmp_path: Path) -> None:
    for name in ("a.wav", "b.WAV", "c.raw"):
        (tmp_path / name).write_bytes(b"same")
    assert digest(tmp_path / "a.wav") == digest(tmp_path / "b.WAV") != digest(tmp_path / "c.raw")
    module = tmp_path / "module.py"
    names = set()
    for text in ("peak = 1", "peak = 2"):
        module.write_text(text)
        names.add(file_name(["digest"], [LENGTH], [str(module)]))
    assert len(names) == 2


def test_recordings_that_are_functions_stay_in_memory(recordings: list[Recording], cache: Path) -> None:
    made_up = Recording("made up", lambda: (np.linspace(0, 1, 50), 16_000))
    assert load([*recordings, made_up], cache).path is None
    assert not cache.exists()


@pytest.mark.parametrize("scaling", ["clip", "corpus"])
def test_no_clip_at_all_is_a_file_too(recordings: list[Recording], cache: Path, scaling: str) -> None:
    for reused in (False, True):
        clips, left_out = load_clips([recordings[1]], 10, scaling=scaling, cache_dir=cache)
        assert clips.samples.shape == (0, 10) and clips.reused == reused
        assert left_out == LEFT_OUT[:1]


@pytest.mark.parametrize("size", [0, 1, 9, 64, DATA - 1, DATA, DATA + 1, 2000, TAIL - 1, TAIL, TAIL + 1, TAIL + 99, -1])
def test_a_file_that_was_cut_is_made_again(recordings: list[Recording], cache: Path, size: int) -> None:
    path = file_of(load(recordings, cache))
    whole = path.read_bytes()
    path.write_bytes(whole[:size])
    again = load(recordings, cache)
    assert again.damaged and not again.reused and path.read_bytes() == whole
    assert_same(again, load(recordings, None))
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("start", "text", "stop"),
    [
        pytest.param(0, bytes(range(256)) * 9, None, id="another file"),
        pytest.param(10, np.random.default_rng(0).bytes(DATA - 10), DATA, id="random header"),
        pytest.param(
            10, b"{'descr': '<f4', 'fortran_order': False, 'shape': (5, 300".ljust(118), DATA, id="open bracket"
        ),
        pytest.param(10, b"{'descr': '<f4', 'fortran_order': False, 'shape': (5, 150), }".ljust(118), DATA, id="short"),
        pytest.param(10, b"{'descr': '<f4', 'fortran_order': False, 'shape': (4, 300), }".ljust(118), DATA, id="fewer"),
        pytest.param(10, b"{'descr': '<i4', 'fortran_order': False, 'shape': (5, 300), }".ljust(118), DATA, id="dtype"),
        pytest.param(TAIL, np.random.default_rng(1).bytes(80), None, id="random tail"),
        pytest.param(TAIL, bytes(200), None, id="zeros for a tail"),
        pytest.param(TAIL, b"[" * 100_000, None, id="deep tail"),
        pytest.param(TAIL, b"[]", None, id="list for a tail"),
        pytest.param(TAIL, b'{"offset": [], "scale": [], "valid": [], "left_out": []}', None, id="tail of no clips"),
        pytest.param(10**6, b"more", None, id="something behind"),
        pytest.param(DATA, bytes(400), DATA + 400, id="zeros among the samples"),
        pytest.param(DATA + 1203, b"\x01", DATA + 1204, id="a byte of a sample"),
        pytest.param(TAIL + 14, b"9", TAIL + 15, id="a digit of an offset"),
    ],
)
def test_a_file_that_is_damaged_is_made_again(
    recordings: list[Recording], cache: Path, start: int, text: bytes, stop: int | None
) -> None:
    path = file_of(load(recordings, cache))
    whole = path.read_bytes()
    path.write_bytes(whole[:start] + text + (b"" if stop is None else whole[stop:]))
    again = load(recordings, cache)
    assert again.damaged and not again.reused and path.read_bytes() == whole
    assert_same(again, load(recordings, None))


def test_another_array_under_the_name_is_replaced(recordings: list[Recording], cache: Path) -> None:
    path = file_of(load(recordings, cache))
    longer = file_of(load(recordings, cache, clip_samples=LENGTH + 1))
    shutil.copy(longer, path)
    again = load(recordings, cache)
    assert not again.reused
    assert_same(again, load(recordings, None))


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, MemoryError])
def test_an_interruption_leaves_nothing(
    recordings: list[Recording], cache: Path, monkeypatch: pytest.MonkeyPatch, interruption: type[BaseException]
) -> None:
    def read(source: Path, *settings: int) -> np.ndarray:
        if source.name == "3.wav":
            raise interruption
        return read_waveform(source, *settings)

    with monkeypatch.context() as patch, pytest.raises(interruption):
        patch.setattr(speech.clip, "read_waveform", read)
        load(recordings, cache)
    assert list((cache / "clips").iterdir()) == []
    assert not load(recordings, cache).reused
    assert load(recordings, cache).reused


def test_a_recording_that_changes_while_it_is_read_is_noticed(
    recordings: list[Recording], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(source: Path, *settings: int) -> np.ndarray:
        waveform = read_waveform(source, *settings)
        soundfile.write(source, -waveform, 16_000)
        return waveform

    monkeypatch.setattr(speech.clip, "read_waveform", read)
    with pytest.raises(CorpusError, match=r"^clips: recordings were changed while they were read\. Start again$"):
        load(recordings, cache)
    assert list((cache / "clips").iterdir()) == []


KILLED = """
import sys, time
from pathlib import Path
from storage.atomic import new_file
with new_file(Path(sys.argv[1])) as file:
    file.write(bytes(1000))
    file.flush()
    print("half", flush=True)
    time.sleep(60)
"""


def test_a_program_killed_while_it_writes_leaves_no_file_of_that_name(recordings: list[Recording], cache: Path) -> None:
    path = file_of(load(recordings, cache))
    path.unlink()
    with python(KILLED, path) as process:
        assert process.stdout is not None and process.stdout.readline() == "half\n"
        process.kill()
    assert [left.suffix for left in path.parent.iterdir()] == [SUFFIX]
    again = load(recordings, cache)
    assert not again.reused and again.path == path
    assert_same(again, load(recordings, None))


def test_of_two_who_write_the_same_file_the_last_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "clips.npy"
    with new_file(path) as one:
        one.write(b"one")
        with new_file(path) as other:
            other.write(b"other")
        assert path.read_bytes() == b"other"
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


LOAD = """
import hashlib, sys
from pathlib import Path
from speech.clip import load_clips
from speech.recording import CorpusError, Recording
folder, cache = map(Path, sys.argv[1:])
recordings = [Recording(path.name, path) for path in sorted(folder.glob("*.wav"))]
print("ready", flush=True)
sys.stdin.readline()
try:
    clips, _ = load_clips(recordings, 8000, cache_dir=cache)
    print(len(clips), hashlib.sha256(clips.samples).hexdigest())
except CorpusError as error:
    print(error)
"""


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A folder of 200 recordings."""
    (tmp_path / "many").mkdir()
    for i in range(200):
        soundfile.write(tmp_path / "many" / f"{i}.wav", np.random.default_rng(i).uniform(-0.5, 0.5, 100 + i), 16_000)
    return tmp_path / "many"


def test_two_programs_at_once(many: Path, cache: Path) -> None:
    programs = [python(LOAD, many, cache) for _ in range(2)]
    for program in programs:
        assert program.stdout is not None and program.stdout.readline() == "ready\n"
    for program in programs:
        assert program.stdin is not None
        program.stdin.write("go\n")
        program.stdin.flush()
    answers = [program.communicate(timeout=60) for program in programs]
    assert answers[0] == answers[1]
    assert answers[0][0].startswith("200 ") and answers[0][1] == ""
    assert [path.suffix for path in (cache / "clips").iterdir()] == [".npy"]


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="needs a system that limits the size of files")
def test_a_full_disk_is_one_sentence_and_nothing_is_left(many: Path, cache: Path) -> None:
    limit = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
    )
    with python(limit + LOAD, many, cache) as process:
        output, errors = process.communicate("go\n", timeout=60)
    assert output.splitlines()[1:] == [
        f"clips: {cache / 'clips'} cannot be written: File too large. 200 clips need 6.4 MB. "
        "Make room there, or name another folder: --cache-dir of train.py and of python -m inference, "
        "--out of python -m training shards"
    ]
    assert errors == "" and process.returncode == 0
    assert list((cache / "clips").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_sentence(recordings: list[Recording], cache: Path) -> None:
    cache.write_text("a file")
    with pytest.raises(
        CorpusError, match=r"^clips: .*cache.clips cannot be written: .+\. 7 clips need 0\.0 MB\. Name "
    ):
        load(recordings, cache)
    assert cache.read_text() == "a file"


def test_no_memory_is_no_full_disk(recordings: list[Recording], cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(descriptor: int) -> None:  # no limit makes the kernel answer so
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(MemoryError, match=r"cache.clips cannot be written$"):
        load(recordings, cache)
    assert list((cache / "clips").iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write into any folder")
def test_a_folder_without_permission_is_one_sentence(recordings: list[Recording], cache: Path) -> None:
    cache.mkdir(mode=0o500)
    with pytest.raises(CorpusError, match=r"cannot be written: Permission denied\. 7 clips need"):
        load(recordings, cache)
