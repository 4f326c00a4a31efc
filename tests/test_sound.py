from __future__ import annotations

import base64
import io

import numpy as np
import soundfile

from report.listening import PLAYER_BYTES, _map_sounds
from report.sound import SMALL_BYTES, TEXT, fitting, lossless, small
from speech.clip import Clips
from speech.recording import Recording

RATE_HZ = 16_000


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.9, 0.9, round(seconds * RATE_HZ)).astype(np.float32)


def test_lossless_is_lossless_and_small_is_small() -> None:
    x = noise(3)
    kind, content = lossless(x, RATE_HZ)
    again, rate_hz = soundfile.read(io.BytesIO(content))
    assert (kind, rate_hz) == ("audio/flac", RATE_HZ)
    np.testing.assert_allclose(again, x, atol=1 / 2**15)
    kind, content = small(x, RATE_HZ)
    assert kind == "audio/mpeg"
    assert len(content) <= 3.2 * SMALL_BYTES
    assert soundfile.info(io.BytesIO(content)).duration >= 3


def test_the_papers_clips_are_lossless_longer_ones_small_and_very_long_ones_few() -> None:
    assert fitting([3 * 4.0] * 12, RATE_HZ, PLAYER_BYTES) == (lossless, 12)
    assert fitting([3 * 30.0] * 12, RATE_HZ, PLAYER_BYTES) == (small, 12)
    encode, count = fitting([3 * 300.0] * 12, RATE_HZ, PLAYER_BYTES)
    assert (encode, count) == (small, 1)
    assert count * 900 * SMALL_BYTES * TEXT <= PLAYER_BYTES < 2 * 900 * SMALL_BYTES * TEXT
    assert fitting([1e6], RATE_HZ, PLAYER_BYTES) == (small, 1)


def test_the_map_has_as_many_sounds_as_there_is_room_for_spread_over_the_corpus() -> None:
    count = 40
    samples = np.stack([noise(0.5, i) for i in range(count)])
    ones = np.ones(count, np.float32)
    recordings = tuple(Recording(str(i), lambda: (samples[0], RATE_HZ)) for i in range(count))
    clips = Clips(samples, 0 * ones, ones, np.full(count, samples.shape[1]), recordings)
    everything = _map_sounds(clips, set(), 10**7)
    assert set(everything) == {str(i) for i in range(count)}
    heard, _ = soundfile.read(io.BytesIO(base64.b64decode(everything["3"].split(",")[1])))
    assert len(heard) >= samples.shape[1]
    room = 1000 + sum(len(uri) for uri in everything.values()) // 2
    some = _map_sounds(clips, set(), room)
    assert sum(len(uri) for uri in some.values()) < room
    assert 15 <= len(some) <= 20
    places = sorted(int(name) for name in some)
    assert max(b - a for a, b in zip([-1, *places], [*places, count], strict=True)) <= 5
    assert _map_sounds(clips, set(), 0) == {}
