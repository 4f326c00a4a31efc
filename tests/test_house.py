"""Who imports whom: the rules hold, a broken one is named, and the drawing is up to date. Names of variables."""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from docs import house

ROOT = Path(__file__).parents[1]
EMPTY = re.compile(r"(own|found|given|told)(_\w+)?|at")  # names that say nothing of what a variable holds


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


def empty_names(code: str) -> list[tuple[int, str]]:
    """Line and name of each variable and argument with an empty name; a field of a TypedDict is a key of a file."""
    tree = ast.parse(code)
    types = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and [*map(ast.unparse, node.bases)] == ["TypedDict"]
    ]
    keys = {field.target for kind in types for field in kind.body if isinstance(field, ast.AnnAssign)}
    bound = [(node.lineno, node.arg) for node in ast.walk(tree) if isinstance(node, ast.arg)]
    bound += [
        (node.lineno, node.id)
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node not in keys
    ]
    return sorted((line, name) for line, name in bound if EMPTY.fullmatch(name))


def test_an_empty_name_is_seen_wherever_it_is_bound() -> None:
    bad = ["found_dx, y = 1, 2", "for at in x: pass", "with x as told: pass", "def f(*, given): pass", "lambda *own: 0",
           "[0 for own_x in x]", "if given := x: pass"]  # fmt: skip
    good = ["from hypothesis import given", "class Masks(TypedDict): own: float", "def told(): pass", "at_ms = found"]
    assert [line for line, _ in empty_names("\n".join(bad + good))] == list(range(1, len(bad) + 1))


def test_a_variable_is_named_after_what_it_holds() -> None:
    paths = [*map(ROOT.joinpath, house.files()), *(ROOT / "exercises").glob("*.py")]
    empty = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in paths
        for line, name in empty_names(path.read_text("utf-8"))
    ]
    assert not empty, "name it after what it holds:\n" + "\n".join(empty)
