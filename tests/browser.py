"""A real browser without a window."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip


# of a deck of the listening page
STATE = "deck => [deck.player.playing, deck.player.position(), deck.player.version, deck.player.sources.length]"
# whether the keyboard is at the play button of this clip's deck
FOCUSED = "name => document.activeElement.matches(`.deck[aria-label=${JSON.stringify(name)}] .play`)"
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


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser, as playwright drives it; CI may not go without."""
    program = next((path for path in map(shutil.which, NAMES) if path), None)
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("pages must be tested in a browser: install Debian's chromium")
        pytest.skip("needs a browser on the path: chromium or google-chrome")
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e '.[test]'")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=list(OPTIONS))
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, address: str, width: int, scheme: str) -> Iterator[Any]:
    """A page in a window of this width, light or dark, which must not complain and must not ask a network."""
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    faults: list[str] = []
    tab.on(
        "console",
        lambda message: faults.append(f"{tab.url}: {message.text}") if message.type in ("error", "warning") else None,
    )
    tab.on("pageerror", lambda error: faults.append(f"{tab.url}: {error}"))
    tab.on(
        "request", lambda sent: None if sent.url.startswith(("file:", "data:", "blob:")) else faults.append(sent.url)
    )
    try:
        tab.goto(address)
        yield tab
    finally:
        tab.close()
    assert faults == [], address


def wait_for(page: Any, expression: str, arg: Any = None) -> None:
    """Until an expression, or a function of arg, is true in a page.

    Not by playwright's wait_for_function: it looks a second time by eval, which the listening page forbids.
    """
    for _ in range(1500):
        if page.evaluate(expression, arg):
            return
        page.wait_for_timeout(20)
    raise AssertionError(f"after 30 s it is not so: {expression}")
