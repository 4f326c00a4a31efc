"""What a command prints while it works."""

from __future__ import annotations

import sys

from tqdm import tqdm

from training.trainer import Epoch


def say_epoch(phase: str, epoch: Epoch, improved: bool) -> None:
    """One line an epoch."""
    say(
        f"{phase} {epoch.epoch}: loss {epoch.train_loss:.3e}, validation {epoch.val_loss:.3e}, "
        f"accuracy {epoch.val_accuracy:.4f}, {epoch.seconds:.1f} s{', best so far' if improved else ''}"
    )


def say(*lines: str) -> None:
    """Print lines, above a progress bar if there is one."""
    for line in lines:
        tqdm.write(line, file=sys.stdout)
    sys.stdout.flush()
