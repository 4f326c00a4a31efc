"""The site of the documentation: built without a warning, whole without a network, searched as a file."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag

import numpy as np
import pytest
from PIL import Image

from tests import browser

pytestmark = pytest.mark.commands

ROOT = Path(__file__).parents[1]
RESOURCES = {
    ("script", "src"),
    ("img", "src"),
    ("source", "src"),
    ("iframe", "src"),
    ("link", "href"),
    ("object", "data"),
}


def build(source: Path, output: Path) -> subprocess.CompletedProcess[str]:
    """The command of docs/dependencies.md, on other folders."""
    options = ("-m", "sphinx", "-EW", "--keep-going", "-q", "-c", "docs")
    return subprocess.run([sys.executable, *options, source, output], cwd=ROOT, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("site")
    done = build(ROOT, output)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return output


class Page(HTMLParser):
    """What a page is made of: names to jump to, links, and what it loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.links: list[str] = []
        self.resources: list[str] = []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name == "id" and value:
                self.names.add(value)
            elif (tag, name) == ("a", "href"):
                self.links.append(value or "")
            elif (tag, name) in RESOURCES:
                self.resources.append(value or "")
            elif name == "style":
                self.resources += re.findall(r"url\(['\"]?([^'\")]+)", value or "")


def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html")}


def is_elsewhere(address: str) -> bool:
    return address.startswith(("http:", "https:", "//", "mailto:"))


def test_every_page_of_the_repository_is_on_the_site(site: Path) -> None:
    written = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")]
    written += [path for path in (ROOT / "docs").rglob("*") if path.suffix in (".md", ".ipynb")]
    templates = {"docs/performance/page.md"}
    names = {path.relative_to(ROOT).as_posix() for path in written}
    expected = {name for name in names - templates if "/gradients/source/" not in name}
    assert len(expected) > 10
    assert [name for name in expected if not (site / name).with_suffix(".html").is_file()] == []
    assert 'url=README.html"' in (site / "index.html").read_text()


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    loaded = {(path, address) for path, page in pages(site).items() for address in page.resources}
    for path in site.rglob("*.css"):
        text = path.read_text("utf-8")
        loaded |= {(path, address) for address in re.findall(r"url\(['\"]?([^'\")]+)", text)}
        loaded |= {(path, address) for address in re.findall(r"@import\s+['\"]([^'\"]+)", text)}
    assert len(loaded) > 100
    assert [(path.name, address) for path, address in loaded if is_elsewhere(address)] == []
    absent = [
        (path.name, address)
        for path, address in loaded
        if not address.startswith(("data:", "#"))
        and not (path.parent / unquote(address.split("?")[0].split("#")[0])).exists()
    ]
    assert absent == []


def test_every_link_within_leads_somewhere(site: Path) -> None:
    parsed, wrong, seen = pages(site), [], 0
    for path, page in parsed.items():
        for link in page.links:
            if is_elsewhere(link):
                continue
            address, name = urldefrag(link)
            to = (path.parent / unquote(address)).resolve() if address else path
            seen += 1
            if not to.exists() or (name and to in parsed and unquote(name) not in parsed[to].names):
                wrong.append((path.relative_to(site).as_posix(), link))
    assert seen > 500
    assert wrong == []


def test_every_name_of_the_public_api_has_a_place(site: Path) -> None:
    import nn1d

    names = Page(site / "docs" / "api" / "nn1d.html").names
    assert [name for name in nn1d.__all__ if name != "initial" and f"nn1d.{name}" not in names] == []


def test_options_keep_their_dashes(site: Path) -> None:
    text = "".join(path.read_text("utf-8") for path in (site / "docs").glob("*.html"))
    assert "an epoch of python train.py --db emodb" in text
    assert "\N{EN DASH}db" not in text


def test_docstrings_keep_their_equations(site: Path) -> None:
    """As formulas where each sign has a command of LaTeX, else as they are written."""
    page = (site / "docs" / "api" / "nn1d.html").read_text("utf-8")
    assert r"= b[o] + \sum_{k,c} x[n, s \cdot l + d \cdot k - p, c]  \cdot  w[k, c, o]" in page  # beside its MathML
    assert page.count('<math display="block">') > 15
    assert (
        'class="sig-param"><span class="n"><span class="pre">in_channels</span></span><span class="p">' in page
    )  # types
    text = re.sub(r"<[^>]+>", "", page)
    for line in (
        "v = β2·v + (1 - β2)·g²                  running mean of the square",
        "gradient of ½λ|p|²",
    ):
        assert line in text


def test_a_fault_of_a_page_fails_the_build(tmp_path: Path) -> None:
    faults = {  # what the warning says -> a page
        r"page0.md.*WARNING.*nowhere.md": "[a page](nowhere.md)",
        r"page1.md.*WARNING.*nowhere": "[a section](#nowhere)",
        r"page2.md.*WARNING.*nowhere.svg": "![a picture](nowhere.svg)",
        r"page3.md.*WARNING.*\\nowhere": r"$\nowhere$",
        r"page4.md.*WARNING.*frac": "$$\\frac{1}$$",
        r"WARNING.*autodoc.*nowhere": "```{eval-rst}\n.. autofunction:: nn1d.nowhere\n```",
    }
    (tmp_path / "README.md").write_text("# Title\n")
    (tmp_path / "docs").mkdir()
    for i, page in enumerate(faults.values()):
        (tmp_path / "docs" / f"page{i}.md").write_text(f"# Title\n\n{page}\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    assert [warning for warning in faults if not re.search(warning, done.stderr)] == [], done.stderr


def test_pages_become_what_they_are(tmp_path: Path) -> None:
    """Equations of every form, and a notebook."""
    lines = ["# Title", "a $x_i < y$ b", "$$\ny = \\sum_{k} w_k\n$$", "```math\na &= b \\\\ &= c\n```"]
    (tmp_path / "README.md").write_text("\n\n".join(lines) + "\n")
    (tmp_path / "docs" / "notebooks").mkdir(parents=True)
    code = '"x = 20\\n", "print(x + 3)"'
    cells = (
        f'[{{"cell_type": "markdown", "source": ["# Lesson\\n", "$z$"]}}, {{"cell_type": "code", "source": [{code}]}}]'
    )
    (tmp_path / "docs" / "notebooks" / "lesson.ipynb").write_text(f'{{"cells": {cells}}}')
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "site" / "README.html").read_text("utf-8")
    assert re.findall(r"<math[^>]*>", text) == ["<math>", '<math display="block">', '<math display="block">']
    assert "<mo>&lt;</mo>" in text
    assert "<mtr>" in text
    assert 'href="docs/notebooks/lesson.html"' in text
    lesson = (tmp_path / "site" / "docs" / "notebooks" / "lesson.html").read_text("utf-8")
    assert "<math>" in lesson
    assert 'class="highlight-python' in lesson
    assert re.search(r"highlight-text.*<pre><span></span>23\n", lesson, re.DOTALL), "what a cell prints"


def test_pages_stand_in_the_order_of_their_readme(tmp_path: Path) -> None:
    folder = tmp_path / "docs" / "gradients"
    folder.mkdir(parents=True)
    (tmp_path / "README.md").write_text("# Title\n")
    (folder / "README.md").write_text("# Lessons\n\n[one](zebra.md) and [two](ant.md#more), then [one](zebra.md)\n")
    for name in ("ant", "bee", "zebra"):
        (folder / f"{name}.md").write_text(f"# The {name}\n\n## More\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode == 0, done.stderr
    links = Page(tmp_path / "site" / "README.html").links
    assert [link for link in dict.fromkeys(links) if link.startswith("docs/")] == [
        f"docs/gradients/{name}.html" for name in ("README", "zebra", "ant", "bee")
    ]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser.chromium() as program:
        yield program


PHONE = """() => {
    const wide = (element) => element.scrollWidth > element.clientWidth + 1;
    const scrolls = (element) => element && ["auto", "scroll"].includes(getComputedStyle(element).overflowX);
    const faults = [];
    for (const image of document.images) {
        if (!image.closest("article")) continue;
        const shown = image.getBoundingClientRect().width / image.naturalWidth;
        const least = LEAST[image.src.split("/").pop()];  // size of its smallest letter as drawn
        if (least && least * shown < 9) faults.push(`${image.src}: letters of ${least * shown} px`);
    }
    for (const table of document.querySelectorAll("article table:not(.lab-grid)"))
        if (table.offsetWidth > table.parentElement.clientWidth + 1 && !scrolls(table.parentElement))
            faults.push(`a table is cut: ${table.innerText.slice(0, 40)}`);
    for (const cell of document.querySelectorAll("article td.text-right"))
        if (cell.getClientRects().length && cell.firstChild?.nodeType === 3) {
            const range = document.createRange();
            range.selectNodeContents(cell.firstChild);
            if (range.getClientRects().length > 1) faults.push(`broken inside: ${cell.innerText}`);
        }
    const heightOf = (text, start, end) => {
        const range = document.createRange();
        range.setStart(text, start);
        range.setEnd(text, end);
        return range.getBoundingClientRect();
    };
    for (const math of document.querySelectorAll("article math")) {
        const after = math.nextSibling;
        if (after?.nodeType === 3 && /^[.,;:)]/.test(after.data) &&
            heightOf(after, 0, 1).top > math.getBoundingClientRect().bottom - 3)
            faults.push(`begins a line: ${after.data.slice(0, 20)} after ${math.textContent}`);
    }
    const texts = document.createTreeWalker(document.querySelector("article") ?? document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode())
        for (const { 0: number, index } of texts.currentNode.data.matchAll(/\\d[\\d.]*e[-−]\\d+/g))
            if (!texts.currentNode.parentElement.closest("pre, code, math, td.text-right") &&
                heightOf(texts.currentNode, index, index + number.length).height > 30)
                faults.push(`broken inside: ${number}`);
    for (const block of document.querySelectorAll("article pre, article div.equation"))
        if (wide(block) && !scrolls(block)) faults.push(`cut: ${block.innerText.slice(0, 40)}`);
    return faults;
}"""


def smallest_letters() -> dict[str, float]:
    """The smallest font size of each drawing of ours; those of matplotlib have paths for letters."""
    smallest = {}
    for path in (ROOT / "docs").rglob("figures/*.svg"):
        sizes = [float(size) for size in re.findall(r"font-size=['\"]([\d.]+)", path.read_text("utf-8"))]
        if sizes:
            smallest[path.name] = min(sizes)
    return smallest


def test_pages_fit_and_show_in_a_browser(site: Path, chromium: Any) -> None:
    """Nothing wider than the window, every picture there, ink that stands out from the ground.

    On a phone letters in pictures have at least 9 px, tables all columns, and what is wide scrolls and is not cut.
    """
    phone = PHONE.replace("LEAST", json.dumps(smallest_letters()))
    paths = [*site.glob("[!i]*.html"), *site.glob("docs/**/*.html"), *site.glob("exercises/*.html")]  # no index.html
    with browser.opened(chromium, "about:blank", 400, "light") as tab:
        for path in paths:
            tab.set_viewport_size({"width": 400, "height": 900})
            tab.emulate_media(color_scheme="light")
            tab.goto(path.as_uri())
            assert tab.evaluate(phone) == [], path
            assert tab.evaluate("[...document.images].every(image => image.complete && image.naturalWidth)"), path
            check_fit_and_ink(tab, 1)
            tab.set_viewport_size({"width": 1400, "height": 900})
            tab.emulate_media(color_scheme="dark")
            check_fit_and_ink(tab, -1)


def check_fit_and_ink(tab: Any, sign: int) -> None:
    """The sign is that of ground - ink."""
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), tab.url
    style = tab.evaluate("(({color, backgroundColor}) => [color, backgroundColor])(getComputedStyle(document.body))")
    ink, ground = (sum(map(float, re.findall(r"[\d.]+", colour)[:3])) for colour in style)
    assert (ground - ink) * sign > 400, (tab.url, style)


def test_pictures_are_dark_where_the_page_is(site: Path, chromium: Any) -> None:
    """By the system's scheme, and by the button of the page, which goes another way."""
    page = (site / "docs" / "gradients" / "mse.html").as_uri()

    def brightness(tab: Any) -> float:
        shot = tab.locator("article img").first.screenshot()
        with Image.open(io.BytesIO(shot)) as image:
            return float(np.median(np.asarray(image.convert("L"))))

    with browser.opened(chromium, page, 1400, "dark") as tab:
        assert brightness(tab) < 80
    with browser.opened(chromium, page, 1400, "light") as tab:
        assert brightness(tab) > 200
        tab.evaluate("document.body.dataset.theme = 'dark'")
        assert brightness(tab) < 80


def test_no_picture_is_a_light_sheet_on_a_dark_page() -> None:
    """Each has colours for both, or no ground of its own and ink that stands out from either."""
    for path in (ROOT / "docs").rglob("figures/*.svg"):
        text = path.read_text("utf-8")
        assert "prefers-color-scheme:dark" in text or "#ffffff" not in text, path


def test_code_is_copied_and_output_is_not(site: Path, chromium: Any) -> None:
    with browser.opened(chromium, (site / "docs" / "gradients" / "mse.html").as_uri(), 1400, "light") as tab:
        tab.wait_for_selector("button.copybtn", state="attached")
        assert tab.locator("div.highlight-python button.copybtn").count() > 5
        assert tab.locator("div.highlight-text button.copybtn").count() == 0


def test_the_notebook_has_its_outputs(site: Path) -> None:
    text = (site / "docs" / "notebooks" / "a-gradient-by-hand.html").read_text("utf-8")
    assert "nn1d computes the same numbers" in re.sub(r"<[^>]+>", "", text.split("highlight-text")[-2] + text)
    assert text.count("highlight-text") > 8


def test_slides_are_led_by_the_keyboard(site: Path, chromium: Any) -> None:
    """Ten lessons made of the pages that they read; one slide at a time, with formulas and grids."""
    slides = sorted((site / "slides").glob("lesson-*.html"))
    assert len(slides) == 10
    links = Page(site / "docs" / "course.html").links
    assert [path.name for path in slides if f"../slides/{path.name}" not in links] == []
    with browser.opened(chromium, (site / "slides" / "lesson-2.html").as_uri(), 1400, "dark") as tab:
        shown = "[...document.querySelectorAll('body > section')].findIndex(slide => !slide.hidden)"
        assert tab.evaluate(shown) == 0
        for key, expected in (("ArrowRight", 1), (" ", 2), ("ArrowLeft", 1), ("Home", 0)):
            tab.keyboard.press(key)
            assert tab.evaluate(shown) == expected, key
        tab.keyboard.press("End")
        assert tab.evaluate(shown) == tab.evaluate("document.querySelectorAll('body > section').length") - 1 > 8
        assert tab.locator("math").count() > 5
        assert tab.locator(".lab table").count() > 5
        assert tab.evaluate("[...document.images].every(image => image.complete && image.naturalWidth)")
        tab.keyboard.press("n")
        assert tab.evaluate("document.body.classList.contains('notes')")


def test_no_slide_is_wider_than_a_phone(site: Path, chromium: Any) -> None:
    with browser.opened(chromium, "about:blank", 375, "light") as tab:
        for path in sorted((site / "slides").glob("lesson-*.html")):
            tab.goto(path.as_uri())
            for place in range(tab.evaluate("document.querySelectorAll('body > section').length")):
                assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), (path.name, place + 1)
                tab.keyboard.press("ArrowRight")


def test_words_of_the_field_are_found(site: Path, chromium: Any) -> None:
    with browser.opened(chromium, f"{(site / 'search.html').as_uri()}?q=receptive+field", 1400, "light") as tab:
        tab.wait_for_selector("#search-results li a")
        addresses = tab.evaluate("[...document.querySelectorAll('#search-results li a')].slice(0, 3).map(a => a.href)")
        assert any("glossary.html" in address for address in addresses), addresses


def test_the_search_works_in_a_file(site: Path, chromium: Any) -> None:
    with browser.opened(chromium, f"{(site / 'search.html').as_uri()}?q=laryngograms", 1400, "light") as tab:
        tab.wait_for_selector("#search-results li a")
        assert tab.get_attribute("#search-results li a", "href").startswith("docs/corpora.html")
        tab.click("#search-results li a")
        assert tab.title().startswith("Corpora")


def test_the_index_leads_to_the_first_page(site: Path, chromium: Any) -> None:
    with browser.opened(chromium, (site / "index.html").as_uri(), 1400, "light") as tab:
        tab.wait_for_url("**/README.html")
        assert tab.title().startswith("nn1d")


def test_equations_are_drawn_with_the_font_that_comes_along(site: Path, chromium: Any) -> None:
    page = site / "docs" / "gradients" / "one-form.html"
    with browser.opened(chromium, page.as_uri(), 400, "light") as tab:
        tab.evaluate("document.fonts.ready")
        assert tab.evaluate(
            "[...document.fonts].filter(font => font.status === 'loaded').map(font => font.family)"
        ) == ["STIX Two Math"]
        assert tab.evaluate("document.querySelector('math[display=block] mo').getBoundingClientRect().height") > 15
