"""What a probe is given of each clip: statistics of the representation, and of what stands beside it.

A source is what a clip becomes over time, a statistic makes one vector of it. `representation:levels` names both; of a
source alone, all its statistics are candidates, among which a probe chooses on its training clips.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inference import statistic
from inference.model import Model
from models.autoencoder import POOL
from speech.audio import SAMPLE_RATE_HZ
from speech.cepstrum import WINDOW, log_mel, mfcc
from speech.clip import Clips
from speech.egemaps import egemaps, installed
from storage.regular import read_regular
from storage.spreadsheet import TableReader
from training.configuration import Configuration
from training.network import build_network
from training.seed import generator
from training.workers import Workers

OF_WAVEFORM = ("logmel", "mfcc", "egemaps")
WHOLE = "functionals"  # the one statistic of a source that is a vector already
LARGEST = 1e30  # of features; their squares are summed
NOT_FEATURES = ("name", "label", "speaker", "seconds")  # columns of a table of features

Candidates = dict[str, np.ndarray]  # statistic -> (n, d)


class DescriptorError(ValueError):
    """Features cannot be had; the message says why and what to do."""


def source_names(depth: int) -> list[str]:
    """Those of a network with this many stages."""
    return ["representation", *(f"stage{i + 1}" for i in range(depth)), "stages", "untrained", *OF_WAVEFORM]


def split_name(features: str, depth: int) -> tuple[str, str | None]:
    """Source and statistic of representation:levels; no statistic of representation.

    Raises
    ------
    DescriptorError
        There is no such source, or it has no such statistic, or openSMILE is needed and not installed.
    """
    source, _, name = features.partition(":")
    known = source_names(depth)
    if source not in known:
        raise DescriptorError(f"--features: there is no {source!r}; choose from {', '.join(known)}")
    if source == "egemaps" and not installed():
        raise DescriptorError(
            "--features egemaps: needs openSMILE, which is free for research and not for commercial use: pip install "
            "opensmile. Or leave egemaps out"
        )
    statistics = [f"{stage}:levels" for stage in _stages(depth)] if source == "stages" else statistic_names(source)
    if name and name not in statistics:
        raise DescriptorError(f"--features: {source} has no statistic {name!r}; choose from {', '.join(statistics)}")
    return source, name or None


def statistic_names(source: str) -> list[str]:
    """What a source can be summed up by."""
    if source == "egemaps":
        return [WHOLE]
    return list(statistic.OF_LEVELS if source in OF_WAVEFORM else statistic.OF_SIGNALS)


def describe_clips(model: Model, clips: Clips, features: Sequence[str], workers: Workers) -> dict[str, Candidates]:
    """The statistics of every clip that features name; only a clip's own samples count, not its padding.

    Parameters
    ----------
    model : Model
        Whose encoder.
    clips : Clips
        Scaled as those of its run.
    features : sequence of str
        As `split_name` reads them.
    workers : Workers

    Shapes
    ------
    n clips -> {source: {statistic: (n, d) float64}}; stages has the levels of each stage, as stage1:levels
    """
    depth = len(model.configuration.channels)
    wanted: dict[str, set[str]] = {}
    for name in features:
        source, single = split_name(name, depth)
        if source == "stages":
            for stage in _stages(depth):
                wanted.setdefault(stage, set()).add("levels")
        else:
            wanted.setdefault(source, set()).update([single] if single else statistic_names(source))
    untrained = first_network(model.configuration) if "untrained" in wanted else None

    def one(i: int) -> dict[tuple[str, str], np.ndarray]:
        vectors = {}
        for source, frames, rate in _signals(model.network, untrained, clips, i, set(wanted)):
            kinds = statistic.OF_LEVELS if source in OF_WAVEFORM else statistic.OF_SIGNALS
            for name in sorted(wanted[source]):
                vectors[source, name] = kinds[name](frames, rate)
        if "egemaps" in wanted:
            vectors["egemaps", WHOLE] = egemaps(clips.waveform(i), SAMPLE_RATE_HZ)
        return vectors

    rows = list(workers.map(one, range(len(clips))))
    described: dict[str, Candidates] = {}
    for source, name in rows[0]:
        described.setdefault(source, {})[name] = np.array([row[source, name] for row in rows])
    if "stages" in [split_name(name, depth)[0] for name in features]:
        described["stages"] = {f"{stage}:levels": described[stage]["levels"] for stage in _stages(depth)}
    return described


def first_network(configuration: Configuration) -> Any:
    """The network as the run drew it, before any training: what the form of the network is worth alone."""
    return build_network(configuration, generator(configuration.seed, "weights"))


def stage_outputs(encoder: Any, x: np.ndarray) -> Iterator[np.ndarray]:
    """What each stage of an encoder hands on, after its pool where it has one; the last is the representation.

    Shapes
    ------
    x (N, L, 1) -> (N, L / 2, C), (N, L / 4, C), ...
    """
    pool = encoder.layers.get("pool")
    for name, stage in encoder.layers.items():
        if name != "pool":
            x, _ = stage.forward(x)
            if pool is not None:
                x = pool.maxima(x)
            yield x


def read_table(path: Path, names: Sequence[str]) -> np.ndarray:
    """Features of others, from a CSV file with the column name and numbers beside it.

    Columns label, speaker and seconds, as `python -m inference encode -o FILE.csv` writes them, are passed over.

    Shapes
    ------
    n names -> (n, d) float64

    Raises
    ------
    DescriptorError
        The file cannot be read, lacks a clip or has one twice, or holds something that is no finite number.
    """
    try:
        lines = list(TableReader(io.StringIO(read_regular(path, "utf-8-sig"), newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DescriptorError(f"--baseline: cannot read {path}: {reason}") from None
    columns = [column for column in (lines[0] if lines else {}) if column not in NOT_FEATURES]
    if not columns or "name" not in lines[0]:
        raise DescriptorError(f"--baseline: {path} needs a first line with name and columns of numbers beside it")
    by_name: Mapping[str, Mapping[str, str]] = {line["name"]: line for line in lines}
    if len(by_name) < len(lines):
        doubled = next(name for name, times in Counter(line["name"] for line in lines).items() if times > 1)
        raise DescriptorError(f"--baseline: {path} has {doubled} twice. One line a clip is needed")
    missing = [name for name in names if name not in by_name]
    if missing:
        raise DescriptorError(f"--baseline: {path} lacks {len(missing)} of {len(names)} clips, {missing[0]} among them")
    table = np.empty((len(names), len(columns)))
    for row, name in enumerate(names):
        for column, title in enumerate(columns):
            try:
                table[row, column] = float(by_name[name][title])
            except (TypeError, ValueError):
                table[row, column] = math.nan
            if not abs(table[row, column]) <= LARGEST:
                value = by_name[name][title]
                raise DescriptorError(
                    f"--baseline: {path} has {value!r} as {title} of {name}; a number of at most {LARGEST:g} is needed"
                )
    return table


def _stages(depth: int) -> list[str]:
    return [f"stage{i + 1}" for i in range(depth)]


def _signals(
    network: Any, untrained: Any, clips: Clips, i: int, wanted: set[str]
) -> Iterator[tuple[str, np.ndarray, float]]:
    """Each source of a clip as frames (T, C), with their rate."""
    samples, valid = clips.samples[i][None, :, None], int(clips.valid[i])
    depth = sum(name != "pool" for name in network.encoder.layers)
    if wanted & {"representation", *_stages(depth)}:
        for j, output in enumerate(stage_outputs(network.encoder, samples), start=1):
            step = POOL**j
            frames = output[0, : math.ceil(valid / step)]
            for source in [f"stage{j}", *(["representation"] if j == depth else [])]:
                if source in wanted:
                    yield source, frames, SAMPLE_RATE_HZ / step
    if untrained is not None:
        step = POOL**depth
        yield "untrained", untrained.encoder.represent(samples)[0, : math.ceil(valid / step)], SAMPLE_RATE_HZ / step
    if wanted & {"logmel", "mfcc"}:
        levels = log_mel(clips.waveform(i), SAMPLE_RATE_HZ)
        if "logmel" in wanted:
            yield "logmel", levels, 4 * SAMPLE_RATE_HZ / WINDOW
        if "mfcc" in wanted:
            yield "mfcc", mfcc(levels), 4 * SAMPLE_RATE_HZ / WINDOW
