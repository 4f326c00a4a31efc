"""Both phases on a GPU, or on what stands in for one, against the same on NumPy."""

from __future__ import annotations

import dataclasses
import logging
import os
import re
import runpy
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.step import clips
from inference.ablation import mask_ablation
from nn1d import array_module, to_numpy
from nn1d.dispatch import plain
from tests.command import ROOT, make_recordings, needs_audio, rows
from tests.gpu import step
from training.arguments import read_arguments
from training.configuration import Configuration
from training.dual_training import DualTraining
from training.executor import Executor
from training.finite_check import NotFinite
from training.gpu import GpuExecutor
from training.mpi import choose_executor
from training.trainer import Epoch, Trainer

SETTINGS = Configuration(
    channels=(3, 4), clip_samples=64, epochs=2, fine_tune_epochs=2, batch_size=3, device="cpu", learning_rate=0.003
)
TRAIN, VALIDATION = np.arange(5), np.arange(5, 7)
CLIPS = np.random.default_rng(0).uniform(0, 1, (7, 64)).astype(np.float32)
CLIPS = np.apply_along_axis(np.convolve, 1, CLIPS, np.hanning(6) / 2.5, "same").astype(np.float32).clip(0, 1)


pytestmark = pytest.mark.usefixtures("quick_kernels")


def make(module: Any, clips: np.ndarray = CLIPS, executor: Executor | None = None, **changes: Any) -> DualTraining:
    return DualTraining(dataclasses.replace(SETTINGS, **changes), clips, executor or choose_executor(module, 1))


def both(training: DualTraining) -> tuple[list[Epoch], np.ndarray, np.ndarray]:
    """The history of both phases, the weights, and the representations between."""
    first = training.pre_training(TRAIN, VALIDATION)
    first.run()
    features = np.stack(list(training.encode(range(len(CLIPS)))))
    second = training.fine_tuning(features, TRAIN, VALIDATION)
    second.run()
    return first.history + second.history, to_numpy(training.flat.vector), features


def assert_alike(actual: list[Epoch], expected: list[Epoch], rtol: float = 1e-4) -> None:
    assert [line.epoch for line in actual] == [line.epoch for line in expected]
    for line, expected_line in zip(actual, expected, strict=True):
        assert line[1:3] == pytest.approx(expected_line[1:3], rel=rtol)
        assert line.val_accuracy == pytest.approx(expected_line.val_accuracy, abs=0.02)  # a sample more or less
        assert line.learning_rate == expected_line.learning_rate


@pytest.mark.parametrize(
    "changes", [{}, {"middle_weight": 0.1, "fine_tune_masks": True, "decay": "l2", "output": "linear"}]
)
def test_both_phases_come_to_what_numpy_comes_to(cupy: Any, changes: dict[str, Any]) -> None:
    history, weights, features = both(make(cupy, **changes))
    expected_history, expected_weights, expected_features = both(make(np, **changes))
    assert len(history) == 4
    assert_alike(history, expected_history)
    np.testing.assert_allclose(features, expected_features, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(weights, expected_weights, rtol=1e-3, atol=1e-4)


def test_the_step_is_captured_as_a_graph(cupy: Any, quick_kernels: bool, caplog: pytest.LogCaptureFixture) -> None:
    training = make(cupy, executor=(executor := GpuExecutor(cupy)), middle_weight=0.1)
    with caplog.at_level(logging.WARNING):
        gradients = [training.gradient(TRAIN) for _ in range(3)]
    assert (executor.step.bytes_held > 0) == quick_kernels  # the plain form multiplies by cuBLAS
    assert len(caplog.records) == (0 if quick_kernels else 1)
    for loss, slope in gradients[1:]:
        assert float(loss) == float(gradients[0][0])
        assert to_numpy(slope).tobytes() == to_numpy(gradients[0][1]).tobytes()


def test_two_runs_come_to_the_same_bits(cupy: Any) -> None:
    (_, first, _), (_, second, _) = both(make(cupy)), both(make(cupy))
    assert first.tobytes() == second.tobytes()


def test_the_gradient_of_the_whole_network_is_that_of_numpy(cupy: Any) -> None:
    on_gpu, on_cpu = make(cupy, middle_weight=0.1), make(np, middle_weight=0.1)
    loss, slope = on_gpu.gradient(TRAIN)
    expected_loss, expected = on_cpu.gradient(TRAIN)
    assert float(loss) == pytest.approx(float(expected_loss), rel=1e-5)
    error = np.linalg.norm(to_numpy(slope) - expected) / np.linalg.norm(expected)
    assert error < 1e-4


def new_run(path: Path) -> Any:
    """The folder of a run."""
    pytest.importorskip("msgspec", reason="saves a run, which needs msgspec")
    from training.run_folder import RunFolder

    return RunFolder.create(path, {})


def finished(run: Any, training: DualTraining, epochs: int, save: bool = True) -> tuple[Trainer, list[Epoch]]:
    """Phase 1 from where the folder has it, until it has had so many epochs."""
    trainer = training.pre_training(TRAIN, VALIDATION)
    run.load_state("pre_training", trainer, training.named)

    class Enough(Exception):
        pass

    def on_epoch(line: Epoch, improved: bool) -> None:
        if save:
            run.save_state("pre_training", trainer, training.named)
        if line.epoch == epochs:
            raise Enough

    with pytest.raises(Enough):
        trainer.run(on_epoch=on_epoch)
    return trainer, trainer.history


@pytest.mark.parametrize("way", ["to the GPU", "from the GPU"])
def test_a_state_moves_between_cpu_and_gpu(cupy: Any, tmp_path: Path, way: str) -> None:
    before, after = (np, cupy) if way == "to the GPU" else (cupy, np)
    run = new_run(tmp_path / "moved")
    try:
        finished(run, make(before), 1)
        trainer, history = finished(run, make(after), 2)
    finally:
        run.release()
    straight = new_run(tmp_path / "straight")
    try:
        expected, expected_history = finished(straight, make(np), 2)
    finally:
        straight.release()
    assert array_module(trainer.parameters) is after
    assert_alike(history, expected_history)
    np.testing.assert_allclose(to_numpy(trainer.best), expected.best, rtol=1e-3, atol=1e-4)


def test_saving_in_the_middle_of_an_epoch_moves_nothing(cupy: Any, tmp_path: Path) -> None:
    """Whoever saves after every step comes to the same bits, and the model stays where it is."""
    _, undisturbed, _ = both(make(cupy))
    training = make(cupy)
    run = new_run(tmp_path / "run")
    first = training.pre_training(TRAIN, VALIDATION)
    views = dict(training.flat.views)
    try:
        first.run(on_step=lambda: run.save_state("pre_training", first, training.named))
    finally:
        run.release()
    assert all(training.flat.views[name] is view for name, view in views.items())
    assert array_module(training.flat.vector) is cupy
    layer = training.network.encoder.stages[0].layers["convolution"]
    training.flat.vector[...] = 0  # the layers look at the vector still
    assert float(abs(layer.parameters["weight"]).sum()) == 0
    training.flat.vector[...] = first.best
    features = np.stack(list(training.encode(range(len(CLIPS)))))
    training.fine_tuning(features, TRAIN, VALIDATION).run()
    assert to_numpy(training.flat.vector).tobytes() == undisturbed.tobytes()


@pytest.mark.parametrize("saves", [False, True])
def test_a_loss_that_is_not_finite_ends_the_run_where_it_does_on_the_cpu(
    cupy: Any, tmp_path: Path, saves: bool
) -> None:
    clips = CLIPS.copy()
    clips[3, 3] = np.nan
    ends = []
    for module in (np, cupy):
        training = make(module, clips)
        trainer = training.pre_training(TRAIN, VALIDATION)
        run = new_run(tmp_path / module.__name__)

        def on_step(run: Any = run, trainer: Trainer = trainer, training: DualTraining = training) -> None:
            if saves:
                run.save_state("pre_training", trainer, training.named)

        try:
            with pytest.raises(NotFinite) as caught:
                trainer.run(on_step)
        finally:
            run.release()
        message = str(training.diverged("pre_training", trainer, caught.value, [f"clip{i}" for i in range(7)]))
        ends.append((message, trainer.adam.steps, to_numpy(training.flat.vector)))
    (cpu_message, cpu_steps, cpu_weights), (gpu_message, gpu_steps, gpu_weights) = ends
    assert gpu_message == cpu_message
    assert "the first of it was the output of encoder.0.convolution" in gpu_message
    assert gpu_steps == cpu_steps
    np.testing.assert_allclose(gpu_weights, cpu_weights, rtol=1e-3, atol=1e-5)


def test_mask_ablation_gives_the_same(cupy: Any) -> None:
    def score(clip: int, rebuilt: np.ndarray) -> float:
        return float(np.mean((rebuilt - CLIPS[clip]) ** 2))

    on_cpu, on_gpu = (
        mask_ablation(
            training.network, CLIPS, VALIDATION, score, rng=np.random.default_rng(1), executor=training.executor
        )
        for training in (make(np), make(cupy))
    )
    for kind in ("own", "another", "random", "none"):
        assert on_gpu[kind] == pytest.approx(on_cpu[kind], rel=1e-4)


@pytest.mark.parametrize(("precision", "most"), [("float32", 1e-4), ("tf32", 2e-2), ("half", 2e-2)])
def test_a_step_for_the_sanitizer(
    cupy: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], precision: str, most: float
) -> None:
    monkeypatch.setenv("CUPY_TF32", "0")
    if precision == "tf32" and int(cupy.cuda.Device().compute_capability) < 80:
        pytest.skip("needs a GPU that has TF32")
    options = ["--precision", precision, "--samples", "320"]
    with nullcontext() if os.environ.get("NN1D_GPU") == "1" else plain():  # thirty convolutions on one core: a minute
        assert step.main(options) == 0
    line = capsys.readouterr().out
    assert line.count("\n") == 1 and line.endswith(", weights moved by up to 1.0e-03\n"), line  # Adam's first step
    settings = Configuration(clip_samples=320, batch_size=2)
    loss, _ = DualTraining(settings, np.array(clips(2, 320)), choose_executor(np, 1)).gradient(np.arange(2))
    assert float(line.split()[1].rstrip(",")) == pytest.approx(float(loss), rel=most)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], r"no GPU: CuPy cannot be imported \(.+\)\. For one: .+"),
        (["--clips", "0"], "batch_size must be at least 1; got 0"),
    ],
)
def test_a_step_that_cannot_be_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(SystemExit) as end:
        step.main(options)
    output, errors = capsys.readouterr()
    assert (end.value.code, output) == (2, "")
    assert re.fullmatch(rf"tests\.gpu\.step: {message}\n", errors), errors


def command(monkeypatch: pytest.MonkeyPatch, *options: object, expect: int = 0) -> None:
    """train.py within this process, where the tests' CuPy is."""
    monkeypatch.setattr(sys, "argv", ["train.py", *map(str, options)])
    program = runpy.run_path(str(ROOT / "train.py"))
    monkeypatch.setitem(program["main"].__globals__, "keep_freed_memory", lambda: None)
    assert program["main"](read_arguments([*map(str, options)])) == expect


@pytest.fixture
def corpus(tmp_path: Path) -> list[object]:
    pytest.importorskip("soundfile", reason="runs train.py, which needs soundfile to read recordings")
    folder = make_recordings(tmp_path / "recordings")
    sizes = ["--channels", "3,4", "--clip-samples", "640", "--epochs", "1", "--fine-tune-epochs", "1"]
    return ["--db", "folder", "--data-dir", folder, "--cache-dir", tmp_path / "cache", *sizes]


@needs_audio
def test_a_run_of_train_py_moves_from_gpu_to_cpu_and_back(
    cupy: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, corpus: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CUPY_TF32", "0")
    run, only_cpu = tmp_path / "run", tmp_path / "cpu"
    fast = ["--tf32"] * (int(cupy.cuda.Device().compute_capability) >= 80)
    command(monkeypatch, *corpus, "--device", "gpu", "--gpu-memory", "1GB", *fast, "--half", "--out", run)
    out = capsys.readouterr().out
    assert "device: GPU " in out
    assert f"at most 1.0 GB used{', products in TF32' * len(fast)}, float16 between layers\n" in out
    for device in ("cpu", "gpu"):
        epochs = "2" if device == "cpu" else "3"
        command(monkeypatch, "--resume", run, "--device", device, "--epochs", epochs, "--no-report")
    command(monkeypatch, *corpus, "--device", "cpu", "--out", only_cpu, "--no-report")
    for more in ("2", "3"):
        command(monkeypatch, "--resume", only_cpu, "--epochs", more, "--no-report")
    history, expected = rows(run / "history.csv"), rows(only_cpu / "history.csv")
    assert len(history) == len(expected) == 4
    for row, expected_row in zip(history, expected, strict=True):
        assert float(row["train_loss"]) == pytest.approx(float(expected_row["train_loss"]), rel=1e-2)


@needs_audio
@pytest.mark.parametrize("option", ["--overfit", "--dry-run"])
def test_a_look_before_a_run(
    cupy: Any, monkeypatch: pytest.MonkeyPatch, corpus: list[object], option: str, caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("training.sanity.OVERFIT_STEPS", 3)
    with caplog.at_level(logging.WARNING):
        command(monkeypatch, *corpus, "--device", "gpu", option, expect=1 if option == "--overfit" else 0)
    assert ("NOT learned" if option == "--overfit" else "one step of 2 clips in") in capsys.readouterr().out
