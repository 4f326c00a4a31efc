"""Functions timed in processes of their own, in turn, so that a slow minute of the machine hits all of them.

A child makes its function from a name such as benchmarks.step:ours and arguments, calls it once for each line on its
standard input, and answers with the seconds, the peak of its memory and what the function returned, as JSON.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from training.machine import blas_environment


class Answer(NamedTuple):
    """One call of a function."""

    seconds: float
    peak_mib: float  # resident, since the process began
    value: Any  # what the function returned


class Side:
    """A function in a process of its own, which lives inside a with statement.

    Parameters
    ----------
    maker : str
        module:function of what makes the function in the child.
    environment : dict
        Variables added to those of this process.
    **arguments
        Given to the maker.
    """

    def __init__(self, maker: str, environment: dict[str, str] | None = None, **arguments: Any) -> None:
        self.maker, self._arguments = maker, json.dumps(arguments)
        self._environment = {**os.environ, **blas_environment(), **(environment or {})}

    def __enter__(self) -> Side:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.measure", self.maker, self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self._environment,
            cwd=Path(__file__).parents[1],
            process_group=0,  # Ctrl-C is for the one that waits, which ends this one
        )
        return self

    def __call__(self) -> Answer:
        """Call the function once."""
        assert self._process.stdin and self._process.stdout
        with suppress(BrokenPipeError):  # it has ended already: then the line is empty, too
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"benchmarks: the process of {self.maker} ended; see its message above")
        return Answer(**json.loads(line))

    def kill(self) -> None:
        """End the process; a call that waits for it ends the program."""
        self._process.kill()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self.kill()
        self._process.communicate()


def in_turn(sides: Sequence[Side], rounds: int) -> list[list[Answer]]:
    """Call each side once to warm up, then `rounds` times in turn; the answers of each, the warm-up left out."""
    with ExitStack() as stack:
        for side in sides:
            stack.enter_context(side)
        answers: list[list[Answer]] = [[] for _ in sides]
        for _ in range(rounds + 1):
            for side, of_side in zip(sides, answers, strict=True):
                of_side.append(side())
    return [of_side[1:] for of_side in answers]


def seconds(answers: Sequence[Answer]) -> float:
    """The median."""
    return statistics.median(answer.seconds for answer in answers)


def ratios(slower: Sequence[Answer], faster: Sequence[Answer]) -> dict[str, float]:
    """How many times the first takes as long as the second: median, least and most over the rounds."""
    quotients = [a.seconds / b.seconds for a, b in zip(slower, faster, strict=True)]
    return {"median": statistics.median(quotients), "least": min(quotients), "most": max(quotients)}


def matrix_product(threads: int, size: int = 2048) -> Callable[[], float]:
    """A large float32 product by the BLAS of NumPy: what the arithmetic alone can reach. Returns GFLOP/s."""
    import numpy as np
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads, user_api="blas")
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((size, size), np.float32) for _ in range(2))
    out = np.empty_like(a)

    def product() -> float:
        started = time.perf_counter()
        for _ in range(3):
            np.matmul(a, b, out=out)
        return 3 * 2 * size**3 / (time.perf_counter() - started) / 1e9

    return product


def copy(mebibytes: int = 64) -> Callable[[], float]:
    """Copy an array that no cache holds, on one thread. Returns the bytes read and written a second, in 10⁹."""
    import numpy as np

    a = np.ones(mebibytes << 18, np.float32)
    b = np.empty_like(a)

    def measure() -> float:
        started = time.perf_counter()
        for _ in range(5):
            np.copyto(b, a)
        return 5 * 2 * a.nbytes / (time.perf_counter() - started) / 1e9

    return measure


def machine() -> dict[str, Any]:
    """What the figures depend on: processor, cores, versions, kernels, and a preset that the user has made."""
    code = "import json; from training.environment import surroundings; print(json.dumps(surroundings()))"
    environment = {**os.environ, **blas_environment()}
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=root, capture_output=True, check=True)
    environment = json.loads(done.stdout)
    blas = environment["blas"][0] if environment["blas"] else {}
    return {
        "processor": environment["machine"]["processor"],
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.system(),
        "python": environment["python"],
        "numpy": environment["numpy"],
        "blas": " ".join(str(blas[name]) for name in ("internal_api", "version", "architecture") if blas.get(name)),
        "preset": os.environ.get("OPENBLAS_CORETYPE"),
        "git_commit": environment["git_commit"],
    }


def write(path: Path | None, content: dict[str, Any]) -> None:
    """Write the figures of a benchmark as JSON, if asked to."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        print(f"written: {path}")


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """p of cost ∝ sizeᵖ: the slope of a line through the logarithms, by least squares."""
    x, y = [math.log(size) for size in sizes], [math.log(cost) for cost in costs]
    return statistics.linear_regression(x, y).slope


def _child(maker: str, arguments: str) -> None:
    module, name = maker.split(":")
    function = getattr(importlib.import_module(module), name)(**json.loads(arguments))
    for _ in sys.stdin:
        started = time.perf_counter()
        value = function()
        elapsed = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
        print(json.dumps({"seconds": elapsed, "peak_mib": peak, "value": value}), flush=True)


if __name__ == "__main__":
    _child(*sys.argv[1:])
