"""A run that ends anywhere goes on to the same bits, and what would make it another run is refused."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.command import SMALL, make_recordings, outcome, rows, start, train
from tests.ranks import needs_mpi, signalled, start_ranks

pytestmark = pytest.mark.commands

SLOW = ("--clip-samples", "64000", "--channels", "16,16")  # a step takes long enough to send two signals in it


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    folder = tmp_path_factory.mktemp("corpus")
    make_recordings(folder / "recordings")
    return ("--db", "folder", "--data-dir", f"{folder}/recordings", "--cache-dir", f"{folder}/cache", *SMALL)


@pytest.fixture(scope="module")
def whole(options: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    run = tmp_path_factory.mktemp("whole") / "run"
    train(*options, "--out", run)
    return run


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(whole, tmp_path / "run"))


def wait_for(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.002)


@pytest.mark.parametrize(
    ("number", "code", "begun"),
    [
        (signal.SIGINT, 130, "checkpoints/pre_training.state.safetensors"),
        (signal.SIGTERM, 143, "features.npy"),
        (signal.SIGINT, 130, "checkpoints/fine_tuning.state.safetensors"),
    ],
)
def test_a_stopped_run_goes_on_to_the_same_end(
    options: tuple[str, ...], tmp_path: Path, number: int, code: int, begun: str
) -> None:
    long = (*options, "--epochs", "12", "--fine-tune-epochs", "12", "--patience", "12")
    train(*long, "--threads", "1", "--out", tmp_path / "whole")
    run = tmp_path / "run"
    with start(*long, "--threads", "2", "--checkpoint-every", "0", "--out", run) as process:
        wait_for(process, (run / begun).exists)
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == code, output + errors
    assert errors == ""
    name = signal.Signals(number).name
    assert output.splitlines()[-1] == f"stopped by {name}. Go on with: python train.py --resume {run}"
    assert not (run / "results.json").exists()
    done = train("--resume", run, "--threads", "3")
    assert outcome(run) == outcome(tmp_path / "whole")
    assert done.stdout.splitlines()[-1] == f"run: {run}"
    resumed = json.loads((run / "config.json").read_text())["resumed"]
    assert [(each["command"][1:], each["threads"]) for each in resumed] == [
        (["--resume", str(run), "--threads", "3"], 3)
    ]


def test_a_second_ctrl_c_ends_at_once_and_the_state_before_is_whole(options: tuple[str, ...], tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = (*options, *SLOW, "--batch-size", "9", "--out", str(run), "--checkpoint-every", "0", "--epochs", "1000")
    with start(*arguments) as process:
        wait_for(process, (run / "history.csv").exists)
        state = run / "checkpoints" / "pre_training.state.safetensors"
        wait_for(process, state.exists)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGTERM, -signal.SIGINT)
    assert load_file(state)
    with start("--resume", run, "--epochs", "1001") as process:
        wait_for(process, lambda: len(rows(run / "history.csv")) > 0)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 143
    assert [row["epoch"] for row in rows(run / "history.csv")] == [
        str(i + 1) for i in range(len(rows(run / "history.csv")))
    ]


def test_a_finished_run_stays_as_it_is(whole: Path, run: Path) -> None:
    before = outcome(run)
    done = train("--resume", run)
    assert outcome(run) == before
    assert "test loss" in done.stdout
    assert "pre_training 1" not in done.stdout


def test_more_epochs_extend_a_finished_run(options: tuple[str, ...], tmp_path: Path) -> None:
    constant = (*options, "--schedule", "constant")
    train(*constant, "--epochs", "4", "--fine-tune-epochs", "3", "--out", tmp_path / "long")
    run = tmp_path / "run"
    train(*constant, "--out", run)
    train("--resume", run, "--epochs", "4")
    history = [(row["phase"], row["epoch"]) for row in rows(run / "history.csv")]
    assert history == [("pre_training", str(i)) for i in (1, 2, 3, 4)] + [("fine_tuning", str(i)) for i in (1, 2)]
    train("--resume", run, "--fine-tune-epochs", "3")
    assert outcome(run) == outcome(tmp_path / "long")
    assert json.loads((run / "config.json").read_text())["settings"]["epochs"] == 4


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (("--kernel-size", "5"), "--resume: kernel_size cannot change within a run: the run has 3; got 5"),
        (("--channels", "4,8"), "--resume: channels cannot change within a run: the run has (4, 4); got (4, 8)"),
        (("--seed", "3"), "--resume: seed cannot change within a run: the run has 0; got 3"),
        (("--db", "demo"), "--resume: db cannot change within a run: the run has folder; got demo"),
        (("--epochs", "1"), "--resume: epochs may be raised only: the run has 2; got 1"),
        (("--force",), "--resume: force cannot change within a run: the run has False; got True"),
        (("--out", "elsewhere"), "got --out elsewhere. Leave --out out"),
    ],
)
def test_what_would_make_it_another_run_is_refused(run: Path, changes: tuple[str, ...], sentence: str) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert sentence in train("--resume", run, *changes, expect=2).stderr
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    train("--resume", run, "--seed", "0", "--kernel-size", "3")  # the same may be said again


def test_recordings_that_have_changed_are_refused(options: tuple[str, ...], tmp_path: Path) -> None:
    corpus = tmp_path / "recordings"
    shutil.copytree(options[3], corpus)
    arguments = ("--db", "folder", "--data-dir", str(corpus), *options[4:])
    run = tmp_path / "run"
    train(*arguments, "--out", run)
    louder = corpus / "calm" / "take0.wav"
    content = bytearray(louder.read_bytes())
    content[2001] ^= 1
    louder.write_bytes(content)
    refused = train("--resume", run, expect=2).stderr
    sentence = "--resume: the recordings of folder are not those that the run began with: "
    assert sentence + "1 changed (calm/take0). Bring back what the run began with, or start a new run" in refused
    louder.rename(corpus / "loud" / "new.wav")
    refused = train("--resume", run, expect=2).stderr
    assert sentence + "1 came (loud/new), 1 went (calm/take0). Bring back" in refused
    corpus.rename(tmp_path / "moved")
    refused = train("--resume", run, expect=2).stderr
    assert f"--resume: the recordings were in {corpus}, which is not there any more. If the folder was moved" in refused
    assert "came" in train("--resume", run, "--data-dir", tmp_path / "moved", expect=2).stderr
    done = train("--resume", run, "--data-dir", options[3])  # the same recordings in another place
    assert f"moved: the recordings were in {corpus}; they are the same" in done.stdout
    assert "moved" not in train("--resume", run).stdout
    above = train("--resume", run, "--data-dir", Path(options[3]).parent, expect=2).stderr
    assert "they are the same under other names (calm/take" in above and "is now recordings/calm/take" in above


def test_a_folder_without_a_run(tmp_path: Path, run: Path) -> None:
    refused = train("--resume", tmp_path / "nowhere", expect=2).stderr
    assert "nowhere holds no run (no config.json). Name the folder that train.py printed" in refused
    for content in ("{}", "[", '{"settings": {"db": "folder", "wings": 2}}', '{"settings": 3}', "[" * 10**5, "\udcff"):
        (run / "config.json").write_bytes(content.encode("utf-8", "surrogateescape"))
        assert re.search(
            r"--resume: cannot read \S+config.json: .*Start a new run\n", train("--resume", run, expect=2).stderr
        )


def test_a_damaged_state_gives_way_to_the_one_before(whole: Path, run: Path) -> None:
    state = run / "checkpoints" / "fine_tuning.state.safetensors"
    content = state.read_bytes()
    state.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    done = train("--resume", run)
    assert (
        f"run: {state}: altered since it was written: its checksum is another. Going on from the state" in done.stderr
    )
    assert outcome(run) == outcome(whole)


def test_where_both_states_are_damaged_there_is_a_cure(whole: Path, run: Path) -> None:
    state, before = (run / "checkpoints" / f"fine_tuning.{kind}.safetensors" for kind in ("state", "state.previous"))
    content = before.read_bytes()
    for damaged in (content[:-1], content[:500]):
        state.write_bytes(damaged)
        before.write_bytes(damaged)
        refused = train("--resume", run, expect=2).stderr
        assert re.fullmatch(
            rf"train.py: {state}: not a whole safetensors file .*\. Remove {state} and {before} to begin fine_tuning "
            r"anew\n", refused,
        )  # fmt: skip
        assert state.read_bytes() == before.read_bytes() == damaged
    state.unlink()
    before.unlink()
    train("--resume", run)  # the phase begins again
    assert outcome(run) == outcome(whole)


def test_features_that_are_damaged_are_made_again(whole: Path, run: Path) -> None:
    features = run / "features.npy"
    content = bytearray(features.read_bytes())
    content[1000:1400] = bytes(400)
    features.write_bytes(content)
    out = train("--resume", run, "--epochs", "2").stdout
    assert f"features: {features} is damaged: its checksum is another. It is made again\n" in out
    assert outcome(run) == outcome(whole)


def test_one_process_at_a_time(options: tuple[str, ...], tmp_path: Path) -> None:
    run = tmp_path / "run"
    with start(*options, "--epochs", "1000", "--patience", "1000", "--out", run) as process:
        wait_for(process, (run / "history.csv").exists)
        sentence = f"train.py: run: another process is writing into {run}. Wait for its end, or stop it"
        assert sentence in train("--resume", run, expect=2).stderr
        assert sentence in train(*options, "--out", run, "--force", expect=2).stderr
        assert process.poll() is None
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 143


def test_a_run_folder_that_is_deleted_ends_the_run_with_a_sentence(options: tuple[str, ...], tmp_path: Path) -> None:
    run = tmp_path / "run"
    with start(*options, "--epochs", "1000", "--patience", "1000", "--out", run) as process:
        wait_for(process, (run / "history.csv").exists)
        shutil.rmtree(run)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    reason = f"cannot write into {run}: No such file or directory. The folder is gone, "
    assert re.fullmatch(rf"train.py: run: {re.escape(reason)}.*\n", errors)


def test_history_is_whole_whenever_somebody_looks(options: tuple[str, ...], tmp_path: Path) -> None:
    run, looks = tmp_path / "run", 0
    with start(*options, "--epochs", "40", "--patience", "40", "--out", run) as process:
        while process.poll() is None:
            if (run / "history.csv").exists():
                lines = (run / "history.csv").read_text().splitlines()
                assert {line.count(",") for line in lines} == {6}
                assert [line.split(",")[1] for line in lines[1:41]] == [str(i + 1) for i in range(len(lines[1:41]))]
                looks += 1
        process.communicate()
    assert process.returncode == 0 and looks > 10


def test_divergence_saves_nothing_and_names_clips_and_layer(options: tuple[str, ...], tmp_path: Path) -> None:
    run = tmp_path / "run"
    wild = ("--output", "linear", "--learning-rate", "1e30", "--checkpoint-every", "0", "--out", str(run))
    done = train(*options, *wild, expect=1)
    assert re.fullmatch(
        r"train.py: pre_training: the loss or its gradient is not finite in epoch 1, step 2 \(loss \S+\), clips "
        r"(calm|loud)/take\d+, (calm|loud)/take\d+; the first of it was the output of encoder\.0\.residual\.body\.1 "
        r"\(Conv1d\(4 -> 4, k=3, p=1\)\)\. Try a lower learning rate\n",
        done.stderr,
    )
    state = load_file(run / "checkpoints" / "pre_training.state.safetensors")  # after the first step
    assert all(np.isfinite(array).all() for array in state.values())
    assert not (run / "checkpoints" / "pretrained.safetensors").exists()


def test_a_batch_is_learned_by_heart_and_nothing_is_written(options: tuple[str, ...], tmp_path: Path) -> None:
    done = train(*options, "--overfit", "--out", tmp_path / "run")
    assert re.findall(r"^(\w+): 2 clips, 300 steps: .*: learned$", done.stdout, re.MULTILINE) == [
        "pre_training", "fine_tuning",
    ]  # fmt: skip
    assert not (tmp_path / "run").exists()
    not_learned = train(
        *options, "--overfit", "--learning-rate", "1e-12", "--fine-tune-learning-rate", "1e-12", expect=1
    )
    assert not_learned.stdout.count("NOT learned") == 2


def test_overfit_reads_one_batch(options: tuple[str, ...], tmp_path: Path) -> None:
    """All recordings but those of the batch are bad, and it says nothing of them."""
    corpus = Path(shutil.copytree(options[3], tmp_path / "recordings"))
    train("--db", "folder", "--data-dir", corpus, *options[4:], "--out", tmp_path / "run")
    order = json.loads((tmp_path / "run" / "config.json").read_text())["split"]["train"]
    for path in corpus.rglob("*.wav"):
        if path.relative_to(corpus).with_suffix("").as_posix() not in (order[0], order[2]):  # one is passed over
            path.write_bytes(b"no sound")
    arguments = ("--db", "folder", "--data-dir", str(corpus), *options[4:], "--overfit")
    done = train(*arguments)
    assert "left out" not in done.stdout
    assert done.stdout.count(" 2 clips, 300 steps: ") == 2
    for name in order[:3]:
        (corpus / f"{name}.wav").write_bytes(b"no sound")
    assert "train.py: folder: none of the training recordings can be used" in train(*arguments, expect=2).stderr


def test_a_dry_run_shows_what_would_be_written(options: tuple[str, ...], whole: Path, tmp_path: Path) -> None:
    done = train(*options, "--dry-run", "--out", tmp_path / "run")
    assert re.search(r"^pre_training: one step of 2 clips in \d+ ms, loss \S+ -> \S+$", done.stdout, re.MULTILINE)
    assert re.search(r"^fine_tuning: one step of 2 clips in \d+ ms, loss \S+ -> \S+$", done.stdout, re.MULTILINE)
    lines = done.stdout.splitlines()
    assert f"would write into {tmp_path / 'run'}:" in lines
    sizes_mb = {
        name: float(size)
        for names, size in re.findall(r"^  (\S.*?) +(\d+\.\d) MB$", done.stdout, re.MULTILINE)
        for name in names.split(", ")
    }
    states = sizes_mb.pop("checkpoints/ (states to go on from)") + sizes_mb.pop("checkpoints/ (weights)")
    assert sizes_mb.keys() == {path.name for path in whole.iterdir()} - {"checkpoints"}
    assert states * 1e6 >= 0.8 * sum(path.stat().st_size for path in (whole / "checkpoints").iterdir()) - 1e5
    assert re.search(r"^a run of 2 \+ 2 epochs: at most about \d+ min$", done.stdout, re.MULTILINE)
    assert re.search(r"^and has, written now or before: \S+\.npy \(\d+\.\d MB\)$", done.stdout, re.MULTILINE)
    assert not (tmp_path / "run").exists()
    long = train(
        *options, "--dry-run", "--clip-samples", "64000", "--channels", "32,32", "--kernel-size", "2001"
    ).stdout
    assert re.search(
        r"^no step is tried: the gradient of one clip takes \d\.\de\+12 multiplications\. ", long, re.MULTILINE
    )
    assert "a run of" not in long
    assert "holds a run already" in train(*options, "--dry-run", "--out", whole, expect=2).stderr


@needs_mpi
def test_a_run_that_loses_ranks_goes_on_with_any_number_of_them(
    options: tuple[str, ...], whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with start_ranks(2, *options, "--checkpoint-every", "0", "--out", run, last=signalled(3, "SIGTERM")) as job:
        output, errors = job.communicate(timeout=60)
    assert (job.returncode, errors) == (143, "")
    first, *_, last = output.splitlines()
    assert re.fullmatch(r"device: CPU, \d+ threads?, .+ in each of 2 ranks", first), first  # and kernels do not differ
    assert last == f"stopped by SIGTERM. Go on with: python train.py --resume {run}"
    assert output.count("stopped") == 1  # rank 0 alone speaks
    assert (run / "checkpoints/pre_training.state.safetensors").exists()
    with start_ranks(2, "--resume", run, "--checkpoint-every", "0", last=signalled(10, "SIGKILL")) as job:  # in phase 2
        job.communicate(timeout=60)
    assert job.returncode not in (0, 2)
    assert list((run / "checkpoints").glob("fine_tuning.state*.safetensors"))  # of the step before, or of one earlier
    train("--resume", run)
    resumed, expected = outcome(run), outcome(whole)
    assert [name for name in expected if resumed[name] != expected[name]] == []
