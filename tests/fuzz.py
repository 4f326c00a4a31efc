"""Bad input by the thousand: a right result, or one clear error of the project's own types.

python -m tests.fuzz --examples 2000         each kind so many times; prints what came of them
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import io
import json
import random
import re
import resource
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from models.autoencoder import Autoencoder
from nn1d import (
    ELU,
    Conv1d,
    ConvTranspose1d,
    HardSigmoid,
    MaxPool1d,
    MaxUnpool1d,
    ResidualBlock,
    Sequential,
    ShapeError,
    Upsample1d,
    named_leaves,
)
from nn1d.command import Parser
from speech.audio import read_waveform
from speech.clip import load_clips
from speech.folder import list_recordings
from speech.recording import Recording, RecordingError
from tests.mutation import mutations
from tests.tampering import tampered, tampered_page
from training.arguments import read_arguments
from training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from training.configuration import Configuration, ConfigurationError
from training.run_files import RunError
from training.run_folder import RunFolder

SLOWEST_S = 20  # a hang
MEMORY = 1 << 30  # bytes beyond what the process has when it begins
FORMATS = [("wav", "PCM_16"), ("wav", "FLOAT"), ("flac", "PCM_16"), ("ogg", "VORBIS"), ("aiff", "PCM_16"),
           ("mp3", None), ("au", "PCM_16"), ("wav", "MS_ADPCM")]  # fmt: skip


def mutated(content: bytes, rng: random.Random, most: int = 6) -> bytes:
    """Content with some bytes changed (more often in the header), cut, doubled or put in."""
    data = bytearray(content)
    for _ in range(rng.randint(1, most)):
        if not data:
            break
        i = rng.randrange(min(len(data), 100)) if rng.random() < 0.6 else rng.randrange(len(data))
        way = rng.randrange(6)
        if way == 0:
            data[i] = rng.randrange(256)
        elif way == 1:
            data[i : i + 4] = rng.choice([b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\0", b"\0\0\0\x80"])
        elif way == 2:
            data[i] ^= 1 << rng.randrange(8)
        elif way == 3:
            del data[i : i + rng.randint(1, 40)]
        elif way == 4:
            data[i:i] = rng.randbytes(rng.randint(1, 40))
        elif len(data) > 2:
            del data[rng.randrange(len(data)) :]
    return bytes(data)


def audio(folder: Path, rng: random.Random) -> Iterator[str]:
    """Audio files, headers and bodies mutated, read as clips."""
    originals = []
    for i, (suffix, subtype) in enumerate(FORMATS):
        path = folder / f"whole{i}.{suffix}"
        noise = 0.5 * np.random.default_rng(i).uniform(-1, 1, (3000, 1 + i % 2))
        soundfile.write(path, noise, (16_000, 44_100)[i % 2], subtype=subtype)
        originals.append((suffix, path.read_bytes()))
    while True:
        suffix, content = rng.choice(originals)
        path = folder / f"bad.{suffix}"
        path.write_bytes(mutated(content, rng))
        try:
            waveform = read_waveform(path, 16_000, 0.1)
        except RecordingError as error:
            yield re.split(r"[:;(]| of \d| as large", str(error).lstrip("0123456789 "))[0]
        else:
            assert waveform.dtype == np.float32 and 0 < len(waveform) <= 1600 and np.isfinite(waveform).all()
            clips, _ = load_clips([Recording("x", path)], 1600)
            assert len(clips) == 0 or (clips.samples.min(), clips.samples.max()) == (0, 1)
            yield "read"


def corpora(folder: Path, rng: random.Random) -> Iterator[str]:
    """File names of a folder corpus."""
    letters = ["a", "..", ".", " ", "\\", "ä", "\udcff", "\n", "%s", "~", "-", "$(id)", "CON", "\u202e"]
    for i in range(10**9):
        root = folder / str(i)
        for _ in range(rng.randint(1, 4)):
            name = "".join(rng.choices(letters, k=rng.randint(1, 4))) + rng.choice([".wav", ".flac", ".txt", ""])
            inside = root / rng.choice(["", "b", "...", " "])
            inside.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(OSError, ValueError):
                (inside / name).write_bytes(b"")
        root.mkdir(exist_ok=True)
        recordings, _ = list_recordings(root)
        assert len({recording.name for recording in recordings}) == len(recordings)
        for recording in recordings:
            assert isinstance(recording.source, Path) and recording.source.resolve().is_relative_to(root.resolve())
            recording.name.encode("utf-8")
        shutil.rmtree(root)
        yield f"{len(recordings)} recordings"


def checkpoints(folder: Path, rng: random.Random) -> Iterator[str]:
    """Weights of a network."""
    network = Autoencoder((2, 3), rng=np.random.default_rng(0))
    path, arrays = folder / "weights.safetensors", dict(named_leaves(network.parameters))
    save_checkpoint(path, arrays, {"phase": "pre_training"})
    content, shapes = path.read_bytes(), {name: array.shape for name, array in arrays.items()}
    while True:
        path.write_bytes(mutated(content, rng))
        try:
            loaded, _ = load_checkpoint(path, shapes)
        except CheckpointError as error:
            yield str(error).removeprefix(f"{path}: ").split(":")[0].split("(")[0][:40]
        else:
            assert all(np.array_equal(loaded[name], arrays[name]) for name in arrays)
            yield "the same weights"


def configs(folder: Path, rng: random.Random) -> Iterator[str]:
    """config.json of a run."""
    run = RunFolder.create(folder / "run", {})
    content = json.dumps({"settings": Configuration().written(), "split": {}}, indent=1).encode()
    while True:
        (folder / "run" / "config.json").write_bytes(mutated(content, rng, most=1))
        try:
            _, settings = run.read_config()
        except RunError as error:
            yield "refused: not what train.py wrote" if "it is not what" in str(error) else "refused: a setting"
        else:
            assert isinstance(settings, Configuration)
            yield "read"


def toml(folder: Path, rng: random.Random) -> Iterator[str]:
    """Files for --config."""
    written = Configuration(data_dir=Path("d"), limit=7).written()
    lines = [f"{name} = {json.dumps(value)}" for name, value in written.items() if value is not None]
    content = "\n".join(lines).encode()
    path = folder / "settings.toml"
    while True:
        path.write_bytes(mutated(content, rng, most=1))
        yield parsed(["--config", str(path)])


def command_lines(folder: Path, rng: random.Random) -> Iterator[str]:
    """Options and values in disorder."""
    options = ["--" + field.name.replace("_", "-") for field in dataclasses.fields(Configuration)]
    options += ["--resume", "--overfit", "--dry-run", "--config", "--", "-h", "---", "--epoch", ""]
    values = [
        "0",
        "-1",
        "1",
        "3",
        "1e400",
        "nan",
        "0x10",
        "٣",
        "demo",
        "emodb",
        "cpu",
        "4,,4",
        ",",
        "4,-1",
        " ",
        "\udcff",
    ]
    while True:
        yield parsed([rng.choice(options if rng.random() < 0.6 else values) for _ in range(rng.randint(1, 6))])


def parsed(arguments: list[str]) -> str:
    """What comes of a command line."""
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        try:
            command = read_arguments(arguments)
        except ConfigurationError as error:
            assert "\n" not in str(error).strip(), error
            return "refused by the settings"
        except SystemExit as end:
            return {0: "help", 2: "refused by argparse"}[int(end.code or 0)]
    assert isinstance(command.settings, Configuration)
    return "accepted"


def shapes(folder: Path, rng: random.Random) -> Iterator[str]:
    """Arrays of any shape and kind, given to every layer, forwards and backwards."""
    draw = np.random.default_rng(rng.randrange(2**32))

    def size() -> int:
        return rng.choice([0, 1, 2, 3, 4, 8, 16])

    def array() -> Any:
        dims = [size() for _ in range(rng.choice([0, 1, 2, 3, 3, 3, 3, 4]))]
        kind = rng.choice([np.float32, np.float32, np.float32, np.float64, np.int64, bool, np.complex64])
        return draw.uniform(-1, 1, dims).astype(kind)

    def layer() -> Any:
        c, o, k, s, p = (rng.choice([-1, 0, 1, 2, 3, 4]) for _ in range(5))
        return rng.choice([
            lambda: Conv1d(c, o, k, s, p, rng=draw), lambda: ConvTranspose1d(c, o, k, s, p, rng=draw),
            lambda: ELU(), lambda: HardSigmoid(), lambda: MaxPool1d(k), lambda: MaxUnpool1d(k), lambda: Upsample1d(k),
            lambda: ResidualBlock(c, k, rng=draw), lambda: Sequential(a=ELU(), b=Conv1d(c, o, k, rng=draw)),
            lambda: Autoencoder((2, 3), rng=draw),
        ])()  # fmt: skip

    while True:
        try:
            made = layer()
        except ShapeError:
            yield "the layer refused"
            continue
        x = array()
        try:
            if isinstance(made, MaxUnpool1d):
                y, cache = made.forward(x, array())
            else:
                y, cache = made.forward(x)
        except ShapeError:
            yield "x refused"
            continue
        y = y.reconstruction if hasattr(y, "reconstruction") else y[0] if isinstance(y, tuple) else y
        any_shape = isinstance(made, (ELU, HardSigmoid))
        assert y.dtype == x.dtype and (y.ndim == 3 or any_shape), (made, x.shape, x.dtype)
        if isinstance(made, Autoencoder):
            yield "computed"
            continue
        try:
            dx, _ = made.backward(y if rng.random() < 0.5 else array(), cache)
        except ShapeError:
            yield "dy refused"
            continue
        assert dx.shape == x.shape and dx.dtype == x.dtype
        yield "computed"


KINDS: dict[str, Callable[[Path, random.Random], Iterator[str]]] = {
    "audio files": audio,
    "names in a corpus": corpora,
    "checkpoints": checkpoints,
    "config.json": configs,
    "TOML files": toml,
    "command lines": command_lines,
    "shapes given to layers": shapes,
    "what is read back": mutations,
    "files of a run": tampered,
    "files of a run, shown": tampered_page,
}


def fuzz(kind: str, examples: int, folder: Path, seed: int = 0) -> collections.Counter[str]:
    """What came of so many examples of a kind; any other error than ours is raised as it is."""
    rng, counts = random.Random(seed), collections.Counter[str]()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    folder.mkdir(parents=True, exist_ok=True)
    tries = KINDS[kind](folder, rng)
    for _ in range(examples):
        began = time.monotonic()
        if (outcome := next(tries, None)) is None:  # there are no more of a kind that can be counted
            break
        counts[outcome] += 1
        assert time.monotonic() - began < SLOWEST_S, f"{kind}: took {time.monotonic() - began:.0f} s"
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    assert grown < MEMORY, f"{kind}: took {grown >> 20} MiB"
    return counts


def main() -> int:
    """Print what came of all kinds."""
    parser = Parser(command="tests.fuzz", prog="python -m tests.fuzz")
    parser.add_argument("--examples", type=int, default=2000, help="of each kind (default: %(default)s)")
    parser.add_argument("--kind", choices=KINDS, nargs="+", default=list(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        for i, kind in enumerate(options.kind):
            counts = fuzz(kind, options.examples, Path(folder) / str(i), options.seed)
            print(f"{counts.total()} {kind}: " + ", ".join(f"{name} {count}" for name, count in counts.most_common()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
