"""Headers that do not tell the truth about the length of a recording, put right before libsndfile reads them."""

from __future__ import annotations

import io
import mmap
import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, BinaryIO, NamedTuple

from speech.recording import RecordingError

UNKNOWN_BYTES = 0x7FFF0000  # such a length, where the file is shorter, is of a program that did not know it
SLACK_BYTES = 64  # that a header may promise too much

Piece = bytes | tuple[int, int]  # bytes, or (offset, length) of a part of the file


class PatchedFile(io.RawIOBase):
    """A file put together from bytes and from parts of another file, to be read only."""

    def __init__(self, file: BinaryIO, pieces: Sequence[Piece]) -> None:
        self._file, self._pieces, self._position = file, pieces, 0
        lengths = [len(piece) if isinstance(piece, bytes) else piece[1] for piece in pieces]
        self._starts = [0, *accumulate(lengths)]

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """The place [bytes]."""
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        """As for any file."""
        self._position = max(0, offset + (0, self._position, self._starts[-1])[whence])
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as the file reaches; an error of the disk reads as its end."""
        view, done = memoryview(buffer).cast("B"), 0
        while done < len(view) and self._position < self._starts[-1]:
            i = bisect_right(self._starts, self._position) - 1
            piece, skipped = self._pieces[i], self._position - self._starts[i]
            count = min(len(view) - done, self._starts[i + 1] - self._position)
            if isinstance(piece, bytes):
                part = piece[skipped : skipped + count]
            else:
                try:  # an exception would be printed by the bridge to C, and lost
                    self._file.seek(piece[0] + skipped)
                    part = self._file.read(count)
                except OSError:
                    part = b""
            if not part:
                break
            view[done : done + len(part)] = part
            done += len(part)
            self._position += len(part)
        return done


class Chunk(NamedTuple):
    """Of a RIFF, AIFF or CAF file; its content begins at `start`."""

    name: bytes
    size: int
    start: int


def mend_header(file: BinaryIO) -> list[Piece] | None:
    """What to read in place of a file whose header hides its sound; None where libsndfile reads the file as it is.

    WAV, RF64 and CAF headers of programs that wrote to a pipe, or were killed before they knew the length, say that it
    is 0 or unknown; so do those of AU. RF64 is handed over as WAV, since libsndfile loses its way where a chunk before
    the sound has an odd length. Of MP3 see `mend_mp3`.

    Raises
    ------
    RecordingError
        A WAV, RF64, AIFF or AU file promises more than it holds, by more than SLACK_BYTES, or has an absurd rate.
    """
    file.seek(0)
    kind = file.read(4)
    held = file.seek(0, 2)
    if kind == b"caff":
        return _mend_caf(file, held)
    if kind in (b".snd", b"dns."):
        return _mend_au(file, held, ">" if kind == b".snd" else "<")
    if kind not in (b"RIFF", b"RF64", b"RIFX", b"FORM"):
        return None
    order = "<" if kind in (b"RIFF", b"RF64") else ">"
    size_of_data: int | None = None
    parts: list[tuple[int, int]] = []
    for chunk in _chunks(file, 12, order + "4sI"):
        file.seek(chunk.start)
        if chunk.name == b"fmt ":
            parts = [(chunk.start - 8, chunk.size + chunk.size % 2 + 8)]
            if len(body := file.read(8)) == 8:
                check_rate(struct.unpack(order + "4xI", body)[0])
        elif chunk.name == b"ds64" and len(body := file.read(16)) == 16:
            size_of_data = struct.unpack(order + "8xQ", body)[0]
        elif chunk.name in (b"data", b"SSND"):
            there, size = held - chunk.start, chunk.size
            if kind == b"RF64" and size == 0xFFFFFFFF:
                size = 0 if size_of_data is None or size_of_data >= 1 << 62 else size_of_data
            elif size >= UNKNOWN_BYTES:
                return None
            _check_size(size, there)
            hidden = size == 0 and there > 0 and kind != b"FORM" and not _begins_chunk(file, chunk.start)
            if not hidden and kind != b"RF64":
                return None
            unknown = struct.pack(order + "I", 0xFFFFFFFF)
            name = b"RIFX" if kind == b"RIFX" else b"RIFF"
            length = there if hidden else min(size, there)
            return [name + unknown + b"WAVE", *parts, b"data" + unknown, (chunk.start, length)]
    return None


def _check_size(size: int, there: int) -> None:
    if size > there + SLACK_BYTES:
        raise RecordingError(f"cut short: its header promises {size} bytes of sound, the file holds {there}")


def _mend_au(file: BinaryIO, held: int, order: str) -> list[Piece] | None:
    file.seek(4)
    if len(head := file.read(8)) < 8:
        return None
    start, size = struct.unpack(order + "II", head)
    there = held - start
    if 0 < size < UNKNOWN_BYTES:
        _check_size(size, there)
        return None
    return [(0, 8), struct.pack(order + "I", 0xFFFFFFFF), (12, held - 12)]


def _mend_caf(file: BinaryIO, held: int) -> list[Piece] | None:
    for chunk in _chunks(file, 8, ">4sq"):
        if chunk.name == b"data" and chunk.size == -1:
            there = held - chunk.start
            return [(0, chunk.start - 8), struct.pack(">q", there), (chunk.start, there)]
    return None


def _chunks(file: BinaryIO, start: int, form: str) -> Iterator[Chunk]:
    for _ in range(1000):  # no real file has more, and a file of zeros must not keep us here
        file.seek(start)
        head = file.read(struct.calcsize(form))
        if len(head) < struct.calcsize(form):
            return
        name, size = struct.unpack(form, head)
        start += len(head)
        yield Chunk(name, size, start)
        start += max(size, 0) + size % 2


def _begins_chunk(file: BinaryIO, start: int) -> bool:
    """Whether what follows an empty data chunk is another chunk and not the sound of a header that says 0."""
    held = file.seek(0, 2)
    chunk = next(_chunks(file, start, "<4sI"), None)
    return chunk is not None and chunk.name.isascii() and chunk.name.isalnum() and chunk.start + chunk.size <= held


LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 1_000, 768_000


def check_rate(rate_hz: int) -> None:
    """Raise RecordingError for a sample rate that nobody records at."""
    if not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ:
        raise RecordingError(f"a sample rate of {rate_hz} Hz; {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz can be read")


# By version (2.5, none, 2, 1) and layer (none, III, II, I), as the bits of a frame's header count them.
_KBPS_1 = {
    3: (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    2: (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    1: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}
_KBPS_2 = {
    3: (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_KBPS_2[1] = _KBPS_2[2]


class Frame(NamedTuple):
    """Of an MPEG stream: its size [bytes], its length [samples], and what all frames of a stream have in common."""

    size: int
    samples: int
    stream: tuple[int, int, int]  # version, layer, sample rate


def read_frame(head: bytes) -> Frame | None:
    """A frame by the four bytes that it begins with; None where they begin none, or one of a free bit rate.

    Source
    ------
    ISO 11172-3 and 13818-3
    """
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    rate, kbps = head[2] >> 2 & 3, head[2] >> 4
    if version == 1 or layer == 0 or rate == 3 or kbps in (0, 15):
        return None
    rate_hz = (44_100, 48_000, 32_000)[rate] >> (0 if version == 3 else 1 if version == 2 else 2)
    bits_per_second = 1000 * (_KBPS_1 if version == 3 else _KBPS_2)[layer][kbps - 1]
    padding = head[2] >> 1 & 1
    if layer == 3:
        return Frame((12 * bits_per_second // rate_hz + padding) * 4, 384, (version, layer, rate_hz))
    samples = 576 if layer == 1 and version != 3 else 1152
    return Frame(samples // 8 * bits_per_second // rate_hz + padding, samples, (version, layer, rate_hz))


def mend_mp3(data: bytes | mmap.mmap) -> tuple[list[Piece] | None, int]:
    """What to read in place of an MP3 stream, and how many samples all its frames have.

    libsndfile estimates the length of a stream without an index from its first frame, which is wrong where the bit rate
    varies, and stops for good at a damaged place of 1 kB. So an index (Xing's) with the number of frames is put in
    front of it where there is none, and bytes between frames are taken out.

    Parameters
    ----------
    data : bytes or mmap

    Returns
    -------
    pieces : list or None
        None where the stream can be read as it is.
    samples : int
        0 where the data are no such stream, or one of a free bit rate.
    """
    start = 0
    while data[start : start + 3] == b"ID3" and start + 10 <= len(data):
        a, b, c, d = (byte & 0x7F for byte in data[start + 6 : start + 10])
        start += 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if data[start + 5] & 0x10 else 0)
    ranges: list[tuple[int, int]] = []
    first, samples, frames = None, 0, 0
    for begin, frame in _frames(data, start):
        if first is None:
            first = begin, frame
        samples, frames = samples + frame.samples, frames + 1
        if ranges and sum(ranges[-1]) == begin:
            ranges[-1] = ranges[-1][0], ranges[-1][1] + frame.size
        else:
            ranges.append((begin, frame.size))
    if first is None:
        return None, 0
    begin, frame = first
    index = data[begin : begin + frame.size]
    has_index = any(mark in index[:200] for mark in (b"Xing", b"Info", b"VBRI"))
    version, layer, _ = frame.stream
    head: list[Piece] = []
    if has_index:
        samples -= frame.samples
    elif layer == 1:
        mono = data[begin + 3] >> 6 == 3
        side = (17 if mono else 32) if version == 3 else (9 if mono else 17)
        for kbps in range(1, 15):
            header = bytes([0xFF, data[begin + 1] | 1, kbps << 4 | data[begin + 2] & 0x0C, data[begin + 3]])
            made = read_frame(header)
            if made is not None and made.size >= 4 + side + 12:
                content = header + bytes(side) + b"Xing" + struct.pack(">II", 1, frames)
                head = [content + bytes(made.size - len(content))]
                break
    if not head and len(ranges) == 1:
        return None, samples
    return [*head, *ranges], samples


def _frames(data: bytes | mmap.mmap, position: int) -> Iterator[tuple[int, Frame]]:
    """Where each frame begins, and what it is. The first one, and one after a damaged place, must have a successor."""
    stream: tuple[int, int, int] | None = None
    lost = True
    while 0 <= position < len(data):
        frame = read_frame(data[position : position + 4])
        if frame is not None and stream is not None and frame.stream != stream:
            frame = None
        if frame is not None and lost and (end := position + frame.size) < len(data):
            after = read_frame(data[end : end + 4])
            if after is None or after.stream != frame.stream:
                frame = None
        if frame is None:
            lost, position = True, data.find(b"\xff", position + 1)
        elif position + frame.size > len(data):  # the last one is cut
            return
        else:
            lost, stream = False, frame.stream
            yield position, frame
            position += frame.size
