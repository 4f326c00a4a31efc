"""Clips: one length, scaled to [0, 1], and back."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speech import emodb
from speech.clip import load_clips
from speech.recording import Recording

RATE_HZ = 16_000


def noise(samples: int, seed: int, amplitude: float = 0.5) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-amplitude, amplitude, samples).astype(np.float32)


def recording(name: str, samples: np.ndarray, rate_hz: int = RATE_HZ) -> Recording:
    return Recording(name, lambda: (samples, rate_hz))


@pytest.fixture
def three() -> list[Recording]:
    return [
        recording("short", noise(500, 0) + 0.1),
        recording("exact", noise(1000, 1, 0.01)),
        recording("long", noise(3000, 2, 0.9)),
    ]


@pytest.mark.parametrize("scaling", ["clip", "corpus"])
def test_scaling_can_be_undone(three: list[Recording], scaling: str) -> None:
    clips, left_out = load_clips(three, clip_samples=1000, scaling=scaling)
    assert left_out == []
    assert len(clips) == 3
    assert clips.samples.shape == (3, 1000)
    assert {clips.samples.dtype, clips.offset.dtype, clips.scale.dtype} == {np.dtype(np.float32)}
    assert clips.recordings == tuple(three)
    np.testing.assert_array_equal(clips.valid, [500, 1000, 1000])
    for i, (source, valid) in enumerate(
        [(noise(500, 0) + 0.1, 500), (noise(1000, 1, 0.01), 1000), (noise(3000, 2, 0.9), 1000)]
    ):
        np.testing.assert_allclose(clips.waveform(i), source[:valid], rtol=0, atol=1e-6 * clips.scale[i])
        padding = clips.samples[i, valid:]
        np.testing.assert_allclose(padding, -clips.offset[i] / clips.scale[i], rtol=1e-6)
        assert clips.unscale(i, clips.samples[i].astype(np.float64)).dtype == np.float64


def test_per_clip_each_clip_fills_zero_to_one(three: list[Recording]) -> None:
    clips, _ = load_clips(three, clip_samples=1000)
    np.testing.assert_array_equal(clips.samples.min(axis=1), 0)
    np.testing.assert_array_equal(clips.samples.max(axis=1), 1)


def test_per_corpus_clips_keep_their_differences_in_level(three: list[Recording]) -> None:
    clips, _ = load_clips(three, clip_samples=1000, scaling="corpus")
    assert clips.samples.min() == 0
    assert clips.samples.max() == 1
    assert len(set(clips.offset)) == len(set(clips.scale)) == 1
    deviations = clips.samples.std(axis=1)
    assert deviations[1] < 0.02 * deviations[2]


def test_zero_mean_and_unit_variance_first_changes_nothing(three: list[Recording]) -> None:
    clips, _ = load_clips(three, clip_samples=1000)
    for i in range(3):
        padded = np.zeros(1000)
        padded[: clips.valid[i]] = clips.waveform(i)
        z = (padded - padded.mean()) / padded.std()
        np.testing.assert_allclose(clips.samples[i], (z - z.min()) / (z.max() - z.min()), atol=1e-6)


def test_padding_is_done_before_scaling() -> None:
    # All of it is above 0, so that the padding and not the sound is the minimum.
    clips, _ = load_clips([recording("high", noise(100, 3, 0.1) + 0.5)], clip_samples=200)
    assert clips.offset[0] == 0
    np.testing.assert_array_equal(clips.samples[0, 100:], 0)
    assert clips.samples[0, :100].min() > 0.6


def test_another_rate_gives_the_same_number_of_seconds() -> None:
    clips, _ = load_clips([recording("a", noise(44_100, 4), 44_100), recording("b", noise(8_000, 5), 8_000)], 16_000)
    np.testing.assert_array_equal(clips.valid, [16_000, 16_000])


def test_bad_recordings_are_left_out_and_the_others_keep_their_order(tmp_path: Path, three: list[Recording]) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    bad = [
        recording("silent", np.zeros(100)),
        Recording("text", tmp_path / "text.wav"),
        recording("nan", noise(9, 6) * np.nan),
    ]
    clips, left_out = load_clips([bad[0], three[0], bad[1], bad[2], *three[1:]], clip_samples=1000)
    alone, _ = load_clips(three, clip_samples=1000)
    assert clips.recordings == tuple(three)
    np.testing.assert_array_equal(clips.samples, alone.samples)
    np.testing.assert_array_equal(clips.valid, alone.valid)
    assert left_out == [
        ("silent", "silent: every sample in the 0.00625 s read is 0"),
        ("text", "not an audio file that libsndfile reads"),
        ("nan", "9 of 9 samples are NaN or infinite"),
    ]


@pytest.mark.parametrize("scaling", ["clip", "corpus"])
def test_nothing_left_is_no_crash(scaling: str) -> None:
    for recordings in ([], [recording("silent", np.zeros(100))]):
        clips, left_out = load_clips(recordings, clip_samples=10, scaling=scaling)
        assert clips.samples.shape == (0, 10)
        assert len(left_out) == len(recordings)


def test_the_threads_decide_nothing(tmp_path: Path) -> None:
    recordings = []
    for i in range(40):
        path = tmp_path / f"{i}.wav"
        soundfile.write(path, noise(200 + 150 * (i * 7 % 40), i), RATE_HZ if i % 3 else 22_050)
        recordings.append(Recording(str(i), path))
    one, _ = load_clips(recordings, clip_samples=4000, threads=1)
    for threads in (2, 7, None):
        many, _ = load_clips(recordings, clip_samples=4000, threads=threads)
        assert many.recordings == one.recordings == tuple(recordings)
        np.testing.assert_array_equal(many.samples, one.samples)
        np.testing.assert_array_equal(many.valid, one.valid)


def test_no_bar_where_there_is_no_terminal(three: list[Recording], capfd: pytest.CaptureFixture[str]) -> None:
    load_clips(three, clip_samples=100, progress=True)
    assert capfd.readouterr() == ("", "")


def test_wrong_settings_are_refused(three: list[Recording]) -> None:
    with pytest.raises(ValueError, match=r"^load_clips: scaling must be 'clip' or 'corpus'; got 'speaker'$"):
        load_clips(three, scaling="speaker")
    message = r"^load_clips: clip_samples, sample_rate_hz and threads must be at least 1; got 0, 16000, -1$"
    with pytest.raises(ValueError, match=message):
        load_clips(three, clip_samples=0, threads=-1)
    with pytest.raises(ValueError, match=r"got 10, 16000, 0$"):
        load_clips(three, clip_samples=10, threads=0)


def test_emodb_has_the_variance_that_the_specification_states() -> None:
    data = os.environ.get("NN1D_DATA")
    if not data or not (Path(data) / "emodb").is_dir():
        pytest.skip("needs EmoDB: set NN1D_DATA to the folder that holds emodb/")
    recordings, _ = emodb.list_recordings(Path(data) / "emodb")
    clips, left_out = load_clips(recordings)
    assert left_out == []
    assert clips.samples.shape == (535, 64_000)
    assert 0.0035 < clips.samples.var(axis=1).mean() < 0.0045
    assert clips.samples.min() == 0
    assert clips.samples.max() == 1
    # Read by another way: 16-bit numbers straight from the file.
    i = next(i for i, recording in enumerate(recordings) if recording.name == "16b10Wb")
    raw, _ = soundfile.read(recordings[i].source, dtype="int16")
    assert clips.valid[i] == min(len(raw), 64_000)
    np.testing.assert_allclose(clips.waveform(i) * 32768, raw[:64_000], rtol=0, atol=0.02)
    assert 0 < np.count_nonzero(clips.valid < 64_000) < 535


def copies(folder: Path, count: int = 6) -> list[Recording]:
    """The same recordings three times: as they are, under other names in another container, and with zeros after."""
    recordings = []
    for i in range(count):
        sound = np.round(noise(500 + 100 * i, 20 + i) * 32768) / 32768
        for name, suffix, samples in (
            ("a", "wav", sound),
            ("all/a", "flac", sound),
            ("b", "wav", np.r_[sound, np.zeros(100)]),
        ):
            path = folder / name / f"{i}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, samples, RATE_HZ, "PCM_16")
            recordings.append(Recording(f"{name}/{i}", path))
    return sorted(recordings, key=lambda recording: recording.name)


@pytest.mark.parametrize("scaling", ["clip", "corpus"])
@pytest.mark.parametrize("cached", [False, True])
def test_copies_are_left_out_and_the_first_is_named(tmp_path: Path, scaling: str, cached: bool) -> None:
    recordings = copies(tmp_path / "corpus")
    cache_dir = tmp_path / "cache" if cached else None
    for _ in range(2):
        clips, left_out = load_clips(recordings, 2000, scaling=scaling, cache_dir=cache_dir)
        assert [recording.name for recording in clips.recordings] == [f"a/{i}" for i in range(6)]
        assert left_out == [(f"{name}/{i}", f"the same sound as a/{i}") for name in ("all/a", "b") for i in range(6)]
        assert len(set(clips.contents)) == len(clips.contents) == 6
    alone, _ = load_clips(recordings[:6], 2000, scaling=scaling)
    np.testing.assert_array_equal(alone.samples, clips.samples)
    assert alone.contents == clips.contents
    elsewhere, _ = load_clips(recordings[6:], 2000)  # and whatever the scaling
    assert elsewhere.contents == clips.contents


def test_what_is_nearly_the_same_is_no_copy(tmp_path: Path) -> None:
    sound = noise(1000, 30)
    other = sound.copy()
    other[500] += np.float32(2e-7)
    clips, left_out = load_clips(
        [recording("one", sound), recording("two", other), recording("three", sound[:-1])], 1000
    )
    assert len(clips) == 3 and left_out == []
