"""Recordings become clips of one length, scaled to [0, 1]."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from tqdm import tqdm

from speech.audio import read_waveform
from speech.cache import NO_ROOM, digest, file_name
from speech.recording import CorpusError, Recording, RecordingError
from storage.atomic import new_file, remove_unfinished
from storage.regular import check_regular

Item = TypeVar("Item")
Result = TypeVar("Result")
LeftOut = list[tuple[str, str]]

COPY = "the same sound as"  # how the reason of a copy begins
BLOCK_BYTES = 1 << 24  # of a file that is read to be checked
WAITING = 16  # clips a thread that may be ready and not yet written: 4 MB


@dataclass(frozen=True, eq=False)
class Clips:
    """Clips of one length on the scale that the networks see, with what undoes the scaling.

    waveform = samples · scale + offset

    Parameters
    ----------
    samples : (n, clip_samples), float32, in [0, 1], read-only
        Mapped from `path` where there is one: such clips need no memory until they are looked at.
    offset, scale : (n,), float32
        The value that 0 stands for and the range from 0 to 1, on the recording's own scale. Padding has the value
        -offset / scale, which is what silence maps to.
    valid : (n,), int
        How many of a clip's samples are its own; the others, at its end, are padding.
    recordings : tuple of Recording
        What the clips were read from, in the same order.
    contents : tuple of str
        What tells a clip from all others: a SHA-256 of its samples before they were scaled, 32 hexadecimal digits.
    path : Path or None
        The file that samples are mapped from; None where they are in memory.
    reused : bool
        Whether the file was there already.
    damaged : bool
        Whether it was, with other bytes than were written, and has been made again.
    sha256 : str
        Of all samples in their order, as they were when they were prepared.
    """

    samples: np.ndarray
    offset: np.ndarray
    scale: np.ndarray
    valid: np.ndarray
    recordings: tuple[Recording, ...]
    contents: tuple[str, ...] = ()
    path: Path | None = None
    reused: bool = False
    damaged: bool = False
    sha256: str = ""

    def __len__(self) -> int:
        """The number of clips."""
        return len(self.samples)

    def waveform(self, i: int) -> np.ndarray:
        """Clip i as it was recorded: on its own scale, at its own length, without the padding.

        Shapes
        ------
        i -> (valid[i],), float32
        """
        return self.unscale(i, self.samples[i])[: self.valid[i]]

    def unscale(self, i: int, samples: np.ndarray) -> np.ndarray:
        """Samples on the [0, 1] scale of clip i, such as its reconstruction, on the scale of its recording.

        Shapes
        ------
        samples (...) -> (...), the same dtype
        """
        return samples * samples.dtype.type(self.scale[i]) + samples.dtype.type(self.offset[i])


def load_clips(
    recordings: Sequence[Recording],
    clip_samples: int = 64_000,
    sample_rate_hz: int = 16_000,
    scaling: str = "clip",
    threads: int | None = None,
    progress: bool = False,
    cache_dir: Path | None = None,
) -> tuple[Clips, LeftOut]:
    """Read recordings as clips of `clip_samples` samples: longer ones cut, shorter ones padded with zeros at the end.

    Each clip v, padding included, is brought to zero mean and unit variance and then mapped to [0, 1]. The second step
    undoes the first, whatever the mean μ and the deviation σ > 0:

        z = (v - μ) / σ
        (z - min z) / (max z - min z) = (v - min v) / (max v - min v)

    So samples = (v - offset) / scale is both, with offset = min v and scale = max v - min v. With `scaling="corpus"`
    the minimum and the maximum are those of all clips given, test clips too, as the paper's preprocessing precedes its
    split; clips keep their differences in level then.

    A recording that cannot be used is left out and named with its reason; the others keep their order. So is one whose
    clip, padding included, is that of an earlier one sample by sample: a copy would be among the training and the test
    clips. The result does not depend on the number of threads.

    With `cache_dir` the clips are written to a file once and mapped from it ever after, as long as the bytes of the
    recordings, their order, the settings and this program stay the same; memory does not grow with the corpus then. A
    file that is not whole, or whose checksum is another, is made again.

    Parameters
    ----------
    recordings : sequence of Recording
        What to read, in the order of the clips.
    clip_samples, sample_rate_hz : int > 0
        Length of a clip [samples]; 64,000 at 16,000 Hz are the paper's 4 s.
    scaling : "clip" or "corpus"
        One offset and scale for each clip, or one for all.
    threads : int > 0 or None
        How many recordings are read at once; None is one per core.
    progress : bool
        Show a bar on stderr where that is a terminal.
    cache_dir : Path or None
        The file is in its folder clips. None keeps the clips in memory, and so are those of recordings that are
        functions.

    Shapes
    ------
    n recordings -> Clips of at most n clips, 4·n·clip_samples bytes; [(name, reason), ...] of the others

    Raises
    ------
    ValueError
        clip_samples, sample_rate_hz, scaling or threads is none of the above.
    CorpusError
        The file cannot be written, or recordings change while they are read. Nothing is left behind then.
    MemoryError
        There was none left to write with.

    Source
    ------
    the paper's section 4.1.2
    """
    if scaling not in ("clip", "corpus"):
        raise ValueError(f"load_clips: scaling must be 'clip' or 'corpus'; got {scaling!r}")
    if clip_samples < 1 or sample_rate_hz < 1 or (threads is not None and threads < 1):
        raise ValueError(
            f"load_clips: clip_samples, sample_rate_hz and threads must be at least 1; "
            f"got {clip_samples}, {sample_rate_hz}, {threads}"
        )
    threads = threads or os.cpu_count() or 1
    files = [recording for recording in recordings if isinstance(recording.source, Path)]

    def write(file: BinaryIO) -> None:
        _write(file, recordings, clip_samples, sample_rate_hz, scaling, threads, progress)

    def name(again: bool = False) -> str:
        def of(recording: Recording) -> str:
            return digest(Path(str(recording.source)), None if again else recording.sha256)

        digests = list(_in_order(of, files, threads, "checking", progress))
        return file_name(digests, [clip_samples, sample_rate_hz, scaling], [__file__])

    if cache_dir is None or len(files) < len(recordings):
        write(memory := io.BytesIO())
        return _read(memory, recordings, clip_samples)
    path = cache_dir / "clips" / name()
    try:
        clips, left_out = _open(path, recordings, clip_samples)
        return dataclasses.replace(clips, reused=True), left_out
    except FileNotFoundError:
        damaged = False
    except Exception:  # not whole: a damaged header or tail fails in a dozen ways
        damaged = True
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_unfinished(path.parent)
        with new_file(path) as file:
            write(file)
            if name(again=True) != path.name:
                raise CorpusError("clips: recordings were changed while they were read. Start again")
        clips, left_out = _open(path, recordings, clip_samples)
        return dataclasses.replace(clips, damaged=damaged), left_out
    except OSError as error:
        if error.errno == errno.ENOMEM:  # no room on the disk would help
            raise MemoryError(f"{path.parent} cannot be written") from None
        cure = "Make room there, or name" if error.errno in NO_ROOM else "Name"
        raise CorpusError(
            f"clips: {path.parent} cannot be written: {error.strerror or error}. {len(recordings)} clips need "
            f"{4e-6 * len(recordings) * clip_samples:.1f} MB. {cure} another folder: "
            "--cache-dir of train.py and of python -m inference, --out of python -m training shards"
        ) from None


def _write(
    file: BinaryIO,
    recordings: Sequence[Recording],
    clip_samples: int,
    sample_rate_hz: int,
    scaling: str,
    threads: int,
    progress: bool,
) -> None:
    """Write the array of the clips as .npy, and after it, as JSON, what else there is to know about them."""
    lows: list[np.float32] = []
    highs: list[np.float32] = []
    valid: list[int] = []
    first: dict[str, int] = {}  # by content, the recording that it was met in first
    copies: list[tuple[int, int]] = []
    left_out: list[tuple[int, str]] = []
    everything = hashlib.sha256()

    def read(recording: Recording) -> tuple[np.ndarray, str, np.float32, np.float32, int] | str:
        """A clip with its content, minimum, maximum and number of own samples; or the reason why there is none."""
        try:
            waveform = read_waveform(recording.source, sample_rate_hz, clip_samples / sample_rate_hz)
        except RecordingError as error:
            return str(error)
        clip = np.zeros(clip_samples, np.float32)
        clip[: len(waveform)] = waveform
        low, high = clip.min(), clip.max()
        content = hashlib.sha256((clip + np.float32(0)).tobytes()).hexdigest()[:32]  # which makes one 0 of both
        return _scaled(clip, low, high) if scaling == "clip" else clip, content, low, high, len(waveform)

    _write_header(file, len(recordings), clip_samples)
    start = file.tell()
    for i, result in enumerate(_in_order(read, recordings, threads, "reading", progress)):
        if isinstance(result, str):
            left_out.append((i, result))
            continue
        clip, content, low, high, recorded = result
        if first.setdefault(content, i) != i:
            copies.append((i, first[content]))
            continue
        file.write(clip.data)
        if scaling == "clip":
            everything.update(clip.data)
        lows.append(low)
        highs.append(high)
        valid.append(recorded)
    if scaling == "corpus" and lows:  # known only now; clip by clip, since all of them may not fit into memory
        low, high = min(lows), max(highs)
        lows, highs = [low] * len(lows), [high] * len(highs)
        for offset in range(start, start + 4 * clip_samples * len(lows), 4 * clip_samples):
            file.seek(offset)
            clip = _scaled(np.frombuffer(file.read(4 * clip_samples), np.float32), low, high)
            file.seek(offset)
            file.write(clip.data)
            everything.update(clip.data)
    about = {
        "offset": [float(low) for low in lows],
        "scale": [float(high - low) for low, high in zip(lows, highs, strict=True)],
        "valid": valid,
        "contents": list(first),
        "copies": copies,
        "left_out": left_out,
        "sha256": everything.hexdigest(),
    }
    text = json.dumps(about).encode()
    file.write(text + b"\n" + hashlib.sha256(text).hexdigest().encode())
    file.seek(0)
    _write_header(file, len(lows), clip_samples)  # of the same length: NumPy leaves room for more digits


def _scaled(clip: np.ndarray, low: np.float32, high: np.float32) -> np.ndarray:
    return (clip - low) / (high - low)


def _write_header(file: BinaryIO, count: int, clip_samples: int) -> None:
    descr = np.lib.format.dtype_to_descr(np.dtype(np.float32))
    header = {"descr": descr, "fortran_order": False, "shape": (count, clip_samples)}
    np.lib.format.write_array_header_1_0(file, header)


def _open(path: Path, recordings: Sequence[Recording], clip_samples: int) -> tuple[Clips, LeftOut]:
    check_regular(path)
    with path.open("rb") as file:
        clips, left_out = _read(file, recordings, clip_samples)
    return dataclasses.replace(clips, path=path), left_out


def _read(file: BinaryIO, recordings: Sequence[Recording], clip_samples: int) -> tuple[Clips, LeftOut]:
    """What `_write` wrote; some error where it is something else."""
    file.seek(0)
    np.lib.format.read_magic(file)
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    start = file.tell()
    if dtype != np.float32 or shape[1:] != (clip_samples,) or shape[0] not in range(len(recordings) + 1):
        raise ValueError(f"an array {shape} of {dtype}")
    everything, left = hashlib.sha256(), 4 * shape[0] * clip_samples
    while left and (block := file.read(min(left, BLOCK_BYTES))):
        everything.update(block)
        left -= len(block)
    text, _, checksum = file.read().rpartition(b"\n")
    about = json.loads(text)
    if hashlib.sha256(text).hexdigest().encode() != checksum or everything.hexdigest() != about["sha256"]:
        raise ValueError("its checksum is another")
    reasons = dict(about["left_out"])
    for i, original in about["copies"]:  # by name only here: the file is the same whatever the names are
        reasons[i] = f"{COPY} {recordings[original].name}"
    offset, scale = (np.array(about[key], np.float32) for key in ("offset", "scale"))
    valid = np.array(about["valid"], np.int64)
    kept = [recording for i, recording in enumerate(recordings) if i not in reasons]
    contents = tuple(map(str, about["contents"]))
    if not offset.shape == scale.shape == valid.shape == shape[:1] == (len(kept),) == (len(contents),):
        raise ValueError(f"an array {shape} about {len(kept)} recordings")
    if isinstance(file, io.BytesIO):
        samples = np.frombuffer(file.getbuffer().toreadonly(), np.float32, shape[0] * clip_samples, start)
        samples = samples.reshape(shape)
    else:
        samples = np.memmap(file, np.float32, "r", start, shape)
    left_out = [(recordings[i].name, reason) for i, reason in sorted(reasons.items())]
    return Clips(samples, offset, scale, valid, tuple(kept), contents, sha256=str(about["sha256"])), left_out


def _in_order(
    function: Callable[[Item], Result], items: Sequence[Item], threads: int, label: str, progress: bool
) -> Iterator[Result]:
    """function of each item on several threads, in the order of the items; few results wait to be taken."""
    pool = ThreadPoolExecutor(threads)
    try:
        with tqdm(total=len(items), desc=label, unit=" clips", disable=None if progress else True) as bar:
            for first in range(0, len(items), WAITING * threads):
                for result in pool.map(function, items[first : first + WAITING * threads]):
                    yield result
                    bar.update()
    finally:
        pool.shutdown(cancel_futures=True)
