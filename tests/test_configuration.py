from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from training.arguments import read_arguments
from training.configuration import Configuration, ConfigurationError


def test_options_go_before_the_file_and_the_file_before_defaults(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(
        'db = "folder"\nepochs = 7\nbatch_size = 3\n'
        'channels = [4, 8]\ndata_dir = "here"\nstrict = true\nlearning_rate = 1\n'
    )
    settings = read_arguments(["--config", str(file), "--batch-size", "5"]).settings
    assert (settings.epochs, settings.batch_size, settings.channels) == (7, 5, (4, 8))
    assert (settings.data_dir, settings.strict, settings.learning_rate) == (Path("here"), True, 1)
    assert settings.fine_tune_epochs == Configuration().fine_tune_epochs


def test_a_file_that_begins_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("epochs = 7\r\n", encoding="utf-8-sig")
    assert read_arguments(["--config", str(tmp_path / "run.toml")]).settings.epochs == 7


@pytest.mark.parametrize("option", ["--data-dir", "--manifest", "--cache-dir", "--out"])
def test_an_empty_path_is_not_the_folder_at_hand(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        read_arguments([option, ""])
    assert capsys.readouterr().err == f"train.py: {option}: must be a path; got ''\n"


def test_no_options_give_the_defaults() -> None:
    assert read_arguments(["--db", "emodb"]).settings == Configuration(db="emodb")


def test_the_demo_has_defaults_of_its_own_which_options_override() -> None:
    demo: dict[str, Any] = {"epochs": 20, "fine_tune_epochs": 24, "learning_rate": 0.002}
    assert read_arguments([]).settings == dataclasses.replace(Configuration(), **demo)
    assert read_arguments(["--epochs", "3"]).settings == dataclasses.replace(Configuration(), **(demo | {"epochs": 3}))


def test_every_setting_is_an_option() -> None:
    options = {
        "db": "savee", "data_dir": "d", "manifest": "m", "cache_dir": "c", "limit": 9, "strict": True,
        "clip_samples": 320,
        "scale": "corpus", "split": "speaker", "leave_out": "anna", "folds": "f", "fold": "1",
        "validate_on": "test", "channels": "2,3", "pooling": "max",
        "tied": True, "kernel_size": 5, "output": "linear", "initial": "he_normal", "residual_gain": 0.5, "epochs": 2,
        "fine_tune_epochs": 3,
        "batch_size": 5, "learning_rate": 0.1, "fine_tune_learning_rate": 0.2,
        "fine_tune_gain": 0.75, "schedule": "constant",
        "warm_up": 0.75, "clip": 4.5, "average": 0.25, "weight_decay": 0.3, "decay": "l2",
        "middle_weight": 0.4, "patience": 7,
        "monitor": "val_accuracy", "fine_tune_masks": True, "seed": 8, "device": "cpu",
        "gpu_memory": "8GB", "tf32": True, "half": True, "threads": 4,
        "out": "o", "force": True, "no_report": True, "checkpoint_every": 2.5,
    }  # fmt: skip
    assert list(options) == [field.name for field in dataclasses.fields(Configuration)]
    arguments = []
    for name, value in options.items():
        arguments += ["--" + name.replace("_", "-")] + ([] if value is True else [str(value)])
    settings = read_arguments(arguments).settings
    written = settings.written()
    whole = {name: str(Path(name[0]).absolute()) for name in ("manifest", "folds")}
    assert written == options | {"channels": [2, 3], "leave_out": ["anna"]} | whole
    assert json.loads(json.dumps(written)) == written
    for field in dataclasses.fields(Configuration):
        assert field.name == "pooling" or getattr(settings, field.name) != field.default, field.name


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"fine_tune_masks": True, "pooling": "fold"}, "fine_tune_masks needs --pooling max: a fold has no masks"),
        ({"middle_weight": 0.1, "pooling": "fold"}, "middle_weight needs --pooling max: a fold has no masks"),
        ({"initial": "isometric"}, "initial isometric needs --pooling fold: a max pool has no inverse to begin near"),
    ],
)
def test_what_a_pooling_has_not_is_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        Configuration(**settings)


def test_folds_have_defaults_of_their_own_which_options_override() -> None:
    settings = read_arguments(["--db", "emodb", "--pooling", "fold"]).settings
    assert (settings.initial, settings.residual_gain, settings.warm_up) == ("isometric", 0.0, 1.0)
    assert read_arguments(["--db", "emodb", "--pooling", "fold", "--warm-up", "0.5"]).settings.warm_up == 0.5


def test_a_run_of_version_0_1_goes_on_as_it_began() -> None:
    """Then gradients had any length, and phase 2 began with the filters of phase 1."""
    written = {
        name: value for name, value in Configuration().written().items() if name not in ("clip", "fine_tune_gain")
    }
    settings = Configuration.read(written)
    assert (settings.clip, settings.fine_tune_gain) == (0.0, 1.0)
    assert Configuration.read(Configuration().written()) == Configuration()


def test_several_corpora_and_speakers(tmp_path: Path) -> None:
    settings = read_arguments(["--db", "emodb", "savee", "--leave-out", "emodb/03", "savee/DC"]).settings
    assert (settings.db, settings.leave_out) == ("emodb+savee", ("emodb/03", "savee/DC"))
    assert Configuration.read(settings.written()) == settings
    file = tmp_path / "run.toml"
    file.write_text('db = "emodb+savee"\nleave_out = ["emodb/03", "savee/DC"]\n')
    assert read_arguments(["--config", str(file)]).settings == settings
    for db in ("emodb+wings", "emodb, savee"):
        with pytest.raises(ConfigurationError, match=f"db must be one of demo, emodb, .*; got {re.escape(repr(db))}"):
            Configuration(db=db)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("epoch = 3", "has an unknown setting epoch; did you mean epochs?"),
        ("batch-size = 3", "has an unknown setting batch-size; did you mean batch_size?"),
        ("[zzz]", "has an unknown setting zzz; known are db, data_dir"),
        (
            'db = "emdb"',
            "db must be one of demo, emodb, savee, ravdess, cremad, tess, folder, shards; got 'emdb'; did you mean",
        ),
        ('out = "a\\u0000b"', "out must be a path, which has no zero byte in it; got 'a\\x00b'"),
        ('data_dir = ""', "data_dir must be a path; got ''"),
        ("epochs = 3 # \0", "is not TOML: Found invalid character '\\x00'"),
        ("epochs = 2.5", "epochs must be an integer; got 2.5"),
        ("epochs = true", "epochs must be an integer; got True"),
        ("strict = 1", "strict must be true or false; got 1"),
        ('learning_rate = "fast"', "learning_rate must be a number; got 'fast'"),
        ('monitor = "luck"', "monitor must be one of val_loss, val_accuracy; got 'luck'"),
        ("channels = [1.5]", "channels must be a list of integers; got [1.5]"),
        ("weight_decay = -1", "weight_decay must be at least 0; got -1"),
        ("epochs = ", "is not TOML: Invalid value (at end of document). Write one setting a line, like epochs = 3"),
        ("epochs: 3", "is not TOML: Expected '=' after a key"),
    ],
)
def test_a_file_with_a_mistake_is_refused_with_a_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as error:
        read_arguments(["--config", str(file)])
    assert sentence in str(error.value)


def test_a_file_that_cannot_be_read_is_refused_in_words(tmp_path: Path) -> None:
    latin = tmp_path / "latin.toml"
    latin.write_bytes("# für\nepochs = 3".encode("latin-1"))
    for path, reason in (
        (tmp_path / "nope.toml", "nope.toml: there is no such file"),
        (tmp_path, " is a folder. Name a file in it"),
        (latin, "latin.toml is not TOML: byte 3 is not UTF-8. Write one setting a line, like epochs = 3"),
        (latin / "inside.toml", "inside.toml cannot be read: Not a directory"),
        (Path("/proc/self/mem"), "/proc/self/mem cannot be read: Input/output error"),
    ):
        with pytest.raises(ConfigurationError) as error:
            read_arguments(["--config", str(path)])
        assert str(error.value).startswith("--config: ") and str(error.value).endswith(reason)
        assert "Errno" not in str(error.value)


def test_a_setting_cannot_be_changed_after_the_fact() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Configuration().epochs = 3  # type: ignore[misc]
