"""Representations of many recordings in one file, with what is known of each: npz in full, or CSV with statistics."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from storage.atomic import new_file

STATISTICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean": lambda z: z.mean(axis=0, dtype=np.float64),
    "std": lambda z: z.std(axis=0, dtype=np.float64),
    "max": lambda z: z.max(axis=0),
}


class Row(NamedTuple):
    """One recording."""

    name: str
    label: str
    speaker: str
    seconds: float
    representation: np.ndarray  # (frames, channels) float32


def write_npz(path: Path, rows: Iterable[Row], frames_per_second: float) -> None:
    """Write every representation as it comes; memory does not grow with their number.

    The arrays in the file are clip/<name> (frames, channels) float32 of each recording, and, in the same order, names,
    labels and speakers (text), seconds (float64), and frames_per_second. The same rows give the same bytes.

    Raises
    ------
    OSError
        The file cannot be written; nothing is left behind.
    """
    about: list[tuple[str, str, str, float]] = []
    with new_file(path) as file, zipfile.ZipFile(file, "w") as archive:

        def write(name: str, array: np.ndarray) -> None:
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)

        for row in rows:
            write(f"clip/{row.name}", row.representation)
            about.append(row[:4])
        for name, values in zip(("names", "labels", "speakers"), zip(*about, strict=True), strict=False):
            write(name, np.array(values, dtype=np.str_))
        write("seconds", np.array([row[3] for row in about], np.float64))
        write("frames_per_second", np.array(frames_per_second))


def write_csv(path: Path, rows: Iterable[Row]) -> None:
    """Write one line a recording: its name, label, speaker, seconds, and mean_0, ..., std_0, ..., max_0, ...

    Raises
    ------
    OSError
        The file cannot be written; nothing is left behind.
    """
    with new_file(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        writer = csv.writer(text)
        head = True
        for row in rows:
            statistics = {name: statistic(row.representation) for name, statistic in STATISTICS.items()}
            if head:
                columns = [f"{name}_{i}" for name, values in statistics.items() for i in range(len(values))]
                writer.writerow([*Row._fields[:4], *columns])
                head = False
            numbers = [f"{value:.9g}" for values in statistics.values() for value in values]
            writer.writerow([*row[:3], f"{row.seconds:.6f}", *numbers])
        text.detach()
