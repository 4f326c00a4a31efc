"""The forms of a run's files: what train.py wrote is taken, and one altered value is refused or taken as it is."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from training import schema
from training.arguments import read_arguments
from training.configuration import ConfigurationError
from training.run_files import RunError, read_config
from training.run_folder import RunFolder

KEPT = Path(__file__).with_name("version_0_1") / "run"
HISTORY = {"phase": "fine_tuning", "epoch": "1", "train_loss": "0.1", "val_loss": "1e-3", "val_accuracy": "0",
           "learning_rate": "0.1", "seconds": "2"}  # fmt: skip


@pytest.fixture
def results() -> dict[str, Any]:
    content = dict(json.loads((KEPT / "results.json").read_text()))
    content["masks"]["summary"] = content["masks"].pop("finding")
    return content


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("clips",), -1), (("clips",), 10**30), (("clips",), True), (("test_variance",), 0), (("db",), None),
        (("pre_training", "best_epoch"), "2"), (("pre_training", "test_loss"), float("nan")),
        (("fine_tuning",), [1]), (("masks",), {}), (("masks", "fine_tuning"), {}), (("masks", "summary"), 3),
        (("masks", "pre_training", "own", "bits_per_second"), 0), (("paper",), {"other": {}}),
    ],
)  # fmt: skip
def test_altered_results_are_refused(results: dict[str, Any], place: tuple[str, ...], value: Any) -> None:
    schema.check_results(copy.deepcopy(results))
    holder = results
    for name in place[:-1]:
        holder = holder[name]
    holder[place[-1]] = value
    with pytest.raises(schema.FormError):
        schema.check_results(results)


RATE = {"what": "pcm", "bits": 3, "fixed_bits_per_second": 48e3, "entropy_bits_per_second": 3e4,
        "mask_bits_per_second": 0.0, "test_mse": 1e-4, "si_sdr_db": None, "estoi": None}  # fmt: skip


@pytest.mark.parametrize(
    "altered",
    [{"bits": -1}, {"what": 3}, {"entropy_bits_per_second": 0}, {"si_sdr_db": "9"}, {"test_mse": float("inf")}],
)
def test_altered_rates_are_refused(results: dict[str, Any], altered: dict[str, Any]) -> None:
    schema.check_results(results | {"rates": {"test_clips": 1, "rates": [RATE]}})
    several: list[list[dict[str, Any]]] = [[], [RATE | altered], [{}]]
    for rates in several:
        with pytest.raises(schema.FormError):
            schema.check_results(results | {"rates": {"test_clips": 1, "rates": rates}})


def test_results_of_a_network_with_folds_have_no_masks(results: dict[str, Any]) -> None:
    schema.check_results(results | {"masks": {"summary": "none"}})
    del results["masks"]["pre_training"]
    with pytest.raises(schema.FormError):
        schema.check_results(results)


@pytest.mark.parametrize(
    ("name", "text"),
    [("epoch", "0"), ("epoch", "1.5"), ("epoch", "9" * 5000), ("train_loss", "nan"), ("val_loss", "1e400"),
     ("phase", "third"), ("seconds", ""), ("seconds", "=1+1")],
)  # fmt: skip
def test_altered_lines_of_a_history_are_refused(name: str, text: str) -> None:
    assert schema.read_lines([dict(HISTORY)])[0]["val_loss"] == 0.001
    with pytest.raises(schema.FormError):
        schema.read_lines([HISTORY | {name: text}])


@pytest.mark.parametrize("value", ["[", "7" * 5000, "[" * 100_000, '{"settings": {"seed": ' + "7" * 5000 + "}}", "null",
                                   '{"settings": {"clip": 1' + "0" * 400 + "}}",
                                   '{"settings": {}, "corpus": "\\u0000"}',
                                   '{"settings": {"data_dir": "\\ud800"}}', '{"settings": {}, "split": {"train": 3}}',
                                   '{"settings": {"channels": [4, 1' + "0" * 30 + "]}}"])  # fmt: skip
def test_settings_that_are_not_those_of_a_run_are_one_sentence(tmp_path: Path, value: str) -> None:
    (tmp_path / "config.json").write_text(value)
    with pytest.raises(RunError, match=r"^run: cannot read .*config\.json: [^\n]*\. Start a new run$"):
        read_config(tmp_path)


def test_a_state_of_more_epochs_than_memory_holds_is_refused() -> None:
    generator = {"bit_generator": "PCG64", "state": {"state": 1, "inc": 1}, "has_uint32": 0, "uinteger": 0}
    numbers = dict.fromkeys(
        ("batches", "adam_steps", "best_epoch", "loss", "learning_rate", "best_value", "seconds"), 1
    )
    state = {"phase": "fine_tuning", "epoch": 1, "order": generator, "results": None, **numbers}
    schema.check_state(state | {"history": [[1, 1, 1, 1, 1, 1]]})
    with pytest.raises(schema.FormError, match="Expected a history of all epochs"):
        schema.check_state(state | {"history": [[1, 1, 1, 1, 1, 1]], "epoch": 2**53})


def test_what_is_wrong_with_results_is_named(tmp_path: Path, results: dict[str, Any]) -> None:
    run = RunFolder(tmp_path)
    (tmp_path / "results.json").write_text(json.dumps(results | {"clips": "many"}))
    with pytest.raises(RunError, match=r"is not what train\.py wrote \(Expected `int`, got `str` - at `\$\.clips`\)"):
        run.read_results()
    run.release()


@pytest.mark.parametrize("text", ["seed = " + "7" * 5000, "seed = \0", "clip = 1" + "0" * 400, "seed = 1" + "0" * 40,
                                  *(f"{name} = 0x{'f' * 5000}" for name in ("db", "tied", "channels", "data_dir")),
                                  f"leave_out = [[0x{'f' * 5000}]]"])  # fmt: skip
def test_numbers_of_any_length_in_toml_are_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "settings.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=r"^(--config: .*: |seed |clip |[a-z_]+ must be )[^\n]*$"):
        read_arguments(["--config", str(tmp_path / "settings.toml")])
