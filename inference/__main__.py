"""Use what a run has learned: python -m inference encode | reconstruct | evaluate | export | probe RUN

docs/representation.md shows the first four, docs/emotion.md the last. A command like train.py: it may import speech,
which the other modules of models do not.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from training.machine import available_cores, keep_freed_memory, start

if __name__ == "__main__":
    options = start("inference", "inference.arguments")  # before NumPy is imported

import numpy as np
import soundfile
from tqdm import tqdm

from inference.ablation import mask_ablation
from inference.export import ExportError, export_onnx, export_torch
from inference.features import Row, write_csv, write_npz
from inference.model import PHASES, Model, load_run, weights_path
from inference.probe_command import MISTAKES as PROBE_MISTAKES
from inference.probe_command import probe
from nn1d import ShapeError
from nn1d.command import run_command
from speech.audio import SAMPLE_RATE_HZ, WaveformError, read_original
from speech.cache import user_cache
from speech.corpus import NAMES, corpus_title, find_corpus, spread
from speech.folder import list_recordings, unique_names
from speech.recording import CorpusError, Recording, RecordingError
from speech.snr import si_sdr, snr_db
from storage.atomic import new_file, write_atomic
from storage.mapped import take_rows
from training.checkpoint import CheckpointError
from training.configuration import ConfigurationError
from training.data import DEMO_CLIPS, read_corpus
from training.run_folder import FILES, RunError, read_config
from training.seed import generator
from training.workers import Workers

AT_ONCE = 4  # recordings a thread that are in memory


class CommandError(RuntimeError):
    """What was asked for cannot be done; the message says why and what to do."""


MISTAKES = (
    CheckpointError, CommandError, ConfigurationError, CorpusError, ExportError, RecordingError, RunError, ShapeError,
    WaveformError, *PROBE_MISTAKES,
)  # fmt: skip


def main(options: argparse.Namespace) -> int:
    """Run the command; the exit code: 0 done, 2 something was left out or cannot be written."""
    keep_freed_memory()
    commands: dict[str, Callable[[argparse.Namespace], int | None]] = {
        "encode": encode,
        "reconstruct": reconstruct,
        "evaluate": evaluate,
        "export": export,
        "probe": probe,
    }
    try:
        return commands[options.command](options) or 0
    except OSError as error:
        if options.output is None or error.filename is not None:
            raise
        raise CommandError(f"{options.output} cannot be written: {error.strerror or error}") from error


def encode(options: argparse.Namespace) -> int:
    """Representations of files, folders or a corpus into one file; 2 if any of them was left out."""
    if (options.db is None) == (not options.paths):
        raise CommandError("encode: needs audio files or folders, or --db; give one of the two")
    model = load_run(options.run, PHASES[0], options.threads)
    recordings, left_out = corpus_recordings(options) if options.db else given_recordings(options.paths)
    check_output(options, (".npz", ".csv"), [item.source for item in recordings if isinstance(item.source, Path)])
    for name, reason in left_out:
        complain(name, reason)
    started, done, seconds = time.perf_counter(), 0, 0.0

    def rows() -> Iterator[Row]:
        nonlocal done, seconds
        with Workers(model.threads) as workers, tqdm(total=len(recordings), unit=" clips", disable=None) as bar:
            for row in encoded(model, recordings, workers):
                if isinstance(row, Row):
                    done, seconds = done + 1, seconds + row.seconds
                    yield row
                bar.update()
        if not done:
            raise CommandError(f"encode: nothing to write: none of {len(recordings)} recordings can be used")

    if options.output.suffix.lower() == ".csv":
        write_csv(options.output, rows())
    else:
        write_npz(options.output, rows(), model.frames_per_second)
    spent = time.perf_counter() - started
    print(
        f"{options.output}: {done} recordings, {seconds:.1f} s of sound in {spent:.1f} s, {seconds / spent:.0f} times "
        f"real time on {model.threads} threads"
    )
    return 2 if left_out or done < len(recordings) else 0


def encoded(model: Model, recordings: Sequence[Recording], workers: Workers) -> Iterator[Row | None]:
    """The rows of recordings, in their order; None for one that cannot be used, after saying why."""

    def read(recording: Recording) -> tuple[np.ndarray, int] | str:
        try:
            return read_original(recording.source)
        except RecordingError as error:
            return str(error)

    for first in range(0, len(recordings), AT_ONCE * workers.threads):
        some = recordings[first : first + AT_ONCE * workers.threads]
        found = list(workers.map(read, some))
        waveforms = [item for item in found if not isinstance(item, str)]
        representations = iter(model.encode_all(waveforms, workers))
        for recording, item in zip(some, found, strict=True):
            if isinstance(item, str):
                complain(str(recording.source) if isinstance(recording.source, Path) else recording.name, item)
                yield None
            else:
                seconds = len(item[0]) / item[1]
                yield Row(recording.name, recording.label, recording.speaker, seconds, next(representations))


def reconstruct(options: argparse.Namespace) -> None:
    """Rebuild one recording."""
    known = soundfile.available_formats()
    kind = options.output.suffix[1:].upper()
    suffixes = [f".{name.lower()}" for name in known if soundfile.check_format(name)]
    check_output(options, suffixes, [options.path])
    model = load_run(options.run, options.phase, options.threads)
    try:
        waveform, rate_hz = read_original(options.path)
    except RecordingError as error:
        raise CommandError(f"{options.path}: {error}") from error
    rebuilt = model.reconstruct(waveform, rate_hz)
    subtype = soundfile.info(options.path).subtype
    try:
        with new_file(options.output) as file:
            fits = soundfile.check_format(kind, subtype)
            soundfile.write(file, rebuilt, rate_hz, subtype if fits else None, format=kind)
    except (soundfile.SoundFileError, ValueError) as error:
        raise CommandError(f"{options.output}: {known[kind]} cannot hold {rate_hz} Hz: {error}. Try .wav") from error
    way = "with its masks" if model.masks else "from the representation alone"
    print(f"{options.output}: {len(rebuilt) / rate_hz:.2f} s at {rate_hz} Hz, {way}")


def evaluate(options: argparse.Namespace) -> None:
    """Judge both decoders on a corpus."""
    if options.db is None:
        raise CommandError(f"evaluate: needs a corpus: --db {' | '.join(NAMES)}")
    if options.output is not None:
        check_output(options, (".json",), [])
    config, settings = read_config(options.run)
    models = [load_run(options.run, phase, options.threads) for phase in PHASES if _has(options.run, phase)]
    if not models:
        weights_path(options.run)
    settings = dataclasses.replace(
        settings,
        db=options.db,
        data_dir=options.data_dir,
        limit=options.limit,
        strict=False,
        cache_dir=None,
        manifest=None,
    )
    threads = options.threads or available_cores()
    clips, _, directory = read_corpus(settings, settings.data_dir, threads)
    if not len(clips):
        raise CommandError(f"evaluate: no recording of {options.db} can be used")
    trained_on = {name for part in ("train", "validation") for name in config.get("split", {}).get(part, [])}
    seen = sum(recording.name in trained_on for recording in clips.recordings)
    place = None if directory is None else str(directory.resolve())
    if seen and (config["settings"]["db"], config.get("corpus")) == (options.db, place):
        print(f"{seen} of these clips are of the run's own training, so this says nothing of new recordings")

    def score(clip: int, rebuilt: np.ndarray) -> float:
        return si_sdr(clips.waveform(clip), clips.unscale(clip, rebuilt)[: clips.valid[clip]])

    variance = float(np.mean([take_rows(clips.samples, np.array([i])).var() for i in range(len(clips))]))
    results: dict[str, Any] = {"run": options.run.name, "db": options.db, "clips": len(clips), "variance": variance}
    with Workers(threads) as workers:
        for name, model in zip(("pre_training", "fine_tuning"), models, strict=False):
            kind = "own" if model.masks else "none"
            rng = generator(settings.seed, "evaluate")
            everything = np.arange(len(clips))
            found = mask_ablation(
                model.network, clips.samples, everything, score, rng=rng, executor=workers, masks=(kind,)
            )
            results[name] = {"masks": kind} | found[kind]
    if options.output is not None:
        write_atomic(options.output, (json.dumps(results, indent=2) + "\n").encode())
    print(f"{corpus_title(options.db)}, {len(clips)} clips with a variance of {variance:.5f}, by {options.run.name}")
    for name in ("pre_training", "fine_tuning"):
        if name in results:
            figures = results[name]
            db = figures["test_si_sdr_db"]
            print(
                f"{name:<13} masks: {figures['masks']:<5} mean squared error {figures['test_mse']:.6f}  SNR "
                f"{snr_db(figures['test_mse'], variance):5.1f} dB  SI-SDR {'-' if db is None else f'{db:.1f} dB'}"
            )


def export(options: argparse.Namespace) -> None:
    """Write the network for other programs."""
    check_output(options, (".onnx",) if options.layout == "onnx" else (".safetensors",), [])
    if options.layout == "torch" and (options.part != "both" or options.masks is not None):
        raise CommandError("export: --part and --masks are of an ONNX graph; --layout torch has all weights")
    model = load_run(options.run, options.phase)
    settings = model.configuration
    about = {
        "run": options.run.resolve().name,
        "phase": weights_path(options.run, options.phase).stem,
        "sample_rate_hz": SAMPLE_RATE_HZ,
        **{name: settings.written()[name] for name in ("clip_samples", "channels", "kernel_size", "output", "scale")},
    }
    if options.layout == "torch":
        export_torch(model.network, options.output, about)
    else:
        masks = model.masks if options.masks is None else options.masks
        export_onnx(model.network, options.output, about | {"part": options.part, "masks": masks}, options.part, masks)
    print(f"{options.output}: {options.output.stat().st_size / 1000:.0f} kB")


def given_recordings(paths: Sequence[Path]) -> tuple[list[Recording], list[tuple[str, str]]]:
    """Files, and what is in folders, each once; and the folders that cannot be read."""
    found: dict[Path, Recording] = {}
    left_out: list[tuple[str, str]] = []
    for path in paths:
        inside = [Recording(unique_names([Path(path.name)])[0], path)]
        if path.is_dir():
            inside, unreadable = list_recordings(path)
            left_out += unreadable
            if not inside:
                raise CommandError(f"{path}: no audio files in this folder")
        for recording in inside:
            found.setdefault(Path(str(recording.source)).resolve(), recording)
    recordings = list(found.values())
    if len(paths) > 1:
        names = unique_names([Path(str(recording.source)) for recording in recordings])
        recordings = [dataclasses.replace(item, name=name) for item, name in zip(recordings, names, strict=True)]
    return recordings, left_out


def corpus_recordings(options: argparse.Namespace) -> tuple[list[Recording], list[tuple[str, str]]]:
    """The recordings of a corpus with their labels and speakers, and what of it cannot be used."""
    corpus = find_corpus(
        options.db, options.data_dir, count=DEMO_CLIPS, progress=sys.stderr.isatty(), cache_dir=user_cache()
    )
    return spread(corpus.recordings, options.limit), corpus.left_out


def check_output(options: argparse.Namespace, suffixes: Sequence[str], inputs: Sequence[Path]) -> None:
    """Raise CommandError where the output has no known suffix, no folder, or is something that is read."""
    output: Path = options.output
    if output.suffix.lower() not in suffixes:
        raise CommandError(f"{output}: the name must end with {' or '.join(sorted(suffixes))}")
    if not output.parent.is_dir():
        raise CommandError(f"{output}: there is no folder {output.parent}")
    if output.is_dir():
        raise CommandError(f"{output}: is a folder. Name a file in it")
    own = [options.run / name for name in FILES] + list((options.run / "checkpoints").glob("*"))
    if output.exists() and any(path.exists() and path.samefile(output) for path in [*own, *inputs]):
        raise CommandError(f"{output}: would overwrite what is read. Choose another name")


def complain(name: str, reason: str) -> None:
    """One sentence about a recording that is left out, above a progress bar if there is one."""
    tqdm.write(f"inference: {name}: {reason}", file=sys.stderr)


def _has(run: Path, phase: str) -> bool:
    return (run / "checkpoints" / f"{phase}.safetensors").is_file()


if __name__ == "__main__":
    sys.exit(run_command("inference", lambda: main(options), *MISTAKES))
