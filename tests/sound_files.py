"""Tones, and the chunks of WAV files that hold them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import soundfile

RATE_HZ = 16_000


def tone(rate_hz: int, seconds: float = 2.0, hz: float = 1000, amplitude: float = 0.5) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)


def riff(*chunks: tuple[bytes, bytes], kind: bytes = b"WAVE") -> bytes:
    body = kind + b"".join(
        name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def fmt(rate_hz: int = RATE_HZ) -> tuple[bytes, bytes]:
    return b"fmt ", struct.pack("<HHIIHH", 1, 1, rate_hz, 2 * rate_hz % 2**32, 2, 16)


def pcm(samples: np.ndarray) -> tuple[bytes, bytes]:
    return b"data", np.round(samples * 32768).astype("<i2").tobytes()


def written(tmp_path: Path, samples: object, rate_hz: int = RATE_HZ, subtype: str = "FLOAT") -> Path:
    soundfile.write(tmp_path / "bad.wav", np.asarray(samples, np.float32), rate_hz, subtype=subtype)
    return tmp_path / "bad.wav"
