"""The demo corpus is repeatable, balanced, and measurably like speech.

The measures share nothing with the synthesis.
"""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy import signal

from speech import demo

RATE_HZ = 16000
COUNT = 56  # every voice in every emotion once


@pytest.fixture(scope="module")
def recordings():
    return demo.list_recordings(COUNT, seed=0)


@pytest.fixture(scope="module")
def clips(recordings):
    return [samples_of(recording).astype(float) for recording in recordings]


@pytest.fixture(scope="module")
def tracks(clips):
    """Semitones of the voiced frames of each clip."""
    return [12 * np.log2(pitches_hz(clip)) for clip in clips]


def samples_of(recording):
    return recording.source()[0]


def frames_of(samples, size=640, hop=160):
    return np.lib.stride_tricks.sliding_window_view(samples, size)[::hop]


def levels_db(samples):
    """Level of each 20 ms against the loudest."""
    rms = np.sqrt((frames_of(samples, 320) ** 2).mean(1))
    return 20 * np.log10(rms / rms.max() + 1e-9)


def pitches_hz(samples):
    """Fundamental frequency of the voiced frames, by autocorrelation: the shortest lag that is nearly the best."""
    low = signal.sosfiltfilt(signal.butter(2, 900, fs=RATE_HZ, output="sos"), samples)
    window = np.hanning(640)
    correlation = np.fft.irfft(np.abs(np.fft.rfft(frames_of(low) * window, 2048)) ** 2)
    of_window = np.fft.irfft(np.abs(np.fft.rfft(window, 2048)) ** 2)
    energy = correlation[:, 0]
    lags = np.arange(RATE_HZ // 600, RATE_HZ // 65)
    likeness = correlation[:, lags] / energy[:, None] / (of_window[lags] / of_window[0])
    inner = likeness[:, 1:-1]
    peak = (inner >= likeness[:, :-2]) & (inner >= likeness[:, 2:])
    good = peak & (inner > 0.9 * np.where(peak, inner, 0).max(1, keepdims=True))
    voiced = good.any(1) & (np.where(peak, inner, 0).max(1) > 0.7) & (energy > 1e-3 * energy.max())
    return RATE_HZ / lags[1 + good[voiced].argmax(1)]


def spectra(samples):
    """Power spectra (frames, bins) of the frames that are not silent."""
    loud = frames_of(samples, 512)
    loud = loud[(loud**2).mean(1) > 1e-3 * (loud**2).mean(1).max()]
    return np.abs(np.fft.rfft(loud * np.hanning(512))) ** 2


def flatness(samples):
    """Geometric over arithmetic mean of the power spectrum: 0 for a sine, 0.56 for white noise."""
    power = spectra(samples) + 1e-12
    return np.median(np.exp(np.log(power).mean(1)) / power.mean(1))


def shares(samples, *edges_hz):
    """Parts of the energy that lie between neighbouring edges."""
    power = spectra(samples).sum(0)
    total = np.concatenate(([0], np.cumsum(power))) / power.sum()
    return np.diff(total[np.round(np.array(edges_hz) * 512 / RATE_HZ).astype(int)])


def by(names, values):
    return {name: np.mean([v for n, v in zip(names, values, strict=True) if n == name]) for name in sorted(set(names))}


# Repeatable


def test_same_seed_gives_the_same_bits_and_another_seed_does_not(recordings):
    again, other = demo.list_recordings(COUNT, seed=0), demo.list_recordings(COUNT, seed=1)
    for first, second, third in list(zip(recordings, again, other, strict=True))[:3]:
        samples = samples_of(first)
        np.testing.assert_array_equal(samples, samples_of(second))
        np.testing.assert_array_equal(samples, samples_of(first))
        assert not np.array_equal(samples[:8000], samples_of(third)[:8000])


def test_clips_depend_on_no_order_thread_or_count(recordings, clips):
    some = list(range(6))
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(samples_of, reversed(recordings[: len(some)])))
    few = demo.list_recordings(len(some))
    for index, samples in zip(reversed(some), threaded, strict=True):
        np.testing.assert_array_equal(samples, clips[index].astype(np.float32))
        assert few[index].name == recordings[index].name
        np.testing.assert_array_equal(samples, samples_of(few[index]))


def test_one_voice_in_one_emotion_never_repeats_itself(clips):
    again = samples_of(demo.list_recordings(COUNT + 1)[COUNT])
    assert not np.array_equal(again[:8000], clips[0][:8000].astype(np.float32))


# Well formed


def test_samples_are_float32_at_16_khz_finite_and_unclipped(recordings, clips):
    samples, rate_hz = recordings[0].source()
    assert samples.dtype == np.float32 and samples.ndim == 1 and rate_hz == RATE_HZ
    for clip in clips:
        assert np.isfinite(clip).all()
        peak = np.abs(clip).max()
        assert 0.03 < peak < 1
        assert (np.abs(clip) == peak).sum() == 1, "a flat top is clipping"
        assert abs(clip.mean()) < 0.02 * clip.std()


def test_durations_fill_the_range_from_1_5_to_6_seconds(recordings, clips):
    seconds = np.array([len(clip) / RATE_HZ for clip in clips])
    np.testing.assert_allclose(seconds, [recording.details["seconds"] for recording in recordings], atol=1e-4)
    assert seconds.min() >= 1.5 and seconds.max() <= 6
    assert seconds.min() < 2 and seconds.max() > 5.5


@pytest.mark.parametrize("count", [1, 6, 70, 113])
def test_emotions_and_voices_are_balanced(count):
    recordings = demo.list_recordings(count)
    assert len(recordings) == len({recording.name for recording in recordings}) == count
    labels, speakers = Counter(r.label for r in recordings), Counter(r.speaker for r in recordings)
    for counts in ([labels[e] for e in demo.EMOTIONS], [speakers[voice.name] for voice in demo.VOICES]):
        assert sum(counts) == count
        assert max(counts) - min(counts) <= 1


def test_every_voice_speaks_in_every_emotion(recordings):
    emotions = {"anger", "boredom", "disgust", "fear", "happiness", "neutral", "sadness"}
    assert {recording.label for recording in recordings} == emotions
    assert len({recording.speaker for recording in recordings}) >= 6
    assert len({(recording.speaker, recording.label) for recording in recordings}) == COUNT
    for index, recording in enumerate(recordings):
        assert recording.name == f"{recording.speaker}-{recording.label}-{index:03d}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "demo: count must be at least 1; got 0"),
        ({"count": -3}, "demo: count must be at least 1; got -3"),
        ({"seed": -1}, "demo: seed must be at least 0; got -1"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        demo.list_recordings(**arguments)


# Like speech


def test_the_measures_know_a_pulse_train_from_noise():
    time = np.arange(2 * RATE_HZ) / RATE_HZ
    buzz = signal.sawtooth(2 * np.pi * 150 * time)
    np.testing.assert_allclose(np.median(pitches_hz(buzz)), 150, rtol=0.02)
    noise = np.random.default_rng(0).standard_normal(len(time))
    assert len(pitches_hz(noise)) < 0.2 * len(frames_of(noise))
    assert flatness(noise) > 0.5
    assert flatness(np.sin(2 * np.pi * 150 * time)) < 1e-4


def test_voices_have_their_pitch(recordings, tracks):
    expected = {voice.name: voice.pitch_hz for voice in demo.VOICES}
    for recording, track in zip(recordings, tracks, strict=True):
        if recording.label == "neutral":
            np.testing.assert_allclose(2 ** (np.median(track) / 12), expected[recording.speaker], rtol=0.15)
    assert max(expected.values()) > 2 * min(expected.values())


def test_emotions_move_pitch_range_level_and_tilt_as_documented(recordings, clips, tracks):
    emotions = [recording.label for recording in recordings]
    pitch = by(emotions, [np.median(track) for track in tracks])
    assert pitch["fear"] > pitch["anger"] > pitch["neutral"] + 3
    assert pitch["happiness"] > pitch["neutral"] + 3
    assert max(pitch["boredom"], pitch["sadness"], pitch["disgust"]) < pitch["neutral"]
    spread = by(emotions, [np.subtract(*np.percentile(track, [85, 15])) for track in tracks])
    assert min(spread["happiness"], spread["anger"]) > 1.3 * spread["neutral"]
    assert spread["neutral"] > max(spread["boredom"], spread["sadness"])
    level = by(emotions, [10 * np.log10((clip**2).mean()) for clip in clips])
    assert level["anger"] > level["happiness"] > level["neutral"] > level["boredom"] > level["sadness"]
    treble = by(emotions, [10 * np.log10(shares(clip, 1000, 4000)[0]) for clip in clips])
    assert treble["anger"] > treble["happiness"] > treble["neutral"] > treble["sadness"]


def test_tempo_follows_the_emotion(recordings, clips):
    # Slow speech puts less of the movement of its loudness above 4 Hz.
    def quickness(clip):
        loudness = np.sqrt((frames_of(clip, 320) ** 2).mean(1))
        power = np.abs(np.fft.rfft((loudness - loudness.mean()) * np.hanning(len(loudness)), 4096)) ** 2
        hz = np.fft.rfftfreq(4096, 0.01)
        return power[(hz > 4) & (hz < 12)].sum() / power[hz < 12].sum()

    quick = by([recording.label for recording in recordings], [quickness(clip) for clip in clips])
    assert min(quick["fear"], quick["anger"]) > quick["neutral"]
    assert quick["neutral"] > max(quick["sadness"], quick["disgust"], quick["boredom"])
    assert 0.2 < np.mean(list(quick.values())) < 0.6, "a syllable rhythm of a few Hz"


def test_phrases_are_parted_by_pauses(clips):
    silent = [(levels_db(clip) < -35).mean() for clip in clips]
    assert 0.1 < np.mean(silent) < 0.4
    for clip in clips:
        if len(clip) > 4.5 * RATE_HZ:
            inner = levels_db(clip)[40:-60] < -35
            runs = np.diff(np.flatnonzero(np.diff(np.concatenate(([0], inner, [0])))))[::2]
            assert runs.max() >= 6, "no silence of 60 ms inside a long clip"


def test_spectra_are_neither_sines_nor_white_noise(clips):
    for clip in clips:
        assert 1e-4 < flatness(clip) < 0.2


def test_energy_is_spread_over_the_formant_bands(clips):
    for clip in clips:
        parts = shares(clip, 60, 500, 1000, 2000, 3500, 8000)
        assert max(parts) < 0.97
        assert min(parts) > 1e-4


def test_formants_move(clips):
    # When voiced, the centre of gravity from 800 to 2600 Hz follows the second formant; in a buzz it stands still.
    for clip in clips:
        power = spectra(clip)
        voiced = power[:, 2:26].sum(1) > 10 * power[:, 84:].sum(1)
        middle = power[voiced, 26:84]
        centre_hz = middle @ np.arange(26, 84) / middle.sum(1) * RATE_HZ / 512
        assert centre_hz.std() > 250


def test_some_sounds_hiss_and_more_are_voiced(clips):
    hissing, voiced = [], []
    for clip in clips:
        frames = frames_of(clip, 320)
        loud = (frames**2).mean(1) > 1e-3 * (frames**2).mean(1).max()
        crossings = (np.diff(np.signbit(frames[loud]), axis=1)).mean(1)
        hissing.append((crossings > 0.4).mean())
        voiced.append((crossings < 0.15).mean())
    assert 0.03 < np.mean(hissing) < 0.3
    assert np.mean(voiced) > 0.55


def test_a_tract_that_stands_still_is_the_recursive_filter():
    formants_hz, zero_hz = np.array([500.0, 1500.0, 2500.0, 3500.0]), 1000.0
    source = np.random.default_rng(0).standard_normal(4000)
    spoken = demo._tract(source, np.tile(formants_hz, (52, 1)), np.full(52, zero_hz), scale=1.0)
    fixed_hz = [4500.0, 5500.0, 6500.0, 7500.0]
    resonances = [
        (270.0, 100.0),
        *zip(formants_hz, demo.BANDWIDTHS_HZ, strict=True),
        *((f, 0.05 * f) for f in fixed_hz),
    ]
    expected = source
    for hz, bandwidth_hz in resonances:
        roots = np.exp((-np.pi * bandwidth_hz + 2j * np.pi * hz * np.array([1, -1])) / RATE_HZ)
        denominator = np.poly(roots).real
        expected = signal.lfilter([denominator.sum()], denominator, expected)
    numerator = np.poly(np.exp((-np.pi * 100 + 2j * np.pi * zero_hz * np.array([1, -1])) / RATE_HZ)).real
    expected = signal.lfilter(numerator / numerator.sum(), [1.0], expected)
    assert np.abs(spoken - expected)[500:-100].max() < 0.02 * np.abs(expected).max()


def test_emotions_can_be_learnt_by_voices_never_heard(recordings, clips, tracks):
    features = []
    for semitones, clip in zip(tracks, clips, strict=True):
        bands = np.log(shares(clip, 250, 500, 1000, 2000, 4000))
        features.append([np.median(semitones), semitones.std(), np.log((clip**2).mean()), *bands])
    x = np.array(features)
    speakers, labels = np.array([r.speaker for r in recordings]), np.array([r.label for r in recordings])
    for speaker in set(speakers):  # against the voice's own average, as a listener hears it
        x[speakers == speaker] -= x[speakers == speaker].mean(0)
    x /= x.std(0)
    hits = 0
    for speaker in set(speakers):
        heard = speakers != speaker
        centres = np.array([x[heard & (labels == label)].mean(0) for label in sorted(set(labels))])
        guess = ((x[~heard][:, None] - centres) ** 2).sum(2).argmin(1)
        hits += (np.array(sorted(set(labels)))[guess] == labels[~heard]).sum()
    assert hits / COUNT > 0.5, "chance is 1 in 7"
