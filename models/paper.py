"""The figures that the paper reports: mean squared error of clips scaled to [0, 1].

Duan, Song, Zhao, "Learning Deep Representation of The Emotion Speech Signal", Tables 1 and 2.
"""

PAPER = {
    "emodb": {
        "pre_training": {"train_loss": 0.00136, "test_loss": 0.00105},
        "fine_tuning": {"train_loss": 0.00077, "test_loss": 0.00080},
    },
    "savee": {
        "pre_training": {"train_loss": 0.00075, "test_loss": 0.00072},
        "fine_tuning": {"train_loss": 0.00031, "test_loss": 0.00039},
    },
}
