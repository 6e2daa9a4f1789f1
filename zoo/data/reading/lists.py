"""Lists and tables that others wrote: text in UTF-8, read a line at a time, each row known by the number of its line.

Whatever is wrong with one is a ValueError of one sentence: the file, the line, and the remedy.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.common.files import Unreadable, reason, regular
from zoo.common.places import safe_join

_LONGEST = 100_000
"""Characters of a line. A file without line breaks is no list, and need not fit the memory to be refused."""


@dataclass(frozen=True)
class Row:
    """What one line says."""

    number: int
    """The line's, from 1."""
    values: dict[str, str]
    """By column; what is not there is empty."""

    def __getitem__(self, column: str) -> str:
        return self.values[column]


def _text(path: Path, remedy: str) -> Iterator[str]:
    """Every line, with its end."""
    if not path.exists() and not path.is_symlink():
        raise ValueError(f"There is no {path}. {remedy}")
    try:
        regular(path)
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as stream:
            number = 0
            while line := stream.readline(_LONGEST + 1):
                number += 1
                if len(line) > _LONGEST:
                    raise ValueError(f"Line {number} of {path} has more than {_LONGEST:,} characters: it is no list. {remedy}")
                if "\0" in line or not _encodes(line):
                    raise ValueError(f"Line {number} of {path} is not text in UTF-8. Save the file in that encoding.")
                yield line
    except Unreadable as error:
        raise ValueError(f"{error} {remedy}") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {reason(error)}. {remedy}") from None


def _encodes(text: str) -> bool:
    """Whether no byte of it was read as a lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def lines(path: Path, remedy: str) -> list[Row]:
    """The lines of a list that have something in them, without blanks at the ends, as the column `line`. Raises ValueError."""
    found = [Row(number, {"line": line.strip()}) for number, line in enumerate(_text(path, remedy), 1) if line.strip()]
    if not found:
        raise ValueError(f"{path} is empty. {remedy}")
    return found


def rows(path: Path, columns: Sequence[str], optional: Sequence[str], remedy: str) -> tuple[list[Row], set[str]]:
    """The rows of a CSV file, of these columns alone, and which of the optional ones there are. Its first line names the
    columns, in any order. Blanks around a value are not part of it. Raises ValueError."""
    table: list[tuple[int, list[str]]] = []
    begin = 1
    reader = csv.reader(_text(path, remedy), strict=True, skipinitialspace=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                table.append((begin, [cell.strip() for cell in cells]))
            begin = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"Line {begin} of {path} is no row of a CSV file ({error}). Look at its quotes.") from None
    if not table:
        raise ValueError(f"{path} is empty. {remedy}")
    (first, names), *rest = table
    if missing := [column for column in columns if column not in names]:
        said = ",".join(names)
        raise ValueError(f"{path} has no column {' and '.join(missing)}: its line {first} is {said[:80]!r}. {remedy}")
    if doubled := [column for column in (*columns, *optional) if names.count(column) > 1]:
        raise ValueError(f"Line {first} of {path} names the column {doubled[0]} twice. Rename or remove one of them.")
    places = {column: names.index(column) for column in (*columns, *optional) if column in names}
    return [_row(path, number, cells, names, places) for number, cells in rest], set(places).intersection(optional)


def _row(path: Path, number: int, cells: list[str], names: list[str], places: dict[str, int]) -> Row:
    if any(cells[len(names) :]):
        raise ValueError(
            f"Line {number} of {path} has {len(cells)} fields, but there are {len(names)} columns. Put what holds a comma "
            f"between quotes."
        )
    values = {column: cells[at] if at < len(cells) else "" for column, at in places.items()}
    if broken := [column for column, value in values.items() if len(value.splitlines()) > 1]:
        raise ValueError(f"The {broken[0]} at line {number} of {path} goes over several lines. Look at its quotes.")
    return Row(number, values)


def once(path: Path, found: Sequence[Row], key: str, notes: list[str]) -> list[Row]:
    """The rows without those that only say again what one before them says, which the notes tell. Raises ValueError: two
    rows of one `key` contradict each other."""
    first: dict[str, Row] = {}
    again: list[int] = []
    for row in found:
        before = first.setdefault(row[key], row)
        if before is row:
            continue
        if differing := [column for column, value in row.values.items() if value != before[column]]:
            column = differing[0]
            raise ValueError(
                f"Lines {before.number} and {row.number} of {path} both list {row[key]!r}, with the {column} "
                f"{before[column]!r} and {row[column]!r}. Remove one of them."
            )
        again.append(row.number)
    if again:
        some = ", ".join(map(str, again[:5])) + (f" and {len(again) - 5} more" if len(again) > 5 else "")
        notes.append(f"Listed again in {path}, and counted once: what line{'s' * (len(again) > 1)} {some} names.")
    return list(first.values())


def number_of(path: Path, row: Row, column: str) -> int:
    """A whole number, not below 0. Raises ValueError."""
    value = row[column]
    if not (value.isascii() and value.isdecimal() and len(value) < 19):
        raise ValueError(f"Line {row.number} of {path} has the {column} {value[:60]!r}, which must be a whole number.")
    return int(value)


def placed(path: Path, row: Row, folder: Path, name: str) -> Path:
    """The file of a folder that a row names. Raises ValueError: the name leads out of it."""
    try:
        return safe_join(folder, name)
    except ValueError as error:
        raise ValueError(f"Line {row.number} of {path}: {error}") from None
