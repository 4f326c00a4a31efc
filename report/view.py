"""What the listening page is told of a test clip: measures for its table, sounds and pictures for its players."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from report import figure
from report.evaluation import SEGMENTS, ClipEvaluation
from report.sound import SMALL_BYTES, TEXT, Encode, small
from speech.audio import SAMPLE_RATE_HZ
from speech.distortion import MEASURES
from speech.recording import Recording
from speech.worst_segments import distortion_over_time
from training.workers import Workers

PAGE_BYTES = 15_000_000
VIEW_BYTES = 6_000  # of a clip beside its small sounds
COLUMNS = 600  # of a waveform in the page
CHANNEL_COLUMNS = 500  # of a representation
SPECTRUM_COLUMNS = 1000
CURVE_DB = (-40, 20)  # of distortion over time
SPECTRUM_DB = (-80, 10)  # of a spectrogram's bytes; 0 is the loudest of the original


def describe_clip(recording: Recording, seconds: float, evaluations: Sequence[ClipEvaluation]) -> dict[str, Any]:
    """A row of the page's table: what the clip is, and every measure and the worst segments after each phase.

    JSON knows no infinity: "Infinity" and "-Infinity" are text, NaN is None.
    """
    return {
        "name": recording.name,
        "label": recording.label,
        "speaker": recording.speaker,
        "text": str(recording.details.get("text", "")),
        "seconds": round(seconds, 4),
        "values": [[_as_json(evaluation.values[name]) for name in MEASURES] for evaluation in evaluations],
        "worst": [
            [
                [round(max(segment.start_s, 0), 3), round(segment.end_s, 3), round(segment.noise_to_signal_db, 1)]
                for segment in evaluation.segments[:SEGMENTS]
            ]
            for evaluation in evaluations
        ],
        "pause_noise_db": [
            round(evaluation.pause_noise_db, 1) if math.isfinite(evaluation.pause_noise_db) else None
            for evaluation in evaluations
        ],
    }


def show_sounds(sounds: Mapping[str, np.ndarray], encode: Encode) -> dict[str, Any]:
    """What a player plays and draws: sounds, outlines of waveforms, and distortion over time as bytes.

    Parameters
    ----------
    sounds : mapping
        The original first, then the clip after each phase; (samples,) each.
    encode : function
        Of report.sound.

    Returns
    -------
    dict
        waves: for each sound COLUMNS minima and then as many maxima, int8, ±127 the loudest of all. curves: for each
        phase one byte a frame, 0 and 255 the limits CURVE_DB; empty where it cannot be told.
    """
    low, high = CURVE_DB
    original, *rebuilt = sounds.values()
    peak = max(float(abs(samples).max()) for samples in sounds.values()) or 1.0
    waves = [np.stack(figure.envelope(samples, COLUMNS)[1:]) for samples in sounds.values()]
    curves = [distortion_over_time(original, samples, SAMPLE_RATE_HZ).noise_to_signal_db for samples in rebuilt]
    return {
        "sounds": [figure.data_uri(*encode(samples, SAMPLE_RATE_HZ)) for samples in sounds.values()],
        "waves": [_text(np.rint(wave * (127 / peak)).astype(np.int8)) for wave in waves],
        "curves": [
            _text(np.rint((np.clip(curve, low, high) - low) * (255 / (high - low))).astype(np.uint8))
            for curve in curves
            if len(curve) and np.isfinite(curve).all()
        ],
    }


def fill_views(
    shown: Mapping[int, dict[str, Any]],
    versions: Callable[[int], Mapping[str, np.ndarray]],
    workers: Workers,
    room: int,
) -> int:
    """Give small sounds and outlines to as many of the clips without as there is room for in bytes; the room left.

    Parameters
    ----------
    shown : mapping
        Number of a clip -> what describe_clip gave.
    versions : function
        Number of a clip -> its sounds, as show_sounds takes them.
    workers : Workers
    room : int
    """
    fitting, total = [], 0
    for i in evenly([i for i in shown if "sounds" not in shown[i]]):
        seconds = (1 + len(shown[i]["values"])) * shown[i]["seconds"]
        total += math.ceil(seconds * SMALL_BYTES * TEXT) + VIEW_BYTES
        if total > room:
            break
        fitting.append(i)
    for i, content in zip(fitting, workers.map(lambda i: show_sounds(versions(i), small), fitting), strict=True):
        shown[i].update(content)
        room -= sum(len(text) for texts in content.values() for text in texts) + 200
    return room


def evenly(clips: Sequence[int]) -> list[int]:
    """Clips in an order of which any first part is spread evenly."""
    order = np.argsort(np.arange(len(clips)) * 0.6180339887 % 1)
    return [clips[k] for k in order]


def show_spectrograms(spectrograms: Mapping[str, np.ndarray]) -> list[str]:
    """The spectrograms of figure.spectrograms_of as bytes, 0 and 255 the limits SPECTRUM_DB, the lowest band first.

    Without the differences, which the page works out of them.
    """
    low, high = SPECTRUM_DB
    versions = [values for name, values in spectrograms.items() if " − " not in name]
    levels = [np.clip(_shortened(values.T, SPECTRUM_COLUMNS).T, low, high) for values in versions]
    return [_text(np.rint((level - low) * (255 / (high - low))).astype(np.uint8)) for level in levels]


def show_representation(frames: np.ndarray) -> dict[str, Any]:
    """The channels of a representation (frames, channels): bytes of each on its own range, and these ranges."""
    frames = _shortened(frames, CHANNEL_COLUMNS)
    return {
        "bytes": _text(np.rint(255 * figure.unit_range(frames).T).astype(np.uint8)),
        "low": [float(f"{value:.4g}") for value in frames.min(axis=0)],
        "high": [float(f"{value:.4g}") for value in frames.max(axis=0)],
    }


def describe_scales() -> dict[str, Any]:
    """What the bytes of spectrograms stand for, and the colours that they are shown in."""
    return {
        "bytes_db": SPECTRUM_DB,
        "distortion_db": CURVE_DB,
        "level_db": [-figure.MEL_DEPTH_DB, 0],
        "difference_db": [-figure.DIFFERENCE_DB, figure.DIFFERENCE_DB],
        "hz": [round(float(hz), 1) for hz in figure.BAND_HZ],
        "rate": SAMPLE_RATE_HZ,
        "window": figure.MEL_WINDOW,
        "ticks_khz": figure.TICKS_KHZ,
        "colours": {
            kind: _text(np.frombuffer(figure.colour_table(name), np.uint8))
            for kind, name in (("level", "magma"), ("difference", "RdBu_r"), ("channel", "viridis"))
        },
    }


def _shortened(frames: np.ndarray, columns: int) -> np.ndarray:
    """Frames averaged to at most this many."""
    if len(frames) <= columns:
        return frames
    edges = np.linspace(0, len(frames), columns + 1).astype(int)
    return np.add.reduceat(frames, edges[:-1]) / np.diff(edges)[:, None]


def _text(numbers: np.ndarray) -> str:
    return base64.b64encode(numbers.tobytes()).decode()


def _as_json(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    return float(f"{value:.4g}") if math.isfinite(value) else "Infinity" if value > 0 else "-Infinity"
