"""Which variables make OpenBLAS take its AVX-512 kernels, and that train.py sets them in time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nn1d.backend import blas_kernels
from training.machine import blas_environment

ROOT = Path(__file__).parents[1]
AVX512 = "avx512f avx512dq adx avx512ifma avx512cd sha_ni avx512bw avx512vl"


def text(vendor: str, flags: str) -> str:
    """/proc/cpuinfo of two cores."""
    core = (
        f"vendor_id\t: {vendor}\nmodel name\t: A processor\nflags\t\t: fpu sse2 avx2 {flags}\nbogomips\t: 5192.25\n\n"
    )
    return core + core


@pytest.mark.parametrize(
    ("vendor", "flags", "expected"),
    [
        ("AuthenticAMD", AVX512, {"OPENBLAS_CORETYPE": "SkylakeX"}),
        ("AuthenticAMD", "", {}),
        ("AuthenticAMD", AVX512.replace("avx512bw", ""), {}),  # one of those that the kernels execute is missing
        ("AuthenticAMD", AVX512.replace("avx512vl", "avx512vlx"), {}),
        ("GenuineIntel", AVX512, {}),
    ],
)
def test_only_amd_with_avx512_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, vendor: str, flags: str, expected: dict[str, str]
) -> None:
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    (tmp_path / "cpuinfo").write_text(text(vendor, flags))
    assert blas_environment(tmp_path / "cpuinfo") == expected


def test_without_the_file_nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    assert blas_environment(tmp_path / "cpuinfo") == {}


@pytest.mark.parametrize("value", ["Haswell", ""])
def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", value)
    (tmp_path / "cpuinfo").write_text(text("AuthenticAMD", AVX512))
    assert blas_environment(tmp_path / "cpuinfo") == {}


def test_train_loads_blas_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    if not blas_environment():
        pytest.skip("not an AMD processor with AVX-512: there is nothing to set")
    if "openblas" not in blas_kernels():
        pytest.skip(f"NumPy's BLAS here is {blas_kernels()}, not OpenBLAS")
    code = (
        "import os, sys; from training.machine import start; start('train.py', 'training.arguments')\n"
        "import nn1d.backend; print(os.environ['OPENBLAS_CORETYPE'], nn1d.backend.blas_kernels())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("SkylakeX openblas")
    assert done.stdout.endswith(" SkylakeX\n")
