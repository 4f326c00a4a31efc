"""Processes that train together over MPI: the bits of one, whatever happens to one of them."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.ranks import MPIEXEC, constants, message_seconds, said, step_seconds, table
from tests.command import ROOT, make_recordings
from tests.rank_job import KINDS, SIZES, make, trained
from tests.ranks import needs_mpi
from tests.test_executor_interface import outcome as outcome_of
from training.launch import launch
from training.rank import RankError, Ranks
from training.workers import Workers

pytestmark = pytest.mark.commands


@needs_mpi
def test_ranks_come_to_the_bits_of_one_process_and_end_together(tmp_path: Path) -> None:
    make_recordings(tmp_path / "recordings", 29)
    command = [str(MPIEXEC), "-n", "4", sys.executable, "-m", "tests.rank_job", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.stdout == "done\n", done.stdout + done.stderr
    sentence = r"job: rank 1 of 4 \(.+\): ZeroDivisionError: integer division or modulo by zero \(rank_job\.py:\d+\)\n"
    assert re.fullmatch(sentence, done.stderr), done.stderr
    assert done.returncode == 2
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert (figures["ranks"], figures["batch"], figures["bytes"]) == (4, 4, 4 * figures["numbers"] + 8)
    assert min(figures["step_s"], figures["chain_s"], figures["meet_s"], figures["add_s"]) > 0
    for kind, settings in enumerate(KINDS):
        expected = outcome_of(Workers(2), tmp_path / f"alone-{kind}", settings)
        for size in SIZES[kind:]:
            for rank in range(4):
                by_ranks = pickle.loads((tmp_path / f"{size}-{kind}-{rank}.pickle").read_bytes())
                assert [name for name in expected if by_ranks[name] != expected[name]] == [], (size, rank)
    expected = outcome_of(Workers(1), tmp_path / "for-gpus", KINDS[0])
    for name, others in {"2-0": ("2-1", "2-2", "2-3"), "3-0": ("3-1", "3-2")}.items():
        by_gpus = pickle.loads((tmp_path / f"gpu-{name}.pickle").read_bytes())
        for other in others:  # all ranks take the same steps
            assert pickle.loads((tmp_path / f"gpu-{other}.pickle").read_bytes()) == by_gpus
        weights, alone = (np.frombuffer(each["weights"], np.float32) for each in (by_gpus, expected))
        np.testing.assert_allclose(weights, alone, rtol=1e-3, atol=1e-4)
        for phase in ("first", "second"):
            assert by_gpus[phase]["test_loss"] == pytest.approx(expected[phase]["test_loss"], rel=1e-3)
    made_by_ranks = (tmp_path / "shards" / "manifest.json").read_bytes()
    shutil.rmtree(tmp_path / "shards")
    on_shards = trained(make(tmp_path, Ranks()), Workers(2))
    assert (tmp_path / "shards" / "manifest.json").read_bytes() == made_by_ranks
    for rank in range(4):
        assert pickle.loads((tmp_path / f"shards-{rank}.pickle").read_bytes()) == dict.fromkeys(SIZES, on_shards)


@needs_mpi
def test_a_rank_that_ends_before_it_has_joined_ends_the_others() -> None:
    """As on a machine that lacks a package: the others wait for it in MPI_Init, where no signal reaches Python."""
    command = [str(MPIEXEC), "-n", "1", sys.executable, "train.py", ":", "-n", "1", sys.executable, "train.py"]
    done = subprocess.run([*command, "--epochs", "x"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert re.fullmatch(r"train\.py: rank 1 of 2 \(.+\): --epochs: must be an integer; got 'x'\n", done.stderr)
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (0, 1)),
        ({"PMI_RANK": "2", "PMI_SIZE": "4"}, (2, 4)),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "3"}, (1, 3)),
        ({"SLURM_PROCID": "7", "SLURM_STEP_NUM_TASKS": "8"}, (7, 8)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, (0, 1)),  # a batch script, which runs once
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1", "PMI_RANK": "1", "PMI_SIZE": "2"}, (1, 2)),  # mpiexec in it
        ({"PMI_RANK": "0", "PMI_SIZE": "1"}, (0, 1)),
        ({"PMI_RANK": "x", "PMI_SIZE": "2"}, (0, 1)),
    ],
)
def test_what_started_a_process_is_read_from_its_environment(environment: dict[str, str], expected: object) -> None:
    assert launch(environment) == expected


def test_a_process_that_does_not_know_of_the_others_says_so() -> None:
    """Started by the mpiexec of another library, or by srun without --mpi: each would write the run."""
    pytest.importorskip("mpi4py", reason="pip install mpi4py mpich")
    program = "from training.rank import Ranks; Ranks.join()"
    environment = os.environ | {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2"}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert "RankError: mpiexec or srun started 2 processes, and the MPI of mpi4py (" in done.stderr
    assert ") sees 1. Use the mpiexec of that library, or srun --mpi=pmi2 or pmix" in done.stderr


def test_the_page_shows_the_reckoning() -> None:
    points = json.loads((ROOT / "docs/performance/ranks.json").read_text("utf-8"))["ranks"]
    page, measured = (ROOT / "docs/scale.md").read_text("utf-8"), constants(points)
    assert "\n".join(table(measured)) in page
    assert said(measured) in page.replace("\n", " ")
    by_hand = 2 * measured["clip_s"] + 2 * 316_836 / 1.25e9  # 16 clips on 8 ranks over 10 Gbit/s, the broadcast
    message = measured["message_s"] + 120e-6
    hop = message + 316_836 / 3 / 1.25e9 + 2 * measured["add_s"] / 3
    assert step_seconds(measured, 8, 16, 10) == pytest.approx(by_hand + 10 * hop + 6 * message, rel=1e-9)
    two = next(point for point in points if point["ranks"] == 2)
    assert two["chain_s"] == pytest.approx(5 * message_seconds(two) + 4 * 8 * two["add_s"] / 3)


def test_a_process_alone_has_nobody_to_wait_for() -> None:
    with Ranks() as ranks:
        assert (ranks.rank, ranks.size, ranks.meet(number=3), ranks.threads(8)) == (0, 1, 3, 8)
        assert ranks.first(lambda: 5) == 5
        assert ranks.gather(lambda: 5) == [5]
        ranks.same("clips", 1)
    with pytest.raises(RankError), Ranks():
        raise RankError("of a test")
