"""The promises of the README and of the package's frame."""

from __future__ import annotations

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


def test_the_wheel_holds_nn1d_alone(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="needs hatchling, which builds the wheel: pip install -e '.[test]'")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"nn1d/conv.py", "nn1d/cuda/element.cuh", "nn1d/cuda/convolution.cu"} <= set(names)
    assert {name.split("/")[0] for name in names} == {"nn1d", wheel.name.split("-py3")[0] + ".dist-info"}


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
