"""What a run depends on besides its settings: versions, BLAS, git commit, command line, machine."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from nn1d.backend import blas_kernels

LIBRARIES = {"openblas": "OpenBLAS", "mkl": "MKL", "blis": "BLIS", "flexiblas": "FlexiBLAS", "unknown": "unknown BLAS"}


def surroundings() -> dict[str, Any]:
    """What else a run depends on: versions, BLAS, git commit, command line, machine."""
    blas = [
        {name: library.get(name) for name in ("internal_api", "version", "architecture", "num_threads")}
        for library in threadpool_info()
        if library["user_api"] == "blas"
    ]
    return {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": blas,
        "machine": {"system": platform.platform(), "processor": _processor(), "cores": os.cpu_count()},
    }


def cpu_in_words(threads: int) -> str:
    """What a run on the CPU takes, such as 2 threads, OpenBLAS SkylakeX; surroundings() has the version."""
    kernels = re.sub(r" \d[^ ,]*", "", blas_kernels())  # without the version
    named = re.sub("|".join(LIBRARIES), lambda match: LIBRARIES[match[0]], kernels)
    return f"{threads} thread{'s' * (threads != 1)}, {named}"


def _git_commit() -> str | None:
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
