"""A trained network, to be used on recordings of any rate and length.

model = load_run(path); model.encode(waveform, sample_rate_hz) is the representation, 500 frames a second, and
model.reconstruct(waveform, sample_rate_hz) is like the waveform: of its rate, duration and level.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from models.autoencoder import POOL
from models.folded import FoldedAutoencoder
from nn1d import load_parameters
from nn1d.layer import named_parameters
from speech.audio import SAMPLE_RATE_HZ, convert_rate, resampled
from storage.regular import read_regular
from training.checkpoint import CheckpointError, NewerFormatError, load_checkpoint
from training.configuration import Configuration
from training.machine import available_cores
from training.network import build_network
from training.run_files import RunError, read_config
from training.workers import Workers

WEIGHTS = {"pre_training": "pretrained", "fine_tuning": "finetuned"}  # a phase in results.json -> its checkpoint
PHASES = tuple(WEIGHTS.values())
AT_ONCE = 4  # windows a thread that wait to be encoded


class Window(NamedTuple):
    """A piece of a recording as the network sees it: waveform = samples · scale + offset."""

    start: int  # in the recording [samples]
    valid: int  # samples that are of the recording; zeros follow
    samples: np.ndarray  # (1, L, 1), in [0, 1]
    offset: np.float32
    scale: np.float32  # 0 where the piece is constant


class Model:
    """A trained encoder and one of its two decoders, on the CPU.

    A recording longer than a clip is cut into windows of a clip's length that overlap by an eighth; a shorter one, or
    the end of a longer one, is filled with zeros. Each window is brought to [0, 1] as the clips of the run were: by its
    own minimum and maximum or, in a run with `scale` corpus, by those of its corpus.

    Parameters
    ----------
    configuration : Configuration
        Of the run.
    network : Autoencoder or FoldedAutoencoder
        With its weights.
    masks : bool
        Whether the decoder takes the encoder's masks.
    level : (offset, scale) or None
        What all windows are scaled by; None for each by its own.
    threads : int > 0 or None
        Windows at a time; None is all cores.

    Attributes
    ----------
    step : int
        Samples at 16 kHz in a frame of the representation.
    frames_per_second : float
    """

    def __init__(
        self,
        configuration: Configuration,
        network: Any,
        masks: bool,
        level: tuple[np.float32, np.float32] | None = None,
        threads: int | None = None,
    ) -> None:
        self.configuration, self.network, self.masks, self.level = configuration, network, masks, level
        self.threads = threads or available_cores()
        self.length = configuration.clip_samples
        self.step = POOL ** len(configuration.channels)
        self.overlap = self.length // 8 // (2 * self.step) * (2 * self.step)  # half of it is a whole number of frames
        self.frames_per_second = SAMPLE_RATE_HZ / self.step

    def encode(self, waveform: np.ndarray, sample_rate_hz: int) -> np.ndarray:
        """The representation of a recording.

        Where two windows overlap, each frame is of the window in which it lies further from the edge.

        Parameters
        ----------
        waveform : (samples,) or (samples, channels)
            As soundfile reads it; channels are averaged.
        sample_rate_hz : int
            Another rate than 16 kHz is converted by polyphase resampling.

        Shapes
        ------
        waveform -> (frames, channels[-1]), float32, frames = ⌈samples at 16 kHz / step⌉

        Raises
        ------
        WaveformError
            The waveform is of another form, is empty, holds NaN, infinite or absurdly large samples, or has a rate
            outside 1 kHz to 768 kHz.
        """
        with Workers(self.threads) as workers:
            return np.concatenate(
                [part for _, part in self.encode_blocks([[resampled(waveform, sample_rate_hz)]], workers)]
            )

    def encode_blocks(
        self, recordings: Iterable[Iterable[np.ndarray]], workers: Workers
    ) -> Iterator[tuple[int, np.ndarray]]:
        """The representations of recordings, part by part, in as little memory for a long one as for a short one.

        Blocks are taken as they are needed, those of one recording after those of the one before it.

        Parameters
        ----------
        recordings : iterable of iterables of (samples,) float32
            The blocks of each at 16 kHz. One without blocks has no part.
        workers : Workers
            Windows, also those of several recordings, are spread over them.

        Returns
        -------
        parts : iterator of (i, (frames, channels[-1]) float32)
            Of recording i the next frames; together, what `encode` makes of it.
        """
        before: tuple[int, Window, np.ndarray] | None = None
        for i, window, row in self._represented(recordings, workers):
            if before is not None:
                yield before[0], self._part(*before[1:], last=before[0] != i)
            before = i, window, row
        if before is not None:
            yield before[0], self._part(*before[1:], last=True)

    def _represented(
        self, recordings: Iterable[Iterable[np.ndarray]], workers: Workers
    ) -> Iterator[tuple[int, Window, np.ndarray]]:
        windows = ((i, window) for i, blocks in enumerate(recordings) for window in self._windows(blocks))
        while some := list(itertools.islice(windows, AT_ONCE * workers.threads)):
            rows = workers.map(lambda item: self.network.encoder.represent(item[1].samples)[0], some)
            for (i, window), row in zip(some, rows, strict=True):
                yield i, window, row

    def _part(self, window: Window, row: np.ndarray, last: bool) -> np.ndarray:
        """The frames that a recording has from a window: from and to the middle of where it overlaps with others."""
        edge = self.overlap // (2 * self.step)
        end = math.ceil(window.valid / self.step) if last else (self.length - self.overlap) // self.step + edge
        return row[edge if window.start else 0 : end]

    def rebuild(self, samples: np.ndarray) -> np.ndarray:
        """What the network makes of clips on its own scale.

        Shapes
        ------
        samples (N, L, 1) in [0, 1], L of the run's clips -> the same

        Raises
        ------
        ShapeError
            L is not a multiple of the step.
        """
        if not self.masks:
            return self.decode(self.network.encoder.represent(samples))
        encoding, _ = self.network.encoder.forward(samples, middle=False)
        return self.decode(encoding.representation, encoding.masks)

    def decode(self, representation: np.ndarray, masks: list[np.ndarray] | None = None) -> np.ndarray:
        """What the decoder makes of a representation, and of masks where it takes them.

        Shapes
        ------
        representation (N, frames, C) -> samples (N, L, 1) on the scale of clips
        """
        if isinstance(self.network, FoldedAutoencoder):
            return self.network.decoder.forward(representation)[0]
        return self.network.decoder.forward(representation, masks, middle=False)[0][0]

    def reconstruct(self, waveform: np.ndarray, sample_rate_hz: int) -> np.ndarray:
        """What the network makes of a recording, at its rate, duration and level; nothing is left above 8 kHz.

        Windows are cross-faded in a straight line where they overlap.

        Shapes
        ------
        waveform (samples,) or (samples, channels) -> (samples,), float32

        Raises
        ------
        WaveformError
            As `encode`.
        """
        heard = resampled(waveform, sample_rate_hz)
        windows = list(self._windows([heard]))
        rebuilt = np.zeros(windows[-1].start + self.length, np.float32)
        fade_in = (np.arange(self.overlap, dtype=np.float32) + 0.5) / max(self.overlap, 1)
        with Workers(self.threads) as workers:
            for window, y in zip(windows, workers.map(self._rebuilt, windows), strict=True):
                if window.start > 0:
                    y[: self.overlap] *= fade_in
                if window is not windows[-1]:
                    y[self.length - self.overlap :] *= fade_in[::-1]
                rebuilt[window.start : window.start + self.length] += y
        return convert_rate(rebuilt[: len(heard)], SAMPLE_RATE_HZ, sample_rate_hz)[: len(waveform)]

    def _rebuilt(self, window: Window) -> np.ndarray:
        """The samples (L,) of a window on the scale of the recording."""
        return self.rebuild(window.samples)[0, :, 0] * window.scale + window.offset

    def _windows(self, blocks: Iterable[np.ndarray]) -> Iterator[Window]:
        hop, start, waiting = self.length - self.overlap, 0, np.empty(0, np.float32)
        for block in blocks:
            waiting = np.concatenate([waiting, block]) if len(waiting) else block
            while len(waiting) >= self.length:
                yield self._window(start, waiting[: self.length])
                start, waiting = start + hop, waiting[hop:]
        if len(waiting) > (self.overlap if start else 0):  # else the window before it has it all
            yield self._window(start, waiting)

    def _window(self, start: int, piece: np.ndarray) -> Window:
        valid = len(piece)
        piece = np.pad(piece, (0, self.length - valid))
        low, high = piece.min(), piece.max()
        offset, scale = (low, high - low) if self.level is None else self.level
        samples = (piece - offset) / scale if scale > 0 else np.zeros_like(piece)
        return Window(start, valid, samples[None, :, None], offset, scale)


def load_run(path: Path | str, phase: str | None = None, threads: int | None = None) -> Model:
    """The network that a run trained.

    Parameters
    ----------
    path : Path or str
        The run's folder. Nothing in it is changed, and train.py may be writing there.
    phase : "pretrained", "finetuned" or None
        Whose decoder: the first takes masks, the second does not, unless the run has `fine_tune_masks`. None is
        finetuned where it is there. The encoder is the same.
    threads : int > 0 or None
        Windows at a time; None is all cores.

    Raises
    ------
    RunError
        The folder holds no run, or not yet this phase, or phase is none of the above.
    CheckpointError
        The weights are damaged or of another network.
    """
    path = Path(path)
    configuration = read_config(path)[1]
    weights = weights_path(path, phase)
    network = build_network(configuration, np.random.default_rng(0))
    shapes = {name: leaf.shape for name, leaf in named_parameters(network.parameters).items()}
    try:
        arrays, _ = load_checkpoint(weights, shapes)
    except NewerFormatError:
        raise
    except CheckpointError as error:
        raise CheckpointError(f"{error}. Let the run write it again: python train.py --resume {path}") from error
    load_parameters(network.parameters, arrays)
    masks = configuration.pooling == "max" and (weights.stem == PHASES[0] or configuration.fine_tune_masks)
    level = _corpus_level(path) if configuration.scale == "corpus" else None
    return Model(configuration, network, masks, level, threads)


def weights_path(path: Path, phase: str | None = None) -> Path:
    """The file of a run that holds the weights of a phase; of the last one that there is, if None.

    Raises
    ------
    RunError
        There is none yet.
    """
    if phase is not None and phase not in PHASES:
        raise RunError(f"load_run: phase must be one of {', '.join(PHASES)}; got {phase!r}")
    places = [path / "checkpoints" / f"{name}.safetensors" for name in ([phase] if phase else reversed(PHASES))]
    for place in places:
        if _is_taken(place):
            return place
    raise RunError(
        f"{path}: the run has no checkpoints/{places[-1].name} yet. Go on with it: python train.py --resume {path}"
    )


def phases_there(path: Path) -> list[str]:
    """The phases whose weights a run has."""
    return [phase for phase in PHASES if _is_taken(path / "checkpoints" / f"{phase}.safetensors")]


def _is_taken(place: Path) -> bool:
    """Whether there is a file, or what is no file: then it is refused, and no other phase is taken for this one."""
    return place.exists() or place.is_symlink()


def _corpus_level(path: Path) -> tuple[np.float32, np.float32]:
    """The offset and scale that all clips of a run with scale=corpus have."""
    try:
        row = next(csv.DictReader(io.StringIO(read_regular(path / "clips.csv"), newline="")))
        return np.float32(row["offset"]), np.float32(row["scale"])
    except (OSError, StopIteration, LookupError, TypeError, ValueError, csv.Error) as error:
        raise RunError(
            f"{path}: its clips were scaled as one corpus, and clips.csv does not say how ({error!r}). Go on with the "
            f"run, which writes it: python train.py --resume {path}"
        ) from error
