"""The drawing of the network is that of the network."""

from __future__ import annotations

from xml.etree import ElementTree

from docs.network import CLIP_SAMPLES, DRAWING
from models.autoencoder import Autoencoder
from models.folded import FoldedAutoencoder
from report.network import draw


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text")]


def test_the_file_is_up_to_date() -> None:
    drawn = draw(Autoencoder(rng=0), CLIP_SAMPLES)
    assert DRAWING.read_text("utf-8") == drawn, "run python -m docs.network"
    words = texts(drawn)
    assert "representation z  2000 × 64" in words
    assert words.count("max pool 2") == words.count("ELU, unpool 2") == 5
    assert words.count("F") == 10  # residual blocks


def test_another_network_is_drawn_as_it_is() -> None:
    words = texts(draw(Autoencoder((3, 5), rng=0, output="linear"), 32))
    for text in ("audio  32 × 1", "linear  32 × 1", "32 × 3", "16 × 5", "representation z  8 × 5", "16 × 3"):
        assert text in words, text
    assert [text for text in words if "→" in text] == ["conv 1 → 3", "convᵀ 3 → 1", "ELU, conv 3 → 5", "convᵀ 5 → 3"]
    assert "no masks: each sample is repeated." in words


def test_a_network_with_folds_is_drawn_without_masks() -> None:
    drawn = draw(FoldedAutoencoder((3, 5), rng=0), 32)
    words = texts(drawn)
    for text in ("audio  32 × 1", "hard sigmoid  32 × 1", "16 × 3", "8 × 5", "representation z  8 × 5", "32 × 1"):
        assert text in words, text
    layers = [text for text in words if "fold" in text or "→" in text]
    down, up = ["fold 2,", "conv 2 → 3", "ELU, fold 2,", "conv 6 → 5"], ["ELU, convᵀ 3 → 2,", "ELU, convᵀ 5 → 6,"]
    assert layers == [*down[:2], up[0], "unfold 2", *down[2:], up[1], "unfold 2"]
    assert "mask" not in drawn


def test_a_decoder_that_keeps_its_masks_says_so() -> None:
    words = texts(draw(Autoencoder((3,), rng=0), 32, fine_tune_masks=True))
    assert "the decoder alone learns, from z and the masks." in words
    assert "no masks: each sample is repeated." not in words


def test_it_can_be_read_on_a_phone_and_in_the_dark() -> None:
    root = ElementTree.parse(DRAWING).getroot()
    width = float(root.attrib["width"])
    sizes = [float(element.attrib["font-size"]) for element in root.iter() if element.tag.endswith("text")]
    assert min(sizes) * 350 / width >= 9
    assert "prefers-color-scheme:dark" in DRAWING.read_text("utf-8")
