"""Slides of each lesson of docs/course.md, made of the pages that the lesson reads, while the site is built.

A slide is a section of a page: its first sentences, equations, pictures, tables, short code and the grids. Full
paragraphs are the notes below it, which the key n shows. The keys are arrows, space, Home, End, n.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from docutils import nodes
from sphinx.application import Sphinx

COURSE = "docs/course"
LINES = 14  # of code on a slide
STYLES, SCRIPTS = ("pygments.css", "grid.css", "slides.css"), ("grid.js", "slides.js")
SKIPPED = {"Exercises", "What is kept, and what it costs", "Nothing here is written off"}


class Lesson(NamedTuple):
    """One section of the course, and the pages that it links to after "Read:"."""

    number: int
    title: str
    pages: list[str]


def lessons(source: Path) -> list[Lesson]:
    """The lessons in the source of the course."""
    text = (source / f"{COURSE}.md").read_text("utf-8")
    lessons = []
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        title = section.splitlines()[0]
        read = re.search(r"^\* Read:.*?(?=^\* |\Z)", section, re.MULTILINE | re.DOTALL)
        links = re.findall(r"\]\((gradients/[\w-]+)\.md", read[0] if read else "")
        if match := re.match(r"Lesson (\d+)", title):
            lessons.append(Lesson(int(match[1]), title, [f"docs/{link}" for link in links]))
    return lessons


def slides(app: Sphinx, page: str) -> Iterator[str]:
    """Each section of a page as the HTML of a slide."""
    document = app.env.get_and_resolve_doctree(page, app.builder)
    for section in document.findall(nodes.section):
        title = section[0].astext()
        if title in SKIPPED or is_below(section, SKIPPED):
            continue
        shown, notes = [], []
        for child in section.children[1:]:
            if isinstance(child, nodes.section):
                continue
            if isinstance(child, nodes.paragraph) and not list(child.findall(nodes.image)):
                shown.append(child if len(child.astext()) < 160 else first_sentence(child))
                notes.append(child)
            elif not (isinstance(child, nodes.literal_block) and child.astext().count("\n") >= LINES):
                shown.append(child)
        if shown:
            body = "".join(rendered(app, page, node) for node in shown)
            more = "".join(rendered(app, page, node) for node in notes)
            yield f"<section><h2>{escape(title)}</h2>{body}<aside>{more}</aside></section>"


def is_below(section: nodes.Node, titles: set[str]) -> bool:
    """Whether a section stands in one with such a title."""
    parent = section.parent
    while isinstance(parent, nodes.section):
        if parent[0].astext() in titles:
            return True
        parent = parent.parent
    return False


def first_sentence(paragraph: nodes.paragraph) -> nodes.paragraph:
    """The paragraph up to its first full stop, with its formulas and its code."""
    short = nodes.paragraph()
    for child in paragraph.children:
        stop = re.search(r"[.:?](?=\s|$)", child.astext()) if isinstance(child, nodes.Text) else None
        if stop is not None:
            short += nodes.Text(child.astext()[: stop.end()])
            break
        short += child.deepcopy()
    return short


def rendered(app: Sphinx, page: str, node: nodes.Node) -> str:
    """A node as HTML, its links and pictures as seen from the folder of slides."""
    builder: Any = app.builder
    builder.current_docname = page
    builder.imgpath, builder.dlpath = "../_images", "../_downloads"
    html = builder.render_partial(node)["fragment"]
    folder = Path(page).parent.as_posix()

    def moved(link: re.Match[str]) -> str:
        address = link[2]
        if re.match(r"[a-z]+:", address):
            return link[0]
        if address.startswith("#"):
            return f'{link[1]}="../{page}.html{address}"'
        return link[0] if address.startswith(("../_images", "../_downloads")) else f'{link[1]}="../{folder}/{address}"'

    return re.sub(r'\b(href|src)="([^"]*)"', moved, html)


def write(app: Sphinx) -> None:
    """One page of slides a lesson, beside the site."""
    source, out = Path(app.srcdir), Path(app.outdir) / "slides"
    out.mkdir(exist_ok=True)
    all_lessons = lessons(source)
    for lesson in all_lessons:
        first = f"<section class='first'><h1>{escape(lesson.title)}</h1><p>→, space, "
        first += f"or a tap at the right edge: on. n: notes. <a href='../{COURSE}.html'>The course</a></p></section>"
        body = "".join(slide for page in lesson.pages for slide in slides(app, page))
        styles = "".join(f"<link rel='stylesheet' href='../_static/{name}'>" for name in STYLES)
        scripts = "".join(f"<script src='../_static/{name}'></script>" for name in SCRIPTS)
        (out / f"lesson-{lesson.number}.html").write_text(
            "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
            "<meta name='viewport' content='width=device-width, initial-scale=1'>"
            f"<title>{escape(lesson.title)}</title>{styles}{scripts}</head>"
            f"<body>{first}{body}<p class='place' role='status'></p></body></html>\n",
            "utf-8",
        )


def links(source: Path) -> str:
    """The list of the slides, for the end of the course's page."""
    items = "".join(
        f"<li><a href='../slides/lesson-{one.number}.html'>{escape(one.title)}</a></li>" for one in lessons(source)
    )
    return f"\n\n## Slides\n\n<ul>{items}</ul>\n"
