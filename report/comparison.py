"""Runs side by side: one page with their tables and losses, and with the clips that all of them were tested on."""

from __future__ import annotations

import csv
import io
import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from inference.model import WEIGHTS, Model
from report import sound
from report.evaluation import SEGMENTS, ClipEvaluation, waveform
from report.selection import select
from report.table import paper_table
from speech.audio import SAMPLE_RATE_HZ
from speech.distortion import MEASURES
from speech.recording import printable
from speech.worst_segments import Segment
from storage.regular import check_regular, read_regular
from storage.spreadsheet import TableReader
from training.configuration import Configuration
from training.data import Work
from training.run_files import RunError
from training.workers import Workers

PAGE = "comparison.html"
MARK = '<meta name="generator" content="nn1d report: runs side by side">'  # of a page that may be replaced
SOUND_BYTES = 9_000_000


class Compared(NamedTuple):
    """A run that has ended, and what it worked on."""

    path: Path
    config: dict[str, Any]
    settings: Configuration
    results: dict[str, Any]
    history: list[dict[str, Any]]
    evaluations: dict[str, list[ClipEvaluation]]
    models: dict[str, Model]
    work: Work


def check_place(path: Path) -> None:
    """Raise RunError unless a page may be written to this path: nothing is there, or an older such page."""
    try:
        check_regular(path)
        with path.open(encoding="utf-8", errors="replace") as file:
            if MARK in file.read(4000):
                return
    except FileNotFoundError:
        if path.parent.is_dir():
            return
        raise RunError(f"-o: {path.parent} is no folder. Make it, or choose another place") from None
    except OSError as error:
        raise RunError(f"-o: {path} cannot be written: {error.strerror}. Choose another place") from error
    raise RunError(f"-o: {path} is there, and is no page of runs side by side. Move it, or choose another place")


def read_evaluations(path: Path) -> dict[str, list[ClipEvaluation]]:
    """metrics.csv of a run: name of a clip -> its rows.

    Raises
    ------
    RunError
        It is not there, or not what the listening page's writer wrote.
    """
    evaluations: dict[str, list[ClipEvaluation]] = {}
    cure = f"Make the page of this run first: python -m report {path}"
    wrong = RunError(
        f"report: {path / 'metrics.csv'} is not there, or not what a listening page is written with. {cure}"
    )
    try:
        for row in TableReader(io.StringIO(read_regular(path / "metrics.csv"), newline="")):
            segments = [
                Segment(*(float(row[f"worst_{k + 1}_{name}"]) for name in Segment._fields)) for k in range(SEGMENTS)
            ]
            known = [segment for segment in segments if math.isfinite(segment.start_s)]
            values = {name: float(row[name]) for name in MEASURES}
            in_pauses = float(row.get("pause_noise_db", "nan"))  # a page of before has none
            evaluation = ClipEvaluation(-1, row["phase"], values, known, in_pauses)
            evaluations.setdefault(row["name"], []).append(evaluation)
    except (OSError, ValueError, LookupError, TypeError, csv.Error) as error:
        raise wrong from error
    if not evaluations:
        raise wrong
    return evaluations


def common_clips(runs: Sequence[Compared]) -> list[tuple[int, ...]]:
    """The clips that all runs were tested on, as their numbers in each: of one name, and sample by sample the same.

    Raises
    ------
    RunError
        There is none.
    """
    tested = [{run.work.clips.recordings[i].name: int(i) for i in np.sort(run.work.split.test)} for run in runs]
    common = []
    for name, i in tested[0].items():
        numbers = tuple(names[name] for names in tested if name in names)
        if len(numbers) < len(runs):
            continue
        first = runs[0].work.clips.waveform(i)
        others = [run.work.clips.waveform(k) for run, k in zip(runs[1:], numbers[1:], strict=True)]
        if all(len(other) == len(first) and np.allclose(other, first, atol=1e-4) for other in others):
            common.append(numbers)
    if not common:
        raise RunError(
            f"report: {' and '.join(str(run.path) for run in runs)} were tested on no clip that is the same in all. "
            "Compare runs of one corpus with one --split, --seed and --clip-samples"
        )
    return common


def compare(runs: Sequence[Compared]) -> str:
    """The page.

    Raises
    ------
    RunError
        The runs have no clip in common, or the metrics.csv of one lacks one of them.
    """
    from report import figure, page, view  # with matplotlib and jinja2

    names = [printable(run.path.resolve().name) for run in runs]
    if len(set(names)) < len(names):
        names = [printable(run.path) for run in runs]
    common = common_clips(runs)
    clips = runs[0].work.clips
    rows: list[list[ClipEvaluation]] = []
    for numbers in common:
        name = clips.recordings[numbers[0]].name
        rows.append([row for run in runs for row in run.evaluations.get(name, [])])
        if len(rows[-1]) != len(runs) * len(WEIGHTS):
            raise RunError(
                f"report: metrics.csv of one of the runs lacks {name}. Make their pages again: python -m report RUN"
            )
    seconds = [float(clips.valid[numbers[0]]) / SAMPLE_RATE_HZ for numbers in common]
    chosen = select([row[0].values["si_sdr_db"] for row in rows], [clips.recordings[n[0]].label for n in common])
    versions = 1 + len(runs) * len(WEIGHTS)
    encode, count = sound.fitting([versions * seconds[k] for k, _ in chosen], SAMPLE_RATE_HZ, SOUND_BYTES)
    shown = [
        view.describe_clip(clips.recordings[n[0]], s, row) for n, s, row in zip(common, seconds, rows, strict=True)
    ]
    titles = ["original", *(f"{name}, {figure.TITLES[phase]}" for name in names for phase in WEIGHTS)]

    def heard(k: int) -> dict[str, np.ndarray]:
        """Clip k, and what each phase of each run makes of it."""
        sounds = {"original": clips.waveform(common[k][0])}
        for run, name, i in zip(runs, names, common[k], strict=True):
            for phase, model in run.models.items():
                sounds[f"{name}, {figure.TITLES[phase]}"] = waveform(model, run.work.clips, i)
        return sounds

    for k, why in chosen[:count]:
        sounds = heard(k)
        shown[k] |= {"why": f"{why} of {names[0]}", **view.show_sounds(sounds, encode)}
        shown[k] |= {"spectrograms": view.show_spectrograms(figure.spectrograms_of(sounds, SAMPLE_RATE_HZ))}
    histories = [(name, run) for name, run in zip(names, runs, strict=True)]
    losses = [e[column] for _, run in histories for e in run.history for column in ("train_loss", "val_loss")]
    drawn = []
    for phase, title in (("pre_training", "pre-training"), ("fine_tuning", "fine-tuning")):
        for name, run in histories:
            epochs = [epoch for epoch in run.history if epoch["phase"] == phase]
            best = run.results[phase]["best_epoch"]
            loss = figure.draw_loss(epochs, best, f"{figure.short(name)}: {title}", (min(losses), max(losses)))
            uri = figure.svg_uri(figure.svg_text(loss))
            drawn.append({"uri": uri, "alt": f"{name}, {title}: loss over {len(epochs)} epochs, best at {best}"})
    described = [page.describe_run(run.config, run.settings.db, run.results, run.work.split) for run in runs]
    written = [run.settings.written() for run in runs]
    different = [key for key in written[0] if len({str(settings[key]) for settings in written}) > 1]
    measures = [[row.values for row in part] for part in rows]
    tables = [paper_table(run.results) for run in runs]
    tables = [table._replace(title=f"{name}: {table.title}") for name, table in zip(names, tables, strict=True)]
    content = {
        "title": " and ".join(names),
        "mark": MARK,
        "lead": f"{len(runs)} runs side by side, on the {len(common)} test clips that they have in common.",
        "tables": tables,
        "commands": [shlex.join(["python", *run.config.get("command", [])]) for run in runs],
        "losses": drawn,
        "summaries": [
            (f"{name}, its {part['test_clips']} test clips", columns, rows)
            for name, part in zip(names, described, strict=True)
            for _, columns, rows in part["summaries"]
        ],
        "test_clips": len(common),
        "dashes": page.dashes(page.measures_shown([values for part in measures for values in part])),
        "distributions": [],
        "emotion": None,
        "rate": None,
        "map": None,
        "network": None,
        "mask_tables": [
            table._replace(notes=[f"{name}: {note}" for note in table.notes])
            for name, part in zip(names, described, strict=True)
            for table in part["mask_tables"]
        ],
        "settings": [(key, [str(settings[key]) for settings in written]) for key in different],
        "setting_columns": names,
        "split": None,
        "surroundings": None,
        "columns": view.COLUMNS,
        "low_db": view.CURVE_DB[0],
        "high_db": view.CURVE_DB[1],
    }
    data = {
        "phases": titles,
        "measures": page.describe_measures(),
        "scales": view.describe_scales(),
        "network": None,
        "shown": page.measures_shown([values for part in measures for values in part]),
        "chosen": [k for k, _ in chosen[:count]],
        "clips": shown,
        "places": [],
        "sounds": {},
    }
    with Workers(runs[0].work.threads) as workers:
        room = view.PAGE_BYTES - len(page.render(content, data, clips).encode("utf-8", "backslashreplace")) - 10_000
        view.fill_views(dict(enumerate(shown)), heard, workers, room)
    return page.render(content, data, clips)
