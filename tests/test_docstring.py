"""Docstrings of everything that the reference shows say what they must: in the form that CONTRIBUTING.md gives."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nn1d
from docs.docstring import is_equation, latex, paragraphs, rewrite, sections
from docs.equation import mathml

ROOT = Path(__file__).parents[1]
ORDER = [
    "Parameters", "Attributes", "Shapes", "Returns", "Range", "Gradient", "Cache", "Raises", "Source", "Examples",
]  # fmt: skip
LAYERS = [
    "Conv1d", "ConvTranspose1d", "MaxPool1d", "MaxUnpool1d", "Upsample1d", "Fold1d", "Unfold1d", "ELU", "HardSigmoid",
    "ReLU", "LeakyReLU", "Sigmoid", "Tanh", "Linear", "Softmax", "AvgPool1d", "GlobalAveragePool1d", "LayerNorm",
    "Dropout", "ResidualBlock", "Sequential",
]  # fmt: skip
CHECKS = {  # what raises for a function that calls it
    "require": "ShapeError", "require_signal": "ShapeError", "require_floats": "ShapeError",
    "check_waveforms": "ValueError", "check_rate": "ValueError",
}  # fmt: skip


def shown() -> list[str]:
    """The names in docs/api/."""
    pages = (ROOT / "docs" / "api").glob("*.md")
    return sorted({name for page in pages for name in re.findall(r"\.\. auto\w+:: (\S+)", page.read_text("utf-8"))})


def find(name: str) -> Any:
    """The object of a dotted name."""
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(module), last)


def parts(item: Any) -> dict[str, list[str]]:
    """The sections of a docstring; its summary and prose are under ""."""
    return dict(sections((inspect.getdoc(item) or "").splitlines()))


def described(lines: list[str]) -> set[str]:
    """The names in a section of parameters or errors."""
    heads = [line.split(" : ")[0] for line in lines if line.strip() and not line.startswith(" ")]
    return {name.strip(" *") for head in heads for name in head.split(",")}


def raised(function: Any) -> set[str]:
    """Names of the errors that the body of a function raises, by itself or by a check that it calls."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    errors = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            errors.add(ast.unparse(node.exc.func))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in CHECKS:
            errors.add(CHECKS[ast.unparse(node.func)])
    return errors


def is_error(item: Any) -> bool:
    return isinstance(item, type) and issubclass(item, BaseException)


def test_the_reference_shows_all_of_nn1d() -> None:
    names = set(shown())
    assert {f"nn1d.{name}" for name in nn1d.__all__ if name != "initial"} <= names
    functions = [name for name, item in vars(nn1d.initial).items()
                 if inspect.isfunction(item) and item.__module__ == "nn1d.initial"]  # fmt: skip
    assert {f"nn1d.initial.{name}" for name in functions} <= names
    assert len(names) > 90


def test_every_layer_is_known_to_these_tests() -> None:
    layers = [name for name in nn1d.__all__ if hasattr(getattr(nn1d, name), "forward") and name != "Layer"]
    assert sorted(layers) == sorted(LAYERS)


@pytest.mark.parametrize("name", shown())
def test_sections_are_known_and_in_order(name: str) -> None:
    titles = [title for title in parts(find(name)) if title]
    assert [title for title in titles if title not in ORDER] == []
    assert titles == sorted(titles, key=ORDER.index)
    assert all(lines and any(line.strip() for line in lines) for title, lines in parts(find(name)).items() if title)


@pytest.mark.parametrize("name", shown())
def test_a_docstring_begins_with_one_sentence(name: str) -> None:
    summary = paragraphs(parts(find(name))[""])[0]
    assert len(summary) == 1
    assert re.search(r"[.:]$", summary[0])


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_has_all_that_applies(name: str) -> None:
    layer = getattr(nn1d, name)
    docstring = parts(layer)
    assert any(is_equation(paragraph) for paragraph in paragraphs(docstring[""])), "no equation"
    taken = list(inspect.signature(layer).parameters)
    needed = {"Shapes", "Gradient", "Cache", "Raises"} | ({"Parameters"} if taken else set())
    needed |= set() if name == "Sequential" else {"Source"}  # nobody's
    assert needed <= set(docstring), f"{needed - set(docstring)} missing"
    text = " ".join(docstring["Gradient"])
    assert re.search(r"\bdx\b", text)
    if name.startswith("Conv"):
        assert "dw[" in text
        assert "db[" in text
    method = inspect.getsource(layer.backward)
    assert inspect.getdoc(layer.forward)
    assert '"""' in method


@pytest.mark.parametrize("name", [name for name in shown() if callable(find(name)) and not is_error(find(name))])
def test_parameters_are_those_of_the_signature(name: str) -> None:
    """A section of parameters names all of them and no others; without one, the rest of the docstring speaks of each.

    A name that carries its unit needs no more, and a generator or its seed is the same everywhere.
    """
    item = find(name)
    if getattr(item, "_is_protocol", False):  # nobody calls it
        return
    parameters = set(inspect.signature(item).parameters)
    docstring = parts(item)
    if "Parameters" in docstring:
        assert described(docstring["Parameters"]) == parameters
        return
    spoken = " ".join(line for lines in docstring.values() for line in lines)
    plain = {each for each in parameters if each.endswith("_hz") or each in ("rng", "seed")}
    assert [each for each in parameters - plain if not re.search(rf"\b{each}\b", spoken) and not is_plain(item)] == []


def is_plain(item: Any) -> bool:
    """A tuple of named values, whose comments in the source say what each is."""
    return isinstance(item, type) and issubclass(item, tuple)


@pytest.mark.parametrize("name", [name for name in shown() if inspect.isfunction(find(name))])
def test_errors_are_named(name: str) -> None:
    """Every error that a function raises in its own lines is in its docstring."""
    function = find(name)
    assert raised(function) <= described(parts(function).get("Raises", []))


@pytest.mark.parametrize("name", [name for name in shown() if inspect.isclass(find(name)) and not is_error(find(name))])
def test_errors_of_a_class_are_named(name: str) -> None:
    """In the docstring of the class, or of the method that raises."""
    kind = find(name)
    class_errors = described(parts(kind).get("Raises", []))
    for title, method in vars(kind).items():
        if title.startswith("_") and title != "__init__":
            continue
        function = method.__func__ if isinstance(method, classmethod) else method
        if inspect.isfunction(function) and function.__module__ == kind.__module__ and is_written(function):
            assert raised(function) <= class_errors | described(parts(function).get("Raises", [])), function


def is_written(function: Any) -> bool:
    """Whether a method stands in a file; a dataclass makes some of its own."""
    try:
        return "def " in inspect.getsource(function)
    except (OSError, TypeError):
        return False


@pytest.mark.parametrize("name", [name for name in shown() if inspect.isfunction(find(name))])
def test_arrays_have_shapes(name: str) -> None:
    """A function that takes or returns arrays says of what shape."""
    hints = {str(hint) for hint in inspect.get_annotations(find(name)).values()}
    if not any(re.search(r"ndarray|\bArray\b", hint) for hint in hints):
        return
    text = inspect.getdoc(find(name)) or ""
    assert re.search(r"\([^()]*,[^()]*\)|\bshape\b", text), "no shape"


@pytest.mark.parametrize("name", [name for name in shown() if inspect.isfunction(find(name))])
def test_rates_and_times_carry_their_unit(name: str) -> None:
    for parameter in inspect.signature(find(name)).parameters:
        assert not re.fullmatch(r"(sample_)?rate|sr|fs|duration|time|frequency|gain|level", parameter), parameter


def test_docstrings_are_escaped_for_the_site() -> None:
    assert rewrite(["* a *b*", "  goes on", "* c"]) == [r"* a \*b\*", "  goes on", "* c", ""]  # a list stays one
    lines = ["Half of λ|p|² of `x`, a*b and f_.", "", "y[n, l] = a * b", "", "Shapes", "------", "x (N,) -> y (N,); z"]
    assert rewrite(lines) == [
        r"Half of λ\|p\|² of ``x``, a\*b and f\_.", "",
        ".. code-block:: text", "   :class: equation", "", "   y[n, l] = a * b", "",
        "Shapes", "------", "| x (N,) -> y (N,)", "| z", "",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "y[n, l] = b[o] + Σ_{k,c} x[n, s·l + k] · w[k, c]",
            r"y[n, l] = b[o] + \sum_{k,c} x[n, s \cdot l + k]  \cdot  w[k, c]",
        ),
        ("dx = 0.2·dy where 0 < y < 1, else 0", r"dx = 0.2 \cdot dy\;\text{where}\;0 < y < 1,\;\text{else}\;0"),
        ("y = max_i mask[i],    i < f", r"y = \operatorname{max}_i \mathit{mask}[i], \qquad i < f"),
        ("y = x[i] where mask[i], 0 elsewhere", r"y = x[i] \;\text{where}\;\mathit{mask}[i], 0\;\text{elsewhere}"),
        ("y = x[i] at the i that it marks", r"y = x[i]\;\text{at the}\;i\;\text{that it marks}"),
        ("dx = dy + F'(x)ᵀ dy", "dx = dy + F'(x)^T dy"),
        ("p = p - η·m̂ / (√v̂ + ε)", ""),  # signs without a command
        ("the sum of each f samples", ""),
    ],
)
def test_equations_of_docstrings_become_formulas(line: str, expected: str) -> None:
    assert latex(line) == expected
    if expected:
        assert mathml(expected, display=True).startswith("<math")


def test_sources_of_docstrings_are_links() -> None:
    lines = ["Source", "------", "the paper's Eq. 1; Dumoulin and Visin 2016, arXiv:1603.07285."]
    assert rewrite(lines)[2] == (
        "`the paper <https://doi.org/10.4108/eai.6-6-2021.2307539>`__'s Eq. 1; Dumoulin and Visin 2016, "
        "`arXiv:1603.07285 <https://arxiv.org/abs/1603.07285>`__."
    )


def test_faults_are_found() -> None:
    """The readers of this file see what they look for."""

    def wrong(x: np.ndarray) -> None:
        """Do it.

        Raises
        ------
        TypeError
            Never.
        """
        if x.size:
            raise ValueError("no")
        raise nn1d.ShapeError("no")

    assert raised(wrong) == {"ValueError", "nn1d.ShapeError"}
    assert described(parts(wrong)["Raises"]) == {"TypeError"}
    assert described(["a, b : int", "    text", "*c : float", "d"]) == {"a", "b", "c", "d"}
