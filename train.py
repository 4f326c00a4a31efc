"""Train the paper's system on a corpus: python train.py --db emodb

The whole first, then the decoder alone; at the end the paper's table with this run's figures. python train.py --help
lists the settings, docs/corpora.md the corpora, docs/reproduction.md what the defaults reach.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.machine import blas_environment

os.environ.update(blas_environment())  # before NumPy loads its BLAS

import numpy as np

from inference.ablation import ablate, finding, finding_without_masks
from models.folded import FoldedAutoencoder
from models.paper import PAPER
from report.listening import publish
from report.table import as_text, paper_table
from speech.audio import SAMPLE_RATE_HZ
from speech.distortion import missing
from speech.snr import si_sdr
from storage.mapped import take_rows
from training.configuration import Configuration, read_arguments
from training.data import MISTAKES, Work, clip_rows, prepare, prepare_again
from training.dual_training import Diverged, DualTraining
from training.machine import available_cores, keep_freed_memory
from training.pipeline import Pipeline
from training.run_folder import RunError, RunFolder, check_free, new_folder
from training.sanity import dry_run, overfit
from training.seed import generator
from training.signals import Stop, Stopped
from training.terminal import say, say_epoch
from training.workers import Workers


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code: 0 done, 1 diverged, 2 a mistake in the input, 130 or 143 stopped by a signal."""
    keep_freed_memory()
    warnings.simplefilter("ignore", RuntimeWarning)  # of overflow: a step that is not finite ends with a sentence
    try:
        command = read_arguments(arguments)
        if command.overfit:
            return 0 if overfit(command.settings) else 1
        if command.dry_run:
            dry_run(command.settings)
        elif command.resume is not None:
            resume(command.resume, command.given)
        else:
            train(command.settings)
    except MISTAKES as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    except Diverged as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 1
    except Stopped as error:
        return error.code
    except KeyboardInterrupt:
        print("train.py: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return 0


def train(settings: Configuration) -> None:
    """A new run: read the corpus, train both phases, print the table."""
    check_free(folder := settings.out or new_folder(settings), settings.force)
    work = prepare(settings)
    run = RunFolder.create(folder, settings.force)
    run.write_json("config.json", work.config)
    go_on(run, work)


def resume(path: Path, given: dict[str, Any]) -> None:
    """Go on with a run where it was saved last."""
    run = RunFolder.open(path)
    config, settings = run.read_config()
    if given.get("out", path).resolve() != path.resolve():
        raise RunError(f"--resume: the run is in {path}; got --out {given['out']}. Leave --out out")
    settings = settings.resumed({name: value for name, value in given.items() if name != "out"})
    if settings.device == "cpu":  # what was the GPU's
        settings = dataclasses.replace(settings, tf32="tf32" in given, half="half" in given)
    work = prepare_again(config, settings, given.get("data_dir"), "--resume")
    again = {name: work.config[name] for name in ("command", "git_commit", "threads", "device")}
    config |= {"settings": settings.written(), "resumed": [*config.get("resumed", []), again]}
    run.write_json("config.json", config)
    go_on(run, work)


def go_on(run: RunFolder, work: Work) -> None:
    """Both phases, from where they stand to the table."""
    settings, clips, split = work.settings, work.clips, work.split
    say(f"run: {run.path} ({work.threads} threads, {len(split.train)} training, {len(split.test)} test clips)")
    try:
        with Stop() as stop, Workers(work.threads) as workers:
            training = DualTraining(settings, clips.samples, workers, work.module)
            course = Pipeline(run, training, split, work.names, stop, say_epoch, sys.stderr.isatty())
            variances = [take_rows(clips.samples, np.array([i])).var() for i in split.test]
            results: dict[str, Any] = {
                "db": settings.db,
                "clips": len(clips),
                "parameters": training.flat.vector.size,
                "test_variance": float(np.mean(variances)),
            }

            def si_sdr_db(clip: int, rebuilt: np.ndarray) -> float:
                stop.check()
                return si_sdr(clips.waveform(clip), clips.unscale(clip, rebuilt)[: clips.valid[clip]])

            def worth() -> dict[str, Any]:
                """With which masks the decoder, as it is now, rebuilds the test clips how well; nothing with folds."""
                if isinstance(training.network, FoldedAutoencoder):
                    return {}
                drawn = generator(settings.seed, "masks")
                given = (training.network, clips.samples, split.test, si_sdr_db)
                return ablate(*given, rng=drawn, workers=workers, module=work.module)

            results["pre_training"] = course.pre_train()
            masks = {"pre_training": worth()}
            features = course.encode()
            run.write_clips(clip_rows(clips, split))
            results["fine_tuning"] = course.fine_tune(features)
            masks["fine_tuning"] = worth()
            if isinstance(training.network, FoldedAutoencoder):
                rate = 32 * features[0].size * SAMPLE_RATE_HZ / clips.samples.shape[1]
                results["masks"] = {"finding": finding_without_masks(rate)}
            else:
                results["masks"] = masks | {"finding": finding(masks)}
            results["paper"] = PAPER.get(settings.db, {})
            run.write_json("results.json", results)
            if not settings.no_report:
                threads = work.threads if work.module is np else available_cores()
                results = publish(run, clips, split, threads, sys.stderr.isatty(), stop.check)
    except Stopped as stopped:
        say(f"stopped by {stopped}. Go on with: python train.py --resume {run.path}")
        raise
    finally:
        run.release()
    say("", as_text(paper_table(results)), results["masks"]["finding"], f"run: {run.path}")
    if not settings.no_report:
        say(*missing(SAMPLE_RATE_HZ), f"listen: {run.path / 'report.html'}")


if __name__ == "__main__":
    sys.exit(main())
