from __future__ import annotations

import math
from typing import Any

from report.table import as_text, mask_table, paper_table
from speech.snr import snr_db


def test_the_table_letter_by_letter() -> None:
    phase = {"train_loss": 0.0001312, "test_loss": 0.0001433, "epochs": 30, "best_epoch": 29}
    results = {
        "db": "emodb",
        "clips": 535,
        "test_variance": 0.003489,
        "pre_training": phase,
        "fine_tuning": phase | {"train_loss": 0.00068, "test_loss": 0.00069, "epochs": 60, "best_epoch": 60},
        "paper": {"pre_training": {"train_loss": 0.00136, "test_loss": 0.00105}},
    }
    assert as_text(paper_table(results)).splitlines() == [
        "Berlin EmoDB, 535 clips: mean squared error on [0, 1]",
        "                 pre-training     the paper   fine-tuning     the paper",
        "training loss        0.000131      0.001360      0.000680             -",
        "test loss            0.000143      0.001050      0.000690             -",
        "test SNR [dB]            13.9           5.2           7.0             -",
        "best epoch           29 of 30             -      60 of 60             -",
        "The test clips have a variance of 0.00349: guessing the mean of each would cost that.",
        "The paper gives no variance; its SNR is taken with this one.",
    ]


def test_masks_as_four_rows_and_one_sentence() -> None:
    def figures(*errors: float, db: float | None) -> dict[str, Any]:
        kinds = dict(zip(("own", "another", "random", "none"), errors, strict=True))
        mask_bits = {kind: 0.0 if kind == "none" else 320_000.0 for kind in kinds}
        return {
            kind: {
                "test_mse": error,
                "test_si_sdr_db": db,
                "mask_bits_per_second": mask_bits[kind],
                "bits_per_second": 1_024_000 + mask_bits[kind],
            }
            for kind, error in kinds.items()
        } | {"pool": 2, "tied_windows": 0.3}

    masks = {"pre_training": figures(0.0001, 0.005, 0.006, 0.02, db=21.34), "finding": "long"}
    masks["fine_tuning"] = figures(0.002, 0.003, 0.004, 0.0007, db=None)
    lines = as_text(mask_table(masks)).splitlines()
    assert all(len(line) <= 80 for line in lines[:-1])  # a row is one line in a terminal
    assert lines == [
        "Masks that the decoder was given: mean squared error on [0, 1]",
        "                       pre-trained  SI-SDR [dB]  fine-tuned  SI-SDR [dB]  kbit/s",
        "its own masks             0.000100         21.3    0.002000            -   1,344",
        "those of another clip     0.005000         21.3    0.003000            -   1,344",
        "random ones               0.006000         21.3    0.004000            -   1,344",
        "none                      0.020000         21.3    0.000700            -   1,024",
        "Its own masks are 24% of what a decoder receives; the pre-trained one does best with its own masks, the "
        "fine-tuned one with none.",
    ]


def test_snr() -> None:
    assert snr_db(0.001, 0.01) == 10
    assert math.isinf(snr_db(0, 0.01))
