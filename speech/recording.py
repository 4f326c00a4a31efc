"""What a corpus is a list of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


def printable(text: object) -> str:
    """A name or a path as a terminal can show it: what is no printable character is written as repr writes it.

    So are backslashes, so that different names stay different.
    """
    return "".join(c if c.isprintable() and c != "\\" else repr(c)[1:-1] for c in str(text))


class CorpusError(Exception):
    """A corpus cannot be used as it is; the message is one sentence with the cure."""


class RecordingError(Exception):
    """One recording cannot be used; the message is the reason, without the name."""


@dataclass(frozen=True)
class Recording:
    """One recording and what its corpus knows of it.

    Parameters
    ----------
    name : str
        Unique within the corpus, such as 03a01Fa.
    source : Path or function without arguments
        The audio file, or a function that returns (samples, sample_rate_hz), samples (frames,), float, in [-1, 1].
    label : str
        The emotion in English, or the subfolder; "" where nobody said.
    speaker : str
        "" where nobody said.
    details : mapping
        Whatever else the corpus tells: text, version, perception figures.
    sha256 : str or None
        Of the bytes of the file, where somebody has read them already.
    """

    name: str
    source: Path | Callable[[], tuple[np.ndarray, int]]
    label: str = ""
    speaker: str = ""
    details: Mapping[str, str | float] = field(default_factory=dict)
    sha256: str | None = field(default=None, compare=False)
