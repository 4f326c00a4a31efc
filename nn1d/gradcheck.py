"""python -m nn1d.gradcheck: check every layer, and the layers of modules that you name.

    python -m nn1d.gradcheck                    nn1d's layers, and the paper's network where `models` can be imported
    python -m nn1d.gradcheck my_layers          those of my_layers.py as well
    python -m nn1d.gradcheck exercises/gain.py  those of one file, and no others

A module takes part with a function gradient_cases(rng) that yields (name, layer, x, *context): what check_gradients
takes, in float64.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from nn1d.activation import ELU, HardSigmoid, LeakyReLU, ReLU, Sigmoid, Tanh
from nn1d.command import Parser, run_command
from nn1d.conv import Conv1d, ConvTranspose1d
from nn1d.dropout import Dropout
from nn1d.fold import Fold1d, Unfold1d
from nn1d.gradient import GradientError, GradientReport, check_gradients
from nn1d.layer import ShapeError
from nn1d.linear import Linear
from nn1d.loss import cross_entropy, mse
from nn1d.norm import LayerNorm
from nn1d.pool import AvgPool1d, GlobalAveragePool1d, MaxPool1d, MaxUnpool1d, Upsample1d
from nn1d.residual import ResidualBlock
from nn1d.sequential import Sequential
from nn1d.softmax import Softmax

# modules with networks built on nn1d; asked by name, since a library does not import what stands on it
APPLICATIONS = ("models.autoencoder", "models.folded")


class MeanSquaredError:
    """nn1d.mse as a layer, so that the checker can take it: its output is the loss, its backward scales dx."""

    function: Callable[..., tuple[Any, Any]] = staticmethod(mse)

    def __init__(self) -> None:
        self.parameters: dict[str, Any] = {}

    def __repr__(self) -> str:
        return self.function.__name__

    def forward(self, x: Any, target: Any) -> tuple[Any, Any]:
        """The loss as an array of one number."""
        loss, dx = self.function(x, target)
        return np.asarray([loss]), dx

    def backward(self, dy: Any, cache: Any) -> tuple[Any, dict[str, Any]]:
        """dx times dy."""
        return cache * dy[0], {}


class CrossEntropy(MeanSquaredError):
    """nn1d.cross_entropy as a layer."""

    function = staticmethod(cross_entropy)


def gradient_cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """One case a layer, and more where a layer has sides: stride, padding, several windows, no bias."""
    options: dict[str, Any] = {"rng": rng, "dtype": np.float64}

    def signal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape)

    def ranks(*shape: int) -> np.ndarray:
        return rng.permutation(np.prod(shape)).reshape(shape) / 10  # no ties, and no order to guess

    yield "Conv1d, the paper's 3, 1, 1", Conv1d(3, 4, 3, 1, 1, **options), signal(2, 13, 3)
    yield "Conv1d, stride 2, kernel 5", Conv1d(2, 3, 5, 2, 2, **options), signal(2, 14, 2)
    yield "Conv1d, stride above kernel, no bias", Conv1d(2, 3, 2, 3, bias=False, **options), signal(2, 11, 2)
    yield "Conv1d, dilation 3", Conv1d(2, 3, 3, 2, 1, 3, **options), signal(2, 14, 2)
    yield "ConvTranspose1d, the paper's 3, 1, 1", ConvTranspose1d(3, 4, 3, 1, 1, **options), signal(2, 13, 3)
    yield "ConvTranspose1d, stride 3, output padding", ConvTranspose1d(2, 3, 4, 3, 1, 2, **options), signal(2, 6, 2)
    yield "ConvTranspose1d, no bias", ConvTranspose1d(2, 3, 5, 2, bias=False, **options), signal(2, 6, 2)
    yield "MaxPool1d(2)", MaxPool1d(2), ranks(2, 12, 3)
    yield "MaxPool1d(3)", MaxPool1d(3), ranks(2, 12, 3)
    yield "MaxUnpool1d(2)", MaxUnpool1d(2), signal(2, 6, 3), MaxPool1d(2).forward(ranks(2, 12, 3))[1]
    yield "MaxUnpool1d(3)", MaxUnpool1d(3), signal(2, 4, 3), MaxPool1d(3).forward(ranks(2, 12, 3))[1]
    yield "Upsample1d(2)", Upsample1d(2), signal(2, 6, 3)
    yield "AvgPool1d(3)", AvgPool1d(3), signal(2, 12, 3)
    yield "GlobalAveragePool1d", GlobalAveragePool1d(), signal(2, 12, 3)
    yield "Fold1d(2)", Fold1d(2), signal(2, 12, 3)
    yield "Unfold1d(3)", Unfold1d(3), signal(2, 4, 6)
    yield "ELU(1)", ELU(), signal(2, 12, 3)
    yield "ELU(0.5)", ELU(0.5), signal(2, 12, 3)
    yield "HardSigmoid", HardSigmoid(), 3 * signal(2, 12, 3)
    for activation in (ReLU(), LeakyReLU(0.1), Sigmoid(), Tanh()):
        yield f"{activation!r}".removesuffix("()"), activation, signal(2, 12, 3)
    yield "Linear on clips", Linear(3, 4, **options), signal(5, 3)
    yield "Linear on signals, no bias", Linear(3, 2, bias=False, **options), signal(2, 6, 3)
    yield "ResidualBlock of convolutions", ResidualBlock(3, **options), signal(2, 12, 3)
    yield (
        "ResidualBlock of transposed convolutions",
        ResidualBlock(3, convolution=ConvTranspose1d, **options),
        signal(2, 12, 3),
    )
    layers = (
        Conv1d(2, 4, 3, 1, 1, **options),
        ELU(),
        MaxPool1d(2),
        Upsample1d(2),
        ConvTranspose1d(4, 1, 3, 1, 1, **options),
    )
    yield "Sequential", Sequential(*layers), signal(2, 12, 2)
    yield "Dropout(0.4)", Dropout(0.4), signal(2, 6, 4), rng.random((2, 6, 4)) < 0.6
    yield "LayerNorm", LayerNorm(4, dtype=np.float64), signal(2, 6, 4)
    yield "Softmax", Softmax(), signal(2, 6, 4)
    yield "cross_entropy", CrossEntropy(), signal(5, 4), rng.integers(0, 4, 5)
    yield "mse", MeanSquaredError(), signal(2, 12, 1), signal(2, 12, 1)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code: 0 if every gradient is right, 1 if one is not, 2 if a module cannot be used."""
    return run_command("gradcheck", lambda: _check(arguments), ModuleError)


class ModuleError(ImportError):
    """A module has no layers to check; the message says why."""


def _check(arguments: list[str] | None) -> int:
    parser = Parser(command="gradcheck", prog="python -m nn1d.gradcheck", description="Check hand-written gradients.")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="yours, or its file, with gradient_cases(rng)")
    parser.add_argument("--seed", type=_seed, default=0, help="of every random draw (default: %(default)s)")
    options = parser.parse_args(arguments)

    sys.path.insert(0, str(Path.cwd()))  # the console script does not look there
    modules: list[ModuleType] = []
    absent: list[str] = []
    are_files = bool(options.modules) and all(name.endswith(".py") for name in options.modules)
    modules += [] if are_files else [sys.modules[__name__]]
    for name in () if are_files else APPLICATIONS:
        if _is_there(name) and hasattr(importlib.import_module(name), "gradient_cases"):
            modules.append(sys.modules[name])
        else:
            absent.append(f"{name} is not here and was not checked: run from the checkout")
    modules += [_import(name) for name in options.modules]

    print(f"{'layer':<44} {'gradient of':<44} {'relative error':>14} {'seconds':>8}")
    failed, checked = 0, 0
    for module in modules:
        for name, layer, x, *context in _cases(module, options.seed):
            rng = np.random.default_rng([options.seed, checked])  # not the stream of x, or dy would be x
            try:
                report = check_gradients(layer, x, *context, rng=rng, name=name)
            except GradientError as error:
                report = error.report
                failed += 1
            except Exception as error:
                frames = traceback.extract_tb(error.__traceback__)
                lines = [frame for frame in frames if frame.filename == module.__file__]
                is_call = isinstance(error, TypeError) and frames[-1].name == check_gradients.__name__  # of a method
                if not lines and (is_call or isinstance(error, ShapeError)):
                    print(f"{name}: {error}")
                    return 1
                if not lines or module.__name__ == __name__:
                    raise
                where = f"in line {lines[-1].lineno} of {Path(lines[-1].filename).name}"
                if isinstance(error, NotImplementedError):
                    print(f"{name}: {lines[-1].name} has a blank {where}: {error}")
                else:
                    print(f"{name}: {lines[-1].name} fails {where}: {type(error).__name__}: {error}")
                return 1
            checked += 1
            _print_rows(report)
    print("\n".join([*absent, f"{checked - failed} of {checked} right"]))
    return 1 if failed else 0


def _cases(module: ModuleType, seed: int) -> Iterator[tuple[Any, ...]]:
    """What gradient_cases yields, if that is cases, and at least one."""
    wanted, case = f"{module.__name__}: gradient_cases(rng) must yield (name, layer, x, *context)", None
    cases = module.gradient_cases(np.random.default_rng(seed))
    if not isinstance(cases, Iterable):
        raise ModuleError(f"{wanted}; it returned {type(cases).__name__}")
    for case in cases:
        if not isinstance(case, (tuple, list)) or len(case) < 3:
            raise ModuleError(f"{wanted}; got {case!r}")
        yield tuple(case)
    if case is None:
        raise ModuleError(f"{wanted}; it yielded nothing")


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be an integer of at least 0; got {text!r}")
    return int(text)


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # not even the package
        return False


def _load(path: Path) -> ModuleType:
    """The module in a file, wherever it lies."""
    if path.exists() and not path.is_file():  # opening a pipe would wait for ever
        raise FileNotFoundError(f"{path} is no file of Python")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"{path} is no file of Python")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _import(name: str) -> Any:
    """A module of the user's; what it raises by itself, and not for want of it, is shown as Python does."""
    try:
        module = _load(Path(name)) if name.endswith(".py") else importlib.import_module(name)
    except (OSError, SyntaxError) as error:
        raise ModuleError(f"cannot read {name}: {error}") from error
    except (ImportError, TypeError, ValueError) as error:
        cure = f". Name the module: {name.replace('/', '.')}" if "/" in name else ""
        raise ModuleError(f"cannot import {name}: {error}{cure}") from error
    if not hasattr(module, "gradient_cases"):
        raise ModuleError(f"{name} must define gradient_cases(rng), see python -m pydoc nn1d.gradcheck")
    return module


def _print_rows(report: GradientReport) -> None:
    for i, slope in enumerate(report.slopes):
        name, seconds = (report.layer, f"{report.seconds:.3f}") if i == 0 else ("", "")
        mark = "" if slope.relative_error <= report.tolerance else "  WRONG"
        print(f"{name:<44} {slope.name:<44} {slope.relative_error:>14.1e} {seconds:>8}{mark}")
    for fault in report.faults:
        print(f"{report.layer:<44} {fault}  WRONG")


if __name__ == "__main__":
    sys.exit(main())
