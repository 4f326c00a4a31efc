"""Reading recordings: the values are those of an analytic tone."""

from __future__ import annotations

import os
import re
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly

from speech.audio import WaveformError, convert_blocks, read_original, read_waveform, resampled
from speech.recording import RecordingError
from tests.sound_files import RATE_HZ, fmt, pcm, riff, tone, written
from tests.twin import import_torch


def assert_is_tone(waveform: np.ndarray, tolerance: float) -> None:
    assert waveform.dtype == np.float32
    assert waveform.shape == (2 * RATE_HZ,)
    inside = slice(RATE_HZ // 10, -RATE_HZ // 10)  # the filter sees zeros beyond the ends
    np.testing.assert_allclose(waveform[inside], tone(RATE_HZ)[inside], rtol=0, atol=tolerance)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_a_tone_keeps_its_pitch_and_amplitude(tmp_path: Path, rate_hz: int, channels: int) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, np.tile(tone(rate_hz)[:, None], channels), rate_hz, subtype="FLOAT")
    assert_is_tone(read_waveform(path), tolerance=2e-3)


@pytest.mark.parametrize(
    ("suffix", "subtype", "tolerance"),
    [
        ("wav", "PCM_U8", 1 / 128),
        ("wav", "PCM_16", 1 / 32768),
        ("wav", "PCM_24", 1e-6),
        ("wav", "PCM_32", 1e-6),
        ("wav", "FLOAT", 1e-6),
        ("wav", "DOUBLE", 1e-6),
        ("wav", "ULAW", 0.02),
        ("flac", "PCM_16", 1 / 32768),
        ("flac", "PCM_24", 1e-6),
        ("aiff", "PCM_16", 1 / 32768),
        ("rf64", "PCM_16", 1 / 32768),
        ("ogg", "VORBIS", 0.05),
    ],
)
def test_every_sample_format_has_full_scale_one(tmp_path: Path, suffix: str, subtype: str, tolerance: float) -> None:
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, tone(RATE_HZ), RATE_HZ, subtype=subtype)
    assert_is_tone(read_waveform(path), tolerance)


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = np.random.default_rng(0).uniform(-0.9, 0.9, (2, 1000)).astype(np.float32)
    soundfile.write(tmp_path / "stereo.wav", np.stack([left, right], axis=1), RATE_HZ, subtype="FLOAT")
    np.testing.assert_allclose(read_waveform(tmp_path / "stereo.wav"), (left + right) / 2, atol=1e-7)


def test_chunks_before_the_data_are_no_sound(tmp_path: Path) -> None:
    sound = tone(RATE_HZ)
    chunks = [(b"LIST", b"INFOISFT\x05\0\0\0test\0\0"), (b"PAD ", b"\x7f" * 4097), fmt(), (b"bext", b"\x01" * 602)]
    (tmp_path / "chunks.wav").write_bytes(riff(*chunks, pcm(sound), (b"id3 ", b"x" * 33)))
    assert_is_tone(read_waveform(tmp_path / "chunks.wav"), 1 / 32768)


def test_a_wav_written_to_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    data = riff(fmt(), pcm(tone(RATE_HZ)))
    offset = data.index(b"data") + 4
    (tmp_path / "pipe.wav").write_bytes(data[:offset] + b"\xff\xff\xff\xff" + data[offset + 4 :])
    assert_is_tone(read_waveform(tmp_path / "pipe.wav"), 1 / 32768)


SIZES = [0, 0x7FFF0000, 0x7FFFF000, 0x7FFFFFDB, 0x7FFFFFFF, 0x80000000, 0x80000024, 0xFFFFF000, 0xFFFFFF00, 0xFFFFFFDB]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [b"RIFF", b"RIFX", b"RF64"])
def test_the_sizes_of_streaming_writers(tmp_path: Path, size: int, kind: bytes) -> None:
    order, sound = "<>"[kind == b"RIFX"], np.round(tone(RATE_HZ) * 32768) / 32768
    head = kind + struct.pack(order + "I", 0xFFFFFFFF) + b"WAVE"
    if kind == b"RF64":  # its sizes are elsewhere, and were never filled in
        head, size = head + b"ds64" + struct.pack("<I", 28) + bytes(28), 0xFFFFFFFF
    head += b"fmt " + struct.pack(order + "IHHIIHH", 16, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)
    head += b"LIST" + struct.pack(order + "I", 4) + b"INFO" + b"data" + struct.pack(order + "I", size)
    (tmp_path / "x.wav").write_bytes(head + np.round(sound * 32768).astype(order + "i2").tobytes())
    for waveform in (read_waveform(tmp_path / "x.wav"), read_original(tmp_path / "x.wav")[0]):
        np.testing.assert_allclose(waveform, sound, atol=1e-7)


def test_an_empty_recording_before_other_chunks_is_empty(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(riff(fmt(), (b"data", b""), (b"LIST", b"INFOISFT\x05\0\0\0test\0\0")))
    with pytest.raises(RecordingError, match=r"^empty: its header says 0 frames$"):
        read_original(tmp_path / "x.wav")


def test_a_flac_of_unknown_length(tmp_path: Path) -> None:
    sound = np.round(np.random.default_rng(5).uniform(-0.5, 0.5, 100_000) * 32768) / 32768
    soundfile.write(tmp_path / "x.flac", sound, RATE_HZ)
    data = bytearray((tmp_path / "x.flac").read_bytes())
    data[21:26] = bytes([data[21] & 0xF0, 0, 0, 0, 0])  # STREAMINFO: the number of samples is not known
    (tmp_path / "x.flac").write_bytes(data)
    np.testing.assert_allclose(read_original(tmp_path / "x.flac")[0], sound, atol=1e-7)
    np.testing.assert_allclose(read_waveform(tmp_path / "x.flac"), sound[:64_000], atol=1e-7)


NOISE = np.random.default_rng(9).integers(-1, 2, 2 * RATE_HZ)


@pytest.mark.parametrize(
    ("samples", "subtype"),
    [
        (NOISE / 2**15, "PCM_16"),
        (3 * NOISE / 2**15, "PCM_16"),
        (NOISE / 2**15 + 1000 / 2**15, "PCM_16"),
        (NOISE / 2**15, "PCM_24"),  # of 16 bits, kept in 24
        (NOISE / 2**15, "FLOAT"),
        (NOISE / 2**23, "PCM_24"),
        (NOISE / 2**7, "PCM_U8"),
        (NOISE / 2**12, "ULAW"),
        (NOISE / 2**11, "ALAW"),
    ],
)
def test_rounding_noise_is_silence(tmp_path: Path, samples: np.ndarray, subtype: str) -> None:
    path = written(tmp_path, samples, subtype=subtype)
    for read in (read_waveform, read_original):
        with pytest.raises(RecordingError, match=r"^silent: the samples in the 2 s read differ by no more than "):
            read(path)


@pytest.mark.parametrize(("subtype", "step"), [("PCM_16", 2**-15), ("PCM_24", 2**-23), ("PCM_U8", 2**-7)])
def test_what_is_quiet_but_no_rounding_noise_is_kept(tmp_path: Path, subtype: str, step: float) -> None:
    quiet = np.round(10 * np.sin(np.arange(2 * RATE_HZ) / 20)) * step
    np.testing.assert_allclose(read_waveform(written(tmp_path, quiet, subtype=subtype)), quiet, atol=1e-9)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_channels_that_cancel_are_said_to(tmp_path: Path, subtype: str) -> None:
    rng = np.random.default_rng(10)
    dithered = [sign * tone(RATE_HZ) * 2**15 + rng.triangular(-1, 0, 1, 2 * RATE_HZ) for sign in (1, -1)]
    path = written(tmp_path, np.round(np.stack(dithered, axis=1)) / 2**15, subtype=subtype)
    for read in (read_waveform, read_original):
        with pytest.raises(
            RecordingError, match=r"^silent: its channels cancel one another where they are averaged. Keep one of them$"
        ):
            read(path)


def test_rounding_noise_below_a_sound_above_the_band_is_silence(tmp_path: Path) -> None:
    high = tone(96_000, hz=40_000) * np.hanning(192_000) * 0.1
    path = written(tmp_path, np.round(high * 2**15) / 2**15, 96_000, "PCM_16")
    with pytest.raises(RecordingError, match=r"^silent: nothing of it is left at 16000 Hz$"):
        read_waveform(path)


@pytest.mark.parametrize(
    "name", [b"x_\xfc.wav", b"\xff\xfe.wav", b"new\nline.wav", b"\x1b[31mred.wav", "\u202egnp.wav".encode()]
)
def test_a_file_of_any_name_is_read(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    try:
        path.write_bytes(written(tmp_path, tone(RATE_HZ)).read_bytes())
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    assert_is_tone(read_waveform(path), 1e-6)
    assert len(read_original(path)[0]) == 2 * RATE_HZ


@pytest.mark.parametrize("length", [1023, 1024, 1025, 3000])
def test_a_file_of_a_long_path_is_read(tmp_path: Path, length: int) -> None:
    """libsndfile takes names of 1023 bytes."""
    folder = tmp_path
    while length - len(str(folder)) > 200:
        folder /= "d" * 100
    folder.mkdir(parents=True)
    path = folder / f"{'x' * (length - len(str(folder)) - 5)}.wav"
    try:
        path.write_bytes(written(tmp_path, tone(RATE_HZ)).read_bytes())
    except OSError:
        pytest.skip("this system takes no path of this length")
    assert_is_tone(read_waveform(path), 1e-6)


@pytest.mark.parametrize(
    ("name", "beginning", "kind"),
    [
        ("a.m4a", b"\0\0\0 ftypM4A \0\0\0\0", "an MP4 file, such as .m4a"),
        ("a.mp3", b"\0\0\0 ftypisom\0\0\0\0", "an MP4 file, such as .m4a"),
        ("a.webm", b"\x1aE\xdf\xa3\x01\0\0\0", "a Matroska or WebM file"),
        ("a.wma", b"0&\xb2u\x8ef\xcf\x11", "a Windows Media file"),
        ("a.wav", b"#!AMR\n\x04", "an AMR file"),
        ("a.ape", b"\0" * 20, "a .ape file"),
    ],
)
def test_audio_that_libsndfile_does_not_read_is_named_with_the_cure(
    tmp_path: Path, name: str, beginning: bytes, kind: str
) -> None:
    (tmp_path / name).write_bytes(beginning + b"\x21" * 500)
    sentence = f"{kind}, which libsndfile does not read. Convert it, for example with: ffmpeg -i FILE FILE.wav"
    with pytest.raises(RecordingError, match=f"^{re.escape(sentence)}$"):
        read_waveform(tmp_path / name)


@pytest.mark.parametrize("shape", [(1, 16_000), (2, 16_000), (6, 7), (1, 1, 16_000), (3, 16_000, 1, 1), ()])
def test_channels_first_is_refused_with_the_cure(shape: tuple[int, ...]) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, shape).astype(np.float32)
    cure = re.escape({2: "waveform.T", 3: "waveform.reshape(-1)"}.get(len(shape), "one recording at a time"))
    with pytest.raises(WaveformError, match=rf"^waveform: must be .*got {re.escape(str(shape))}.* {cure}$"):
        resampled(noise, RATE_HZ)
    with pytest.raises(RecordingError, match=rf"^must be .*got {re.escape(str(shape))}.* {cure}$"):
        read_original(lambda: (noise, RATE_HZ))
    assert resampled(np.zeros((2, 2), np.float32) + 0.1, RATE_HZ).shape == (2,)


@pytest.mark.parametrize("rate_hz", [1_000, 8_000, 11_025, 22_050, 44_100, 44_101, 48_000, 192_000])
def test_blocks_are_resampled_as_the_whole_is(rate_hz: int) -> None:
    rng = np.random.default_rng(rate_hz)
    noise = rng.uniform(-0.5, 0.5, rate_hz + 123).astype(np.float32)
    common = np.gcd(rate_hz, RATE_HZ)
    whole = resample_poly(noise, RATE_HZ // common, rate_hz // common)
    for count in (1, 7, 300):
        cuts = np.sort(rng.integers(0, len(noise), count))
        joined = np.concatenate(list(convert_blocks(np.split(noise, cuts), rate_hz, RATE_HZ)))
        assert joined.dtype == np.float32 and joined.shape == whole.shape
        np.testing.assert_allclose(joined, whole, atol=1e-6)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_the_beginning_is_that_of_the_whole(tmp_path: Path, rate_hz: int) -> None:
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, 3 * rate_hz).astype(np.float32)
    soundfile.write(tmp_path / "noise.wav", noise, rate_hz, subtype="FLOAT")
    common = np.gcd(rate_hz, RATE_HZ)
    whole = resample_poly(noise, RATE_HZ // common, rate_hz // common)
    np.testing.assert_array_equal(read_waveform(tmp_path / "noise.wav", seconds=None), whole)
    for seconds in (0.01, 1.0, 2.9999, 3.0, 4.0):
        beginning = read_waveform(tmp_path / "noise.wav", seconds=seconds)
        assert beginning.shape == (min(round(seconds * RATE_HZ), 3 * RATE_HZ),)
        np.testing.assert_allclose(beginning, whole[: len(beginning)], rtol=0, atol=1e-6)


def test_two_hours_cost_no_more_than_four_seconds(tmp_path: Path) -> None:
    size = 2 * 3600 * 44_100 * 2 * 2
    header = riff((b"fmt ", struct.pack("<HHIIHH", 1, 2, 44_100, 176_400, 4, 16)), (b"data", b""))
    start = np.random.default_rng(2).integers(-1000, 1000, 10 * 88_200).astype("<i2").tobytes()
    with (tmp_path / "long.wav").open("wb") as file:
        file.write(
            header[:4] + struct.pack("<I", len(header) - 8 + size) + header[8:-4] + struct.pack("<I", size) + start
        )
        file.truncate(len(header) + size)
    tracemalloc.start()
    waveform = read_waveform(tmp_path / "long.wav")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert waveform.shape == (64_000,)
    assert peak < 20e6


def test_a_header_that_promises_gigabytes_allocates_nothing(tmp_path: Path) -> None:
    sound = np.random.default_rng(3).uniform(-0.5, 0.5, RATE_HZ)
    soundfile.write(tmp_path / "big.flac", sound, RATE_HZ)
    data = bytearray((tmp_path / "big.flac").read_bytes())
    data[21:26] = bytes([data[21] | 0x0F, 0xFF, 0xFF, 0xFF, 0xFF])  # STREAMINFO: 2^36 - 1 samples
    (tmp_path / "big.flac").write_bytes(data)
    tracemalloc.start()
    with pytest.raises(RecordingError, match=r"^cut short"):
        read_waveform(tmp_path / "big.flac", seconds=None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


def test_an_mp3_without_a_table_of_its_length_is_read(tmp_path: Path) -> None:
    noise = np.random.default_rng(4).uniform(-0.5, 0.5, 10 * 44_100)
    soundfile.write(tmp_path / "noise.mp3", noise, 44_100, bitrate_mode="CONSTANT", compression_level=0.5)
    data = (tmp_path / "noise.mp3").read_bytes()
    second_frame = data.index(data[:2], 4)
    (tmp_path / "noise.mp3").write_bytes(data[second_frame:])
    assert abs(len(read_waveform(tmp_path / "noise.mp3", seconds=None)) - 160_000) < 1000


def test_a_function_is_a_source_too() -> None:
    assert_is_tone(read_waveform(lambda: (tone(44_100), 44_100)), tolerance=2e-3)
    stereo = np.stack([tone(RATE_HZ), np.zeros(2 * RATE_HZ)], axis=1)
    np.testing.assert_allclose(read_waveform(lambda: (stereo, RATE_HZ), seconds=0.5), tone(RATE_HZ, 0.5) / 2, atol=1e-7)
    with pytest.raises(RecordingError, match=r"^empty: it has no samples$"):
        read_waveform(lambda: (np.zeros(0), RATE_HZ))
    samples = tone(RATE_HZ).astype(np.float32)
    read_waveform(lambda: (samples, RATE_HZ))[:] = 7
    assert samples.max() < 1, "the caller's array was handed back"


FORM = "waveform: must be (samples,) or (samples, channels)"
SOUND = np.random.default_rng(0).uniform(-0.5, 0.5, 4800)
TRANSPOSED = "waveform: must be (samples, channels), as soundfile reads it"
SQUEEZED = "It is one channel: waveform.reshape(-1)"


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        *(
            (
                np.tile(SOUND, (n, 1)),
                f"{TRANSPOSED}; got ({n}, 4800), more channels than samples. Hand over its transpose",
            )
            for n in (1, 2, 5, 16)
        ),
        (SOUND[None].tolist(), f"{TRANSPOSED}; got (1, 4800)"),
        (SOUND[None, None], f"{FORM}; got (1, 1, 4800). {SQUEEZED}"),
        (SOUND[None, :, None], f"{FORM}; got (1, 4800, 1). {SQUEEZED}"),
        (np.zeros((8, 4800, 1)), f"{FORM}; got (8, 4800, 1). Hand over one recording at a time"),
        ([SOUND, SOUND[:9]], f"{FORM}; got list, of which NumPy makes no array. Hand over one recording at a time"),
        ((SOUND, 16_000), f"{FORM}; got tuple, of which NumPy makes no array. Hand over one recording at a time"),
        (np.ma.masked_array(SOUND, SOUND > 0.4), "waveform: is a masked array. Choose what stands"),
        *(
            (np.zeros(9, kind), f"{FORM} of floating-point numbers, and not empty; got (9,) of {kind}. Bring {cure}")
            for kind, cure in (
                ("int16", "whole numbers to [-1, 1]: waveform / 32768"),
                ("int32", "whole numbers to [-1, 1]: waveform / 2147483648"),
                ("int8", "whole numbers to [-1, 1]: waveform / 128"),
                ("uint8", "whole numbers to [-1, 1]: waveform / 128 - 1"),
            )
        ),
    ],
)
def test_a_waveform_of_another_form_is_refused_with_the_cure(waveform: Any, message: str) -> None:
    with pytest.raises(WaveformError, match=f"^{re.escape(message)}"):
        resampled(waveform, 16_000)


def test_a_tensor_is_a_waveform_or_refused_with_the_cure() -> None:
    torch = import_torch()
    np.testing.assert_array_equal(resampled(torch.tensor(SOUND), 16_000), SOUND.astype(np.float32))
    for tensor in (torch.tensor(SOUND, requires_grad=True), torch.tensor(SOUND).bfloat16()):
        with pytest.raises(
            WaveformError, match=f"^{re.escape(FORM)}; got Tensor, of which NumPy makes no array"
        ) as caught:
            resampled(tensor, 16_000)
        assert str(caught.value).endswith(" Convert it: waveform.detach().cpu().float().numpy()")
        np.testing.assert_allclose(resampled(tensor.detach().cpu().float().numpy(), 16_000), SOUND, atol=2e-3)


@pytest.mark.parametrize("kind", ["f2", "f4", "f8", ">f4", "g"])
def test_floats_of_any_width_in_any_order_are_a_waveform(kind: str) -> None:
    for waveform in (SOUND.astype(kind), SOUND.astype(kind)[:, None], np.tile(SOUND.astype(kind)[:, None], (1, 16))):
        heard = resampled(waveform, 16_000)
        assert heard.dtype == np.float32
        np.testing.assert_allclose(heard, SOUND, atol=3e-4)
    np.testing.assert_array_equal(resampled(SOUND.tolist(), 16_000), SOUND.astype(np.float32))
