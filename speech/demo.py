"""Babble: speech-like clips synthesised from a seed, so that everything runs without a download.

    glottal flow -> its derivative -> tilt ┐
                                 breath ───┴-> vocal tract (moving formants) ┐
                          hiss and bursts -> one band per consonant ─────────┴-> level

The babble has no language. It has what a network can learn from speech: pitch periods, formants that move, hiss,
silence, a syllable rhythm, phrases, voices that differ in pitch and size, and emotions in the manner of speaking.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
import scipy  # its parts load when they are used

from speech.recording import Recording

SAMPLE_RATE_HZ = 16000
HOP = 80  # 5 ms between two shapes of the vocal tract
WINDOW = 2 * HOP
RINGING = 6 * HOP  # the narrowest formant has fallen by 57 dB after these 30 ms
SHORTEST_SECONDS, LONGEST_SECONDS = 1.5, 6.0
SILENT_DB = -120.0


class Voice(NamedTuple):
    """Who speaks.

    tract_scale multiplies the formants of an average man; tilt_db is how far the glottal spectrum has fallen at 3 kHz;
    breath_db is the noise of the open glottis against the voiced source; open_quotient is the open part of a cycle.
    """

    name: str
    pitch_hz: float
    tract_scale: float
    open_quotient: float
    tilt_db: float
    breath_db: float
    jitter_percent: float


class Emotion(NamedTuple):
    """How it is spoken: what changes against the neutral manner of the same voice."""

    pitch: float  # factor on the voice's pitch
    range_semitones: float  # size of an accent, and of the fall over a phrase
    tempo: float  # factor on the number of syllables a second
    level_db: float
    tilt_db: float  # added to the voice's, as are the next three
    open_quotient: float
    breath_db: float
    jitter_percent: float
    articulation: float  # factor on the distance of the formants from those of a tube at rest


class Sound(NamedTuple):
    """One sound of speech: an optional closure, then formants, voice, breath through the tract, and a noise band."""

    milliseconds: float
    formants_hz: tuple[float, float, float, float]
    voice_db: float = 0.0
    breath_db: float = SILENT_DB
    hiss: str = ""  # a key of HISS_HZ
    hiss_db: float = SILENT_DB
    closure_ms: float = 0.0  # a stop is a closure, then this sound as its burst
    nasal_zero_hz: float = 270.0  # on top of the nasal pole the zero is inaudible (Klatt 1980)


# fmt: off
VOICES = (
    # name, pitch, tract, open quotient, tilt, breath, jitter
    Voice("v0",  98.0, 0.95, 0.52,  6.0, -30.0, 0.5),  # man, large, tense
    Voice("v1", 205.0, 1.16, 0.62,  8.0, -26.0, 0.4),  # woman
    Voice("v2", 118.0, 1.00, 0.58,  7.0, -29.0, 0.6),  # man
    Voice("v3", 182.0, 1.11, 0.58,  5.0, -28.0, 0.5),  # woman, low, clear
    Voice("v4", 138.0, 1.04, 0.64, 10.0, -25.0, 0.5),  # man, high, soft
    Voice("v5", 232.0, 1.20, 0.66, 10.0, -22.0, 0.4),  # woman, small, breathy
    Voice("v6", 109.0, 0.97, 0.55,  5.0, -27.0, 0.9),  # man, rough
    Voice("v7", 168.0, 1.14, 0.60,  8.0, -24.0, 0.7),  # woman, old
)

# Directions: Murray and Arnott 1993; Scherer 2003; boredom, and the phonation of all, Burkhardt and Sendlmeier 2000.
# Sizes are ours: large enough to be heard and learnt, small enough for the emotions to overlap.
EMOTIONS = {
    #                    pitch range tempo level  tilt  open breath jitter articulation
    "anger":     Emotion(1.50,  6.0, 1.15,  6.0, -7.0, -0.12,  -4.0, 0.2, 1.12),  # loud, tense, wide
    "boredom":   Emotion(0.88,  1.5, 0.80, -3.0,  4.0,  0.05,   1.0, 0.2, 0.85),  # flat, slow, lax
    "disgust":   Emotion(0.92,  4.5, 0.75, -2.0,  1.0, -0.05,   2.0, 0.8, 1.00),  # very slow, low, grumbling
    "fear":      Emotion(1.65,  3.5, 1.30,  0.0,  1.0,  0.08,   4.0, 0.8, 1.05),  # very high, fast, irregular
    "happiness": Emotion(1.40,  7.0, 1.08,  3.0, -4.0, -0.04,   1.0, 0.2, 1.10),  # high, widest
    "neutral":   Emotion(1.00,  3.0, 1.00,  0.0,  0.0,  0.00,   0.0, 0.0, 1.00),
    "sadness":   Emotion(0.94,  2.0, 0.72, -7.0,  7.0,  0.12,   4.0, 0.2, 0.80),  # quiet, slow, breathy, slurred
}

# Formants of 45 men in h_d words: Hillenbrand et al. 1995, Table V.
VOWELS = {
    "i": Sound(110, (342, 2322, 3000, 3657)), "I": Sound( 80, (427, 2034, 2684, 3618)),
    "e": Sound(120, (476, 2089, 2691, 3649)), "E": Sound( 95, (580, 1799, 2605, 3677)),
    "a": Sound(125, (768, 1333, 2522, 3687)), "V": Sound( 85, (623, 1200, 2550, 3557)),
    "O": Sound(120, (652,  997, 2538, 3486)), "o": Sound(115, (497,  910, 2459, 3384)),
    "U": Sound( 80, (469, 1122, 2434, 3400)), "u": Sound(110, (378,  997, 2343, 3357)),
}

# Loci, noise bands and durations in the manner of Klatt 1980 and Stevens 1998, rounded; dB against the vowels.
CONSONANTS = {
    "p": Sound(35, (350,  900, 2300, 3400), SILENT_DB, -14, "p", -14, closure_ms=75),
    "t": Sound(40, (350, 1700, 2650, 3500), SILENT_DB, -14, "t",  -9, closure_ms=65),
    "k": Sound(45, (350, 1950, 2400, 3400), SILENT_DB, -13, "k",  -9, closure_ms=65),
    "b": Sound(12, (250,  900, 2200, 3400), -6, SILENT_DB, "p", -18, closure_ms=60),
    "d": Sound(14, (250, 1700, 2600, 3500), -6, SILENT_DB, "t", -15, closure_ms=50),
    "g": Sound(18, (250, 1950, 2350, 3400), -6, SILENT_DB, "k", -14, closure_ms=55),
    "s": Sound(95, (320, 1500, 2550, 3500), SILENT_DB, SILENT_DB, "s", -12),
    "S": Sound(95, (320, 1800, 2500, 3500), SILENT_DB, SILENT_DB, "S", -10),
    "x": Sound(80, (400, 1400, 2400, 3400), SILENT_DB, -22, "x", -15),
    "f": Sound(85, (340, 1100, 2200, 3400), SILENT_DB, SILENT_DB, "f", -23),
    "h": Sound(60, (500, 1500, 2500, 3500), SILENT_DB, -12),
    "z": Sound(70, (280, 1500, 2550, 3500), -10, SILENT_DB, "s", -19),
    "v": Sound(60, (280, 1100, 2200, 3400), -8, SILENT_DB, "f", -29),
    "m": Sound(70, (300, 1000, 2200, 3300), -5, nasal_zero_hz=1000),
    "n": Sound(65, (300, 1450, 2400, 3400), -5, nasal_zero_hz=1500),
    "l": Sound(60, (350, 1100, 2700, 3400), -4),
    "r": Sound(55, (450, 1200, 1700, 3300), -4),
    "j": Sound(55, (290, 2150, 2900, 3600), -4),
}
HISS_HZ = {"s": (4600, 7800), "S": (2300, 6000), "f": (1500, 7800), "x": (1300, 3600),
           "p": (400, 2000), "t": (3000, 7200), "k": (1500, 3000)}
# fmt: on
ONSETS = ("p", "t", "k", "b", "d", "g", "s", "S", "f", "h", "z", "v", "m", "n", "l", "r", "j", "St", "kl", "fr", "")
CODAS = ("", "", "", "", "n", "m", "n", "s", "t", "x", "l", "k", "St", "ns")
REST = Sound(1000, (500, 1500, 2500, 3500), SILENT_DB)  # a uniform tube, silent
BANDWIDTHS_HZ = (70.0, 90.0, 130.0, 180.0)
NASAL_POLE_HZ, NASAL_BANDWIDTH_HZ = 270.0, 100.0


class Segment(NamedTuple):
    """A sound at its place in the clip, with the pitch and level that the phrase gives it."""

    sound: Sound
    seconds: float
    semitones: float = 0.0
    level_db: float = 0.0


def list_recordings(count: int = 70, seed: int = 0) -> list[Recording]:
    """List the clips of the demo corpus; each is synthesised when its source is called.

    Clip i is spoken by voice i mod 8 in emotion i mod 7. As 8 and 7 share no factor, all 56 pairs are met before one
    returns, and any count is balanced to within one clip over emotions and over voices.

    Parameters
    ----------
    count : int > 0
    seed : int >= 0
        Clip i depends on (seed, i) alone: neither on count nor on the order or the thread in which clips are made.

    Returns
    -------
    recordings : list of Recording
        source() gives (samples, 16000) with samples (frames,), float32, in [-1, 1], of 1.5 to 6 s. The label is the
        emotion; details["seconds"] is the duration.

    Raises
    ------
    ValueError
        count or seed is out of range.

    Source
    ------
    Cascade formant synthesis: Klatt 1980, Software for a cascade/parallel formant synthesizer, JASA 67.
    """
    if count < 1:
        raise ValueError(f"demo: count must be at least 1; got {count}")
    if seed < 0:
        raise ValueError(f"demo: seed must be at least 0; got {seed}")
    recordings = []
    for index in range(count):
        voice, emotion, seconds, _ = _cast(seed, index)
        name, source = f"{voice.name}-{emotion}-{index:03d}", partial(synthesise, seed, index)
        recordings.append(Recording(name, source, emotion, voice.name, {"seconds": seconds}))
    return recordings


def synthesise(seed: int, index: int) -> tuple[np.ndarray, int]:
    """Speak clip number index of the corpus that seed names: (frames,) float32 in [-1, 1], and 16000 Hz."""
    voice, emotion_name, seconds, rng = _cast(seed, index)
    emotion = EMOTIONS[emotion_name]
    segments = _babble(emotion, seconds, rng)
    frames = round(seconds * SAMPLE_RATE_HZ)

    # A track has one value per hop: the target of the segment that holds there, smoothed as fast as that organ moves.
    ends = np.cumsum([segment.seconds for segment in segments])
    hops = np.arange(frames // HOP + 2)
    segment_of_hop = np.searchsorted(ends, hops * HOP / SAMPLE_RATE_HZ, side="right")

    def track(targets: list, smooth_seconds: float) -> np.ndarray:
        return _smooth(np.array(targets, dtype=float)[segment_of_hop], smooth_seconds)

    formants_hz = track([s.sound.formants_hz for s in segments], 0.09 / emotion.tempo)
    zero_hz = track([s.sound.nasal_zero_hz for s in segments], 0.05)
    voice_gain = track([_amplitude(s.sound.voice_db + s.level_db) for s in segments], 0.035)
    breath_gain = track([_amplitude(s.sound.breath_db + s.level_db) for s in segments], 0.025)
    semitones = track([s.semitones for s in segments], 0.2 / emotion.tempo)
    semitones += _smooth(rng.normal(0, 1.0, len(hops)), 0.15)  # nobody holds a pitch
    pitch_hz = voice.pitch_hz * emotion.pitch * 2 ** (semitones / 12)

    def per_sample(values: np.ndarray) -> np.ndarray:
        return np.interp(np.arange(frames), hops * HOP, values)

    flow, excitation = _glottis(per_sample(pitch_hz), voice, emotion, rng)
    noise = rng.standard_normal(frames)
    breathiness = _amplitude(voice.breath_db + emotion.breath_db)
    voiced, whispered = per_sample(voice_gain), per_sample(breath_gain)
    # The glottis hisses as far as it is open, the breath of h and of aspirated stops all the time.
    source = voiced * (excitation + breathiness * flow * noise) + whispered * noise
    rest_hz = np.array(REST.formants_hz)
    formants_hz = (rest_hz + (formants_hz - rest_hz) * emotion.articulation) * voice.tract_scale
    spoken = _tract(source, formants_hz, zero_hz, voice.tract_scale)
    spoken /= np.sqrt((spoken**2).sum() / (voiced**2).sum())  # a vowel has RMS 1, so that hiss in dB is against vowels
    for segment, end in zip(segments, ends, strict=True):
        if segment.sound.hiss:
            hiss = _hiss(segment, voice.tract_scale, rng)
            start = round((end - segment.seconds) * SAMPLE_RATE_HZ)
            spoken[start : start + len(hiss)] += hiss

    spoken *= _amplitude(-26 + emotion.level_db + rng.normal(0, 1.5)) / np.sqrt((spoken**2).mean())
    spoken += rng.normal(0, 2e-4, frames)  # a quiet room
    spoken *= min(1.0, 0.97 / np.abs(spoken).max())  # turned down rather than clipped
    return spoken.astype(np.float32), SAMPLE_RATE_HZ


def _cast(seed: int, index: int) -> tuple[Voice, str, float, np.random.Generator]:
    """Who speaks clip index, in which emotion, for how long; and the generator of everything else in it."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))
    seconds = round(rng.uniform(SHORTEST_SECONDS, LONGEST_SECONDS), 3)
    return VOICES[index % len(VOICES)], list(EMOTIONS)[index % len(EMOTIONS)], seconds, rng


def _amplitude(db: float) -> float:
    return 10 ** (db / 20)


def _babble(emotion: Emotion, seconds: float, rng: np.random.Generator) -> list[Segment]:
    """Fill a clip with phrases of random syllables; pitch and level fall over a phrase, but for its accents."""
    now = rng.uniform(0.05, 0.2)
    segments, end = [Segment(REST, now)], seconds - rng.uniform(0.1, 0.2)
    while True:
        limit = rng.uniform(0.8, 2.0) / emotion.tempo
        if end - now < limit + 1.2:  # no room for another phrase after this one
            limit = end - now
        phrase: list[list[Segment]] = []
        syllable = _syllable(emotion.tempo, rng)
        while (limit := limit - sum(segment.seconds for segment in syllable)) > 0:
            phrase.append(syllable)
            syllable = _syllable(emotion.tempo, rng)
        if not phrase:
            break
        accented = rng.integers(0, 2)
        for number, syllable in enumerate(phrase):
            place = (number + 0.5) / len(phrase)
            accent = rng.uniform(0.6, 1.2) if number == accented else 0.0
            if accent:
                accented += rng.integers(2, 4)
            semitones = emotion.range_semitones * (0.4 - 1.1 * place + accent)
            level_db = -4 * place + 3 * accent - 2 + rng.normal(0, 1)
            segments += [segment._replace(semitones=semitones, level_db=level_db) for segment in syllable]
        segments.append(Segment(REST, rng.uniform(0.12, 0.4) / emotion.tempo, segments[-1].semitones))
        now = sum(segment.seconds for segment in segments)
    return [*segments, Segment(REST, LONGEST_SECONDS)]  # to the end, wherever that is


def _syllable(tempo: float, rng: np.random.Generator) -> list[Segment]:
    """An onset, a vowel (sometimes gliding into a second) and a coda, each sound with its closure if it has one."""
    onset, coda = str(rng.choice(ONSETS)), str(rng.choice(CODAS))
    nucleus = [VOWELS[str(key)] for key in rng.choice(list(VOWELS), 2, replace=False)]
    if rng.random() < 0.85:
        nucleus = nucleus[:1]
    segments = []
    for sound in [*(CONSONANTS[key] for key in onset), *nucleus, *(CONSONANTS[key] for key in coda)]:
        stretch = rng.uniform(0.6, 0.95) / tempo  # the table is for words read one by one
        if sound.closure_ms:  # b, d and g murmur behind it
            closure = sound._replace(hiss="", breath_db=SILENT_DB, voice_db=max(sound.voice_db - 10, SILENT_DB))
            segments.append(Segment(closure, sound.closure_ms / 1000 * stretch))
        segments.append(Segment(sound, sound.milliseconds / 1000 * stretch))
    return segments


def _smooth(targets: np.ndarray, seconds: float) -> np.ndarray:
    """Average (hops, ...) over a Hann window of that width; the ends are held."""
    reach = round(seconds * SAMPLE_RATE_HZ / HOP / 2)
    window = scipy.signal.windows.hann(2 * reach + 3)[1:-1]
    padded = np.pad(targets, [(reach, reach)] + [(0, 0)] * (targets.ndim - 1), mode="edge")
    return np.apply_along_axis(np.convolve, 0, padded, window / window.sum(), mode="valid")


def _glottis(
    pitch_hz: np.ndarray, voice: Voice, emotion: Emotion, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Air flow through the glottis, (frames,) in [0, 1], and its derivative with tilt, (frames,) of RMS 1.

    flow(x) = 27/4 x² (1 - x) for x < 1, else 0, where x = (phase within the cycle) / open quotient

    The smooth flow is sampled and then differenced, as the derivative's step, sampled, would alias audibly.

    Source
    ------
    KLGLOTT88: Klatt and Klatt 1990, JASA 87.
    """
    phase = 1 + np.cumsum(pitch_hz) / SAMPLE_RATE_HZ
    cycles = int(phase[-1]) + 2
    jitter = (voice.jitter_percent + emotion.jitter_percent) / 100
    phase += np.interp(phase, np.arange(cycles), rng.normal(0, jitter, cycles))
    within, cycle = np.modf(phase)
    x = within / (voice.open_quotient + emotion.open_quotient)
    shimmer = 1 + rng.normal(0, 4 * jitter, cycles)
    flow = np.where(x < 1, 6.75 * x * x * (1 - x), 0.0) * shimmer[cycle.astype(int)]
    # One pole that is tilt_db down at 3 kHz: |1 - a|² / |1 - a e^(-jw)|² = 10^(-tilt/10), solved for a.
    tilt = 10 ** (max(voice.tilt_db + emotion.tilt_db, 0.5) / 10)
    b = (tilt - np.cos(2 * np.pi * 3000 / SAMPLE_RATE_HZ)) / (tilt - 1)
    pole = b - np.sqrt(b * b - 1)
    excitation = scipy.signal.lfilter([1.0], [1.0, -pole], np.diff(flow, prepend=0.0) / pitch_hz)
    return flow, excitation / np.sqrt((excitation**2).mean())


def _quadratic(frequency_hz: np.ndarray, bandwidth_hz: float) -> np.ndarray:
    """Coefficients (n, 3) of (1 - 2 r cos(w) z + r² z²) / (the same at z = 1) for (n,) resonances."""
    r = np.exp(-np.pi * bandwidth_hz / SAMPLE_RATE_HZ)
    middle = -2 * r * np.cos(2 * np.pi * frequency_hz / SAMPLE_RATE_HZ)
    return np.stack([np.ones_like(middle), middle, np.full_like(middle, r * r)], axis=1) / (1 + middle + r * r)[:, None]


def _tract(source: np.ndarray, formants_hz: np.ndarray, zero_hz: np.ndarray, scale: float) -> np.ndarray:
    """Filter (frames,) with the vocal tract of each hop; formants_hz (hops, 4), zero_hz (hops,).

    H_h(z) = nasal zero_h(z) / Π_i resonance_hi(z),    y = Σ_h h_h * (window_h · source)

    Hann windows half over each other sum to one, so neighbouring tracts fade into each other. Formants above the
    fourth do not move; as many as fit below 7.7 kHz keep the top of the spectrum from falling away.
    """
    size = WINDOW + RINGING
    poles = np.ones((1, 1))
    fixed = [(f, 0.05 * f) for f in 1000 * scale * np.arange(4.5, 9) if f < 7700]
    for frequency_hz, bandwidth_hz in [(NASAL_POLE_HZ, NASAL_BANDWIDTH_HZ), *fixed]:
        poles = _multiply(poles, _quadratic(np.array([frequency_hz]), bandwidth_hz))
    for column, bandwidth_hz in enumerate(BANDWIDTHS_HZ):
        poles = _multiply(poles, _quadratic(formants_hz[:, column], bandwidth_hz))

    hops = len(formants_hz)
    padded = np.pad(source, (HOP, hops * HOP - len(source)))  # window h is centred on hop h
    hann = scipy.signal.windows.hann(WINDOW, sym=False)
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP] * hann
    windows = _multiply(windows, _quadratic(zero_hz, NASAL_BANDWIDTH_HZ))
    rung = np.fft.irfft(np.fft.rfft(windows, size) / np.fft.rfft(poles, size), size).reshape(hops, -1, HOP)
    total = np.zeros((hops + rung.shape[1], HOP))
    for late in range(rung.shape[1]):
        total[late : late + hops] += rung[:, late]
    return total.ravel()[HOP : HOP + len(source)]


def _multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Products of polynomials: (hops or 1, m) times (hops or 1, 3) -> (hops, m + 2)."""
    product = np.zeros((max(len(a), len(b)), a.shape[1] + 2))
    for power in range(3):
        product[:, power : power + a.shape[1]] += a * b[:, power : power + 1]
    return product


def _hiss(segment: Segment, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Noise (frames,) of a segment: a burst starts at once and dies away, a fricative swells and falls."""
    frames = round(segment.seconds * SAMPLE_RATE_HZ)
    noise = scipy.signal.sosfilt(_hiss_band(segment.sound.hiss, scale), rng.standard_normal(frames))
    burst = 2 * np.exp(-np.arange(frames) / (0.008 * SAMPLE_RATE_HZ))
    shape = burst if segment.sound.closure_ms else scipy.signal.windows.tukey(frames, 0.6)
    level = _amplitude(segment.sound.hiss_db + segment.level_db)
    return noise * shape * (level / np.sqrt((noise**2).mean()))


@lru_cache
def _hiss_band(hiss: str, scale: float) -> np.ndarray:
    low_hz, high_hz = (min(edge_hz * scale, edge) for edge_hz, edge in zip(HISS_HZ[hiss], (5500, 7900), strict=True))
    return scipy.signal.butter(3, (low_hz, high_hz), "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
