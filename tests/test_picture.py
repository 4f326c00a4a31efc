"""Spectrograms and representations of the listening page: what a cursor says of them, colours, zoom."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import soundfile

from report import figure
from speech.audio import SAMPLE_RATE_HZ
from speech.spectrum import mel_bands
from tests.browser import STATE
from tests.command import rows

pytestmark = pytest.mark.commands


def point(page: Any, picture: Any, x: float, y: float) -> str:
    """What the deck says where the pointer is, x and y shares of a picture."""
    picture.evaluate("picture => picture.scrollIntoView({ block: 'center' })")
    box = picture.bounding_box()
    page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
    return str(picture.locator("xpath=ancestor::article").locator(".reading").inner_text())


def test_a_spectrogram_says_time_frequency_and_level(wide: Any, listened: Path) -> None:
    deck = wide.locator(".deck").first
    canvas = deck.locator(".tall .plot canvas").nth(1)
    loudest, values = None, {}
    for phase in ("original", "pre_training", "fine_tuning"):
        samples, rate_hz = soundfile.read(next((listened / "audio").glob(f"01-*.{phase}.wav")))
        values[phase], loudest = figure.log_mel(samples, rate_hz, loudest)
    columns = values["original"].shape[1]
    for x, band in ((0.301, 10), (0.502, 40), (0.703, 70)):
        text = point(wide, canvas, x, (79 - band + 0.5) / 80)
        match = re.match(
            r"([\d.]+) s, ([\d.]+) (k?Hz): original (−?\d+) dB, after pre-training (−?\d+) dB, "
            r"after fine-tuning (−?\d+) dB$",
            text,
        )
        assert match, text
        seconds, hz, unit, *levels = match.groups()
        assert float(seconds) == pytest.approx(x * len(samples) / rate_hz, abs=0.01)
        peak = mel_bands(rate_hz, 512, 80)[band].argmax() * rate_hz / 512
        assert float(hz) * (1000 if unit == "kHz" else 1) == pytest.approx(peak, abs=32)
        column = int(float(seconds) * rate_hz / len(samples) * columns)
        for said, (phase, value) in zip(levels, values.items(), strict=True):
            near = value[band, max(0, column - 1) : column + 2]
            assert near.min() - 1 <= float(said.replace("−", "-")) <= near.max() + 1, phase
    assert deck.locator(".level:visible").count() == 5  # the same row in all five pictures
    ticks = deck.locator(".tall .axis").first.locator("span").all_inner_texts()
    assert ticks == ["kHz", "0.5", "1", "2", "4"]
    captions = deck.locator(".tall figcaption").all_inner_texts()
    assert len([text for text in captions if "stronger than the original" in text]) == 2
    assert len([text for text in captions if "−80 dB" in text]) == 3


def test_a_clip_opened_from_the_table_has_the_spectrograms_of_its_sounds(wide: Any) -> None:
    """Worked out by the page of what it plays: as Python's of the same samples, shown like those of chosen clips."""
    rng = np.random.default_rng(0)
    samples = np.cumsum(rng.standard_normal(2000)) * np.sin(np.arange(2000) * np.linspace(0, 1.5, 2000))
    expected, loudest_db = figure.log_mel(samples, SAMPLE_RATE_HZ)
    levels = np.array(wide.evaluate("samples => melLevels(samples).map(frame => [...frame])", samples.tolist())).T
    np.testing.assert_allclose(
        np.maximum(levels - loudest_db, -80), expected, atol=0.1
    )  # the page has corners to 0.1 Hz
    chosen = wide.locator("#decks .deck")
    clips = wide.evaluate("data.clips.filter(clip => !decks.has(clip)).map(clip => clip.name)")
    wide.evaluate("name => { location.hash = `#clip=${encodeURIComponent(name)}`; }", clips[0])
    deck = wide.locator("#opened .deck")
    deck.wait_for()
    figures = "deck => [...deck.querySelectorAll('.panel.tall figcaption')].map(node => node.textContent)"
    assert deck.evaluate(figures) == chosen.first.evaluate(figures)
    text = point(wide, deck.locator(".tall .plot canvas").first, 0.4, 0.6)
    assert re.fullmatch(r"[\d.]+ s, [\d.]+ k?Hz: original −?\d+ dB, after .+ dB, after .+ dB", text), text
    decoded = wide.evaluate(  # of a chosen clip both are there: its bytes by Python, and by the page of its sounds
        """async () => {
            const clip = { ...data.clips[data.chosen[0]] };
            const levels = clip.spectrograms.map((content) => [...bytes(content)]);
            await addSpectrograms(clip);
            return [levels, clip.spectrograms.map((content) => [...content])];
        }"""
    )
    for expected_bytes, page_bytes in zip(*decoded, strict=True):
        assert np.abs(np.subtract(expected_bytes, page_bytes)).max() <= 2  # of 255 for 90 dB; the sounds are 16-bit


def test_colours_of_a_spectrogram_are_its_levels(wide: Any, listened: Path) -> None:
    """A pixel has the colour that matplotlib gives the level which the cursor says, also where it is a difference."""
    deck = wide.locator(".deck").first
    pixel = """(canvas) => [...canvas.getContext("2d").getImageData(
        Math.floor(0.401 * canvas.width), Math.floor(0.606 * canvas.height), 1, 1).data]"""
    text = point(wide, deck.locator(".tall .plot canvas").first, 0.401, 0.606)
    original, rebuilt = (float(level.replace("−", "-")) for level in re.findall(r"(−?\d+) dB", text)[:2])
    for k, level, colours, low, high in ((0, original, "magma", -80, 0), (3, rebuilt - original, "RdBu_r", -30, 30)):
        near = [matplotlib.colormaps[colours]((level + off - low) / (high - low), bytes=True) for off in (-1.5, 0, 1.5)]
        seen = deck.locator(".tall .plot canvas").nth(k).evaluate(pixel)
        for component, expected in zip(seen, np.array(near, int).T, strict=True):
            assert expected.min() - 3 <= component <= expected.max() + 3


def test_the_cursor_and_the_channels_answer_keys(wide: Any) -> None:
    deck = wide.locator(".deck").first
    seconds = deck.evaluate("deck => deck.player.seconds")
    deck.locator(".play").focus()
    canvas = deck.locator("canvas[tabindex]").first
    for _ in range(12):
        wide.keyboard.press("Tab")
        if canvas.evaluate("canvas => canvas === document.activeElement"):
            break
    assert canvas.evaluate("canvas => getComputedStyle(canvas).outlineStyle") == "solid"
    before = deck.locator(".reading").inner_text()
    assert before.startswith("0.00")
    for key in ("Shift+ArrowRight", "Shift+ArrowRight", "ArrowUp"):
        wide.keyboard.press(key)
    after = deck.locator(".reading").inner_text()
    columns = canvas.evaluate("canvas => canvas.width")
    assert float(after.split(" s, ")[0]) == pytest.approx(20.5 * seconds / columns, abs=0.001)
    assert after.split(" s, ")[1].split(":")[0] != before.split(" s, ")[1].split(":")[0]
    assert deck.evaluate(STATE)[1] == 0
    wide.keyboard.press("Enter")
    assert deck.evaluate(STATE)[1] == pytest.approx(20.5 * seconds / columns, abs=0.001)
    wide.keyboard.press("Tab")
    wide.keyboard.press("ArrowDown")
    reading = deck.locator(".reading").inner_text()
    wide.keyboard.press("Enter")
    channel = reading.split("channel ")[1].split(":")[0]
    assert deck.locator(".channel figcaption").inner_text() == f"channel {channel} over time"


def test_a_click_on_a_channel_shows_its_curve(wide: Any, listened: Path) -> None:
    deck = wide.locator(".deck").first
    features = np.load(listened / "features.npy")
    names = [row["name"] for row in rows(listened / "clips.csv")]
    clip = names.index(deck.get_attribute("aria-label"))
    frames = features[clip, : math.ceil(int(rows(listened / "clips.csv")[clip]["valid_samples"]) / 4)]
    edges = np.linspace(0, len(frames), 501).astype(int)  # the page has 500 columns
    picture = deck.locator("canvas").last
    for channel in (3, 1):
        point(wide, picture, 0.5, (channel + 0.5) / 4)
        wide.mouse.down()
        wide.mouse.up()
        assert deck.locator(".channel figcaption").inner_text() == f"channel {channel} over time"
        high, low = (float(text.replace("−", "-")) for text in deck.locator(".channel .axis span").all_inner_texts())
        mean = [frames[a:b, channel].mean() for a, b in itertools.pairwise(edges)]
        assert [low, high] == pytest.approx([min(mean), max(mean)], rel=0.01, abs=1e-6)
        d = deck.locator(".channel path").get_attribute("d")
        y = 1 - np.array(re.findall(r" (\d+)", d), float) / 255
        assert np.allclose(low + y * (high - low), mean, atol=(high - low) / 100)


def test_zooming_keeps_the_position_in_sight_and_clicks_true(page: Any) -> None:
    deck = page.locator(".deck").first
    seconds = deck.evaluate("deck => deck.player.seconds")
    wave, plain = deck.locator(".wave"), deck.locator(".wave").bounding_box()["width"]
    assert deck.locator(".out").is_disabled()
    for _ in range(3):
        deck.locator(".in").click()
    assert wave.bounding_box()["width"] == pytest.approx(8 * plain, rel=0.01)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    deck.evaluate("(deck, second) => deck.player.seek(second)", 0.6 * seconds)
    frame, head = deck.locator(".scroll").bounding_box(), deck.locator(".head").bounding_box()
    assert frame["x"] < head["x"] < frame["x"] + frame["width"]
    assert wave.bounding_box()["x"] + 0.6 * 8 * plain == pytest.approx(head["x"] + 1, abs=2)
    page.mouse.click(head["x"] + 41, wave.bounding_box()["y"] + 10)
    assert deck.evaluate(STATE)[1] == pytest.approx(seconds * (0.6 + 40 / (8 * plain)), abs=0.01)
    assert deck.locator(".ticks span").count() > 20
    for _ in range(3):
        deck.locator(".out").click()
    assert deck.locator(".out").is_disabled()
