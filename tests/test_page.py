"""The listening page in a real browser, opened as a file."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import matplotlib
import numpy as np
import pytest
import scipy.stats
import soundfile

from report import figure
from report.figure import data_uri
from report.sound import Encode, lossless, small
from speech.spectrum import mel_bands
from tests.browser import chromium, opened
from tests.command import rows


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as driven:
        yield driven


@pytest.fixture(params=[(400, "light"), (1400, "dark")], ids=["phone-light", "desktop-dark"])
def page(browser: Any, request: pytest.FixtureRequest, listened: Path) -> Iterator[Any]:
    with opened(browser, (listened / "report.html").as_uri(), *request.param) as tab:
        yield tab


@pytest.fixture
def wide(browser: Any, listened: Path) -> Iterator[Any]:
    with opened(browser, (listened / "report.html").as_uri(), 1400, "light") as tab:
        yield tab


def test_nothing_is_wider_than_the_window_and_every_picture_loads(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    broken = """() => Promise.all([...document.images].map(image => { image.loading = "eager"; return image.decode() }))
        .then(() => [...document.images].filter(image => image.naturalWidth === 0).length)"""
    assert page.evaluate(broken) == 0
    assert page.evaluate("document.images.length") > 10


RATIOS = """() => {
    const channel = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
    const colour = (text) => text.match(/[\\d.]+/g).map(Number);
    const ground = (node) => {
        for (; node; node = node.parentElement) {
            const found = colour(getComputedStyle(node).backgroundColor);
            if (found.length === 3) return found;
        }
    };
    const low = [];
    for (const node of document.querySelectorAll("body *")) {
        const words = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
        if (!words || node.matches("script, style, noscript, template") || !node.checkVisibility()) continue;
        const [a, b] = [colour(getComputedStyle(node).color), ground(node)].map(luminance).sort((x, y) => y - x);
        if ((a + 0.05) / (b + 0.05) < 4.5) low.push(`${node.tagName}.${node.className}: ${node.textContent}`);
    }
    return low;
}"""

SMALL = """() => [...document.querySelectorAll("button, a, select, input, summary")]
    .map((node) => (node.type === "radio" ? node.parentElement : node))
    .filter((node) => node.checkVisibility() && !node.closest("#hovered"))
    .map((node) => [node.outerHTML.slice(0, 80), node.getBoundingClientRect()])
    .filter(([, box]) => box.width < 24 || box.height < 24)
    .map(([name, box]) => `${name} ${box.width} x ${box.height}`)"""

STATE = "deck => [deck.player.playing, deck.player.position(), deck.player.version, deck.player.sources.length]"


def test_every_word_stands_out_from_its_ground_and_every_target_is_large_enough(page: Any) -> None:
    page.locator(".deck details summary").first.click()
    assert page.evaluate(RATIOS) == []
    assert page.evaluate(SMALL) == []


def test_players_play_and_switching_keeps_the_position(page: Any) -> None:
    deck = page.locator(".deck").nth(1)
    deck.locator(".play").click()
    page.wait_for_timeout(600)
    playing, before, version, sources = deck.evaluate(STATE)
    assert (playing, version, sources) == (True, 0, 3)
    assert 0.05 < before < 3
    deck.get_by_text("after pre-training", exact=True).first.click()
    playing, position, version, sources = deck.evaluate(STATE)
    assert (playing, version, sources) == (True, 1, 3)
    assert before <= position < before + 2
    assert deck.locator(".w1").evaluate("path => getComputedStyle(path).display") == "inline"
    assert deck.locator(".w2").evaluate("path => getComputedStyle(path).display") == "none"
    deck.locator(".play").click()
    playing, paused, _, sources = deck.evaluate(STATE)
    assert (playing, sources) == (False, 0)
    deck.get_by_text("after fine-tuning", exact=True).first.click()
    assert deck.evaluate(STATE) == [False, paused, 2, 0]
    assert deck.locator(".time").inner_text().startswith(f"{paused:.2f} of ")
    left = float(deck.locator(".head").evaluate("line => line.style.left").rstrip("%"))
    assert left == pytest.approx(100 * paused / deck.evaluate("deck => deck.player.seconds"), abs=0.1)


RENDERED = """async () => {
    const { sounds, seconds } = data.clips[data.chosen[0]];
    const context = new OfflineAudioContext(1, Math.floor(16000 * seconds), 16000);
    const player = new Player(sounds, seconds);
    await player.load(context);
    player.start();
    context.suspend(0.512).then(() => { player.choose(1); context.resume(); });
    const heard = (await context.startRendering()).getChannelData(0);
    const [before, after] = player.buffers.map((buffer) => buffer.getChannelData(0));
    const off = (from, to, sound) => {
        let most = 0;
        for (let i = from; i < to; i++) most = Math.max(most, Math.abs(heard[i] - sound[i]));
        return most;
    };
    const at = Math.round(0.512 * 16000);
    let outside = 0; // of what a mixture of the two can be
    for (let i = at; i < at + 800; i++) {
        const [low, high] = [before[i], after[i]].sort((a, b) => a - b);
        outside = Math.max(outside, low - heard[i], heard[i] - high);
    }
    return [player.buffers[0].length, off(0, at, before), outside, off(at + 800, heard.length, after),
        off(at + 800, heard.length, before)];
}"""


def test_switching_leaves_no_gap_in_what_is_heard(page: Any) -> None:
    """Rendered sample by sample: the original, a mixture of the two for some milliseconds, then the other one."""
    length, before, outside, after, different = page.evaluate(RENDERED)
    assert length > 16_000
    assert before < 1e-6
    assert outside < 1e-6
    assert after < 1e-4
    assert different > 0.01


CLICK = """async (uri) => {
    const context = new OfflineAudioContext(1, 8000, 16000);
    const player = new Player([uri], 1.0);
    await player.load(context);
    player.seek(0.25);
    player.start();
    const heard = (await context.startRendering()).getChannelData(0).map(Math.abs);
    return heard.indexOf(Math.max(...heard));
}"""


@pytest.mark.parametrize("encode", [lossless, small])
def test_a_sound_is_heard_where_the_pictures_show_it(browser: Any, listened: Path, encode: Encode) -> None:
    """A click at 0.5 s, after a move to 0.25 s: an MP3 has 69 ms of silence before it."""
    waveform = np.zeros(16_000)
    waveform[8000:8004] = 0.9
    with opened(browser, (listened / "report.html").as_uri(), 700, "light") as tab:
        assert abs(tab.evaluate(CLICK, data_uri(*encode(waveform, 16_000))) - 4000) <= 8


REPEATED = """async () => {
    const { sounds, seconds } = data.clips[data.chosen[0]];
    const context = new OfflineAudioContext(1, 16000, 16000);
    const player = new Player(sounds, seconds);
    await player.load(context);
    player.repeat(0.25, 0.5);
    player.start();
    const positions = [];
    const looked = [0.128, 0.512].map((at) =>
        context.suspend(at).then(() => { positions.push(player.position()); context.resume(); }));
    const heard = (await context.startRendering()).getChannelData(0);
    await Promise.all(looked);
    const sound = player.buffers[0].getChannelData(0);
    let most = 0;
    for (let i = 0; i < 16000; i++) most = Math.max(most, Math.abs(heard[i] - sound[4000 + (i % 4000)]));
    return [most, ...positions];
}"""


def test_a_part_is_repeated_sample_by_sample(page: Any) -> None:
    most, first, second = page.evaluate(REPEATED)
    assert most < 1e-6
    assert [first, second] == pytest.approx([0.25 + 0.128, 0.25 + 0.012], abs=1e-6)


def test_one_sound_at_a_time(page: Any) -> None:
    page.locator(".deck .play").nth(0).click()
    page.locator(".deck .play").nth(1).click()
    page.wait_for_timeout(200)
    players = page.locator(".deck").evaluate_all("decks => decks.map(deck => deck.player.playing)")
    assert players == [False, True, *[False] * (len(players) - 2)]
    page.locator("#plane").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_timeout(200)
    assert not any(page.locator(".deck").evaluate_all("decks => decks.map(deck => deck.player.playing)"))
    assert page.evaluate("sounding.playing")


def test_a_click_moves_a_drag_repeats_and_a_worst_segment_plays(page: Any) -> None:
    deck = page.locator(".deck").first
    seconds = deck.evaluate("deck => deck.player.seconds")
    wave = deck.locator(".wave")
    wave.scroll_into_view_if_needed()
    box = wave.bounding_box()
    wave.click(position={"x": box["width"] / 2, "y": 10})
    assert deck.evaluate(STATE)[1] == pytest.approx(seconds / 2, rel=0.02)
    assert f"from {seconds / 2:.1f}" in deck.locator(".play").get_attribute("aria-label")
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 10)
    page.mouse.up()
    assert deck.evaluate("deck => deck.player.loop") == pytest.approx([seconds / 4, seconds / 2], rel=0.02)
    assert deck.locator(".region").is_visible()
    deck.locator(".whole").click()
    assert deck.evaluate("deck => deck.player.loop") is None
    segment = deck.locator(".worst button").first
    segment.click()
    assert deck.get_attribute("data-version") == segment.get_attribute("data-version") == "1"
    start = float(segment.get_attribute("data-at"))
    assert start <= deck.evaluate(STATE)[1] < start + 1
    label = segment.get_attribute("aria-label")
    assert label.startswith(segment.inner_text()) and label.endswith("after pre-training")


def test_the_keyboard_alone_is_enough(page: Any) -> None:
    deck = page.locator(".deck").first
    deck.locator(".play").focus()
    page.keyboard.press("Space")
    page.wait_for_timeout(200)
    assert deck.evaluate(STATE)[0]
    page.keyboard.press("3")
    assert deck.evaluate(STATE)[2] == 2
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")
    assert deck.get_attribute("data-version") == "1"
    page.keyboard.press("Space")  # on a radio button: the player's
    assert not deck.evaluate(STATE)[0]
    page.keyboard.press("Tab")
    page.keyboard.press("End")
    seconds = deck.evaluate("deck => deck.player.seconds")
    assert deck.evaluate(STATE)[1] == pytest.approx(seconds, abs=0.02)
    deck.locator(".play").focus()
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert deck.evaluate(STATE)[1] == pytest.approx(seconds - 1.1, abs=0.02)
    deck.locator(".from").focus()
    page.keyboard.press("Enter")
    assert deck.evaluate("deck => deck.player.loop") == pytest.approx([seconds - 1.1, seconds], abs=0.02)


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
        found = re.match(
            r"([\d.]+) s, ([\d.]+) (k?Hz): original (−?\d+) dB, after pre-training (−?\d+) dB, "
            r"after fine-tuning (−?\d+) dB$",
            text,
        )
        assert found, text
        seconds, hz, unit, *levels = found.groups()
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
        for found, channel in zip(seen, np.array(near, int).T, strict=True):
            assert channel.min() - 3 <= found <= channel.max() + 3


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


def cells(page: Any, column: str) -> list[str]:
    """A column of the table, as it is shown."""
    headings = page.locator("#all thead th").all_inner_texts()
    k = next(i for i, heading in enumerate(headings) if column in heading)
    return list(page.locator("#all tbody tr").evaluate_all(f"rows => rows.map(row => row.cells[{k}].textContent)"))


def test_the_table_has_the_numbers_of_metrics_csv_sorted_by_any(page: Any, listened: Path) -> None:
    metrics = {(row["name"], row["phase"]): row for row in rows(listened / "metrics.csv")}
    names = {name for name, _ in metrics}
    for phase, title in (("pre_training", "after pre-training"), ("fine_tuning", "after fine-tuning")):
        page.locator("#phase").select_option(label=title)
        assert set(cells(page, "clip")) == names
        for name, text in zip(cells(page, "clip"), cells(page, "segmental SNR"), strict=True):
            assert float(text) == pytest.approx(float(metrics[name, phase]["segmental_snr_db"]), rel=0.01)
    button = page.locator("#all thead button", has_text="segmental SNR")
    button.click()
    values = [float(text) for text in cells(page, "segmental SNR")]
    assert values == sorted(values, reverse=True)  # higher is better: the best first
    assert page.locator("#all th[aria-sort=descending]").inner_text() == button.inner_text()
    button.click()
    assert [float(text) for text in cells(page, "segmental SNR")] == values[::-1]
    assert "pesq" in metrics[next(iter(metrics))]  # a column without a number is left out, and a sentence says why
    if not page.locator("#all thead th", has_text="PESQ").count():
        assert "PESQ is left out: " in page.locator("#clips").inner_text()


def test_the_table_is_filtered(page: Any) -> None:
    count = len(cells(page, "clip"))
    label = cells(page, "label")[0]
    page.locator("#by-label").select_option(label=label)
    assert set(cells(page, "label")) == {label}
    assert page.locator("#counted").inner_text().startswith(f"{len(cells(page, 'clip'))} of {count} test clips")
    page.locator("#by-label").select_option(label="all")
    name = cells(page, "clip")[1]
    page.locator("#find").fill(name.upper())
    assert name in cells(page, "clip")
    page.locator("#find").fill("no clip has this name")
    assert cells(page, "clip") == []


def test_every_version_plays_from_its_row_and_the_row_opens_the_view(page: Any) -> None:
    chosen = page.locator("#decks .deck").evaluate_all("decks => decks.map(deck => deck.ariaLabel)")
    other = next(name for name in cells(page, "clip") if name not in chosen)
    row = page.locator("#all tbody tr").filter(has=page.get_by_role("link", name=other, exact=True))
    for version, title in enumerate(("original", "after pre-training", "after fine-tuning")):
        button = row.locator(".plays button").nth(version)
        assert button.get_attribute("aria-label").startswith(f"Play {other}, {title}, ")
        button.click()
        page.wait_for_timeout(300)
        assert page.evaluate("[sounding.playing, sounding.version, sounding.sources.length]") == [True, version, 3]
    assert button.get_attribute("aria-label").startswith("Pause ")
    row.get_by_role("link").click()
    page.wait_for_timeout(200)
    deck = page.locator("#opened .deck")
    assert deck.get_attribute("aria-label") == other
    assert deck.locator(".wave path").count() == 3
    assert deck.locator(".play").evaluate("button => button === document.activeElement")
    assert page.evaluate("decodeURIComponent(location.hash)") == f"#clip={other}"


def test_an_address_opens_the_page_at_a_clip(browser: Any, listened: Path) -> None:
    names = {row["name"] for row in rows(listened / "metrics.csv")}
    for name in names:
        with opened(browser, f"{(listened / 'report.html').as_uri()}#clip={quote(name)}", 700, "light") as tab:
            tab.wait_for_timeout(100)
            deck = tab.locator(f'.deck[aria-label="{name}"]')
            assert deck.locator(".play").evaluate("button => button === document.activeElement")
            assert abs(deck.bounding_box()["y"]) < 900


def test_the_map_answers_hover_and_click_and_leads_to_clips(page: Any) -> None:
    point = page.locator("#plane g.test").first
    point.scroll_into_view_if_needed()
    point.hover(force=True)
    marked = page.locator("#plane g.on")
    assert marked.count() == 1
    shown = page.locator("#hovered").inner_text()
    assert shown.startswith(marked.get_attribute("data-name") + ": ")
    point.click(force=True)
    page.wait_for_timeout(400)
    assert page.evaluate("[sounding.playing, sounding.seconds > 1]") == [True, True]
    page.locator("#plane").focus()
    for _ in range(page.locator("#plane g").count()):
        if page.locator("#plane g.on.test").count():
            break
        page.keyboard.press("ArrowRight")
    name = page.locator("#plane g.on").get_attribute("data-name")
    assert "test clip" in page.locator("#hovered").inner_text()
    page.locator("#hovered a").click()
    page.wait_for_timeout(100)
    assert page.evaluate("document.activeElement.closest('.deck').ariaLabel") == name
    parts = page.locator("#plane g").evaluate_all("points => points.map(p => p.dataset.about.split(', ').at(-1))")
    assert set(parts) == {"training clip", "validation clip", "test clip"}


def test_points_tell_label_or_speaker_by_colour_and_by_shape(page: Any) -> None:
    def looks() -> list[list[str]]:
        read = (
            "points => points.map(p => [p.lastElementChild.getAttribute('fill'), p.lastElementChild.getAttribute('d')])"
        )
        return list(page.locator("#plane g").evaluate_all(read))

    by_label = looks()
    about = page.locator("#plane g").evaluate_all("points => points.map(p => p.dataset.about.split(', ').slice(0, 2))")
    page.locator(".by").get_by_text("by speaker").click()
    for kinds, found in zip(zip(*about, strict=True), (by_label, looks()), strict=True):
        for k in (0, 1):  # colour alone is enough, and so is shape
            assert len({(name, look[k]) for name, look in zip(kinds, found, strict=True)}) == len(set(kinds))
            assert len({look[k] for look in found}) == len(set(kinds)) > 1
    assert page.locator(".legend:visible").get_attribute("data-by") == "speaker"
    names = set(page.locator(".legend:visible li").all_inner_texts())
    assert names == {speaker.removeprefix("speaker ") for _, speaker in about}


def test_who_wants_no_motion_gets_four_steps_a_second(browser: Any, listened: Path) -> None:
    moves = """async (deck) => {
        await deck.player.play();
        let count = 0;
        new MutationObserver(() => count++).observe(deck.querySelector(".head"), { attributes: true });
        await new Promise((resolve) => setTimeout(resolve, 1000));
        return count;
    }"""
    with opened(browser, (listened / "report.html").as_uri(), 700, "light") as tab:
        tab.emulate_media(reduced_motion="reduce")
        assert tab.locator(".deck").first.evaluate(moves) <= 5


def test_ticks_do_not_wrap_nor_leave_the_window(page: Any) -> None:
    heights = page.locator(".ticks span").evaluate_all("ticks => ticks.map(tick => tick.getClientRects().length)")
    assert heights and set(heights) == {1}
    edges = page.locator(".ticks span").evaluate_all("ticks => ticks.map(tick => tick.getBoundingClientRect())")
    width = page.evaluate("innerWidth")
    assert all(box["left"] >= 0 and box["right"] <= width and box["height"] < 24 for box in edges)


def test_one_distribution_is_shown_and_another_can_be_chosen(page: Any) -> None:
    assert page.locator(".distribution:visible").count() == 1
    page.locator("#measure").select_option(label="ESTOI")
    assert page.locator(".distribution:visible").count() == 1
    assert page.locator(".distribution:visible figcaption").inner_text().startswith("ESTOI")


def test_guessing_has_the_probabilities_of_a_binomial(wide: Any) -> None:
    for right, trials in ((12, 16), (0, 5), (5, 5), (9, 16), (60, 100), (1, 1)):
        expected = scipy.stats.binomtest(right, trials, alternative="greater").pvalue
        assert wide.evaluate("([right, trials]) => guessing(right, trials)", [right, trials]) == pytest.approx(expected)


def test_the_anchor_is_a_low_pass_as_bs_1534_asks(wide: Any) -> None:
    impulse = "() => [...lowPassed(Float32Array.from({ length: 801 }, (_, i) => i === 400), 16000)]"
    response = np.array(wide.evaluate(impulse))
    assert response.argmax() == 400  # no delay
    hz, level_db = np.arange(401) * 16_000 / 801, 20 * np.log10(abs(np.fft.rfft(response)))
    assert abs(level_db[hz <= 3500]).max() < 0.1
    assert level_db[hz >= 4000].max() < -25
    assert level_db[hz >= 4500].max() < -50


LEVELS = """async () => {
    const clip = data.clips[data.chosen[0]];
    const player = new BlindPlayer(clip, [0, 1, 2, -1], () => {});
    await player.load(new OfflineAudioContext(1, 1, 16000));
    return player.buffers.map((buffer, i) => {
        const sound = buffer.getChannelData(0).map((y) => y * player.levels[i]);
        return [Math.sqrt(sound.reduce((sum, y) => sum + y * y, 0) / sound.length), Math.max(...sound.map(Math.abs))];
    });
}"""


def test_blind_versions_have_one_level_and_none_clips(wide: Any) -> None:
    levels, peaks = np.array(wide.evaluate(LEVELS)).T
    assert levels == pytest.approx(levels[0], rel=1e-4)
    assert peaks.max() <= 1 + 1e-6
    louder = "() => matched([[0.5, -0.5], [0.1, -0.9], [0, 0]].map((sound) => Float32Array.from(sound)))"
    gains = wide.evaluate(louder)
    assert gains == pytest.approx([1, 0.5 / math.sqrt(0.41), 1])
    assert wide.evaluate("() => matched([[0.9, -0.9], [0, 1]].map((sound) => Float32Array.from(sound)))") == (
        pytest.approx([1 / (0.9 * math.sqrt(2)), 1])
    )


def saved(page: Any, name: str) -> list[dict[str, str]]:
    """The table that the page saves."""
    with page.expect_download() as waiting:
        page.locator("#blind a", has_text=name).click()
    assert waiting.value.suggested_filename == name
    return rows(Path(waiting.value.path()))


def test_an_abx_test_by_keys_alone(page: Any) -> None:
    page.locator("#blind [name=count]").fill("5")
    page.locator("#blind [name=kind]").focus()
    page.locator("#blind [type=submit]").press("Enter")
    card = page.locator("#blind .card")
    drawn = page.evaluate("session.trials.map(([clip, order]) => [clip.name, order])")
    for k, (name, (a, _, x)) in enumerate(drawn):
        assert card.locator("h3").inner_text() == f"Trial {k + 1} of 5: {name}"
        assert card.get_by_text("X is A").is_disabled()  # before X has been heard
        page.keyboard.press("a")
        page.keyboard.press("x")
        assert card.locator("[aria-pressed=true]").all_inner_texts() == ["Play X"]
        right = "AB"[x != a]
        wrong = "AB"[x == a]
        card.get_by_text(f"X is {wrong if k == 4 else right}").press("Enter")
    assert card.inner_text().startswith("Result\n\n4 of 5 right, p = 0.19 (binomial, one-sided): guessing")
    assert not page.evaluate("sounding.playing")
    table = saved(page, "ABX.csv")
    assert [(row["clip"], row["right"]) for row in table] == [(n, str(int(k < 4))) for k, (n, _) in enumerate(drawn)]
    titles = ["original", "after pre-training", "after fine-tuning"]
    assert [row["X"] for row in table] == [titles[order[2]] for _, order in drawn]
    assert {(row["A"], row["B"]) for row in table} == {("original", "after pre-training")}
    assert page.evaluate(RATIOS) == []
    assert page.evaluate(SMALL) == []


def test_a_rating_with_a_hidden_reference_and_an_anchor(wide: Any) -> None:
    wide.locator("#blind [name=kind]").select_option("rating")
    wide.locator("#blind [name=clip]").select_option(index=2)
    assert not wide.locator("#blind [name=count]").is_visible()
    wide.locator("#blind [type=submit]").click()
    card = wide.locator("#blind .card")
    order = wide.evaluate("session.trials[0][1]")
    assert (order[0], sorted(order[1:])) == (0, [-1, 0, 1, 2])
    assert card.get_by_text("Next").is_disabled()
    for key in "01234":
        wide.keyboard.press(key)
    given = {0: 85, 1: 60, 2: 40, -1: 20}
    for k, version in enumerate(order[1:]):
        card.locator("input").nth(k).fill(str(given[version]))
    card.get_by_text("Next").click()
    assert "less than 90 in 1 of 1 trials" in card.inner_text()
    ratings = {row["version"]: (row["position"], row["rating"]) for row in saved(wide, "rating.csv")}
    titles = {0: "original", 1: "after pre-training", 2: "after fine-tuning", -1: "low-pass anchor"}
    assert ratings == {titles[v]: (str(k + 1), str(given[v])) for k, v in enumerate(order[1:])}


def test_what_is_drawn_is_drawn_evenly(wide: Any) -> None:
    orders = wide.evaluate("Array.from({ length: 600 }, () => shuffled([0, 1, 2]).join(''))")
    counts = {order: orders.count(order) for order in set(orders)}
    assert len(counts) == 6 and min(counts.values()) > 50  # 100 each: below 51 once in ten million
    xs = wide.evaluate("abx.trials([0], 400).map(([, order]) => order[2])")
    assert 130 < xs.count(0) < 270  # 200 expected, 7 standard deviations
