"""The odd files of tests/odd_files.py, and headers at random beside a reader that shares nothing with ours."""

from __future__ import annotations

import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.audio import read_original, read_waveform
from speech.recording import RecordingError
from tests.odd_files import KINDS, Case, outcome


@pytest.mark.parametrize("make", KINDS)
def test_odd_files_give_their_samples_or_one_sentence(tmp_path: Path, make: Callable[[Path], Iterator[Case]]) -> None:
    cases = [(case.kind, outcome(case)) for case in make(tmp_path)]
    assert len(cases) >= 7


def test_what_ffmpeg_writes() -> None:
    if not shutil.which("ffmpeg"):
        pytest.skip("needs FFmpeg: apt-get install ffmpeg")
    assert any(make.__name__ == "ffmpeg" for make in KINDS)


ENCODINGS = {  # bits, format tag of WAV, encoding of AU, of samples in [-1, 1)
    "8": (8, 1, 2),
    "16": (16, 1, 3),
    "24": (24, 1, 4),
    "32": (32, 1, 5),
    "float": (32, 3, 6),
    "double": (64, 3, 7),
}


def packed(samples: np.ndarray, encoding: str, order: str, signed_8: bool) -> bytes:
    """Samples in [-1, 1) as they stand in a file."""
    bits = ENCODINGS[encoding][0]
    if encoding in ("float", "double"):
        return samples.astype(order + ("f4" if bits == 32 else "f8")).tobytes()
    whole = np.floor(samples * 2 ** (bits - 1)).astype(np.int64)
    if bits == 8:
        return (whole.astype(np.int8) if signed_8 else (whole + 128).astype(np.uint8)).tobytes()
    four = whole.astype(order + "i4").view(np.uint8).reshape(-1, 4)
    return (four[:, : bits // 8] if order == "<" else four[:, 4 - bits // 8 :]).tobytes()


def unpacked(body: bytes, encoding: str, order: str, signed_8: bool) -> np.ndarray:
    """The same numbers back, one by one."""
    bits = ENCODINGS[encoding][0]
    size = bits // 8
    values = []
    for start in range(0, len(body) // size * size, size):
        word = body[start : start + size]
        if encoding in ("float", "double"):
            values.append(struct.unpack(order + ("f" if size == 4 else "d"), word)[0])
        elif bits == 8:
            values.append((word[0] - 256 * (word[0] > 127) if signed_8 else word[0] - 128) / 128)
        else:
            values.append(int.from_bytes(word, "little" if order == "<" else "big", signed=True) / 2 ** (bits - 1))
    return np.array(values)


@st.composite
def files(draw: st.DrawFn) -> tuple[str, bytes, np.ndarray, int]:
    """A suffix, a file written byte by byte, its samples as one channel, and how many bytes its header adds."""
    container = draw(st.sampled_from(["wav", "rifx", "rf64", "au", "aiff"]))
    encoding = draw(st.sampled_from(sorted(ENCODINGS)))
    if container == "aiff" and encoding in ("float", "double"):
        encoding = "16"
    bits, tag, au = ENCODINGS[encoding]
    rate_hz = draw(st.sampled_from([1_000, 8_000, 16_000, 22_050, 44_100, 48_000, 192_000]))
    channels, frames = draw(st.integers(1, 6)), draw(st.integers(30, 200))
    samples = np.random.default_rng(draw(st.integers(0, 99))).uniform(-0.9, 0.9, frames * channels)
    order = "<" if container in ("wav", "rf64") else ">"
    signed_8 = container in ("au", "aiff")
    body = packed(samples, encoding, order, signed_8)
    block = channels * bits // 8
    lie: Any = draw(st.sampled_from([0, 0, 1, 2, 30, 64, 65, 400, 10**6, "unknown", "nothing"]))
    if isinstance(lie, str) and container == "aiff":
        lie = 0
    said = {
        "unknown": draw(st.sampled_from([0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFF00, 0xFFFFFFFF])),
        "nothing": 0,
    }
    size = said[lie] if isinstance(lie, str) else len(body) + lie
    if container == "au":
        content = b".snd" + struct.pack(">IIIII", 24, size, au, rate_hz, channels) + body
    elif container == "aiff":
        exponent = rate_hz.bit_length() - 1
        rate = struct.pack(">HQ", 16383 + exponent, rate_hz << 63 - exponent)
        comm = struct.pack(">HIH", channels, frames, bits) + rate
        content = b"COMM" + struct.pack(">I", 18) + comm + b"SSND" + struct.pack(">III", size + 8, 0, 0) + body
        content = b"FORM" + struct.pack(">I", len(content) + 4) + b"AIFF" + content
    else:
        fmt = struct.pack(order + "HHIIHH", tag, channels, rate_hz, rate_hz * block, block, bits)
        content = b"fmt " + struct.pack(order + "I", 16) + fmt
        if draw(st.booleans()):
            content += b"LIST" + struct.pack(order + "I", 5) + b"INFO\0\0"
        if container == "rf64":
            ds64 = struct.pack("<QQQI", 0, 0 if isinstance(lie, str) else size, 0, 0)
            content = b"ds64" + struct.pack("<I", 28) + ds64 + content
            size = 0xFFFFFFFF
        content += b"data" + struct.pack(order + "I", size) + body
        name = {"wav": b"RIFF", "rifx": b"RIFX", "rf64": b"RF64"}[container]
        length = 0xFFFFFFFF if container == "rf64" else len(content) + 4
        content = name + struct.pack(order + "I", length) + b"WAVE" + content
    mono = unpacked(body, encoding, order, signed_8).reshape(-1, channels).mean(axis=1)
    return container.replace("rifx", "wav"), content, mono, lie if isinstance(lie, int) else 0


@settings(deadline=None, max_examples=300)
@given(files())
def test_any_header_gives_its_samples_or_one_sentence(made: tuple[str, bytes, np.ndarray, int]) -> None:
    suffix, content, expected, missing = made
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"x.{suffix}")
        path.write_bytes(content)
        try:
            whole, rate_hz = read_original(path)
        except RecordingError as error:
            assert missing > 64 and str(error).startswith("cut short: its header promises "), str(error)
            with pytest.raises(RecordingError, match="cut short"):
                read_waveform(path)
            return
        assert missing <= 64
        assert whole.shape == expected.shape
        np.testing.assert_allclose(whole, expected, atol=1e-6)
        np.testing.assert_allclose(read_waveform(path, rate_hz, 1.0), expected[:rate_hz], atol=1e-6)
