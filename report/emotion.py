"""What the listening page says of emotion: the figures of probe.json, which python -m inference probe writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from inference.probe_command import heard_in_words, summarise
from report.figure import data_uri, short, styled, themed, write_figure
from speech.clip import Clips
from storage.regular import read_regular
from training.schema import check_probe

RIGHT, WRONG = "#7f7f7f", "#d55e00"


def emotion_section(
    run: Path, figures: Callable[[str], Path], xy: np.ndarray, share: np.ndarray, clips: Clips
) -> dict[str, Any] | None:
    """The section of a run that was probed; None where probe.json is missing, damaged or of other clips.

    Parameters
    ----------
    run : Path
        The run's folder.
    figures : function name -> Path
        Where emotion-confusion and emotion-map are written, as SVG and PNG.
    xy : (n, 2)
        The map of the run's clips, as `report.clip_map.project` makes it.
    share : (2,)
        Of the variance.
    clips : Clips
        All that the run worked on.

    Shapes
    ------
    -> summary, about, pictures, columns and rows of the table; confusion and map, addresses that hold pictures, and
    their texts
    """
    report = _read(run)
    if report is None:
        return None
    rows = [row for row in report["results"] if row["target"] == "emotion"]
    index = {recording.name: i for i, recording in enumerate(clips.recordings)}
    probed = [clip["name"] for clip in report["clips"]]
    if not rows or not set(probed) <= set(index):
        return None
    first = rows[0]
    where = np.array([index[probed[i]] for i in first["clips"]])
    return {
        "summary": summarise(rows),
        "about": f"{first['how']}, {len(first['clips'])} clips, chance {first['chance_uar']:.2f}; 95 % bootstrap "
        f"intervals over {first['interval_over']}",
        "columns": ["UAR", "95 % interval", "accuracy", "macro F1", "network"],
        "rows": [(f"{row['features']}, {row['classifier']}", _cells(row)) for row in rows],
        "pictures": f"By {first['features']}, {first['classifier']}: how often each true emotion (rows) was read out "
        f"as which (columns), and the map of the {len(where)} clips, {_mistakes(first)} of which were read wrongly.",
        "confusion": _uri(write_figure(figures, "emotion-confusion", draw_confusion(first))),
        "confusion_alt": f"Confusion matrix of {len(first['classes'])} emotions by {first['features']}",
        "map": _uri(write_figure(figures, "emotion-map", draw_mistakes(xy[where], share, first))),
        "map_alt": f"Map of {len(where)} clips, the probe's {_mistakes(first)} mistakes marked",
    }


@styled
def draw_confusion(row: Mapping[str, Any]) -> Figure:
    """The confusion matrix of a probe as shares of each true emotion, with the counts written in."""
    counts = np.array(row["confusion"])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    classes = [short(name) for name in row["classes"]]
    figure = Figure((1.6 + 0.55 * len(classes), 1.2 + 0.5 * len(classes)))
    axes: Axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="read out", ylabel="true")
    axes.grid(visible=False)
    for i, j in np.ndindex(counts.shape):
        axes.text(j, i, str(counts[i, j]), ha="center", va="center", color="white" if shares[i, j] > 0.5 else "black")
    return figure


@styled
def draw_mistakes(xy: np.ndarray, share: np.ndarray, row: Mapping[str, Any]) -> Figure:
    """The map of the representation, coloured by what the probe got right."""
    wrong = np.array([answer != label for answer, label in zip(row["predictions"], row["labels"], strict=True)])
    figure = Figure((6, 4.6))
    axes: Axes = figure.add_subplot()
    for kind, name, colour, marker in ((~wrong, "right", RIGHT, "o"), (wrong, "wrong", WRONG, "X")):
        points = xy[kind]
        axes.scatter(points[:, 0], points[:, 1], s=16, color=colour, marker=marker, alpha=0.8, linewidths=0, label=name)
    axes.set(xlabel=f"first component ({share[0]:.0%})", ylabel=f"second component ({share[1]:.0%})")
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def _uri(svg: str) -> str:
    return data_uri("image/svg+xml", themed(svg))


def _read(run: Path) -> dict[str, Any] | None:
    try:
        return dict(check_probe(json.loads(read_regular(run / "probe.json"))))
    except (OSError, ValueError, RecursionError):
        return None


def _cells(row: Mapping[str, Any]) -> list[str]:
    uar = row["uar"]
    interval = "-" if uar["low"] is None else f"{uar['low']:.2f} to {uar['high']:.2f}"
    return [
        f"{uar['value']:.3f}",
        interval,
        f"{row['accuracy']['value']:.3f}",
        f"{row['macro_f1']['value']:.3f}",
        heard_in_words(row),
    ]


def _mistakes(row: Mapping[str, Any]) -> int:
    return sum(answer != label for answer, label in zip(row["predictions"], row["labels"], strict=True))
