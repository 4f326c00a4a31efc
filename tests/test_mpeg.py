"""MP3: read to its end, whatever its bit rates, channels, and damaged places."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from speech.audio import read_original, read_waveform
from speech.mpeg import read_frame
from tests.sound_files import RATE_HZ


def mp3(path: Path, sound: np.ndarray, level: float, index: bool = False) -> bytes:
    """An MP3 of a constant bit rate, and without an index of its frames unless asked for."""
    soundfile.write(path, sound, RATE_HZ, bitrate_mode="CONSTANT", compression_level=level)
    data = path.read_bytes()
    return data if index else data[read_frame(data).size :]  # type: ignore[union-attr]


@pytest.mark.parametrize("levels", [(0.1, 0.9), (0.9, 0.1)])
def test_an_mp3_of_two_bit_rates_has_its_whole_length(tmp_path: Path, levels: tuple[float, float]) -> None:
    sound = np.random.default_rng(11).uniform(-0.3, 0.3, 10 * RATE_HZ)
    one, two = (mp3(tmp_path / "x.mp3", sound, level) for level in levels)
    assert not 0.6 < len(one) / len(two) < 1.6
    (tmp_path / "x.mp3").write_bytes(b"ID3\x04\0\0\0\0\x01\x00" + bytes(128) + one + two)
    whole, rate_hz = read_original(tmp_path / "x.mp3")
    assert abs(len(whole) / rate_hz - 20) < 0.3
    assert whole[12 * rate_hz :].std() > 0.1
    np.testing.assert_allclose(read_waveform(tmp_path / "x.mp3"), whole[:64_000], atol=1e-6)


@pytest.mark.parametrize("channels", [(1, 2), (2, 1), (1, 2, 1)])
@pytest.mark.parametrize("index", [True, False])
def test_an_mp3_whose_channels_change_is_read_to_its_end(
    tmp_path: Path, channels: tuple[int, ...], index: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    rng, parts, expected = np.random.default_rng(14), [], []
    for number in channels:
        sound = np.repeat(rng.uniform(-0.3, 0.3, (3 * RATE_HZ, 1)), number, axis=1)
        parts.append(mp3(tmp_path / "x.mp3", sound, 0.5, index))
        (tmp_path / "x.mp3").write_bytes(parts[-1])
        expected.append(read_original(tmp_path / "x.mp3")[0])
    (tmp_path / "x.mp3").write_bytes(b"".join(parts))
    np.testing.assert_allclose(read_original(tmp_path / "x.mp3")[0], np.concatenate(expected), atol=1e-6)
    np.testing.assert_allclose(read_waveform(tmp_path / "x.mp3"), np.concatenate(expected)[:64_000], atol=1e-6)
    assert capfd.readouterr() == ("", ""), "libmpg123 wrote to the terminal"


def test_a_damaged_place_of_an_mp3_leaves_the_rest(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    sound = np.random.default_rng(12).uniform(-0.3, 0.3, 20 * RATE_HZ)
    for index in (True, False):
        good = mp3(tmp_path / "good.mp3", sound, 0.5, index)
        (tmp_path / "good.mp3").write_bytes(good)
        whole, _ = read_original(tmp_path / "good.mp3")
        damaged = bytearray(good)
        place = len(good) * 3 // 4
        damaged[place : place + 3000] = np.random.default_rng(13).bytes(3000)
        (tmp_path / "bad.mp3").write_bytes(damaged)
        np.testing.assert_allclose(read_waveform(tmp_path / "bad.mp3"), whole[:64_000], atol=1e-6)
        rest, rate_hz = read_original(tmp_path / "bad.mp3")
        assert 0 < (len(whole) - len(rest)) / rate_hz < 0.7
        np.testing.assert_allclose(rest[: 14 * rate_hz], whole[: 14 * rate_hz], atol=1e-6)
    assert capfd.readouterr() == ("", ""), "libmpg123 wrote to the terminal"
