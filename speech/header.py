"""Headers that do not tell the truth about the length of a recording, put right before libsndfile reads them."""

from __future__ import annotations

import io
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
    is 0 or unknown; so do those of AU. RF64 and BW64 are handed over as WAV, since libsndfile loses its way where a
    chunk before the sound has an odd length; so are VOC files, of which it takes the heads between their blocks for
    sound, and W64 of the extensible form, whose floats it takes for integers. Of MP3 see `speech.mpeg`.

    Raises
    ------
    RecordingError
        A WAV, RF64, W64, AIFF, AU or VOC file promises more than it holds, by more than SLACK_BYTES, or has an absurd
        rate.
    """
    file.seek(0)
    kind = file.read(4)
    held = file.seek(0, 2)
    if kind == b"caff":
        return _mend_caf(file, held)
    if kind in (b".snd", b"dns."):
        return _mend_au(file, held, ">" if kind == b".snd" else "<")
    if kind == b"riff":
        return _mend_w64(file, held)
    if kind == b"Crea":
        return _mend_voc(file, held)
    if kind == b"BW64":  # the later name of RF64
        kind = b"RF64"
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


WAVE_HEAD, UNKNOWN = b"RIFF\xff\xff\xff\xffWAVEfmt ", b"data\xff\xff\xff\xff"


def _mend_w64(file: BinaryIO, held: int) -> list[Piece] | None:
    form: list[Piece] = []
    start = 40
    for _ in range(1000):
        file.seek(start)
        if len(head := file.read(24)) < 24:
            break
        name, size = struct.unpack("<4s12xQ", head)  # of which 24 are these
        if name == b"fmt " and 40 <= size < 1000 and file.read(2) == b"\xfe\xff":
            form = [struct.pack("<I", size - 24), (start + 24, size - 24)]
        elif name == b"data" and form:
            there = held - start - 24
            unknown = size <= 24 or size >= 1 << 62
            if not unknown:
                _check_size(size - 24, there)
            return [WAVE_HEAD, *form, UNKNOWN, (start + 24, there if unknown else min(size - 24, there))]
        start += max(size + 7 & ~7, 24)
        if start > held:  # where no place can be asked for
            return None
    return None


VOC_ENCODINGS = {0: (1, 8), 4: (1, 16), 6: (6, 8), 7: (7, 8)}  # their numbers in VOC -> tag in WAV, bits


def _mend_voc(file: BinaryIO, held: int) -> list[Piece] | None:
    """The blocks of sound, one after the other; None where there are blocks of silence, loops, or two formats."""
    file.seek(20)
    start = int.from_bytes(file.read(2), "little")
    form: set[tuple[int, int, int]] = set()  # encoding, rate, channels
    extended: tuple[int, int] | None = None
    ranges: list[tuple[int, int]] = []
    while True:
        file.seek(start)
        head = file.read(16)
        if len(head) < 4 or head[0] == 0:
            break
        kind, size, start = head[0], int.from_bytes(head[1:4], "little"), start + 4
        skipped = {1: 2, 2: 0, 9: 12}.get(kind)
        if kind == 1 and len(head) >= 6:
            rate_hz, channels = extended or (1_000_000 // (256 - head[4]), 1)
            form.add((head[5], rate_hz, channels))
        elif kind == 8 and len(head) >= 8:
            channels = head[7] + 1
            extended = 256_000_000 // (channels * (65536 - int.from_bytes(head[4:6], "little"))), channels
        elif kind == 9 and len(head) == 16:
            rate_hz, channels, encoding = struct.unpack("<IxBH", head[4:12])
            form.add((encoding, rate_hz, channels))
        elif kind not in (2, 4, 5):
            return None
        if skipped is not None:
            _check_size(size - skipped, held - start - skipped)
            ranges.append((start + skipped, max(0, min(size, held - start) - skipped)))
        start += size
    if len(form) != 1 or len(ranges) == 0:
        return None
    encoding, rate_hz, channels = form.pop()
    if encoding not in VOC_ENCODINGS or channels == 0:
        return None
    check_rate(rate_hz)
    tag, bits = VOC_ENCODINGS[encoding]
    size = channels * bits // 8
    about = struct.pack("<IHHIIHH", 16, tag, channels, rate_hz, min(size * rate_hz, 0xFFFFFFFF), size, bits)
    return [WAVE_HEAD, about, UNKNOWN, *ranges]


def _chunks(file: BinaryIO, start: int, form: str) -> Iterator[Chunk]:
    held = file.seek(0, 2)
    for _ in range(1000):  # no real file has more, and a file of zeros must not keep us here
        file.seek(start)
        head = file.read(struct.calcsize(form))
        if len(head) < struct.calcsize(form):
            return
        name, size = struct.unpack(form, head)
        start += len(head)
        yield Chunk(name, size, start)
        start += max(size, 0) + size % 2
        if start > held:
            return


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
