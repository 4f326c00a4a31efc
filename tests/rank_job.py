"""mpiexec -n 4 python -m tests.rank_job FOLDER: what ranks promise, looked at from inside; ends by an error on one.

Each rank writes what a whole run has come to for it, so that another process can compare.
"""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import pickle
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.ranks import measure_here
from nn1d.command import run_command
from nn1d.dispatch import plain
from speech.shard import Shards
from tests.gpu import standin
from tests.test_executor_interface import CLIPS, SETTINGS, outcome
from training.dual_training import DualTraining
from training.executor import Executor
from training.gpu import GpuExecutor
from training.launch import silence_others
from training.mpi import MpiExecutor
from training.nccl import NcclChain
from training.rank import SEGMENT, RankError, Ranks
from training.sharding import make_shards
from training.signals import Stop, Stopped
from training.workers import Workers

KINDS = (SETTINGS, dataclasses.replace(SETTINGS, fine_tune_masks=True, batch_size=2, half=True))
SIZES = (2, 3, 4)
ON_SHARDS = dataclasses.replace(SETTINGS, db="folder", clip_samples=800)


def raised(function: Callable[[], object]) -> tuple[type[BaseException], str]:
    """What a call raises."""
    try:
        function()
    except Exception as error:
        return type(error), str(error)
    raise AssertionError("nothing was raised")


def divided(size: int) -> Ranks:
    """These ranks in groups of some; the last may be smaller."""
    from mpi4py import MPI

    return Ranks(MPI.COMM_WORLD.Split(MPI.COMM_WORLD.Get_rank() // size))


def runs(folder: Path, ranks: Ranks) -> None:
    """Whole runs in several numbers of ranks, of one and two threads."""
    for kind, settings in enumerate(KINDS):
        for size in SIZES[kind:]:
            name = f"{size}-{kind}-{ranks.rank}"
            executor = MpiExecutor(divided(size), Workers(1 + ranks.rank % 2))
            (folder / f"{name}.pickle").write_bytes(pickle.dumps(outcome(executor, folder / name, settings)))


def make(folder: Path, ranks: Ranks) -> Shards:
    """Shards of the recordings that are in a folder, made by all ranks."""
    with redirect_stdout(io.StringIO()):
        make_shards(dataclasses.replace(ON_SHARDS, data_dir=folder / "recordings"), folder / "shards", 3, ranks)
    return Shards(folder / "shards")


def trained(shards: Shards, executor: Executor) -> bytes:
    """The weights after both phases on shards."""
    with executor:
        training = DualTraining(ON_SHARDS, shards.samples, executor)
        for phase in (training.pre_training, partial(training.fine_tuning, None)):
            phase(shards.part("train"), shards.part("validation")).run()
        return training.flat.vector.tobytes()


def on_shards(folder: Path, ranks: Ranks) -> None:
    """Shards are made by all, and trained on in each number of ranks."""
    shards = make(folder, ranks)
    weights = {size: trained(shards, MpiExecutor(divided(size), Workers(1))) for size in SIZES}
    (folder / f"shards-{ranks.rank}.pickle").write_bytes(pickle.dumps(weights))


def on_gpus(folder: Path, ranks: Ranks) -> None:
    """What stands in for a GPU on each of two and three ranks."""
    logging.getLogger("training").setLevel(logging.ERROR)  # the plain form is not captured as a graph
    with pytest.MonkeyPatch.context() as patch, plain():
        cupy = standin.install(patch)
        for size in (2, 3):
            name = f"gpu-{size}-{ranks.rank}"
            group = divided(size)
            through_host = outcome(MpiExecutor(group, GpuExecutor(cupy)), folder / name, SETTINGS)
            (folder / f"{name}.pickle").write_bytes(pickle.dumps(through_host))
            with redirect_stdout(io.StringIO()) as printed:
                by_nccl = MpiExecutor(group, GpuExecutor(cupy), NcclChain.join(group, cupy))
            assert printed.getvalue() == "gpu: gradients go from GPU to GPU, by NCCL\n"
            assert outcome(by_nccl, folder / f"nccl-{name}", SETTINGS) == through_host
        nccl(group, cupy, patch)


def nccl(ranks: Ranks, cupy: Any, patch: pytest.MonkeyPatch) -> None:
    """From GPU to GPU nothing waits for the device or goes through the host; or it is said why it goes there."""
    with redirect_stdout(io.StringIO()) as printed:
        gpus = NcclChain.join(ranks, cupy)
        patch.setattr(cupy.cuda.Device, "pci_bus_id", "0000:00:00.0")
        assert (NcclChain.join(ranks, cupy) is None) is (ranks.size > 1)
        patch.setattr(cupy.cuda.nccl, "available", False)
        assert NcclChain.join(ranks, cupy) is None
    assert printed.getvalue().splitlines()[-1] == (
        "gpu: gradients go through the host: CuPy finds no NCCL. For one: pip install nvidia-nccl-cu13"
    )
    assert gpus is not None
    mine = [(cupy.ones((), np.float64), cupy.full(5, 2.0**ranks.rank, np.float32))] if ranks.rank != 1 else []
    standin.Counts.reset()
    loss, total = gpus.chain(5, np.float32, mine)
    assert (standin.Counts.synchronisations, standin.Counts.uploads) == (0, 0)
    assert (float(loss), total.tolist()) == ((2, [5.0] * 5) if ranks.size == 3 else (1, [1.0] * 5))
    gpus.leave(failed=False)


def chain(ranks: Ranks) -> None:
    """Longer than a segment, and with a rank that has no clip."""
    rng = np.random.default_rng(0)
    numbers = 2 * SEGMENT + 77
    clips = [(float(loss), rng.standard_normal(numbers).astype(np.float32)) for loss in rng.uniform(size=5)]
    for ends in ((2, 4, 5), (4, 4, 5), (3, 5, 5)):
        loss, total = 0.0, np.zeros(numbers, np.float32)
        for clip_loss, gradient in clips:
            loss, total = loss + clip_loss, total + gradient
        start = (0, *ends)[ranks.rank]
        mine = [(clip_loss, gradient.copy()) for clip_loss, gradient in clips[start : ends[ranks.rank]]]
        chained_loss, chained_total = ranks.chain(numbers, np.float32, mine)
        assert chained_loss == loss
        assert chained_total.tobytes() == total.tobytes()


def errors(ranks: Ranks) -> None:
    """What one rank raises all raise, and they can go on."""
    executor = MpiExecutor(ranks, Workers(1))

    def function(numbers: np.ndarray, x: np.ndarray) -> list[int]:
        if numbers[0] >= 7:
            raise ArithmeticError(f"clip {numbers[0]}")
        return [int(numbers[0])]

    with executor:
        error = raised(lambda: list(executor.map_clips(function, [CLIPS], np.arange(13))))
        assert error == (ArithmeticError, "clip 7")  # the first, as in one process
        assert list(executor.map_clips(function, [CLIPS], np.arange(6))) == list(range(6))
    assert raised(lambda: ranks.same("names", ranks.rank // 2)) == (
        RankError, "rank 2 of 3 has other names than rank 0. All need the same ones",
    )  # fmt: skip
    assert ranks.first(lambda: ranks.rank) == 0
    assert raised(lambda: ranks.first(lambda: [][ranks.rank])) == (IndexError, "list index out of range")


def stops(ranks: Ranks) -> None:
    """A signal to the last rank stops all where they next meet, and not before."""
    stop = Stop()
    ranks.heed(stop)
    if ranks.rank == 2:
        stop.asked = 15
    stop.check()
    ranks.meet()
    assert raised(stop.check) == (Stopped, "SIGTERM")
    again = Stop()
    ranks.heed(again)
    if ranks.rank == 0:
        again.asked = 2
    assert raised(lambda: ranks.first(again.check)) == (Stopped, "SIGINT")  # what rank 0 does alone it leaves at once


def node(ranks: Ranks, folder: Path) -> None:
    """One rank makes what the others find."""

    def look() -> bool:
        there = (folder / "made").exists()
        (folder / "made").touch()
        return there

    assert ranks.gather(lambda: ranks.first_of_node(look)) == [False, True, True]
    begun: list[int] = []

    def fail() -> None:
        begun.append(ranks.rank)
        raise ArithmeticError

    assert raised(lambda: ranks.first_of_node(fail))[0] is ArithmeticError
    assert ranks.gather(lambda: begun) == [[0], [], []]  # the others do not begin what has failed


def main(folder: Path) -> int:
    """Everything; then an error that nobody expects on rank 1."""
    with Ranks.join() as ranks:
        three = divided(3)
        if three.size == 3:
            for look in (chain, errors, stops):
                look(three)
            node(three, folder)
        runs(folder, ranks)
        on_shards(folder, ranks)
        on_gpus(folder, ranks)
        if figures := measure_here(4, 640, 1):
            (folder / "figures.json").write_text(json.dumps(figures))
        print("done", flush=True)
        if ranks.rank == 1:
            return 1 // 0
        ranks.meet()
    return 0


if __name__ == "__main__":
    silence_others()
    sys.exit(run_command("job", lambda: main(Path(sys.argv[1])), RankError))
