"""The listening page of a run: report.html, metrics.csv, figures/ and audio/, and the distortion in results.json.

All of it is made from what the run's folder holds and from the clips, so it can be made again at any time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from inference.model import WEIGHTS, Model, load_run
from report import sound
from report.evaluation import ClipEvaluation, evaluate_clips, metric_rows, summary, waveform
from report.selection import MOST, select
from speech.audio import SAMPLE_RATE_HZ
from speech.clip import Clips
from speech.distortion import MEASURES
from speech.split import Split
from storage.mapped import DamagedError, load_rows, take_rows, write_rows
from training.run_files import RunError, read_config
from training.run_folder import RunFolder
from training.seed import generator
from training.workers import Workers

PLAYER_BYTES = 6_500_000  # of the page's, for the sounds of the chosen clips


def page_files(test_clips: int, clip_samples: int) -> dict[str, int | None]:
    """Which files show a run, and how many bytes they take at most; None where that depends on what is drawn."""
    from report.view import PAGE_BYTES  # with matplotlib

    shown = min(MOST, test_clips)
    return {
        "report.html": PAGE_BYTES,
        "metrics.csv": 1000 * (1 + 2 * test_clips),
        "audio/ (3 sounds of each clip that is shown)": shown * 3 * (44 + 2 * clip_samples),
        "figures/ (SVG and PNG)": None,
    }


def publish(
    run: RunFolder,
    clips: Clips,
    split: Split,
    threads: int,
    progress: bool = False,
    on_clip: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Measure a run's test clips, write all that shows it, and give results.json as it is then.

    Parameters
    ----------
    run : RunFolder
        Of a run that has come to its end.
    clips : Clips
        All that the run worked on.
    split : Split
    threads : int > 0
    progress : bool
        Show bars.
    on_clip : function
        Called before each clip is measured or drawn; what it raises ends the work.

    Raises
    ------
    RunError, CheckpointError
        The run has not ended, or its files are damaged or cannot be written.
    """
    from report import (
        clip_map,
        emotion,
        figure,
        live,
        network,
        page,
        rate,
        view,
    )  # with matplotlib and jinja2: a second that --help need not wait

    config, settings = read_config(run.path, "report")
    results, history = run.read_results(), run.read_history()
    _check_of_one_run(run, settings.db, results, history)
    models = {phase: load_run(run.path, weights, threads) for phase, weights in WEIGHTS.items()}
    test = np.sort(split.test).tolist()
    with Workers(threads) as workers:
        rows = tqdm(
            evaluate_clips(models, clips, test, SAMPLE_RATE_HZ, workers, on_clip),
            "measuring",
            len(test) * len(models),
            unit=" clips",
            disable=None if progress else True,
        )
        evaluations: dict[int, list[ClipEvaluation]] = {i: [] for i in test}
        for evaluation in rows:
            evaluations[evaluation.clip].append(evaluation)
        everything = [evaluation for row in evaluations.values() for evaluation in row]
        results["distortion"] = summary(everything, generator(settings.seed, "bootstrap"))
        run.write_results(results)
        metrics = metric_rows(everything, clips)
        run.write_metrics(metrics)

        def figures(name: str) -> Path:
            return run.place(f"figures/{name}")

        def versions(i: int) -> dict[str, np.ndarray]:
            """Clip i, and what each phase makes of it."""
            on_clip()
            rebuilt = {phase: waveform(model, clips, i) for phase, model in models.items()}
            return {"original": clips.waveform(i)} | rebuilt

        chosen, encode = _choose(evaluations, clips, 1 + len(models))
        features = _features(run, next(iter(models.values())), clips, workers)
        step = next(iter(models.values())).step
        shown = {i: view.describe_clip(clips.recordings[i], _seconds(clips, i), evaluations[i]) for i in test}
        with run.writing():
            for folder in ("figures", "audio"):  # what an earlier page left there
                run.clear(folder)
            for number, (i, why) in enumerate(
                tqdm(chosen.items(), "drawing", unit=" clips", disable=None if progress else True), 1
            ):
                sounds, frames = versions(i), np.asarray(features[i, : math.ceil(clips.valid[i] / step)])
                spectrograms = figure.spectrograms_of(sounds, SAMPLE_RATE_HZ)
                stem = f"{number:02d}-{re.sub(r'[^A-Za-z0-9_-]+', '-', clips.recordings[i].name)[:60]}"
                for name, samples in sounds.items():
                    sound.write_wav(run.place(f"audio/{stem}.{name}.wav"), samples, SAMPLE_RATE_HZ)
                title = f"{figure.short(clips.recordings[i].name)} ({why})"
                figure.write_clip_figures(figures, stem, title, sounds, spectrograms, frames, SAMPLE_RATE_HZ)
                shown[i] |= {"why": why, "spectrograms": view.show_spectrograms(spectrograms)}
                shown[i] |= {"representation": view.show_representation(frames)}
                shown[i] |= {"level": [float(clips.offset[i]), float(clips.scale[i])]}
                shown[i] |= view.show_sounds(sounds, encode)
            xy, share = clip_map.project(features, clips, step)
            for key, names in clip_map.kinds_of(clips).items():
                figure.write_figure(figures, f"map-{key}", figure.draw_map(xy, share, names, f"all clips by {key}"))
            content = {
                **page.describe_run(config, settings.db, results, split),
                "losses": _losses(history, results, figures),
                "distributions": _distributions(figures, metrics),
                "emotion": emotion.emotion_section(run.path, figures, xy, share, clips),
                "rate": rate.rate_section(results, figures),
                "map": clip_map.describe_map(xy, share, features.shape[2], clips, split),
                "network": network.network_section(models),
                "columns": view.COLUMNS,
                "low_db": view.CURVE_DB[0],
                "high_db": view.CURVE_DB[1],
            }
            data = {
                "phases": [figure.TITLES[name] for name in ("original", *models)],
                "measures": page.describe_measures(),
                "scales": view.describe_scales(),
                "network": live.describe_network(models),
                "shown": page.measures_shown([evaluation.values for evaluation in everything]),
                "chosen": [test.index(i) for i in chosen],
                "clips": list(shown.values()),
                "places": test,
                "sounds": {},
            }
            room = view.PAGE_BYTES - len(page.render(content, data, clips).encode("utf-8", "backslashreplace")) - 10_000
            room = view.fill_views(shown, versions, workers, room)
            data["sounds"] = _map_sounds(clips, {i for i in test if "sounds" in shown[i]}, room)
            run.write_page(page.render(content, data, clips))
    return results


def _check_of_one_run(
    run: RunFolder, db: str, results: Mapping[str, Any], history: Sequence[Mapping[str, Any]]
) -> None:
    """Raise RunError where the files of a run are not of one another."""
    epochs = {(line["phase"], line["epoch"]) for line in history}
    best = {(phase, results[phase]["best_epoch"]) for phase in WEIGHTS}
    if results["db"] != db or not best <= epochs:
        other = "config.json" if results["db"] != db else "history.csv"
        raise RunError(
            f"report: {run.path / 'results.json'} is not of the same run as {other}. Go on with the run, which writes "
            f"it: python train.py --resume {run.path}"
        )


def _choose(
    evaluations: Mapping[int, Sequence[ClipEvaluation]], clips: Clips, versions: int
) -> tuple[dict[int, str], sound.Encode]:
    """The clips that are shown in full, why each, and how their sounds are held."""
    test = list(evaluations)
    scores = [evaluations[i][0].values["si_sdr_db"] for i in test]
    chosen = select(scores, [clips.recordings[i].label for i in test])
    seconds = [versions * _seconds(clips, test[k]) for k, _ in chosen]
    encode, count = sound.fitting(seconds, SAMPLE_RATE_HZ, PLAYER_BYTES)
    return {test[k]: why for k, why in chosen[:count]}, encode


def _seconds(clips: Clips, i: int) -> float:
    return float(clips.valid[i]) / SAMPLE_RATE_HZ


def _features(run: RunFolder, model: Model, clips: Clips, workers: Workers) -> np.ndarray:
    """The representation of every clip, from features.npy; made again where that is not there or damaged."""
    path = run.path / "features.npy"
    try:
        features = load_rows(path)
        if len(features) == len(clips) and features.ndim == 3:
            return features
    except (OSError, DamagedError):
        pass

    def represent(i: int) -> np.ndarray:
        return model.network.encoder.represent(take_rows(clips.samples, np.array([i]))[:, :, None])[0]

    with run.writing():
        return write_rows(run.place(path.name), workers.map(represent, range(len(clips))), len(clips))


def _losses(
    history: Sequence[Mapping[str, Any]], results: Mapping[str, Any], place: Callable[[str], Path]
) -> list[dict[str, str]]:
    """Loss over epochs of both phases, on the same axes."""
    from report import figure

    losses = [epoch[column] for epoch in history for column in ("train_loss", "val_loss")]
    drawn = []
    for phase, title in (("pre_training", "Pre-training"), ("fine_tuning", "Fine-tuning")):
        epochs, best = [epoch for epoch in history if epoch["phase"] == phase], results[phase]["best_epoch"]
        drawing = figure.draw_loss(epochs, best, title, (min(losses), max(losses)))
        svg = figure.write_figure(place, f"loss-{phase}", drawing)
        drawn.append({"uri": figure.svg_uri(svg), "alt": f"{title}: loss over {len(epochs)} epochs, best at {best}"})
    return drawn


def _distributions(place: Callable[[str], Path], metrics: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """How each measure spreads over the test clips."""
    from report import figure

    rows = [{**row, **{name: float(row[name]) for name in MEASURES}} for row in metrics]
    drawn = []
    for name, about in MEASURES.items():
        if not any(math.isfinite(row[name]) for row in rows):
            continue
        svg = figure.write_figure(place, f"distribution-{name}", figure.draw_distribution(name, rows))
        meaning = (
            f"{about.title}: {about.meaning}. Values {about.limits}; {about.better} is better. Source: {about.source}."
        )
        alt = f"Distribution of {about.title} by phase, label and speaker"
        drawn.append({"title": about.title, "meaning": meaning, "uri": figure.svg_uri(svg), "alt": alt})
    return drawn


def _map_sounds(clips: Clips, have: set[int], room: int) -> dict[str, str]:
    """Small sounds of as many clips as there is room for in bytes, spread evenly, without those that have one."""
    from report.figure import data_uri
    from report.view import evenly

    sounds: dict[str, str] = {}
    for i in evenly([i for i in range(len(clips)) if i not in have]):
        uri = data_uri(*sound.small(clips.waveform(i), SAMPLE_RATE_HZ))
        room -= len(uri) + 20
        if room < 0:
            break
        sounds[str(i)] = uri
    return sounds
