"""Labels may hold any character; a figure is well-formed XML all the same."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from report.figure import draw_map, svg_text, write_figure


@pytest.mark.parametrize("label", ["a\0b", "a\x01b", "a\x1bb", "a\x0bb", "a\ufffeb", "<&>", "a\u202eb", "🎤"])
def test_a_figure_with_any_label_is_well_formed(tmp_path: Path, label: str) -> None:
    drawing = draw_map(np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([0.5, 0.5]), [label, "other"], label)
    svg = write_figure(tmp_path.joinpath, "map", drawing, ("svg",))
    texts = [element.text for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert any(text and text[-1] == label[-1] and text[0] == label[0] for text in texts)
    assert (tmp_path / "map.svg").read_text("utf-8") == svg
    ElementTree.fromstring(svg_text(drawing))  # of runs side by side, whose names are those of folders
