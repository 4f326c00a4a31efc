"""The command of docs/classifier.md; its program is run by tests/test_block.py."""

from __future__ import annotations

import pytest

from docs.classifier import main, program


def test_the_page_defines_what_the_command_calls() -> None:
    assert {"prepare", "accuracy"} <= set(program())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["timit"], "classifier: corpus: there is no 'timit'; choose one of demo, emodb"),
        (["demo", "--epochs", "0"], "classifier: --epochs must be at least 1; got 0"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(arguments)
    except SystemExit as ended:
        code = int(str(ended.code))
    assert code == 2
    assert capsys.readouterr().err.startswith(sentence)
