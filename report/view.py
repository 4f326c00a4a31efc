"""What the listening page is told of a test clip: measures for its table, sounds and pictures for its players."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from report import figure
from report.evaluation import SEGMENTS, ClipEvaluation
from report.sound import Encode
from speech.audio import SAMPLE_RATE_HZ
from speech.distortion import MEASURES
from speech.recording import Recording
from speech.worst_segments import distortion_over_time

COLUMNS = 600  # of a waveform in the page
CHANNEL_COLUMNS = 500  # of a representation
CURVE_DB = (-40, 20)  # of distortion over time


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


def show_pictures(spectrograms: Mapping[str, np.ndarray], frames: np.ndarray) -> list[dict[str, str]]:
    """Spectrograms and the representation (frames, channels) as pictures with a title."""
    pictures = {name: figure.picture(values[::-1], *figure.scale_of(name)) for name, values in spectrograms.items()}
    channels = figure.unit_range(_shortened(frames, CHANNEL_COLUMNS)).T
    title = f"representation: {len(channels)} channels, each on its own range"
    pictures[title] = figure.picture(channels, "viridis", 0, 1)
    return [{"title": name, "uri": figure.data_uri("image/png", content)} for name, content in pictures.items()]


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
