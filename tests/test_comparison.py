"""python -m report RUN RUN2: one page of several runs."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from filelock import FileLock

from report.__main__ import main
from report.arguments import read_arguments
from report.comparison import Compared, common_clips
from speech.clip import Clips
from speech.recording import Recording
from speech.split import Split
from tests.browser import chromium, opened
from tests.command import rows
from training.run_files import RunError

pytestmark = pytest.mark.commands


def report(*options: str | Path) -> None:
    """The command, in this process."""
    main(read_arguments([str(option) for option in options]))


@pytest.fixture(scope="module")
def runs(listened: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs; the second has its decoders the other way round, and a name that is not UTF-8."""
    folder = tmp_path_factory.mktemp("runs")
    first, second = (Path(shutil.copytree(listened, folder / name)) for name in ("first", os.fsdecode(b"second\xff")))
    pretrained, finetuned = (second / "checkpoints" / f"{name}.safetensors" for name in ("pretrained", "finetuned"))
    pretrained.rename(second / "aside")
    finetuned.rename(pretrained)
    (second / "aside").rename(finetuned)
    settings = json.loads((second / "config.json").read_text())
    settings["settings"]["patience"] = 5
    (second / "config.json").write_text(json.dumps(settings))
    report(first, second)
    return first, second


def page_data(page: Path) -> dict[str, Any]:
    text = page.read_text("utf-8")
    return dict(json.loads(text.split('<script type="application/json" id="data">')[1].split("</script>")[0]))


def test_a_run_that_another_process_writes_into_is_only_read(runs: tuple[Path, Path]) -> None:
    from report.__main__ import read_compared

    before = {path: path.stat() for path in runs[1].rglob("*")}
    with FileLock(runs[1] / "lock"):
        assert len(read_compared(runs[1], None).history) == 4
    after = {path: path.stat() for path in runs[1].rglob("*")}
    assert {path: (stat.st_mtime_ns, stat.st_ino) for path, stat in before.items() if path.name != "lock"} == {
        path: (stat.st_mtime_ns, stat.st_ino) for path, stat in after.items() if path.name != "lock"
    }


def test_the_clips_of_both_runs_are_under_one_player(runs: tuple[Path, Path], listened: Path) -> None:
    data = page_data(runs[0] / "comparison.html")
    assert (runs[0] / "comparison.html").stat().st_size < 15_000_000
    titles = ("after pre-training", "after fine-tuning")
    assert data["phases"] == [
        "original",
        *(f"{name}, {title}" for name in ("first", "second\\udcff") for title in titles),
    ]
    clip = data["clips"][data["chosen"][0]]
    heard = [soundfile.read(io.BytesIO(base64.b64decode(uri.split(",")[1])))[0] for uri in clip["sounds"]]
    stem = next(path.name.removesuffix(".original.wav") for path in (listened / "audio").glob("01-*.original.wav"))
    assert stem.endswith(clip["name"])
    for k, version in ((0, "original"), (1, "pre_training"), (2, "fine_tuning")):
        expected = soundfile.read(listened / "audio" / f"{stem}.{version}.wav")[0]
        assert np.allclose(heard[k], expected, atol=1.1 / 32768)  # FLAC rounds where WAV does not
    loudest = abs(heard[1]).max()
    assert abs(heard[3] - heard[1]).max() > 0.05 * loudest  # other weights, and the masks of the pre-trained one
    assert len(data["clips"]) > len(data["chosen"])
    assert all(len(clip["sounds"]) == len(clip["waves"]) == 5 for clip in data["clips"])  # the others as MP3
    metrics = {(row["name"], row["phase"]): row for row in rows(listened / "metrics.csv")}
    snr = [measure["name"] for measure in data["measures"]].index("snr_db")
    for clip in data["clips"]:
        known = [float(metrics[clip["name"], phase]["snr_db"]) for phase in ("pre_training", "fine_tuning")] * 2
        assert [values[snr] for values in clip["values"]] == pytest.approx(known, rel=1e-3)


def test_the_page_shows_tables_losses_and_what_differs(runs: tuple[Path, Path]) -> None:
    page = runs[0] / "comparison.html"
    with chromium() as browser, opened(browser, page.as_uri(), 400, "dark") as tab:
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        text = tab.locator("main").inner_text()
        assert "first: demo corpus" in text and "second\\udcff: demo corpus" in text
        assert tab.locator("#loss img").count() == 4
        differing = tab.locator("#run tbody tr").all_inner_texts()
        assert len(differing) == 1 and differing[0].split() == ["patience", "8", "5"]
        notes = tab.locator("#masks p").all_inner_texts()
        assert [note.split(": ")[0] for note in notes] == ["first", "second\\udcff"]
        assert tab.locator("#listen kbd").all_inner_texts()[:6] == ["1", "2", "3", "4", "5", "space"]
        deck = tab.locator(".deck").first
        deck.locator(".play").focus()
        tab.keyboard.press("5")
        assert deck.evaluate("deck => deck.player.version") == 4
        shown = deck.locator(".wave path").evaluate_all("paths => paths.map(path => getComputedStyle(path).display)")
        assert shown == ["inline", "none", "none", "none", "inline"]
        assert deck.locator(".tall .plot canvas").count() == 5 + 4


def test_five_runs_show_every_version_and_only_keys_that_there_are(
    runs: tuple[Path, Path], listened: Path, tmp_path: Path
) -> None:
    copies = [Path(shutil.copytree(listened, tmp_path / f"run-{k}")) for k in range(3)]
    page = tmp_path / "page.html"
    report(*runs, *copies, "-o", page)
    with chromium() as browser, opened(browser, page.as_uri(), 1400, "light") as tab:
        deck = tab.locator(".deck").first
        for version in (1, 8, 9, 10):
            deck.locator(f"input[value='{version}']").check(force=True)
            displays = "paths => paths.map(path => getComputedStyle(path).display)"
            waves = deck.locator(".wave path").evaluate_all(displays)
            assert [k for k, display in enumerate(waves) if display != "none"] == [0, version]
            curves = deck.locator(".curve path:not(.zero)").evaluate_all(
                "paths => paths.map(path => getComputedStyle(path).strokeDasharray)"
            )
            assert [k + 1 for k, dashes in enumerate(curves) if dashes == "none"] == [version]
        keys = tab.locator("#listen .keys kbd").all_inner_texts()
        assert keys == list("123456789")


def test_a_run_is_not_compared_with_itself(runs: tuple[Path, Path], tmp_path: Path) -> None:
    """Its versions would have one name, and the page would not open."""
    for again in (runs[0], runs[0] / "audio" / ".."):
        with pytest.raises(RunError, match=r"first.* is named twice\. Leave it out once"):
            report(*runs, again, "-o", tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_only_pages_of_ours_are_replaced(runs: tuple[Path, Path], tmp_path: Path) -> None:
    precious = tmp_path / "mine.html"
    precious.write_text("precious")
    with pytest.raises(RunError, match=r"mine\.html is there, and is no page of runs side by side\. Move it"):
        report(*runs, "-o", precious)
    with pytest.raises(RunError, match=r"is no folder\. Make it"):
        report(*runs, "-o", tmp_path / "nowhere" / "page.html")
    with pytest.raises(RunError, match=r"-o is for several runs"):
        report(runs[0], "-o", precious)
    assert precious.read_text() == "precious"
    page = tmp_path / "page.html"
    shutil.copy(runs[0] / "comparison.html", page)
    report(runs[1], runs[0], "-o", page)
    assert page_data(page)["phases"][1].startswith("second\\udcff, ")
    (runs[1] / "comparison.html").write_text("precious")
    with pytest.raises(RunError, match=r"comparison\.html is there, and is no page of runs side by side"):
        report(runs[1], runs[0])
    assert (runs[1] / "comparison.html").read_text() == "precious"


@pytest.mark.parametrize("content", [None, "name,phase\n", "\0"])
def test_a_run_without_its_measures_has_a_cure(runs: tuple[Path, Path], tmp_path: Path, content: str | None) -> None:
    run = Path(shutil.copytree(runs[1], tmp_path / "run"))
    (run / "metrics.csv").unlink()
    if content is not None:
        (run / "metrics.csv").write_text(content)
    with pytest.raises(RunError, match=r"Make .*pages?.*: python -m report"):
        report(runs[0], run, "-o", tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def run_of(names: str, seed: int) -> Any:
    """A run whose test clips have these names; all but the first are training clips too."""
    samples = np.random.default_rng(seed).uniform(0, 1, (len(names) + 1, 64)).astype(np.float32)
    ones = np.ones(len(samples), np.float32)
    recordings = tuple(Recording(name, Path(name), "", "") for name in f"-{names}")
    clips = Clips(samples, 0 * ones, ones, np.full(len(samples), 64), recordings)
    nothing = np.array([0])
    work = type("Work", (), {"clips": clips, "split": Split(nothing, nothing, np.arange(1, len(samples)))})
    return Compared(Path(names), {}, None, {}, [], {}, {}, work)  # type: ignore[arg-type]


def test_clips_in_common_have_one_name_and_the_same_samples() -> None:
    assert common_clips([run_of("abc", 0), run_of("abd", 0)]) == [(1, 1), (2, 2)]
    for other in (run_of("xyz", 0), run_of("abc", 1)):
        with pytest.raises(RunError, match="were tested on no clip that is the same in all"):
            common_clips([run_of("abc", 0), other])
