"""What a type checker finds in a user's program, against the wheel that users install."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.block import blocks

ROOT = Path(__file__).parents[1]
PROGRAM = """\
import numpy as np

from nn1d import ELU, Adam, Conv1d, FlatParameters, MaxPool1d, Sequential, flatten, mse

rng = np.random.default_rng(0)
network = Sequential(Conv1d(1, 8, 3, padding=1, rng=rng), ELU(), Conv1d(8, 1, 3, padding=1, rng=rng))
flat = FlatParameters(network.parameters)
x = rng.uniform(0, 1, (4, 64, 1)).astype(np.float32)
optimiser = Adam(learning_rate=0.01)

for step in range(10):
    y, caches = network.forward(x)
    loss, dy = mse(y, x)
    dx, grads = network.backward(dy, caches)
    optimiser.step(flat.vector, flatten(grads))
    print(step, float(loss), abs(dx).max())

pool = MaxPool1d(2)
maxima, mask = pool.forward(y)
print(maxima.shape, mask.dtype, network)
"""
# the line of a right program -> what a user writes instead, and words of what is said about it
MISTAKES = {
    "the pair for the array": ("    loss, dy = mse(y, x)", "    loss, dy = mse(network.forward(x), x)", "tuple"),
    "a list for an array": ("maxima, mask = pool.forward(y)", "maxima, mask = pool.forward([[1.0], [2.0]])", "list"),
    "the pair multiplied": ("maxima, mask = pool.forward(y)", "maxima = mask = pool.forward(y).sum(1)", "sum"),
    "arguments in the other order": (
        "    dx, grads = network.backward(dy, caches)",
        "    dx, grads = network.backward(caches, dy)",
        "list",
    ),
    "gradients that are not flat": (
        "    optimiser.step(flat.vector, flatten(grads))",
        "    optimiser.step(flat.vector, grads)",
        "dict",
    ),
    "the seed for the generator": ("rng = np.random.default_rng(0)", "rng = np.random.RandomState(0)", "Generator"),
    "an attribute that no array has": ("    print(step, float(loss), abs(dx).max())", "    print(dx.cpu())", "cpu"),
}


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package as the wheel installs it."""
    pytest.importorskip("hatchling", reason="needs hatchling, which builds the wheel: pip install -e '.[test]'")
    pytest.importorskip("mypy", reason="needs mypy: pip install -e '.[test]'")
    folder = tmp_path_factory.mktemp("typing")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert "nn1d/py.typed" in archive.namelist()
        archive.extractall(folder / "site-packages")
    return folder


def errors(packages: Path, programs: dict[str, str]) -> list[str]:
    """What mypy, in a project that knows nothing of this one, says of programs, a line each."""
    project = packages / "project"
    project.mkdir(exist_ok=True)
    for name, text in programs.items():
        (project / f"{name}.py").write_text(text, "utf-8")
    options = "--config-file=", "--hide-error-context", "--no-error-summary", f"--cache-dir={packages / 'cache'}"
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, *(f"{name}.py" for name in programs)],
        cwd=project,
        capture_output=True,
        text=True,
        env=os.environ | {"MYPYPATH": str(packages / "site-packages")},
        check=False,
    )
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if ": error: " in line]


@pytest.mark.parametrize("page", ["README.md", "nn1d/README.md"])
def test_the_program_of_the_readme_passes(packages: Path, page: str) -> None:
    """At the top of a file `_` has one type: that of the loop, or that of the gradient of x."""
    (program,) = (block.text for block in blocks(ROOT / page) if "FlatParameters(" in block.text)
    assert [line for line in errors(packages, {"readme": program}) if line.startswith("readme.py")] == []


def test_a_right_program_passes_and_mistakes_are_found(packages: Path) -> None:
    programs = {"right": PROGRAM}
    for number, (line, wrong, _) in enumerate(MISTAKES.values()):
        assert PROGRAM.count(f"{line}\n") == 1
        programs[f"mistake_{number}"] = PROGRAM.replace(f"{line}\n", f"{wrong}\n")
    both = PROGRAM
    for name in ("the pair for the array", "a list for an array"):
        line, wrong, _ = MISTAKES[name]
        both = both.replace(line, wrong)
    programs["both"] = both
    reported = errors(packages, programs)
    assert [line for line in reported if line.startswith("right.py")] == []
    for number, (name, (line, _, said)) in enumerate(MISTAKES.items()):
        complaints = [text for text in reported if text.startswith(f"mistake_{number}.py")]
        assert complaints and said in " ".join(complaints), f"{name} ({line.strip()}) is not reported: {complaints}"
    lines = {int(text.split(":")[1]) for text in reported if text.startswith("both.py")}
    assert {PROGRAM[: PROGRAM.index(MISTAKES[name][0])].count("\n") + 1 for name in list(MISTAKES)[:2]} <= lines
