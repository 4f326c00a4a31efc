"""Mask ablation: the same decoder with other masks, and with none.

A mask says for every window of a pool which of its samples was the maximum. The decoder of phase 1 takes the encoder's
masks beside the representation, so they are part of what it rebuilds a clip from, and they are counted here as such.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from models.autoencoder import POOL, Autoencoder, Encoding
from nn1d import MaxPool1d, mse, to_numpy
from nn1d.backend import Array, array_module
from training.executor import Executor

MASKS = ("own", "another", "random", "none")
WORDS = {"own": "its own masks", "another": "those of another clip", "random": "random ones", "none": "none"}
TITLES = {"pre_training": "pre-trained", "fine_tuning": "fine-tuned"}
ALIKE = 0.05  # errors that differ by no more than this part are called equal
Score = Callable[[int, np.ndarray], float]


class _Row(NamedTuple):
    """What one clip gives with one kind of masks."""

    mse: float
    score: float
    tied: float


def mask_ablation(
    network: Autoencoder,
    samples: np.ndarray,
    clips: np.ndarray,
    score: Score,
    *,
    rng: np.random.Generator,
    executor: Executor,
    masks: Sequence[str] = MASKS,
    sample_rate_hz: int = 16_000,
) -> dict[str, Any]:
    """Rebuild clips from their representations with each kind of masks.

    own: those that the encoder made of the clip. another: those that it made of the clip before it in `clips`, or of
    the next one of `samples` where `clips` is a single one. random: one position in every window of every pool, all
    equally likely. none: plain upsampling, as in phase 2.

    A representation of F numbers in float32 for L samples at f Hz is 32·F·f / L bits a second. A mask holds one True in
    each of its windows, at the first maximum, so it is one of s possibilities: log2(s) bits a window. That is what was
    handed over, also where two samples of a window are equal and their order alone decides; `tied_windows` is the share
    of those, whose bits say nothing. Masks of another clip and random ones are as many bits, none of them of this clip.

    Parameters
    ----------
    network : Autoencoder
        As trained; its encoder makes the masks also for a decoder that was trained without.
    samples : (n, L) float32 array in [0, 1]
    clips : (k,) int array
        The rows to rebuild, each once.
    score : function (clip, reconstruction (L,) float32) -> float
        Another measure of a reconstruction, higher is better: SI-SDR in dB on the clip's own samples.
    rng : numpy.random.Generator
        Each clip has a stream of its own, so the number of threads changes nothing.
    executor : Executor
        Where the network computes.
    masks : sequence of str
        The kinds to try, of MASKS.
    sample_rate_hz : int > 0

    Returns
    -------
    dict
        pool, tied_windows, and for each kind: test_mse, the mean squared error over whole clips, as test_loss of
        results.json; test_si_sdr_db, the mean of the finite scores, None without one; clips_without_si_sdr, whose score
        is NaN or infinite; representation_bits_per_second, mask_bits_per_second and bits_per_second, their sum.
    """
    donors = (clips + 1) % len(samples) if len(clips) == 1 else np.roll(clips, 1)
    donor_of = dict(zip(clips.tolist(), donors.tolist(), strict=True))
    seed_of = dict(zip(clips.tolist(), [child.bit_generator.seed_seq for child in rng.spawn(len(clips))], strict=True))

    def one(clip: int, x: Array) -> list[_Row]:
        def donor() -> Encoding:
            another = executor.rows(samples, np.array([donor_of[clip]]))
            return network.encoder.forward(another[:, :, None], middle=False)[0]

        encoding, _ = network.encoder.forward(x)
        tied, stream = _tied(encoding.encoded), np.random.default_rng(seed_of[clip])
        rows = []
        for kind in masks:
            kind_masks = _masks(kind, encoding, stream, donor)
            (y, _), _ = network.decoder.forward(encoding.representation, kind_masks, middle=False)
            rows.append(_Row(float(mse(y, x)[0]), score(clip, to_numpy(y)[0, :, 0]), tied))
        return rows

    def several(numbers: np.ndarray, x: Array) -> list[list[_Row]]:
        return [one(int(clip), x[i : i + 1, :, None]) for i, clip in enumerate(numbers)]

    # (clips, kinds, columns of a row)
    table = np.array(list(executor.map_clips(several, [samples], clips)), np.float64)
    example, _ = network.encoder.forward(executor.rows(samples, clips[:1])[:, :, None], middle=False)
    seconds = samples.shape[1] / sample_rate_hz
    representation_bits = 32 * example.representation.size / seconds
    mask_bits = math.log2(POOL) * sum(int(mask.sum()) for mask in example.masks) / seconds
    results: dict[str, Any] = {"pool": POOL, "tied_windows": float(table[:, 0, 2].mean())}
    for i, kind in enumerate(masks):
        scores = table[:, i, 1]
        finite = scores[np.isfinite(scores)]
        received = 0.0 if kind == "none" else mask_bits
        results[kind] = {
            "test_mse": float(table[:, i, 0].mean()),
            "test_si_sdr_db": float(finite.mean()) if finite.size else None,
            "clips_without_si_sdr": int(scores.size - finite.size),
            "representation_bits_per_second": representation_bits,
            "mask_bits_per_second": received,
            "bits_per_second": representation_bits + received,
        }
    return results


def random_masks(masks: Sequence[Array], rng: np.random.Generator) -> list[Array]:
    """Masks of the same shapes with one True a window, each position as likely as the others.

    Shapes
    ------
    masks (N, L, C) bool -> the same
    """
    drawn = []
    for mask in masks:
        clips, length, channels = mask.shape
        position = rng.integers(0, POOL, (clips, length // POOL, 1, channels))
        windows = position == np.arange(POOL)[:, None]
        drawn.append(array_module(mask).asarray(windows.reshape(mask.shape)))
    return drawn


def summary(results: Mapping[str, Mapping[str, Any]]) -> str:
    """What the numbers say, in words that come from them.

    Parameters
    ----------
    results : mapping
        Phase -> what `mask_ablation` returned with all kinds of masks; phases as in results.json.
    """
    sentences = [_of_phase(TITLES[phase], ablation) for phase, ablation in results.items()]
    if len(results) == len(TITLES):
        before, after = results["pre_training"]["own"], results["fine_tuning"]["none"]
        sentences.append(
            f"Between the two ways to use the network, pre-trained with own masks at {_rate(before)} and fine-tuned "
            f"without at {_rate(after)}, the second has an error {_times(after, before)}."
        )
    return " ".join(sentences)


def summary_without_masks(bits_per_second: float) -> str:
    """The same for a network with folds, whose decoder takes nothing but the representation."""
    return (
        f"Both decoders rebuild from the representation alone: {bits_per_second / 1000:,.0f} kbit/s of float32 "
        "numbers, and no masks. A fold drops nothing, so how little a decoder could do with shows where the "
        "representation is quantised or made narrower: python -m inference rate."
    )


def _of_phase(title: str, ablation: Mapping[str, Any]) -> str:
    baseline, none = ablation["own"], ablation["none"]
    share = baseline["mask_bits_per_second"] / baseline["bits_per_second"]
    others = ", ".join(f"{_times(ablation[kind], baseline)} with {WORDS[kind]}" for kind in MASKS[1:])
    best = min(MASKS, key=lambda kind: ablation[kind]["test_mse"])
    return (
        f"The {title} decoder has a test error of {baseline['test_mse']:.3g} ({_db(baseline)}) with its own masks, "
        f"which are {share:.0%} of the {_rate(baseline)} that it receives "
        f"({ablation['tied_windows']:.0%} of the windows are ties); the error is {others}. "
        f"It does best with {WORDS[best]}; from the representation alone it reaches {_db(none)}."
    )


def _times(other: Mapping[str, Any], baseline: Mapping[str, Any]) -> str:
    if baseline["test_mse"] == 0:
        return "as small" if other["test_mse"] == 0 else "larger"
    ratio = other["test_mse"] / baseline["test_mse"]
    return (
        f"the same within {ALIKE:.0%}"
        if abs(ratio - 1) <= ALIKE
        else f"{ratio:,.0f} times that"
        if ratio >= 1000
        else f"{ratio:.3g} times that"
    )


def _rate(kind: Mapping[str, Any]) -> str:
    return f"{kind['bits_per_second'] / 1000:,.0f} kbit/s"


def _db(kind: Mapping[str, Any]) -> str:
    value = kind["test_si_sdr_db"]
    return "no SI-SDR" if value is None else f"SI-SDR {value:.1f} dB"


def _masks(
    kind: str, encoding: Encoding, stream: np.random.Generator, donor: Callable[[], Encoding]
) -> list[Array] | None:
    if kind == "own":
        return encoding.masks
    if kind == "another":
        return donor().masks
    if kind == "random":
        return random_masks(encoding.masks, stream)
    if kind == "none":
        return None
    raise ValueError(f"mask_ablation: masks must be of {', '.join(MASKS)}; got {kind!r}")


def _tied(encoded: Sequence[Array]) -> float:
    """The share of pool windows whose maximum is there more than once."""
    tied = windows = 0
    for h in encoded:
        clips, length, channels = h.shape
        samples = h.reshape(clips, length // POOL, POOL, channels)
        largest = MaxPool1d(POOL).maxima(h)[:, :, None]
        tied += int(((samples == largest).sum(2) > 1).sum())
        windows += clips * length // POOL * channels
    return tied / windows
