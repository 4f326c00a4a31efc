"""The reference of nn1d: an example that runs for each name, and the way to its derivation and its source."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

import nn1d
from docs.gradients.page import REFERENCE, ROOT, build
from tests.test_docstring import LAYERS

TEXT = REFERENCE.read_text("utf-8")
SECTIONS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL))


def test_the_examples_give_what_stands_there(tmp_path: Path) -> None:
    assert build(REFERENCE, tmp_path) == TEXT, "run python -m docs.gradients.page nn1d"


@pytest.mark.parametrize("name", nn1d.__all__)
def test_a_name_has_an_example_that_uses_it(name: str) -> None:
    section = SECTIONS[name]
    assert re.search(rf"```python\n[^`]*\bnn1d\.{name}\b|report\b", section), "no example"
    assert "```text\n" in section, "an example without an output shows nothing"
    assert re.search(rf":: nn1d\.{name}\b", section)


@pytest.mark.parametrize("name", [*LAYERS, "mse", "cross_entropy", "Adam", "SGD"])
def test_a_layer_leads_to_its_derivation_and_its_source(name: str) -> None:
    page = re.search(r"\]\((\.\./gradients/[\w-]+\.md)", SECTIONS[name])
    source = re.search(r"\[Source\]\((.*?)\)", SECTIONS[name])
    assert page is not None
    assert source is not None
    item = getattr(nn1d, name)
    assert not isinstance(item, ModuleType)
    assert (REFERENCE.parent / source[1]).resolve() == Path(inspect.getfile(item)).resolve()
    # and back: the page names the layer with a link to its section
    text = (REFERENCE.parent / page[1]).read_text("utf-8")
    if name != "Sequential":
        assert f"[`nn1d.{name}`](../api/nn1d.md#{name.lower()})" in text
        assert f"[source](../../{source[1].removeprefix('../../')})" in text
    assert ROOT in REFERENCE.parents
