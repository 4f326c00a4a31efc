"""python -m inference probe on runs that train.py made of made-up recordings."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from inference.arguments import read_arguments
from inference.descriptor import DescriptorError, read_table
from inference.output import OutputError
from inference.probe import ProbeError
from inference.probe_command import heard_clips, probe
from speech.clip import load_clips
from speech.corpus import find_corpus
from speech.emotion import SHARED, shared_label
from speech.split import SplitError
from tests.command import ROOT, SMALL, train
from training.run_files import read_config

pytestmark = pytest.mark.commands

TONES = {"anger": 900, "neutral": 300, "sadness": 150}


def sound(emotion: str, speaker: int, take: int) -> np.ndarray:
    """Emotions that differ in pitch and in how often they are interrupted, by voices that differ in a second tone."""
    rng = np.random.default_rng([speaker, take])
    t = np.arange(4000) / 16_000
    tone = TONES[emotion] * rng.uniform(0.95, 1.05)
    gate = 0.3 + (np.sin(2 * np.pi * (4 + TONES[emotion] / 50) * t) > 0)
    voice = np.sin(2 * np.pi * tone * t) + 0.3 * np.sin(2 * np.pi * (1500 + 400 * speaker) * t)
    return 0.2 * gate * voice + 0.01 * rng.standard_normal(4000)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Four speakers with three emotions, twice; a run that heard all of them, and two that each left two out."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "data").mkdir()
    lines = ["path,label,speaker,text"]
    for speaker in range(4):
        for emotion in TONES:
            for take in range(2):
                name = f"{emotion}-{speaker}-{take}.wav"
                soundfile.write(folder / "data" / name, sound(emotion, speaker, take), 16_000)
                lines.append(f"{name},{emotion},s{speaker},text {take}")
    (folder / "list.csv").write_text("\n".join(lines) + "\n")
    runs = {}
    for name, more in (("heard", ()), ("without 01", ("s0", "s1")), ("without 23", ("s2", "s3"))):
        runs[name] = folder / (
            name.replace(" ", "-") if more else os.fsdecode(b"heard\xff")
        )  # also where it is not UTF-8
        options = (*SMALL, "--epochs", "1", "--fine-tune-epochs", "1", "--db", "folder", "--data-dir", folder / "data")
        leave = ("--leave-out", *more) if more else ()
        train(*options, "--manifest", folder / "list.csv", *leave, "--out", runs[name])
    return runs


def run_probe(*arguments: str | Path) -> None:
    assert probe(read_arguments(["probe", *map(str, arguments)])) == 0


def results(path: Path) -> dict[tuple[str, str, str], dict[str, Any]]:
    rows = json.loads(path.read_text())["results"]
    return {(row["target"], row["features"], row["classifier"]): row for row in rows}


def test_the_command_says_what_is_in_it(runs: dict[str, Path], tmp_path: Path) -> None:
    output = tmp_path / "probe.json"
    done = subprocess.run(
        [sys.executable, "-m", "inference", "probe", runs["heard"], "-o", output,
         "--features", "representation:levels,logmel:contour", "--classifiers", "logistic"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "emotion, leaving speakers out: own recordings, 24 clips, 3 classes, chance 0.333" in done.stdout
    assert "speaker, leaving texts out" in done.stdout
    assert "text, leaving speakers out" in done.stdout
    assert "heard in 4 of 4 folds" in done.stdout
    assert "The emotion is read out of the representation:levels with an unweighted average recall of " in done.stdout
    table = results(output)
    assert len(table) == 3 * 2
    row = table["emotion", "logmel:contour", "logistic"]
    assert row["uar"]["value"] > 0.9
    assert [fold["name"] for fold in row["folds"]] == ["s0", "s1", "s2", "s3"]
    assert {fold["heard"] for fold in row["folds"]} == {None}
    assert table["speaker", "logmel:contour", "logistic"]["uar"]["value"] > 0.9, "the second tone tells the voice"
    assert table["text", "logmel:contour", "logistic"]["uar"]["value"] < 0.8, "takes differ in nothing but noise"
    assert np.sum(row["confusion"]) == 24 == len(row["predictions"])


def test_each_fold_takes_the_run_that_never_heard_its_speakers(runs: dict[str, Path], tmp_path: Path) -> None:
    output = tmp_path / "probe.json"
    quick = (
        "--targets",
        "emotion",
        "--classifiers",
        "svm",
        "--features",
        "representation:levels,untrained:levels",
    )
    run_probe(runs["without 01"], *quick, "-o", output)
    folds = results(output)["emotion", "representation:levels", "svm"]["folds"]
    assert {fold["name"]: fold["heard"] for fold in folds} == {"s0": False, "s1": False, "s2": True, "s3": True}
    run_probe(runs["without 01"], runs["without 23"], *quick, "-o", output)
    table = results(output)
    folds = table["emotion", "representation:levels", "svm"]["folds"]
    assert not any(fold["heard"] for fold in folds)
    assert [Path(fold["run"]).name for fold in folds] == ["without-01"] * 2 + ["without-23"] * 2
    assert {fold["statistic"] for fold in folds} == {"levels"}
    assert {fold["heard"] for fold in table["emotion", "untrained:levels", "svm"]["folds"]} == {None}


def test_a_speaker_was_heard_also_when_the_clips_heard_are_not_among_those_probed(runs: dict[str, Path]) -> None:
    """Of the network that heard all speakers, its test clips alone."""
    config, settings = read_config(runs["heard"])
    recordings = find_corpus("folder", Path(config["corpus"]), manifest=settings.manifest).recordings
    tests = [item for item in recordings if item.name in config["split"]["test"]]
    clips, _ = load_clips(tests, settings.clip_samples, 16_000, "clip", 1)
    assert heard_clips(runs["heard"], settings, clips, Path(config["corpus"])).all()


def test_folds_are_repeated_by_name_and_a_table_of_others_stands_beside(runs: dict[str, Path], tmp_path: Path) -> None:
    folds, output = tmp_path / "folds.csv", tmp_path / "probe.csv"
    clips = list(csv.DictReader((runs["heard"] / "clips.csv").read_text().splitlines()))
    with (tmp_path / "theirs.csv").open("w") as file:
        file.write("name,label,tone\n")
        file.writelines(f"{clip['name']},{clip['label']},{TONES[clip['label']]}\n" for clip in clips)
    quick = ("--targets", "emotion", "--classifiers", "svm", "--features", "mfcc:moments")
    run_probe(runs["heard"], *quick, "--write-folds", folds, "--baseline", tmp_path / "theirs.csv", "-o", output)
    rows = list(csv.DictReader(output.read_text().splitlines()))
    assert [row["features"] for row in rows] == ["mfcc:moments"] * 4 + ["theirs"] * 4
    assert {row["uar"] for row in rows[4:]} == {"1.0"}
    again = tmp_path / "again.csv"
    run_probe(runs["heard"], *quick, "--folds", folds, "-o", again)
    assert list(csv.DictReader(again.read_text().splitlines())) == rows[:4]
    (tmp_path / "logmel:moments.csv").write_text((tmp_path / "theirs.csv").read_text())
    beside = tmp_path / "beside.csv"
    others = ("--baseline", tmp_path / "logmel:moments.csv", "--features", "logmel:moments", "--limit", "6")
    run_probe(runs["heard"], *quick, *others, "--folds", folds, "-o", beside)
    named = {row["features"] for row in csv.DictReader(beside.read_text().splitlines())}
    assert named == {"logmel:moments", str(tmp_path / "logmel:moments.csv")}
    by_text = tmp_path / "by_text.csv"
    run_probe(runs["heard"], *quick, "--by", "text", "-o", by_text)
    assert {row["fold"] for row in csv.DictReader(by_text.read_text().splitlines())} == {"text 0", "text 1"}


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ("a,1\na,2", " has a twice. One line a clip is needed"),
        ("a,1,000", ": line 2 has more cells than the first. A cell that holds a comma needs quotation marks"),
        ("a,1e308", " has '1e308' as tone of a; a number of at most 1e+30 is needed"),
        ("a,nan", " has 'nan' as tone of a; a number of at most 1e+30 is needed"),
        ("a", " has None as tone of a; a number of at most 1e+30 is needed"),
        ("b,1", " lacks 1 of 1 clips, a among them"),
    ],
)
def test_a_mistake_in_a_table_of_others_is_one_sentence(tmp_path: Path, lines: str, sentence: str) -> None:
    (tmp_path / "theirs.csv").write_text(f"name,tone\n{lines}\n")
    with pytest.raises(DescriptorError) as error:
        read_table(tmp_path / "theirs.csv", ["a"])
    assert str(error.value).replace("cannot read ", "") == f"--baseline: {tmp_path / 'theirs.csv'}{sentence}"


def test_from_one_corpus_to_another_on_shared_emotions(runs: dict[str, Path], tmp_path: Path) -> None:
    for name in ("savee", "ravdess"):
        (tmp_path / name).mkdir()
    for i, speaker in enumerate(("DC", "JE", "JK")):
        for letter, emotion in (("a", "anger"), ("n", "neutral"), ("sa", "sadness"), ("su", "sadness")):
            for take in (1, 2):
                path = tmp_path / "savee" / f"{speaker}_{letter}0{take}.wav"
                soundfile.write(path, sound(emotion, i, take), 16_000)
    for actor in (1, 2):
        for number, emotion in (("05", "anger"), ("02", "neutral"), ("04", "sadness"), ("06", "anger")):
            path = tmp_path / "ravdess" / f"03-01-{number}-01-01-01-0{actor}.wav"
            soundfile.write(path, sound(emotion, actor, 7), 16_000)
    output = tmp_path / "probe.json"
    run_probe(
        runs["heard"], "--train", "savee", "--test", "ravdess", "--data-dir", tmp_path, "--classifiers", "logistic",
        "--features", "logmel:moments,representation:levels", "-o", output,
    )  # fmt: skip
    row = results(output)["emotion", "logmel:moments", "logistic"]
    assert row["how"] == "from SAVEE to RAVDESS speech"
    assert row["classes"] == ["anger", "neutral", "sadness"], "surprise and fear are not in both; calm is neutral"
    assert [fold["name"] for fold in row["folds"]] == ["test"]
    assert np.sum(row["confusion"]) == 6
    assert row["uar"]["value"] > 0.9
    heard = results(output)["emotion", "representation:levels", "logistic"]["folds"][0]["heard"]
    assert heard is False
    run_probe(
        runs["heard"], "--db", "savee", "ravdess", "--data-dir", tmp_path, "--classifiers", "svm", "--features",
        "logmel:moments", "--targets", "emotion", "-o", output,
    )  # fmt: skip
    (row,) = results(output).values()
    assert row["classes"] == ["anger", "neutral", "sadness"], "calm is neutral here too"


def test_the_map_of_emotions_is_whole() -> None:
    from speech import cremad, demo, emodb, ravdess, savee, tess

    for module in (cremad, emodb, ravdess, savee, tess):
        assert set(module.EMOTIONS.values()) <= set(SHARED), module.__name__
    assert {item.label for item in demo.list_recordings(35, 0)} <= set(SHARED)
    assert [shared_label(label) for label in ("calm", "pleasant surprise", "boredom", "my own")] == [
        "neutral", "surprise", "", "my own",
    ]  # fmt: skip
    shared = {label for label in SHARED.values() if label}
    assert all(SHARED[label] == label for label in shared)


@pytest.mark.parametrize(
    ("arguments", "kind", "sentence"),
    [
        (
            ("--features", "wings"),
            DescriptorError,
            "--features: there is no 'wings'; choose from representation, stage1, ",
        ),
        (
            ("--features", "logmel:bands"),
            DescriptorError,
            "logmel has no statistic 'bands'; choose from moments, contour",
        ),
        (("--targets", "mood"), ProbeError, "--targets: there is no mood; choose from emotion, speaker, text"),
        (("--train", "savee"), ProbeError, "--train and --test name corpora to learn from and to test on; give both"),
        (("--train", "savee", "--test", "savee"), ProbeError, "must name different corpora"),
        (("-o", "x.txt"), OutputError, "x.txt: the name must end with .csv or .json"),
        (("-o", "RUN/results.json"), OutputError, "results.json: would overwrite what is read. Choose another name"),
        (("-o", "RUN/.nn1d-run.json"), OutputError, "would overwrite what is read"),
        (("--write-folds", "RUN/history.csv"), OutputError, "would overwrite what is read"),
        (("--write-folds", "LIST"), OutputError, "would overwrite what is read"),
        (("--baseline", "no.csv"), DescriptorError, "--baseline: cannot read no.csv: No such file or directory"),
        (("--folds", "no.csv"), SplitError, "--folds: cannot read no.csv"),
        (("--classifiers", ""), ProbeError, "--classifiers: names none; choose from logistic, svm"),
        (("--db", "demo", "--targets", "text"), ProbeError, "the text cannot be read out: it needs the text of every"),
        (("--db", "demo", "--by", "text"), SplitError, "folds need the text of every recording"),
        (
            ("--targets", "speaker", "--write-folds", "x.csv"),
            ProbeError,
            "--write-folds: is about the folds of emotion, which --targets leaves out",
        ),
        (("--write-folds", "nowhere/x.csv"), OutputError, "nowhere/x.csv: there is no folder nowhere"),
        (("--folds", "x.csv", "--by", "text"), ProbeError, "--folds and --by each say what the folds are"),
        (("--train", "savee", "--test", "tess", "--by", "text"), ProbeError, "there is emotion alone, and no folds"),
    ],
)
def test_a_mistake_is_one_sentence(
    runs: dict[str, Path], arguments: tuple[str, ...], kind: type[Exception], sentence: str
) -> None:
    places = {"RUN": str(runs["heard"]), "LIST": str(runs["heard"].with_name("list.csv"))}
    for name, place in places.items():
        arguments = tuple(word.replace(name, place) for word in arguments)
    with pytest.raises(kind) as error:
        run_probe(runs["heard"], *arguments)
    assert sentence in str(error.value)
    assert not (runs["heard"] / "probe.json").exists()


def test_the_listening_page_shows_it(runs: dict[str, Path]) -> None:
    run = runs["heard"]
    quick = ("--targets", "emotion", "--classifiers", "svm", "--features", "representation:levels,logmel:moments")
    run_probe(run, *quick)
    report = json.loads((run / "probe.json").read_text())
    rate: list[str | Path] = [sys.executable, "-m", "inference", "rate", run, "--bits", "3,32", "--clips", "1"]
    done = subprocess.run(rate, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([sys.executable, "-m", "report", run], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (run / "report.html").read_text()
    assert "Is there emotion in it?" in page
    from inference.probe_command import summarise

    assert summarise(report["results"]).split("(")[0] in page
    assert "Confusion matrix of 3 emotions by representation:levels" in page
    assert "By representation:levels, svm: how often each true emotion" in page
    wrong = sum(
        a != b for a, b in zip(report["results"][0]["predictions"], report["results"][0]["labels"], strict=True)
    )
    assert f"the probe's {wrong} mistakes marked" in page.replace("&#39;", "'")
    assert (run / "figures" / "emotion-confusion.svg").is_file()
    assert (run / "figures" / "emotion-map.png").is_file()
    figures = json.loads((run / "results.json").read_text())["rates"]
    assert [line["bits"] for line in figures["rates"]] == [3, 32, 3, 32, 3, 3, 16]
    assert "SI-SDR against bits a second of 5 ways to keep a clip" in page
    assert f"<td>{figures['rates'][0]['test_mse']:.2e}</td>" in page
    assert "<td>no loss</td>" in page  # of FLAC
    assert (run / "figures" / "rate.svg").is_file()


@pytest.mark.parametrize("text", ["{}", "", "[1]", '{"results": 3, "clips": []}'])
def test_a_page_does_without_a_damaged_probe(tmp_path: Path, text: str) -> None:
    from report.emotion import emotion_section

    (tmp_path / "probe.json").write_text(text)
    clips: Any = None  # nobody asks for them
    assert emotion_section(tmp_path, tmp_path.joinpath, np.zeros((0, 2)), np.zeros(2), clips) is None
