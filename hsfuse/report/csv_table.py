"""Tables as CSV files: refused early where they cannot be written, and moved into place when whole."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING

from hsfuse.errors import OutputError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    Cell = str | float | None
    Row = Mapping[str, Cell]


def check_csv_target(path: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Find out before any work is done whether a table could be written.

    Raises:
        OutputError: The file is there already, or its folder is not.
    """
    target = Path(path)
    if target.exists() and not overwrite:
        raise OutputError(f"{target} exists: pass `overwrite=True` to replace it")
    if target.is_dir():
        raise OutputError(f"{target} is a folder: name a file for the table")
    if not target.parent.is_dir():
        raise OutputError(f"the folder {target.parent} does not exist: make it first")


def write_csv(path: str | os.PathLike[str], rows: Sequence[Row]) -> None:
    """Write rows under the columns that any of them has; what is undefined or missing stays empty.

    Raises:
        OutputError: The file cannot be written.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.part")
    columns = list(dict.fromkeys(name for row in rows for name in row))
    try:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows({name: _text(cell) for name, cell in row.items()} for row in rows)
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"{target} cannot be written ({error.strerror}): choose another place") from error


def _text(cell: Cell) -> str:
    undefined = cell is None or (isinstance(cell, float) and math.isnan(cell))
    return "" if undefined else str(cell)
