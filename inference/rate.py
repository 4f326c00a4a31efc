"""What a decoder needs: how well clips are rebuilt from a representation that is rounded to a few bits a number.

A representation of float32 numbers says little by its size: most of those bits are noise. Here every channel gets 2^b
levels at equal steps, and the decoder, as it was trained, rebuilds from those.

The levels. Those of a channel lie around the middle of its values in frames of training clips. Of a few ranges, from
the whole one downwards, that with the least squared error on those frames is taken: at few bits it pays to clip tails.

The rate. `fixed` is b bits a number. `entropy` is what an ideal coder would need that knows, for each channel, how
often each level comes: -log2 p(level), with p = (count + 1) / (frames + 2^b) from the training clips and the sum over
the test clips. It knows nothing of the frame before or of the other channels. Both are of frames of the recording,
without padding, and masks of max pools are counted in full, a bit a window.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import soundfile

from inference.arguments import BITS, WHOLE
from inference.model import Model
from nn1d import mse
from speech.clip import Clips
from speech.perceptual import estoi
from speech.snr import si_sdr
from training.workers import Workers

EDGE = 8  # samples at either end of a clip
RANGES = (1.0, 0.8, 0.64, 0.5, 0.4, 0.32, 0.25, 0.2, 0.16, 0.125, 0.1, 0.08)  # of the whole one, to choose from
FITTED_FRAMES = 20_000  # of training clips, spread evenly, that levels are fitted on
MU = 255.0


class Quantiser:
    """Levels at equal steps, 2^bits of them a channel.

    index = clip(round((z - low) / step), 0, 2^bits - 1),    z' = low + index · step

    Parameters
    ----------
    frames : (M, C) array
        What low and step are fitted on, a pair a channel.
    bits : int > 0
    """

    def __init__(self, frames: np.ndarray, bits: int) -> None:
        self.levels = 2**bits
        middle = (frames.max(0) + frames.min(0)) / 2
        least = np.full(frames.shape[1], np.inf)
        self.low, self.step = middle, np.ones_like(middle)
        centres = (middle, np.median(frames, axis=0))
        for centre in centres:
            whole = np.maximum(abs(frames - centre).max(0), np.finfo(np.float32).tiny)
            for share in RANGES:
                low, step = centre - share * whole, 2 * share * whole / (self.levels - 1)
                error = ((self._value(self._index(frames, low, step), low, step) - frames) ** 2).mean(0)
                better = error < least
                self.low, self.step = np.where(better, low, self.low), np.where(better, step, self.step)
                least = np.where(better, error, least)

    def index(self, z: np.ndarray) -> np.ndarray:
        """The level of each number, int."""
        return self._index(z, self.low, self.step)

    def value(self, index: np.ndarray) -> np.ndarray:
        """What each level stands for, float32."""
        return self._value(index, self.low, self.step).astype(np.float32)

    def _index(self, z: np.ndarray, low: np.ndarray, step: np.ndarray) -> np.ndarray:
        return np.clip(np.rint((z - low) / step), 0, self.levels - 1).astype(np.int64)

    def _value(self, index: np.ndarray, low: np.ndarray, step: np.ndarray) -> np.ndarray:
        return low + index * step


class Code(NamedTuple):
    """The bits of each level of each channel, from how often it came in training."""

    bits: np.ndarray  # (C, levels)

    def __call__(self, index: np.ndarray) -> float:
        """The bits of frames (M, C)."""
        return float(self.bits[np.arange(index.shape[1]), index].sum())


def ideal_code(indices: Iterable[np.ndarray], channels: int, levels: int) -> Code:
    """The code of an ideal coder that has seen the levels of some clips.

    Parameters
    ----------
    indices : iterable of (M, C) int arrays
    channels : int
        C.
    levels : int > 0
    """
    counts, total = np.zeros((channels, levels)), 0
    for index in indices:
        for channel in range(channels):
            counts[channel] += np.bincount(index[:, channel], minlength=levels)
        total += len(index)
    return Code(-np.log2((counts + 1) / (total + levels)))


def judge_plain(
    model: Model, clips: Clips, score: Callable[[int, np.ndarray], float], sample_rate_hz: int, workers: Workers
) -> dict[str, Any]:
    """What a decoder without masks makes of clips from whole representations: the figures of `mask_ablation`'s "none".

    Parameters
    ----------
    model : Model
    clips : Clips
    score : function (clip, reconstruction (L,) float32) -> float
        Another measure, higher is better: SI-SDR in dB on the clip's own samples.
    sample_rate_hz : int
    workers : Workers
    """

    def one(clip: int) -> tuple[float, float]:
        x = np.asarray(clips.samples[clip])
        y = model.rebuild(x[None, :, None])[0, :, 0]
        return float(mse(y, x)[0]), score(clip, y)

    table = np.array(list(workers.map(one, range(len(clips)))), np.float64)
    finite = table[np.isfinite(table[:, 1]), 1]
    channels = model.configuration.channels[-1]
    bits = 32.0 * channels * sample_rate_hz / model.step
    return {
        "test_mse": float(table[:, 0].mean()),
        "test_si_sdr_db": float(finite.mean()) if finite.size else None,
        "clips_without_si_sdr": int(len(table) - finite.size),
        "representation_bits_per_second": bits,
        "mask_bits_per_second": 0.0,
        "bits_per_second": bits,
    }


class Rate(NamedTuple):
    """One line: what the test clips sound like at how many bits a second."""

    what: str  # fine_tuning, pre_training, pcm, mu-law, flac
    bits: int  # a number or sample; WHOLE is a float32
    fixed_bits_per_second: float
    entropy_bits_per_second: float
    mask_bits_per_second: float  # in both of those
    test_mse: float  # on [0, 1], whole clips
    si_sdr_db: float  # medians, on the clips' own samples
    estoi: float
    edge_mse: float  # of the first and last samples of each clip: convolutions see zeros beyond, which no recording has


def representation_rates(
    what: str,
    model: Model,
    clips: Clips,
    train: np.ndarray,
    test: np.ndarray,
    sample_rate_hz: int,
    workers: Workers,
    bits: Sequence[int] = BITS,
    on_clip: Callable[[], None] = lambda: None,
) -> list[Rate]:
    """A line for each number of bits, for the decoder of a model.

    Parameters
    ----------
    what : str
        Its name in the lines.
    model : Model
    clips : Clips
    train, test : (n,) int
        Levels and code are fitted on the first, judged on the second.
    sample_rate_hz : int
    workers : Workers
    bits : sequence of int > 0
    on_clip : function
        Called after each rebuilt clip.
    """

    def frames(clip: int) -> np.ndarray:
        z = model.network.encoder.represent(clips.samples[clip][None, :, None])[0]
        return z[: math.ceil(clips.valid[clip] / model.step)]

    known = list(workers.map(frames, train.tolist()))
    together = np.concatenate(known)
    fitted = together[:: max(1, len(together) // FITTED_FRAMES)].astype(np.float64)
    masks_each_second = 0.0
    if model.masks:
        example, _ = model.network.encoder.forward(clips.samples[test[0]][None, :, None], middle=False)
        masks_each_second = sum(int(mask.sum()) for mask in example.masks) * sample_rate_hz / clips.samples.shape[1]
    lines = []
    for count in bits:
        rounded = None
        if count < WHOLE:
            quantiser = Quantiser(fitted, count)
            rounded = quantiser, ideal_code((quantiser.index(z) for z in known), fitted.shape[1], quantiser.levels)

        def rebuilt(clip: int, rounded: tuple[Quantiser, Code] | None = rounded) -> tuple[float, int, list[float]]:
            x = clips.samples[clip][None, :, None]
            masks = None
            if model.masks:
                encoding, _ = model.network.encoder.forward(x, middle=False)
                z, masks = encoding.representation, encoding.masks
            else:
                z = model.network.encoder.represent(x)
            frames = math.ceil(clips.valid[clip] / model.step)
            needed = float(WHOLE * frames * z.shape[2])
            if rounded is not None:
                quantiser, code = rounded
                index = quantiser.index(z)
                z, needed = quantiser.value(index), code(index[0, :frames])
            y = model.decode(z, masks)[0, :, 0]
            return needed, frames, _heard(clips, clip, y, sample_rate_hz)

        rows = []
        for row in workers.map(rebuilt, test.tolist()):
            rows.append(row)
            on_clip()
        number = sum(row[1] for row in rows)
        seconds = number * model.step / sample_rate_hz
        fixed = count * fitted.shape[1] * sample_rate_hz / model.step
        entropy = sum(row[0] for row in rows) / seconds
        rates = fixed + masks_each_second, entropy + masks_each_second, masks_each_second
        lines.append(Rate(what, count, *rates, *_together(row[2] for row in rows)))
    return lines


def recording_rates(
    clips: Clips, train: np.ndarray, test: np.ndarray, sample_rate_hz: int, workers: Workers, bits: Sequence[int] = BITS
) -> list[Rate]:
    """The recordings themselves at fewer bits, for comparison.

    Plain and mu-law samples, each clip at full scale, and the size of FLAC, which loses nothing of 16 bits.

    Parameters
    ----------
    clips : Clips
    train, test : (n,) int array
        The code is fitted on the first, judged on the second.
    sample_rate_hz : int
    workers : Workers
    bits : sequence of int > 0
        WHOLE among them is left out.
    """

    def full_scale(clip: int) -> tuple[np.ndarray, float]:
        x = clips.waveform(clip).astype(np.float64)
        return x, max(float(abs(x).max()), 1e-9)

    def plain(x: np.ndarray) -> np.ndarray:
        return x

    def compress(x: np.ndarray) -> np.ndarray:
        return np.sign(x) * np.log1p(MU * abs(x)) / math.log1p(MU)

    def expand(x: np.ndarray) -> np.ndarray:
        return np.sign(x) * np.expm1(abs(x) * math.log1p(MU)) / MU

    lines = []
    for what, into, back in (("pcm", plain, plain), ("mu-law", compress, expand)):
        for count in (count for count in bits if count < WHOLE):
            levels = 2**count

            def index(clip: int, into: Callable[..., np.ndarray] = into, levels: int = levels) -> np.ndarray:
                x, peak = full_scale(clip)
                return np.clip(np.floor((into(x / peak) + 1) / 2 * levels), 0, levels - 1).astype(np.int64)[:, None]

            code = ideal_code(workers.map(index, train.tolist()), 1, levels)

            def rebuilt(
                clip: int,
                index: Callable[[int], np.ndarray] = index,
                back: Callable[..., np.ndarray] = back,
                levels: int = levels,
                code: Code = code,
            ) -> tuple[float, int, list[float]]:
                x, peak = full_scale(clip)
                level = index(clip)
                y = peak * back((level[:, 0] + 0.5) / levels * 2 - 1)
                samples = clips.samples[clip].copy()
                scale = float(clips.scale[clip]) or 1.0
                samples[: len(x)] = ((y - float(clips.offset[clip])) / scale).astype(np.float32)
                return code(level), len(x), _heard(clips, clip, samples, sample_rate_hz)

            rows = list(workers.map(rebuilt, test.tolist()))
            entropy = sum(row[0] for row in rows) * sample_rate_hz / sum(row[1] for row in rows)
            lines.append(Rate(what, count, count * sample_rate_hz, entropy, 0.0, *_together(row[2] for row in rows)))
    size = samples = 0
    for clip in test.tolist():
        memory = io.BytesIO()
        soundfile.write(memory, clips.waveform(clip), sample_rate_hz, "PCM_16", format="FLAC")
        size, samples = size + 8 * len(memory.getvalue()), samples + int(clips.valid[clip])
    lossless = size * sample_rate_hz / samples
    return [*lines, Rate("flac", 16, 16.0 * sample_rate_hz, lossless, 0.0, 0.0, math.inf, 1.0, 0.0)]


def as_lines(rates: Sequence[Rate]) -> str:
    """A table for a terminal or a page of Markdown."""
    head = "| what | bits | fixed [kbit/s] | entropy [kbit/s] | test MSE | SI-SDR [dB] | ESTOI | MSE at edges |\n"
    head += "|---" * 8 + "|"
    rows = [
        f"| {rate.what} | {rate.bits} | {rate.fixed_bits_per_second / 1000:.0f} | "
        f"{rate.entropy_bits_per_second / 1000:.1f} | {rate.test_mse:.3g} | {rate.si_sdr_db:.1f} | {rate.estoi:.3f} | "
        f"{rate.edge_mse:.3g} |"
        for rate in rates
    ]
    return "\n".join([head, *rows])


def as_json(rates: Sequence[Rate]) -> list[dict[str, Any]]:
    """What JSON can hold of them: None where a number is not finite."""
    return [
        {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in rate._asdict().items()
        }
        for rate in rates
    ]


def _heard(clips: Clips, clip: int, y: np.ndarray, sample_rate_hz: int) -> list[float]:
    """Squared error on [0, 1], SI-SDR and ESTOI on the clip's own samples, and squared error at the edges."""
    original, rebuilt = clips.waveform(clip), clips.unscale(clip, y)[: clips.valid[clip]]
    errors = (y.astype(np.float64) - clips.samples[clip]) ** 2
    edges = float(np.r_[errors[:EDGE], errors[-EDGE:]].mean())
    return [float(errors.mean()), si_sdr(original, rebuilt), estoi(original, rebuilt, sample_rate_hz), edges]


def _together(rows: Iterable[Sequence[float]]) -> tuple[float, float, float, float]:
    """The means of the errors, the medians of the others, NaN left out."""
    table = np.array(list(rows), np.float64)
    medians = [
        float(np.median(known)) if (known := column[~np.isnan(column)]).size else math.nan for column in table.T[1:3]
    ]
    return float(table[:, 0].mean()), medians[0], medians[1], float(table[:, 3].mean())
