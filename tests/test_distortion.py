"""Every measure of distortion against numbers worked by hand, plain sums, and what it must do to known damage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt

from speech.clip import load_clips
from speech.distortion import MEASURES, measure, measure_clip, missing, table
from speech.pitch import f0_error, track_pitch, voicing_error
from speech.recording import Recording
from speech.spectrum import log_spectral_distance, magnitudes, mel_bands, mel_distance, stft_distance
from speech.worst_segments import distortion_over_time, worst_segments

RATE_HZ = 16_000


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(samples)


def voice(hz: np.ndarray, seconds: float = 1.0) -> np.ndarray:
    """Twelve harmonics of a gliding pitch."""
    phase = 2 * np.pi * np.cumsum(np.resize(hz, int(RATE_HZ * seconds))) / RATE_HZ
    return np.sum([np.sin(k * phase) / k for k in range(1, 13)], axis=0)


def syllables(seed: int = 0) -> np.ndarray:
    """Two seconds of a voice that comes and goes four times a second, as speech does."""
    glide = np.linspace(110, 160, 2 * RATE_HZ)
    envelope = np.maximum(0.02, np.sin(2 * np.pi * 2 * np.arange(2 * RATE_HZ) / RATE_HZ) ** 2)
    return 0.1 * voice(glide, 2.0) * envelope + 0.002 * noise(2 * RATE_HZ, seed)


def test_a_spectrum_is_the_sum_that_defines_it() -> None:
    x, window = noise(70), 16
    spectra = magnitudes(x, window)
    padded = np.concatenate([x[8:0:-1], x, x[-2:-10:-1]])  # mirrored about the first and the last sample
    for t in (0, 3, spectra.shape[0] - 1):
        for f in (0, 1, 5, 8):
            total = sum(
                (0.5 - 0.5 * math.cos(2 * math.pi * i / window))
                * padded[4 * t + i]
                * np.exp(-2j * math.pi * i * f / window)
                for i in range(window)
            )
            assert spectra[t, f] == pytest.approx(abs(total), abs=1e-9)
    assert spectra.shape == (1 + 70 // 4, 9)


def test_mel_bands_have_their_corners_and_area_one() -> None:
    bands = mel_bands(RATE_HZ, 2048, 150)
    assert bands.shape == (150, 1025)
    hz = np.arange(1025) * RATE_HZ / 2048
    wide = bands.sum(axis=1) * RATE_HZ / 2048  # where a band covers many bins the sum is the area
    np.testing.assert_allclose(wide[100:], 1, atol=0.02)
    peaks = hz[bands.argmax(axis=1)]
    assert (np.diff(peaks[30:]) > 0).all()
    top = 15 + math.log(8) / (math.log(6.4) / 27)  # 8 kHz in mel
    expected = 1000 * math.exp((top * 146 / 151 - 15) * math.log(6.4) / 27)  # the centre of band 145
    assert peaks[145] == pytest.approx(expected, abs=8)


def test_spectral_distances_of_a_gain_are_known() -> None:
    x = noise(RATE_HZ)
    assert log_spectral_distance(x, 10 * x, RATE_HZ) == pytest.approx(20, abs=0.1)
    spectra = [magnitudes(x, window) for window in (2048, 512)]
    expected = sum(9 * s.mean() + 2 for s in spectra)  # |X - 10 X| = 9 X, and log10 of 10² is 2
    assert stft_distance(x, 10 * x) == pytest.approx(expected, rel=1e-6)
    mel = [magnitudes(x, w) @ mel_bands(RATE_HZ, w, m).T for w, m in ((2048, 150), (512, 80))]
    assert mel_distance(x, 10 * x, RATE_HZ) == pytest.approx(
        sum(9 * s.mean() + 2 * (s > 0).mean() for s in mel), rel=1e-4
    )


@pytest.mark.parametrize("hz", [80.0, 123.4, 220.0, 390.0])
def test_a_steady_voice_has_its_pitch(hz: float) -> None:
    track = track_pitch(voice(np.array([hz])), RATE_HZ)
    assert np.isnan(track.hz).mean() < 0.05
    assert np.nanmax(abs(1200 * np.log2(track.hz / hz))) < 10  # cent
    np.testing.assert_allclose(np.diff(track.seconds), 0.01)


def test_a_glide_is_followed_and_noise_is_unvoiced() -> None:
    glide = np.linspace(100, 200, RATE_HZ)
    track = track_pitch(voice(glide), RATE_HZ)
    truth = glide[(track.seconds * RATE_HZ).astype(int)]
    assert np.sqrt(np.nanmean((1200 * np.log2(track.hz / truth)) ** 2)) < 15
    assert np.isnan(track_pitch(noise(RATE_HZ), RATE_HZ).hz).mean() > 0.9
    for still in (np.zeros(RATE_HZ), np.ones(RATE_HZ)):
        assert np.isnan(track_pitch(still, RATE_HZ).hz).all()
    assert len(track_pitch(np.ones(100), RATE_HZ).hz) == 0


def test_errors_of_pitch_and_voicing() -> None:
    low, high = (track_pitch(voice(np.array([hz])), RATE_HZ) for hz in (100.0, 200.0))
    assert f0_error(low, high) == pytest.approx(1200, abs=5)
    assert voicing_error(low, high) == pytest.approx(0, abs=0.02)
    half = voice(np.array([100.0]))
    half[RATE_HZ // 2 :] = 0
    assert voicing_error(low, track_pitch(half, RATE_HZ)) == pytest.approx(0.5, abs=0.05)
    silent = track_pitch(np.zeros(RATE_HZ), RATE_HZ)
    assert math.isnan(f0_error(low, silent)) and voicing_error(low, silent) > 0.95
    with pytest.raises(ValueError, match="both tracks must have the same frames"):
        f0_error(low, track_pitch(np.zeros(2000), RATE_HZ))


def test_more_damage_is_worse_by_every_measure() -> None:
    x = syllables()
    level = np.sqrt((x**2).mean())
    measured = [measure(x, x + level * 10 ** (-db / 20) * noise(len(x), 7), RATE_HZ) for db in (40, 20, 0)]
    for name, about in MEASURES.items():
        values = [each[name] for each in measured]
        if name == "pesq" and missing(RATE_HZ):
            assert all(math.isnan(value) for value in values)
        elif name in ("f0_error_cent", "voicing_error"):  # good trackers do not mind a little noise
            assert values[0] <= values[2] + 1e-9 or math.isnan(values[2])
        else:
            order = sorted(values, reverse=about.better == "higher")
            assert values == order and len(set(values)) == 3, (name, values)
    assert measured[1]["snr_db"] == pytest.approx(20, abs=0.1)


def test_a_low_pass_is_heard_by_the_spectral_measures() -> None:
    x = syllables()
    cut = [sosfiltfilt(butter(8, hz, fs=RATE_HZ, output="sos"), x) for hz in (4000, 1000)]
    mild, strong = (measure(x, y, RATE_HZ) for y in cut)
    for name in ("log_spectral_distance_db", "mel_distance", "stft_distance"):
        assert 0 < mild[name] < strong[name]
    assert strong["stoi"] < mild["stoi"] <= 1


def test_equal_clips_are_perfect_and_degenerate_ones_give_nan() -> None:
    x = syllables()
    same = measure(x, x, RATE_HZ)
    assert list(same) == list(MEASURES)
    assert same["mse"] == same["mel_distance"] == same["stft_distance"] == same["log_spectral_distance_db"] == 0
    assert same["snr_db"] == same["si_sdr_db"] == math.inf and same["segmental_snr_db"] == 35
    assert same["stoi"] == pytest.approx(1, abs=1e-6) and same["f0_error_cent"] == same["voicing_error"] == 0
    for degenerate in (np.zeros(0), np.ones(1), np.zeros(RATE_HZ), np.full(RATE_HZ, 0.3), noise(300)):
        values = measure(degenerate, np.zeros_like(degenerate), RATE_HZ)
        assert list(values) == list(MEASURES) and math.isnan(values["stoi"])


def test_a_clip_is_measured_without_its_padding_and_at_its_own_level() -> None:
    x = syllables()[:12_000].astype(np.float32)
    clips, _ = load_clips([Recording("x", lambda: (x, RATE_HZ))], 16_000)
    rebuilt = clips.samples[0] + np.float32(0.01)
    rebuilt[12_000:] = 0.9  # what is rebuilt of the padding does not count
    measured = measure_clip(clips, 0, rebuilt, RATE_HZ)
    assert measured["mse"] == pytest.approx(1e-4, rel=1e-3)
    power = float((x.astype(float) ** 2).mean()) / float(clips.scale[0]) ** 2
    assert measured["snr_db"] == pytest.approx(10 * math.log10(power / 1e-4), abs=0.01)
    with pytest.raises(ValueError, match=r"measure_clip: rebuilt must be \(16000,\); got \(3,\)"):
        measure_clip(clips, 0, np.zeros(3), RATE_HZ)


def test_the_worst_segments_are_where_the_damage_is() -> None:
    x = noise(RATE_HZ)
    y = x.copy()
    y[4000:5000] += noise(1000, 1)
    y[12_000:13_000] += 3 * noise(1000, 2)
    curve = distortion_over_time(x, y, RATE_HZ)
    assert curve.noise_to_signal_db.min() == -100
    worst, second, _ = worst_segments(curve, 3, seconds=0.05)
    assert worst.start_s > 0.74 and worst.end_s < 0.83 and worst.noise_to_signal_db == pytest.approx(9.5, abs=2)
    assert second.start_s > 0.24 and second.end_s < 0.33
    assert worst_segments(distortion_over_time(np.zeros(RATE_HZ), x, RATE_HZ)) == []
    assert worst_segments(distortion_over_time(x[:10], x[:10], RATE_HZ)) == []


@pytest.mark.parametrize("pause_db", [-45.0, -50.0, -80.0])
def test_the_worst_segments_are_of_speech_and_noise_in_pauses_is_told_apart(pause_db: float) -> None:
    """Words at 0.2 to 0.5 s and 1 to 1.6 s; in pauses noise 30 dB below them, 10 dB at least above what is there."""
    x = noise(2 * RATE_HZ) * 10 ** (pause_db / 20)
    words = np.zeros(2 * RATE_HZ, bool)
    for start, end in ((0.2, 0.5), (1.0, 1.6)):
        words[int(start * RATE_HZ) : int(end * RATE_HZ)] = True
    x[words] = noise(int(words.sum()), 3)
    y = x + np.where(words, 0.01, 10 ** (-30 / 20)) * noise(len(x), 4)  # 40 dB below them in words
    y[int(1.2 * RATE_HZ) : int(1.4 * RATE_HZ)] *= 0.9
    curve = distortion_over_time(x, y, RATE_HZ)
    assert curve.noise_to_signal_db[~curve.spoken].mean() > curve.noise_to_signal_db[curve.spoken].max()
    first, *others = worst_segments(curve)
    assert 1.15 < first.start_s < first.end_s < 1.45 and first.noise_to_signal_db == pytest.approx(-20, abs=1.5)
    for segment in others:
        seconds = np.arange(segment.start_s, segment.end_s, 0.001)
        assert words[(seconds.clip(0) * RATE_HZ).astype(int)].mean() > 0.4
    assert curve.pause_noise_db == pytest.approx(-30, abs=0.5)
    assert math.isnan(distortion_over_time(x[words], y[words], RATE_HZ).pause_noise_db)  # there is no pause


def test_the_table_of_the_docs_is_that_of_the_code() -> None:
    from pathlib import Path

    assert table() in (Path(__file__).parents[1] / "docs" / "distortion.md").read_text("utf-8")


def test_the_listener_s_measures_are_those_of_the_packages() -> None:
    import pystoi

    x = syllables()
    y = x + 0.05 * noise(len(x), 3) * (np.arange(len(x)) % 4000 < 2000)  # noise that comes and goes
    measured = measure(x, y, RATE_HZ)
    assert measured["stoi"] == pytest.approx(pystoi.stoi(x, y, RATE_HZ), abs=1e-6)
    assert measured["estoi"] == pytest.approx(pystoi.stoi(x, y, RATE_HZ, extended=True), abs=1e-6)
    assert abs(measured["stoi"] - measured["estoi"]) > 0.02
    if not missing(RATE_HZ):
        pesq = pytest.importorskip("pesq", reason="needs pip install -e '.[pesq]'")
        assert measured["pesq"] == pesq.pesq(RATE_HZ, x, y, "wb")
