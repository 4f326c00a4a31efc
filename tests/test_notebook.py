"""The notebooks for class run from top to bottom, and are kept without outputs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def name_of(path: Path) -> str:
    return path.name


def test_there_is_one() -> None:
    assert "a-gradient-by-hand.ipynb" in map(name_of, NOTEBOOKS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_outputs_are_kept_out(path: Path) -> None:
    for i, cell in enumerate(json.loads(path.read_text("utf-8"))["cells"]):
        assert not cell.get("outputs"), f"cell {i}: clear the outputs before you commit"
        assert cell.get("execution_count") is None, f"cell {i}: clear the outputs before you commit"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_it_runs_from_top_to_bottom(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a kernel of its own, as Jupyter runs it."""
    reason = "needs nbclient and ipykernel, which run notebooks: pip install -e '.[test]'"
    nbclient = pytest.importorskip("nbclient", reason=reason)
    nbformat = pytest.importorskip("nbformat", reason=reason)
    pytest.importorskip("ipykernel", reason=reason)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    nbclient.NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": ROOT}}
    ).execute()
    printed = [
        output["text"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output["output_type"] == "stream"
    ]
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
    assert any("FAILED" in text and "* input" in text for text in printed)  # the report of the broken layer
