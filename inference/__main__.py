"""Use what a run has learned: python -m inference encode | reconstruct | evaluate | rate | export | probe RUN ...

docs/representation.md shows each of them, docs/emotion.md the last.
"""

from __future__ import annotations

from training.launch import end_quietly

if __name__ == "__main__":
    end_quietly("inference")

import argparse
import dataclasses
import itertools
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from training.machine import available_cores, keep_freed_memory, start

if __name__ == "__main__":
    options = start("inference", "inference.arguments")  # before NumPy is imported

import numpy as np
from tqdm import tqdm

from inference.ablation import mask_ablation
from inference.export import ExportError, export_onnx, export_torch
from inference.features import Row, write_csv, write_npz
from inference.model import PHASES, WEIGHTS, Model, load_run, phases_there, weights_path
from inference.output import OutputError, check_output
from inference.probe_command import MISTAKES as PROBE_MISTAKES
from inference.probe_command import probe
from inference.rate import Rate, as_json, as_lines, judge_plain, recording_rates, representation_rates
from nn1d import ShapeError
from nn1d.command import run_command, say
from speech.audio import SAMPLE_RATE_HZ, Blocks, WaveformError, convert_blocks
from speech.cache import user_cache
from speech.checks import NotFiniteError
from speech.clip import Clips
from speech.container import FormatError, encode_sound, writable_suffixes
from speech.corpus import NAMES, corpus_title, find_corpus, spread
from speech.folder import list_recordings, passed_over, unique_names
from speech.recording import CorpusError, Recording, RecordingError, printable
from speech.snr import si_sdr, snr_db
from storage.atomic import write_atomic
from storage.mapped import take_rows
from training.checkpoint import CheckpointError
from training.configuration import ConfigurationError
from training.data import DEMO_CLIPS, learned_contents, prepare_again, read_corpus
from training.run_files import RunError, read_config
from training.run_folder import RunFolder
from training.seed import generator
from training.workers import Workers

AT_ONCE = 4  # recordings a thread whose beginnings are read at a time
IN_MEMORY = 2**23  # bytes of a representation; more of them wait in a file


class CommandError(RuntimeError):
    """What was asked for cannot be done; the message says why and what to do."""


MISTAKES = (
    CheckpointError, CommandError, ConfigurationError, CorpusError, ExportError, NotFiniteError, OutputError,
    RecordingError, RunError, ShapeError, WaveformError, *PROBE_MISTAKES,
)  # fmt: skip


def main(options: argparse.Namespace) -> int:
    """Run the command; the exit code: 0 done, 2 something was left out or cannot be written."""
    keep_freed_memory()
    warnings.simplefilter("ignore", RuntimeWarning)  # of overflow: what is not finite ends with a sentence
    commands: list[Callable[[argparse.Namespace], int | None]] = [encode, reconstruct, evaluate, rate, export, probe]
    try:
        return next(command for command in commands if command.__name__ == options.command)(options) or 0
    except OSError as error:
        if options.output is None or error.filename not in (None, str(options.output)):
            raise
        place = printable(options.output)
        raise CommandError(f"{place} cannot be written: {error.strerror or error}") from error


def encode(options: argparse.Namespace) -> int:
    """Representations of files, folders or a corpus into one file; 2 if any of them was left out."""
    if (options.db is None) == (not options.paths):
        raise CommandError("encode: needs audio files or folders, or --db; give one of the two")
    model = load_run(options.run, PHASES[0], options.threads)
    recordings, left_out = corpus_recordings(options) if options.db else named_recordings(options.paths)
    inputs = [item.source for item in recordings if isinstance(item.source, Path)]
    check_output(options.output, (".npz", ".csv"), [options.run], inputs)
    for name, reason in left_out:
        complain(name, reason)
    started, done, seconds = time.perf_counter(), 0, 0.0

    def rows() -> Iterator[Row]:
        nonlocal done, seconds
        with Workers(model.threads) as workers, tqdm(total=len(recordings), unit=" clips", disable=None) as bar:
            for row in encoded(model, recordings, workers, options.output.parent):
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
    place = printable(options.output)
    print(
        f"{place}: {done} recordings, {seconds:.1f} s of sound in {spent:.1f} s, {seconds / spent:.0f} times "
        f"real time on {model.threads} threads"
    )
    return 2 if left_out or done < len(recordings) else 0


def encoded(model: Model, recordings: Sequence[Recording], workers: Workers, folder: Path) -> Iterator[Row | None]:
    """The rows of recordings, in their order; None for one that cannot be used, after saying why.

    What a recording has beyond its first block is read as it is encoded, and a long representation waits in a file
    without a name in `folder`: memory does not grow with the length of a recording.
    """
    readers = [Blocks(recording.source) for recording in recordings]
    reasons: dict[int, str] = {}

    def begin(i: int) -> Iterator[np.ndarray]:
        """The blocks of a recording, the first of which is read already; none where it cannot be."""
        blocks = iter(readers[i])
        try:
            return itertools.chain([next(blocks)], blocks)
        except RecordingError as error:
            reasons[i] = str(error)
            return iter(())

    def converted(i: int, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        try:
            yield from convert_blocks(blocks, readers[i].rate_hz, SAMPLE_RATE_HZ)
        except RecordingError as error:  # perhaps after its last block: that it is silent is known then
            reasons[i] = str(error)

    def streams() -> Iterator[Iterator[np.ndarray]]:
        for first in range(0, len(readers), AT_ONCE * workers.threads):
            some = range(len(readers))[first : first + AT_ONCE * workers.threads]
            for i, blocks in zip(some, list(workers.map(begin, some)), strict=True):
                yield converted(i, blocks) if i not in reasons else iter(())

    parts = itertools.groupby(model.encode_blocks(streams(), workers), key=lambda part: part[0])
    i, group = next(parts, (len(readers), None))
    for k, (recording, reader) in enumerate(zip(recordings, readers, strict=True)):
        with tempfile.SpooledTemporaryFile(IN_MEMORY, dir=str(folder)) as file:
            channels = 1
            if i == k and group is not None:
                for _, part in group:
                    channels = part.shape[1]
                    if not np.isfinite(part).all():
                        reasons[k] = "its representation holds NaN or infinity, so the run did not learn. Train anew"
                    file.write(np.ascontiguousarray(part).data)
                i, group = next(parts, (len(readers), None))
            if k in reasons:
                complain(_place(recording), reasons[k])
                yield None
            else:
                seconds = reader.samples / reader.rate_hz
                yield Row(recording.name, recording.label, recording.speaker, seconds, _array(file, channels))


def _array(file: tempfile.SpooledTemporaryFile[bytes], channels: int) -> np.ndarray:
    """The float32 numbers in a file, (frames, channels), mapped where they are many."""
    if (size := file.tell()) > IN_MEMORY:
        file.flush()
        return np.memmap(file, np.float32, "r", shape=(size // 4 // channels, channels))
    file.seek(0)
    return np.frombuffer(file.read(), np.float32).reshape(-1, channels)


def _place(recording: Recording) -> str:
    """What a recording is called where something is said of it."""
    return printable(recording.source) if isinstance(recording.source, Path) else recording.name


def reconstruct(options: argparse.Namespace) -> None:
    """Rebuild one recording."""
    check_output(options.output, writable_suffixes(), [options.run], [options.path])
    model = load_run(options.run, options.phase, options.threads)
    place = printable(options.output)
    try:
        blocks = Blocks(options.path)
        waveform = np.concatenate(list(blocks))
    except RecordingError as error:
        raise CommandError(f"{printable(options.path)}: {error}") from error
    rate_hz = blocks.rate_hz
    rebuilt = model.reconstruct(waveform, rate_hz)
    if not np.isfinite(rebuilt).all():
        raise CommandError(f"{place}: what is rebuilt holds NaN or infinity, so the run did not learn. Train anew")
    try:
        content = encode_sound(options.output.suffix, rebuilt, rate_hz, blocks.subtype)
    except FormatError as error:
        raise CommandError(f"{place}: {error}") from error
    write_atomic(options.output, content)
    way = "with its masks" if model.masks else "from the representation alone"
    print(f"{place}: {len(rebuilt) / rate_hz:.2f} s at {rate_hz} Hz, {way}")


def evaluate(options: argparse.Namespace) -> None:
    """Measure the decoders that a run has on a corpus."""
    if options.db is None:
        raise CommandError(f"evaluate: needs a corpus: --db {' | '.join(NAMES)}")
    if options.output is not None:
        check_output(options.output, (".json",), [options.run])
    config, settings = read_config(options.run)
    there = phases_there(options.run)
    models = {
        phase: load_run(options.run, weights, options.threads) for phase, weights in WEIGHTS.items() if weights in there
    }
    if not models:
        weights_path(options.run)
    settings = dataclasses.replace(
        settings,
        db=options.db,
        data_dir=options.data_dir,
        limit=options.limit,
        strict=False,
        cache_dir=options.cache_dir,
        manifest=None,
    )
    threads = options.threads or available_cores()
    clips, _, _ = read_corpus(settings, settings.data_dir, threads)
    if not len(clips):
        raise CommandError(f"evaluate: no recording of {options.db} can be used")
    say_seen(config, clips)

    def score(clip: int, rebuilt: np.ndarray) -> float:
        return si_sdr(clips.waveform(clip), clips.unscale(clip, rebuilt)[: clips.valid[clip]])

    variance = float(np.mean([take_rows(clips.samples, np.array([i])).var() for i in range(len(clips))]))
    run = options.run.resolve().name
    results: dict[str, Any] = {"run": run, "db": options.db, "clips": len(clips), "variance": variance}
    with Workers(threads) as workers:
        for phase, model in models.items():
            kind = "own" if model.masks else "none"
            rng = generator(settings.seed, "evaluate")
            everything = np.arange(len(clips))
            if settings.pooling == "fold":
                results[phase] = {"masks": kind} | judge_plain(model, clips, score, SAMPLE_RATE_HZ, workers)
                continue
            errors = mask_ablation(
                model.network, clips.samples, everything, score, rng=rng, executor=workers, masks=(kind,)
            )
            results[phase] = {"masks": kind} | errors[kind]
    if options.output is not None:
        write_atomic(options.output, (json.dumps(results, indent=2) + "\n").encode())
    print(f"{corpus_title(options.db)}, {len(clips)} clips with a variance of {variance:.5f}, by {run}")
    for phase in models:
        figures = results[phase]
        db = figures["test_si_sdr_db"]
        print(
            f"{phase:<13} masks: {figures['masks']:<5} mean squared error {figures['test_mse']:.6f}  SNR "
            f"{snr_db(figures['test_mse'], variance):5.1f} dB  SI-SDR {'-' if db is None else f'{db:.1f} dB'}"
        )


def say_seen(config: dict[str, Any], clips: Clips) -> None:
    """Say how many clips the run has learned from or was stopped by, wherever they lie and whatever their names."""
    contents = learned_contents(config, set(clips.contents))
    if contents is None:
        print("the run does not say what its clips held, so some of these may be of its own training")
    elif contents:
        print(
            f"{len(contents)} of these {len(clips)} clips are of the run's own training, so this says nothing of new "
            "recordings"
        )


def rate(options: argparse.Namespace) -> None:
    """Rebuild the run's test clips from quantised representations, and the recordings at fewer bits beside them."""
    if options.output is not None:
        check_output(options.output, (".json",), [options.run])
        write_atomic(options.output, (json.dumps(measure_rates(options), indent=2) + "\n").encode())
        return
    with RunFolder.open(options.run, "rate") as run:
        results = run.read_results()  # before the work, which takes minutes
        run.write_results(results | {"rates": measure_rates(options)})
    say(f"written: {options.run / 'results.json'}; python -m report {options.run} shows it")


def measure_rates(options: argparse.Namespace) -> dict[str, Any]:
    """The figures of `rate`, which are printed as well."""
    config, settings = read_config(options.run)
    models = {weights: load_run(options.run, weights, options.threads) for weights in phases_there(options.run)}
    if not models:
        weights_path(options.run)
    settings = dataclasses.replace(settings, device="cpu", cache_dir=None)  # a run may come from anybody
    work = prepare_again(config, settings, options.data_dir, "rate")
    clips, train, test = work.clips, work.split.train, work.split.test[: options.clips]
    lines: list[Rate] = []
    with Workers(options.threads or available_cores()) as workers:
        total = len(test) * len(options.bits) * len(models)
        with tqdm(total=total, unit=" clips", disable=None) as bar:
            for name, model in models.items():
                arguments = (name, model, clips, train, test, SAMPLE_RATE_HZ, workers, options.bits)
                lines += representation_rates(*arguments, on_clip=lambda: bar.update() and None)
        lines += recording_rates(clips, train, test, SAMPLE_RATE_HZ, workers, options.bits)
    print(as_lines(lines))
    return {"run": options.run.resolve().name, "test_clips": len(test), "rates": as_json(lines)}


def export(options: argparse.Namespace) -> None:
    """Write the network for other programs."""
    check_output(options.output, (".onnx",) if options.layout == "onnx" else (".safetensors",), [options.run])
    if options.layout == "torch" and (options.part != "both" or options.masks is not None):
        raise CommandError("export: --part and --masks are of an ONNX graph; --layout torch has all weights")
    model = load_run(options.run, options.phase)
    settings = model.configuration
    about = {
        "run": printable(options.run.resolve().name),
        "phase": weights_path(options.run, options.phase).stem,
        "sample_rate_hz": SAMPLE_RATE_HZ,
        **{
            name: settings.written()[name]
            for name in ("clip_samples", "channels", "pooling", "kernel_size", "output", "scale")
        },
    }
    if options.layout == "torch":
        export_torch(model.network, options.output, about)
    else:
        masks = model.masks if options.masks is None else options.masks
        if masks and settings.pooling == "fold":
            raise CommandError("export: --masks needs a network with max pools; the run has folds, which have none")
        export_onnx(model.network, options.output, about | {"part": options.part, "masks": masks}, options.part, masks)
    print(f"{options.output}: {options.output.stat().st_size / 1000:.0f} kB")


def named_recordings(paths: Sequence[Path]) -> tuple[list[Recording], list[tuple[str, str]]]:
    """Files, and what is in folders, each once; and the folders that cannot be read."""
    by_place: dict[Path, Recording] = {}
    left_out: list[tuple[str, str]] = []
    runs: list[Path] = []
    for path in paths:
        if not path.is_dir():
            inside = [Recording(unique_names([Path(path.name)])[0], path)]
        else:
            inside, unusable = list_recordings(path, runs)
            unusable = [(f"{printable(path)}/{name}", reason) for name, reason in unusable]
            left_out += unusable
            if not inside:
                others = f"; {len(unusable)} cannot be used: {unusable[0][0]}: {unusable[0][1]}" if unusable else ""
                raise CommandError(f"{printable(path)}: no audio files in this folder that can be read{others}")
        for recording in inside:
            by_place.setdefault(Path(str(recording.source)).resolve(), recording)
    for sentence in passed_over(runs):
        print(sentence)
    recordings = list(by_place.values())
    if len(paths) > 1:
        names = unique_names([Path(str(recording.source)) for recording in recordings])
        recordings = [dataclasses.replace(item, name=name) for item, name in zip(recordings, names, strict=True)]
    return recordings, left_out


def corpus_recordings(options: argparse.Namespace) -> tuple[list[Recording], list[tuple[str, str]]]:
    """The recordings of a corpus with their labels and speakers, and what of it cannot be used."""
    corpus = find_corpus(
        options.db,
        options.data_dir,
        count=DEMO_CLIPS,
        progress=sys.stderr.isatty(),
        cache_dir=options.cache_dir or user_cache(),
    )
    return spread(corpus.recordings, options.limit), corpus.left_out


def complain(name: str, reason: str) -> None:
    """One sentence about a recording that is left out, above a progress bar if there is one."""
    tqdm.write(f"inference: {name}: {reason}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(run_command("inference", lambda: main(options), *MISTAKES))
