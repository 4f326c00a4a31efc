"""What a decoder needs: levels, an ideal coder's bits, and the same clips at fewer bits."""

from __future__ import annotations

import io
import itertools
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from inference.arguments import WHOLE
from inference.model import load_run
from inference.rate import Quantiser, Rate, ideal_code, judge_plain, recording_rates, representation_rates
from speech.clip import Clips, load_clips
from speech.folder import list_recordings
from tests.command import SMALL, make_recordings, train
from training.workers import Workers


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_recordings(tmp_path_factory.mktemp("recordings"))


@pytest.fixture(scope="module")
def clips(recordings: Path) -> Clips:
    return load_clips(list_recordings(recordings)[0], 8000, 16_000, "clip", 1, False, None)[0]


@pytest.fixture(scope="module", params=["max", "fold"])
def run(request: pytest.FixtureRequest, recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    options = [str(option) for option in SMALL]
    options[options.index("--clip-samples") + 1] = "8000"
    train("--db", "folder", "--data-dir", recordings, "--pooling", request.param, *options, "--out", path)
    return path


def test_levels_are_at_equal_steps_and_each_number_takes_the_nearest() -> None:
    frames = np.random.default_rng(0).standard_normal((500, 3)) * [1, 10, 0.1] + [0, 5, -3]
    quantiser = Quantiser(frames, 3)
    index = quantiser.index(frames)
    assert index.min() == 0
    assert index.max() == 7
    values = quantiser.value(np.arange(8)[:, None].repeat(3, axis=1))
    np.testing.assert_allclose(np.diff(values, axis=0), np.broadcast_to(quantiser.step, (7, 3)), rtol=1e-4)
    nearest = abs(frames[:, None] - values[None]).argmin(1)
    np.testing.assert_array_equal(index, nearest)


def test_more_bits_are_nearer_and_few_bits_clip_the_tails() -> None:
    frames = np.random.default_rng(0).laplace(size=(4000, 2))
    errors = []
    for bits in range(1, 13):
        quantiser = Quantiser(frames, bits)
        errors.append(((quantiser.value(quantiser.index(frames)) - frames) ** 2).mean())
    assert all(after < 0.6 * before for before, after in itertools.pairwise(errors))
    assert Quantiser(frames, 2).step[0] * 3 < 0.8 * np.ptp(frames[:, 0])
    assert Quantiser(frames, 12).step[0] * 4095 > 0.8 * np.ptp(frames[:, 0])


def test_a_channel_that_never_changes_is_kept() -> None:
    frames = np.full((10, 2), 0.25)
    quantiser = Quantiser(frames, 2)
    np.testing.assert_allclose(quantiser.value(quantiser.index(frames)), 0.25, atol=1e-6)


def test_the_ideal_coder_counts_as_written() -> None:
    train_index = np.array([[0, 1], [0, 1], [0, 1], [1, 1]])
    code = ideal_code([train_index[:2], train_index[2:]], 2, 2)
    # (3 + 1) / (4 + 2) and (1 + 1) / 6 for the first channel, 1 / 6 and 5 / 6 for the second
    assert code(np.array([[0, 1]])) == pytest.approx(-np.log2(4 / 6) - np.log2(5 / 6))
    assert code(np.array([[1, 0], [1, 0]])) == pytest.approx(2 * (-np.log2(2 / 6) - np.log2(1 / 6)))


def test_a_line_for_each_number_of_bits(run: Path, clips: Clips) -> None:
    train_clips, test_clips = np.arange(9), np.arange(9, 12)
    fold = "fold" in (run / "config.json").read_text().split("pooling")[1][:12]
    for phase in ("pretrained", "finetuned"):
        model = load_run(run, phase, 1)
        seen: list[int] = []
        with Workers(1) as workers:
            arguments = (phase, model, clips, train_clips, test_clips, 16_000, workers, (2, 10, WHOLE))
            lines = representation_rates(*arguments, on_clip=partial(seen.append, 1))
            if not model.masks:
                plain = judge_plain(model, clips, lambda clip, y: float(clip), 16_000, workers)
                assert plain["bits_per_second"] == lines[2].fixed_bits_per_second == 32 * 4 * 4000
                assert plain["test_si_sdr_db"] == np.arange(12).mean()
        assert len(seen) == 9
        masks = 0.0 if fold or phase == "finetuned" else 16_000 / 2 * 4 + 16_000 / 4 * 4
        for line, bits in zip(lines, (2, 10, 32), strict=True):
            assert line.fixed_bits_per_second == bits * 4 * 4000 + masks
            assert line.mask_bits_per_second == masks
            assert masks < line.entropy_bits_per_second <= line.fixed_bits_per_second * 1.2
        x = np.stack([clips.samples[i] for i in test_clips])[:, :, None]
        errors = (model.rebuild(x) - x)[:, :, 0].astype(float) ** 2
        assert lines[2].test_mse == pytest.approx(errors.mean(), rel=1e-5)
        assert lines[2].edge_mse == pytest.approx(np.concatenate([errors[:, :8], errors[:, -8:]], 1).mean(), rel=1e-5)
        assert abs(lines[1].test_mse - lines[2].test_mse) < abs(lines[0].test_mse - lines[2].test_mse)


def test_the_recording_itself_at_fewer_bits(clips: Clips) -> None:
    with Workers(1) as workers:
        lines = recording_rates(clips, np.arange(9), np.arange(9, 12), 16_000, workers, (4, 8))
    by = {(line.what, line.bits): line for line in lines}
    assert list(by) == [("pcm", 4), ("pcm", 8), ("mu-law", 4), ("mu-law", 8), ("flac", 16)]
    for what in ("pcm", "mu-law"):
        assert by[what, 8].fixed_bits_per_second == 128_000
        assert by[what, 8].si_sdr_db > by[what, 4].si_sdr_db + 15  # 6 dB a bit
    step = 2 / 2**8  # of full scale; uniform error has a variance of step² / 12
    peaks = [abs(clips.waveform(i)).max() for i in range(9, 12)]
    expected = np.mean([(step * peak / clips.scale[i]) ** 2 / 12 for i, peak in zip(range(9, 12), peaks, strict=True)])
    assert by["pcm", 8].test_mse == pytest.approx(expected, rel=0.1)
    memory = io.BytesIO()
    soundfile.write(memory, clips.waveform(9), 16_000, "PCM_16", format="FLAC")
    assert by["flac", 16].entropy_bits_per_second == pytest.approx(8 * len(memory.getvalue()) * 2, rel=0.3)
    assert isinstance(by["flac", 16], Rate)


def test_the_command_prints_and_writes_the_figures(run: Path, recordings: Path, tmp_path: Path) -> None:
    from tests.test_inference_command import inference

    done = inference("rate", run, "--bits", "3,32", "--clips", "1", "-o", tmp_path / "rate.json")
    figures = json.loads((tmp_path / "rate.json").read_text())
    names = [(line["what"], line["bits"]) for line in figures["rates"]]
    phases = [(phase, bits) for phase in ("pretrained", "finetuned") for bits in (3, 32)]
    assert names == [*phases, ("pcm", 3), ("mu-law", 3), ("flac", 16)]
    assert figures["rates"][-1]["si_sdr_db"] is None  # infinite
    assert figures["test_clips"] == 1
    assert "| finetuned | 3 |" in done.stdout
    ended = (run / "results.json").rename(tmp_path / "results.json")
    begun = inference("rate", run, "--data-dir", tmp_path / "nowhere", expect=2)
    assert "has not come to its end" in begun.stderr  # before any work
    ended.rename(run / "results.json")
    refused = inference("rate", run, "--bits", "3,20", expect=2)
    assert "must be from 1 to 16, or 32 for numbers as they are; got '3,20'" in refused.stderr
