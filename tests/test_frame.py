"""The promises of the README and of the package's frame."""

from __future__ import annotations

import configparser
import importlib.metadata
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import soundfile

import nn1d
from speech.corpus import NAMES

ROOT = Path(__file__).parents[1]


def readme_commands() -> list[str]:
    blocks = (ROOT / "README.md").read_text("utf-8").split("```sh\n")[1:]
    return [line for block in blocks for line in block.split("```")[0].splitlines()]


def test_ci_runs_the_readmes_test_command_last() -> None:
    command = next(line for line in readme_commands() if "pytest" in line)
    assert (ROOT / ".ci" / "run").read_text("utf-8").splitlines()[-1] == command


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, zipfile.ZipFile]:
    """What pip makes of the checkout: standard for `pip install .`, editable for `pip install -e .`."""
    builder = pytest.importorskip(
        "hatchling.builders.wheel", reason="needs hatchling, which builds the wheel: pip install -e '.[test]'"
    )
    made: dict[str, zipfile.ZipFile] = {}
    for version in ("standard", "editable"):
        folder = tmp_path_factory.mktemp(version)
        (wheel,) = builder.WheelBuilder(str(ROOT)).build(directory=str(folder), versions=[version])
        made[version] = zipfile.ZipFile(wheel)
    return made


def about(wheel: zipfile.ZipFile, name: str) -> str:
    """A file of a wheel's metadata."""
    return wheel.read(next(path for path in wheel.namelist() if path.endswith(f".dist-info/{name}"))).decode()


def test_the_wheel_holds_nn1d_alone(wheels: dict[str, zipfile.ZipFile]) -> None:
    names = wheels["standard"].namelist()
    assert {"nn1d/conv.py", "nn1d/py.typed", "nn1d/cuda/element.cuh", "nn1d/cuda/convolution.cu"} <= set(names)
    assert {name.split("/")[0] for name in names} == {"nn1d", f"nn1d-{nn1d.__version__}.dist-info"}


def test_an_editable_install_shows_nn1d_alone(wheels: dict[str, zipfile.ZipFile]) -> None:
    """No folder comes onto the path of imports, where `tests` or `docs` would meet those of the user."""
    code = {name: wheels["editable"].read(name).decode() for name in wheels["editable"].namelist() if "/" not in name}
    assert all(text.startswith("import ") for name, text in code.items() if name.endswith(".pth"))  # not a folder
    mapped = [line for text in code.values() for line in text.splitlines() if "map_module" in line]
    assert mapped == [f"F.map_module('nn1d', {str(ROOT / 'nn1d' / '__init__.py')!r})"]


def test_the_wheel_needs_numpy_and_threadpoolctl(wheels: dict[str, zipfile.ZipFile]) -> None:
    """And the layers import nothing else, which docs/house.py checks."""
    lines = about(wheels["standard"], "METADATA").splitlines()
    plain = [line for line in lines if line.startswith("Requires-Dist: ") and "extra ==" not in line]
    assert plain == ["Requires-Dist: numpy>=2.0", "Requires-Dist: threadpoolctl>=3.5"]


def test_the_wheels_commands_are_there(wheels: dict[str, zipfile.ZipFile]) -> None:
    scripts = configparser.ConfigParser()
    scripts.read_string(about(wheels["standard"], "entry_points.txt"))
    assert set(scripts["console_scripts"]) == {"nn1d-doctor", "nn1d-gradcheck"}
    for entry in importlib.metadata.EntryPoints(
        importlib.metadata.EntryPoint(*item, "console_scripts") for item in scripts["console_scripts"].items()
    ):
        with pytest.raises(SystemExit) as end:
            entry.load()(["--help"])
        assert end.value.code == 0


def test_the_description_on_an_index_has_no_link_that_breaks_there(wheels: dict[str, zipfile.ZipFile]) -> None:
    text = about(wheels["standard"], "METADATA").split("\n\n", 1)[1]
    assert text.startswith("# nn1d\n")
    links = re.findall(r"\]\(([^)]*)\)", text)
    assert [link for link in links if not link.startswith("https://")] == []
    example = re.compile(r"```python\n(.*?)```", re.DOTALL)
    assert example.findall(text)[0] in example.findall((ROOT / "README.md").read_text("utf-8"))  # where it is run


def test_the_lowest_versions_are_listed_for_ci() -> None:
    done = subprocess.run([sys.executable, ROOT / ".ci" / "lowest"], capture_output=True, text=True, check=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["speech"]]
    assert done.stdout.split() == [text.replace(">=", "==") for text in wanted]
    assert all("==" in line for line in done.stdout.split())
    assert "quick lowest python3 -r build/lowest.txt\n" in (ROOT / ".ci" / "run").read_text("utf-8")


def test_the_readmes_first_command_installs_what_training_needs() -> None:
    from training.machine import PACKAGES

    assert ".venv/bin/pip install -e '.[speech]' && .venv/bin/python train.py" in readme_commands()[0]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    names = {re.split(r"[\[<>=]", name)[0] for name in project["optional-dependencies"]["speech"]}
    assert names == set(PACKAGES)


def test_what_stands_in_for_a_gpu_has_its_marker() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-qq", "-m", "gpu", "tests/gpu/test_standin.py", __file__],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    counts = dict(line.rsplit(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    assert list(counts) == ["tests/gpu/test_standin.py"], done.stdout


def test_the_citation_is_of_this_version() -> None:
    text = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\nversion: {nn1d.__version__}\n" in text
    title = re.search(r'"(Learning .+?)"', (ROOT / "models" / "paper.py").read_text("utf-8"))
    assert title is not None and f"\n  title: {title[1]}\n" in text


def test_extras_name_the_gpu_wheels_once_each_and_no_framework_but_the_oracle() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert extras["oracle"] == ["torch==2.13.0"]
    assert extras["gpu-cuda12"] == ["cupy-cuda12x[ctk]>=14"]
    assert extras["gpu-cuda13"] == ["cupy-cuda13x[ctk]>=14"]
    everything = [*project["dependencies"], *extras["test"]]
    assert not [name for name in everything if name.startswith(("torch", "cupy", "jax", "tensorflow"))]


def test_every_dependency_has_a_reason_on_its_page() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    page = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
    for extra, wanted in {"": project["dependencies"], **project["optional-dependencies"]}.items():
        assert not extra or f"`{extra}`" in page, extra
        names = {re.split(r"[\[<>=]", name)[0] for name in wanted} - {"nn1d"}
        assert [name for name in names if name not in page] == []


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert nn1d.__version__ == project["version"]


def test_every_corpus_is_on_its_page() -> None:
    page = (ROOT / "docs" / "corpora.md").read_text("utf-8")
    assert [name for name in NAMES if f"| `{name}` |" not in page] == []
    for extension in ("WAV", "FLAC", "OGG", "MP3", "AIFF", "AU", "CAF", "W64"):
        assert extension in page
        assert extension in soundfile.available_formats()
