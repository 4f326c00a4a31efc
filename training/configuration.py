"""Every setting of a run with its default, in one place.

The options of train.py and the keys of --config (training/arguments.py), and what config.json holds come from here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from models.autoencoder import CHANNELS, POOL
from nn1d.command import nearest

CORPORA = ("demo", "emodb", "savee", "ravdess", "cremad", "tess", "folder")  # not imported: --help is quick so
WHOLE = 2**53  # the largest integer that a setting, or a file of a run, may hold
LONGEST_SHOWN = 200  # characters of a value in a sentence
SHARDS = "shards"  # of any of them: speech/shard.py
SEPARATOR = "+"  # between several, as speech/corpus.py reads them
INITIALS = ("glorot_uniform", "he_normal", "lecun_normal")
EXTENDS = ("epochs", "fine_tune_epochs")  # may be raised when a run is resumed
SETTLED = ("manifest", "limit", "strict", "scale", "split", "leave_out", "folds", "fold")  # by what makes shards
FREE = (  # do not change what is learned, but for rounding
    "data_dir", "cache_dir", "device", "gpu_memory", "tf32", "half", "threads", "checkpoint_every", "no_report",
)  # fmt: skip


class ConfigurationError(ValueError):
    """A setting is unknown or out of range; the message names it, what it needs and what it got."""


def _setting(
    default: Any,
    group: str,
    text: str,
    kind: Callable[[str], Any] = str,
    *,
    choices: Sequence[str] | None = None,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    demo: Any = None,
    several: bool = False,
    fold: Any = None,
) -> Any:
    metadata = {
        "several": several,
        "demo": demo,
        "fold": fold,
        "group": group,
        "help": text,
        "kind": kind,
        "choices": choices,
        "least": least,
        "above": above,
        "most": most,
    }
    return dataclasses.field(default=default, metadata=metadata)


def integers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def texts(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NAMES = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    Path: "a path",
    integers: "a list of integers",
    texts: "a list of texts",
}


@dataclasses.dataclass(frozen=True)
class Configuration:
    """The settings of a run; the defaults reproduce the paper, and where it is silent they are what was measured best.

    Raises
    ------
    ConfigurationError
        A value has another type than the default, is none of the choices, or is out of range.
    """

    db: str = _setting(
        "demo", "corpus", "which recordings, of one corpus or several", choices=(*CORPORA, SHARDS), several=True
    )
    data_dir: Path | None = _setting(
        None, "corpus", "where they are, instead of $NN1D_DATA/<db> or the cache folder", Path
    )
    manifest: Path | None = _setting(
        None, "corpus", "for --db folder: a CSV file with the columns path, label, speaker, text, fold", Path
    )
    cache_dir: Path | None = _setting(
        None, "corpus", "for downloads and prepared clips; the user's cache folder unless given", Path
    )
    limit: int | None = _setting(None, "corpus", "use this many clips, spread over the corpus", int, least=1)
    strict: bool = _setting(False, "corpus", "stop if a file of the corpus is bad, instead of leaving it out", bool)
    clip_samples: int = _setting(64_000, "corpus", "length of a clip [samples at 16 kHz]", int, least=1)
    scale: str = _setting("clip", "corpus", "map each clip, or the whole corpus, to [0, 1]", choices=("clip", "corpus"))
    split: str = _setting(
        "random",
        "corpus",
        "20 %% of the clips for testing: any, or those of other speakers",
        choices=("random", "speaker"),
    )
    leave_out: tuple[str, ...] = _setting(
        (), "corpus", "test on these speakers and train on the others", texts, several=True
    )
    folds: str | None = _setting(
        None, "corpus", "test on one fold: of speakers (speaker), of the manifest (manifest), or of a file (FILE.csv)"
    )
    fold: str | None = _setting(None, "corpus", "which one, by its name; the first unless given")
    validate_on: str = _setting(
        "held-out",
        "corpus",
        "what early stopping looks at: a tenth of the training clips, or the test clips",
        choices=("held-out", "test"),
    )

    channels: tuple[int, ...] = _setting(CHANNELS, "network", "filters of each encoder stage", integers)
    pooling: str = _setting(
        "max",
        "network",
        "the paper's max pool, whose masks the decoder of phase 1 takes, or a fold, which keeps every value",
        choices=("max", "fold"),
    )
    tied: bool = _setting(False, "network", "a transposed convolution has the filters of its convolution", bool)
    kernel_size: int = _setting(3, "network", "filter length, odd [samples]", int, least=1)
    output: str = _setting(
        "hard_sigmoid", "network", "what bounds the rebuilt audio", choices=("hard_sigmoid", "linear")
    )
    initial: str = _setting(
        "glorot_uniform",
        "network",
        "how the first weights are drawn; isometric: so that a network with folds begins near its own inverse",
        choices=(*INITIALS, "isometric"),
        fold="isometric",
    )
    residual_gain: float = _setting(
        0.1, "network", "scale of the last filters of a residual block at the start", float, least=0, fold=0.0
    )

    epochs: int = _setting(30, "training", "of phase 1, at most", int, least=1, demo=20, fold=12)
    fine_tune_epochs: int = _setting(40, "training", "of phase 2, at most", int, least=1, demo=24, fold=6)
    batch_size: int = _setting(2, "training", "clips a step", int, least=1)
    learning_rate: float = _setting(0.001, "training", "of Adam in phase 1", float, above=0, demo=0.002, fold=0.001)
    fine_tune_learning_rate: float = _setting(0.003, "training", "of Adam in phase 2", float, above=0, fold=0.0005)
    fine_tune_gain: float = _setting(
        1 / POOL,
        "training",
        "what the decoder's filters are multiplied by where phase 2 begins without masks",
        float,
        above=0,
    )
    schedule: str = _setting(
        "cosine", "training", "the learning rate falls to 0 over the epochs, or stays", choices=("cosine", "constant")
    )
    warm_up: float = _setting(
        0.0, "training", "the learning rate rises over this many epochs of a phase", float, least=0, fold=1.0
    )
    clip: float = _setting(
        3.0,
        "training",
        "a gradient may be this many times as long as the median of the last 100; 0: any length",
        float,
        least=0,
    )
    average: float = _setting(
        0.5,
        "training",
        "evaluate and keep a running mean of the weights over this many epochs; 0: the last ones",
        float,
        least=0,
    )
    weight_decay: float = _setting(1e-4, "training", "strength, on filters but not on biases", float, least=0)
    decay: str = _setting(
        "decoupled", "training", "weight decay beside the step (AdamW) or in the gradient", choices=("decoupled", "l2")
    )
    middle_weight: float = _setting(0.0, "training", "of the intermediate loss in Eq. 8", float, least=0)
    patience: int = _setting(8, "training", "epochs without improvement before stopping", int, least=1)
    monitor: str = _setting(
        "val_loss", "training", "the quantity that must improve", choices=("val_loss", "val_accuracy")
    )
    fine_tune_masks: bool = _setting(False, "training", "hand the masks over in phase 2 as well", bool)
    seed: int = _setting(0, "training", "of the split, the first weights and the order of the clips", int, least=0)

    device: str = _setting("auto", "machine", "where to compute", choices=("auto", "cpu", "gpu"))
    gpu_memory: str | None = _setting(None, "machine", "most that a GPU may hold: 8GB, 500MB or 50%%; all unless given")
    tf32: bool = _setting(False, "machine", "on a GPU, multiply with three digits instead of seven (TF32)", bool)
    half: bool = _setting(
        False, "machine", "on a GPU, float16 between layers: half the memory; weights and sums stay float32", bool
    )
    threads: int | None = _setting(
        None, "machine", "clips at a time on the CPU; all cores unless given", int, least=1, most=1024
    )
    out: Path | None = _setting(None, "machine", "the run's folder; runs/<db>-<date>-<time> unless given", Path)
    force: bool = _setting(False, "machine", "replace the run in that folder", bool)
    no_report: bool = _setting(False, "machine", "leave the listening page out; python -m report makes it later", bool)
    checkpoint_every: float = _setting(60.0, "machine", "seconds of training between two saved states", float, least=0)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is None and field.default is None:
                continue
            _check(field, value)
        if SHARDS in self.db.split(SEPARATOR):
            self._check_shards()
        if self.kernel_size % 2 == 0:
            raise ConfigurationError(f"kernel_size must be odd, to keep the length of a clip; got {self.kernel_size}")
        if not self.channels or min(self.channels) < 1:
            raise ConfigurationError(f"channels must be positive integers; got {self.channels}")
        length = self.clip_samples >> (len(self.channels) - (self.pooling == "max"))  # a fold comes first in its stage
        longest = max(3, 2 * length - 1)
        if self.kernel_size > longest:
            raise ConfigurationError(
                f"kernel_size must be at most {longest}, since the ends of a longer filter meet none of the {length} "
                f"samples that the last stage has of a clip; got {self.kernel_size}"
            )
        if self.pooling == "max" and self.initial == "isometric":
            raise ConfigurationError("initial isometric needs --pooling fold: a max pool has no inverse to begin near")
        if self.pooling == "fold" and (self.fine_tune_masks or self.middle_weight > 0):
            name = "fine_tune_masks" if self.fine_tune_masks else "middle_weight"
            raise ConfigurationError(f"{name} needs --pooling max: a fold has no masks and drops nothing. Leave it out")

    def _check_shards(self) -> None:
        """What is settled when shards are made is not asked for again."""
        if self.db != SHARDS:
            raise ConfigurationError(f"db {SHARDS} is taken alone; got {self.db.replace(SEPARATOR, ' ')}")
        for field in dataclasses.fields(self):
            if field.name in SETTLED and getattr(self, field.name) != field.default:
                raise ConfigurationError(
                    f"{field.name} is settled when shards are made (python -m training shards). Leave it out"
                )

    def tables(self) -> dict[str, Path]:
        """The files that say which recordings there are and which of them test, by the names of their settings."""
        folds = None if self.folds in (None, "speaker", "manifest") else Path(str(self.folds))
        return {name: path for name, path in (("manifest", self.manifest), ("folds", folds)) if path is not None}

    def written(self) -> dict[str, Any]:
        """The settings as JSON can hold them; tables by whole paths, since a run is gone on with from any folder."""
        return {
            name: str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(self).items()
        } | {name: str(path.absolute()) for name, path in self.tables().items()}

    @classmethod
    def read(cls, written: dict[str, Any]) -> Configuration:
        """The settings that `written` gave, of this version or of 0.1, which knew no bound and no gain.

        Raises
        ------
        ConfigurationError
            A setting is unknown or out of range.
        """
        return cls(**converted({"clip": 0.0, "fine_tune_gain": 1.0} | written))

    def resumed(self, chosen: dict[str, Any]) -> Configuration:
        """These settings, of a run to go on with, and those given now.

        Raises
        ------
        ConfigurationError
            What is given would make it another run.
        """
        changed = {name: value for name, value in chosen.items() if value != getattr(self, name)}
        for name, value in changed.items():
            before = getattr(self, name)
            if name in EXTENDS and value < before:
                raise ConfigurationError(f"--resume: {name} may be raised only: the run has {before}; got {value}")
            if name not in (*EXTENDS, *FREE, *self.tables()):  # of a table that was moved; its recordings are checked
                raise ConfigurationError(
                    f"--resume: {name} cannot change within a run: the run has {before}; got {value}. Leave it out, or "
                    "start a new run"
                )
        return dataclasses.replace(self, **changed)


def _check(field: dataclasses.Field[Any], value: Any) -> None:
    rule, name = field.metadata, field.name
    fits = {
        str: isinstance(value, str),
        int: type(value) is int,
        float: type(value) in (int, float),
        bool: type(value) is bool,
        Path: isinstance(value, Path),
        integers: isinstance(value, tuple),
        texts: isinstance(value, tuple) and all(isinstance(name, str) for name in value),
    }
    if not fits[rule["kind"]]:
        raise ConfigurationError(f"{name} must be {NAMES.get(rule['kind'], 'text')}; got {_shown(value)}")
    if rule["kind"] is Path and not _is_place(str(value)):
        raise ConfigurationError(f"{name} must be a path, which has no zero byte in it; got {str(value)!r}")
    for number in value if isinstance(value, tuple) else [value]:
        if type(number) is int and abs(number) > WHOLE:
            raise ConfigurationError(f"{name} must be at most {WHOLE}; got a number of {_digits(number)} digits")
    for part in value.split(SEPARATOR) if rule["choices"] and rule["several"] else [value]:
        if rule["choices"] and part not in rule["choices"]:
            raise ConfigurationError(
                f"{name} must be one of {', '.join(rule['choices'])}; got {_shown(value)}"
                f"{nearest(part, rule['choices'])}"
            )
    if rule["least"] is not None and not value >= rule["least"]:
        raise ConfigurationError(f"{name} must be at least {rule['least']}; got {value!r}")
    if rule["most"] is not None and not value <= rule["most"]:
        raise ConfigurationError(f"{name} must be at most {rule['most']}; got {value!r}")
    if rule["above"] is not None and not value > rule["above"]:
        raise ConfigurationError(f"{name} must be above {rule['above']}; got {value!r}")
    if rule["kind"] is float and not abs(value) < float("inf"):
        raise ConfigurationError(f"{name} must be finite; got {value!r}")


def _is_place(path: str) -> bool:
    """Whether a file system can be asked for a path: no zero byte, and what is no Unicode as Python writes bytes."""
    try:
        return b"\0" not in path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False


def _shown(value: object) -> str:
    """A value as Python writes it, and no more of it than one can read."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of more than 4,300 digits, in lists of any depth
        return f"a value of type {type(value).__name__} that is too long to be shown"
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]} ..."


def _digits(number: int) -> int:
    """About how many decimal digits an integer has; Python refuses to write very long ones."""
    return int(number.bit_length() * 0.30103) + 1


def converted(settings: dict[str, Any]) -> dict[str, Any]:
    """Text as paths and lists as tuples, where the setting is one."""
    kinds = {field.name: field.metadata["kind"] for field in dataclasses.fields(Configuration)}
    listed = ", ".join(kinds)
    for name in settings:
        if name not in kinds:
            raise ConfigurationError(f"an unknown setting {name}{nearest(name, kinds) or f'; known are {listed}'}")
    converted = dict(settings)
    for name, value in settings.items():
        if kinds[name] is Path and isinstance(value, str) and value:
            converted[name] = Path(value)
        if kinds[name] is integers and isinstance(value, list) and all(type(number) is int for number in value):
            converted[name] = tuple(value)
        if kinds[name] is texts and isinstance(value, list) and all(isinstance(text, str) for text in value):
            converted[name] = tuple(value)
    return converted
