"""The pages of docs/gradients hold what their code gives today."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from docs.gradients.grid import Grid, picture
from docs.gradients.page import FOLDER, PIECE, ROOT, build, main, rounded, show_source
from nn1d import GradientError, check_gradients
from tests.wrong_filters import SwappedClips

PAGES = sorted(FOLDER.glob("*.md"))
LAYERS = [
    "activation",
    "adam",
    "average-pool",
    "convolution",
    "cross-entropy",
    "dropout",
    "elu",
    "fold",
    "hard-sigmoid",
    "layer-norm",
    "linear",
    "max-pool",
    "mse",
    "residual-block",
    "sgd",
    "transposed-convolution",
    "upsampling",
]
PLAN = [
    "What it does",
    "The equation",
    "The gradients, step by step",
    "With pencil",
    "What is kept, and what it costs",
    "A common mistake",
    "Exercises",
]


def prose(page: Path) -> str:
    """Without code and comments."""
    text = re.sub(r"<!--.*?-->|^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "", text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_what_its_code_gives(page: Path, tmp_path: Path) -> None:
    """Its numbers, tables, source and pictures; and no block raises, so the solutions are right."""
    text = page.read_text("utf-8")
    assert build(page, tmp_path) == text, f"run python -m docs.gradients.page {page.stem}"
    drawn = {path.name: path.read_bytes() for path in tmp_path.glob("figures/*")}
    assert set(drawn) == set(re.findall(r"\]\(figures/([^)]+)\)", text))
    for name, content in drawn.items():
        assert content == (FOLDER / "figures" / name).read_bytes(), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_reader_can_run_what_is_shown(page: Path) -> None:
    """The blocks that a reader sees need nothing from those that are hidden."""
    names: dict[str, object] = {}
    for piece in PIECE.finditer(page.read_text("utf-8")):
        if piece["shown"] is not None:
            exec(compile(piece["shown"], str(page), "exec"), names)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_page_keeps_the_plan(name: str) -> None:
    text = (FOLDER / f"{name}.md").read_text("utf-8")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == PLAN
    solutions = re.findall(r"<details><summary>Solution</summary>\n(.*?)</details>", text, re.DOTALL)
    assert len(solutions) == 2
    for solution in solutions:
        assert re.search(r"^ *(assert |np\.testing\.assert_)", solution, re.MULTILINE)
    assert "FAILED" in text or name in ("adam", "sgd")


def test_every_page_is_in_the_order_to_read_in() -> None:
    linked = re.findall(r"^\| \[[^\]]+\]\(([^)]+)\)", (FOLDER / "README.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(linked) == [page.name for page in PAGES if page.name != "README.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", prose(page)):
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_formulas_survive_markdown(page: Path) -> None:
    r"""A forge may take \, \\ or \{ for an escape of Markdown, and [a](b) for a link, before it looks for formulas."""
    for formula in re.findall(r"\$\$.+?\$\$|\$.+?\$", prose(page), re.DOTALL):
        assert not re.search(r"\\[^a-zA-Z]|[<>*|]|\]\(", formula), formula
        assert formula.count("{") == formula.count("}"), formula


def test_a_block_that_raises_is_named_with_its_line(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page\n\n```python\nx = 1\nassert x == 2\n```\n", "utf-8")
    with pytest.raises(AssertionError) as caught:
        build(page, tmp_path)
    assert (caught.traceback[-1].path, caught.traceback[-1].lineno + 1) == (page, 5)


def test_what_is_printed_replaces_what_stood_there(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nx = 3\nprint(x)\n```\n\n```text\n2\n```\n\n<!-- python print('**', x) -->\nold\n<!-- end -->\n",
        "utf-8",
    )
    once = build(page, tmp_path)
    assert once == (
        "```python\nx = 3\nprint(x)\n```\n\n```text\n3\n```\n\n<!-- python print('**', x) -->\n\n** 3\n\n<!-- end -->\n"
    )
    page.write_text(once, "utf-8")
    assert build(page, tmp_path) == once


def test_every_picture_is_whole_and_on_a_page() -> None:
    shown = set(re.findall(r"\]\(figures/([^)]+)\)", "".join(page.read_text("utf-8") for page in PAGES)))
    assert {path.name for path in (FOLDER / "figures").iterdir()} == shown
    for name in shown:
        root = ElementTree.parse(FOLDER / "figures" / name).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root[0].tag.endswith("title")
        assert root[0].text
        width, height = float(root.attrib["width"]), float(root.attrib["height"])
        for element in root.iter():
            if element.tag.endswith(("rect", "text")):
                assert 0 <= float(element.get("x", 0)) < width
                assert 0 <= float(element.get("y", 0)) < height


def test_a_picture_shows_the_numbers_of_the_array() -> None:
    numbers = np.array([[1.0, -2.5, 0.0], [-0.004, 1 / 3, 12.0]])
    svg = picture("alt & more", [[Grid("t <", numbers, "c", "l", [(1, 2)], outside=1), "=", Grid("m", numbers > 0)]])
    root = ElementTree.fromstring(svg)
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    body = ["0", "1", "−2.5", "0", "0", "0", "0", "0.33", "12", "0"]
    marks = ["1", "·", "·", "·", "1", "1"]
    assert texts == ["t <", "ℓ = −1", "0", "1", "2", "3", "c = 0", "1", *body, "=", "m", *marks]
    assert root[0].text == "alt & more"
    assert sum(element.get("stroke-width") == "2.5" for element in root) == 1


def test_output_of_the_checker_is_rounded_to_what_every_processor_gives() -> None:
    layer = SwappedClips(2, 3, 3, rng=np.random.default_rng(0), dtype=np.float64)
    with pytest.raises(GradientError) as caught:
        check_gradients(layer, np.random.default_rng(1).standard_normal((2, 8, 2)), rng=np.random.default_rng(2))
    lines = rounded(str(caught.value)).splitlines()
    assert lines[0] == "SwappedClips(2 -> 3, k=3): FAILED (tolerance 1e-06)"
    for line, slope in zip(lines[1:], caught.value.report.slopes, strict=True):
        wrong = slope.relative_error > 1e-6
        error = f"{slope.relative_error:.1e}" if wrong else "< 1e-06"
        start = f"{'*' if wrong else ' '} {slope.name:<14} backward {slope.analytic:+.4e} "
        assert line.startswith(start)
        assert line.endswith(f"differences {slope.numeric:+.4e}   relative error {error}")
    # and nothing else is touched
    for text in ("error 0.125\n", "x = +1.2345\n", "a b  WRONG\n", "1e-03    1e-06\n"):
        assert rounded(text) == text


@pytest.mark.parametrize(
    ("name", "statement", "message"),
    [
        ("mean", "", "nn1d/loss.py has no mean: name what took its place on the page"),
        ("mse", "loss ==", "nn1d/loss.py: mse must have one statement that starts 'loss =='; it has 0"),
        ("squared_error", "diff", "nn1d/loss.py: squared_error must have one statement that starts 'diff'; it has 2"),
    ],
)
def test_source_that_has_gone_is_named(name: str, statement: str, message: str) -> None:
    with pytest.raises(LookupError) as caught:
        show_source("nn1d/loss.py", name, statement)
    assert caught.value.args == (message,)


def test_an_unknown_page_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convolutions"]) == 2
    assert capsys.readouterr().err.startswith("docs.gradients.page: there is no page convolutions; the pages are ")


def test_no_path_of_a_machine_stands_on_a_page() -> None:
    for page in PAGES:
        assert str(ROOT) not in page.read_text("utf-8")


@pytest.mark.parametrize("name", LAYERS)
def test_the_loops_come_before_the_arrays(name: str) -> None:
    """Each layer is first shown as the plain loops that the tests hold it against."""
    text = (FOLDER / f"{name}.md").read_text("utf-8")
    if name == "residual-block":  # a sum of two others, which have theirs
        assert "](elu.md#as-loops)" in text
        return
    loops = text.index("`tests/loops.py`")
    assert text.index("## The equation") < loops < text.index("## The gradients, step by step")
    arrays = [match.start() for match in re.finditer(r"^`nn1d/\w+\.py`, ", text, re.MULTILINE)]
    assert loops < min(arrays)
