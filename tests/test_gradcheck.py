"""python -m nn1d.gradcheck: the table of every layer, layers of one's own, and files that have none."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nn1d.gradcheck import main

ROOT = Path(__file__).parents[1]


def run(*arguments: str, path: Path = ROOT, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-m", "nn1d.gradcheck", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_table_of_every_layer() -> None:
    result = run()
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == ""
    for layer in (
        "Conv1d",
        "ConvTranspose1d",
        "MaxPool1d",
        "MaxUnpool1d",
        "Upsample1d",
        "Fold1d",
        "Unfold1d",
        "ELU",
        "HardSigmoid",
        "ResidualBlock",
        "Sequential",
        "mse",
        "Autoencoder, 30 convolutions, hard_sigmoid",
        "Autoencoder, 30 convolutions, linear",
    ):
        assert re.search(rf"^{layer}.* input +\d\.\de[+-]\d\d +\d+\.\d+$", result.stdout, re.MULTILINE), layer
    # every one of the 60 parameters has a row, twice
    assert (
        len(re.findall(r"^ +(en|de)coder\.\d\.\S+ +\d\.\de[+-]\d\d *$", result.stdout, re.MULTILINE))
        == 2 * 60 + 60 + 55
    )  # tied: 5 once
    assert "WRONG" not in result.stdout
    assert result.stdout.splitlines()[-1] == "37 of 37 right"


MINE = """
import numpy as np
from nn1d import Conv1d, Upsample1d


class Broken(Conv1d):
    def backward(self, dy, cache):
        dx, grads = super().backward(dy[::-1], cache)
        return dx, grads


class Leaky:
    parameters = {}

    def forward(self, x):
        y = np.where(x > 0, x, 0.1 * x)
        return y, y

    def backward(self, dy, cache):
        return np.where(dy > 0, dy, 0.1 * dy), {}  # the sign of the wrong array


class Loses(Conv1d):
    def backward(self, dy, cache):
        return super().backward(dy, cache)[0], {}


def gradient_cases(rng):
    yield "my layer that looks at dy", Leaky(), rng.standard_normal((2, 12, 3))
    yield "my good layer", Upsample1d(2), rng.standard_normal((2, 3, 1))
    yield "my broken layer", Broken(2, 3, 3, rng=rng, dtype=np.float64), rng.standard_normal((2, 9, 2))
    yield "my forgetful layer", Loses(2, 3, 3, rng=rng, dtype=np.float64), rng.standard_normal((2, 9, 2))
"""


def test_a_layer_of_ones_own_that_is_wrong_away_from_the_checkout(tmp_path: Path) -> None:
    (tmp_path / "my_layers.py").write_text(MINE)
    (tmp_path / "nn1d").symlink_to(ROOT / "nn1d")
    (tmp_path / "models").mkdir()  # hides those of the checkout, which an editable installation makes known
    (tmp_path / "models" / "__init__.py").touch()
    result = run("my_layers", path=tmp_path, cwd=tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    rows = result.stdout.splitlines()
    mine = next(i for i, row in enumerate(rows) if row.startswith("my layer that looks at dy"))
    assert not any("WRONG" in row for row in rows[:mine])
    assert "WRONG" not in rows[mine + 2] + rows[mine + 3]  # my good layer
    assert re.search(r"^my good layer +input .*\d$", result.stdout, re.MULTILINE)
    # x is the first thing that the case draws, as dy is of the check: they must not be the same numbers
    assert re.search(r"^my layer that looks at dy +input .*WRONG$", result.stdout, re.MULTILINE)
    assert re.search(r"^my broken layer +input .*WRONG$", result.stdout, re.MULTILINE)
    assert re.search(
        r"^my forgetful layer +backward returned no gradient for weight +WRONG$", result.stdout, re.MULTILINE
    )
    assert rows[-3:] == [
        "models.autoencoder is not here and was not checked: run from the checkout",
        "models.folded is not here and was not checked: run from the checkout",
        "34 of 37 right",
    ]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('yield "mine", Conv1d(2, 3, 3, rng=0), x', "mine: check_gradients: weight of mine must be float64"),
        ('yield "mine", Conv1d(4, 3, 3, rng=0, dtype=float), x', "mine: Conv1d(4 -> 3, k=3): x must be (N, L, 4)"),
        ('yield "mine", ELU(), x.astype(np.float32)', "mine: check_gradients: input of mine must be float64"),
        (
            'yield "mine", MaxUnpool1d(2), x',
            "mine: MaxUnpool1d.forward() missing 1 required positional ",
        ),
    ],
)
def test_a_case_that_does_not_fit_is_one_line(
    body: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([cases(tmp_path, body)]) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith(said)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('yield "mine", ELU()', "got ('mine', ELU(1))"),
        ("pass", "it returned NoneType"),
        ("yield from ()", "it yielded nothing"),
    ],
)
def test_cases_that_are_none_are_a_mistake(
    body: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No case at all too: exit 0 says that an exercise is done."""
    with pytest.raises(SystemExit) as ended:
        main([cases(tmp_path, body)])
    assert ended.value.code == 2
    sentence = f"gradcheck: mine: gradient_cases(rng) must yield (name, layer, x, *context); {said}\n"
    assert capsys.readouterr().err == sentence


def cases(folder: Path, body: str) -> str:
    """A file whose gradient_cases does that with x, an input of two channels."""
    head = "import numpy as np\nfrom nn1d import ELU, Conv1d, MaxUnpool1d\n\n\ndef gradient_cases(rng):\n"
    path = folder / "mine.py"
    path.write_text(f"{head}    x = rng.standard_normal((2, 5, 2))\n    {body}\n")
    return str(path)


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        ("no_such_layers", "gradcheck: cannot import no_such_layers: No module named 'no_such_layers'\n"),
        ("json", "gradcheck: json must define gradient_cases(rng), see python -m pydoc nn1d.gradcheck\n"),
    ],
)
def test_a_module_that_cannot_be_used(module: str, sentence: str) -> None:
    result = run(module)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", sentence)
