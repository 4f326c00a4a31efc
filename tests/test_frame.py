"""The promises of the README and of the package's frame."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

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
    assert extras["gpu-cuda12"] == ["cupy-cuda12x[ctk]"]
    assert extras["gpu-cuda13"] == ["cupy-cuda13x[ctk]"]
    everything = [*project["dependencies"], *extras["test"]]
    assert not [name for name in everything if name.startswith(("torch", "cupy", "jax", "tensorflow"))]


def test_imports_run_downwards_only() -> None:
    rooms = {
        "nn1d": {"nn1d"},
        "speech": {"speech"},
        "models": {"models", "nn1d"},
        "report": {"report", "models", "speech", "nn1d"},
    }
    commands = {ROOT / "models" / "__main__.py"}  # as free as train.py
    inside = {*rooms, "train", "tests", "benchmarks"}
    for room, allowed in rooms.items():
        for path in set((ROOT / room).rglob("*.py")) - commands:
            for line in path.read_text("utf-8").splitlines():
                words = line.split()
                if words[:1] in (["import"], ["from"]):
                    target = words[1].split(".")[0]
                    assert target not in inside or target in allowed, f"{path}: {line}"
    importers = [
        path for room in rooms for path in (ROOT / room).rglob("*.py") if "import cupy" in path.read_text("utf-8")
    ]
    assert importers == [ROOT / "nn1d" / "backend.py"]
