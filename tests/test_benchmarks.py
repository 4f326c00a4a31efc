"""Each benchmark runs once, small: that it can still be run, not how fast it is."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest


def bench(*options: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.step", "--batch", "2", "--samples", "640", "--steps", "2", *options],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_step_is_measured() -> None:
    assert re.fullmatch(
        r"nn1d +\S+ ms a clip \(\S+ to \S+\), peak \d+ MiB, batch 2, 1 threads\n", bench("--threads", "1")
    )


def test_a_step_against_pytorch_ends_at_the_same_loss() -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("the rival needs pip install -e '.[oracle]'")
    output = bench("--against", "torch", "--threads", "1")
    difference = re.search(r"losses after 2 steps: \S+ and \S+, relative difference (\S+)", output)
    assert difference is not None, output
    assert float(difference[1]) < 1e-4
