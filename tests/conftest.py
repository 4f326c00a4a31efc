"""What holds for all tests."""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import settings

from nn1d.dispatch import plain
from tests.browser import chromium, opened
from tests.command import QUICK, train
from tests.gpu import harness, standin

settings.register_profile("default", deadline=None)  # time decides no test
settings.load_profile("default")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell, which commands would inherit
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The tests, and the programs that they start, write into a cache folder of their own and never the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def listened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on the demo corpus that ended with its listening page; nobody writes there."""
    desk = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # one run for all workers
        desk = desk.parent
    with FileLock(desk / "listened.lock"):
        if not (desk / "listened" / "report.html").exists():
            train(*QUICK, "--db", "demo", "--out", desk / "listened")
    return desk / "listened"


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The CuPy of this machine where NN1D_GPU=1 says that it has a GPU, else what stands in for it."""
    module: Any = importlib.import_module("cupy") if os.environ.get("NN1D_GPU") == "1" else standin.install(monkeypatch)
    yield module
    module.get_default_memory_pool().set_limit(size=0)


@pytest.fixture
def kernels_run(cupy: Any) -> None:
    """Skips where kernels run neither on a GPU nor on the CPU."""
    if os.environ.get("NN1D_GPU") != "1" and harness.compiler() is None:
        pytest.skip("needs g++ with AddressSanitizer on Linux, or a GPU and NN1D_GPU=1")


@pytest.fixture
def quick_kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[bool]:
    """Kernels in one order of threads, since test_kernels.py tries the others; without g++ the plain form. Which?"""
    monkeypatch.setattr(harness.RawModule, "runs", 1)
    there = os.environ.get("NN1D_GPU") == "1" or harness.compiler() is not None
    with nullcontext() if there else plain():
        yield there


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as driven:
        yield driven


@pytest.fixture(params=[(400, "light"), (1400, "dark")], ids=["phone-light", "desktop-dark"])
def page(browser: Any, request: pytest.FixtureRequest, listened: Path) -> Iterator[Any]:
    with opened(browser, (listened / "report.html").as_uri(), *request.param) as tab:
        yield tab


@pytest.fixture
def wide(browser: Any, listened: Path) -> Iterator[Any]:
    with opened(browser, (listened / "report.html").as_uri(), 1400, "light") as tab:
        yield tab
