"""MP3 streams: how long they really are, and what libsndfile needs to read them to the end."""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Iterator
from itertools import chain, groupby
from typing import NamedTuple

from speech.container import CONVERT
from speech.header import Piece
from speech.recording import RecordingError

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
    stream: tuple[int, int, int, bool]  # version, layer, sample rate, whether there is one channel


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
    padding, stream = head[2] >> 1 & 1, (version, layer, rate_hz, head[3] >> 6 == 3)
    if layer == 3:
        return Frame((12 * bits_per_second // rate_hz + padding) * 4, 384, stream)
    samples = 576 if layer == 1 and version != 3 else 1152
    return Frame(samples // 8 * bits_per_second // rate_hz + padding, samples, stream)


def mend_mp3(data: bytes | mmap.mmap) -> list[tuple[list[Piece] | None, int]]:
    """The streams to read in place of an MP3 file, one after the other, and how many samples all frames of each have.

    libsndfile estimates the length of a stream without an index from its first frame, which is wrong where the bit rate
    varies, and stops for good at a damaged place of 1 kB. So an index (Xing's) with the number of frames is put in
    front of it where there is none, or one of a part (files that were put one after the other), and bytes between
    frames are taken out. It stops as well where one channel becomes two or two become one: another stream begins there.

    Parameters
    ----------
    data : bytes or mmap

    Returns
    -------
    list of (pieces, samples)
        pieces is None where the file can be read as it is; samples is 0 where the data are no such stream, or one of a
        free bit rate.

    Raises
    ------
    RecordingError
        Frames of another sample rate follow.
    """
    start = 0
    while data[start : start + 3] == b"ID3" and start + 10 <= len(data):
        a, b, c, d = (byte & 0x7F for byte in data[start + 6 : start + 10])
        start += 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if data[start + 5] & 0x10 else 0)
    streams = groupby(_frames(data, start), key=lambda placed: placed[1].stream)
    mended = [_mend_stream(data, frames) for _, frames in streams]
    if len(mended) > 1:
        return [*mended]
    return [(pieces if len(pieces) > 1 else None, samples) for pieces, samples in mended] or [(None, 0)]


def _mend_stream(data: bytes | mmap.mmap, stream: Iterator[tuple[int, Frame]]) -> tuple[list[Piece], int]:
    """The pieces to read of one stream, by the place of each frame, and how many samples they have."""
    first = next(stream)
    ranges: list[tuple[int, int]] = []
    samples = frames = 0
    for begin, frame in chain([first], stream):
        samples, frames = samples + frame.samples, frames + 1
        if ranges and sum(ranges[-1]) == begin:
            ranges[-1] = ranges[-1][0], ranges[-1][1] + frame.size
        else:
            ranges.append((begin, frame.size))
    begin, frame = first
    index = data[begin : begin + frame.size]
    has_index = any(mark in index[:200] for mark in (b"Xing", b"Info", b"VBRI"))
    version, layer, _, mono = frame.stream
    if has_index and _frames_said(index) < 0.98 * frames - 3:
        has_index = False
        ranges[0] = ranges[0][0] + frame.size, ranges[0][1] - frame.size
        samples, frames = samples - frame.samples, frames - 1
    head: list[Piece] = []
    if has_index:
        samples -= frame.samples
    elif layer == 1:
        side = (17 if mono else 32) if version == 3 else (9 if mono else 17)
        for kbps in range(1, 15):
            header = bytes([0xFF, data[begin + 1] | 1, kbps << 4 | data[begin + 2] & 0x0C, data[begin + 3]])
            made = read_frame(header)
            if made is not None and made.size >= 4 + side + 12:
                content = header + bytes(side) + b"Xing" + struct.pack(">II", 1, frames)
                head = [content + bytes(made.size - len(content))]
                break
    return [*head, *ranges], samples


def _frames_said(index: bytes) -> float:
    """How many frames Xing's index says that there are; infinity where it does not say."""
    place = max(index.find(b"Xing"), index.find(b"Info"))
    if place < 0 or len(index) < place + 12:
        return math.inf
    flags, frames = struct.unpack(">II", index[place + 4 : place + 12])
    return float(frames) if flags & 1 else math.inf


def _frames(data: bytes | mmap.mmap, position: int) -> Iterator[tuple[int, Frame]]:
    """Where each frame begins, and what it is. The first one, and one after a damaged place, must have a successor."""
    stream: tuple[int, int, int, bool] | None = None
    lost = True
    while 0 <= position < len(data):
        frame = read_frame(data[position : position + 4])
        if frame is not None and stream is not None and frame.stream != stream:
            goes_on = _goes_on(data, position, frame)
            if frame.stream[2] != stream[2] and goes_on:
                raise RecordingError(f"its sample rate changes from {stream[2]} to {frame.stream[2]} Hz. {CONVERT}")
            if frame.stream[:3] != stream[:3] or not goes_on:
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


def _goes_on(data: bytes | mmap.mmap, position: int, frame: Frame) -> bool:
    """Whether eight frames of one stream follow one another here, which bytes at random do not."""
    for _ in range(8):
        position += frame.size
        after = read_frame(data[position : position + 4])
        if after is None or after.stream != frame.stream:
            return False
        frame = after
    return True
