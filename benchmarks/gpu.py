"""python -m benchmarks.gpu: the paper's network on the GPU of this machine, ours and PyTorch's.

First the tests of the GPU run on it (NN1D_GPU=1). Then, for each kind of work, batch and precision, ours and PyTorch's
twin in every layout and mode, each in a process of its own, one after the other: milliseconds a clip, the share of what
a copy and a large matrix product reach on this device in the same run, the memory that the process holds, and what the
host starts on the device in a step. What the two compute must agree. Before that, how far the gradient of the network
is from that of NumPy; after it, with --db, a whole run of train.py (benchmarks/gpu_run.py).

    train      a training step: forward, backward, Adam
    phase2     the same for the decoder alone, without masks
    encode     the encoder
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.gpu_run import told, whole
from benchmarks.measure import Side, in_turn, machine, write
from benchmarks.step import clips, gigaflop

WORK = ("train", "phase2", "encode")
BATCHES = (16, 64, 256)
PRECISIONS = ("float32", "tf32", "half")
LAYOUTS = ("contiguous", "channels-last")
MODES = ("eager", "compile", "graph")
ROOT = Path(__file__).parents[1]
Measured = dict[str, Any]


def ours(work: str, batch: int, samples: int, precision: str, repeats: int) -> Callable[[], Measured]:
    """A function that does the work `repeats` times and waits for the end of it."""
    import numpy as np

    from nn1d import Adam, find_device
    from training.configuration import Configuration
    from training.dual_training import DualTraining
    from training.gpu import GpuExecutor

    cupy, _ = find_device("gpu", tf32=precision == "tf32", half=precision == "half")
    settings = Configuration(clip_samples=samples, batch_size=batch, half=precision == "half")
    rows, indices = np.array(clips(batch, samples)), np.arange(batch)
    executor = GpuExecutor(cupy)
    training = DualTraining(settings, rows, executor)
    features = np.stack(list(training.encode(indices))) if work == "phase2" else None
    adam, x = Adam(0.001), training.scaler.signal(cupy.asarray(rows)[:, :, None])

    def encode() -> Any:
        return abs(training.network.encoder.represent(x)).mean(dtype=np.float32)

    def step() -> Any:
        loss, gradient = training.gradient(indices, features)
        adam.step(training.flat.vector[-len(gradient) :], gradient)
        return loss

    def held() -> float:
        return (cupy.get_default_memory_pool().total_bytes() + executor.step.bytes_held) / 2**20

    before = float(encode() if work == "encode" else training.gradient(indices, features)[0])
    return timed(encode if work == "encode" else step, before, repeats, held, cupy.cuda.runtime.deviceSynchronize)


def theirs(
    work: str, batch: int, samples: int, precision: str, repeats: int, layout: str, mode: str, device: str = "cuda"
) -> Callable[[], Measured]:
    """The same by torch.nn and autograd, with cuDNN in benchmark mode.

    In half precision its autocast chooses what is float16, and the loss is scaled as ours is.
    """
    import numpy as np
    import torch

    from benchmarks.torch_twin import Twin
    from models.autoencoder import Autoencoder
    from nn1d import to_torch
    from training.configuration import Configuration
    from training.seed import generator

    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    settings = Configuration()
    twin = Twin(channels_last=layout == "channels-last")
    network = Autoencoder(rng=generator(settings.seed, "weights"), residual_gain=settings.residual_gain)
    twin.fill(to_torch(network.parameters))
    twin.to(device)
    x = twin.row.signal(np.array(clips(batch, samples))).to(device)
    z = None
    if work == "phase2":
        with torch.no_grad():
            z = twin.encode(x)[0]
    trained = list(twin.parameters() if z is None else twin.decoder.parameters())
    adam = torch.optim.Adam(trained, 0.001, capturable=mode == "graph")

    half = precision == "half"
    scale = 2.0 ** (x.numel().bit_length() - 1) if half else 1.0

    def forward() -> Any:
        with torch.autocast(device, torch.float16, enabled=half):
            if work == "encode":
                return twin.encode(x)[0].abs().mean(dtype=torch.float32)
            return twin.objective(x)[0] if z is None else torch.nn.functional.mse_loss(twin.decode(z)[0], x)

    with torch.no_grad():
        before = float(forward())
    run: Callable[[], Any] = torch.compile(forward) if mode == "compile" else forward

    def plain() -> Any:
        if work == "encode":
            with torch.inference_mode(mode != "compile"), torch.no_grad():
                return run()
        adam.zero_grad(set_to_none=True)
        loss = run()
        (loss * scale).backward()
        if half:
            torch._foreach_mul_([weight.grad for weight in trained if weight.grad is not None], 1 / scale)
        adam.step()
        return loss.detach()

    step = recorded(torch, plain) if mode == "graph" else plain
    on_gpu = device == "cuda"
    return timed(
        step,
        before,
        repeats,
        lambda: torch.cuda.memory_reserved() / 2**20 if on_gpu else 0.0,
        torch.cuda.synchronize if on_gpu else lambda: None,
    )


def recorded(torch: Any, step: Callable[[], Any]) -> Callable[[], Any]:
    """The step as a CUDA graph, captured as PyTorch's notes on graphs say: after three steps on another stream."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()

    def replay() -> Any:
        graph.replay()
        return loss

    return replay


def timed(
    step: Callable[[], Any], value: float, repeats: int, held: Callable[[], float], wait: Callable[[], Any]
) -> Callable[[], Measured]:
    """A function that gives seconds a step, the value before the first, MiB held, and launches in a step."""

    def measure() -> Measured:
        for _ in range(2):  # what is compiled or recorded is so by then
            step()
        wait()
        started = time.perf_counter()
        for _ in range(repeats):
            step()
        wait()
        seconds = (time.perf_counter() - started) / repeats
        return {"seconds": seconds, "value": value, "held_mib": held(), "launches": launches(step, wait)}

    return measure


def launches(step: Callable[[], Any], wait: Callable[[], Any]) -> int | None:
    """Kernels, copies and graphs that the host starts in a step, ours or PyTorch's, by what PyTorch's profiler sees."""
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        step()
        wait()
    kinds = ("LaunchKernel", "GraphLaunch", "Memcpy", "Memset")
    named = [event for event in profile.key_averages() if event.key.startswith(("cuda", "cu"))]
    return sum(event.count for event in named if any(kind in event.key for kind in kinds))


def roof(precision: str, size: int = 8192, mebibytes: int = 1024) -> Callable[[], Measured]:
    """What the device reaches: a copy in GB/s, read and written, and a square product by cuBLAS in GFLOP/s."""
    from nn1d import find_device

    cupy, _ = find_device("gpu", tf32=precision == "tf32")
    a = cupy.ones((size, size), cupy.float16 if precision == "half" else cupy.float32)
    source = cupy.ones(mebibytes << 18, cupy.float32)
    out, copied = cupy.empty_like(a), cupy.empty_like(source)
    wait = cupy.cuda.runtime.deviceSynchronize

    def seconds(function: Callable[[], Any]) -> float:
        wait()
        started = time.perf_counter()
        for _ in range(5):
            function()
        wait()
        return (time.perf_counter() - started) / 5

    def measure() -> Measured:
        return {
            "gflops": 2 * size**3 / seconds(lambda: cupy.matmul(a, a, out=out)) / 1e9,
            "copy_gb_s": 2 * source.nbytes / seconds(lambda: cupy.copyto(copied, source)) / 1e9,
        }

    return measure


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


def measure(maker: str, rounds: int, **arguments: Any) -> Measured | None:
    """The median of some rounds in a process of its own; None where that process fails, as some modes may."""
    try:
        (answers,) = in_turn([Side(f"benchmarks.{maker}", **arguments)], rounds)
    except SystemExit:
        return None
    found = sorted((answer.value for answer in answers), key=lambda value: value.get("seconds", 0))
    return found[len(found) // 2]


def case(work: str, batch: int, precision: str, options: argparse.Namespace, reached: Measured) -> Measured:
    """Ours and every variant of PyTorch's."""
    sizes = {
        "work": work,
        "batch": batch,
        "samples": options.samples,
        "precision": precision,
        "repeats": options.repeats,
    }
    own = measure("gpu:ours", options.rounds, **sizes)
    rivals = {
        f"{mode}, {layout}": measure("gpu:theirs", options.rounds, **sizes, layout=layout, mode=mode)
        for mode, layout in itertools.product(MODES, LAYOUTS)
    }
    return {"work": work, "batch": batch, "precision": precision, "samples": options.samples,
            "nn1d": own, "torch": rivals, "roof": reached}  # fmt: skip


def lines(found: Measured) -> list[str]:
    """A case as lines: ours, then each variant of PyTorch's and how many times as long it takes."""
    batch, work, samples, own = found["batch"], found["work"], found["samples"], found["nn1d"]
    head = f"{work:<7} batch {batch:<4} {found['precision']:<8}"
    if own is None:
        return [f"{head} nn1d: failed; see above"]
    each = own["seconds"] / batch
    arithmetic = gigaflop(work, samples) / each / found["roof"]["gflops"]
    bandwidth = gigabytes(work, samples, found["precision"]) / each / found["roof"]["copy_gb_s"]
    text = [
        f"{head} nn1d {1e3 * each:.4f} ms a clip, {arithmetic:.0%} of the product's arithmetic, {bandwidth:.0%} of a "
        f"copy's bandwidth, {own['held_mib']:.0f} MiB, {said(own['launches'])} launches"
    ]
    for name, rival in found["torch"].items():
        if rival is None:
            text.append(f"    torch {name}: failed; see above")
            continue
        difference = abs(own["value"] / rival["value"] - 1)
        ratio = rival["seconds"] / own["seconds"]
        text.append(
            f"    torch {name}: {1e3 * rival['seconds'] / batch:.4f} ms, ratio {ratio:.2f}, "
            f"{rival['held_mib']:.0f} MiB, {said(rival['launches'])} launches, values differ by {difference:.0e}"
        )
    return text


def said(count: int | None) -> str:
    """A count that may not be known."""
    return "?" if count is None else str(count)


def test_suite() -> int:
    """Run the tests of kernels and training on the real CuPy; pytest's exit code."""
    files = sorted(str(path) for path in (ROOT / "tests/gpu").glob("test_*gpu*.py"))
    files += [f"tests/gpu/test_{name}.py" for name in ("kernels", "convolution_kernel", "loss_scaling")]
    command = [sys.executable, "-m", "pytest", "-q", *files]
    return subprocess.run(command, cwd=ROOT, env=os.environ | {"NN1D_GPU": "1"}, check=False).returncode


def main(arguments: list[str] | None = None) -> int:
    """Tests, then lines for each case; 0, or 1 if a test or one of our cases fails, or 2 without a GPU."""
    from nn1d import DeviceError, find_device

    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", choices=WORK, nargs="+", default=WORK, help="(default: all)")
    parser.add_argument("--batch", type=int, nargs="+", default=BATCHES, help="clips a step (default: 16 64 256)")
    parser.add_argument("--precision", choices=PRECISIONS, nargs="+", default=PRECISIONS, help="(default: all)")
    parser.add_argument("--samples", type=int, default=64_000, help="length of a clip (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=20, help="steps between two waits (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="medians are over (default: %(default)s)")
    parser.add_argument("--db", help="whose clips a whole run learns, as train.py has them; none unless given")
    parser.add_argument("--cpu-run", type=Path, metavar="RUN", help="a run of the same on the CPU, to compare with")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    options = parser.parse_args(arguments)
    try:
        _, sentence = find_device("gpu")
    except DeviceError as error:
        print(f"benchmarks.gpu: {error}", file=sys.stderr)
        return 2
    failed = test_suite() != 0
    print(sentence)
    cases, differences, run = [], {}, None
    for precision in options.precision:
        reached = measure("gpu:roof", 2, precision=precision)
        if reached is None:
            return 1
        print(f"{precision}: product {reached['gflops']:.0f} GFLOP/s, copy {reached['copy_gb_s']:.0f} GB/s")
        off = differences[precision] = measure("gpu_run:gradient", 1, samples=options.samples, precision=precision)
        print("gradient: failed; see above" if off is None else f"gradient off by {off['gradient']:.1e} from NumPy's")
        for work, batch in itertools.product(options.work, options.batch):
            cases.append(case(work, batch, precision, options, reached))
            print(*lines(cases[-1]), sep="\n", flush=True)
    if options.db is not None:
        run = whole(["--db", options.db], options.cpu_run)
        print(told(run))
        failed |= run is None
    write(
        options.json,
        {"machine": machine(), "device": sentence, "tests_failed": failed, "cases": cases, "gradients": differences,
         "run": run},
    )  # fmt: skip
    return 1 if failed or any(found["nn1d"] is None for found in cases) else 0


if __name__ == "__main__":
    sys.exit(main())
