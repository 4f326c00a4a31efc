"""Train the paper's system on a corpus: python train.py --db emodb

The whole first, then the decoder alone; at the end the paper's table with this run's figures. python train.py --help
lists the settings, docs/corpora.md the corpora, docs/reproduction.md what the defaults reach.
"""

from __future__ import annotations

from training.launch import end_quietly, ending_others, silence_others

if __name__ == "__main__":
    end_quietly("train.py")
    silence_others()

import dataclasses
import math
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from training.machine import available_cores, keep_freed_memory, start

if __name__ == "__main__":
    command = start("train.py", "training.arguments")  # before NumPy is imported

import numpy as np

from inference.ablation import mask_ablation, summary, summary_without_masks
from models.paper import PAPER
from nn1d.command import run_command
from report.listening import page_files, publish
from report.table import as_text, mask_table, paper_table
from speech.audio import SAMPLE_RATE_HZ
from speech.distortion import missing
from speech.snr import si_sdr
from storage.mapped import take_rows
from training.arguments import Command
from training.configuration import Configuration
from training.data import MISTAKES, Work, clip_rows, prepare, prepare_again
from training.dual_training import Diverged, DualTraining
from training.executor import pieces
from training.pipeline import Pipeline
from training.rank import Ranks
from training.run_files import RunError
from training.run_folder import ReadOnlyRun, RunFolder, check_free, new_folder
from training.sanity import dry_run, overfit
from training.seed import generator
from training.signals import Stop, Stopped
from training.terminal import saturation, say, say_epoch


def main(command: Command) -> int:
    """Run the command; the exit code: 0 done, 1 diverged or not learned, 130 or 143 stopped by a signal and saved."""
    keep_freed_memory()
    warnings.simplefilter("ignore", RuntimeWarning)  # of overflow: a step that is not finite ends with a sentence
    try:
        with Ranks.join() as ranks:
            if command.overfit:
                return 0 if overfit(command.settings, ranks) else 1
            if command.dry_run:
                dry_run(command.settings, ranks, *([] if command.settings.no_report else [page_files]))
            elif command.resume is not None:
                go_on(*resume(command.resume, command.chosen, ranks))
            else:
                go_on(*begin(command.settings, ranks))
    except Diverged as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 1
    except Stopped as error:
        return error.code
    return 0


def begin(settings: Configuration, ranks: Ranks) -> tuple[RunFolder, Work]:
    """A new run: its corpus, and its folder."""
    folder = settings.out or new_folder(settings)
    ranks.first(lambda: check_free(folder, settings.force))
    work = prepare(settings, ranks=ranks)
    return own_run(ranks, lambda: RunFolder.create(folder, work.config, settings.force)), work


def resume(path: Path, chosen: dict[str, Any], ranks: Ranks) -> tuple[RunFolder, Work]:
    """A run that was saved, to go on with."""
    run = own_run(ranks, lambda: RunFolder.open(path))
    config, settings = run.read_config()
    if chosen.get("out", path).resolve() != path.resolve():
        raise RunError(f"--resume: the run is in {path}; got --out {chosen['out']}. Leave --out out")
    settings = settings.resumed({name: value for name, value in chosen.items() if name != "out"})
    if settings.device == "cpu":  # what was the GPU's
        settings = dataclasses.replace(settings, tf32="tf32" in chosen, half="half" in chosen)
    # a run may come from anybody: where it says that recordings are is read, and nowhere but in the run is written
    settings = dataclasses.replace(settings, cache_dir=chosen.get("cache_dir"))
    work = prepare_again(config, settings, chosen.get("data_dir"), "--resume", ranks)
    again = {name: work.config[name] for name in ("command", "git_commit", "threads", "ranks", "device")}
    config |= {"settings": settings.written(), "resumed": [*config.get("resumed", []), again]}
    run.write_json("config.json", config)
    return run, work


def own_run(ranks: Ranks, make: Callable[[], RunFolder]) -> RunFolder:
    """The folder of the run, which rank 0 makes and writes into."""
    made: list[RunFolder] = []

    def path() -> Path:
        made.append(make())
        return made[0].path.resolve()

    shared = ranks.first(path)
    return made[0] if made else ReadOnlyRun(shared)


def go_on(run: RunFolder, work: Work) -> None:
    """Both phases, from where they stand to the table."""
    settings, clips, split, parts = work.settings, work.clips, work.split, work.parts
    say(f"run: {run.path} ({work.threads} threads, {len(parts.train)} training, {len(parts.test)} test clips)")
    try:
        with Stop() as stop, work.executor() as executor:
            work.ranks.heed(stop)
            training = DualTraining(settings, work.samples, executor, stop.check)
            pipeline = Pipeline(run, training, parts, work.names, stop, say_epoch, sys.stderr.isatty())

            def si_sdr_db(clip: int, rebuilt: np.ndarray) -> float:
                stop.check()
                return si_sdr(clips.waveform(clip), clips.unscale(clip, rebuilt)[: clips.valid[clip]])

            def ablation() -> dict[str, Any]:
                rng = generator(settings.seed, "masks")
                return mask_ablation(training.network, clips.samples, split.test, si_sdr_db, rng=rng, executor=executor)

            masks: dict[str, Any] = {}
            first = pipeline.fit("pre_training", training.pre_training(parts.train, parts.validation))
            if settings.pooling == "max":
                masks["pre_training"] = ablation()
            features = pipeline.encode() if work.shards is None else None
            run.write_clips(clip_rows(clips, split))
            second = pipeline.fit("fine_tuning", training.fine_tuning(features, parts.train, parts.validation))
            if settings.pooling == "max":
                masks["fine_tuning"] = ablation()
                words = summary(masks)
            else:
                words = summary_without_masks(
                    32 * math.prod(training.representation_shape) * SAMPLE_RATE_HZ / settings.clip_samples
                )
            results: dict[str, Any] = {
                "db": settings.db,
                "clips": len(work.samples),
                "parameters": training.flat.vector.size,
                "test_variance": float(np.mean([take_rows(work.samples, i).var() for i in pieces(parts.test, 1)])),
                "pre_training": first,
                "fine_tuning": second,
                "masks": masks | {"summary": words},
                "paper": PAPER.get(settings.db, {}),
            }
            run.write_results(results)
            if not settings.no_report:
                threads = work.threads if work.module is np else available_cores()
                results = work.ranks.first(lambda: publish(run, clips, split, threads, sys.stderr.isatty(), stop.check))
    except Stopped as stopped:
        say(f"stopped by {stopped}. Go on with: python train.py --resume {run.path}")
        raise
    finally:
        run.release()
    say("", as_text(paper_table(results)), "", as_text(mask_table(results["masks"])))
    say(*saturation(results, settings.output), f"run: {run.path}")
    if not settings.no_report:
        say(*missing(SAMPLE_RATE_HZ), f"listen: {run.path / 'report.html'}")


if __name__ == "__main__":
    with ending_others():
        sys.exit(run_command("train.py", lambda: main(command), *MISTAKES))
