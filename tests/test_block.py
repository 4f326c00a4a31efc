"""Every code block and every command of the pages: blocks run, commands are understood, claimed outputs come out.

The pages of docs/gradients/ have tests of their own, and so has the tutorial's training.
"""

from __future__ import annotations

import contextlib
import doctest
import importlib
import importlib.util
import io
import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile

import nn1d
from benchmarks.step import line
from tests.block import Block, blocks, commands, inline_commands, masked
from tests.command import make_recordings, train
from training.arguments import read_arguments

pytestmark = pytest.mark.commands

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
TUTORIAL = ROOT / "docs" / "tutorial.md"
NOT_HERE = ("emodb", "savee")  # corpora that a test machine need not have
OTHER_PROGRAMS = {".ci/run", "ruff", "mypy", "du", "."}
TINY = (
    "--clip-samples", "3200", "--epochs", "1", "--fine-tune-epochs", "1", "--limit", "6", "--threads", "1",
    "--device", "cpu", "--no-report",
)  # fmt: skip
SHRUNK = ("--no-report", "--clip-samples", "16000", "--epochs", "2", "--fine-tune-epochs", "2", "--device", "cpu")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the paper's network, and recordings, under the names that the pages use."""
    desk = tmp_path_factory.mktemp("desk")
    train("--out", desk / "RUN", *TINY)
    make_recordings(desk / "recordings", 4)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 20_000)
    soundfile.write(desk / "clip.wav", noise, 22_050)
    (desk / "more").mkdir()
    soundfile.write(desk / "more" / "a.flac", noise, 16_000)
    shutil.copytree(desk / "RUN", desk / "runs" / "emodb")
    return desk


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def program(words: list[str]) -> list[str]:
    """A command without variables before it, without what starts it several times, and without its folder."""
    while words and re.fullmatch(r"\w+=\S*", words[0]):
        words = words[1:]
    if words[0].removeprefix(".venv/bin/") == "mpiexec":
        assert words[1] == "-n"
        words = words[3:]
    return [words[0].removeprefix(".venv/bin/"), *words[1:]]


def understand(words: list[str]) -> None:
    """Fail unless the command names what is there: options, modules, files, extras."""
    first, *rest = program(words)
    if first == "python3":
        assert rest == ["-m", "venv", ".venv"]
    elif first == "pip":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        extras: dict[str, list[str]] = project["optional-dependencies"]
        assert rest[0] == "install"
        for wanted in rest[1:]:
            named = re.fullmatch(r"(?:\.|nn1d)\[([\w,-]+)\]", wanted)
            known = wanted in ("-e", ".", "mpich", *extras["oracle"])
            assert known or (named and set(named[1].split(",")) <= set(extras)), wanted
    elif first == "python" and rest[0] == "train.py":
        if rest[1:] != ["--help"]:
            read_arguments(rest[1:])
    elif first == "python" and rest[0] == "-m":
        understand_module(rest[1], rest[2:])
    else:
        assert first in OTHER_PROGRAMS, f"nobody checks the command {words}"


def understand_module(module: str, arguments: list[str]) -> None:
    if module in ("inference", "report") and len(arguments) > 1:
        importlib.import_module(f"{module}.arguments").read_arguments(arguments)
        return
    spec = importlib.util.find_spec(module)
    assert spec is not None, module
    if module.split(".")[0] in ("nn1d", "models", "speech", "report", "benchmarks", "tests", "docs"):
        assert spec.origin is not None
        file = Path(spec.origin)
        source = (file.parent / "__main__.py" if file.name == "__init__.py" else file).read_text("utf-8")
        assert "__main__" in source, f"{module} is no command"
        absent = [option for option in arguments if option.startswith("--") and option not in source]
        absent += [word for word in arguments if module.startswith("tests.") and word not in source and word.isalpha()]
        assert not absent, f"{module}: {absent}"
    for word in arguments:
        if word.startswith("tests/"):
            assert (ROOT / word).exists(), word


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_is_understood(page: Path) -> None:
    for block in blocks(page):
        assert block.language in ("sh", "python", "pycon", "text", "toml"), f"{name_of(page)}:{block.line}"
        if block.language == "sh":
            for words in commands(block.text):
                understand(words)
    for words in inline_commands(page):
        understand(words)


def test_the_readme_installs_what_a_command_needs_before_it() -> None:
    installed: set[str] = set()
    for block in blocks(ROOT / "README.md"):
        for words in commands(block.text) if block.language == "sh" else ():
            first, *rest = program(words)
            if first == "pip":
                installed |= {
                    extra for names in re.findall(r"\[([\w,-]+)\]", " ".join(rest)) for extra in names.split(",")
                }
            elif rest[:2] == ["-m", "inference"]:
                assert {"export": "onnx", "probe": "probe"}.get(rest[2], "speech") in installed, rest


@pytest.mark.parametrize(
    "text",
    [
        "python train.py --epoch-count 3",
        "python train.py --db timit",
        "python -m inference encode RUN",
        "python -m nn1d.gradchek",
        "python -m nn1d.conv",
        "python -m benchmarks.step --batches 3",
        "python -m tests.faults burn",
        "python -m pytest tests/test_nowhere.py",
        "pip install -e '.[tests]'",
        "pip install torch",
        "make",
    ],
)
def test_a_command_that_is_wrong_is_found(text: str) -> None:
    with pytest.raises((Exception, SystemExit)):
        for words in commands(text):
            understand(words)


def is_excerpt(block: Block) -> bool:
    return block.text.startswith(("def ", "class ", "    "))


def check_excerpt(block: Block) -> None:
    """Every piece between lines of dots stands in one file of nn1d or models as it is."""
    pieces = [piece.strip("\n") for piece in re.split(r"^\s*\.\.\.\n", block.text, flags=re.MULTILINE)]
    sources = [path.read_text("utf-8") for room in ("nn1d", "models") for path in (ROOT / room).glob("*.py")]
    assert any(all(piece in source for piece in pieces) for source in sources), block.text


def run_command(words: list[str], page: Path, desk: Path) -> str | None:
    """Its output; None where it is too long for a test or needs what a test has not."""
    first, *rest = program(words)
    if first != "python" or set(NOT_HERE) & set(rest) or any("*" in word for word in rest):  # * is of many runs
        return None
    training = rest[0] == "train.py"
    if page != TUTORIAL and (training or rest[:2] != ["-m", "inference"]):
        return None
    if training and "--dry-run" not in rest and "--resume" not in rest:
        rest += SHRUNK
    if importlib.util.find_spec("opensmile") is None:  # its licence keeps it out of every extra
        rest = [word.replace(",egemaps", "") for word in rest]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *rest], cwd=desk, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def run_python(block: Block, page: Path, desk: Path, names: dict[str, Any], patch: pytest.MonkeyPatch) -> str:
    patch.chdir(desk)
    printed = io.StringIO()
    # as many lines before it as on the page, so that a traceback names the line
    code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
    with contextlib.redirect_stdout(printed):
        exec(code, names)
    return printed.getvalue()


def check_output(claimed: str, printed: str, where: str, exactly: bool) -> None:
    """Every claimed line comes out, in order; a line of dots stands for any number of them."""
    if exactly:
        assert printed.strip() == claimed.strip(), where
        return
    lines = iter(masked(printed))
    for wanted in masked(claimed):
        assert wanted == "..." or wanted in lines, f"{where}: {wanted!r} does not come out of\n{printed}"
    # what a loss is before the first step hangs on the program alone, and goes stale with it
    ours, theirs = ([float(loss) for loss in re.findall(r"loss (\S+) ->", text)] for text in (printed, claimed))
    np.testing.assert_allclose(ours, theirs, rtol=0.01, err_msg=where)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_blocks_run_and_print_what_they_claim(
    page: Path, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tutorial begins on an empty desk; its training is made short."""
    names: dict[str, Any] = {"__name__": "page"}
    desk = tmp_path / "desk"
    for block in blocks(page):
        where = f"{name_of(page)}:{block.line}"
        if block.language not in ("sh", "python") or (block.language == "python" and is_excerpt(block)):
            if block.language == "python":
                check_excerpt(block)
            continue
        if "torch" in block.text and block.language == "python":
            pytest.importorskip("torch", reason="needs PyTorch, the oracle: pip install torch==2.13.0")
        if not desk.exists():
            if page == TUTORIAL:
                desk.mkdir()
            else:
                shutil.copytree(request.getfixturevalue("trained"), desk)
            (desk / "train.py").symlink_to(ROOT / "train.py")
        if block.language == "python":
            printed: str | None = run_python(block, page, desk, names, monkeypatch)
        else:
            outputs = [run_command(words, page, desk) for words in commands(block.text)]
            printed = None if None in outputs else "".join(map(str, outputs))
        if block.output is not None:
            assert printed is not None, f"{where}: claims an output, but is not run"
            check_output(block.output, printed, where, exactly=page != TUTORIAL)


def test_the_readmes_figures_are_those_of_the_pages() -> None:
    """Its table is that of docs/reproduction.md, its speed is what benchmarks.step printed."""
    readme, page = ((ROOT / name).read_text("utf-8") for name in ("README.md", "docs/reproduction.md"))
    table = re.search(r"^    Berlin EmoDB.*?cost that\.$", readme, re.MULTILINE | re.DOTALL)
    assert table is not None
    assert table[0] in page
    cases = json.loads((ROOT / "docs" / "performance" / "step.json").read_text("utf-8"))["cases"]
    (case,) = [case for case in cases if (case["work"], case["batch"], case["threads"]) == ("train", 16, 2)]
    assert " ".join(line(case).split()) in " ".join(readme.split())


def modules(package: ModuleType) -> list[str]:
    return [each.name for each in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]


@pytest.mark.parametrize("name", ["nn1d", *modules(nn1d)])
def test_examples_of_docstrings(name: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert failed == 0
    assert tried >= (4 if name == "nn1d.gradient" else 0)


def test_an_output_that_does_not_come_out_is_found() -> None:
    check_output("loss 1.5\n...\nend\n", "begin\nloss  3e-04\nmore\nend\n", "here", exactly=False)
    with pytest.raises(AssertionError):
        check_output("loss 1.5 -> 1.4", "loss 1.6 -> 1.4", "here", exactly=False)
    for claimed in ("loss 1.5 dB", "end\nloss 1", "never"):
        with pytest.raises(AssertionError, match="does not come out"):
            check_output(claimed, "begin\nloss 3\nend\n", "here", exactly=False)
    with pytest.raises(AssertionError):
        check_output("0.002", "0.003", "here", exactly=True)


def test_an_excerpt_that_drifted_is_found() -> None:
    text = "def mse(y: Array, target: Array) -> tuple[Array, Array]:\n    ...\n    difference = y - target\n"
    check_excerpt(Block(1, "python", text, None))
    with pytest.raises(AssertionError):
        check_excerpt(Block(1, "python", text.replace("y - target", "target - y"), None))
