"""The paper's table, with this run's figures beside its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from speech.corpus import corpus_title
from speech.snr import snr_db


class Table(NamedTuple):
    """A table to be shown as text or in a page."""

    title: str
    columns: list[str]
    rows: list[tuple[str, list[str]]]
    notes: list[str]


def paper_table(results: Mapping[str, Any]) -> Table:
    """Training and test loss of both phases, the paper's beside them, variance and SNR.

    Parameters
    ----------
    results : mapping
        The content of results.json.
    """
    paper, variance = results.get("paper", {}), results["test_variance"]
    columns = [
        (title, source.get(phase, {}))
        for phase, title in (("pre_training", "pre-training"), ("fine_tuning", "fine-tuning"))
        for title, source in ((title, results), ("the paper", paper))
    ]
    notes = [f"The test clips have a variance of {variance:.5f}: guessing the mean of each would cost that."]
    if paper:
        notes.append("The paper gives no variance; its SNR is taken with this one.")
    return Table(
        f"{corpus_title(results['db'])}, {results['clips']} clips: mean squared error on [0, 1]",
        [title for title, _ in columns],
        [
            ("training loss", [_loss(figures.get("train_loss")) for _, figures in columns]),
            ("test loss", [_loss(figures.get("test_loss")) for _, figures in columns]),
            ("test SNR [dB]", [_snr(figures.get("test_loss"), variance) for _, figures in columns]),
            ("best epoch", [_epochs(figures) for _, figures in columns]),
        ],
        notes,
    )


def as_text(table: Table) -> str:
    """A table for the terminal."""
    lines = [table.title, f"{'':<15}" + "".join(f"{title:>14}" for title in table.columns)]
    lines += [f"{title:<15}" + "".join(f"{cell:>14}" for cell in cells) for title, cells in table.rows]
    return "\n".join([*lines, *table.notes])


def _loss(value: float | None) -> str:
    return "-" if value is None else f"{value:.6f}"


def _snr(value: float | None, variance: float) -> str:
    return "-" if value is None else f"{snr_db(value, variance):.1f}"


def _epochs(figures: Mapping[str, Any]) -> str:
    return f"{figures['best_epoch']} of {figures['epochs']}" if "epochs" in figures else "-"
