"""Every module that python -m runs names the option that was meant, in one line, and answers --help."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from docs import house
from tests.command import ROOT
from tests.test_command import run

pytestmark = pytest.mark.commands

ROOM_FOLDERS = [room for level in house.FLOORS for room in level if not room.endswith(".py")]
CHILDREN = {  # no commands of a user's: two are started by others, two compare or print a table and read no option
    "benchmarks/measure.py",
    "tests/rank_job.py",
    "tests/gpu/standin/__main__.py",
    "speech/distortion.py",
}
COMMAND_FILES = sorted(
    path for room in ROOM_FOLDERS for path in (ROOT / room).rglob("*.py")
    if "\nif __name__ == \"__main__\":" in path.read_text("utf-8") and path.relative_to(ROOT).as_posix() not in CHILDREN
)  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*found in sys.modules.*:RuntimeWarning")
@pytest.mark.parametrize("path", COMMAND_FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_module_that_runs_names_the_option_that_was_meant(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
    if path.stem == "__main__":  # it changes how its process ends, so it has one of its own
        command = (
            ("-m", module, "sweep") if module == "training" else ("-m", module)
        )  # without a command, that is missed
        done = run(command, "--hel")
        code, output, errors = done.returncode, done.stdout, done.stderr
    else:
        monkeypatch.setattr(sys, "argv", [module, "--hel"])
        with pytest.raises(SystemExit) as end:
            runpy.run_module(module, run_name="__main__")
        code = int(end.value.code or 0)
        output, errors = capsys.readouterr()
    assert (code, output) == (2, "")
    assert errors.endswith("unknown option --hel; did you mean --help?\n") and errors.count("\n") == 1, errors
    if path.stem != "__main__":
        monkeypatch.setattr(sys, "argv", [module, "--help"])
        with pytest.raises(SystemExit) as end:
            runpy.run_module(module, run_name="__main__")
        assert int(end.value.code or 0) == 0
        assert capsys.readouterr().out.startswith(f"usage: python -m {module} [-h]")
