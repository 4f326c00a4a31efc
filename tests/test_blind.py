"""Blind listening in the listening page: ABX, and the rating after MUSHRA."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from tests.browser import RATIOS, SMALL
from tests.command import rows

pytestmark = pytest.mark.commands


def test_guessing_has_the_probabilities_of_a_binomial(wide: Any) -> None:
    for right, trials in ((12, 16), (0, 5), (5, 5), (9, 16), (60, 100), (1, 1)):
        expected = scipy.stats.binomtest(right, trials, alternative="greater").pvalue
        assert wide.evaluate("([right, trials]) => guessing(right, trials)", [right, trials]) == pytest.approx(expected)


def test_the_anchor_is_a_low_pass_as_bs_1534_asks(wide: Any) -> None:
    impulse = "() => [...lowPassed(Float32Array.from({ length: 801 }, (_, i) => i === 400), 16000)]"
    response = np.array(wide.evaluate(impulse))
    assert response.argmax() == 400  # no delay
    hz, level_db = np.arange(401) * 16_000 / 801, 20 * np.log10(abs(np.fft.rfft(response)))
    assert abs(level_db[hz <= 3500]).max() < 0.1
    assert level_db[hz >= 4000].max() < -25
    assert level_db[hz >= 4500].max() < -50


LEVELS = """async () => {
    const clip = data.clips[data.chosen[0]];
    const player = new BlindPlayer(clip, [0, 1, 2, -1], () => {});
    await player.load(new OfflineAudioContext(1, 1, 16000));
    return player.buffers.map((buffer, i) => {
        const sound = buffer.getChannelData(0).map((y) => y * player.levels[i]);
        return [Math.sqrt(sound.reduce((sum, y) => sum + y * y, 0) / sound.length), Math.max(...sound.map(Math.abs))];
    });
}"""


def test_blind_versions_have_one_level_and_none_clips(wide: Any) -> None:
    levels, peaks = np.array(wide.evaluate(LEVELS)).T
    assert levels == pytest.approx(levels[0], rel=1e-4)
    assert peaks.max() <= 1 + 1e-6
    louder = "() => matched([[0.5, -0.5], [0.1, -0.9], [0, 0]].map((sound) => Float32Array.from(sound)))"
    gains = wide.evaluate(louder)
    assert gains == pytest.approx([1, 0.5 / math.sqrt(0.41), 1])
    assert wide.evaluate("() => matched([[0.9, -0.9], [0, 1]].map((sound) => Float32Array.from(sound)))") == (
        pytest.approx([1 / (0.9 * math.sqrt(2)), 1])
    )


def saved(page: Any, name: str) -> list[dict[str, str]]:
    """The table that the page saves."""
    with page.expect_download() as waiting:
        page.locator("#blind a", has_text=name).click()
    assert waiting.value.suggested_filename == name
    return rows(Path(waiting.value.path()))


def test_an_abx_test_by_keys_alone(page: Any) -> None:
    page.locator("#blind [name=count]").fill("5")
    page.locator("#blind [name=kind]").focus()
    page.locator("#blind [type=submit]").press("Enter")
    card = page.locator("#blind .card")
    drawn = page.evaluate("session.trials.map(([clip, order]) => [clip.name, order])")
    for k, (name, (a, _, x)) in enumerate(drawn):
        assert card.locator("h3").inner_text() == f"Trial {k + 1} of 5: {name}"
        assert card.get_by_text("X is A").is_disabled()  # before X has been heard
        page.keyboard.press("a")
        page.keyboard.press("x")
        assert card.locator("[aria-pressed=true]").all_inner_texts() == ["Play X"]
        right = "AB"[x != a]
        wrong = "AB"[x == a]
        card.get_by_text(f"X is {wrong if k == 4 else right}").press("Enter")
    assert card.inner_text().startswith("Result\n\n4 of 5 right, p = 0.19 (binomial, one-sided): guessing")
    assert not page.evaluate("sounding.playing")
    table = saved(page, "ABX.csv")
    assert [(row["clip"], row["right"]) for row in table] == [(n, str(int(k < 4))) for k, (n, _) in enumerate(drawn)]
    titles = ["original", "after pre-training", "after fine-tuning"]
    assert [row["X"] for row in table] == [titles[order[2]] for _, order in drawn]
    assert {(row["A"], row["B"]) for row in table} == {("original", "after pre-training")}
    assert page.evaluate(RATIOS) == []
    assert page.evaluate(SMALL) == []


def test_a_rating_with_a_hidden_reference_and_an_anchor(wide: Any) -> None:
    wide.locator("#blind [name=kind]").select_option("rating")
    wide.locator("#blind [name=clip]").select_option(index=2)
    assert not wide.locator("#blind [name=count]").is_visible()
    wide.locator("#blind [type=submit]").click()
    card = wide.locator("#blind .card")
    order = wide.evaluate("session.trials[0][1]")
    assert (order[0], sorted(order[1:])) == (0, [-1, 0, 1, 2])
    assert card.get_by_text("Next").is_disabled()
    for key in "01234":
        wide.keyboard.press(key)
    entered = {0: 85, 1: 60, 2: 40, -1: 20}
    for k, version in enumerate(order[1:]):
        card.locator("input").nth(k).fill(str(entered[version]))
    card.get_by_text("Next").click()
    assert "less than 90 in 1 of 1 trials" in card.inner_text()
    ratings = {row["version"]: (row["position"], row["rating"]) for row in saved(wide, "rating.csv")}
    titles = {0: "original", 1: "after pre-training", 2: "after fine-tuning", -1: "low-pass anchor"}
    assert ratings == {titles[v]: (str(k + 1), str(entered[v])) for k, v in enumerate(order[1:])}


def test_a_rating_begins_whatever_stands_in_the_fields_that_it_does_not_have(wide: Any) -> None:
    """A browser sends no form with a wrong number in it, and cannot show what is wrong with a hidden one."""
    wide.locator("#blind [name=count]").fill("")
    wide.locator("#blind [name=kind]").select_option("rating")
    wide.locator("#blind [type=submit]").click()
    assert wide.locator("#blind .card h3").inner_text().startswith("Trial 1 of ")
    wide.locator("#blind [name=kind]").select_option("ABX")
    wide.locator("#blind [name=count]").fill("3")
    wide.locator("#blind [type=submit]").click()
    assert wide.locator("#blind .card h3").inner_text().startswith("Trial 1 of 3: ")


def test_what_is_drawn_is_drawn_evenly(wide: Any) -> None:
    orders = wide.evaluate("Array.from({ length: 600 }, () => shuffled([0, 1, 2]).join(''))")
    counts = {order: orders.count(order) for order in set(orders)}
    assert len(counts) == 6 and min(counts.values()) > 50  # 100 each: below 51 once in ten million
    xs = wide.evaluate("abx.trials([0], 400).map(([, order]) => order[2])")
    assert 130 < xs.count(0) < 270  # 200 expected, 7 standard deviations
