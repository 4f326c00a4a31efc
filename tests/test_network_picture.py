"""The drawing of the network is that of the network."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np

from docs.network import DRAWING, draw
from models.autoencoder import Autoencoder


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text")]


def test_the_file_is_up_to_date() -> None:
    drawn = draw(Autoencoder(rng=np.random.default_rng(0)))
    assert DRAWING.read_text("utf-8") == drawn, "run python -m docs.network"
    words = texts(drawn)
    assert "representation z  2000 × 64" in words
    assert words.count("max pool 2") == words.count("ELU, unpool 2") == 5
    assert words.count("F") == 10  # residual blocks


def test_another_network_is_drawn_as_it_is() -> None:
    words = texts(draw(Autoencoder((3, 5), rng=np.random.default_rng(0), output="linear"), 32))
    for text in ("audio  32 × 1", "linear  32 × 1", "32 × 3", "16 × 5", "representation z  8 × 5", "16 × 3"):
        assert text in words, text
    assert [text for text in words if "→" in text] == ["conv 1 → 3", "convᵀ 3 → 1", "ELU, conv 3 → 5", "convᵀ 5 → 3"]


def test_it_can_be_read_on_a_phone_and_in_the_dark() -> None:
    root = ElementTree.parse(DRAWING).getroot()
    width = float(root.attrib["width"])
    sizes = [float(element.attrib["font-size"]) for element in root.iter() if element.tag.endswith("text")]
    assert min(sizes) * 350 / width >= 9
    assert "prefers-color-scheme:dark" in DRAWING.read_text("utf-8")
