"""Each benchmark runs once, small: that it can still be run, not how fast it is."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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
    found, printed = bench(
        "step", tmp_path / "step.json", "--batch", "2", "--threads", "1", "--samples", "640", "--steps", "2"
    )
    assert [case["work"] for case in found["cases"]] == ["train", "phase2", "forward", "encode"]
    assert len(printed.strip().splitlines()) >= 4
    for case in found["cases"]:
        own = case["nn1d"]
        assert 0 < own["ms_least"] <= own["ms"] <= own["ms_most"]
        assert own["peak_mib"] > 10
        assert case["share"] == pytest.approx(case["gflops"] / case["product_gflops"])


def test_the_operations_of_a_step_are_counted_from_the_layers() -> None:
    import numpy as np

    from benchmarks.step import gigaflop
    from models.autoencoder import Autoencoder
    from nn1d import Conv1d, ConvTranspose1d

    total = 0
    seen: list[Any] = []

    def count(layer: Any, length: int) -> None:
        nonlocal total
        seen.append(layer)
        total += 2 * layer.kernel_size * layer.in_channels * layer.out_channels * length

    network = Autoencoder(rng=np.random.default_rng(0))
    for stages, backwards in ((network.encoder.stages, False), (network.decoder.stages, True)):
        for i, stage in enumerate(reversed(stages) if backwards else stages):
            length = 64_000 >> i
            pending = [stage]
            while pending:
                layer = pending.pop()
                if isinstance(layer, (Conv1d, ConvTranspose1d)):
                    count(layer, length)
                elif isinstance(layer, (list, tuple)):
                    pending += layer
                else:
                    pending += (
                        (layer if isinstance(layer, dict) else vars(layer)).values()
                        if hasattr(layer, "backward") or isinstance(layer, dict)
                        else []
                    )
    assert len(seen) == 30
    assert gigaflop("forward", 64_000) == pytest.approx(total / 1e9)


def test_a_step_against_pytorch_ends_at_the_same_loss(tmp_path: Path) -> None:
    if not against():
        pytest.skip("the rival needs pip install -e '.[oracle]'")
    options = ("--batch", "2", "--threads", "1", "--samples", "640", "--steps", "2", "--against", "torch")
    found, printed = bench("step", tmp_path / "step.json", *options)
    for case in found["cases"]:
        assert case["values"]["relative_difference"] < 1e-4
        assert case["torch"]["layout"] in ("contiguous", "channels-last")
        assert 0 < case["ratio"]["least"] <= case["ratio"]["median"] <= case["ratio"]["most"]
    assert "ratio" in printed


def test_each_layer_is_measured(tmp_path: Path) -> None:
    found, _ = bench("layers", tmp_path / "layers.json", "--samples", "320", "--rounds", "1", *against())
    kinds = {row["kind"] for row in found["layers"]}
    assert {"Conv1d", "ConvTranspose1d", "ELU"} <= kinds
    assert all(row["nn1d"][way] > 0 for row in found["layers"] for way in ("forward", "backward"))
    assert found["product_gflops"] > 0 < found["copy_gb_s"]


def test_growth_is_measured(tmp_path: Path) -> None:
    sizes = ("--batch", "1", "2", "--seconds", "1", "2", "--corpus", "2", "4", "--threads", "1")
    found, _ = bench("scaling", tmp_path / "scaling.json", *sizes, "--samples", "640", "--rounds", "1")
    curves = {curve["name"]: curve["points"] for curve in found["curves"]}
    assert [point["size"] for point in curves["batch"]] == [1, 2]
    assert all(point["peak_mib"] > 10 for points in curves.values() for point in points)


def test_each_trick_can_be_switched_off(tmp_path: Path) -> None:
    options = ("--batch", "2", "--samples", "640", "--steps", "1", "--threads", "1")
    found, _ = bench("trick", tmp_path / "trick.json", *options)
    assert len(found["tricks"]) >= 8
    assert all(row["ratio"]["median"] > 0 for row in found["tricks"])


def test_a_step_has_its_parts(tmp_path: Path) -> None:
    found, _ = bench("profile", tmp_path / "profile.json", "--batch", "1", "--samples", "640", "--steps", "1")
    parts = sum(value for names in found["parts"].values() for value in names.values())
    assert 0.5 * found["all"] < parts <= 1.01 * found["all"]


def test_an_epoch_is_compared_with_its_steps(tmp_path: Path) -> None:
    options = ("--db", "demo", "--epochs", "1", "--rounds", "1")
    found, _ = bench("epoch", tmp_path / "epoch.json", *options)
    assert found["ratio"] > 0


def test_the_page_holds_what_was_measured(tmp_path: Path) -> None:
    if not (ROOT / "docs" / "performance" / "step.json").exists():
        pytest.fail("docs/performance/ holds no measurements")
    bench("page", None, "--docs", str(tmp_path))
    assert (tmp_path / "performance.md").read_text("utf-8") == (ROOT / "docs" / "performance.md").read_text("utf-8")
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert names == {f"performance-{name}.svg" for name in ("speed", "roofline", "scaling", "tricks")}
