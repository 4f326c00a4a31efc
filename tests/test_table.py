from __future__ import annotations

import math

from report.table import as_text, paper_table
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


def test_snr() -> None:
    assert snr_db(0.001, 0.01) == 10
    assert math.isinf(snr_db(0, 0.01))
