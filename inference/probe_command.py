"""python -m inference probe RUN: is there emotion in the representation, and what else?"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from inference.descriptor import OF_WAVEFORM, Candidates, DescriptorError, describe_clips, read_table, split_name
from inference.model import PHASES, load_run
from inference.output import OutputError, check_output
from inference.probe import CLASSIFIERS, ProbeError, as_json, check_installed, cross_validate, difference
from inference.probe_task import TARGETS, Task, check_folds, find_tasks
from speech.clip import Clips
from speech.corpus import SEPARATOR, corpus_title
from speech.egemaps import installed
from speech.fold import write_folds
from speech.split import SplitError
from storage.atomic import write_atomic
from storage.spreadsheet import csv_lines
from training.configuration import Configuration
from training.data import learned_contents, read_corpus
from training.machine import available_cores
from training.run_files import read_config
from training.run_folder import RunFolder
from training.seed import generator
from training.terminal import say
from training.workers import Workers

MISTAKES = (DescriptorError, OutputError, ProbeError, SplitError)
FEATURES = ("representation", "logmel", "mfcc")  # and eGeMAPS where openSMILE is installed


class Run(NamedTuple):
    """A run, and which of the clips its network heard."""

    path: Path
    heard: np.ndarray  # (n,) bool
    described: dict[str, Candidates]


def probe(options: argparse.Namespace) -> int:
    """Probe, print the table, write the figures."""
    check_installed()
    targets = _listed(options.targets or ",".join(TARGETS), TARGETS, "--targets")
    classifiers = _listed(options.classifiers, CLASSIFIERS, "--classifiers")
    config, settings = read_config(options.runs[0])
    depth = len(settings.channels)
    chosen = options.features or ",".join([*FEATURES, *(["egemaps"] if installed() else [])])
    features = list(dict.fromkeys(name for name in chosen.split(",") if name))
    for name in features:
        split_name(name, depth)
    check_folds(options, targets)
    settings = _settings(options, config, settings)
    _check_outputs(options, settings)
    threads = options.threads or available_cores()
    clips, _, directory = read_corpus(settings, settings.data_dir, threads)
    tasks = find_tasks(options, settings, clips, targets)
    tables = {
        name: {"table": read_table(path, _names(clips))}
        for name, path in zip(_table_names(options.baseline, features), options.baseline, strict=True)
    }
    if options.write_folds is not None:
        emotion = next(task for task in tasks if task.target == "emotion")
        write_folds(options.write_folds, [clips.recordings[i] for i in emotion.clips], emotion.folds)
    with Workers(threads) as workers:
        runs = [
            Run(path, heard_clips(path, settings, clips, directory), describe_clips(model, clips, features, workers))
            for path in options.runs
            for model in [_model(path, settings, threads)]
        ]
    results = []
    for task in tasks:
        for name in [*features, *tables]:
            for classifier in classifiers:
                results.append(_one(task, name, classifier, runs, tables, clips, settings, depth))
        say(*_table(task, results, clips, settings))
    report = {
        "runs": [str(path) for path in options.runs],
        "db": settings.db,
        "clips": [
            {"name": item.name, "label": item.label, "speaker": item.speaker, "text": str(item.details.get("text", ""))}
            for item in clips.recordings
        ],
        "results": results,
    }
    _write(options, options.output, report)
    return 0


def _check_outputs(options: argparse.Namespace, settings: Configuration) -> None:
    """Before the work, which takes minutes."""
    named = [settings.manifest, None if options.folds is None else Path(options.folds)]
    inputs = [*options.baseline, *(path for path in named if path is not None)]
    for output, suffixes in ((options.output, (".csv", ".json")), (options.write_folds, (".csv",))):
        if output is not None:
            check_output(output, suffixes, options.runs, inputs)


def _listed(text: str, known: Sequence[str], option: str) -> list[str]:
    names = list(dict.fromkeys(name for name in text.split(",") if name))
    if unknown := sorted(set(names) - set(known)):
        raise ProbeError(f"{option}: there is no {', '.join(unknown)}; choose from {', '.join(known)}")
    if not names:
        raise ProbeError(f"{option}: names none; choose from {', '.join(known)}")
    return names


def _table_names(paths: Sequence[Path], features: Sequence[str]) -> list[str]:
    """The files of --baseline by their stems, or as they are given where a stem stands for something else too."""
    stems = Counter([path.stem for path in paths] + list(features))
    return [path.stem if stems[path.stem] == 1 else str(path) for path in dict.fromkeys(paths)]


def _settings(options: argparse.Namespace, config: Mapping[str, Any], settings: Configuration) -> Configuration:
    """Those of the run, on the corpora that are asked for."""
    if (options.train is None) != (options.test is None):
        raise ProbeError("probe: --train and --test name corpora to learn from and to test on; give both")
    names = options.db
    if options.train is not None:
        if names is not None or set(options.train) & set(options.test):
            raise ProbeError("probe: --train and --test must name different corpora, without --db")
        names = options.train + options.test
    changes: dict[str, Any] = {"strict": False, "cache_dir": None}
    if names is not None:
        changes |= {"db": SEPARATOR.join(names), "data_dir": options.data_dir, "manifest": None, "limit": None}
    elif options.data_dir is not None or config.get("corpus"):
        changes |= {"data_dir": options.data_dir or Path(config["corpus"])}
    changes |= {name: value for name in ("manifest", "limit") if (value := getattr(options, name)) is not None}
    return dataclasses.replace(settings, **changes)


def _model(path: Path, settings: Configuration, threads: int) -> Any:
    model = load_run(path, PHASES[0], threads)
    ours = model.configuration
    if (ours.clip_samples, ours.scale, ours.channels) != (settings.clip_samples, settings.scale, settings.channels):
        raise ProbeError(f"probe: {path} has clips or channels of another form than the first run")
    return model


def _names(clips: Clips) -> list[str]:
    return [recording.name for recording in clips.recordings]


def heard_clips(path: Path, settings: Configuration, clips: Clips, directory: Path | None) -> np.ndarray:
    """Whether a run's network was trained with another clip of the same speaker, or with the clip itself."""
    config, training_settings = read_config(path)
    before, now = (
        _place(training_settings.db, config.get("corpus")),
        _place(settings.db, None if directory is None else str(directory.resolve())),
    )
    parts, contents = config.get("split", {}), learned_contents(config, set(clips.contents)) or set()
    of_training = ("train",) if training_settings.validate_on == "test" else ("train", "validation")
    heard = {_key(before, name) for part in of_training for name in parts.get(part, [])}
    of_clip = [
        _key(now, name) in heard or content in contents
        for name, content in zip(_names(clips), clips.contents, strict=True)
    ]
    said = {_key(before, name) for name in config.get("speakers", {}).get("heard", [])}  # of clips not among these too
    speakers = {item.speaker for item, known in zip(clips.recordings, of_clip, strict=True) if known}
    speakers |= {item.speaker for item in clips.recordings if _key(now, item.speaker) in said}
    return np.array([
        known or item.speaker in speakers - {""} for item, known in zip(clips.recordings, of_clip, strict=True)
    ])  # fmt: skip


def _place(db: str, directory: str | None) -> str:
    """What tells clips of the same name apart; own recordings are known by their folder."""
    return f"{db}:{directory}" if db == "folder" else db


def _key(place: str, name: str) -> str:
    return name if SEPARATOR in place else f"{place}/{name}"


def _one(
    task: Task, name: str, classifier: str, runs: Sequence[Run], tables: Mapping[str, Candidates], clips: Clips,
    settings: Configuration, depth: int,
) -> dict[str, Any]:  # fmt: skip
    """One row of the table, as the JSON file has it."""
    folds = np.array(task.folds)

    def run_of(fold: str) -> Run:
        """The first that never heard a speaker of the fold, else the first."""
        test = task.clips[folds == fold]
        return next((run for run in runs if not run.heard[test].any()), runs[0])

    def candidates(fold: str) -> Candidates:
        if name in tables:
            return {key: table[task.clips] for key, table in tables[name].items()}
        source, statistic = split_name(name, depth)
        described = run_of(fold).described[source]
        return {key: x[task.clips] for key, x in described.items() if statistic in (None, key)}

    result = cross_validate(
        candidates, task.labels, task.folds, task.groups, classifier, rng=generator(settings.seed, "probe"),
        tested=task.tested,
    )  # fmt: skip
    written = as_json(result)
    of_network = name not in tables and split_name(name, depth)[0] not in (*OF_WAVEFORM, "untrained")
    for fold in written["folds"]:
        test = task.clips[folds == fold["name"]]
        fold["heard"] = bool(run_of(fold["name"]).heard[test].any()) if of_network else None
        fold["run"] = str(run_of(fold["name"]).path) if of_network else None
    return {
        "target": task.target,
        "how": task.how,
        "features": name,
        "classifier": classifier,
        "interval_over": task.unit,
        "clips": [int(i) for i in task.clips],
        "predictions": result.predictions,
        "groups": task.groups,
        "labels": task.labels,
        **written,
    }


def _table(task: Task, results: Sequence[Mapping[str, Any]], clips: Clips, settings: Configuration) -> list[str]:
    """The rows of a task for the terminal, the confusion matrix and the folds of the first of them, and a sentence."""
    rows = [row for row in results if row["target"] == task.target]
    first = rows[0]
    lines = [
        "",
        f"{task.target}, {task.how}: {corpus_title(settings.db)}, {len(task.clips)} clips, {len(first['classes'])} "
        f"classes, chance {first['chance_uar']:.3f}, largest class {first['largest_class']:.3f}; 95 % intervals "
        f"over {task.unit}",
        f"{'features':<24} {'classifier':<10} {'UAR':>5}  {'interval':<14} {'accuracy':>8} {'macro F1':>8}  statistic, "
        "heard by the network",
    ]
    for row in rows:
        uar = row["uar"]
        interval = "-" if uar["low"] is None else f"{uar['low']:.3f} to {uar['high']:.3f}"
        lines.append(
            f"{row['features']:<24} {row['classifier']:<10} {uar['value']:5.3f}  {interval:<14} "
            f"{row['accuracy']['value']:8.3f} {row['macro_f1']['value']:8.3f}  "
            f"{_statistics(row)}, {heard_in_words(row)}"
        )
    width = max(8, *(len(name) for name in first["classes"])) if len(first["classes"]) <= 12 else 0
    if width:
        lines += ["", f"{first['features']}, {first['classifier']}: rows are the truth, columns the answer"]
        lines.append(" " * (width + 1) + " ".join(f"{name[:7]:>7}" for name in first["classes"]))
        for name, counts in zip(first["classes"], first["confusion"], strict=True):
            lines.append(f"{name:<{width}} " + " ".join(f"{count:7d}" for count in counts))
    lines += ["", f"{'fold':<12} {'clips':>5} {'UAR':>6} {'accuracy':>8}  statistic, C, heard"]
    for fold in first["folds"]:
        lines.append(
            f"{fold['name']:<12} {fold['clips']:5d} {fold['uar']:6.3f} {fold['accuracy']:8.3f}  {fold['statistic']}, "
            f"{fold['strength']:g}, {'-' if fold['heard'] is None else 'yes' if fold['heard'] else 'no'}"
        )
    return [*lines, "", summarise(rows)]


def _statistics(row: Mapping[str, Any]) -> str:
    counts = Counter(fold["statistic"] for fold in row["folds"])
    return " ".join(f"{name} x{times}" if len(counts) > 1 else name for name, times in counts.most_common())


def heard_in_words(row: Mapping[str, Any]) -> str:
    """In how many folds the network had heard the speakers that are tested."""
    folds = row["folds"]
    if folds[0]["heard"] is None:
        return "no network heard anything" if row["features"] != "untrained" else "untrained"
    known = sum(fold["heard"] for fold in folds)
    return f"heard in {known} of {len(folds)} folds" if known else "never heard"


def summarise(rows: Sequence[Mapping[str, Any]]) -> str:
    """One sentence about the first features beside the others, by the first classifier."""
    same = [row for row in rows if row["classifier"] == rows[0]["classifier"]]
    ours, others = same[0], same[1:]
    uar = ours["uar"]
    interval = "" if uar["low"] is None else f" ({uar['low']:.2f} to {uar['high']:.2f})"
    above = "above" if (uar["low"] or 0) > ours["chance_uar"] else "not surely above"
    sentence = (
        f"The {ours['target']} is read out of the {ours['features']} with an unweighted average recall of "
        f"{uar['value']:.2f}{interval}, {above} chance at "
        f"{ours['chance_uar']:.2f}"
    )
    parts = []
    for row in others:
        if row["labels"] != ours["labels"]:
            continue
        gap = difference(ours["labels"], ours["predictions"], row["predictions"], ours["groups"])
        sign = "more" if gap.low > 0 else "less" if gap.high < 0 else "not surely different"
        parts.append(
            f"{row['features']} {row['uar']['value']:.2f} ({gap.value:+.2f}, {gap.low:+.2f} to {gap.high:+.2f}: {sign})"
        )
    return sentence + (". Difference to " + ", to ".join(parts) if parts else "") + "."


def _write(options: argparse.Namespace, output: Path | None, report: Mapping[str, Any]) -> None:
    """JSON with everything, or CSV with a row a fold; into the run unless said otherwise."""
    if output is None and (options.train is not None or options.db is not None or len(options.runs) > 1):
        return
    if output is None:
        with RunFolder.open(options.runs[0], "probe") as run:
            run.write_json("probe.json", report)
        say(f"written: {options.runs[0] / 'probe.json'}; python -m report {options.runs[0]} shows it")
    elif output.suffix.lower() == ".json":
        write_atomic(output, (json.dumps(report, indent=1) + "\n").encode())
    else:
        head = (
            "target",
            "features",
            "classifier",
            "fold",
            "clips",
            "uar",
            "accuracy",
            "statistic",
            "strength",
            "heard",
            "run",
        )
        rows = (
            (row["target"], row["features"], row["classifier"], *fold.values())
            for row in report["results"]
            for fold in row["folds"]
        )
        write_atomic(output, "".join(csv_lines([head, *rows])).encode("utf-8", "backslashreplace"))
