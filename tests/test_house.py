"""Who imports whom: the rules hold, a broken one is named, and the drawing is up to date."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from docs import house

ROOT = Path(__file__).parents[1]


def build(root: Path, files: dict[str, str]) -> Path:
    """A house of the rooms that there are, with these files in it."""
    for name in ("report", "models", "speech", "storage", "nn1d"):
        (root / name).mkdir()
        (root / name / "__init__.py").touch()
    (root / "train.py").touch()
    (root / "models" / "__main__.py").touch()
    (root / "report" / "__main__.py").touch()
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
                "train.py": "from models.run import Run\nimport speech.clip\nfrom nn1d import Conv1d\n",
                "models/run.py": "import numpy as np\nfrom nn1d.conv import Conv1d\nfrom storage import whole\n",
                "storage/whole.py": "import os\n",
                "speech/clip.py": "import scipy.signal\n",
                "nn1d/conv.py": "from nn1d import backend\n",
                "nn1d/backend.py": "def gpu():\n    import cupy\n    return cupy\n",
            },
        )
    )


@pytest.mark.parametrize(
    ("file", "line", "rule"),
    [
        ("nn1d/conv.py", "import speech.clip", "nn1d may import no other room"),
        ("nn1d/conv.py", "from models import run", "nn1d may import no other room"),
        ("nn1d/cuda/launch.py", "from ...models import run", "nn1d may import no other room"),
        ("nn1d/conv.py", "import scipy", "nn1d may import cupy, numpy, threadpoolctl"),
        ("nn1d/conv.py", "import cupy", "only nn1d/backend.py may"),
        ("models/run.py", "import cupy", "only nn1d/backend.py may"),
        ("speech/clip.py", "from nn1d import mse", "speech may import storage"),
        ("speech/clip.py", "if True:\n    import models.run", "speech may import storage"),
        ("models/run.py", "def f():\n    from speech.clip import Clips", "models may import nn1d, storage"),
        ("models/run.py", "import train", "models may import nn1d, storage"),
        ("report/page.py", "from tests import command", "report may import models, nn1d, speech, storage"),
        ("storage/whole.py", "import numpy", "storage may import no library"),
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


def test_a_room_without_a_rule_is_named(tmp_path: Path) -> None:
    root = build(tmp_path, {"common/__init__.py": "", "common/helper.py": "import os"})
    with pytest.raises(house.HouseError, match="common is a room without a rule"):
        house.check(root)


def test_the_drawing_is_up_to_date() -> None:
    drawn = house.DRAWING.read_text("utf-8")
    assert drawn == house.draw(), "draw it again: python -m docs.house"


def test_the_drawing_names_every_module() -> None:
    root = ElementTree.fromstring(house.DRAWING.read_text("utf-8"))
    words = {
        word for text in root.iter("{http://www.w3.org/2000/svg}text") for word in "".join(text.itertext()).split()
    }
    for room in ("nn1d", "models", "speech", "report", "storage"):
        modules = {path.stem for path in (ROOT / room).glob("*.py")} - {"__init__", "__main__"}
        assert modules <= words, f"{room}: {modules - words}"
    assert {"train.py", "models/__main__.py", "cupy"} <= words


def test_an_arrow_that_others_imply_is_left_out() -> None:
    edges = {"train.py": {"models", "nn1d", "speech"}, "models": {"nn1d"}, "speech": {"storage"}}
    assert house.reduced(edges) == [
        ("models", "nn1d"), ("speech", "storage"), ("train.py", "models"), ("train.py", "speech"),
    ]  # fmt: skip
