"""Writing sound: every format that libsndfile lists, in blocks, and what it does not hold in one sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speech.audio import read_original
from speech.container import READ, FormatError, encode_sound, foreign_kind, writable_suffixes

ROOT = Path(__file__).parents[1]
RATES_HZ = {".wve": 8000, ".xi": 44_100}  # of formats that hold one only
LOSSY = {".mp3": 0.05, ".mpga": 0.05, ".ogg": 0.05, ".oga": 0.05, ".opus": 0.2, ".wve": 0.02}


def sound(rate_hz: int, seconds: float = 0.5) -> np.ndarray:
    return (0.4 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def test_the_usual_suffixes_are_written_and_none_that_cannot_be_read() -> None:
    suffixes = writable_suffixes()
    assert {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64"} <= set(suffixes)
    assert set(suffixes) <= READ and not {".raw", ".mp2", ".sd2", ".sds"} & set(suffixes)


@pytest.mark.parametrize("suffix", writable_suffixes())
def test_what_is_written_is_read_again(tmp_path: Path, suffix: str) -> None:
    rate_hz = RATES_HZ.get(suffix, 16_000)
    path = tmp_path / f"x{suffix}"
    for subtype in (None, "PCM_24", "FLOAT", "MPEG_LAYER_III", "GSM610", "no such encoding"):
        path.write_bytes(encode_sound(suffix, sound(rate_hz), rate_hz, subtype))
        again, its_rate_hz = read_original(path)
        assert its_rate_hz == rate_hz and again.shape == (rate_hz // 2,)
        np.testing.assert_allclose(again, sound(rate_hz), atol=LOSSY.get(suffix, 5e-5))
        if subtype in ("PCM_24", "FLOAT") and soundfile.check_format(suffix[1:].upper(), subtype):
            assert soundfile.info(path).subtype == subtype


@pytest.mark.parametrize("name", ["x.ogg", "x.opus"])
def test_five_minutes_are_written_in_blocks(tmp_path: Path, name: str) -> None:
    script = """
import sys
from pathlib import Path
import numpy as np
from speech.container import encode_sound
path = Path(sys.argv[1])
path.write_bytes(encode_sound(path.suffix, np.zeros(300 * 16_000, np.float32), 16_000))
"""  # one write of as much kills the process
    subprocess.run([sys.executable, "-c", script, tmp_path / name], cwd=ROOT, check=True)
    assert soundfile.info(tmp_path / name).frames == 300 * 16_000


@pytest.mark.parametrize(
    ("suffix", "rate_hz", "rates"),
    [(".opus", 44_100, "8000, 12000, 16000, 24000, 48000"), (".wve", 16_000, "8000"), (".xi", 16_000, "44100")],
)
def test_a_rate_that_is_not_held_is_named_with_those_that_are(suffix: str, rate_hz: int, rates: str) -> None:
    sentence = rf"^\{suffix} cannot hold {rate_hz} Hz, but {rates} Hz\. Try \.wav or \.flac$"
    with pytest.raises(FormatError, match=sentence):
        encode_sound(suffix, sound(rate_hz), rate_hz)


def test_foreign_audio_is_known_by_its_beginning_or_its_suffix() -> None:
    assert foreign_kind(b"\0\0\0 ftypM4A ", ".wav") == "an MP4 file, such as .m4a"
    assert foreign_kind(b"", ".M4A") == "a .m4a file"
    assert foreign_kind(b"RIFF", ".wav") == foreign_kind(b"", ".raw") == foreign_kind(b"", ".txt") == ""
