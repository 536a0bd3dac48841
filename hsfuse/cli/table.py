"""Tables of a user's own: CSV as spreadsheets and editors write it, each row with the line that it stands on."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hsfuse.errors import RequestError
from hsfuse.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

_SEPARATORS = ",;\t"


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    line: int
    """Where it stands in the file, from 1."""

    cells: dict[str, str]
    """Text by column, without the empty ones."""


def read_rows(path: str, *, needed: Iterable[str], known: Collection[str]) -> list[Row]:
    """The rows of a CSV file in UTF-8, whatever of comma, semicolon and tab separates its cells.

    Lines without anything and those that begin with `#` are passed over. Letter case, `-` and `_` do not matter in
    headings.

    Args:
        path: The file.
        needed: Columns that must be there, in lower case with `-`.
        known: Those that may.

    Raises:
        RequestError: It cannot be read, a column is missing, unknown or there twice, a row has a cell too many, or
            there is no row.
    """
    lines = list(_lines(path))
    if not lines:
        raise RequestError(f"{path}: the table is empty: its first line names the columns, such as hsi,msi,output")
    (_, headings), *body = lines
    columns = [heading.lower().lstrip("-").replace("_", "-") for heading in headings]
    _check_columns(path, columns, needed, known)
    rows = [Row(line, _cells(path, line, columns, texts)) for line, texts in body]
    if not rows:
        raise RequestError(f"{path}: there is no row below the names of the columns: give one a pair")
    return rows


def _lines(path: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of what is neither empty nor a comment."""
    text = _text(path).replace("\r\n", "\n").replace("\r", "\n")
    told = ["" if line.lstrip().startswith("#") else line for line in text.split("\n")]
    heading = next((line for line in told if line.strip()), "")
    separator = max(_SEPARATORS, key=heading.count)
    reader = csv.reader(told, delimiter=separator, skipinitialspace=True, strict=True)
    try:
        for texts in reader:
            cells = [cell.strip() for cell in texts]
            if any(cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise RequestError(
            f"{path}, line {reader.line_num}: no row of a CSV file ({error}): look at its quotes"
        ) from error


def _text(path: str) -> str:
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(f"{path}: the text is not UTF-8: save it as CSV in UTF-8") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RequestError(f"{path}: the table cannot be read ({reason})") from error


def _check_columns(path: str, columns: list[str], needed: Iterable[str], known: Collection[str]) -> None:
    for column in filter(None, columns):
        if column not in known:
            near = did_you_mean(column, known)
            raise RequestError(
                f"{path}: there is no column {column!r}{near}: columns are the options of fuse, without dashes"
            )
        if columns.count(column) > 1:
            raise RequestError(f"{path}: column {column!r} is there twice: take one away")
    missing = [column for column in needed if column not in columns]
    if missing:
        found = ", ".join(filter(None, columns))
        raise RequestError(f"{path}: the column {' and '.join(missing)} is missing: the first line has {found}")


def _cells(path: str, line: int, columns: list[str], texts: list[str]) -> dict[str, str]:
    nameless = [text for index, text in enumerate(texts) if text and (index >= len(columns) or not columns[index])]
    if nameless:
        raise RequestError(
            f"{path}, line {line}: {nameless[0]!r} stands below no column's name: the first line names {len(columns)}, "
            "and a separator within a cell asks for quotes"
        )
    return {column: text for column, text in zip(columns, texts, strict=False) if text}
