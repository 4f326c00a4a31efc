"""A sweep as a user starts it: two local workers, one of which is killed, and the same command again."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.command import ROOT, SMALL, make_recordings, rows, train
from training.arguments import read_arguments
from training.configuration import Configuration
from training.sweep import FIGURES, Planned, SweepError, _claim, _row, plan, seeds_before, table

pytestmark = pytest.mark.commands


def command(*options: str | Path) -> list[str]:
    return [sys.executable, "-m", "training", "sweep", *map(str, options)]


def workers_of(folder: Path) -> list[int]:
    """The processes in which runs of a sweep are."""
    listed = subprocess.run(["ps", "-eww", "-o", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [
        int(line.split()[0]) for line in listed.splitlines() if "submitit.core._submit" in line and str(folder) in line
    ]


@pytest.fixture
def options(tmp_path: Path) -> tuple[str | Path, ...]:
    data = make_recordings(tmp_path / "data")
    lines = [f"{'calm' if i % 2 == 0 else 'loud'}/take{i}.wav,s{i // 6}" for i in range(12)]
    (tmp_path / "list.csv").write_text("path,speaker\n" + "\n".join(lines) + "\n")
    return (
        *SMALL, "--db", "folder", "--data-dir", data, "--manifest", tmp_path / "list.csv", "--folds", "speaker",
        "--checkpoint-every", "0", "--epochs", "40", "--patience", "40",
    )  # fmt: skip


def test_a_killed_worker_is_started_again_and_what_is_done_is_not(
    options: tuple[str | Path, ...], tmp_path: Path
) -> None:
    folder = tmp_path / "sweep"
    arguments = command(*options, "--seeds", "0", "--jobs", "2", "--out", folder, "--engine", "local")
    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            states = folder / "fold-s0-seed-0" / "checkpoints"
            limit = time.monotonic() + 240
            while not any(states.glob("pre_training.state*")) and time.monotonic() < limit and process.poll() is None:
                time.sleep(0.05)
            workers = workers_of(folder)
            assert workers, f"no worker to kill: {process.communicate(timeout=60)[0]}"
            os.kill(min(workers), signal.SIGKILL)
            output, _ = process.communicate(timeout=400)
        finally:
            process.kill()
    assert process.returncode == 0, output
    assert "was killed; it goes on from its checkpoint" in output
    assert "runs: 2 of 2 ended" in output
    figures = rows(folder / "sweep.csv")
    assert [(row["fold"], row["seed"]) for row in figures] == [("s0", "0"), ("s1", "0")]
    for fold in ("s0", "s1"):
        alone = tmp_path / f"alone-{fold}"
        train(*options, "--fold", fold, "--seed", "0", "--threads", "1", "--out", alone)
        weights = "checkpoints/finetuned.safetensors"
        assert (folder / f"fold-{fold}-seed-0" / weights).read_bytes() == (alone / weights).read_bytes()

    before = (folder / "fold-s0-seed-0" / "results.json").stat().st_mtime_ns
    again = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert again.returncode == 0, again.stderr
    assert "sweep: 2 of 2 runs have ended before" in again.stdout
    assert (folder / "fold-s0-seed-0" / "results.json").stat().st_mtime_ns == before
    other = subprocess.run(
        command(*options, "--channels", "2", "--out", folder), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (other.returncode, "holds another sweep" in other.stderr) == (2, True)


def test_ctrl_c_ends_the_runs_and_shows_no_traceback(options: tuple[str | Path, ...], tmp_path: Path) -> None:
    """As a terminal sends it: to the whole group of processes."""
    folder = tmp_path / "sweep"
    with subprocess.Popen(
        command(*options, "--epochs", "999", "--out", folder, "--engine", "local"), cwd=ROOT, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            states, limit = folder / "fold-s0-seed-0" / "checkpoints", time.monotonic() + 240
            while not any(states.glob("*.state*")) and time.monotonic() < limit and process.poll() is None:
                time.sleep(0.05)
            os.killpg(process.pid, signal.SIGINT)
            output, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130, output
    assert output.splitlines()[-1] == "training: interrupted"
    assert "Traceback" not in output
    limit = time.monotonic() + 60
    while workers_of(folder) and time.monotonic() < limit:  # the runs save before they end
        time.sleep(0.2)
    assert not workers_of(folder)


def test_folds_of_any_name_have_a_folder_each(tmp_path: Path) -> None:
    """a/b and a-b are two folds, and what begins with - is no option."""
    data = make_recordings(tmp_path / "data")
    names = ["a/b", "a-b", "-x", "a%2Fb"]
    lines = [f"{'calm' if i % 2 == 0 else 'loud'}/take{i}.wav,{names[i % 4]}" for i in range(12)]
    (tmp_path / "list.csv").write_text("path,fold\n" + "\n".join(lines) + "\n")
    words = ["--db", "folder", "--data-dir", str(data), "--manifest", str(tmp_path / "list.csv"), "--folds", "manifest"]
    runs = plan(tmp_path, read_arguments(words).settings, words, [0])
    assert len({run.folder for run in runs}) == 4
    assert {run.folder.parent for run in runs} == {tmp_path}
    for run in runs:
        assert read_arguments(run.arguments).settings.fold == run.fold


def test_seeds_are_added_to_a_sweep_and_its_record_is_read_with_care(tmp_path: Path) -> None:
    record = tmp_path / "sweep.json"
    assert seeds_before(tmp_path, ["--epochs", "2"]) == []
    record.write_text('{"arguments": ["--epochs", "2"], "seeds": [0, 3]}')
    assert seeds_before(tmp_path, ["--epochs", "2"]) == [0, 3]
    for damaged in ("{", "[]", '{"arguments": [], "seeds": 3}'):
        record.write_text(damaged)
        with pytest.raises(SweepError, match=r"sweep\.json is not what a sweep has written\. Name another --out$"):
            seeds_before(tmp_path, ["--epochs", "2"])


def test_the_table_averages_seeds_first_and_is_over_folds() -> None:
    """Folds that differ and seeds that do not: the deviation is that of the folds."""
    made = [
        {"run": f"{fold}{seed}", "fold": fold, "seed": seed, **dict.fromkeys(FIGURES, value + 0.01 * seed)}
        for fold, value in (("a", 1.0), ("b", 2.0), ("c", 3.0))
        for seed in (-1, 1)
    ]
    head, *lines = table(made)
    assert head.endswith("95 % interval over folds")
    assert len(lines) == len(FIGURES)
    name, mean, deviation, low, _, high, *_ = lines[0].split()
    assert name == "test_loss_1"
    assert (float(mean), float(deviation)) == (2.0, 1.0)
    assert 1 <= float(low) < 2 < float(high) <= 3
    of_seeds = table([row | {"fold": ""} for row in made[:2]])
    assert of_seeds[0].endswith("over seeds")
    assert float(of_seeds[1].split()[2]) == pytest.approx(0.014, abs=1e-3)
    assert len(table([])) == 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--seed", "3"), "says itself --seed, --fold and --out of each run"),
        (("--jobs", "0"), "--jobs must be at least 1"),
        (("--hours", "nan"), "--hours above 0 and at most 10000"),
        (("--seeds", "1" + "0" * 30), "--seeds from 0 to "),
        (("--epochs", "0"), "epochs must be at least 1"),
        (("--db", "savee", "--data-dir", "nowhere", "--folds", "speaker"), "nowhere does not exist"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path: Path, options: tuple[str, ...], sentence: str) -> None:
    failed = subprocess.run(
        command(*options, "--out", tmp_path / "sweep"), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert failed.returncode == 2, failed.stderr
    assert sentence in failed.stderr
    assert len(failed.stderr.splitlines()) == 1
    assert not (tmp_path / "sweep").exists()


def claim(folder: Path, *runs: Path) -> None:
    seeds_before(folder, ["--x"])
    _claim(folder, {"arguments": ["--x"], "seeds": [0]}, [Planned(run.name, "", 0, run, []) for run in runs])


@pytest.mark.parametrize("content", [b"{", b"[" * 100_000, b"\xff", b"{}", b"null"])
def test_a_folder_of_something_else_is_no_sweep(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sweep.json").write_bytes(content)
    with pytest.raises(SweepError, match=r"^sweep: .*(is not what a sweep has written|holds another sweep)"):
        claim(tmp_path)
    (tmp_path / "sweep.json").rename(tmp_path / "sweep.csv")
    with pytest.raises(SweepError, match=r"^sweep: .* is there and holds no sweep\. Choose another --out$"):
        claim(tmp_path)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [content]


@pytest.mark.parametrize("name", ["jobs", "jobs/errors.txt", "seed-0", "sweep.csv", "sweep.json"])
def test_nothing_of_a_sweep_is_written_behind_a_link(tmp_path: Path, name: str) -> None:
    claim(tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SweepError, match=f"{name} is a link, and nothing is written behind one"):
        claim(tmp_path, tmp_path / "seed-0")


@pytest.mark.parametrize("loss", [10**400, "nan", True, None])
def test_results_that_no_run_has_written_are_no_end(tmp_path: Path, loss: Any) -> None:
    results = json.loads((Path(__file__).with_name("version_0_1") / "run" / "results.json").read_text())
    planned = Planned("seed-0", "", 0, tmp_path, [])
    results["masks"]["summary"] = results["masks"].pop("finding")
    (tmp_path / "results.json").write_text(json.dumps(results))
    assert _row(planned) is not None
    results["pre_training"]["test_loss"] = loss
    (tmp_path / "results.json").write_text(json.dumps(results))
    assert _row(planned) is None


def test_folds_of_any_name_have_folders(tmp_path: Path) -> None:
    make_recordings(tmp_path / "data")
    settings = Configuration(db="folder", data_dir=tmp_path / "data", manifest=tmp_path / "list.csv", folds="manifest")

    def planned(*folds: str) -> list[Planned]:
        lines = [f"calm/take{2 * i}.wav,{fold}" for i, fold in enumerate(folds)]
        (tmp_path / "list.csv").write_text("path,fold\n" + "\n".join(lines) + "\n")
        return plan(tmp_path, settings, [], [0])

    runs = planned("-x", "../b/\0", "z" * 300)
    assert [run.name for run in runs] == ["fold--x-seed-0", "fold-..%2Fb%2F%00-seed-0", f"fold-{'z' * 80}-seed-0"]
    assert all(run.folder.parent == tmp_path.resolve() for run in runs)
    assert "--fold=-x" in runs[0].arguments
    with pytest.raises(SweepError, match=r"^sweep: folds 'z+1?' and 'z+1?' would have one folder\. Give them"):
        planned("z" * 300, "z" * 300 + "1")


def test_a_run_that_fails_does_not_stop_the_others(options: tuple[str | Path, ...], tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    (folder / "fold-s0-seed-0").mkdir(parents=True)
    (folder / "fold-s0-seed-0" / "mine.txt").write_text("somebody's own")
    of_runs = [*options, "--epochs", "1"]
    arguments = command(*of_runs, "--jobs", "2", "--out", folder, "--engine", "local")
    alien = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=400, check=False)
    assert alien.returncode == 2
    assert alien.stderr == f"training: sweep: {folder} is there and holds no sweep. Choose another --out\n"
    (folder / "sweep.json").write_text(json.dumps({"arguments": [str(word) for word in of_runs], "seeds": [0]}))
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "runs: 1 of 2 ended" in done.stdout
    assert "fold-s0-seed-0: train.py ended with 2: " in done.stdout
    assert "exists and is not a run" in done.stdout
    with (folder / "sweep.csv").open() as file:
        assert [row["fold"] for row in csv.DictReader(file)] == ["s1"]
    assert (folder / "fold-s0-seed-0" / "mine.txt").read_text() == "somebody's own"
