"""Kinds of audio files: which suffixes are read, which are written, and which only another program reads."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import soundfile

# By a suffix that is not libsndfile's own name of the format; the subtype where the suffix decides it.
ALIASES = {
    **dict.fromkeys((".aif", ".aifc"), ("AIFF", None)),
    ".snd": ("AU", None),
    ".oga": ("OGG", None),
    ".opus": ("OGG", "OPUS"),
    ".mp2": ("MP3", "MPEG_LAYER_II"),
    ".mpga": ("MP3", None),
    **dict.fromkeys((".wave", ".bwf"), ("WAV", None)),
    ".sph": ("NIST", None),
    ".sf": ("IRCAM", None),
}
READ = {f".{name.lower()}" for name in soundfile.available_formats()} - {".raw"} | set(ALIASES)
# Audio that libsndfile does not read; .raw and .pcm say neither their sample rate nor their format.
FOREIGN = {
    ".m4a", ".m4b", ".m4r", ".mp4", ".mov", ".aac", ".alac", ".webm", ".weba", ".mka", ".wma", ".asf", ".amr", ".awb",
    ".3gp", ".3ga",
    ".ac3", ".eac3", ".dts", ".ape", ".wv", ".tta", ".tak", ".mpc", ".ra", ".dsf", ".dff", ".spx", ".raw", ".pcm",
    ".sox", ".shn", ".avi", ".flv", ".mkv", ".mpg", ".mpeg", ".wmv",
}  # fmt: skip
SIGNATURES = (  # what such a file begins with, whatever its name
    (4, b"ftyp", "an MP4 file, such as .m4a"),
    (0, b"\x1aE\xdf\xa3", "a Matroska or WebM file"),
    (0, b"0&\xb2u\x8ef\xcf\x11", "a Windows Media file"),
    (0, b"#!AMR", "an AMR file"),
    (0, b"\xff\xf1", "an AAC file"),
    (0, b"\xff\xf9", "an AAC file"),
    (0, b"MAC ", "a Monkey's Audio file"),
    (0, b"wvpk", "a WavPack file"),
    (28, b"Speex   ", "a Speex file"),
)
CONVERT = "Convert it, for example with: ffmpeg -i FILE FILE.wav"
KEPT_SUBTYPES = {"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"}
NOT_WRITTEN = {"SD2", "SDS"}  # the first needs a second file, of the second libsndfile loses the last samples
BLOCK_FRAMES = 65_536  # libsndfile overflows its stack where five minutes of Ogg Vorbis are written at once


def foreign_kind(beginning: bytes, suffix: str) -> str:
    """What an audio file is that libsndfile does not read, by its first 64 bytes or its suffix; empty if unknown."""
    for place, signature, kind in SIGNATURES:
        if beginning[place : place + len(signature)] == signature:
            return kind
    return f"a {suffix.lower()} file" if suffix.lower() in FOREIGN - {".raw", ".pcm"} else ""


def writable_suffixes() -> list[str]:
    """Of the files that `encode_sound` makes; all of them can be read again."""
    return sorted(
        suffix for suffix in READ
        if any(_holds(*pair, rate) for pair in _encodings(suffix, None) for rate in (16_000, 44_100, 8_000))
    )  # fmt: skip


class FormatError(ValueError):
    """A file of this kind cannot hold the sound; the message says why."""


def encode_sound(suffix: str, waveform: np.ndarray, rate_hz: int, subtype: str | None = None) -> bytes:
    """One channel as the content of an audio file of the kind that a suffix names.

    Parameters
    ----------
    suffix : str
        One of `writable_suffixes`.
    waveform : (samples,) float32
    rate_hz : int > 0
    subtype : str or None
        libsndfile's name of the encoding that is wished for, such as that of the recording. One that the format does
        not hold at this rate, or that does not keep the number of samples, gives way to the format's default.

    Raises
    ------
    FormatError
        The format holds no such rate or length.
    """
    for kind, encoding in _encodings(suffix, subtype):
        if _holds(kind, encoding, rate_hz):
            break
    else:
        usual = (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000)
        rates = [rate for rate in usual if any(_holds(*pair, rate) for pair in _encodings(suffix, subtype))]
        raise FormatError(f"{suffix} cannot hold {rate_hz} Hz, but {', '.join(map(str, rates))} Hz. Try .wav or .flac")
    memory = io.BytesIO()  # not a file: what fails in one, the bridge to libsndfile prints and loses
    try:
        with soundfile.SoundFile(memory, "w", rate_hz, 1, encoding, format=kind) as sound:
            for start in range(0, len(waveform), BLOCK_FRAMES):
                sound.write(waveform[start : start + BLOCK_FRAMES])
    except (soundfile.SoundFileError, AssertionError) as error:
        raise FormatError(f"{suffix} cannot hold it: {error}. Try .wav") from error
    memory.seek(0)
    if (frames := soundfile.info(memory).frames) != len(waveform):
        raise FormatError(f"{suffix} holds {frames} of {len(waveform)} samples. Try .wav or .flac")
    return memory.getvalue()


def _encodings(suffix: str, subtype: str | None) -> Iterator[tuple[str, str]]:
    """(format, encoding), best first, of what libsndfile says that it writes."""
    kind, fixed = ALIASES.get(suffix.lower(), (suffix[1:].upper(), None))
    wished = subtype if subtype in KEPT_SUBTYPES else None
    for encoding in (fixed,) if fixed else (wished, soundfile.default_subtype(kind), "PCM_16"):
        if encoding is not None and soundfile.check_format(kind, encoding) and kind not in NOT_WRITTEN:
            yield kind, encoding


def _holds(kind: str, encoding: str, rate_hz: int) -> bool:
    """Whether a second of sound, written like this, is read again at its rate and length."""
    memory = io.BytesIO()
    try:
        with soundfile.SoundFile(memory, "w", rate_hz, 1, encoding, format=kind) as sound:
            sound.write(np.zeros(1000, np.float32))
        memory.seek(0)
        with soundfile.SoundFile(memory) as sound:
            return bool(sound.samplerate == rate_hz and sound.frames == 1000)
    except (soundfile.SoundFileError, ValueError, TypeError):
        return False
