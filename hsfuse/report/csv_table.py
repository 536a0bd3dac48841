"""Tables as CSV files: written whole or not at all."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING

from hsfuse.files import written_whole

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    Cell = str | float | None
    Row = Mapping[str, Cell]


def write_csv(path: str | os.PathLike[str], rows: Sequence[Row], *, overwrite: bool = False) -> None:
    """Write rows under the columns that any of them has; what is undefined or missing stays empty.

    Whoever works long for the rows asks `hsfuse.files.check_target` before.

    Raises:
        OutputError: The file is there already, or cannot be written there.
        WorkError: The disk is full or fails.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with (
        written_whole(path, overwrite=overwrite) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows({name: _text(cell) for name, cell in row.items()} for row in rows)


def read_csv(path: str | os.PathLike[str]) -> list[dict[str, str]]:
    """The rows that `write_csv` has written, as text.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no text.
    """
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _text(cell: Cell) -> str:
    undefined = cell is None or (isinstance(cell, float) and math.isnan(cell))
    return "" if undefined else str(cell)
