"""train.py as a user runs it: a process of its own."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

ROOT = Path(__file__).parents[1]
needs_audio = pytest.mark.skipif(
    importlib.util.find_spec("soundfile") is None, reason="runs train.py, which needs soundfile to read recordings"
)
QUICK = ("--channels", "4,4", "--epochs", "2", "--fine-tune-epochs", "2", "--device", "cpu")
SMALL = (*QUICK, "--clip-samples", "4000", "--no-report")


def start(*options: str | Path, **environment: str) -> subprocess.Popen[str]:
    """Start the command."""
    return subprocess.Popen(
        [sys.executable, ROOT / "train.py", *map(str, options)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )


def import_path(*folders: Path) -> dict[str, str]:
    """PYTHONPATH of a program that finds modules in these folders, then nn1d, then what is found here.

    Nobody need have installed the repository, and the packages that it needs may lie in PYTHONPATH.
    """
    here = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join([*map(str, folders), str(ROOT), *([here] if here else [])])}


def train(*options: str | Path, expect: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, which is the one expected, and never a traceback."""
    with start(*options, **environment) as process:
        try:
            output, errors = process.communicate(timeout=300)
        finally:
            process.kill()
    assert process.returncode == expect, output + errors
    assert "Traceback" not in errors, errors
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def rows(path: Path) -> list[dict[str, str]]:
    """A CSV file."""
    return list(csv.DictReader(path.read_text().splitlines()))


def make_recordings(folder: Path, count: int = 12) -> Path:
    """Half-second recordings of filtered noise of different loudness, in two subfolders."""
    import soundfile  # not there on a machine that has only what the GPU needs

    rng = np.random.default_rng(0)
    for i in range(count):
        inside = folder / ("calm", "loud")[i % 2]
        inside.mkdir(parents=True, exist_ok=True)
        noise = np.convolve(rng.standard_normal(8000), np.hanning(40), "same")
        soundfile.write(inside / f"take{i}.wav", 0.5 * noise / abs(noise).max(), 16_000)
    return folder


def say_gpu(run: Path) -> None:
    """Let config.json of a run say that it was made on a GPU, in half precision."""
    config = json.loads((run / "config.json").read_text())
    config["settings"] |= {"device": "gpu", "gpu_memory": "8GB", "tf32": True, "half": True}
    (run / "config.json").write_text(json.dumps(config))


def whole_run(folder: Path) -> tuple[str, ...]:
    """Options of a small run on real files, with a saved state after every step and its listening page."""
    recordings = make_recordings(folder / "recordings")
    return (
        *QUICK, "--clip-samples", "4000", "--db", "folder", "--data-dir", str(recordings), "--cache-dir",
        str(folder / "cache"), "--checkpoint-every", "0",
    )  # fmt: skip


def outcome(run: Path) -> dict[str, Any]:
    """All that a run has come to, but for seconds and for how it was started."""
    results = json.loads((run / "results.json").read_text())
    for phase in ("pre_training", "fine_tuning"):
        del results[phase]["seconds"]
    contents: dict[str, Any] = {"results": results, "split": json.loads((run / "config.json").read_text())["split"]}
    contents["history"] = [{name: value for name, value in row.items() if name != "seconds"}
                           for row in rows(run / "history.csv")]  # fmt: skip
    for name in (
        "features.npy",
        "clips.csv",
        "checkpoints/pretrained.safetensors",
        "checkpoints/finetuned.safetensors",
    ):
        contents[name] = (run / name).read_bytes()
    for phase in ("pre_training", "fine_tuning"):
        arrays = load_file(run / "checkpoints" / f"{phase}.state.safetensors")
        contents[f"state of {phase}"] = {name: array.tobytes() for name, array in arrays.items()}
    for path in (run / "metrics.csv", *run.glob("audio/*"), *run.glob("figures/*")):
        if path.is_file():
            contents[path.relative_to(run).as_posix()] = path.read_bytes()
    contents["page"] = (run / "report.html").is_file()
    return contents


def compare(run: Path, expected: dict[str, Any]) -> None:
    """AssertionError that names in what a run has come to another end than the one expected."""
    actual = outcome(run)
    other = [name for name in actual.keys() | expected.keys() if actual.get(name) != expected.get(name)]
    assert not other, f"{run} came to another end: {', '.join(other)}"
