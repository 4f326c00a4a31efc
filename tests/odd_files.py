"""Odd audio files, as people have them, and what each must give: its samples, or one sentence.

python -m tests.odd_files        makes them all in a temporary folder, reads them, and prints a table
"""

from __future__ import annotations

import collections
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from nn1d.command import Parser
from speech.audio import read_original, read_waveform
from speech.container import FOREIGN
from speech.folder import list_recordings
from speech.recording import RecordingError

RATE_HZ = 16_000
SECONDS = 5.0
TOLERANCE = {  # of encodings that lose something: of the root mean square error, where the tone has 0.28
    **dict.fromkeys(("PCM_S8", "PCM_U8", "DPCM_8", "ULAW", "ALAW", "DPCM_16", "MS_ADPCM"), 0.01),
    **dict.fromkeys(("VORBIS", "MPEG_LAYER_III", "VOX_ADPCM", "NMS_ADPCM_32"), 0.02),
    **dict.fromkeys(("IMA_ADPCM", "G721_32", "G723_24", "G723_40", "GSM610", "OPUS"), 0.06),
    **dict.fromkeys(("NMS_ADPCM_16", "NMS_ADPCM_24"), 0.06),
}
STREAMED = (0, 0x7FFF0000, 0x7FFFF000, 0x7FFFFFDB, 0x7FFFFFFF, 0x80000000, 0x80000024, 0xFFFFF000, 0xFFFFFF00)
QUIET = (("PCM_16", 15), ("PCM_24", 15), ("FLOAT", 15), ("PCM_24", 23), ("PCM_U8", 7), ("ULAW", 12), ("ALAW", 11))
NAMES = (
    *(b"x_\xfc.wav", b"\xff.wav", b"a\nb.wav", b"\x1b[31m.wav", b"\xe2\x80\xae.wav", b"a\tb.wav", b"\\n.wav"),
    *(b"-rf.wav", b"%s.wav", b" .wav"),
)
BEGINNINGS = {
    ".m4a": b"\0\0\0 ftypM4A ",
    ".webm": b"\x1aE\xdf\xa3",
    ".wma": b"0&\xb2u\x8ef\xcf\x11",
    ".amr": b"#!AMR\n",
}


class Case(NamedTuple):
    """A file, and what it must give: samples (within a tolerance, of a length that may differ), or a sentence."""

    kind: str
    path: Path
    expected: np.ndarray | str
    tolerance: float = 1e-6
    longer: int = 0  # samples that an encoding may add or leave out at the end


def tone(seconds: float = SECONDS, rate_hz: int = RATE_HZ) -> np.ndarray:
    """A tone that glides, so that a shift or a lost block shows, on the grid of 16 bits."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    return np.round(0.4 * np.sin(2 * np.pi * (200 * t + 20 * t * t)) * 2**15) / 2**15


def formats(folder: Path) -> Iterator[Case]:
    """Every format and encoding that libsndfile lists and writes."""
    for name in soundfile.available_formats():
        for subtype in soundfile.available_subtypes(name):
            if name in ("RAW", "SDS", "SD2"):  # no header; loses its last samples when written; a second file
                continue
            rate_hz = {"WVE": 8000, "XI": 44_100}.get(name, RATE_HZ)
            path, sound = folder / f"{name}-{subtype}.{name.lower()}", tone(rate_hz=rate_hz)
            try:
                with soundfile.SoundFile(path, "w", rate_hz, 1, subtype, format=name) as file:
                    for part in np.split(sound, range(50_000, len(sound), 50_000)):
                        file.write(part)
            except soundfile.LibsndfileError:
                path.unlink(missing_ok=True)  # listed, and not written
                continue
            if (name, subtype) == ("VOC", "PCM_U8"):  # whose header holds no more than 8 bits of the rate
                continue
            yield Case(
                "formats and encodings", path, sound, TOLERANCE.get(subtype, 5e-5), 1000 if subtype in TOLERANCE else 0
            )


def wav(size: int, order: str = "<", rf64: bool = False, sound: np.ndarray | None = None) -> bytes:
    """A WAV file by hand whose header says that it has `size` bytes of sound."""
    head = (b"RF64" if rf64 else b"RIFF" if order == "<" else b"RIFX") + b"\xff\xff\xff\xffWAVE"
    if rf64:
        head += b"ds64" + struct.pack("<IQQQI", 28, 0, size, 0, 0)
    head += b"fmt " + struct.pack(order + "IHHIIHH", 16, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)
    body = np.round((tone() if sound is None else sound) * 2**15).astype(order + "i2").tobytes()
    return head + b"data" + struct.pack(order + "I", 0xFFFFFFFF if rf64 else size) + body


def headers(folder: Path) -> Iterator[Case]:
    """Headers of programs that did not know the length, and of those that promise a little too much or far too much."""
    whole = 2 * len(tone())
    contents = [(f"{size:x}-{order == '<'}", wav(size, order)) for size in STREAMED for order in "<>"]
    contents += [(f"rf64-{size:x}", wav(size, rf64=True)) for size in (0, 2 * len(tone()))]
    for name, content in contents:
        (folder / f"{name}.wav").write_bytes(content)
        yield Case("lengths of streaming writers", folder / f"{name}.wav", tone())
    flac = bytearray(_written(folder, "flac"))
    flac[21:26] = bytes([flac[21] & 0xF0, 0, 0, 0, 0])
    (folder / "unknown.flac").write_bytes(flac)
    yield Case("lengths of streaming writers", folder / "unknown.flac", tone())
    for extra in (1, 2, 12, 36, 44, 64):
        (folder / f"{extra}.wav").write_bytes(wav(whole + extra))
        yield Case("a few bytes promised too much", folder / f"{extra}.wav", tone())
    for extra in (66, 1000, 10**6, 10**9):
        (folder / f"{extra}.wav").write_bytes(wav(whole + extra))
        yield Case("cut short", folder / f"{extra}.wav", r"cut short: its header promises \d+ bytes of sound")
    for suffix in ("aiff", "rf64", "flac"):
        content = _written(folder, suffix)
        (folder / f"cut.{suffix}").write_bytes(content[: len(content) // 2])
        yield Case("cut short", folder / f"cut.{suffix}", "cut short")


def hidden(folder: Path) -> Iterator[Case]:
    """Sound that libsndfile misreads: VOC in blocks, W64 of the extensible form, BW64, and sizes of 2^63."""
    whole = np.round(tone() * 2**15).astype("<i2").tobytes()
    head = b"Creative Voice File\x1a" + struct.pack("<HHH", 26, 0x114, 0x1F11)

    def block(kind: int, content: bytes) -> bytes:
        return bytes([kind]) + len(content).to_bytes(3, "little") + content

    mono, stereo = (struct.pack("<IBBH4x", RATE_HZ, 16, channels, 4) for channels in (1, 2))
    end = b"\0"
    twice = np.repeat(np.frombuffer(whole, "<i2"), 2).tobytes()
    eight = (np.frombuffer(whole, "<i2") // 256 + 128).astype(np.uint8)
    slow, coarse = bytes([256 - 125, 0]), np.floor(tone() * 2**7) / 2**7  # at 8000 Hz
    both = struct.pack("<HBB", 65536 - 8000, 0, 1)
    for name, blocks, sound in (
        ("one", block(9, mono + whole) + end, tone()),
        ("three", block(9, mono + whole[:4096]) + block(2, whole[4096:9000]) + block(2, whole[9000:]) + end, tone()),
        (
            "text",
            block(5, b"hello\0") + block(9, mono + whole[:4096]) + block(4, b"ab") + block(2, whole[4096:]),
            tone(),
        ),
        ("stereo", block(9, stereo + twice[:65536]) + block(2, twice[65536:]), tone()),
        ("old", block(1, slow + eight[:5000].tobytes()) + block(2, eight[5000:].tobytes()) + end, coarse),
        ("old-stereo", block(8, both) + block(1, slow + np.repeat(eight, 2).tobytes()) + end, coarse),
        ("cut", block(9, mono + whole)[:-32], tone()[:-16]),
    ):
        (folder / f"{name}.voc").write_bytes(head + blocks)
        yield Case("VOC, W64 and BW64 by hand", folder / f"{name}.voc", sound)
    (folder / "cut-more.voc").write_bytes(head + block(9, mono + whole)[:-1000])
    yield Case("cut short", folder / "cut-more.voc", "cut short: its header promises 160000 bytes of sound")

    guid = {
        name: name.encode() + bytes.fromhex(tail)
        for tail, names in (
            ("2e91cf11a5d628db04c10000", ["riff"]),
            ("f3acd3118cd100c04f8edb8a", ["wave", "fmt ", "data"]),
        )
        for name in names
    }
    subformat = bytes.fromhex("000000001000800000aa00389b71")
    for kind, tag in (("f4", 3), ("f8", 3), ("i2", 1), ("i4", 1)):
        bits, scale = 8 * int(kind[1]), 1.0 if tag == 3 else 2.0 ** (8 * int(kind[1]) - 1)
        body = (tone() * scale).astype("<" + kind).tobytes()
        form = struct.pack("<HHIIHH", 0xFFFE, 1, RATE_HZ, RATE_HZ * bits // 8, bits // 8, bits)
        form += struct.pack("<HHIH", 22, bits, 4, tag) + subformat
        for size in (len(body) + 24, len(body) + 60, 0, 24, (1 << 63) + 24, (1 << 64) - 1):
            start = guid["riff"] + struct.pack("<Q", 0) + guid["wave"]
            start += guid["fmt "] + struct.pack("<Q", len(form) + 24) + form
            (folder / f"{kind}-{size}.w64").write_bytes(start + guid["data"] + struct.pack("<Q", size) + body)
            yield Case("VOC, W64 and BW64 by hand", folder / f"{kind}-{size}.w64", tone())
    for size in (2 * len(tone()), 0):
        (folder / f"bw64-{size}.wav").write_bytes(b"BW64" + wav(size, rf64=True)[4:])
        yield Case("VOC, W64 and BW64 by hand", folder / f"bw64-{size}.wav", tone())
    (folder / "far.caf").write_bytes(b"caff\0\1\0\0free" + struct.pack(">q", 2**63 - 1) + b"data")
    (folder / "far.w64").write_bytes(
        guid["riff"] + bytes(8) + guid["wave"] + guid["riff"] + struct.pack("<Q", 2**63 - 9)
    )
    for name in ("far.caf", "far.w64"):
        yield Case("sizes beyond any file", folder / name, "unreadable: |not an audio file")


def _written(folder: Path, suffix: str) -> bytes:
    soundfile.write(folder / f"whole.{suffix}", tone(), RATE_HZ)
    return (folder / f"whole.{suffix}").read_bytes()


def noise(folder: Path) -> Iterator[Case]:
    """Nothing but rounding noise, and sound that is barely more."""
    rng = np.random.default_rng(0)
    levels = rng.integers(-1, 2, len(tone()))
    for subtype, step in QUIET:
        for times, offset in ((1, 0), (3, 0), (1, 20)):
            path = folder / f"{subtype}-{step}-{times}-{offset}.wav"
            if "LAW" in subtype and (times, offset) != (1, 0):
                continue  # whose steps grow with the level
            soundfile.write(path, (times * levels + offset) / 2.0**step, RATE_HZ, subtype)
            yield Case("rounding noise", path, "silent: the samples")
        path, quiet = folder / f"quiet-{subtype}-{step}.wav", np.round(12 * tone() / 0.4) / 2.0**step
        soundfile.write(path, quiet, RATE_HZ, subtype)
        yield Case("quiet, but no noise", path, quiet, 2.0 ** -(step + 1) if "LAW" in subtype else 1e-9)
    dithered = np.round(rng.triangular(-1, 0, 1, len(tone())))
    for name, samples, subtype in (
        ("gain", 0.7 * dithered / 2**15, "FLOAT"),
        ("gain", 0.7 * dithered / 2**15, "DOUBLE"),
        ("gain-24", np.round(0.7 * dithered * 2**8) / 2**23, "PCM_24"),
        ("8-in-16", dithered / 2**7, "PCM_16"),
        ("8-in-24", dithered / 2**7 + 0.25, "PCM_24"),
        ("12-in-16", np.round(rng.normal(0, 0.5, len(tone()))) / 2**11, "PCM_16"),
        ("8-in-float", np.stack([dithered, dithered[::-1]], axis=1) / 2**7, "FLOAT"),
        ("offset", 0.25 + levels / 2**11, "ALAW"),
        ("offset", 0.25 + levels / 2**6, "ULAW"),
    ):
        path = folder / f"{name}-{subtype}.wav"
        soundfile.write(path, samples, RATE_HZ, subtype)
        yield Case("rounding noise", path, "silent: the samples")
    for kind in ("WAV", "W64", "AIFF"):
        for subtype in ("GSM610", "NMS_ADPCM_16", "NMS_ADPCM_24", "NMS_ADPCM_32", "IMA_ADPCM", "MS_ADPCM"):
            if soundfile.check_format(kind, subtype):
                path = folder / f"zero-{subtype}.{kind.lower()}"
                soundfile.write(path, np.zeros(len(tone())), RATE_HZ, subtype, format=kind)
                yield Case("rounding noise", path, "silent: ")
    for name, sound, subtype in (
        ("12-bits", np.round(12 * tone() / 0.4) / 2**11, "PCM_16"),
        ("gain", np.float32(0.7) * np.float32(np.round(12 * tone() / 0.4) / 2**15), "FLOAT"),
        ("click", np.eye(1, len(tone()), 900)[0] / 2, "PCM_16"),
        ("late", np.r_[0.01 * (np.arange(50_000) == 9), tone()[:60_000] / 20], "FLOAT"),
        ("half", np.stack([tone(), -0.9 * tone()], axis=1), "FLOAT"),
    ):
        path = folder / f"kept-{name}.wav"
        soundfile.write(path, sound, RATE_HZ, subtype)
        expected = np.asarray(sound, np.float64)
        yield Case("quiet, but no noise", path, expected if expected.ndim == 1 else expected.mean(axis=1), 1e-6)
    faded = tone() * np.hanning(len(tone()))
    for subtype, kind in (("IMA_ADPCM", "wav"), ("MS_ADPCM", "wav"), ("VORBIS", "ogg"), ("OPUS", "ogg"), ("ALAW", "au"),
                          ("MPEG_LAYER_III", "mp3"), ("PCM_U8", "wav")):  # fmt: skip
        path = folder / f"cancels-{subtype}.{kind}"
        soundfile.write(path, np.stack([faded, -faded], axis=1), RATE_HZ, subtype)
        yield Case("stereo that cancels", path, "silent: its channels cancel one another")
    for subtype in ("PCM_16", "PCM_24", "FLOAT"):
        dither = rng.triangular(-1, 0, 1, (2, len(tone())))
        both = np.round(np.stack([tone() * 2**15 + dither[0], dither[1] - tone() * 2**15], axis=1)) / 2**15
        soundfile.write(folder / f"{subtype}.wav", both, RATE_HZ, subtype)
        yield Case("stereo that cancels", folder / f"{subtype}.wav", "silent: its channels cancel one another")


def mp3(folder: Path) -> Iterator[Case]:
    """MP3 of varying bit rate without an index, and damaged in the middle; by libsndfile alone."""

    def encoded(level: float) -> bytes:
        soundfile.write(folder / "x.mp3", tone(10), RATE_HZ, bitrate_mode="CONSTANT", compression_level=level)
        data = (folder / "x.mp3").read_bytes()
        return data[data.index(data[:2], 4) :]  # without the frame that holds the index

    parts = {level: encoded(level) for level in (0.1, 0.5, 0.9)}
    for one, two in ((0.1, 0.9), (0.9, 0.1), (0.5, 0.5)):
        (folder / f"{one}-{two}.mp3").write_bytes(parts[one] + parts[two])
        yield Case("MP3 of two bit rates", folder / f"{one}-{two}.mp3", np.r_[tone(10), tone(10)], np.inf, 4000)
    for levels in ((0.5, 0.5), (0.9, 0.1), (0.1, 0.5, 0.9)):
        path = folder / f"joined-{len(levels)}-{levels[0]}.mp3"
        wholes = []
        for level in levels:  # each with its index
            soundfile.write(folder / "x.mp3", tone(10), RATE_HZ, bitrate_mode="CONSTANT", compression_level=level)
            wholes.append((folder / "x.mp3").read_bytes())
        path.write_bytes(b"".join(wholes))
        yield Case("MP3 files one after the other", path, np.tile(tone(10), len(levels)), np.inf, 4000 * len(levels))
    for other_hz in (8000, 24_000, 44_100):
        soundfile.write(folder / "x.mp3", tone(10), other_hz)
        path = folder / f"to-{other_hz}.mp3"
        path.write_bytes(parts[0.5] + (folder / "x.mp3").read_bytes())
        yield Case("MP3 of two sample rates", path, f"its sample rate changes from 16000 to {other_hz} Hz. Convert it")
    form = struct.pack("<HHIIHHHHIHHH", 0x55, 1, RATE_HZ, 8000, 1, 0, 12, 1, 2, 288, 1, 0)
    for level, part in parts.items():
        path = folder / f"mp3-{level}.wav"
        content = b"fmt " + struct.pack("<I", len(form)) + form + b"fact" + struct.pack("<II", 4, 160_600)
        content += b"data" + struct.pack("<I", len(part)) + part
        path.write_bytes(b"RIFF" + struct.pack("<I", len(content) + 4) + b"WAVE" + content)
        yield Case("MP3 in WAV", path, tone(10), np.inf, 2000)
    rng = np.random.default_rng(1)
    for i, place in enumerate((0.6, 0.7, 0.8, 0.9)):
        damaged = bytearray(parts[0.5] + parts[0.5])
        start = round(place * len(damaged))
        damaged[start : start + 1500] = rng.bytes(1500)
        (folder / f"damaged-{i}.mp3").write_bytes(damaged)
        yield Case("MP3 with a damaged place", folder / f"damaged-{i}.mp3", np.r_[tone(10), tone(10)], np.inf, 16_000)


def names(folder: Path) -> Iterator[Case]:
    """File names that are no UTF-8, or hold what a terminal obeys."""
    for name in NAMES:
        path = folder / os.fsdecode(name)
        try:
            path.write_bytes(wav(2 * len(tone())))
        except OSError:
            continue  # of another system
        yield Case("names", path, tone())


def foreign(folder: Path) -> Iterator[Case]:
    """Audio of kinds that libsndfile does not read."""
    for suffix in sorted(FOREIGN - {".raw", ".pcm"}):
        path = folder / f"x{suffix}"
        path.write_bytes(BEGINNINGS.get(suffix, b"") + b"\x21" * 3000)
        yield Case("kinds that are not read", path, r"(an? .* file|libsndfile does not read).* Convert it, for example")


def ffmpeg(folder: Path) -> Iterator[Case]:
    """What FFmpeg writes into a pipe, and into files that libsndfile reads or does not read."""
    source = folder / "source.wav"
    soundfile.write(source, tone(), RATE_HZ)

    def made(name: str, *options: str, pipe: bool = False) -> Path | None:
        path, command = folder / name, ["ffmpeg", "-v", "error", "-y", "-i", str(source), *options]
        with path.open("wb") as file:
            done = subprocess.run([*command, "-" if pipe else str(path)], capture_output=True)
            if pipe:
                file.write(done.stdout)
        return path if done.returncode == 0 else None

    for kind, tolerance, longer in (
        ("wav", 1e-6, 0), ("flac", 1e-6, 0), ("aiff", 1e-6, 0), ("au", 1e-6, 0), ("caf", 1e-6, 0), ("w64", 1e-6, 0),
        ("ogg", np.inf, 2000), ("mp3", np.inf, 4000),
    ):  # fmt: skip
        if path := made(f"pipe.{kind}", "-f", kind, pipe=True):
            yield Case("FFmpeg into a pipe", path, tone(), tolerance, longer)
    if path := made("pipe.rf64", "-f", "wav", "-rf64", "always", pipe=True):
        yield Case("FFmpeg into a pipe", path, tone())
    for options in (("-q:a", "2"), ("-q:a", "9"), ("-b:a", "128k"), ("-b:a", "32k")):
        if path := made(f"{options[1]}.mp3", *options, "-write_xing", "0", "-id3v2_version", "0"):
            expected = subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-f", "f32le", "-"], capture_output=True)
            samples = np.frombuffer(expected.stdout, "f4")
            yield Case("MP3 without an index, as FFmpeg decodes it", path, samples, 1e-4, 600)
    for name, encoding in (
        ("s16.voc", "pcm_s16le"), ("alaw.voc", "pcm_alaw"), ("f32.w64", "pcm_f32le"), ("f64.w64", "pcm_f64le"),
        ("s24.w64", "pcm_s24le"), ("alaw.w64", "pcm_alaw"), ("s24.caf", "pcm_s24le"), ("f64.aiff", "pcm_f64be"),
    ):  # fmt: skip
        for channels, rate_hz in ((1, 8000), (2, 44_100), (4, 96_000)):
            if path := made(f"{channels}-{name}", "-c:a", encoding, "-ac", str(channels), "-ar", str(rate_hz)):
                expected = subprocess.run(
                    ["ffmpeg", "-v", "error", "-i", path, "-f", "f64le", "-"], capture_output=True
                )
                samples = np.frombuffer(expected.stdout, "f8").reshape(-1, channels).mean(axis=1)
                yield Case("FFmpeg's files, as it decodes them", path, samples)
    for encoding in ("adpcm_yamaha", "g726", "mp2", "ac3", "flac"):
        if path := made(f"{encoding}.wav", "-c:a", encoding):
            sentence = "unreadable: .*If other programs play it: convert it, for example with: ffmpeg"
            yield Case("FFmpeg's files that are not read", path, sentence)
    for suffix in ("m4a", "aac", "webm", "mka", "wma", "ac3", "tta", "wv", "amr"):
        if path := made(f"x.{suffix}"):
            sentence = r"an? .* file.*, which libsndfile does not read. Convert it"
            yield Case("FFmpeg's files that are not read", path, sentence)


KINDS: tuple[Callable[[Path], Iterator[Case]], ...] = (formats, headers, hidden, noise, mp3, names, foreign)
if shutil.which("ffmpeg"):
    KINDS = (*KINDS, ffmpeg)


def outcome(case: Case) -> str:
    """What reading gives, after looking whether it is what it should be."""
    try:
        whole, rate_hz = read_original(case.path)
    except RecordingError as error:
        assert isinstance(case.expected, str), f"{case.path.name!r}: {error}"
        assert re.match(case.expected, str(error)) and "\n" not in str(error), f"{case.path.name!r}: {error}"
        return "one sentence"
    assert not isinstance(case.expected, str), f"{case.path.name!r} was read; expected: {case.expected}"
    assert abs(len(whole) - len(case.expected)) <= case.longer, f"{case.path.name!r}: {len(whole)} samples"
    if np.isfinite(case.tolerance):
        lag = 529 if case.path.suffix == ".mp3" and len(whole) < len(case.expected) else 0  # of the decoder
        count = min(len(whole), len(case.expected) - lag)
        difference = whole[:count] - case.expected[lag : lag + count]
        size = abs(difference).max() if case.tolerance < 1e-3 else np.sqrt(np.mean(difference**2))
        assert size <= case.tolerance, f"{case.path.name!r}: off by {size:.3g}"
    beginning = read_waveform(case.path, rate_hz)  # what one command reads, every command reads
    np.testing.assert_allclose(beginning, whole[: len(beginning)], rtol=0, atol=1e-6)
    assert len(beginning) == min(4 * rate_hz, len(whole))
    (recording,) = [item for item in list_recordings(case.path.parent)[0] if item.source == case.path]
    assert recording.name.isprintable()
    return "its samples"


def main() -> int:
    """Print a line for each kind: how many were tried, and what came of them."""
    Parser(command="tests.odd_files", description=__doc__).parse_args()
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    with tempfile.TemporaryDirectory() as folder:
        for make in KINDS:
            place = Path(folder, make.__name__)
            place.mkdir()
            for case in make(place):
                try:
                    counts[case.kind][outcome(case)] += 1
                except AssertionError as wrong:
                    print(f"{case.kind}: {wrong}", file=sys.stderr)
                    counts[case.kind]["WRONG"] += 1
    for kind, outcomes in counts.items():
        print(f"| {kind} | {outcomes.total()} | {', '.join(f'{count} {what}' for what, count in outcomes.items())} |")
    return 1 if any(outcomes["WRONG"] for outcomes in counts.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
