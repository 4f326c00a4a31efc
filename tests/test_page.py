"""The listening page in a real browser, opened as a file."""

from __future__ import annotations

import base64
import json
import re
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from report.figure import data_uri
from report.sound import Encode, lossless, small
from tests.browser import FOCUSED, RATIOS, SMALL, STATE, opened, wait_for
from tests.command import rows

pytestmark = pytest.mark.commands


def test_nothing_is_wider_than_the_window_and_every_picture_loads(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    broken = """() => Promise.all([...document.images].map(image => { image.loading = "eager"; return image.decode() }))
        .then(() => [...document.images].filter(image => image.naturalWidth === 0).length)"""
    assert page.evaluate(broken) == 0
    assert page.evaluate("document.images.length") > 10


def test_every_word_stands_out_from_its_ground_and_every_target_is_large_enough(page: Any) -> None:
    page.locator(".deck details summary").first.click()
    assert page.evaluate(RATIOS) == []
    assert page.evaluate(SMALL) == []


def test_players_play_and_switching_keeps_the_position(page: Any) -> None:
    deck = page.locator(".deck").nth(1)
    deck.locator(".play").click()
    wait_for(page, "sounding?.position() > 0.05")
    page.evaluate("speakers.suspend()")  # its clock stands still
    playing, before, version, sources = deck.evaluate(STATE)
    assert (playing, version, sources) == (True, 0, 3)
    deck.get_by_text("after pre-training", exact=True).first.click()
    assert deck.evaluate(STATE) == [True, before, 1, 3]
    assert deck.locator(".w1").evaluate("path => getComputedStyle(path).display") == "inline"
    assert deck.locator(".w2").evaluate("path => getComputedStyle(path).display") == "none"
    deck.locator(".play").click()
    playing, paused, _, sources = deck.evaluate(STATE)
    assert (playing, paused, sources) == (False, before, 0)
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
    const fadeStart = Math.round(0.512 * 16000);
    let outside = 0; // of what a mixture of the two can be
    for (let i = fadeStart; i < fadeStart + 800; i++) {
        const [low, high] = [before[i], after[i]].sort((a, b) => a - b);
        outside = Math.max(outside, low - heard[i], heard[i] - high);
    }
    return [player.buffers[0].length, off(0, fadeStart, before), outside, off(fadeStart + 800, heard.length, after),
        off(fadeStart + 800, heard.length, before)];
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
    const looked = [0.128, 0.512].map((moment) =>
        context.suspend(moment).then(() => { positions.push(player.position()); context.resume(); }));
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
    wait_for(page, "document.querySelectorAll('.deck')[1].player.sources.length")
    players = page.locator(".deck").evaluate_all("decks => decks.map(deck => deck.player.playing)")
    assert players == [False, True, *[False] * (len(players) - 2)]
    page.locator("#plane").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    wait_for(page, "![...document.querySelectorAll('.deck')].some(deck => deck.player.playing)")
    wait_for(page, "sounding.sources.length")


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
    pauses = deck.locator(".pauses").first.inner_text()
    assert re.fullmatch(r"Noise in pauses, after pre-training: −?\d+\.\d dB against speech\.", pauses)
    segment = deck.locator(".worst button").first
    segment.click()
    assert deck.get_attribute("data-version") == segment.get_attribute("data-version") == "1"
    start = float(segment.get_attribute("data-at"))
    assert deck.evaluate("deck => deck.player.offset") == start
    label = segment.get_attribute("aria-label")
    assert label.startswith(segment.inner_text()) and label.endswith("after pre-training")


def test_the_keyboard_alone_is_enough(page: Any) -> None:
    deck = page.locator(".deck").first
    deck.locator(".play").focus()
    page.keyboard.press("Space")
    wait_for(page, "sounding?.sources.length")
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
        wait_for(
            page,
            "version => sounding?.version === version && sounding.playing && sounding.sources.length === 3",
            arg=version,
        )
    assert button.get_attribute("aria-label").startswith("Pause ")
    page.keyboard.press("1")
    page.keyboard.press("Space")  # pauses what is heard now, not the button that was clicked
    assert page.evaluate("[sounding.version, sounding.playing]") == [0, False]
    row.get_by_role("link").click()
    deck = page.locator("#opened .deck")
    deck.wait_for()
    assert deck.get_attribute("aria-label") == other
    assert deck.locator(".wave path").count() == 3
    assert deck.locator(".play").evaluate("button => button === document.activeElement")
    assert page.evaluate("decodeURIComponent(location.hash)") == f"#clip={other}"


def test_an_address_opens_the_page_at_a_clip(browser: Any, listened: Path) -> None:
    names = {row["name"] for row in rows(listened / "metrics.csv")}
    for name in names:
        with opened(browser, f"{(listened / 'report.html').as_uri()}#clip={quote(name)}", 700, "light") as tab:
            deck = tab.locator(f'.deck[aria-label="{name}"]')
            wait_for(tab, FOCUSED, arg=name)
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
    wait_for(page, "sounding?.sources.length && sounding.seconds > 1")
    page.locator("#plane").focus()
    for _ in range(page.locator("#plane g").count()):
        if page.locator("#plane g.on.test").count():
            break
        page.keyboard.press("ArrowRight")
    name = page.locator("#plane g.on").get_attribute("data-name")
    assert "test clip" in page.locator("#hovered").inner_text()
    page.locator("#hovered a").click()
    wait_for(page, FOCUSED, arg=name)
    parts = page.locator("#plane g").evaluate_all("points => points.map(p => p.dataset.about.split(', ').at(-1))")
    assert set(parts) == {"training clip", "validation clip", "test clip"}


def test_the_first_arrow_key_goes_to_the_first_point_or_to_the_last(page: Any) -> None:
    for key, index in (("ArrowLeft", -1), ("ArrowRight", 0), ("ArrowLeft", -1)):
        page.locator("#plane").press(key)
        assert page.evaluate("index => points.at(index).classList.contains('on')", index)


def test_points_tell_label_or_speaker_by_colour_and_by_shape(page: Any) -> None:
    def looks() -> list[list[str]]:
        read = (
            "points => points.map(p => [p.lastElementChild.getAttribute('fill'), p.lastElementChild.getAttribute('d')])"
        )
        return list(page.locator("#plane g").evaluate_all(read))

    by_label = looks()
    about = page.locator("#plane g").evaluate_all("points => points.map(p => p.dataset.about.split(', ').slice(0, 2))")
    page.locator(".by").get_by_text("by speaker").click()
    for kinds, drawn in zip(zip(*about, strict=True), (by_label, looks()), strict=True):
        for k in (0, 1):  # colour alone is enough, and so is shape
            assert len({(name, look[k]) for name, look in zip(kinds, drawn, strict=True)}) == len(set(kinds))
            assert len({look[k] for look in drawn}) == len(set(kinds)) > 1
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


TORN = """command => {
    const texts = document.createTreeWalker(command, NodeFilter.SHOW_TEXT);
    const torn = [];
    while (texts.nextNode()) {
        for (const { 0: option, index } of texts.currentNode.data.matchAll(/--[a-z-]+/g)) {
            const range = document.createRange();
            range.setStart(texts.currentNode, index);
            range.setEnd(texts.currentNode, index + option.length);
            if (new Set([...range.getClientRects()].map((box) => box.top)).size > 1) torn.push(option);
        }
    }
    return torn;
}"""


def test_no_option_of_the_command_is_torn_between_two_lines(page: Any, listened: Path) -> None:
    command = page.locator(".command").first
    arguments = json.loads((listened / "config.json").read_text("utf-8"))["command"]
    assert command.inner_text() == shlex.join(["python", *arguments])
    for width in range(300, 420, 8):
        command.evaluate("(command, width) => (command.style.width = `${width}px`)", width)
        assert command.evaluate(TORN) == []


def test_one_distribution_is_shown_and_another_can_be_chosen(page: Any) -> None:
    assert page.locator(".distribution:visible").count() == 1
    page.locator("#measure").select_option(label="ESTOI")
    assert page.locator(".distribution:visible").count() == 1
    assert page.locator(".distribution:visible figcaption").inner_text().startswith("ESTOI")


def test_the_run_has_its_own_network_in_one_picture(page: Any) -> None:
    assert page.locator("nav a[href='#stages']").is_visible()
    picture = page.locator("#stages img")
    svg = base64.b64decode(picture.get_attribute("src").split(",")[1]).decode()
    for text in ("representation z  16000 × 4", "conv 1 → 4", "ELU, conv 4 → 4", "mask", "Phase 2"):
        assert f">{text}" in svg, text
    assert 13 * picture.bounding_box()["width"] / 440 >= 9  # pixels of a letter
    assert page.locator("#stages p").first.inner_text().startswith("453 parameters; filters of 3 samples. ")
