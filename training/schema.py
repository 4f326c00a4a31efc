"""What the files of a run may hold. A run may come from anybody, so each file is compared with its form before use."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypedDict, TypeVar

import msgspec
from msgspec import Meta

from training.configuration import WHOLE

Form = TypeVar("Form")

Count = Annotated[int, Meta(ge=0, le=WHOLE)]
Number = Annotated[float, Meta(ge=-1e100, le=1e100)]  # no NaN, no infinity
Size = Annotated[float, Meta(ge=0, le=1e100)]
Positive = Annotated[float, Meta(gt=0, le=1e100)]
Place = Annotated[str, Meta(pattern=r"^[^\0\ud800-\udc7f\udd00-\udfff]*\Z")]  # what a file system can be asked for
PhaseName = Literal["pre_training", "fine_tuning"]
Parts = dict[Literal["train", "validation", "test"], list[str]]


class Config(TypedDict):
    """config.json; `settings` are checked by Configuration."""

    settings: dict[str, Any]
    threads: NotRequired[Count]
    command: NotRequired[list[str]]
    git_commit: NotRequired[str | None]
    python: NotRequired[str]
    numpy: NotRequired[str]
    blas: NotRequired[list[dict[str, str | int | None]]]
    machine: NotRequired[dict[str, str | int | None]]
    corpus: NotRequired[Place | None]
    clips: NotRequired[str | None]
    clips_sha256: NotRequired[str]
    split: NotRequired[Parts]
    speakers: NotRequired[dict[str, list[str]]]
    contents: NotRequired[Parts | None]
    parts: NotRequired[dict[str, Count]]  # of shards, how many clips
    left_out: NotRequired[list[tuple[str, str]]]
    device: NotRequired[str]
    ranks: NotRequired[Annotated[int, Meta(ge=1, le=WHOLE)]]
    resumed: NotRequired[list[dict[str, Any]]]


class PhaseResults(TypedDict):
    """What results.json says of a phase."""

    train_loss: Size
    test_loss: Size
    test_accuracy: Number
    middle_loss: Number
    test_on_bound: NotRequired[Number]  # since 0.2
    epochs: Count
    best_epoch: Count
    seconds: Number
    weight_decay: Number


class Masks(TypedDict):
    """What a decoder makes of the test clips with one kind of masks."""

    test_mse: Size
    test_si_sdr_db: Number | None
    clips_without_si_sdr: Count
    representation_bits_per_second: Positive
    mask_bits_per_second: Size
    bits_per_second: Positive


class Ablation(TypedDict):
    """The decoder of one phase with each kind of masks."""

    pool: Count
    tied_windows: Number
    own: Masks
    another: Masks
    random: Masks
    none: Masks


class Ablations(TypedDict):
    """`masks` of results.json."""

    pre_training: Ablation
    fine_tuning: Ablation
    summary: str


class Summary(TypedDict):
    """`masks` of results.json where the network has folds and so no masks."""

    summary: str


class Rate(TypedDict):
    """The test clips at one number of bits; what is not finite is None."""

    what: str
    bits: Count
    fixed_bits_per_second: Size
    entropy_bits_per_second: Positive
    mask_bits_per_second: Size
    test_mse: Size | None
    si_sdr_db: Number | None
    estoi: Number | None


class Rates(TypedDict):
    """`rates` of results.json, which python -m inference rate writes."""

    test_clips: Count
    rates: Annotated[list[Rate], Meta(min_length=1)]


class Results(TypedDict):
    """results.json; `masks` are checked by themselves."""

    db: str
    clips: Count
    parameters: NotRequired[Count]
    test_variance: Positive
    pre_training: PhaseResults
    fine_tuning: PhaseResults
    masks: dict[str, Any]
    paper: NotRequired[dict[PhaseName, dict[str, Size]]]
    rates: NotRequired[Rates]
    distortion: NotRequired[dict[str, Any]]  # made anew, never read


class Line(TypedDict):
    """A line of history.csv."""

    phase: PhaseName
    epoch: Annotated[int, Meta(ge=1, le=WHOLE)]
    train_loss: Number
    val_loss: Number
    val_accuracy: Number
    learning_rate: Number
    seconds: Number


class Generator(TypedDict):
    """The state of numpy.random.PCG64."""

    bit_generator: Literal["PCG64"]
    state: dict[Literal["state", "inc"], int]
    has_uint32: Annotated[int, Meta(ge=0, le=1)]
    uinteger: Annotated[int, Meta(ge=0, le=2**32 - 1)]


class State(TypedDict):
    """What is said of the arrays of a state."""

    phase: PhaseName
    epoch: Count
    batches: Count
    loss: Number
    adam_steps: Count
    learning_rate: Number
    best_epoch: Count
    best_value: Annotated[float, Meta(le=1e100)]  # minus infinity before the first epoch ends
    gradient_norms: NotRequired[Annotated[list[Size], Meta(max_length=100)]]
    loss_log2_backoff: NotRequired[Annotated[int, Meta(ge=0, le=64)]]
    order: Generator
    seconds: Number
    history: list[tuple[Count, Number, Number, Number, Number, Number]]
    results: PhaseResults | None


class Interval(TypedDict):
    """A figure of a probe; without an interval where there are too few groups."""

    value: Number
    low: Number | None
    high: Number | None


class ProbeFold(TypedDict):
    """A fold of a probe."""

    heard: bool | None


class ProbeRow(TypedDict):
    """Something that was read out of some features."""

    target: str
    how: str
    features: str
    classifier: str
    interval_over: str
    clips: list[Count]
    predictions: list[str]
    groups: list[str]
    labels: list[str]
    classes: Annotated[list[str], Meta(min_length=1)]
    chance_uar: Number
    uar: Interval
    accuracy: Interval
    macro_f1: Interval
    confusion: list[list[Count]]
    folds: Annotated[list[ProbeFold], Meta(min_length=1)]


class ProbeClip(TypedDict):
    """A clip that was probed."""

    name: str


class Probe(TypedDict):
    """probe.json, as far as the page reads it."""

    clips: list[ProbeClip]
    results: list[ProbeRow]


class FormError(ValueError):
    """A file holds something else than it should; the message says what and where."""


def check(content: Any, form: type[Form]) -> Form:
    """The content itself, with whatever else is in it.

    Raises
    ------
    FormError
        It has not this form.
    """
    _converted(content, form)
    return content


def check_results(results: Any) -> Results:
    """The content of results.json."""
    results = check(results, Results)
    check(results["masks"], Ablations if results["masks"].keys() & {"pre_training", "fine_tuning"} else Summary)
    return results


def check_state(state: Any) -> State:
    """What is said of the arrays of a state; its numbers must agree with each other."""
    state = check(state, State)
    numbers = state["order"]["state"]
    if set(numbers) != {"state", "inc"} or not all(0 <= number < 2**128 for number in numbers.values()):
        raise FormError("Expected two numbers of 128 bits - at `$.order.state`")
    epochs = [line[0] for line in state["history"]]
    complete = len(epochs) == state["epoch"] and epochs == list(range(1, len(epochs) + 1))
    if not complete or state["best_epoch"] > state["epoch"]:
        raise FormError("Expected a history of all epochs, and the best among them - at `$.history`")
    return state


def check_probe(probe: Any) -> Probe:
    """The content of probe.json; the lists of a row must be of the same clips."""
    probe = check(probe, Probe)
    for row in probe["results"]:
        count = len(row["clips"])
        if {len(row[name]) for name in ("predictions", "groups", "labels")} != {count} or any(
            clip >= len(probe["clips"]) for clip in row["clips"]
        ):
            raise FormError("Expected a label, an answer and a group for each clip - at `$.results`")
        if [len(line) for line in row["confusion"]] != [len(row["classes"])] * len(row["classes"]):
            raise FormError("Expected a number for each pair of classes - at `$.results`")
    return probe


def read_lines(lines: list[dict[str, str]]) -> list[Line]:
    """The lines of history.csv with numbers for their texts."""
    return _converted(lines, list[Line], strict=False)


def _converted(content: Any, form: type[Form], strict: bool = True) -> Form:
    try:
        return msgspec.convert(content, form, strict=strict)
    except (msgspec.ValidationError, TypeError, UnicodeError, RecursionError) as error:
        raise FormError(str(error)) from error
