"""The exercises: a blank is named in one sentence, the solution passes, and a wrong answer does not."""

from __future__ import annotations

import re
import textwrap
import warnings
from pathlib import Path

import pytest

from nn1d.gradcheck import main

ROOT = Path(__file__).parents[1]
EXERCISES = sorted((ROOT / "exercises").glob("*.py"))
BLANK = re.compile(r"^( *)raise NotImplementedError\(.*\)\n", re.MULTILINE)

SOLUTIONS = {  # file -> what belongs into each blank, and an answer that looks right
    "square": (["dx = 2 * x * dy"], ["dx = x * dy"]),
    "gain": (["dx = g * dy\ndg = (dy * x).sum(axis=(0, 1))"], ["dx = g * dy\ndg = (dy * x).mean(axis=(0, 1))"]),
    "mean_pool": (["dx = np.repeat(dy, self.size, axis=1) / self.size"], ["dx = np.repeat(dy, self.size, axis=1)"]),
    "tanh": (["dx = dy * (1 - y * y)"], ["dx = dy * (1 - y)"]),
    "convolution_dw": (
        ['dw[k] = np.einsum("nlc,nlo->co", x[:, k : k + length], dy)'],
        ['dw[k] = np.einsum("nlc,nlo->co", x[:, :length], dy)'],
    ),
    "convolution_dx": (
        [
            "dx = np.zeros_like(padded)\nfor k in range(len(w)):\n    dx[:, k : k + length] += dy @ w[k].T\n"
            "dx = dx[:, self.padding : dx.shape[1] - self.padding]"
        ],
        [
            "dx = np.zeros_like(padded)\nfor k in range(len(w)):\n    dx[:, k : k + length] += dy @ w[-1 - k].T\n"
            "dx = dx[:, self.padding : dx.shape[1] - self.padding]"
        ],
    ),
    "strided": (
        [
            "dx, dw = np.zeros_like(x), np.zeros_like(w)\nfor k in range(len(w)):\n"
            "    part = dy[:, k : k + s * (x.shape[1] - 1) + 1 : s]\n    dx += part @ w[k]\n"
            '    dw[k] = np.einsum("nlo,nlc->oc", part, x)'
        ],
        [
            "dx, dw = np.zeros_like(x), np.zeros_like(w)\nfor k in range(len(w)):\n"
            "    part = dy[:, k : k + x.shape[1]]\n    dx += part @ w[k]\n"
            '    dw[k] = np.einsum("nlo,nlc->oc", part, x)'
        ],
    ),
    "layer_norm": (
        [
            "dz = g * dy\ndx = dz - dz.mean(axis=2, keepdims=True) - z * (dz * z).mean(axis=2, keepdims=True)\n"
            "dx *= scale\ndg, db = (dy * z).sum(axis=(0, 1)), dy.sum(axis=(0, 1))"
        ],
        ["dz = g * dy\ndx = dz * scale\ndg, db = (dy * z).sum(axis=(0, 1)), dy.sum(axis=(0, 1))"],
    ),
    "softmax_cross_entropy": (
        [
            "x = x - x.max(axis=1, keepdims=True)\ntotal = np.exp(x).sum(axis=1, keepdims=True)\n"
            "p = np.exp(x) / total\nloss = -(x - np.log(total))[rows, t].mean()",
            "dx = p.copy()\ndx[rows, t] -= 1\ndx *= dy[0] / len(p)",
        ],
        [
            "total = np.exp(x).sum(axis=1, keepdims=True)\np = np.exp(x) / total\nloss = -np.log(p[rows, t]).mean()",
            "dx = p.copy()\ndx[rows, t] -= 1\ndx *= dy[0] / len(p)",
        ],
    ),
}


def filled(path: Path, answers: list[str]) -> str:
    """The file with an answer in each blank."""
    text = path.read_text("utf-8")
    for answer in answers:
        text = BLANK.sub(lambda blank, answer=answer: textwrap.indent(answer, blank[1]) + "\n", text, count=1)  # type: ignore[misc]
    assert not BLANK.search(text), "a blank is left"
    return text


def test_every_exercise_has_a_solution_and_a_line_in_the_list() -> None:
    assert [path.stem for path in EXERCISES] == sorted(SOLUTIONS)
    listed = re.findall(r"^\| (★+) \| `(\w+)\.py`", (ROOT / "exercises" / "README.md").read_text("utf-8"), re.MULTILINE)
    assert {(stars, name) for stars, name in listed} == {
        (path.read_text("utf-8").split('"""')[1].split()[0], path.stem) for path in EXERCISES
    }
    assert {len(stars) for stars, _ in listed} == {1, 2, 3}


@pytest.mark.parametrize("path", EXERCISES, ids=lambda path: path.stem)
def test_a_blank_is_named_with_its_line(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(path)]) == 1
    line = (
        path.read_text("utf-8")
        .splitlines()
        .index(next(line for line in path.read_text("utf-8").splitlines() if "NotImplementedError" in line))
    )
    said = capsys.readouterr().out.splitlines()[-1]
    assert re.search(rf": (forward|backward) has a blank in line {line + 1} of {path.name}: write ", said), said


@pytest.mark.parametrize("path", EXERCISES, ids=lambda path: path.stem)
def test_the_solution_passes_and_a_likely_mistake_does_not(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    right, wrong = SOLUTIONS[path.stem]
    (tmp_path / path.name).write_text(filled(path, right), "utf-8")
    assert main([str(tmp_path / path.name)]) == 0
    rows = capsys.readouterr().out
    assert re.search(r"^(\d) of \1 right$", rows.splitlines()[-1])
    assert "Conv1d" not in rows, "a file is checked alone"
    (tmp_path / path.name).write_text(filled(path, wrong), "utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an answer that overflows
        assert main([str(tmp_path / path.name)]) == 1
    assert "WRONG" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("dx = 2 * X * dy", "Square: backward fails in line 19 of square.py: NameError: name 'X' is not defined"),
        ("dx = None", "the gradient of input is NoneType, not float64 (2, 5, 3)  WRONG"),
        ("return 2 * x * dy", "backward must return dx and the gradients of the parameters; got one ndarray  WRONG"),
    ],
)
def test_a_slip_is_one_line(answer: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "square.py").write_text(filled(ROOT / "exercises" / "square.py", [answer]), "utf-8")
    assert main([str(tmp_path / "square.py")]) == 1
    assert capsys.readouterr().out.splitlines()[1].endswith(said)


def test_a_loss_and_a_gradient_that_fit_each_other_may_be_wrong_together(tmp_path: Path) -> None:
    """A sum in place of the mean, in both."""
    loss, dx = SOLUTIONS["softmax_cross_entropy"][0]
    path = tmp_path / "softmax_cross_entropy.py"
    answers = [loss.replace("mean()", "sum()"), dx.replace("/ len(p)", "")]
    path.write_text(filled(ROOT / "exercises" / path.name, answers), "utf-8")
    assert main([str(path)]) == 1


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("absent.py", "cannot read .*absent.py: .*No such file"),
        ("broken.py", "cannot read .*broken.py: .*broken.py, line 1"),
        ("empty.py", r".*empty.py must define gradient_cases\(rng\)"),
    ],
)
def test_a_file_that_cannot_be_checked_is_named(
    name: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.py").write_text("def (\n", "utf-8")
    (tmp_path / "empty.py").write_text("", "utf-8")
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path / name)])
    assert ended.value.code == 2
    assert re.search(rf"gradcheck: {sentence}", capsys.readouterr().err)
