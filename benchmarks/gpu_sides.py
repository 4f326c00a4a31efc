"""What python -m benchmarks.gpu times, each in a process of its own: a step of both sides, and the ceilings."""

from __future__ import annotations

import re
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.step import clips

Measured = dict[str, Any]


def ours(work: str, batch: int, samples: int, precision: str, repeats: int, rounds: int) -> Callable[[], Measured]:
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
    wait = cupy.cuda.runtime.deviceSynchronize
    return timed(encode if work == "encode" else step, before, repeats, rounds, held, wait)


def theirs(
    work: str,
    batch: int,
    samples: int,
    precision: str,
    repeats: int,
    rounds: int,
    layout: str,
    mode: str,
    device: str = "cuda",
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
        rounds,
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
    step: Callable[[], Any], value: float, repeats: int, rounds: int, held: Callable[[], float], wait: Callable[[], Any]
) -> Callable[[], Measured]:
    """A function that gives seconds a step, the value before the first, MiB held, and the profile of a step.

    The profile comes last: a profiler slows steps down.
    """

    def measure() -> Measured:
        seconds = median_seconds(step, wait, repeats, rounds)
        return {"seconds": seconds, "value": value, "held_mib": held()} | profiled(step, wait)

    return measure


def median_seconds(function: Callable[[], Any], wait: Callable[[], Any], repeats: int, rounds: int) -> float:
    """Seconds a call: the median over rounds of `repeats` calls."""
    for _ in range(3):  # what is compiled, recorded or set up at first use is so by then
        function()
    seconds = []
    for _ in range(rounds):
        wait()
        started = time.perf_counter()
        for _ in range(repeats):
            function()
        wait()
        seconds.append((time.perf_counter() - started) / repeats)
    return statistics.median(seconds)


def profiled(step: Callable[[], Any], wait: Callable[[], Any]) -> Measured:
    """What the host launches in a step and how long it runs on the device, ours or PyTorch's, by PyTorch's profiler."""
    unknown: Measured = {"launches": None, "kernels": {}}
    try:
        import torch
    except ImportError:
        return unknown
    if not torch.cuda.is_available():
        return unknown
    with torch.profiler.profile(acc_events=True) as profile:  # without it PyTorch 2.11 warns that events are cleared
        step()
        wait()
    return {"launches": launches(profile.events()), "kernels": kernels(profile.events())}


def launches(events: Iterable[Any]) -> int:
    """Kernels, copies and graphs that the host starts: calls of CUDA's runtime (cuda...) or driver (cu...)."""
    kinds = ("LaunchKernel", "GraphLaunch", "Memcpy", "Memset")
    return sum(event.name.startswith("cu") and any(kind in event.name for kind in kinds) for event in events)


def kernels(events: Iterable[Any]) -> dict[str, float]:
    """Microseconds on the device, of all kernels of one name: without its types and arguments."""
    microseconds: defaultdict[str, float] = defaultdict(float)
    for event in events:
        if event.device_type.name == "CUDA" and not event.is_user_annotation:  # a range has kernels that count already
            name = re.split("[<(]", event.name.removeprefix("void ").replace("(anonymous namespace)::", ""))[0]
            microseconds[name.strip()] += event.time_range.elapsed_us()
    return {name: round(total, 3) for name, total in microseconds.items()}


def roof(precision: str, size: int = 8192, mebibytes: int = 1024) -> Callable[[], Measured]:
    """What the device reaches: a copy in GB/s, read and written, and a square product by cuBLAS in GFLOP/s.

    The factors are random: of equal numbers fewer bits change, and a GPU that draws less power runs faster.
    """
    import numpy as np

    from nn1d import find_device

    cupy, _ = find_device("gpu", tf32=precision == "tf32")
    rng = np.random.default_rng(0)
    a = cupy.asarray(rng.standard_normal((size, size), np.float32).astype("e" if precision == "half" else "f"))
    source = cupy.asarray(rng.standard_normal(mebibytes << 18, np.float32))
    out, copied = cupy.empty_like(a), cupy.empty_like(source)
    wait = cupy.cuda.runtime.deviceSynchronize

    def seconds(function: Callable[[], Any]) -> float:
        return median_seconds(function, wait, repeats=5, rounds=5)

    def measure() -> Measured:
        return {
            "gflops": 2 * size**3 / seconds(lambda: cupy.matmul(a, a, out=out)) / 1e9,
            "copy_gb_s": 2 * source.nbytes / seconds(lambda: cupy.copyto(copied, source)) / 1e9,
        }

    return measure
