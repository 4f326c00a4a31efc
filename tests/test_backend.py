"""Which array module computes, views, and what is said about BLAS."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

from nn1d import array_module, backend, to_numpy
from tests.gpu import standin

ROOT = Path(__file__).parents[1]


def test_the_module_of_an_array(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.ones(3)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    assert array_module(x) is np
    assert to_numpy(x) is x
    cupy = standin.install(monkeypatch)
    assert array_module(cupy.asarray(x)) is cupy
    assert array_module(x) is np
    np.testing.assert_array_equal(to_numpy(cupy.asarray(x)), x)
    # an import that failed leaves None behind
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert array_module(x) is np


TRAINS_A_STEP = """
import sys
import numpy as np
from nn1d import find_device, FlatParameters, Adam, flatten
from models.autoencoder import Autoencoder
from models.objective import objective

module, sentence = find_device("cpu")
network = Autoencoder((2, 3), rng=np.random.default_rng(0))
flat = FlatParameters(network.parameters, module)
x = np.ones((1, 16, 1), np.float32)
trace, cache = network.forward(x)
loss, slope = objective(trace, x, 0.1)
Adam().step(flat.vector, flatten(network.backward(slope, cache)[1]))
assert "cupy" not in sys.modules, "CuPy was imported"
"""


def test_on_the_cpu_cupy_is_never_imported(tmp_path: Path) -> None:
    # a CuPy that says so when it is imported, whether or not a real one is installed
    (tmp_path / "cupy.py").write_text("raise SystemExit('CuPy was imported')\n")
    result = subprocess.run(
        [sys.executable, "-c", TRAINS_A_STEP],
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    # the stand-in is what an import would have met
    result = subprocess.run(
        [sys.executable, "-c", "import cupy"],
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stderr == "CuPy was imported\n"


@st.composite
def views(draw: st.DrawFn) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    axes = draw(st.integers(1, 5))
    lengths, steps = (draw(st.lists(st.integers(1, most), min_size=axes, max_size=axes)) for most in (4, 9))
    return draw(st.integers(0, 7)), tuple(lengths), tuple(steps)


@settings(deadline=None, max_examples=50, derandomize=True)
@given(views(), st.sampled_from([np.float32, np.float64]), st.integers(0, 3))
def test_a_view_counts_in_numbers(view: Any, dtype: Any, unused: int) -> None:
    first, shape, steps = view
    last = first + sum((length - 1) * step for length, step in zip(shape, steps, strict=True))
    x = np.arange(2 * (last + 1 + unused), dtype=dtype).reshape(2, -1)
    seen = backend.view(x, first, shape, steps)
    assert seen.shape == shape
    assert seen.dtype == dtype
    for index in np.ndindex(shape):
        assert seen[index] == first + sum(i * step for i, step in zip(index, steps, strict=True))
    seen[...] = -1  # a view, not a copy: it is where products are written to
    assert (x < 0).sum() == len({first + int(np.dot(index, steps)) for index in np.ndindex(shape)})


@pytest.mark.parametrize("shape", [(0,), (2, 0, 3), (0, 4)])
def test_an_empty_view_looks_at_nothing(shape: tuple[int, ...]) -> None:
    x = np.ones(3, np.float32)
    seen = backend.view(x, 1_000, shape, (500,) * len(shape))  # far outside: a signal shorter than a window
    assert seen.shape == shape
    assert seen.dtype == np.float32


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ({"exp": {"ff": {"current": "X86_V4", "available": "X86_V4 X86_V3"}}}, "X86_V4"),
        ({"exp2": {"ff": {"current": "AVX2"}}, "exp": {"ff": {"current": "AVX512_SKX"}}}, "AVX512_SKX"),
        ({}, ""),  # no vector instructions for it
    ],
)
def test_the_vector_instructions_of_a_function(
    monkeypatch: pytest.MonkeyPatch, targets: dict[str, Any], expected: str
) -> None:
    introspect = pytest.importorskip("numpy.lib.introspect", reason="NumPy says it from 2.0 on")
    monkeypatch.setattr(introspect, "opt_func_info", lambda func_name, signature: targets)
    assert backend.vector_instructions("exp") == expected


def test_the_vector_instructions_are_those_that_numpy_names() -> None:
    introspect = pytest.importorskip("numpy.lib.introspect", reason="NumPy says it from 2.0 on")
    every = introspect.opt_func_info(signature="float32")
    for name in ("exp", "expm1", "no_such_function"):
        assert backend.vector_instructions(name) == "".join(t["current"] for t in every.get(name, {}).values())


def test_before_numpy_2_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("numpy.lib.introspect", raising=False)
    monkeypatch.setitem(sys.modules, "numpy.lib.introspect", None)
    assert backend.vector_instructions("exp") == ""


def library(name: str, version: str | None, architecture: str | None = None, user_api: str = "blas") -> dict[str, Any]:
    """As threadpoolctl describes one."""
    description = {"user_api": user_api, "internal_api": name, "version": version, "num_threads": 2}
    return description if architecture is None else {**description, "architecture": architecture}


OPENMP = library("openmp", None, user_api="openmp")


@pytest.mark.parametrize(
    ("loaded", "expected"),
    [
        ([OPENMP, library("openblas", "0.3.31", "SkylakeX")], "openblas 0.3.31 SkylakeX"),
        ([library("mkl", "2024.1"), OPENMP], "mkl 2024.1"),
        ([library("flexiblas", None)], "flexiblas"),
        ([library("openblas", "0.3.31", "Zen"), library("mkl", "2024.1")], "openblas 0.3.31 Zen, mkl 2024.1"),
        (
            [
                library("openblas", "0.3.30", "Haswell") | {"filepath": "lib/scipy.libs/a.so"},
                library("openblas", "0.3.31", "Zen") | {"filepath": "lib/numpy.libs/b.so"},
            ],
            "openblas 0.3.31 Zen",
        ),
        ([OPENMP], "unknown"),
        ([], "unknown"),
    ],
)
def test_the_kernels_of_blas(monkeypatch: pytest.MonkeyPatch, loaded: list[dict[str, Any]], expected: str) -> None:
    monkeypatch.setattr(backend, "threadpool_info", lambda: loaded)
    assert backend.blas_kernels() == expected


def test_the_kernels_are_those_that_are_loaded() -> None:
    loaded = [each for each in threadpool_info() if each["user_api"] == "blas" and "scipy" not in each["filepath"]]
    assert all(each["internal_api"] in backend.blas_kernels() for each in loaded)
    assert all(str(each.get("architecture") or "") in backend.blas_kernels() for each in loaded)


ADVICE = (
    "nn1d: this processor has AVX-512, but NumPy's BLAS (openblas 0.3.31 {}) takes its AVX2 kernels: set "
    "OPENBLAS_CORETYPE=SkylakeX before NumPy is imported for matrix products 1.5 to 2 times as fast"
)


@pytest.mark.parametrize(
    ("kernels", "instructions", "preset", "advised"),
    [
        ("Haswell", "X86_V4", None, True),
        ("Zen", "AVX512_SKX", None, True),
        ("SkylakeX", "X86_V4", None, False),
        ("Haswell", "X86_V3", None, False),
        ("Haswell", "", None, False),
        ("Haswell", "X86_V4", "Haswell", False),  # the user's own choice
        ("Haswell", "X86_V4", "", False),
    ],
)
def test_advice_where_faster_kernels_are_there(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kernels: str,
    instructions: str,
    preset: str | None,
    advised: bool,
) -> None:
    monkeypatch.setattr(backend, "threadpool_info", lambda: [library("openblas", "0.3.31", kernels), OPENMP])
    monkeypatch.setattr(backend, "vector_instructions", lambda function: instructions)
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    if preset is not None:
        monkeypatch.setenv("OPENBLAS_CORETYPE", preset)
    with caplog.at_level(logging.DEBUG):
        backend._advise()
    expected = [("nn1d", logging.WARNING, ADVICE.format(kernels))]
    assert caplog.record_tuples == (expected if advised else [])


def test_no_advice_about_another_library(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(backend, "threadpool_info", lambda: [library("blis", "1.0", "Haswell")])
    monkeypatch.setattr(backend, "vector_instructions", lambda function: "X86_V4")
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    backend._advise()
    assert caplog.record_tuples == []


def import_of_nn1d(setting: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Import the library with a variable of OpenBLAS; what lies before may take the variable away."""
    return subprocess.run(
        [
            sys.executable,
            "-c",
            f"import os, numpy\n{before}\nimport nn1d, nn1d.backend\nprint(nn1d.backend.blas_kernels())",
        ],
        cwd=ROOT,
        env={"PATH": "", "OPENBLAS_CORETYPE": setting},
        capture_output=True,
        text=True,
        check=True,
    )


def test_an_import_says_nothing_where_the_user_chose_the_kernels() -> None:
    assert import_of_nn1d("Haswell").stderr == ""


def test_an_import_says_it_once_where_openblas_chose_them() -> None:
    # OpenBLAS has read the variable by then, and the library cannot know: as if OpenBLAS had chosen by itself
    done = import_of_nn1d("Haswell", "del os.environ['OPENBLAS_CORETYPE']")
    if not backend.vector_instructions("exp").startswith(("X86_V4", "AVX512")):
        pytest.skip("not a processor with AVX-512: its kernels are the right ones")
    if not done.stdout.startswith("openblas"):
        pytest.skip(f"NumPy's BLAS here is {done.stdout.strip()}, not OpenBLAS")
    assert done.stderr.count("OPENBLAS_CORETYPE=SkylakeX") == 1
    assert done.stderr.count("\n") == 1
