"""Where a command writes: into a folder that is there, and over nothing that is read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from speech.recording import printable
from training.ownership import MARKER
from training.run_files import FILES


class OutputError(RuntimeError):
    """A file cannot be written there; the message says why and what to do."""


def check_output(output: Path, suffixes: Sequence[str], runs: Sequence[Path], inputs: Iterable[Path] = ()) -> None:
    """Raise OutputError where a file to write has no known suffix, no folder, or is of the runs or another input."""
    place = printable(output)
    if output.suffix.lower() not in suffixes:
        raise OutputError(f"{place}: the name must end with {' or '.join(sorted(suffixes))}")
    if not output.parent.is_dir():
        raise OutputError(f"{place}: there is no folder {printable(output.parent)}")
    if output.is_dir():
        raise OutputError(f"{place}: is a folder. Name a file in it")
    files = [run / name for run in runs for name in (*FILES, MARKER)]
    files += [path for run in runs for path in (run / "checkpoints").glob("*")]
    if output.exists() and any(path.exists() and path.samefile(output) for path in [*files, *inputs]):
        raise OutputError(f"{place}: would overwrite what is read. Choose another name")
