"""The process of a command: what must be done before NumPy is imported, its cores, its memory."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

PACKAGES = (  # that nn1d does without and everything else needs: the extra `speech`, by the names of its modules
    "scipy", "soundfile", "tqdm", "safetensors", "pooch", "filelock", "pystoi", "matplotlib", "jinja2",
    "msgspec",
)  # fmt: skip
START_BYTES, THREAD_BYTES = 500 << 20, 90 << 20  # address space of packages and a demo run, and of a thread of BLAS
SKYLAKEX = {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}  # what the kernels of this name execute


def start(name: str, module: str) -> Any:
    """Begin a command: what `read_arguments` of a module makes of the command line.

    Called before the modules that take a second to import, so that --help and a mistake are answered at once. A mistake
    ends the process with a sentence and 2, and so does a limit of memory that keeps packages from being loaded.
    """
    os.environ.update(blas_environment())  # which BLAS reads once
    check_address_space(name)
    absent = absent_packages()

    from nn1d.command import run_command
    from training.configuration import ConfigurationError
    from training.launch import ending_others

    def read() -> Any:
        if absent:
            raise ConfigurationError(absent)
        return importlib.import_module(module).read_arguments()

    with ending_others():
        return run_command(name, read, ConfigurationError)


def absent_packages() -> str:
    """What a command that reads recordings needs and is not there, as a sentence; nothing where all is there."""
    absent = [package for package in PACKAGES if importlib.util.find_spec(package) is None]
    return f"needs {', '.join(absent)}. Install them: pip install -e '.[speech]'" if absent else ""


def check_address_space(name: str) -> None:
    """End the process with a sentence where packages do not fit: BLAS would end it, or wait for memory for ever."""
    threads, limit = _blas_threads(), address_space()
    needed = START_BYTES + threads * THREAD_BYTES
    if limit is not None and limit < needed:  # not by run_command: NumPy is imported with it
        sentence = (
            f"{name}: needs about {needed >> 20} MiB of address space with {threads} threads of BLAS; ulimit -v allows "
            f"{limit >> 20} MiB. Raise it: ulimit -v unlimited, or set OPENBLAS_NUM_THREADS=1\n"
        )
        os.write(2, sentence.encode())
        raise SystemExit(2)


def blas_environment(processor: Path = Path("/proc/cpuinfo")) -> dict[str, str]:
    """Variables that have OpenBLAS take its AVX-512 kernels on an AMD processor that has the instructions.

    Several of its releases take those for AVX2 ("Haswell", "Zen") there; the others make our products 1.5 to 2 times as
    fast. On Intel processors it finds the right ones. Empty where the user has set OPENBLAS_CORETYPE.
    """
    try:
        words = set(processor.read_text("utf-8").split())
    except OSError:
        return {}  # not Linux; nn1d.backend says what to set
    if "AuthenticAMD" in words and words >= SKYLAKEX and "OPENBLAS_CORETYPE" not in os.environ:
        return {"OPENBLAS_CORETYPE": "SkylakeX"}
    return {}


def address_space() -> int | None:
    """Bytes that this process may map, as ulimit -v says; None: as many as it likes."""
    try:
        import resource
    except ImportError:
        return None  # Windows
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def available_cores() -> int:
    """Cores that this process may use: its affinity, and the quota of its control group where there is one."""
    cores = _affinity()
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text("ascii").split()
        if quota != "max":
            cores = min(cores, max(1, round(int(quota) / int(period))))
    except (OSError, ValueError):
        pass
    return cores


def _affinity() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _blas_threads() -> int:
    """Threads that OpenBLAS starts when it is loaded: it does not look at quotas."""
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        if os.environ.get(name, "").isdecimal():
            return max(1, int(os.environ[name]))
    return _affinity()


def keep_freed_memory() -> None:
    """Ask glibc to keep the arrays of megabytes that are freed, since the next clip wants the same ones.

    By default it hands each back to the kernel, which clears its pages again at the next allocation: a quarter of a
    training step. To be called before the first thread is started: the heap that a thread has got stays with the
    threads after it. Elsewhere than on glibc this does nothing.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    trim_threshold, mmap_threshold, arena_max = -1, -3, -8  # malloc.h
    mallopt(arena_max, 1)  # one heap for all threads: only that one is never trimmed
    mallopt(mmap_threshold, 1 << 30)
    mallopt(trim_threshold, (1 << 31) - 1)
