"""How a run's test clips sound after each phase: every measure of every clip, and their means."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from inference.model import Model
from speech.bootstrap import bootstrap_mean
from speech.clip import Clips
from speech.distortion import MEASURES, measure_clip
from speech.worst_segments import Segment, distortion_over_time, worst_segments
from storage.mapped import take_rows
from training.workers import Workers

SEGMENTS = 3
DIGITS = 6


class ClipEvaluation(NamedTuple):
    """One row of metrics.csv: a clip after a phase."""

    clip: int
    phase: str  # as in results.json
    values: dict[str, float]  # by the names of MEASURES
    segments: list[Segment]  # of speech, the worst first
    pause_noise_db: float = math.nan  # of the speech's level; NaN without pauses


def rebuild(model: Model, clips: Clips, i: int) -> np.ndarray:
    """Clip i as a model rebuilds it, on the scale of the networks.

    Shapes
    ------
    i -> (clip_samples,), float32
    """
    return model.rebuild(take_rows(clips.samples, np.array([i]))[:, :, None])[0, :, 0]


def waveform(model: Model, clips: Clips, i: int) -> np.ndarray:
    """Clip i as a model rebuilds it, at the clip's own level and length.

    Shapes
    ------
    i -> (valid[i],), float32
    """
    return clips.unscale(i, rebuild(model, clips, i))[: clips.valid[i]]


def evaluate_clips(
    models: Mapping[str, Model],
    clips: Clips,
    test: Sequence[int],
    sample_rate_hz: int,
    workers: Workers,
    on_clip: Callable[[], None] = lambda: None,
) -> Iterator[ClipEvaluation]:
    """Take every measure of the test clips after every phase, clip by clip, and find their worst segments.

    Parameters
    ----------
    models : mapping
        Phase -> the network as it was then.
    clips : Clips
    test : sequence of int
        The clips to rebuild and compare.
    sample_rate_hz : int
    workers : Workers
    on_clip : function
        Called before each; what it raises ends the work.

    Returns
    -------
    evaluations : iterator of ClipEvaluation
        Measures that a clip does not allow are NaN; a clip without segments is silent or shorter than a frame.
    """

    def one(job: tuple[int, str]) -> ClipEvaluation:
        on_clip()
        clip, phase = job
        y = rebuild(models[phase], clips, clip)
        curve = distortion_over_time(clips.waveform(clip), clips.unscale(clip, y)[: clips.valid[clip]], sample_rate_hz)
        values, segments = measure_clip(clips, clip, y, sample_rate_hz), worst_segments(curve, SEGMENTS)
        return ClipEvaluation(clip, phase, values, segments, curve.pause_noise_db)

    return workers.map(one, [(int(clip), phase) for clip in test for phase in models])


def metric_rows(evaluations: Sequence[ClipEvaluation], clips: Clips) -> list[dict[str, Any]]:
    """metrics.csv: name, label, speaker, phase, the columns of MEASURES, where the clip is worst, noise in pauses."""
    rows = []
    for evaluation in evaluations:
        recording = clips.recordings[evaluation.clip]
        row: dict[str, Any] = {"name": recording.name, "label": recording.label, "speaker": recording.speaker}
        row |= {"phase": evaluation.phase}
        row |= {name: _written(value) for name, value in evaluation.values.items()}
        for k in range(SEGMENTS):
            segment = evaluation.segments[k] if k < len(evaluation.segments) else Segment(math.nan, math.nan, math.nan)
            row |= {f"worst_{k + 1}_{name}": _written(value) for name, value in segment._asdict().items()}
        row |= {"pause_noise_db": _written(evaluation.pause_noise_db)}
        rows.append(row)
    return rows


def summary(evaluations: Sequence[ClipEvaluation], rng: np.random.Generator) -> dict[str, Any]:
    """Phase -> measure -> median, mean, its 95 % bootstrap interval, and how many clips it is of; None for NaN.

    Parameters
    ----------
    evaluations : sequence of ClipEvaluation
    rng : numpy.random.Generator
        Of the bootstrap. Every measure draws the same clips. Values are those of metrics.csv, whose six digits are the
        same every time: ESTOI's last ones are noise, and which resamples have just the mean decides a BCa interval.

    Returns
    -------
    dict
        `median` is of all values that are not NaN, infinite ones among them, and None where that is infinite.
    """
    phases: dict[str, Any] = {}
    seed = int(rng.integers(2**63))
    for phase in dict.fromkeys(evaluation.phase for evaluation in evaluations):
        rows = [evaluation.values for evaluation in evaluations if evaluation.phase == phase]
        phases[phase] = {}
        for name in MEASURES:
            values = np.array([float(_written(row[name])) for row in rows])
            interval = bootstrap_mean(values, np.random.default_rng(seed))
            known = values[~np.isnan(values)]
            figures = {"median": float(np.median(known)) if len(known) else math.nan} | interval._asdict()
            phases[phase][name] = {key: _plain(value) for key, value in figures.items()}
    return phases


def _written(value: float) -> str:
    return f"{value:.{DIGITS}g}"


def _plain(value: float) -> float | int | None:
    """As JSON has it: no NaN, no infinity."""
    return value if isinstance(value, int) else float(_written(value)) if math.isfinite(value) else None
