"""The listening page in a real browser, opened as a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import chromium, opened


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as driven:
        yield driven


@pytest.fixture(params=[(400, "light"), (1400, "dark")], ids=["phone-light", "desktop-dark"])
def page(browser: Any, request: pytest.FixtureRequest, listened: Path) -> Iterator[Any]:
    with opened(browser, (listened / "report.html").as_uri(), *request.param) as tab:
        yield tab


def test_nothing_is_wider_than_the_window_and_every_picture_loads(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    broken = """() => Promise.all([...document.images].map(image => { image.loading = "eager"; return image.decode() }))
        .then(() => [...document.images].filter(image => image.naturalWidth === 0).length)"""
    assert page.evaluate(broken) == 0
    assert page.evaluate("document.images.length") > 30


def test_ink_stands_out_from_the_ground(page: Any) -> None:
    style = page.evaluate("(({color, backgroundColor}) => [color, backgroundColor])(getComputedStyle(document.body))")
    ink, ground = (sum(map(int, text[4:-1].split(", "))) for text in style)
    assert abs(ink - ground) > 500
    assert (ink > ground) == page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")


def test_players_play_and_switching_keeps_the_position(page: Any) -> None:
    deck = page.locator(".deck").nth(1)
    playing = "deck => [...deck.querySelectorAll('audio')].map(a => [a.paused, a.currentTime, a.duration])"
    seconds = float(deck.get_attribute("data-seconds"))
    deck.locator(".play").click()
    page.wait_for_timeout(600)
    states = deck.evaluate(playing)
    assert [paused for paused, _, _ in states] == [False, True, True]
    assert all(duration == pytest.approx(seconds, abs=0.01) for _, _, duration in states)
    before = states[0][1]
    assert 0.1 < before < 3
    deck.get_by_text("after pre-training", exact=True).first.click()
    states = deck.evaluate(playing)
    assert [paused for paused, _, _ in states] == [True, False, True]
    assert before <= states[1][1] < before + 1
    assert states[1][1] >= states[0][1]
    page.wait_for_timeout(300)
    assert deck.evaluate(playing)[1][1] > states[1][1]
    assert deck.locator(".w1").evaluate("path => getComputedStyle(path).display") == "inline"
    assert deck.locator(".w2").evaluate("path => getComputedStyle(path).display") == "none"
    deck.locator(".play").click()
    paused_at = deck.evaluate(playing)[1][1]
    deck.get_by_text("after fine-tuning", exact=True).first.click()
    states = deck.evaluate(playing)
    assert [paused for paused, _, _ in states] == [True, True, True]
    assert states[2][1] == pytest.approx(paused_at, abs=0.02)


def test_one_sound_at_a_time(page: Any) -> None:
    sounding = "[...document.querySelectorAll('audio')].filter(audio => !audio.paused).length"
    page.locator(".play").nth(0).click()
    page.locator(".play").nth(1).click()
    page.wait_for_timeout(200)
    assert page.evaluate(sounding) == 1
    page.locator("#plane circle").first.scroll_into_view_if_needed()
    page.locator("#plane").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_timeout(200)
    assert page.evaluate(sounding) == 1


def test_a_click_into_the_picture_and_a_worst_moment_move_the_position(page: Any) -> None:
    deck = page.locator(".deck").first
    seconds = float(deck.get_attribute("data-seconds"))
    wave = deck.locator(".wave")
    box = wave.bounding_box()
    wave.click(position={"x": box["width"] / 2, "y": 10})
    at = "deck => Math.max(...[...deck.querySelectorAll('audio')].map(audio => audio.currentTime))"
    assert deck.evaluate(at) == pytest.approx(seconds / 2, rel=0.02)
    moment = deck.locator(".moment").first
    moment.click()
    assert deck.get_attribute("data-version") == moment.get_attribute("data-version") == "1"
    start = float(moment.get_attribute("data-at"))
    assert start <= deck.locator("audio").nth(1).evaluate("audio => audio.currentTime") < start + 1


def test_the_keyboard_alone_is_enough(page: Any) -> None:
    deck = page.locator(".deck").first
    deck.locator(".play").focus()
    page.keyboard.press("Space")
    page.wait_for_timeout(200)
    assert deck.locator("audio").first.evaluate("audio => !audio.paused")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert deck.get_attribute("data-version") == "1"
    page.keyboard.press("Tab")
    page.keyboard.press("End")
    seconds = float(deck.get_attribute("data-seconds"))
    page.wait_for_timeout(100)
    assert deck.locator("audio").nth(1).evaluate("audio => audio.currentTime") == pytest.approx(seconds, abs=0.1)


def test_the_map_answers_hover_and_click(page: Any) -> None:
    point = page.locator("#plane circle").nth(10)
    point.scroll_into_view_if_needed()
    point.hover(force=True)
    shown = page.locator("#hovered").inner_text()
    marked = page.locator("#plane circle.on")
    assert marked.count() == 1
    assert shown.startswith(marked.get_attribute("data-name") + ": ")
    at = "circle => [circle.cx.baseVal.value, circle.cy.baseVal.value]"
    assert marked.evaluate(at) == pytest.approx(point.evaluate(at), abs=5)
    point.click(force=True)
    page.wait_for_timeout(400)
    heard = page.locator("#heard").evaluate("audio => [audio.duration, audio.currentTime]")
    assert heard[0] > 1
    assert heard[1] > 0


def test_the_map_is_coloured_by_label_or_by_speaker(page: Any) -> None:
    def colours() -> list[str]:
        return page.locator("#plane circle").evaluate_all("points => points.map(p => p.getAttribute('fill'))")

    by_label = colours()
    page.locator(".by").get_by_text("by speaker").click()
    assert colours() != by_label
    assert page.locator(".legend:visible").get_attribute("data-by") == "speaker"
    names = set(page.locator(".legend:visible li").all_inner_texts())
    about = page.locator("#plane circle").evaluate_all("points => points.map(p => p.dataset.about)")
    assert names == {text.split("speaker ")[1] for text in about}


def test_one_distribution_is_shown_and_another_can_be_chosen(page: Any) -> None:
    assert page.locator(".distribution:visible").count() == 1
    page.locator("#measure").select_option(label="ESTOI")
    assert page.locator(".distribution:visible").count() == 1
    assert page.locator(".distribution:visible figcaption").inner_text().startswith("ESTOI")
