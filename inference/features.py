"""Representations of many recordings in one file, with what is known of each: npz in full, or CSV with statistics."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np

from storage.atomic import new_file
from storage.mapped import take_rows
from storage.spreadsheet import csv_lines

FRAMES_AT_ONCE = 65_536  # a representation may lie in a file and not fit into memory


def _pieces(z: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(z), FRAMES_AT_ONCE):
        yield take_rows(z, np.arange(start, min(start + FRAMES_AT_ONCE, len(z))))


def _mean(z: np.ndarray) -> np.ndarray:
    sums = [piece.sum(axis=0, dtype=np.float64) for piece in _pieces(z)]
    return np.sum(sums, axis=0) / len(z)


def _std(z: np.ndarray) -> np.ndarray:
    mean = _mean(z)
    squares = [np.square(piece - mean).sum(axis=0) for piece in _pieces(z)]
    return np.sqrt(np.sum(squares, axis=0) / len(z))


def _max(z: np.ndarray) -> np.ndarray:
    return np.max([piece.max(axis=0) for piece in _pieces(z)], axis=0)


STATISTICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"mean": _mean, "std": _std, "max": _max}


class Row(NamedTuple):
    """One recording."""

    name: str
    label: str
    speaker: str
    seconds: float
    representation: np.ndarray  # (frames, channels) float32


def member_name(name: str) -> str:
    """A recording's name as that of a file in an archive, which whoever unpacks it finds below the folder `clip`.

    Percent-encoded, as in a URL, are %, backslashes, what is not printable, a slash at the beginning or after another
    one, and the parts . and .. of a path: urllib.parse.unquote gives the name.
    """
    name = "".join(c if c.isprintable() and c not in "%\\" else quote(c, errors="surrogatepass") for c in name)
    name = re.sub(r"(?<![^/])/", "%2F", name)
    return re.sub(r"(?<![^/])\.{1,2}(?![^/])", lambda dots: "%2E" * len(dots[0]), name)


def write_npz(path: Path, rows: Iterable[Row], frames_per_second: float) -> None:
    """Write every representation as it comes; memory does not grow with their number.

    The arrays in the file are clip/<name> (frames, channels) float32 of each recording, the name as `member_name`
    writes it, and, in the same order, names, labels and speakers (text), seconds (float64), and frames_per_second. The
    same rows give the same bytes.

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
            with archive.open(zipfile.ZipInfo(f"clip/{member_name(row.name)}.npy"), "w", force_zip64=True) as member:
                header = np.lib.format.header_data_from_array_1_0(row.representation)
                np.lib.format.write_array_header_1_0(member, header)
                for piece in _pieces(row.representation):
                    member.write(piece.tobytes())
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
        for line in csv_lines(_statistics(rows)):
            file.write(line.encode())


def _statistics(rows: Iterable[Row]) -> Iterator[list[str]]:
    """The columns, and the cells of each recording."""
    for number, row in enumerate(rows):
        statistics = {name: statistic(row.representation) for name, statistic in STATISTICS.items()}
        if number == 0:
            columns = [f"{name}_{i}" for name, values in statistics.items() for i in range(len(values))]
            yield [*Row._fields[:4], *columns]
        numbers = [f"{value:.9g}" for values in statistics.values() for value in values]
        yield [*row[:3], f"{row.seconds:.6f}", *numbers]
