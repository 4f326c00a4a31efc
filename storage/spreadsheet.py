"""Tables as CSV that a spreadsheet shows and does not run: a name may begin like a formula, whoever gave it."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # OWASP's, and in full width


def guard(cell: object) -> object:
    """A cell with an apostrophe in front if its text begins like a formula and is no number; others as they are.

    So are cells that begin with apostrophes before such a character, and no two cells become one.

    Source
    ------
    OWASP, CSV Injection.
    """
    if isinstance(cell, str) and cell.lstrip("'").startswith(FORMULA) and not _is_number(cell):
        return f"'{cell}"
    return cell


def unguard(cell: str) -> str:
    """What `guard` was given: without the apostrophe in front of what begins like a formula."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(FORMULA) else cell


def csv_lines(rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """Each row as a line of CSV, its cells guarded."""
    writer = csv.writer(_Echo())
    for row in rows:
        yield writer.writerow([guard(cell) for cell in row])


class TableReader(csv.DictReader):
    """csv.DictReader that gives the cells as they were before they were guarded, and takes none for another.

    Raises
    ------
    csv.Error
        While lines are taken: two columns have one name, a line has more cells than there are columns, or quotation
        marks are not in pairs, which would make one cell of all lines up to the next.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        super().__init__(lines, strict=True)

    @cached_property
    def _doubled(self) -> list[str]:
        return [name for name, count in Counter(self.fieldnames or ()).items() if name and count > 1]

    def __next__(self) -> Any:
        try:
            row = super().__next__()
        except csv.Error as error:
            raise csv.Error(
                f"{error} after line {self.line_num}; look there for a quotation mark that is not closed"
            ) from None
        if self._doubled:
            raise csv.Error(f"it has two columns {self._doubled[0]}")
        if any(row.pop(None, ())):
            raise csv.Error(
                f"line {self.line_num} has more cells than the first. A cell that holds a comma needs quotation marks"
            )
        return {column: unguard(cell) if isinstance(cell, str) else cell for column, cell in row.items()}


class _Echo:
    """What csv.writer writes into, and gives back as the line."""

    def write(self, line: str) -> str:
        return line


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
