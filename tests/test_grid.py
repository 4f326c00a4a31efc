"""The grids that a reader can change, in a real browser: every number on them is nn1d's, whatever is typed."""

from __future__ import annotations

import html
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import browser
from tests.grid import Values, by_nn1d

pytestmark = pytest.mark.commands

ROOT = Path(__file__).parents[1]
STATIC = ROOT / "docs" / "static"
PAGES = sorted((ROOT / "docs" / "gradients").glob("*.md"))


def specs(page: Path) -> list[dict[str, Any]]:
    return [json.loads(html.unescape(text)) for text in re.findall(r"data-lab='([^']*)'", page.read_text("utf-8"))]


CASES = {page.stem + "-2" * i: spec for page in PAGES for i, spec in enumerate(specs(page))}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser.chromium() as program:
        yield program


def page_with(folder: Path, spec: dict[str, Any]) -> str:
    style, script = ((STATIC / name).as_uri() for name in ("grid.css", "grid.js"))
    (folder / "page.html").write_text(
        f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>grid</title>
        <link rel="stylesheet" href="{style}"><script src="{script}"></script>
        <body><div data-lab="{html.escape(json.dumps(spec))}">no script</div></body></html>""",
        "utf-8",
    )
    return (folder / "page.html").as_uri()


def shown(tab: Any) -> dict[str, dict[int, float]]:
    """What the cells hold, in full: "backward:x" -> {place: value}."""
    rows = tab.evaluate(
        "[...document.querySelectorAll('td.lab-cell')].filter(td => 'value' in td.dataset)"
        ".map(td => [`${td.pass}:${td.array.name}`, td.index, Number(td.dataset.value)])"
    )
    cells: dict[str, dict[int, float]] = {}
    for name, place, value in rows:
        cells.setdefault(name, {})[place] = value
    return cells


# terms of formulas in which something has no name or no number
NAMELESS = """() => {
    const { lab } = document.querySelector("[data-lab]");
    return Object.values(lab.elements).filter((td) => td.array)
        .flatMap((td) => lab.explain(td.pass, td.array.name, td.index).terms)
        .map((one) => `${one.symbols} = ${one.numbers}`)
        .filter((text) => /undefined|NaN/.test(text));
}"""


def cell(tab: Any, key: str) -> Any:
    """The element of a cell such as forward:x:3."""
    return tab.evaluate_handle(f"document.querySelector('[data-lab]').lab.elements['{key}']").as_element()


def compare(tab: Any, spec: dict[str, Any], arrays: Values, dy: np.ndarray | None) -> None:
    values, gradients = by_nn1d(spec, arrays, dy)
    actual = shown(tab)
    expected = {f"forward:{name}": array for name, array in values.items()}
    constants = {op["in"][1] for op in spec["ops"] if op["kind"] in ("mse", "cross_entropy", "unpool", "dropout")}
    output = set() if dy is not None else {spec["output"]}  # a loss has no dy to show
    expected |= {f"backward:{name}": array for name, array in gradients.items() if name not in constants | output}
    assert set(actual) == set(expected)
    for name, array in expected.items():
        cells = [actual[name][place] for place in range(array.size)]
        np.testing.assert_allclose(cells, np.asarray(array, float).ravel(), atol=1e-9, err_msg=name)


@pytest.mark.parametrize("name", CASES)
def test_every_number_is_that_of_nn1d(name: str, chromium: Any, tmp_path: Path) -> None:
    """As the page stands, after random edits, and nothing is wrong until the reader breaks it."""
    spec = CASES[name]
    arrays = {array: np.array(one["data"], float) for array, one in spec["arrays"].items()}
    dy = np.array(spec["dy"], float) if "dy" in spec else None
    draw = random.Random(name)
    with browser.opened(chromium, page_with(tmp_path, spec), 400, "dark") as tab:
        compare(tab, spec, arrays, dy)
        assert tab.evaluate("document.documentElement.scrollWidth") <= 400
        assert tab.evaluate(browser.SMALL) == [], "too small for a finger"
        editable = [("forward", array, place) for array in arrays for place in range(arrays[array].size)]
        editable += [("backward", spec["output"], place) for place in range(dy.size if dy is not None else 0)]
        for step in range(6):
            kind, array, place = draw.choice(editable)
            value = draw.choice([-3.25, -1, 0.75, 2, 4, 11])
            cell(tab, f"{kind}:{array}:{place}").query_selector("input").fill(
                str(value).replace("-", "−" if step else "-")
            )
            target = dy if kind == "backward" else arrays[array]
            assert target is not None
            target.ravel()[place] = value
            compare(tab, spec, arrays, dy)
        assert tab.query_selector(".lab-check [data-verdict=wrong]") is None
        assert tab.evaluate(NAMELESS) == []
        tab.click("button:text-is('start again')")
        tab.check("input[type=checkbox]")
        assert tab.evaluate(NAMELESS) == []
        assert tab.query_selector(".lab-check [data-verdict=wrong]") is not None, "the mistake goes unseen"
        assert tab.query_selector("td.lab-wrong") is not None
        if name == "one-form":  # the check that is blind
            tab.click("button:text-is('dy = 1')")
            assert tab.query_selector(".lab-check [data-verdict=wrong]") is None


def test_every_page_on_gradients_has_one() -> None:
    assert [page.stem for page in PAGES if page.stem not in CASES] == []


def test_a_number_lights_up_what_it_is_made_of(chromium: Any, tmp_path: Path) -> None:
    with browser.opened(chromium, page_with(tmp_path, CASES["convolution"]), 1400, "light") as tab:
        cell(tab, "forward:y:4").hover()  # y[0, 2, 0]
        lit = set(tab.evaluate("[...document.querySelectorAll('.lab-lit')].map(td => td.ariaLabel)"))
        expected = {f"x[0, {i}, {c}]" for i in (1, 2, 3) for c in (0, 1)}
        expected |= {f"w[{k}, {c}, 0]" for k in range(3) for c in (0, 1)} | {"b[0]"}
        assert lit == expected
        formula = tab.inner_text(".lab-formula")
        assert "y[0, 2, 0] = x[0, 1, 0] · w[0, 0, 0] + " in formula
        assert formula.rstrip().endswith("= 1")
        # a term of the formula lights up its two numbers
        tab.locator(".lab-part").first.hover()
        terms = tab.evaluate("[...document.querySelectorAll('td.lab-term')].map(td => td.ariaLabel)")
        assert terms == ["x[0, 1, 0]", "w[0, 0, 0]"]
        # and a number that is given, where it goes
        cell(tab, "forward:x:4").query_selector("input").focus()
        lit = set(tab.evaluate("[...document.querySelectorAll('.lab-lit')].map(td => td.ariaLabel)"))
        assert lit == {f"y[0, {l}, {o}]" for l in (1, 2, 3) for o in (0, 1)}
        # at the end of the signal the filter stands on zeros that are no samples
        cell(tab, "forward:y:0").hover()
        assert tab.evaluate("document.querySelectorAll('.lab-outside.lab-lit').length") == 2


def test_the_keyboard_is_enough(chromium: Any, tmp_path: Path) -> None:
    """Tab to a grid, arrows within it, a number typed; the slider steps through forward and backward."""
    spec = CASES["convolution"]
    with browser.opened(chromium, page_with(tmp_path, spec), 400, "light") as tab:
        tab.keyboard.press("Tab")
        focused = "document.activeElement.ariaLabel"
        assert tab.evaluate(focused) == "x[0, 0, 0]"
        for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
            tab.keyboard.press(key)
        assert tab.evaluate(focused) == "x[0, 2, 1]"
        tab.keyboard.type("-4")
        arrays = {array: np.array(one["data"], float) for array, one in spec["arrays"].items()}
        arrays["x"][0, 2, 1] = -4
        compare(tab, spec, arrays, np.array(spec["dy"], float))
        for _ in range(4):
            tab.keyboard.press("Tab")
        assert tab.evaluate(focused) == "y[0, 0, 0]"
        tab.focus("input[type=range]")
        tab.keyboard.press("Home")
        assert set(shown(tab)) == {"forward:x", "forward:w", "forward:b", "backward:y"}
        tab.keyboard.press("ArrowRight")
        assert list(shown(tab)["forward:y"]) == [0]
        assert tab.inner_text(".lab-on") != ""
        tab.keyboard.press("End")
        assert len(shown(tab)["backward:x"]) == 10


def test_an_answer_is_judged_by_its_terms(chromium: Any, tmp_path: Path) -> None:
    """dx[0, 2, 0] = 1 + 3 + 0 + 9 - 27 + 81, from left to right: no two sums of these terms are the same."""
    dy = [[[0, 0], [1, 3], [0, 4.5], [27, 81], [0, 0]]]
    with browser.opened(chromium, page_with(tmp_path, CASES["convolution"] | {"dy": dy}), 400, "light") as tab:
        tab.select_option("select", "x")
        assert "backward:x" not in shown(tab)
        field = cell(tab, "backward:x:4").query_selector("input")

        def verdict(typed: float) -> str:
            field.fill(str(typed))
            return tab.inner_text(".lab-message").removeprefix("dx[0, 2, 0]: ")

        assert verdict(67) == "right"
        assert tab.evaluate("document.querySelectorAll('[data-verdict=right] input').length") == 1
        assert verdict(67 - 9) == "not 58. The term dy[0, 2, 1] · w[1, 0, 1] is missing"
        assert verdict(67 + 27) == "not 94. The term dy[0, 3, 0] · w[0, 0, 0] is missing"
        assert verdict(67 - 27) == "not 40. The term dy[0, 3, 0] · w[0, 0, 0] is in it twice"
        assert verdict(67 - 2 * 81) == "not −95. The term dy[0, 3, 1] · w[0, 0, 1] has the wrong sign"
        assert (
            verdict(67 - 9 - 81)
            == "not −23. The terms dy[0, 2, 1] · w[1, 0, 1] and dy[0, 3, 1] · w[0, 0, 1] are missing"
        )
        assert verdict(-67) == "not −67. All of it has the wrong sign"
        assert "common mistake" in verdict(-1 * 1 + 1 * 3 + 9 + 27 + 81)  # the taps in the order of forward
        assert verdict(7.5) == "not 7.5. It is a sum of 6 terms, 5 of them not 0"
        assert "= ?" in tab.inner_text(".lab-formula")
        assert "hidden" in tab.inner_text(".lab-check")
        # terms of the same size cannot be told apart
        cell(tab, "backward:y:2").query_selector("input").fill("3")
        cell(tab, "backward:x:4").query_selector("input").fill(str(69 - 3))
        assert "A term is missing: dy[0, 1, 0] · w[2, 0, 0] or dy[0, 1, 1] · w[2, 0, 1]" in tab.inner_text(
            ".lab-message"
        )


def test_what_is_no_number_is_named(chromium: Any, tmp_path: Path) -> None:
    spec = CASES["elu"]
    with browser.opened(chromium, page_with(tmp_path, spec), 400, "light") as tab:
        before = shown(tab)
        field = cell(tab, "forward:x:0").query_selector("input")
        field.fill("two")
        assert tab.inner_text(".lab-message") == "x[0, 0, 0]: needs a number, such as −2, 0.5 or 1/3; got two"
        assert shown(tab) == before
        field.evaluate("field => field.blur()")  # the old number comes back, and nothing is wrong with that one
        assert field.get_attribute("aria-invalid") is None
        field.fill("1e9")
        assert tab.inner_text(".lab-message") == "x[0, 0, 0]: needs a number from −1,000,000 to 1,000,000; got 1e9"
        field.fill("−2.5e−1")
        assert shown(tab)["forward:x"][0] == -0.25
        field.fill("-999999.25")
        assert field.evaluate("field => field.scrollWidth <= field.clientWidth"), "a number is cut"
        field.fill("1/4")
        assert shown(tab)["forward:y"][0] == 0.25
        tab.select_option("select", "x")
        answer = cell(tab, "backward:x:0").query_selector("input")
        answer.fill("abc")
        assert tab.inner_text(".lab-message") == "dx[0, 0, 0]: needs a number, such as −2, 0.5 or 1/3; got abc"
        tab.select_option("select", "")
        field.fill("0")  # α = 1/2: a corner, where backward and differences may differ
        assert "at a corner" in tab.inner_text(".lab-check")


def test_a_small_answer_is_judged_as_well(chromium: Any, tmp_path: Path) -> None:
    """dy[0, 0, 0] = 2/10 · 0.02: nearer to 0 than a cell is rounded, and 0 is wrong all the same."""
    with browser.opened(chromium, page_with(tmp_path, CASES["mse"]), 400, "light") as tab:
        cell(tab, "forward:y:0").query_selector("input").fill(str(CASES["mse"]["arrays"]["t"]["data"][0][0][0] + 0.02))
        tab.select_option("select", "y")
        field = cell(tab, "backward:y:0").query_selector("input")
        for typed, said in (("0", "is missing"), ("-0.004", "wrong sign"), ("0.004", "right")):
            field.fill(typed)
            assert tab.inner_text(".lab-message").endswith(said), typed


@pytest.mark.parametrize(
    ("name", "key", "typed"),
    [
        ("mse", "forward:y:5", "-999999"),  # its square drowns the others
        ("activation", "forward:x:4", "1000000"),
        ("README", "forward:x:0", "1000000"),  # a bend that is no corner
        ("one-number-2-2", "forward:b:0", "0"),  # ELU's slope goes on at 0, its bend does not
        ("residual-block", "forward:x:2", "-999999"),
        ("whole-network", "forward:t:0", "1000000"),
    ],
)
def test_no_number_makes_a_right_backward_wrong(name: str, key: str, typed: str, chromium: Any, tmp_path: Path) -> None:
    with browser.opened(chromium, page_with(tmp_path, CASES[name]), 400, "light") as tab:
        cell(tab, key).query_selector("input").fill(typed)
        assert "✗" not in tab.inner_text(".lab-check")
        assert "corner" not in tab.inner_text(".lab-check")


def test_a_step_beyond_all_numbers_is_not_taken(chromium: Any, tmp_path: Path) -> None:
    """And one that is no step."""
    with browser.opened(chromium, page_with(tmp_path, CASES["whole-network"]), 400, "light") as tab:
        rate = tab.query_selector("input[type=number]")
        for typed in ("-1", ""):
            rate.fill(typed)
            tab.click("button:text-is('20 steps')")
            assert tab.inner_text(".lab-message") == f"learning rate: needs a number above 0; got {typed or 'none'}"
        before = shown(tab)
        rate.fill("1e200")
        tab.click("button:text-is('20 steps')")
        assert tab.inner_text(".lab-message").startswith("Not taken: the next step leads beyond a million")
        assert shown(tab) == before
        assert "✗" not in tab.inner_text(".lab-check")


def test_a_rate_that_is_too_large_is_named_long_before_the_numbers_are_absurd(chromium: Any, tmp_path: Path) -> None:
    """mse of ten numbers: each step multiplies each error by 1 - 2/10 rate, so above 10 the loss grows."""
    with browser.opened(chromium, page_with(tmp_path, CASES["mse"]), 400, "light") as tab:
        for rate, is_said in (("9", False), ("11", True)):
            tab.click("button:text-is('start again')")
            tab.fill("input[type=number]", rate)
            for _ in range(3):
                tab.click("button:text-is('a step downhill')")
            assert ("the learning rate is too large" in tab.inner_text(".lab-message")) == is_said, rate
        for _ in range(20):
            tab.click("button:text-is('20 steps')")
        assert "the learning rate is too large" in tab.inner_text(".lab-message")
        cells = [abs(value) for places in shown(tab).values() for value in places.values()]
        assert max(cells) <= 1e12  # the squares of what can be typed


@pytest.mark.parametrize("name", [name for name, spec in CASES.items() if "train" in spec])
def test_a_loss_is_seen_falling(name: str, chromium: Any, tmp_path: Path) -> None:
    with browser.opened(chromium, page_with(tmp_path, CASES[name]), 400, "light") as tab:
        tab.click("button:text-is('20 steps')")
        losses = tab.evaluate("document.querySelector('[data-lab]').lab.losses")
        assert len(losses) == 21
        assert losses[-1] < losses[0] / 2
        assert len(tab.get_attribute(".lab-fall", "points").split()) == 21


def test_without_a_script_a_sentence_stands_there(chromium: Any, tmp_path: Path) -> None:
    context = chromium.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(page_with(tmp_path, CASES["mse"]))
    assert tab.inner_text("body") == "no script"
    context.close()
