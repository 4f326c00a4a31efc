"""Memory against the number of clips: python -m benchmarks.shards --clips 10000 1000000

Shards of noise are written, and for each number of clips a process of its own opens them, walks through the order of
an epoch, and takes a few steps. What it has needed at most is printed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from nn1d.command import Parser, run_command
from speech.clip import Clips
from speech.recording import Recording
from speech.shard import Manifest, Shard, Shards, part_of, write_index, write_manifest
from storage.mapped import write_rows
from training.configuration import Configuration
from training.dual_training import DualTraining
from training.workers import Workers

STEPS = 20


def generate(folder: Path, clips: int, samples: int, clips_per_shard: int = 4096) -> None:
    """Write shards of noise, whose clips have random contents by name; they are no recordings of anything."""
    rng, shards = np.random.default_rng(0), []
    (folder / "clips").mkdir(parents=True)
    for number, start in enumerate(range(0, clips, clips_per_shard)):
        count = min(clips_per_shard, clips - start)
        rows = rng.random((count, samples), np.float32)
        contents = [rng.bytes(16).hex() for _ in range(count)]
        path = folder / "clips" / f"{number:032x}.npy"
        write_rows(path, iter(rows), count)
        recordings = tuple(Recording(f"clip{start + i}", Path(), speaker=f"speaker{i % 50}") for i in range(count))
        parts = [part_of(content, "", "random", 0) for content in contents]
        about = np.zeros(count, np.float32), np.ones(count, np.float32), np.full(count, samples)
        digest = write_index(folder / f"{number:05d}.csv", Clips(rows, *about, recordings, tuple(contents)), parts)
        sha256 = path.read_bytes()[-32:].hex()  # write_rows ends a file with it
        shards.append(Shard(path.name, f"{number:05d}.csv", count, dict(Counter(parts)), sha256, digest))
    write_manifest(folder, Manifest({"db": "folder"}, samples, 0, 0, shards))


def measure(folder: Path) -> None:
    """Print what it takes to open the shards of a folder, to walk through an epoch, and to train."""
    started = time.perf_counter()
    before = _peak_mb()
    shards = Shards(folder)
    train = shards.part("train")
    opened, opened_mb = time.perf_counter() - started, _peak_mb()
    order = train.shuffled(np.random.default_rng(0))
    seen, started = 0, time.perf_counter()
    for start in range(0, len(order), 64):
        seen += len(order[start : start + 64])
    assert seen == len(train)
    walked, walked_mb = time.perf_counter() - started, _peak_mb()
    settings = Configuration(db="shards", channels=(4, 4), clip_samples=shards.manifest.clip_samples, batch_size=64)
    with Workers(1) as workers:
        trainer = DualTraining(settings, shards.samples, workers).pre_training(train, shards.part("validation"))
        for step in range(STEPS):  # spread over the epoch, so that many shards are opened
            start = step * (len(order) - 64) // (STEPS - 1)
            trainer.step(order[start : start + 64])
    print(
        f"{len(shards):>9,} clips in {len(shards.manifest.shards)} shards: {before:.0f} MB before; opened in "
        f"{opened:.3f} s, {opened_mb:.0f} MB; the order of an epoch in {walked:.1f} s, {walked_mb:.0f} MB; "
        f"{STEPS} steps of 64 clips, {_peak_mb():.0f} MB"
    )


def _peak_mb() -> float:
    """The most memory that the process has had, in 10^6 bytes; Linux counts it in KiB."""
    import resource  # of Unix

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def main() -> int:
    """Generate and measure; each measurement in a process of its own."""
    parser = Parser(command="benchmarks.shards", description=__doc__)
    parser.add_argument("--clips", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--samples", type=int, default=64, help="of a clip (default: %(default)s)")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        measure(options.measure)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        for clips in options.clips:
            place = Path(folder) / str(clips)
            generate(place, clips, options.samples)
            subprocess.run([sys.executable, "-m", "benchmarks.shards", "--measure", str(place)], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(run_command("benchmarks.shards", main))
