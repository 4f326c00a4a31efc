"""The map of the listening page: every clip of a run as a point of the plane in which representations differ most."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from inference.features import STATISTICS
from report.figure import MARKERS, PALETTE
from report.pca import principal_components
from speech.clip import Clips
from speech.split import Split

SIZE, MARGIN = (600, 420), 14
PARTS = {"train": "training clip", "validation": "validation clip", "test": "test clip"}


def project(features: np.ndarray, clips: Clips, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each clip lies: mean, deviation and maximum of each channel over its own frames, then two components.

    Shapes
    ------
    features (n, frames, channels), step samples a frame -> xy (n, 2), share of the variance (2,)
    """
    statistics = []
    for i in range(len(clips)):
        frames = np.asarray(features[i, : math.ceil(clips.valid[i] / step)])
        statistics.append(np.concatenate([statistic(frames) for statistic in STATISTICS.values()]))
    return principal_components(np.array(statistics))


def kinds_of(clips: Clips) -> dict[str, list[str]]:
    """What points can be told apart by: label and speaker, where there is more than one; a name a clip."""
    kinds = {"label": [r.label for r in clips.recordings], "speaker": [r.speaker for r in clips.recordings]}
    return {key: names for key, names in kinds.items() if len(set(names)) > 1} or {"label": kinds["label"]}


def describe_map(xy: np.ndarray, share: np.ndarray, channels: int, clips: Clips, split: Split) -> dict[str, Any]:
    """The map as the page draws it; colour and shape of a point say what the clip is, a ring that it is a test clip."""
    kinds = kinds_of(clips)
    looks = {key: _looks(names) for key, names in kinds.items()}
    low, extent = xy.min(axis=0), np.ptp(xy, axis=0)
    unit = (xy - low) / np.where(extent > 0, extent, 1)
    places = MARGIN + np.stack([unit[:, 0], 1 - unit[:, 1]], 1) * (np.array(SIZE) - 2 * MARGIN)
    part = {int(i): name for name in ("train", "validation", "test") for i in getattr(split, name)}
    return {
        "about": (
            f"Each of the {len(clips)} clips is a point, test clips with a ring: mean, deviation and maximum of its "
            f"{channels} channels over time, projected on the two directions in which the clips differ most "
            f"({share[0]:.0%} and {share[1]:.0%} of the variance)."
        ),
        "shapes": [path for _, path in MARKERS],
        "kinds": [
            {
                "name": key,
                "legend": [
                    {"name": name or "-", "colour": PALETTE[colour], "path": MARKERS[shape][1]}
                    for name, (colour, shape) in look.items()
                ],
            }
            for key, look in looks.items()
        ],
        "points": [
            {
                "x": round(float(places[i, 0]), 1),
                "y": round(float(places[i, 1]), 1),
                "clip": i,
                "name": recording.name,
                "test": part.get(i) == "test",
                "about": ", ".join(
                    [
                        recording.label or "no label",
                        f"speaker {recording.speaker or 'not known'}",
                        PARTS[part[i]] if i in part else "in no part",
                    ]
                ),
                "colours": [PALETTE[looks[key][names[i]][0]] for key, names in kinds.items()],
                "shapes": [looks[key][names[i]][1] for key, names in kinds.items()],
            }
            for i, recording in enumerate(clips.recordings)
        ],
    }


def _looks(names: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Positions in PALETTE and MARKERS for each name, as draw_map takes them."""
    return {name: (k % len(PALETTE), k % len(MARKERS)) for k, name in enumerate(sorted(set(names)))}
