"""Whether a GPU computes what the CPU does, and how long a whole run takes: a part of python -m benchmarks.gpu."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PHASES = ("pre_training", "fine_tuning")


def gradient(samples: int, precision: str, batch: int = 4) -> Callable[[], dict[str, float]]:
    """A function that gives |g - g'| / |g'| of the network's gradient, g on the GPU and g' in float32 on the CPU."""
    import numpy as np

    from benchmarks.step import clips
    from nn1d import find_device, to_numpy
    from training.configuration import Configuration
    from training.dual_training import DualTraining
    from training.mpi import choose_executor

    cupy, _ = find_device("gpu", tf32=precision == "tf32", half=precision == "half")
    rows, indices = np.array(clips(batch, samples)), np.arange(batch)

    def of(module: Any, half: bool) -> tuple[float, Any]:
        settings = Configuration(clip_samples=samples, half=half)
        loss, slope = DualTraining(settings, rows, choose_executor(module, 1)).gradient(indices)
        return float(loss), to_numpy(slope)

    def measure() -> dict[str, float]:
        (loss_on_gpu, on_gpu), (loss_on_cpu, on_cpu) = of(cupy, precision == "half"), of(np, False)
        difference = np.linalg.norm(on_gpu - on_cpu) / np.linalg.norm(on_cpu)
        return {"gradient": float(difference), "loss": abs(loss_on_gpu / loss_on_cpu - 1)}

    return measure


def whole(
    options: list[str], cpu_run: Path | None, device: str = "gpu", seconds: float | None = None
) -> dict[str, Any] | None:
    """A run of train.py in a process of its own, from its start: seconds and test losses.

    None where it fails, or takes more than `seconds`.

    With `cpu_run`, the folder of a run of the same settings on the CPU, its test losses beside them.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "run")
        command = [sys.executable, "train.py", *options, "--device", device, "--no-report", "--out", str(out)]
        started = time.perf_counter()
        try:
            subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, timeout=seconds, check=True)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            print(f"benchmarks.gpu: {error}", file=sys.stderr)
            return None
        run_figures: dict[str, Any] = {"seconds": time.perf_counter() - started, "test_loss": losses(out)}
    return run_figures if cpu_run is None else run_figures | {"cpu_test_loss": losses(cpu_run)}


def losses(run: Path) -> dict[str, float]:
    """The test losses of a run that has ended."""
    results = json.loads((run / "results.json").read_text("utf-8"))
    return {phase: results[phase]["test_loss"] for phase in PHASES}


def summary(run_figures: dict[str, Any] | None) -> str:
    """A whole run as a line."""
    if run_figures is None:
        return "whole run: failed; see above"
    parts = []
    for phase, loss in run_figures["test_loss"].items():
        cpu = run_figures.get("cpu_test_loss", {}).get(phase)
        parts.append(f"{phase} {loss:.3e}" + ("" if cpu is None else f" ({loss / cpu:.3f} times the CPU's)"))
    return f"whole run: {run_figures['seconds']:.0f} s from start to end, test loss of {', of '.join(parts)}"
