"""Whether a run fits into memory, told before anything is read or built."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from models.autoencoder import POOL
from training.configuration import Configuration, ConfigurationError
from training.machine import address_space, available_cores

KEPT = 6  # numbers a parameter: weight, gradient, two moments of Adam, running mean, best; and a gradient each thread
SIGNALS = 6  # arrays of a stage's size that one clip holds on its way forward and back; measured 6.6 to 15


def parameter_count(settings: Configuration) -> int:
    """Filter weights of the network that the settings ask for; biases are few."""
    pool = POOL if settings.pooling == "fold" else 1  # a fold has a window's samples as channels
    ends = 1 if settings.tied else 2
    pairs = zip((1, *settings.channels), settings.channels, strict=False)
    return settings.kernel_size * sum(ends * pool * a * b + 2 * (a * a + b * b) for a, b in pairs)


def multiplications(settings: Configuration) -> int:
    """Of the gradient of one clip, about: each filter meets each sample of its stage forwards, and twice backwards."""
    pool = POOL if settings.pooling == "fold" else 1
    pairs = enumerate(zip((1, *settings.channels), settings.channels, strict=False), pool - 1)
    filters = sum((settings.clip_samples >> i) * (2 * pool * a * b + 2 * (a * a + b * b)) for i, (a, b) in pairs)
    return 3 * settings.kernel_size * filters


def needed_bytes(settings: Configuration, clips: int) -> int:
    """What training takes at least in float32, with so many clips at a time; the corpus is read from a file."""
    first = 1 if settings.pooling == "fold" else 0  # a fold halves before the first convolution
    signals = sum((settings.clip_samples >> i) * c for i, c in enumerate(settings.channels, first))
    return 4 * ((KEPT + clips) * parameter_count(settings) + clips * SIGNALS * signals)


def free_bytes() -> tuple[int, str]:
    """How much this process may get at most, and what bounds it."""
    bounds = []
    if (limit := address_space()) is not None:
        bounds.append((limit - _occupied(), "ulimit -v leaves"))
    with suppress(OSError, ValueError):  # no such file, or "max"
        bounds.append((int(Path("/sys/fs/cgroup/memory.max").read_text("ascii")), "the control group has"))
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        bounds.append((os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), "this machine has"))
    return min(bounds, default=(sys.maxsize, ""))


def _occupied() -> int:
    """Address space that this process has taken already."""
    try:
        return int(Path("/proc/self/statm").read_text("ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def check_memory(settings: Configuration, threads: int) -> None:
    """Raise ConfigurationError where training needs more memory than there is."""
    clips = min(threads, available_cores())
    needed, (free, bound) = needed_bytes(settings, clips), free_bytes()
    if needed > free:
        raise ConfigurationError(
            f"training needs at least {in_words(needed)} of memory: {parameter_count(settings):,} parameters, and "
            f"{clips} clip{'s' * (clips > 1)} of {settings.clip_samples:,} samples at a time; {bound} "
            f"{in_words(max(free, 0))}. Take fewer --channels, a smaller --kernel-size or --clip-samples, or fewer "
            "--threads"
        )


def in_words(size: int) -> str:
    """Bytes as GB or MB."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
