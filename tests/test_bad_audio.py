"""Reading recordings: whatever is wrong with a file has a reason."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speech.audio import read_original, read_waveform
from speech.recording import RecordingError
from tests.sound_files import RATE_HZ, fmt, pcm, riff, tone, written


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (np.zeros(RATE_HZ), "silent: every sample in the 1 s read is 0"),
        (np.full(RATE_HZ // 2, 0.25), "constant: every sample in the 0.5 s read is 0.25"),
        ([0.5], "constant: every sample in the 6.25e-05 s read is 0.5"),
        ([1e-8, -1e-8, 1e-9], "silent: the samples in the 0.000188 s read differ by no more than 2.0e-08"),
        (np.r_[np.zeros(80_000), tone(RATE_HZ)], "silent: every sample in the 4 s read is 0"),
        (
            [[0.5, -0.5], [0.25, -0.25]],
            "silent: its channels cancel one another where they are averaged. Keep one of them",
        ),
        ([0.1, np.nan, 0.2], "1 of 3 samples are NaN or infinite"),
        ([0.1, np.inf, -np.inf, 0.3], "2 of 4 samples are NaN or infinite"),
        ([[np.inf, -np.inf], [0, 0.1]], "2 of 4 samples are NaN or infinite"),
        ([3e38, -3e38], "samples as large as 3e+38; full scale is 1"),
        (np.zeros((0, 1)), "empty: its header says 0 frames"),
    ],
)
def test_bad_samples_have_a_reason(tmp_path: Path, samples: object, reason: str) -> None:
    with pytest.raises(RecordingError, match=f"^{re.escape(reason)}$"):
        read_waveform(written(tmp_path, samples))


def test_a_sound_above_the_band_is_silence(tmp_path: Path) -> None:
    path = written(tmp_path, tone(96_000, hz=40_000) * np.hanning(192_000) * 1e-3, 96_000)
    with pytest.raises(RecordingError, match=r"^silent: nothing of it is left at 16000 Hz$"):
        read_waveform(path)


@pytest.mark.parametrize("rate_hz", [0, 10, 999, 768_001, 4_000_000_000])
def test_an_absurd_rate_has_a_reason(tmp_path: Path, rate_hz: int) -> None:
    (tmp_path / "rate.wav").write_bytes(riff(fmt(rate_hz), pcm(tone(RATE_HZ))))
    with pytest.raises(RecordingError, match=f"^a sample rate of {rate_hz} Hz; 1000 to 768000 Hz can be read$"):
        read_waveform(tmp_path / "rate.wav")
    with pytest.raises(RecordingError, match=f"^a sample rate of {rate_hz} Hz"):
        read_waveform(lambda: (tone(RATE_HZ), rate_hz))


@pytest.mark.parametrize("suffix", ["aiff", "flac", "au"])
def test_an_absurd_rate_has_a_reason_in_every_format(tmp_path: Path, suffix: str) -> None:
    soundfile.write(tmp_path / f"slow.{suffix}", tone(500, hz=100), 500)
    with pytest.raises(RecordingError, match=r"^a sample rate of 500 Hz; 1000 to 768000 Hz can be read$"):
        read_waveform(tmp_path / f"slow.{suffix}")


@pytest.mark.parametrize(
    ("suffix", "reason"),
    [
        ("wav", r"cut short: its header promises 64000 bytes of sound, the file holds \d+"),
        ("aiff", r"cut short: its header promises 6400\d bytes of sound, the file holds \d+"),
        ("rf64", r"cut short: its header promises 64000 bytes of sound, the file holds \d+"),
        ("flac", r"cut short or damaged: .*lost sync"),
    ],
)
def test_a_truncated_file_has_a_reason(tmp_path: Path, suffix: str, reason: str) -> None:
    path = tmp_path / f"cut.{suffix}"
    soundfile.write(path, tone(RATE_HZ) + np.random.default_rng(5).normal(0, 0.1, 2 * RATE_HZ), RATE_HZ)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(RecordingError, match=f"^{reason}$"):
        read_waveform(path)


@pytest.mark.parametrize("missing", [1, 2, 63, 64])
def test_a_header_that_promises_a_few_bytes_too_many_keeps_its_recording(tmp_path: Path, missing: int) -> None:
    sound = np.round(tone(RATE_HZ) * 32768) / 32768
    for content in (riff(fmt(), pcm(sound)), riff((b"PAD ", b"odd"), fmt(), pcm(sound))):
        (tmp_path / "x.wav").write_bytes(content[:-missing])
        for waveform in (read_waveform(tmp_path / "x.wav"), read_original(tmp_path / "x.wav")[0]):
            np.testing.assert_allclose(waveform, sound[: (64_000 - missing) // 2], atol=1e-7)


def test_more_missing_bytes_are_noticed(tmp_path: Path) -> None:
    path = written(tmp_path, tone(RATE_HZ), subtype="PCM_16")
    path.write_bytes(path.read_bytes()[:-66])
    with pytest.raises(RecordingError, match=r"promises 64000 bytes of sound, the file holds 63934"):
        read_waveform(path)
    path.write_bytes(riff((b"PAD ", b"odd"), fmt(), pcm(tone(RATE_HZ)))[:-66])
    with pytest.raises(RecordingError, match=r"promises 64000 bytes of sound, the file holds 63934"):
        read_waveform(path)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("text.wav", b"speaker;emotion\n" * 50, "not an audio file that libsndfile reads"),
        ("text.mp3", b"speaker;emotion\n" * 50, "not an audio file that libsndfile reads"),
        ("zeros.wav", b"\0" * 5000, "not an audio file that libsndfile reads"),
        ("empty.wav", b"", "empty: the file has 0 bytes"),
        (
            "header.wav",
            riff(fmt()),
            "unreadable: Error in WAV file. No 'data' chunk marker. If other programs play it: convert it, for example "
            "with: ffmpeg -i FILE FILE.wav",
        ),
        ("nothing.wav", riff(fmt(), (b"data", b"")), "empty: its header says 0 frames"),
        ("x.raw", b"ab" * 100, "unreadable: a .raw file does not say its sample rate and format"),
    ],
)
def test_what_is_no_audio_file_has_a_reason(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RecordingError, match=f"^{re.escape(reason)}$"):
        read_waveform(tmp_path / name)


def test_random_bytes_after_a_good_header_never_escape_as_another_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    good = {
        suffix: (soundfile.write(tmp_path / f"x.{suffix}", tone(RATE_HZ, 0.1), RATE_HZ), tmp_path / f"x.{suffix}")[1]
        for suffix in ("wav", "flac", "aiff", "ogg")
    }
    for path in good.values():
        data = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(50):
            damaged = data.copy()
            damaged[rng.integers(0, min(len(data), 200), 4)] = rng.integers(0, 256, 4)
            path.write_bytes(damaged.tobytes())
            try:
                waveform = read_waveform(path)
            except RecordingError as error:
                assert str(error)
            else:
                assert np.isfinite(waveform).all()
                assert len(waveform) <= 64_000


def test_what_cannot_be_opened_has_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RecordingError, match=r"^unreadable: there is no such file$"):
        read_waveform(tmp_path / "none.wav")
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(RecordingError, match=r"^unreadable: it is not a regular file$"):
        read_waveform(tmp_path / "folder.wav")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.wav")
        with pytest.raises(RecordingError, match=r"^unreadable: it is not a regular file$"):
            read_waveform(tmp_path / "pipe.wav")
    path = written(tmp_path, tone(RATE_HZ))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # chmod does not stop root, as whom tests may run
    with pytest.raises(RecordingError, match=r"^unreadable: not permitted to open it$"):
        read_waveform(path)
