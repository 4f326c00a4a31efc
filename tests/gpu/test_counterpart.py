"""A reader of a kernel, of its launch or of its CUDA text, finds the NumPy function that it stands for."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest

from nn1d import cuda
from nn1d.dispatch import FORMS

FORMS_OF_A_GPU = [(name, form) for name in FORMS for form in FORMS[name] if form.__module__.startswith(cuda.__name__)]


def counterparts(text: str) -> list[Callable[..., Any]]:
    """The functions of nn1d or NumPy that a text says it stands for; a name without a function is an error."""
    functions = []
    for said in re.findall(r"[Ss]tands for ([^:]*)", text):
        for module, function in re.findall(r"\b(nn1d\.\w+|numpy)\.(\w+)", said):
            functions.append(getattr(importlib.import_module(module), function))
    return functions


@pytest.mark.parametrize(("name", "form"), FORMS_OF_A_GPU, ids=[name for name, _ in FORMS_OF_A_GPU])
def test_a_launch_names_the_function_of_numpy(name: str, form: Callable[..., Any]) -> None:
    assert [function.__name__ for function in counterparts(form.__doc__ or "")] == [name]


def test_the_kernels_name_the_functions_of_numpy() -> None:
    named = {}
    for path in files(cuda).iterdir():
        if path.name.endswith(".cu"):
            comments = "".join(re.findall(r"^//.*\n", path.read_text("utf-8"), re.M)).replace("\n// ", " ")
            named[path.name] = {function.__name__ for function in counterparts(comments)}
    assert all(named.values()), named
    assert set().union(*named.values()) == {"sum", *(name for name, _ in FORMS_OF_A_GPU)}
