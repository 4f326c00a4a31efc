"""Who imports whom: the rules hold, a broken one is named, and the drawing is up to date."""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs import house

ROOT = Path(__file__).parents[1]


def build(root: Path, files: dict[str, str]) -> Path:
    """A house of the rooms that there are, with these files in it."""
    for name in (room for rooms in house.FLOORS for room in rooms if not room.endswith(".py")):
        (root / name).mkdir()
        (root / name / "__init__.py").touch()
    (root / "train.py").touch()
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_every_import_of_the_project_keeps_the_rules() -> None:
    house.check()


def test_a_house_that_keeps_the_rules_passes(tmp_path: Path) -> None:
    house.check(
        build(
            tmp_path,
            {
                "train.py": "from training.run_folder import Run\nimport speech.clip\nfrom nn1d import Conv1d\n",
                "training/run_folder.py": "import numpy\nfrom nn1d.conv import Conv1d\nfrom storage import atomic\n",
                "storage/atomic.py": "import os\n",
                "speech/clip.py": "import scipy.signal\n",
                "nn1d/conv.py": "from nn1d import device\n",
                "nn1d/device.py": "def gpu():\n    import cupy\n    return cupy\n",
            },
        )
    )


@pytest.mark.parametrize(
    ("file", "line", "rule"),
    [
        ("nn1d/conv.py", "import speech.clip", "nn1d may import no other room"),
        ("nn1d/conv.py", "from training import trainer", "nn1d may import no other room"),
        ("nn1d/cuda/launch.py", "from ...models import paper", "nn1d may import no other room"),
        ("nn1d/conv.py", "import scipy", "nn1d may import cupy, numpy, threadpoolctl"),
        ("nn1d/conv.py", "import cupy", "only nn1d/device.py may"),
        ("training/gpu.py", "import cupy", "only nn1d/device.py may"),
        ("speech/clip.py", "from nn1d import mse", "speech may import storage"),
        ("speech/clip.py", "if True:\n    import training.trainer", "speech may import storage"),
        ("models/paper.py", "def f():\n    from speech.clip import Clips", "models may import nn1d"),
        (
            "training/data.py",
            "def f():\n    import inference.model",
            "training may import models, nn1d, speech, storage",
        ),
        ("training/data.py", "import train", "training may import models, nn1d, speech, storage"),
        ("tests/test_clip.py", "import train", "tests may import benchmarks, docs, inference"),
        ("benchmarks/step.py", "def f():\n    import train", "benchmarks may import inference, models"),
        ("docs/house.py", "from benchmarks import step", "docs may import inference, models"),
        ("report/page.py", "from tests import command", "report may import inference, models, nn1d, speech"),
        ("storage/atomic.py", "import scipy", "storage may import numpy"),
    ],
)
def test_an_import_that_breaks_a_rule_is_named(tmp_path: Path, file: str, line: str, rule: str) -> None:
    root = build(tmp_path, {file: line})
    number = line.count("\n") + 1
    with pytest.raises(house.HouseError, match=rf"^{re.escape(file)}:{number} imports [\w.]+: {re.escape(rule)}"):
        house.check(root)


def test_files_that_import_each_other_are_named(tmp_path: Path) -> None:
    root = build(
        tmp_path, {"nn1d/a.py": "from nn1d import b", "nn1d/b.py": "import nn1d.c", "nn1d/c.py": "from nn1d.a import x"}
    )
    with pytest.raises(house.HouseError, match=r"nn1d\.a -> nn1d\.b -> nn1d\.c -> nn1d\.a: these files import each"):
        house.check(root)


def test_an_import_inside_a_function_closes_no_circle(tmp_path: Path) -> None:
    house.check(build(tmp_path, {"nn1d/a.py": "import nn1d.b", "nn1d/b.py": "def f():\n    import nn1d.a"}))


def test_a_room_without_a_floor_is_named(tmp_path: Path) -> None:
    root = build(tmp_path, {"common/__init__.py": "", "common/helper.py": "import os"})
    with pytest.raises(house.HouseError, match="common is a room without a floor"):
        house.check(root)


def test_the_drawing_is_up_to_date() -> None:
    drawn = house.DRAWING.read_text("utf-8")
    assert drawn == house.draw(), "draw it again: python -m docs.house"


def test_the_drawing_names_every_module() -> None:
    root = ElementTree.fromstring(house.DRAWING.read_text("utf-8"))
    words = {
        word for text in root.iter("{http://www.w3.org/2000/svg}text") for word in "".join(text.itertext()).split()
    }
    for room in ("nn1d", "models", "training", "inference", "speech", "report", "storage"):
        modules = {path.stem for path in (ROOT / room).glob("*.py")} - {"__init__"}
        assert modules <= words, f"{room}: {modules - words}"
    assert {"train.py", "benchmarks/", "docs/", "cupy"} <= words


def test_the_file_that_imports_cupy_is_the_one_that_the_page_names() -> None:
    files = [
        path.relative_to(ROOT).as_posix()
        for room in ("nn1d", "models", "training", "inference", "speech", "report", "storage")
        for path in (ROOT / room).rglob("*.py")
        if re.search(r"^ *(import|from) cupy\b", path.read_text("utf-8"), re.MULTILINE)
    ]
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    assert re.findall(r"`(\S+)` is the only file that imports CuPy", page) == files


def bound_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The line and the name of each variable and argument; a field of a class has the name that its file has."""
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    fields = {id(field.target) for kind in classes for field in kind.body if isinstance(field, ast.AnnAssign)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and id(node) not in fields:
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg


def test_a_variable_is_named_after_what_it_holds() -> None:
    """Not after where it comes from: these say nothing to a reader."""
    empty = {"own", "found", "given", "told", "at"}
    assert list(bound_names(ast.parse("def f(at):\n    given, x = at\n    print(own)"))) == [
        (1, "at"), (2, "given"), (2, "x"),
    ]  # fmt: skip
    rooms = [room for floor in house.FLOORS for room in floor if not room.endswith(".py")]
    files = [
        file for room in {*rooms, "tests", "benchmarks", "docs", "exercises"} for file in (ROOT / room).rglob("*.py")
    ]
    assert len(files) > 300
    assert [
        f"{file.relative_to(ROOT)}:{line}: {name}"
        for file in sorted([*files, ROOT / "train.py"])
        for line, name in bound_names(ast.parse(file.read_text("utf-8")))
        if name in empty
    ] == []
