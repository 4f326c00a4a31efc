"""A trained network on recordings of any rate and length: what the network itself gives, window by window."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.signal import resample_poly

from inference.model import Model, load_run
from models.autoencoder import Autoencoder
from nn1d import named_leaves
from speech.audio import WaveformError
from training.checkpoint import CheckpointError, save_checkpoint
from training.configuration import Configuration
from training.run_files import RunError
from training.workers import Workers

SETTINGS = Configuration(channels=(3, 4), clip_samples=64, device="cpu")  # windows of 64 that overlap by 8; frames of 4
RATE_HZ = 16_000


def network(seed: int = 0, output: str = "hard_sigmoid") -> Autoencoder:
    return Autoencoder(SETTINGS.channels, rng=np.random.default_rng(seed), output=output)


def model(masks: bool = True, **settings: Any) -> Model:
    return Model(dataclasses.replace(SETTINGS, **settings), network(), masks, threads=2)


def speech(samples: int, seed: int = 1) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples).cumsum()).astype(np.float32)


def as_clip(waveform: np.ndarray) -> tuple[np.ndarray, np.float32, np.float32]:
    """What load_clips does to a recording: zeros at the end, then to [0, 1]."""
    clip = np.zeros(64, np.float32)
    clip[: len(waveform)] = waveform
    return ((clip - clip.min()) / (clip.max() - clip.min()))[None, :, None], clip.min(), clip.max() - clip.min()


def rebuilt_clip(waveform: np.ndarray, masks: bool) -> np.ndarray:
    clip, offset, scale = as_clip(waveform)
    encoding, _ = network().encoder.forward(clip)
    (y, _), _ = network().decoder.forward(encoding.representation, encoding.masks if masks else None)
    return y[0, :, 0] * scale + offset


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two phases of different weights."""
    path = tmp_path_factory.mktemp("run")
    (path / "checkpoints").mkdir()
    (path / "config.json").write_text(json.dumps({"settings": SETTINGS.written()}))
    (path / "clips.csv").write_text("name,offset,scale\na,-0.75,1.5\n")
    for i, phase in enumerate(("pretrained", "finetuned")):
        save_checkpoint(path / f"checkpoints/{phase}.safetensors", dict(named_leaves(network(i).parameters)), {})
    return path


@pytest.mark.parametrize("samples", [64, 41, 1])
def test_a_clip_is_encoded_as_the_run_encodes_it_without_its_padding(samples: int) -> None:
    waveform = speech(samples) + 1
    expected = network().encoder.represent(as_clip(waveform)[0])[0]
    z = model().encode(waveform, RATE_HZ)
    assert z.dtype == np.float32
    np.testing.assert_array_equal(z, expected[: -(-samples // 4)])


@pytest.mark.parametrize("samples", [65, 120, 121, 500])
def test_a_long_recording_is_the_frames_of_its_windows(samples: int) -> None:
    waveform = speech(samples)
    z = model().encode(waveform, RATE_HZ)
    assert z.shape == (-(-samples // 4), 4)
    starts = [start for start in range(0, samples, 56) if start == 0 or start + 8 < samples]
    for frame, row in enumerate(z):
        windows = [start for start in starts if start <= 4 * frame < start + 64]
        # the later of two where the frame is past the middle of what they share
        start = windows[-1] if len(windows) == 1 or 4 * frame - windows[-1] >= 4 else windows[0]
        expected = network().encoder.represent(as_clip(waveform[start : start + 64])[0])[0]
        np.testing.assert_array_equal(row, expected[frame - start // 4], err_msg=f"frame {frame}")


@pytest.mark.parametrize("masks", [True, False])
@pytest.mark.parametrize("samples", [64, 30, 65, 120, 300])
def test_a_recording_is_rebuilt_from_its_windows_cross_faded(samples: int, masks: bool) -> None:
    waveform = speech(samples) + 3
    starts = [start for start in range(0, samples, 56) if start == 0 or start + 8 < samples]
    expected, total = np.zeros(samples), np.zeros(samples)
    for start in starts:
        y = rebuilt_clip(waveform[start : start + 64], masks)
        for i in range(min(64, samples - start)):
            weight = 1.0
            if start > 0 and i < 8:
                weight = (i + 0.5) / 8
            if start != starts[-1] and i >= 56:
                weight = (64 - i - 0.5) / 8
            expected[start + i] += weight * y[i]
            total[start + i] += weight
    np.testing.assert_allclose(total, 1)
    rebuilt = model(masks).reconstruct(waveform, RATE_HZ)
    assert rebuilt.dtype == np.float32
    np.testing.assert_allclose(rebuilt, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000])
def test_another_rate_is_converted_there_and_back(rate_hz: int) -> None:
    waveform = speech(977)
    common = np.gcd(rate_hz, RATE_HZ)
    heard = resample_poly(waveform, RATE_HZ // common, rate_hz // common)
    np.testing.assert_allclose(model().encode(waveform, rate_hz), model().encode(heard, RATE_HZ), atol=1e-5)
    rebuilt = model().reconstruct(waveform, rate_hz)
    assert rebuilt.shape == (977,)
    expected = resample_poly(model().reconstruct(heard, RATE_HZ), rate_hz // common, RATE_HZ // common)[:977]
    np.testing.assert_allclose(rebuilt, expected, atol=1e-5)


def test_level_and_offset_come_back() -> None:
    waveform = speech(288)  # whole windows: zeros at the end would not be shifted
    np.testing.assert_allclose(
        model().reconstruct(100 * waveform + 7, RATE_HZ), 100 * model().reconstruct(waveform, RATE_HZ) + 7, atol=0.01
    )


def test_silence_stays_silence_and_a_pause_does_not_disturb() -> None:
    waveform = np.concatenate([np.full(200, 0.25, np.float32), speech(64)])
    rebuilt = model().reconstruct(waveform, RATE_HZ)
    np.testing.assert_array_equal(rebuilt[:150], np.float32(0.25))
    assert np.isfinite(model().encode(waveform, RATE_HZ)).all()
    assert not model().reconstruct(np.zeros(100), RATE_HZ).any()


def test_channels_are_averaged_and_numbers_of_float64_welcome() -> None:
    left, right = speech(100, 1), speech(100, 2)
    both = np.stack([left, right], axis=1).astype(np.float64)
    np.testing.assert_allclose(model().encode(both, RATE_HZ), model().encode((left + right) / 2, RATE_HZ), atol=1e-5)
    assert model().reconstruct(both, RATE_HZ).shape == (100,)


def test_several_recordings_at_once_are_each_as_alone() -> None:
    recordings = [(speech(n, n), RATE_HZ) for n in (300, 5, 64, 65)]
    streams = [[], *([*np.split(waveform, [2, 2, 70])] for waveform, _ in recordings)]  # one without a block, too
    parts: list[list[np.ndarray]] = [[] for _ in streams]
    with Workers(2) as workers:
        for i, part in model().encode_blocks(streams, workers):
            parts[i].append(part)
    assert parts[0] == []
    for recording, some in zip(recordings, parts[1:], strict=True):
        np.testing.assert_array_equal(np.concatenate(some), model().encode(*recording))


def test_a_clip_too_short_for_an_overlap_still_tiles() -> None:
    waveform = speech(30)
    small = model(clip_samples=12)
    assert small.overlap == 0
    assert small.encode(waveform, RATE_HZ).shape == (8, 4)
    assert small.reconstruct(waveform, RATE_HZ).shape == (30,)


@pytest.mark.parametrize(
    ("waveform", "rate_hz", "sentence"),
    [
        (np.zeros(0), RATE_HZ, r"must be \(samples,\).* and not empty; got \(0,\) of float64"),
        (np.zeros((2, 3, 4)), RATE_HZ, r"got \(2, 3, 4\)"),
        (np.zeros(9, np.int16), RATE_HZ, r"of floating-point numbers.*got \(9,\) of int16"),
        (np.array([0, np.nan, np.inf]), RATE_HZ, "2 of 3 samples are NaN or infinite"),
        (np.array([0, 1e200]), RATE_HZ, r"samples as large as 1e\+200"),
        (np.zeros(9), 0, "the sample rate must be an integer from 1000 to 768000 Hz; got 0"),
        (np.zeros(9), 16_000.5, r"got 16000\.5"),
    ],
)
def test_what_is_no_waveform_is_refused(waveform: np.ndarray, rate_hz: int, sentence: str) -> None:
    for use in (model().encode, model().reconstruct):
        with pytest.raises(WaveformError, match=sentence):
            use(waveform, rate_hz)


def test_a_run_is_loaded_with_the_last_phase_that_it_has(run: Path, tmp_path: Path) -> None:
    waveform = speech(200)
    last, first = load_run(run), load_run(str(run), "pretrained")
    assert (last.masks, first.masks) == (False, True)
    np.testing.assert_array_equal(first.reconstruct(waveform, RATE_HZ), model().reconstruct(waveform, RATE_HZ))
    assert abs(last.encode(waveform, RATE_HZ) - first.encode(waveform, RATE_HZ)).max() > 0.01  # weights of their own
    shutil.copytree(run, tmp_path / "begun")
    (tmp_path / "begun/checkpoints/finetuned.safetensors").unlink()
    assert load_run(tmp_path / "begun").masks


def test_masks_go_to_the_decoder_of_phase_2_where_it_was_trained_with_them(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    settings = dataclasses.replace(SETTINGS, fine_tune_masks=True).written()
    (tmp_path / "run/config.json").write_text(json.dumps({"settings": settings}))
    assert load_run(tmp_path / "run", "finetuned").masks


def test_a_run_scaled_as_one_corpus_scales_recordings_as_it(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    settings = dataclasses.replace(SETTINGS, scale="corpus").written()
    (tmp_path / "run/config.json").write_text(json.dumps({"settings": settings}))
    waveform = np.clip(speech(64), -0.7, 0.7)
    clip = ((waveform + np.float32(0.75)) / np.float32(1.5))[None, :, None]
    z = load_run(tmp_path / "run", "pretrained").encode(waveform, RATE_HZ)
    np.testing.assert_array_equal(z, network().encoder.represent(clip)[0])
    (tmp_path / "run/clips.csv").write_text("name,offset\na,1\n")
    with pytest.raises(RunError, match=r"scaled as one corpus, and clips\.csv does not say how"):
        load_run(tmp_path / "run")


def test_what_is_no_run_is_said(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"holds no run \(no config\.json\)"):
        load_run(tmp_path)
    with pytest.raises(RunError, match="phase must be one of pretrained, finetuned; got 'both'"):
        load_run(run, "both")
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run/checkpoints/pretrained.safetensors").unlink()
    with pytest.raises(RunError, match=r"the run has no checkpoints/pretrained\.safetensors yet\. Go on with it"):
        load_run(tmp_path / "run", "pretrained")
    (tmp_path / "run/checkpoints/finetuned.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        load_run(tmp_path / "run")
    (tmp_path / "run/config.json").write_text("{")
    with pytest.raises(RunError, match=r"run: cannot read \S+config\.json: it is not what train\.py wrote"):
        load_run(tmp_path / "run")
