"""docs/architecture.md tells the way of one clip as a run goes it."""

from __future__ import annotations

from docs.way import MARKS, PAGE, measure, section


def test_the_page_shows_the_way_of_one_clip() -> None:
    stacks = measure()
    assert len(stacks["gradient"]) < 16  # those of version 0.1, from the same function on
    text = PAGE.read_text("utf-8")
    shown = text[text.index(MARKS[0]) + len(MARKS[0]) : text.index(MARKS[1])].strip("\n")
    assert shown == section(stacks), "it has changed: python -m docs.way"
