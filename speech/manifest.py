"""A table that says what is known of one's own recordings: path, label, speaker, text, fold."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from speech.folder import unique_names
from speech.recording import CorpusError, Recording
from storage.regular import read_regular
from storage.spreadsheet import TableReader

COLUMNS = ("path", "label", "speaker", "text", "fold")


def read_manifest(manifest: Path, directory: Path) -> list[Recording]:
    """The recordings that a CSV file lists, in its order, whether or not their files are there.

    The first line names the columns, in any order: path, and any of label, speaker, text and fold. Other columns are
    passed over. A cell may be empty.

    Parameters
    ----------
    manifest : Path
        UTF-8, comma-separated.
    directory : Path
        Where paths that are not absolute begin.

    Shapes
    ------
    n lines -> n recordings. The name is the path without its suffix, as for a folder without a manifest; text and fold
    are in the details, where they are not empty.

    Raises
    ------
    CorpusError
        The file cannot be read, has no column path, lists nothing, or lists a path twice or none in a line.
    """
    try:
        reader = TableReader(io.StringIO(read_regular(manifest, "utf-8-sig"), newline=""))
        columns = [(column or "").strip().lower() for column in reader.fieldnames or ()]
        reader.fieldnames = columns
        lines = [(reader.line_num, line) for line in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CorpusError(f"--manifest: cannot read {manifest}: {reason}. It must be a CSV file in UTF-8") from None
    if "path" not in columns:
        raise CorpusError(
            f"--manifest: {manifest} needs a first line with a column path, and any of {', '.join(COLUMNS[1:])}, with "
            f"commas between them; got {', '.join(columns) or 'an empty file'}"
        )
    if not lines:
        raise CorpusError(f"--manifest: {manifest} lists no recording. Write one a line below {', '.join(columns)}")
    paths: dict[Path, int] = {}
    known = []
    for number, line in lines:
        cells = {column: (line.get(column) or "").strip() for column in COLUMNS}
        path = Path(cells["path"])
        if not cells["path"]:
            raise CorpusError(f"--manifest: line {number} of {manifest} has no path")
        if "\0" in cells["path"]:
            raise CorpusError(f"--manifest: line {number} of {manifest} has a zero byte in its path. Take it out")
        if path in paths:
            raise CorpusError(f"--manifest: {path} is in {manifest} twice, in lines {paths[path]} and {number}")
        paths[path] = number
        known.append(cells)
    return [
        Recording(
            name,
            directory / path,
            cells["label"],
            cells["speaker"],
            {column: cells[column] for column in ("text", "fold") if cells[column]},
        )
        for name, path, cells in zip(unique_names(list(paths)), paths, known, strict=True)
    ]
