"""python -m benchmarks.gpu: the paper's network on the GPU of this machine, ours and PyTorch's.

First the tests of the GPU run on it (NN1D_GPU=1), for at most half of --minutes, unless --no-tests. Then, for each kind
of work, batch and precision, ours and PyTorch's twin in every layout and mode, each in a process of its own, one after
the other: milliseconds a clip, the share of what a copy and a large matrix product reach on this device in the same
run, the memory that the process holds, and what the host starts on the device in a step; --json also has how long each
kernel runs there. What the two compute must agree. Before the first of a precision, how far the gradient of the network
is from that of NumPy; after all, with --db, a whole run of train.py (benchmarks/gpu_run.py). The end is a verdict
against the targets.

The most telling cases come first, ours and PyTorch's eager mode of each before the other modes of any. --minutes ends
the program in time with what there is by then, and no process gets more than three minutes; --json is written anew
after every measurement.

    train      a training step: forward, backward, Adam
    phase2     the same for the decoder alone, without masks
    encode     the encoder
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.gpu_run import summary, whole
from benchmarks.gpu_sides import Measured
from benchmarks.measure import Side, machine
from benchmarks.step import gigaflop
from nn1d.command import Parser, run_command
from storage.atomic import write_atomic

WORK = ("train", "phase2", "encode")
BATCHES = (16, 64, 256)
PRECISIONS = ("float32", "tf32", "half")
LAYOUTS = ("contiguous", "channels-last")
MODES = ("eager", "compile", "graph")
TELLING = (("train", 64), ("encode", 64), ("phase2", 64), ("train", 16), ("train", 256))  # before all other cases
TARGETS_MS = {"H200": 0.30, "H100": 0.40}  # a clip of a training step of 64 in float32
SIDE_SECONDS = 180  # of one process: one that hangs leaves time for the others
TARGET_RATIO = 1.5  # over the better eager layout of PyTorch
ROOT = Path(__file__).parents[1]


class Case(NamedTuple):
    """What both sides are measured at."""

    work: str
    batch: int
    precision: str


def gigabytes(work: str, samples: int, precision: str = "float32") -> float:
    """What a clip must move, in 10⁹ bytes, if every layer between two pools were one kernel a convolution.

    Forwards a convolution reads its input and writes its output; backwards it reads the gradient of its output twice
    and its input once, and writes the gradient of its input. A pool or unpool reads and writes once each way.
    """
    from models.autoencoder import CHANNELS

    size = 2 if precision == "half" else 4

    def half(transposed: bool) -> tuple[float, float]:
        forward, backward, length = 0.0, 0.0, samples
        for before, after in zip((1, *CHANNELS), CHANNELS, strict=False):
            inner = before if transposed else after
            for read, written in ((before, after), (inner, inner), (inner, inner)):
                if transposed and (read, written) == (before, after):
                    read, written = after, before
                forward += length * (read + written)
                backward += length * (2 * read + 2 * written)
            pooled = after * length * 1.5  # the longer side and the shorter one
            forward, backward, length = forward + pooled, backward + pooled, length // 2
        return size * forward / 1e9, size * backward / 1e9

    (encode, encode_back), (decode, decode_back) = half(False), half(True)
    return {"encode": encode, "phase2": decode + decode_back, "train": encode + encode_back + decode + decode_back}[
        work
    ]


def measure(maker: str, seconds: float = math.inf, **arguments: Any) -> Measured | None:
    """What a maker's function gives in a process of its own; None where that fails or takes too many seconds."""
    with Side(f"benchmarks.{maker}", **arguments) as side:
        timer = threading.Timer(limit(seconds), side.kill)
        timer.start()
        try:
            answer = side().value
        except SystemExit:
            answer = None
        finally:
            timer.cancel()
    return answer


def limit(seconds: float) -> float:
    """Seconds that a wait can be told; infinity is none."""
    return min(seconds, threading.TIMEOUT_MAX)


def order(works: Sequence[str], batches: Sequence[int], precisions: Sequence[str]) -> list[Case]:
    """The cases, the most telling ones first."""
    rank = {pair: place for place, pair in enumerate(TELLING)}
    cases = [Case(*names) for names in itertools.product(works, batches, precisions)]
    return sorted(cases, key=lambda case: (rank.get(case[:2], len(rank)), PRECISIONS.index(case.precision)))


def jobs(cases: Sequence[Case], modes: Sequence[str]) -> list[tuple[Case, str, str]]:
    """What is measured in turn: a case with a mode and a layout of PyTorch, or "nn1d" for ours."""
    rivals = list(itertools.product(modes, LAYOUTS))
    at_once = [pair for pair in rivals if pair[0] == "eager"]
    first = [(case, *side) for case in cases for side in (("nn1d", ""), *at_once)]
    return first + [(case, *side) for side in rivals if side not in at_once for case in cases]


def verdict(cases: Mapping[Case, Measured], device: str) -> list[str]:
    """The targets of the project, and what was measured of them."""
    case = cases.get(Case("train", 64, "float32"), {})
    nn1d, rivals = case.get("nn1d"), case.get("torch", {})
    eager = [rival["seconds"] for name, rival in rivals.items() if rival is not None and name.startswith("eager")]
    limit_ms = next((limit for name, limit in TARGETS_MS.items() if name in device), None)
    clip_ms = None if nn1d is None else 1e3 * nn1d["seconds"] / 64
    ratio = None if nn1d is None or not eager else min(eager) / nn1d["seconds"]
    wanted = "no target on this device" if limit_ms is None else f"wanted at most {limit_ms:.2f}"
    met = None if limit_ms is None or clip_ms is None else clip_ms <= limit_ms
    return [
        f"verdict: training step, batch 64, float32: {_figure(clip_ms, '.4f')} ms a clip, {wanted}{_met(met)}",
        f"verdict: the same over PyTorch's best eager: {_figure(ratio, '.2f')} times, wanted at least {TARGET_RATIO}"
        + _met(None if ratio is None else ratio >= TARGET_RATIO),
    ]


def _figure(value: float | None, form: str) -> str:
    return "not measured," if value is None else format(value, form)


def _met(met: bool | None) -> str:
    return "" if met is None else ": met" if met else ": NOT met"


def lines(case: Case, figures: Measured, samples: int) -> list[str]:
    """A case as lines: ours, then each variant of PyTorch's and how many times as long it takes."""
    nn1d = figures.get("nn1d")
    head = f"{case.work:<7} batch {case.batch:<4} {case.precision:<8}"
    if nn1d is None:
        return [f"{head} nn1d: failed; see above"]
    clip_seconds = nn1d["seconds"] / case.batch
    arithmetic = gigaflop(case.work, samples) / clip_seconds / figures["roof"]["gflops"]
    bandwidth = gigabytes(case.work, samples, case.precision) / clip_seconds / figures["roof"]["copy_gb_s"]
    text = [
        f"{head} nn1d {1e3 * clip_seconds:.4f} ms a clip, {arithmetic:.0%} of the product's arithmetic, "
        f"{bandwidth:.0%} of a copy's bandwidth, {nn1d['held_mib']:.0f} MiB, {said(nn1d['launches'])} launches"
    ]
    for name, rival in figures["torch"].items():
        if rival is None:
            text.append(f"    torch {name}: failed; see above")
            continue
        difference = abs(nn1d["value"] / rival["value"] - 1)
        text.append(
            f"    torch {name}: {1e3 * rival['seconds'] / case.batch:.4f} ms, ratio "
            f"{rival['seconds'] / nn1d['seconds']:.2f}, {rival['held_mib']:.0f} MiB, {said(rival['launches'])} "
            f"launches, values differ by {difference:.0e}"
        )
    return text


def said(count: int | None) -> str:
    """A count that may not be known."""
    return "?" if count is None else str(count)


def test_suite(seconds: float) -> bool:
    """Run the tests of kernels and training on the real CuPy: whether all pass within as many seconds."""
    files = sorted(str(path) for path in (ROOT / "tests/gpu").glob("test_*gpu*.py"))
    files += [f"tests/gpu/test_{name}.py" for name in ("kernels", "convolution_kernel", "loss_scaling")]
    command = [sys.executable, "-m", "pytest", "-q", *files]
    if importlib.util.find_spec("xdist") is not None:
        command += ["-n", "8", "-p", "no:benchmark"]  # pytest-benchmark warns beside xdist, and warnings are errors
    environment = os.environ | {"NN1D_GPU": "1"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True) as process:
        try:
            return process.wait(limit(seconds)) == 0
        except subprocess.TimeoutExpired:
            print(f"tests: not done after {seconds:.0f} s", flush=True)
            return False
        finally:
            if process.returncode is None:  # its workers too: they would work beside what is measured next
                os.killpg(process.pid, signal.SIGKILL)


def main(arguments: list[str] | None = None) -> int:
    """Tests, then lines for each case; 0, or 1 if a test or one of our cases fails, or 2 without a GPU."""
    from nn1d import DeviceError, find_device

    parser = Parser(command="benchmarks.gpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", choices=WORK, nargs="+", default=WORK, help="(default: all)")
    parser.add_argument("--batch", type=int, nargs="+", default=BATCHES, help="clips a step (default: 16 64 256)")
    parser.add_argument("--precision", choices=PRECISIONS, nargs="+", default=PRECISIONS, help="(default: all)")
    parser.add_argument("--samples", type=int, default=64_000, help="length of a clip (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=20, help="steps between two waits (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="medians are over (default: %(default)s)")
    parser.add_argument("--db", help="whose clips a whole run learns, as train.py has them; none unless given")
    parser.add_argument("--cpu-run", type=Path, metavar="RUN", help="a run of the same on the CPU, to compare with")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument("--modes", choices=MODES, nargs="+", default=MODES, help="of PyTorch (default: all)")
    parser.add_argument("--no-tests", action="store_true", help="measure at once")
    parser.add_argument("--minutes", type=float, default=math.inf, metavar="M", help="end with what there is by then")
    options = parser.parse_args(arguments)
    deadline = time.monotonic() + 60 * options.minutes
    try:
        _, device = find_device("gpu")
    except DeviceError as error:
        print(f"benchmarks.gpu: {error}", file=sys.stderr)
        return 2
    failed = not (options.no_tests or test_suite(60 * options.minutes / 2))
    print(device, flush=True)
    figures = Figures(options, device, failed, deadline)
    figures.write()
    cases = order(options.work, options.batch, options.precision)
    for case, mode, layout in jobs(cases, options.modes):
        if figures.seconds_left() > 0:
            figures.measure(case, mode, layout)
    if options.db is not None and figures.seconds_left() > 0:
        figures.run = whole(["--db", options.db], options.cpu_run, seconds=limit(figures.seconds_left()))
        failed |= figures.run is None
        print(summary(figures.run))
        figures.write()
    print(*figures.as_lines(), sep="\n")
    measured = [case for case in cases if "nn1d" in figures.cases[case]]
    return 1 if failed or any(figures.cases[case]["nn1d"] is None for case in measured) else 0


class Figures:
    """What has been measured so far, written after each measurement."""

    def __init__(self, options: argparse.Namespace, device: str, tests_failed: bool, deadline: float) -> None:
        self.options, self.device, self.tests_failed, self.deadline = options, device, tests_failed, deadline
        self.roofs: dict[str, Measured] = {}
        self.gradients: dict[str, Measured | None] = {}
        self.cases: defaultdict[Case, Measured] = defaultdict(lambda: {"torch": {}})
        self.run: Measured | None = None

    def seconds_left(self) -> float:
        """Until the program is to end."""
        return self.deadline - time.monotonic()

    def side_seconds(self) -> float:
        """What one process may take."""
        return min(self.seconds_left(), SIDE_SECONDS)

    def prepare(self, precision: str) -> None:
        """The ceilings, and how far the gradient is from NumPy's."""
        roof = measure("gpu_sides:roof", self.side_seconds(), precision=precision)
        self.roofs[precision] = roof or {"gflops": math.nan, "copy_gb_s": math.nan}
        product, copy = (self.roofs[precision][name] for name in ("gflops", "copy_gb_s"))
        print(f"{precision}: product {product:.0f} GFLOP/s, copy {copy:.0f} GB/s")
        sizes = {"samples": self.options.samples, "precision": precision}
        off = self.gradients[precision] = measure("gpu_run:gradient", self.side_seconds(), **sizes)
        print("gradient: failed; see above" if off is None else f"gradient off by {off['gradient']:.1e} from NumPy's")
        self.write()

    def measure(self, case: Case, mode: str, layout: str) -> None:
        """One side of a case; before the first of a precision, what it is held against."""
        if case.precision not in self.roofs:
            self.prepare(case.precision)
        sizes = case._asdict() | {name: getattr(self.options, name) for name in ("samples", "repeats", "rounds")}
        figures = self.cases[case]
        figures["roof"] = self.roofs[case.precision]
        if mode == "nn1d":
            figures["nn1d"] = measure("gpu_sides:ours", self.side_seconds(), **sizes)
            print(*lines(case, figures, self.options.samples), sep="\n", flush=True)
        else:
            rival = measure("gpu_sides:theirs", self.side_seconds(), **sizes, layout=layout, mode=mode)
            figures["torch"][f"{mode}, {layout}"] = rival
        self.write()

    def write(self) -> None:
        """All of it, whole: a program that is killed leaves what the measurement before it wrote."""
        content = {
            "machine": machine(), "device": self.device, "tests_failed": self.tests_failed,
            "cases": [case._asdict() | {"samples": self.options.samples} | figures for case, figures in
                      self.cases.items()],
            "gradients": self.gradients, "run": self.run,
        }  # fmt: skip
        if self.options.json is not None:
            self.options.json.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self.options.json, (json.dumps(content, indent=1) + "\n").encode())

    def as_lines(self) -> list[str]:
        """Every case with its rivals, then the verdict."""
        text = [line for case, figures in self.cases.items() for line in lines(case, figures, self.options.samples)]
        return [*text, *verdict(self.cases, self.device)]


if __name__ == "__main__":
    sys.exit(run_command("benchmarks.gpu", main))
