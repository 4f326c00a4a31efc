"""The options of python -m inference; nothing here takes long to import."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from nn1d.command import Parser
from training.configuration import CORPORA

PHASES = ("pretrained", "finetuned")
PARTS = ("both", "encoder", "decoder")
WHOLE = 32  # bits of a number that is not rounded at all
BITS = (*range(2, 13), WHOLE)


def read_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What a command line asks for; `command` is the name of the subcommand.

    Raises
    ------
    SystemExit
        With code 2 after a sentence about what is wrong, with 0 after --help.
    """
    parser = Parser(command="inference", prog="python -m inference", description="Use what a run has learned.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")

    def add(name: str, text: str, output: str | None = None) -> Parser:
        subparser = commands.add_parser(name, help=text, description=text, command="inference")
        subparser.add_argument("run", type=Path, metavar="RUN", help="the folder that train.py printed")
        subparser.add_argument("-o", "--output", type=Path, required=output is None, metavar="FILE", help=output)
        subparser.add_argument("--threads", type=_positive, metavar="N", help="at a time; all cores unless given")
        return subparser

    subparser = add("encode", "Write the representations of recordings of any rate and length.")
    subparser.add_argument(
        "paths", type=Path, nargs="*", default=[], metavar="PATH", help="audio files, or folders of them"
    )
    _add_corpus(subparser)

    subparser = add("reconstruct", "Rebuild a recording, at its rate, duration and level.")
    subparser.add_argument("path", type=Path, metavar="PATH", help="an audio file")
    subparser.add_argument("--phase", choices=PHASES, help="whose decoder; the last that the run has unless given")

    _add_corpus(add("evaluate", "Measure both decoders on all clips of a corpus.", "the figures as JSON"))

    subparser = add("rate", "Judge decoders on representations of a few bits a number.", "the figures as JSON")
    subparser.add_argument(
        "--bits",
        type=_bits,
        default=BITS,
        metavar="N,N,...",
        help=f"a number, {WHOLE} for none rounded (default: 2 to 12, and {WHOLE})",
    )
    subparser.add_argument("--clips", type=_positive, metavar="N", help="use this many test clips; all unless given")
    subparser.add_argument("--data-dir", type=Path, metavar="PATH", help="where the corpus of the run is now")

    subparser = add("export", "Write the network for other programs.")
    subparser.add_argument(
        "--layout", choices=("onnx", "torch"), default="onnx", help="a graph, or weights for torch.nn"
    )
    subparser.add_argument("--phase", choices=PHASES, help="whose decoder; the last that the run has unless given")
    subparser.add_argument("--part", choices=PARTS, default="both", help="of an ONNX graph (default: both)")
    subparser.add_argument(
        "--masks", action=argparse.BooleanOptionalAction, help="hand masks over in the ONNX graph; as the phase does"
    )
    text = "Ask a linear classifier what is in the representation."
    _add_probe(commands.add_parser("probe", help=text, description=text, command="inference"))
    return parser.parse_args(arguments)


def _add_probe(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("runs", type=Path, nargs="+", metavar="RUN", help="a run; of several, each fold takes one that never heard it")
    add("-o", "--output", type=Path, metavar="FILE", help=".json, or .csv with a row a fold; RUN/probe.json")
    add("--by", choices=("speaker", "text"), default="speaker", help="what the folds of emotion leave out")
    add("--folds", metavar="FILE.csv", help="folds by clip names, or manifest, instead of --by")
    add("--write-folds", type=Path, metavar="FILE.csv", help="write the folds of emotion by clip names")
    names = "representation, stage1 ..., stages, untrained, logmel, mfcc, egemaps; source:statistic for one statistic"
    add("--features", default="", metavar="A,B,...", help=names)
    add("--baseline", type=Path, action="append", default=[], metavar="FILE.csv", help="features of others, by name")
    add("--targets", default="", metavar="A,B,...", help="of emotion, speaker, text; all that the corpus tells")
    add("--classifiers", default="logistic,svm", metavar="A,B", help="of logistic, svm")
    add("--train", choices=CORPORA, nargs="+", metavar="DB", help="learn from these corpora")
    add("--test", choices=CORPORA, nargs="+", metavar="DB", help="and test on these, on shared emotions")
    add("--db", choices=CORPORA, nargs="+", metavar="DB", help="other corpora than the run's")
    add("--data-dir", type=Path, metavar="PATH", help="where it is, as for train.py")
    add("--manifest", type=Path, metavar="FILE.csv", help="for --db folder")
    add("--limit", type=_positive, metavar="N", help="use this many clips, spread over the corpus")
    add("--threads", type=_positive, metavar="N", help="clips at a time; all cores unless given")


def _add_corpus(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--db", choices=CORPORA, help="a corpus")
    parser.add_argument("--data-dir", type=Path, metavar="PATH", help="where it is, as for train.py")
    parser.add_argument("--cache-dir", type=Path, metavar="PATH", help="where downloads and prepared clips are kept")
    parser.add_argument("--limit", type=_positive, metavar="N", help="use this many, spread over the corpus")


def _bits(text: str) -> tuple[int, ...]:
    numbers = [int(word) if word.isdecimal() else 0 for word in text.split(",")]
    if not all(1 <= number <= 16 or number == WHOLE for number in numbers):
        raise argparse.ArgumentTypeError(f"must be from 1 to 16, or {WHOLE} for numbers as they are; got {text!r}")
    return tuple(dict.fromkeys(numbers))


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an integer of at least 1; got {text!r}")
    return int(text)
