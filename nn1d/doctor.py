"""python -m nn1d.doctor: what nn1d would compute on here, and what keeps it from more."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

from nn1d.backend import blas_kernels, vector_instructions
from nn1d.command import Parser, run_command
from nn1d.device import CHECKS, Gpu, NoGpu, find_device

Fact = tuple[str, str]


def main(arguments: list[str] | None = None) -> int:
    """Print the facts; the exit code: 0 where the device that is the default computes rightly, else 1."""
    return run_command("doctor", lambda: _examine(arguments))


def _examine(arguments: list[str] | None) -> int:
    description = "Show what nn1d would compute on here, and what keeps it from more."
    Parser(command="doctor", prog="python -m nn1d.doctor", description=description).parse_args(arguments)
    gpu, failed = Gpu(), False
    for number, (step, check) in enumerate(CHECKS, 1):
        try:
            result = "not tried" if failed else f"ok: {check(gpu)}"
        except NoGpu as error:
            failed, result = True, f"failed: {error}"
        show(f"step {number}, {step}", result)
    for name, fact in gpu_facts(gpu):
        show(name, fact)
    for name, fact in cpu_facts():
        show(name, fact)
    module, sentence = find_device("auto")
    right = module is not np or computes(8)
    show("in use by default", sentence.removeprefix("device: ") if right else "nothing: NumPy multiplies wrongly here")
    return 0 if right else 1


def show(name: str, fact: str) -> None:
    """One line."""
    print(f"{name:<22} {fact}")


def gpu_facts(gpu: Gpu) -> Iterator[Fact]:
    """What figures and faults on a GPU depend on, as far as CuPy can say it."""
    if gpu.cupy is None:
        return
    runtime = gpu.cupy.cuda.runtime
    driver, version = runtime.driverGetVersion(), runtime.runtimeGetVersion()
    yield "driver", f"serves CUDA {driver // 1000}.{driver % 1000 // 10}" if driver else "none"
    yield "runtime", f"CUDA {version // 1000}.{version % 1000 // 10}"
    if gpu.total_bytes:
        yield "memory", f"{gpu.total_bytes / 1e9:.1f} GB, {gpu.free_bytes / 1e9:.1f} free"
    asked = os.environ.get("CUPY_TF32", "0") not in ("", "0")
    able = gpu.capability == (0, 0) or gpu.capability >= (8, 0)
    yield "TF32", ("on (CUPY_TF32)" if able else "asked for, but this GPU has none") if asked else "off"
    home = os.path.expanduser("~")  # noqa: PTH111 - which does not raise where there is none
    cache = Path(os.environ.get("CUPY_CACHE_DIR") or Path(home) / ".cupy" / "kernel_cache")
    kernels = sum(1 for _ in cache.iterdir()) if cache.is_dir() else 0
    yield "compiled kernels", f"{kernels} in {cache}"


def cpu_facts() -> Iterator[Fact]:
    """What the speed on the CPU depends on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield "Python, NumPy", f"{platform.python_version()}, {np.__version__}"
    yield "BLAS", blas_kernels()
    yield "vector instructions", vector_instructions("exp") or "not known"
    threads = {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}
    yield "threads", f"{cores} cores, BLAS with {' or '.join(map(str, sorted(threads))) or 'an unknown number'}"


def computes(size: int) -> bool:
    """Whether NumPy's matrix product is that of the definition, here on whole numbers, which have one answer."""
    a = np.arange(size * size, dtype=np.float32).reshape(size, size) % 7
    expected = [[sum(int(a[i, k]) * int(a[k, j]) for k in range(size)) for j in range(size)] for i in range(size)]
    return bool(((a @ a) == np.array(expected)).all())


if __name__ == "__main__":
    sys.exit(main())
