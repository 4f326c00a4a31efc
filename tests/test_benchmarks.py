"""Each benchmark runs once, small: that it can still be run, not how fast it is."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from benchmarks import precision
from benchmarks.measure import Answer, Side, exponent, ratios, seconds
from benchmarks.step import gigaflop
from models.autoencoder import Autoencoder
from nn1d import named_leaves

pytestmark = pytest.mark.commands

ROOT = Path(__file__).parents[1]


def bench(name: str, json_file: Path | None, *options: str) -> tuple[Any, str]:
    """The figures of a benchmark, and what it printed."""
    written = [] if json_file is None else ["--json", str(json_file)]
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *options, *written],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return (None if json_file is None else json.loads(json_file.read_text("utf-8"))), done.stdout


def against() -> list[str]:
    return [] if importlib.util.find_spec("torch") is None else ["--against", "torch"]


def test_every_kind_of_step_is_measured(tmp_path: Path) -> None:
    measured, printed = bench(
        "step", tmp_path / "step.json", "--batch", "2", "--threads", "1", "--samples", "640", "--steps", "2"
    )
    assert [case["work"] for case in measured["cases"]] == ["train", "phase2", "forward", "encode"]
    assert len(printed.strip().splitlines()) >= 4
    for case in measured["cases"]:
        ours = case["nn1d"]
        assert 0 < ours["ms_least"] <= ours["ms"] <= ours["ms_most"]
        assert ours["peak_mib"] > 10
        assert case["share"] == pytest.approx(case["gflops"] / case["product_gflops"])


def test_the_operations_of_a_step_are_counted_from_the_layers() -> None:
    total = 0
    for name, leaf in named_leaves(Autoencoder(rng=np.random.default_rng(0)).parameters):
        half, stage, *_, kind = name.split(".")
        if kind == "weight":
            total += 2 * leaf.size * (64_000 >> (int(stage) if half == "encoder" else 4 - int(stage)))
    assert gigaflop("forward", 64_000) == pytest.approx(total / 1e9)
    assert gigaflop("train", 640) == pytest.approx(3 * total / 1e11)
    assert gigaflop("encode", 640) + gigaflop("phase2", 640) / 3 == pytest.approx(total / 1e11)


def test_a_step_against_pytorch_ends_at_the_same_loss(tmp_path: Path) -> None:
    if not against():
        pytest.skip("the rival needs pip install -e '.[oracle]'")
    sizes = ("--batch", "2", "--threads", "1", "--samples", "640", "--steps", "2")
    measured, printed = bench("step", tmp_path / "step.json", "--work", "train", *sizes, "--against", "torch")
    (case,) = measured["cases"]
    assert case["values"]["relative_difference"] < 1e-4
    assert case["torch"]["layout"] in ("contiguous", "channels-last")
    assert 0 < case["ratio"]["least"] <= case["ratio"]["median"] <= case["ratio"]["most"]
    assert "ratio" in printed


def test_each_layer_is_measured(tmp_path: Path) -> None:
    measured, _ = bench("layers", tmp_path / "layers.json", "--samples", "320", "--rounds", "1", *against())
    kinds = {row["kind"] for row in measured["layers"]}
    assert {"Conv1d", "ConvTranspose1d", "ELU"} <= kinds
    assert all(row["nn1d"][way] > 0 for row in measured["layers"] for way in ("forward", "backward"))
    assert measured["product_gflops"] > 0 < measured["copy_gb_s"]
    network = {"Conv1d": 15, "ConvTranspose1d": 15, "MaxPool1d": 5, "MaxUnpool1d": 5}
    for kind, times in network.items():
        assert sum(row["times"] for row in measured["layers"] if row["kind"] == kind) == times


def test_growth_is_measured(tmp_path: Path) -> None:
    sizes = ("--batch", "1", "2", "--seconds", "1", "2", "--corpus", "2", "4", "--threads", "1")
    measured, _ = bench("scaling", tmp_path / "scaling.json", *sizes, "--samples", "640", "--rounds", "1")
    curves = {curve["name"]: curve["points"] for curve in measured["curves"]}
    assert [point["size"] for point in curves["batch"]] == [1, 2]
    assert all(point["peak_mib"] > 10 for points in curves.values() for point in points)


def test_each_trick_can_be_switched_off(tmp_path: Path) -> None:
    options = ("--batch", "2", "--samples", "640", "--steps", "1", "--threads", "1")
    measured, _ = bench("trick", tmp_path / "trick.json", *options)
    assert len(measured["tricks"]) >= 8
    assert all(row["ratio"]["median"] > 0 for row in measured["tricks"])
    assert all(row["difference"] < 1e-5 for row in measured["tricks"])  # the plain form computes the same


def test_a_step_has_its_parts(tmp_path: Path) -> None:
    measured, _ = bench("profile", tmp_path / "profile.json", "--batch", "1", "--samples", "640", "--steps", "1")
    parts = sum(value for names in measured["parts"].values() for value in names.values())
    assert 0.5 * measured["all"] < parts <= 1.01 * measured["all"]


def test_precisions_are_trained_side_by_side(tmp_path: Path) -> None:
    sizes = ["--limit", "6", "--clip-samples", "3200", "--epochs", "1", "--seeds", "0", "1"]
    measured, printed = bench("precision", tmp_path / "precision.json", *sizes)
    assert [(run["precision"], run["seed"]) for run in measured["runs"]] == [
        (name, seed) for seed in (0, 1) for name in precision.PRECISIONS
    ]
    assert "\n".join(precision.lines(measured["runs"])) in printed
    for full, *rounded in (measured["runs"][:3], measured["runs"][3:]):
        assert full["gradient_error"] == 0
        assert full["same_network"] == {phase: full[phase] for phase in precision.PHASES}
        for run in rounded:
            assert 1e-4 < run["gradient_error"] < 0.1  # it is rounded, and it is the same network
            assert run["halvings"] == 0
            for phase in precision.PHASES:
                assert 0 < abs(run[phase] / full[phase] - 1) < 0.1
                assert 0 < abs(run["same_network"][phase] / full[phase] - 1) < 0.05


def test_numpy_rounds_to_tf32_as_the_kernels_do() -> None:
    rng = np.random.default_rng(0)
    x = (rng.standard_normal(10_000) * 2.0 ** rng.integers(-100, 100, 10_000)).astype(np.float32)
    x[:3] = 0, 1 + 2**-11, -1 - 2**-11  # the last two lie between two
    mantissa, exponent = np.frexp(x.astype(np.float64))
    nearest = np.ldexp(np.trunc(mantissa * 2**11 + np.copysign(0.5, mantissa)), exponent - 11)
    np.testing.assert_array_equal(precision.to_tf32(x), nearest)


def test_the_docs_show_what_precision_does_to_the_loss() -> None:
    measured = json.loads((ROOT / "docs" / "performance" / "precision.json").read_text("utf-8"))
    assert "\n".join(precision.lines(measured["runs"])) in (ROOT / "docs" / "gpu.md").read_text("utf-8")


def test_an_epoch_is_compared_with_its_steps(tmp_path: Path) -> None:
    for i in range(8):
        noise = np.random.default_rng(i).uniform(-0.5, 0.5, 4_000)
        soundfile.write(tmp_path / f"take{i}.wav", noise, 16_000)
    corpus = ("--db", "folder", "--data-dir", str(tmp_path), "--cache-dir", str(tmp_path / "cache"))
    measured, printed = bench(
        "epoch", tmp_path / "epoch.json", *corpus, "--samples", "3200", "--epochs", "2", "--rounds", "2"
    )
    assert measured["train_clips"] + measured["validation_clips"] == 6  # two are for testing
    assert measured["steps"] == -(-measured["train_clips"] // 2)
    assert measured["ratio"] == pytest.approx(measured["epoch_s"] / (measured["steps"] * measured["step_ms"] / 1e3))
    assert measured["ratio"] > 0
    assert printed.startswith("folder: an epoch takes ")


def test_a_train_py_that_fails_is_named_without_a_traceback(tmp_path: Path) -> None:
    options = ("--db", "folder", "--data-dir", str(tmp_path), "--samples", "3200", "--rounds", "1")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.epoch", *options], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "benchmarks: train.py ended with 2; see its message above"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("before", [False, True])
def test_a_side_that_ends_is_named(before: bool) -> None:
    """Whether it ends while it is asked or has ended before."""
    message = r"^benchmarks: the process of os:_exit ended; see its message above$"
    with pytest.raises(SystemExit, match=message), Side("os:_exit", status=1) as side:
        if before:
            side._process.wait()
        side()


def test_ctrl_c_ends_a_benchmark_with_a_sentence_and_the_process_of_its_side() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.step", "--work", "train", "--steps", "1000000"],
        cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        if not children.exists():
            process.kill()
            pytest.skip("the processes of a process are not listed here")
        commands: dict[str, str] = {}
        while "benchmarks.measure" not in " ".join(commands.values()):
            assert process.poll() is None
            commands = {child: _command_line(child) for child in children.read_text("ascii").split()}
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "benchmarks.step: interrupted\n")
    assert not any(_command_line(child) for child in commands), "the process of the side works on"


def _command_line(process: str) -> str:
    """Of a process that may have ended: nothing then."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text("utf-8")
    except OSError:
        return ""


def test_figures_over_the_rounds() -> None:
    slow, fast = ([Answer(seconds, 0, None) for seconds in each] for each in ((4.0, 9.0, 2.0), (2.0, 3.0, 2.0)))
    assert ratios(slow, fast) == {"median": 2.0, "least": 1.0, "most": 3.0}
    assert seconds(slow) == 4.0
    assert exponent([1, 2, 4], [5, 20, 80]) == pytest.approx(2)
    assert exponent([1, 2, 4], [7, 7, 7]) == pytest.approx(0)


def test_the_page_holds_what_was_measured(tmp_path: Path) -> None:
    if not (ROOT / "docs" / "performance" / "step.json").exists():
        pytest.fail("docs/performance/ holds no measurements")
    bench("page", None, "--docs", str(tmp_path))
    assert (tmp_path / "performance.md").read_text("utf-8") == (ROOT / "docs" / "performance.md").read_text("utf-8")
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert names == {f"performance-{name}.svg" for name in ("speed", "roofline", "scaling", "tricks")}
