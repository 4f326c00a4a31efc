"""A run that does not fit into memory is refused before anything is read, in a sentence that says what it needs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nn1d import FlatParameters
from nn1d.conv import filter_gradient
from training.configuration import Configuration, ConfigurationError
from training.memory import check_memory, needed_bytes, parameter_count
from training.network import build_network

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "settings", [{}, {"channels": (3,), "kernel_size": 9}, {"channels": (5, 9), "clip_samples": 8}]
)
@pytest.mark.parametrize("pooling", ["max", "fold"])
@pytest.mark.parametrize("tied", [False, True])
def test_filters_are_counted_before_they_are_drawn(settings: dict[str, Any], pooling: str, tied: bool) -> None:
    configuration = Configuration(pooling=pooling, tied=tied, **settings)
    views = FlatParameters(build_network(configuration, np.random.default_rng(0)).parameters).views.values()
    assert parameter_count(configuration) == sum(view.size for view in views if view.ndim == 3)


@pytest.mark.parametrize(
    "settings",
    [
        {"channels": (30_000, 30_000)},
        {"channels": (30_000, 30_000), "pooling": "fold"},
        {"channels": (2**53,)},
        {"clip_samples": 64 * 10**12},
        {"clip_samples": 2**53, "kernel_size": 2**49 - 1},
    ],
)
def test_what_no_machine_holds_is_refused(settings: dict[str, Any]) -> None:
    sentence = r"training needs at least [\d,.]+ GB of memory: [\d,]+ parameters, and \d clips? of [\d,]+ samples at a "
    with pytest.raises(ConfigurationError, match=sentence + r"time; .+ [\d,.]+ GB. Take fewer --channels"):
        check_memory(Configuration(**settings), 2)


def test_long_filters_do_not_take_memory_by_the_square_of_their_length() -> None:
    """A product for each window that is clear of the others held K·C·O numbers of its own: 490 MB here."""
    x, dy = (np.ones((1, 1200, 32), np.float32) for _ in range(2))
    tracemalloc.start()
    dw = filter_gradient(x, dy, 301, 1, 150)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100e6
    assert (dw[150] == 1200).all() and (dw[0] == 1050).all()


def test_a_paper_sized_run_is_let_through() -> None:
    assert needed_bytes(Configuration(), 1) < 100e6  # 90 MB by tracemalloc
    check_memory(Configuration(), 2)


@pytest.mark.skipif(sys.platform != "linux", reason="ulimit -v is of Linux")
@pytest.mark.parametrize(
    "command",
    [
        ["train.py"], ["-m", "report", "x"], ["-m", "inference", "evaluate", "x", "--db", "demo"],
        ["-m", "training", "sweep"], ["-m", "nn1d.doctor"], ["-m", "nn1d.gradcheck"],
    ],
)  # fmt: skip
@pytest.mark.parametrize("kilobytes", [300_000, 102_400])
def test_a_small_address_space_is_named_before_packages_are_loaded(
    tmp_path: Path, command: list[str], kilobytes: int
) -> None:
    """With 300 MB OpenBLAS waits for ever, with 500 MB it ends the process by itself; with 100 MB NumPy fails."""
    of_nn1d = command[-1].startswith("nn1d.")
    if of_nn1d and kilobytes > 200_000:
        return  # enough for these
    words = [sys.executable, *command, *(["--out", str(tmp_path / "run")] if command == ["train.py"] else [])]
    limited = ["bash", "-c", f'ulimit -v {kilobytes}; exec "$@"', "bash", *words]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "3"}
    done = subprocess.run(limited, cwd=ROOT, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 2 and done.stdout == "" and not list(tmp_path.iterdir())
    needed = r"needs about \d\d\d MiB of address space" + ("" if of_nn1d else " with 3 threads of BLAS")
    assert re.search(rf"{needed}; ulimit -v allows {kilobytes >> 10} MiB\. Raise it: ulimit -v", done.stderr)
    assert done.stderr.count("\n") == 1
