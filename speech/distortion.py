"""How far a rebuilt clip is from its original: every measure at once, and what each of them means.

python -m speech.distortion prints the table of docs/distortion.md.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from speech.checks import check_rate, check_waveforms
from speech.clip import Clips
from speech.perceptual import estoi, pesq, pesq_missing, stoi
from speech.pitch import f0_error, track_pitch, voicing_error
from speech.snr import mse, segmental_snr, si_sdr, si_sdr_aligned, snr
from speech.spectrum import log_spectral_distance, mel_distance, stft_distance


class Measure(NamedTuple):
    """What a column of metrics.csv is.

    better is "higher" or "lower"; limits are the values that it can take, worst and best among them; undefined says
    when it is NaN.
    """

    title: str
    unit: str
    limits: str
    better: str
    meaning: str
    undefined: str
    source: str


MEASURES = {
    "mse": Measure(
        "mean squared error",
        "1",
        "0 to ∞",
        "lower",
        "squared difference on the scale [0, 1] of the networks, padding left out",
        "no samples",
        "the paper's loss",
    ),
    "snr_db": Measure(
        "SNR",
        "dB",
        "-∞ to ∞; 0 for silence",
        "higher",
        "energy of the original over energy of the error",
        "silent original",
        "Loizou 2013",
    ),
    "segmental_snr_db": Measure(
        "segmental SNR",
        "dB",
        "-10 to 35",
        "higher",
        "mean SNR of frames of 30 ms, pauses left out, so that soft sounds count as much as loud ones",
        "silent original, or shorter than 30 ms",
        "Hansen and Pellom 1998",
    ),
    "si_sdr_db": Measure(
        "SI-SDR",
        "dB",
        "-∞ to ∞",
        "higher",
        "SNR after the best gain, means removed: level does not count",
        "either is silent or constant",
        "Le Roux et al. 2019",
    ),
    "si_sdr_aligned_db": Measure(
        "SI-SDR, aligned",
        "dB",
        "SI-SDR to ∞",
        "higher",
        "SI-SDR at the best shift of at most 20 ms: neither level nor delay counts",
        "either is silent or constant",
        "Le Roux et al. 2019",
    ),
    "log_spectral_distance_db": Measure(
        "log-spectral distance",
        "dB",
        "0 to ∞",
        "lower",
        "root mean square difference of log power spectra, 80 dB deep; phase does not count",
        "silent original, or no longer than 16 ms",
        "Gray and Markel 1976",
    ),
    "mel_distance": Measure(
        "mel distance",
        "1",
        "0 to ∞",
        "lower",
        "difference of mel spectra, as they are plus in log10 of the square, at windows of 2048 and 512 samples",
        "no longer than 1024 samples",
        "Descript Audio Codec, scripts/evaluate.py",
    ),
    "stft_distance": Measure(
        "STFT distance",
        "1",
        "0 to ∞",
        "lower",
        "the same of spectra in their full resolution",
        "no longer than 1024 samples",
        "Descript Audio Codec, scripts/evaluate.py",
    ),
    "stoi": Measure(
        "STOI",
        "1",
        "-1 to 1; 0 is unintelligible",
        "higher",
        "correlation of the envelopes in third-octave bands over 384 ms: intelligibility",
        "less than 0.4 s of speech, or either is silent",
        "Taal et al. 2011, package pystoi",
    ),
    "estoi": Measure(
        "ESTOI",
        "1",
        "-1 to 1; 0 is unintelligible",
        "higher",
        "the same for noise that comes and goes",
        "less than 0.4 s of speech, or either is silent",
        "Jensen and Taal 2016, package pystoi",
    ),
    "pesq": Measure(
        "PESQ, wide-band",
        "MOS-LQO",
        "1.04 to 4.64",
        "higher",
        "the opinion score that listeners would give",
        "no package pesq, not at 16 kHz, shorter than 0.25 s, no utterance found, or either is silent",
        "ITU-T P.862.2, package pesq",
    ),
    "f0_error_cent": Measure(
        "F0 error",
        "cent",
        "0 to 3284",
        "lower",
        "root mean square difference of pitch where both are voiced; a semitone is 100",
        "no frame is voiced in both",
        "F0 RMSE; tracker after Boersma 1993",
    ),
    "voicing_error": Measure(
        "voicing decision error",
        "1",
        "0 to 1",
        "lower",
        "share of frames, one every 10 ms, voiced in one clip and unvoiced in the other",
        "shorter than 50 ms",
        "Nakatani et al. 2008; tracker after Boersma 1993",
    ),
}


def measure(original: np.ndarray, rebuilt: np.ndarray, sample_rate_hz: int, scale: float = 1.0) -> dict[str, float]:
    """Take every measure of one pair of clips.

    Parameters
    ----------
    original, rebuilt : (samples,)
        The clip's own samples, without padding, on the scale of its recording.
    sample_rate_hz : int
    scale : float > 0
        The range of the recording that became [0, 1], as in `Clips.scale`; for the mean squared error alone.

    Returns
    -------
    values : dict of float
        The keys of MEASURES, in their order. NaN where a measure is undefined, inf for the ratios of equal clips.

    Raises
    ------
    ValueError
        The two are not (samples,) of one length, hold NaN or infinite samples, or scale or rate is out of range.
    """
    x, y = check_waveforms("measure", original, rebuilt)
    check_rate("measure", sample_rate_hz)
    pitch_x, pitch_y = track_pitch(x, sample_rate_hz), track_pitch(y, sample_rate_hz)
    return {
        "mse": mse(x, y, scale),
        "snr_db": snr(x, y),
        "segmental_snr_db": segmental_snr(x, y, sample_rate_hz),
        "si_sdr_db": si_sdr(x, y),
        "si_sdr_aligned_db": si_sdr_aligned(x, y, sample_rate_hz),
        "log_spectral_distance_db": log_spectral_distance(x, y, sample_rate_hz),
        "mel_distance": mel_distance(x, y, sample_rate_hz),
        "stft_distance": stft_distance(x, y),
        "stoi": stoi(x, y, sample_rate_hz),
        "estoi": estoi(x, y, sample_rate_hz),
        "pesq": pesq(x, y, sample_rate_hz),
        "f0_error_cent": f0_error(pitch_x, pitch_y),
        "voicing_error": voicing_error(pitch_x, pitch_y),
    }


def measure_clip(clips: Clips, i: int, rebuilt: np.ndarray, sample_rate_hz: int) -> dict[str, float]:
    """Take every measure of clip i and its reconstruction, padding left out, at the clip's own level.

    Shapes
    ------
    clips, i, rebuilt (clip_samples,) on [0, 1] -> dict of float, as `measure`

    Raises
    ------
    ValueError
        rebuilt is not (clip_samples,), or as `measure`.
    """
    if np.shape(rebuilt) != clips.samples[i].shape:
        raise ValueError(f"measure_clip: rebuilt must be {clips.samples[i].shape}; got {np.shape(rebuilt)}")
    waveform = clips.unscale(i, np.asarray(rebuilt))[: clips.valid[i]]
    return measure(clips.waveform(i), waveform, sample_rate_hz, float(clips.scale[i]))


def missing(sample_rate_hz: int) -> list[str]:
    """Why measures are NaN for every clip, a sentence each, to be said once a run; empty where all can be taken."""
    reason = pesq_missing(sample_rate_hz)
    return [reason] if reason else []


def table() -> str:
    """MEASURES as a table in Markdown."""
    rows = [("column", "measure", "unit", "values", "better", "what it says", "NaN where", "source"), ("---",) * 8]
    for name, m in MEASURES.items():
        rows.append((f"`{name}`", m.title, m.unit, m.limits, m.better, m.meaning, m.undefined, m.source))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


if __name__ == "__main__":
    print(table())
