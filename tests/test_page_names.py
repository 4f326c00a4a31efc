"""The listening page of clips with odd names: nothing is wider than a phone, and no name acts on what is around it."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from report.listening import publish
from speech.clip import Clips
from speech.split import Split
from tests.browser import opened, wait_for
from training.data import prepare_again
from training.run_folder import RunFolder

NAMES = (
    "n" * 300,
    " %<b>x</b><script>broken = true</script>&amp;\"'",
    "a\x01b\x1b[31mc\u202ed\u200fe",
    "שלום" * 40,
)


@pytest.fixture(scope="module")
def odd(listened: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run whose clips, of which only a few are left, have other names, labels, speakers and texts."""
    path = Path(shutil.copytree(listened, tmp_path_factory.mktemp("odd") / "run"))
    with RunFolder.open(path, "run") as run:
        config, settings = run.read_config("run")
        clips = prepare_again(config, dataclasses.replace(settings, device="cpu"), None, "run").clips
        recordings = [
            dataclasses.replace(recording, name=f"{name}{i}", label=name, speaker=name, details={"text": name})
            for i, (recording, name) in enumerate(zip(clips.recordings, (*NAMES, *NAMES[:2]), strict=False))
        ]
        few, parts = slice(len(recordings)), np.arange(len(recordings))
        clips = Clips(clips.samples[few], clips.offset[few], clips.scale[few], clips.valid[few], tuple(recordings))
        publish(run, clips, Split(parts[5:], parts[4:5], parts[:4]), 2)
    return path / "report.html"


def test_nothing_is_wider_than_a_phone_and_no_name_acts(browser: Any, odd: Path) -> None:
    with opened(browser, odd.as_uri(), 400, "light") as tab:
        assert set(tab.locator("#all tbody th").all_inner_texts()) == {
            f"{name}{i}".strip() for i, name in enumerate(NAMES)
        }
        tab.locator("#blind button", has_text="Start").click()
        tab.locator("#plane").focus()
        for _ in range(4):
            tab.keyboard.press("ArrowRight")
        for summary in tab.locator("details summary").all():
            summary.click()
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert tab.evaluate("typeof broken") == "undefined"
        for link in tab.locator("#all tbody a").all():
            link.click()
            wait_for(
                tab,  # the browser tells of a new address later
                "name => document.activeElement.closest('.deck')?.ariaLabel.trim() === name",
                arg=link.inner_text(),
            )
