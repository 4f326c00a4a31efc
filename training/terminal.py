"""What a command prints while it works."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm

from training.trainer import Epoch

MOST = 0.5  # of the rebuilt samples


def say_epoch(phase: str, epoch: Epoch, improved: bool) -> None:
    """One line an epoch."""
    say(
        f"{phase} {epoch.epoch}: loss {epoch.train_loss:.3e}, validation {epoch.val_loss:.3e}, "
        f"accuracy {epoch.val_accuracy:.4f}, {epoch.seconds:.1f} s{', best so far' if improved else ''}"
    )


def saturation(results: Mapping[str, Any], output: str) -> list[str]:
    """A sentence for each phase after which most rebuilt samples sit on a bound, from results.json."""
    cure = {
        "hard_sigmoid": "0 or 1, where a hard sigmoid has no slope and nothing is learned. Try a lower learning rate, "
        "--warm-up 1 or --output linear",
        "linear": "at most 0 or at least 1, which no clip goes beyond. Try a lower learning rate or --warm-up 1",
    }
    return [
        f"{phase}: {results[phase]['test_on_bound']:.2%} of the rebuilt test samples are {cure[output]}"
        for phase in ("pre_training", "fine_tuning")
        if results[phase].get("test_on_bound", 0) > MOST
    ]


def say(*lines: str) -> None:
    """Print lines, above a progress bar if there is one."""
    for line in lines:
        tqdm.write(line, file=sys.stdout)
    sys.stdout.flush()
