"""Labels of figures: any character and any length, numbers on every axis, ink that can be read on the page."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from report.emotion import draw_confusion
from report.figure import draw_distribution, draw_loss, draw_map, svg_text, themed, write_figure


@pytest.mark.parametrize("label", ["a\0b", "a\x01b", "a\x1bb", "a\x0bb", "a\ufffeb", "<&>", "a\u202eb", "🎤"])
def test_a_figure_with_any_label_is_well_formed(tmp_path: Path, label: str) -> None:
    drawing = draw_map(np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([0.5, 0.5]), [label, "other"], label)
    svg = write_figure(tmp_path.joinpath, "map", drawing, ("svg",))
    texts = [element.text for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert any(text and text[-1] == label[-1] and text[0] == label[0] for text in texts)
    assert (tmp_path / "map.svg").read_text("utf-8") == svg
    ElementTree.fromstring(svg_text(drawing))  # of runs side by side, whose names are those of folders


def test_a_long_label_leaves_room_for_the_figure() -> None:
    drawing = draw_map(np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([0.5, 0.5]), ["n" * 300, "other"], "title")
    drawing.canvas.draw()
    assert drawing.axes[0].get_position().width > 0.4


@pytest.mark.parametrize(
    ("low", "high"), [(5.6e-3, 9e-3), (1e-4, 9e-4), (1e-4, 3e-3), (9e-6, 7e-3), (2e-3, 2.01e-3), (3e-5, 8.0)]
)
def test_the_axis_of_the_loss_has_numbers(low: float, high: float) -> None:
    axes = draw_loss([{"epoch": 1, "train_loss": high, "val_loss": low}], 1, "title", (low, high)).axes[0]
    bottom, top = axes.get_ylim()
    shown = [tick for tick in axes.get_yticks() if bottom <= tick <= top]
    assert 2 <= len(shown) <= 8


def test_numbers_below_a_distribution_stand_apart() -> None:
    rows = [{"phase": "pre_training", "label": "", "speaker": "", "mse": value} for value in (1e-5, 4.1e-4)]
    drawing = draw_distribution("mse", rows)
    drawing.canvas.draw()
    boxes = [label.get_window_extent() for label in drawing.axes[0].get_xticklabels() if label.get_text()]
    assert len(boxes) > 2
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


def test_white_numbers_stay_white_on_the_page() -> None:
    page = themed(svg_text(draw_confusion({"confusion": [[3, 0], [1, 2]], "classes": ["a", "b"]})))
    texts = re.findall(r"<text [^>]*fill: (\S+?)\"[^>]*>\d", page)
    assert texts.count("#ffffff") == 2
    assert "fill: #ffffff" not in re.sub(r"<text [^>]*>", "", page)  # no ground of its own
