"""The pages of docs/gradients hold what their code gives today."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.gradients.page import FOLDER, PIECE, ROOT, build, main

PAGES = sorted(FOLDER.glob("*.md"))
LAYERS = [
    "adam",
    "convolution",
    "elu",
    "hard-sigmoid",
    "max-pool",
    "mse",
    "residual-block",
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
    for picture in tmp_path.glob("figures/*"):
        assert picture.read_bytes() == (FOLDER / "figures" / picture.name).read_bytes(), picture.name
    shown = set(re.findall(r"\]\(figures/([^)]+)\)", text))
    assert all((FOLDER / "figures" / name).exists() for name in shown)


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
    assert "FAILED" in text or name == "adam"


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


def test_an_unknown_page_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convolutions"]) == 2
    assert capsys.readouterr().err.startswith("docs.gradients.page: there is no page convolutions; the pages are ")


def test_no_path_of_a_machine_stands_on_a_page() -> None:
    for page in PAGES:
        assert str(ROOT) not in page.read_text("utf-8")
