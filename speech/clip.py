"""Recordings become clips of one length, scaled to [0, 1]."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from speech.audio import read_waveform
from speech.recording import Recording, RecordingError


@dataclass(frozen=True, eq=False)
class Clips:
    """Clips of one length on the scale that the networks see, with what undoes the scaling.

    waveform = samples · scale + offset

    Parameters
    ----------
    samples : (n, clip_samples), float32, in [0, 1]
    offset, scale : (n,), float32
        The value that 0 stands for and the range from 0 to 1, on the recording's own scale. Padding has the value
        -offset / scale, which is what silence maps to.
    valid : (n,), int
        How many of a clip's samples are its own; the others, at its end, are padding.
    recordings : tuple of Recording
        What the clips were read from, in the same order.
    """

    samples: np.ndarray
    offset: np.ndarray
    scale: np.ndarray
    valid: np.ndarray
    recordings: tuple[Recording, ...]

    def __len__(self) -> int:
        """The number of clips."""
        return len(self.samples)

    def waveform(self, i: int) -> np.ndarray:
        """Clip i as it was recorded: on its own scale, at its own length, without the padding.

        Shapes
        ------
        i -> (valid[i],), float32
        """
        return self.unscale(i, self.samples[i])[: self.valid[i]]

    def unscale(self, i: int, samples: np.ndarray) -> np.ndarray:
        """Samples on the [0, 1] scale of clip i, such as its reconstruction, on the scale of its recording.

        Shapes
        ------
        samples (...) -> (...), the same dtype
        """
        return samples * samples.dtype.type(self.scale[i]) + samples.dtype.type(self.offset[i])


def load_clips(
    recordings: Sequence[Recording],
    clip_samples: int = 64_000,
    sample_rate_hz: int = 16_000,
    scaling: str = "clip",
    threads: int | None = None,
    progress: bool = False,
) -> tuple[Clips, list[tuple[str, str]]]:
    """Read recordings as clips of `clip_samples` samples: longer ones cut, shorter ones padded with zeros at the end.

    Each clip v, padding included, is brought to zero mean and unit variance and then mapped to [0, 1]. The second step
    undoes the first, whatever the mean μ and the deviation σ > 0:

        z = (v - μ) / σ
        (z - min z) / (max z - min z) = (v - min v) / (max v - min v)

    So samples = (v - offset) / scale is both, with offset = min v and scale = max v - min v. With `scaling="corpus"`
    the minimum and the maximum are those of all clips given, test clips too, as the paper's preprocessing precedes its
    split; clips keep their differences in level then.

    A recording that cannot be used is left out and named with its reason; the others keep their order. The result does
    not depend on the number of threads.

    Parameters
    ----------
    recordings : sequence of Recording
        What to read, in the order of the clips.
    clip_samples, sample_rate_hz : int > 0
        Length of a clip [samples]; 64,000 at 16,000 Hz are the paper's 4 s.
    scaling : "clip" or "corpus"
        One offset and scale for each clip, or one for all.
    threads : int > 0 or None
        How many recordings are read at once; None is one per core.
    progress : bool
        Show a bar on stderr where that is a terminal.

    Shapes
    ------
    n recordings -> Clips of at most n clips, 4·n·clip_samples bytes; [(name, reason), ...] of the others

    Raises
    ------
    ValueError
        clip_samples, sample_rate_hz, scaling or threads is none of the above.

    Source
    ------
    the paper's section 4.1.2
    """
    if scaling not in ("clip", "corpus"):
        raise ValueError(f"load_clips: scaling must be 'clip' or 'corpus'; got {scaling!r}")
    if clip_samples < 1 or sample_rate_hz < 1 or (threads is not None and threads < 1):
        raise ValueError(
            f"load_clips: clip_samples, sample_rate_hz and threads must be at least 1; "
            f"got {clip_samples}, {sample_rate_hz}, {threads}"
        )
    samples = np.empty((len(recordings), clip_samples), np.float32)
    seconds = clip_samples / sample_rate_hz

    def read(i: int) -> int | str:
        """Fill row i; the number of its own samples, or the reason why there are none."""
        try:
            waveform = read_waveform(recordings[i].source, sample_rate_hz, seconds)
        except RecordingError as error:
            return str(error)
        samples[i, : len(waveform)] = waveform
        samples[i, len(waveform) :] = 0
        return len(waveform)

    pool = ThreadPoolExecutor(threads or os.cpu_count())
    try:
        results = list(
            tqdm(
                pool.map(read, range(len(recordings))),
                total=len(recordings),
                desc="reading",
                unit=" clips",
                disable=None if progress else True,
            )
        )
    finally:
        pool.shutdown(cancel_futures=True)

    kept = [(i, result) for i, result in enumerate(results) if isinstance(result, int)]
    left_out = [(recordings[i].name, result) for i, result in enumerate(results) if isinstance(result, str)]
    for row, (i, _) in enumerate(kept):  # rows move up in place: a corpus may fill the memory only once
        if row != i:
            samples[row] = samples[i]
    samples = samples[: len(kept)]

    offset, scale = _scale(samples, scaling)
    clips = Clips(
        samples=samples,
        offset=offset,
        scale=scale,
        valid=np.array([valid for _, valid in kept], dtype=np.int64),
        recordings=tuple(recordings[i] for i, _ in kept),
    )
    return clips, left_out


def _scale(samples: np.ndarray, scaling: str) -> tuple[np.ndarray, np.ndarray]:
    """Map the clips to [0, 1] in place; what undoes it, one offset and one scale per clip."""
    low, high = samples.min(axis=1), samples.max(axis=1)
    if scaling == "corpus" and len(samples):
        low, high = np.full_like(low, low.min()), np.full_like(high, high.max())
    offset, scale = low, high - low
    samples -= offset[:, None]
    samples /= scale[:, None]
    return offset, scale
