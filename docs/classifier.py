"""python -m docs.classifier CORPUS: run the program of docs/classifier.md on five splits that keep speakers apart."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from docs.gradients.page import PIECE
from nn1d.command import Parser, run_command
from speech.recording import CorpusError

PAGE = Path(__file__).with_suffix(".md")
SEEDS = range(5)


def program() -> dict[str, Any]:
    """The names that the first block of the page defines."""
    piece = PIECE.search(PAGE.read_text("utf-8"))
    assert piece is not None
    names: dict[str, Any] = {"__name__": "classifier"}
    exec(compile(piece["shown"], str(PAGE), "exec"), names)
    return names


def main(arguments: list[str] | None = None) -> int:
    """Print the accuracy of each split, and their mean; the exit code: 2 after a mistake."""
    parser = Parser(command="classifier", prog="python -m docs.classifier", description="Train docs/classifier.md.")
    parser.add_argument("corpus", nargs="?", default="demo", help="such as emodb (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=20, help="rounds of training (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.epochs < 1:
        parser.error(f"--epochs must be at least 1; got {options.epochs}")
    return run_command("classifier", lambda: _print(options.corpus, options.epochs), CorpusError)


def _print(corpus: str, epochs: int) -> int:
    names = program()
    x, t, speakers = names["prepare"](corpus)
    commonest = np.bincount(t).max() / len(t)
    print(f"{len(t)} clips of {len(set(speakers))} speakers; always the commonest emotion: {commonest:.3f}")
    accuracies = []
    for seed in SEEDS:
        accuracies.append(names["accuracy"](x, t, speakers, seed, epochs))
        print(f"split {seed}: {accuracies[-1]:.3f}", flush=True)
    print(f"mean: {np.mean(accuracies):.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
