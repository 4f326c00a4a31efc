"""WCAG's contrast of the colours that the page's style and the figures name: 4.5 : 1 for text, 3 : 1 for points."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from report import figure

CSS = (Path(figure.__file__).parent / "page.css").read_text("utf-8")
Colour = tuple[float, ...]


def variables(scheme: str) -> dict[str, str]:
    light, dark = (dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", part)) for part in CSS.split(":root")[1:3])
    return light | dark if scheme == "dark" else light


def rgb(text: str) -> Colour:
    return tuple(int(text[i : i + 2], 16) / 255 for i in (1, 3, 5))


def luminance(colour: Colour) -> float:
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(above: str, ground: str, opacity: float = 1.0) -> float:
    mixed = tuple(opacity * a + (1 - opacity) * b for a, b in zip(rgb(above), rgb(ground), strict=True))
    low, high = sorted((luminance(mixed), luminance(rgb(ground))))
    return (high + 0.05) / (low + 0.05)


def test_the_ratio_itself() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)  # the example of WCAG
    assert contrast("#000000", "#ffffff", opacity=0) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_points_of_the_page(scheme: str) -> None:
    colours = variables(scheme)
    assert len(colours) == 10
    for ground in ("ground", "raised"):
        for name in ("ink", "soft", "focus", "c1", "c2"):
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
        for name in ("edge", "c0"):
            assert contrast(colours[name], colours[ground]) >= 3, (name, ground)
        for colour in figure.PALETTE:
            assert contrast(colour, colours[ground]) >= 3, (colour, ground)
    opacity = float(re.findall(r"\.w1, \.w2 \{[^}]*fill-opacity: ([\d.]+)", CSS)[0])
    for name in ("c1", "c2"):
        assert contrast(colours[name], colours["ground"], opacity) >= 3


@pytest.mark.parametrize("ground", [figure.PAPER, variables("light")["ground"], variables("dark")["ground"]])
def test_lines_and_points_of_figures_in_files_and_on_the_page(ground: str) -> None:
    for colour in (*figure.COLOURS.values(), *figure.PALETTE):
        assert contrast(colour, ground) >= 3, colour
    ink = figure.INK if luminance(rgb(ground)) > 0.5 else re.findall(r"color:(#\w{6})}}", figure.themed("<defs>"))[0]
    assert contrast(ink, ground) >= 4.5


def test_every_colour_has_a_shape_of_its_own() -> None:
    assert len(set(figure.PALETTE)) == len(figure.PALETTE)
    assert len({name for name, _ in figure.MARKERS}) == len({path for _, path in figure.MARKERS}) == len(figure.MARKERS)
    assert len(figure.MARKERS) % len(figure.PALETTE) != 0  # beyond them, pairs of the two go on being different
