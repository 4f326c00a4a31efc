from __future__ import annotations

import numpy as np

from report.evaluation import ClipEvaluation, summary
from speech.distortion import MEASURES


def test_noise_in_the_last_digits_of_a_measure_does_not_show() -> None:
    """Of 7 clips, one resample in 163 is all of them, and rounding would say whether its mean is above theirs."""
    rng = np.random.default_rng(0)
    values = rng.uniform(0.1, 0.9, 7)

    def evaluated(scores: np.ndarray) -> dict[str, object]:
        rows = [ClipEvaluation(i, "pre_training", dict.fromkeys(MEASURES, float(x)), []) for i, x in enumerate(scores)]
        return dict(summary(rows, np.random.default_rng(1)))

    first = evaluated(values)
    for _ in range(20):
        assert evaluated(values * (1 + rng.uniform(-1e-15, 1e-15, 7))) == first
