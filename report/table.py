"""The paper's table, with this run's figures beside its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from inference.ablation import WORDS
from speech.corpus import corpus_title
from speech.snr import snr_db

TERMINAL = 80  # columns that one has at least


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


def mask_table(masks: Mapping[str, Any]) -> Table:
    """What both decoders make of the test clips with each kind of masks, and what they are given for it.

    Parameters
    ----------
    masks : mapping
        `masks` of results.json: for each phase what `inference.ablation.mask_ablation` gave, or a summary alone where
        the network has folds.
    """
    if "pre_training" not in masks:
        return Table("What the decoder was given", [], [], [masks["summary"]])
    before, after = masks["pre_training"], masks["fine_tuning"]
    share = before["own"]["mask_bits_per_second"] / before["own"]["bits_per_second"]
    pre_trained, fine_tuned = (WORDS[min(WORDS, key=lambda kind: part[kind]["test_mse"])] for part in (before, after))
    return Table(
        "Masks that the decoder was given: mean squared error on [0, 1]",
        ["pre-trained", "SI-SDR [dB]", "fine-tuned", "SI-SDR [dB]", "kbit/s"],
        [
            (
                words,
                [
                    cell
                    for figures in (before[kind], after[kind])
                    for cell in (_loss(figures["test_mse"]), _db(figures["test_si_sdr_db"]))
                ]
                + [f"{before[kind]['bits_per_second'] / 1000:,.0f}"],
            )
            for kind, words in WORDS.items()
        ],
        [
            f"Its own masks are {share:.0%} of what a decoder receives; the pre-trained one does best with "
            f"{pre_trained}, the fine-tuned one with {fine_tuned}."
        ],
    )


def as_text(table: Table) -> str:
    """A table for the terminal; its notes alone where it has no rows."""
    if not table.rows:
        return "\n".join([table.title, *table.notes])
    longest = max(len(title) for title, _ in table.rows)
    widths = [max(15, 2 + longest), *[14] * len(table.columns)]
    if sum(widths) > TERMINAL:
        columns = zip(table.columns, *(cells for _, cells in table.rows), strict=True)
        widths = [longest, *(2 + max(map(len, column)) for column in columns)]
    rows = [("", table.columns), *table.rows]
    lines = [
        f"{title:<{widths[0]}}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        for title, cells in rows
    ]
    return "\n".join([table.title, *lines, *table.notes])


def _loss(value: float | None) -> str:
    return "-" if value is None else f"{value:.6f}"


def _snr(value: float | None, variance: float) -> str:
    return "-" if value is None else f"{snr_db(value, variance):.1f}"


def _db(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _epochs(figures: Mapping[str, Any]) -> str:
    return f"{figures['best_epoch']} of {figures['epochs']}" if "epochs" in figures else "-"
