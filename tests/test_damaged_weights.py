"""Weights that are damaged: each command names the file and how it is written again, and that works."""

from __future__ import annotations

import os
import random
import shutil
from functools import partial

import pytest

from tests.damage import WAYS
from tests.tampering import Tampered, outcome

pytestmark = pytest.mark.commands
PHASES = {"encode": "pretrained", "probe": "pretrained", "reconstruct": "finetuned", "export": "finetuned"}


@pytest.fixture(scope="module")
def tampered(tmp_path_factory: pytest.TempPathFactory) -> Tampered:
    return Tampered(tmp_path_factory.mktemp("tampered"))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("command", ["encode", "reconstruct", "evaluate", "export", "probe", "rate", "report"])
def test_damaged_weights_are_named_with_a_cure(tampered: Tampered, command: str, way: str) -> None:
    shutil.rmtree(tampered.run, ignore_errors=True)
    shutil.copytree(tampered.whole, tampered.run)
    path = tampered.run / "checkpoints" / f"{PHASES.get(command, 'finetuned')}.safetensors"
    whole = path.read_bytes()
    path.write_bytes(WAYS[way](whole, random.Random(2)))
    code, errors = outcome(partial(tampered.command, command))
    assert code == 2 and errors.count("\n") == 1
    assert errors.startswith(f"nn1d: {path}: ")
    assert errors.endswith(f". Let the run write it again: python train.py --resume {tampered.run}\n")
    assert not list(tampered.output.parent.glob("output*"))
    if command == "evaluate":
        assert outcome(partial(tampered.command, "resume"))[0] == 0
        assert path.read_bytes() == whole


@pytest.mark.parametrize("command", ["reconstruct", "evaluate", "export", "rate"])
def test_what_stands_in_the_place_of_weights_is_no_reason_to_take_others(tampered: Tampered, command: str) -> None:
    makers = {"a pipe": os.mkfifo, "a folder": os.mkdir, "a link": lambda path: path.symlink_to("nowhere")}
    for name, make in makers.items():
        shutil.rmtree(tampered.run, ignore_errors=True)
        shutil.copytree(tampered.whole, tampered.run)
        path = tampered.run / "checkpoints" / "finetuned.safetensors"
        path.unlink()
        make(path)
        code, errors = outcome(partial(tampered.command, command))
        assert code == 2 and errors.startswith(f"nn1d: {path}: not a "), (name, errors)
