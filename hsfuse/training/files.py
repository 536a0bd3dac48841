"""The files of a training: weights, log and picture, and the checkpoint of one that is not over."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from hsfuse.errors import OutputError, RequestError
from hsfuse.files import check_target, written_whole
from hsfuse.report.csv_table import read_csv, write_csv
from hsfuse.report.plots import check_picture, plot_training
from hsfuse.training.checkpoint import Record
from hsfuse.training.held_back import Figures

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class TrainingFiles:
    """What lies beside a weights file."""

    output: Path
    """The weights."""

    @property
    def log(self) -> Path:
        """CSV of every validation."""
        return self.output.with_suffix(".csv")

    @property
    def picture(self) -> Path:
        """Of the curves."""
        return self.output.with_suffix(".png")

    @property
    def checkpoint(self) -> Path:
        """The whole state, while training goes on."""
        return self.output.with_name(f"{self.output.stem}.checkpoint{_SUFFIX}")

    def check(self, *, resume: bool, overwrite: bool) -> None:
        """Find out before any work is done whether all of them can be written.

        Raises:
            OutputError: One is there already, the folder is not, or the name is none of a weights file.
        """
        if self.output.suffix != _SUFFIX:
            raise OutputError(f"{self.output} does not end in {_SUFFIX}: name the weights file so")
        check_target(self.output, overwrite=True)
        if os.path.lexists(self.checkpoint) and not resume and not overwrite:
            raise OutputError(
                f"{self.checkpoint} is left of an interrupted training: pass `resume=True` to go on with it, or "
                "`overwrite=True` to start anew"
            )
        replaced = overwrite or (resume and self.checkpoint.exists())
        check_target(self.checkpoint, overwrite=True)
        for target in (self.output, self.log, self.picture):
            check_target(target, overwrite=replaced)

    def write(self, save: Callable[[Path], object], history: Sequence[Record]) -> None:
        """Write the weights by `save`, and the log.

        Raises:
            OutputError: Something stands there now that is no file.
            WorkError: The disk is full or fails.
        """
        save(self.output)
        write_csv(self.log, [_row(record) for record in history], overwrite=True)

    def read_history(self) -> list[Record]:
        """Every validation as the log tells; empty without one that `write` has written."""
        try:
            return [_record(row) for row in read_csv(self.log)]
        except (OSError, ValueError, KeyError, TypeError):
            return []

    def draw(self, history: Sequence[Record], validation: Mapping[str, Figures]) -> Path | None:
        """Draw the curves beside the weights; None without matplotlib.

        Raises:
            OutputError: As of `write`.
            WorkError: As of `write`.
        """
        try:
            check_picture(self.picture)
        except RequestError:
            return None
        others = {name: asdict(figures) for name, figures in validation.items()}
        with written_whole(self.picture, overwrite=True) as temporary:
            plot_training(temporary, [_row(record) for record in history], others)
        return self.picture


def _row(record: Record) -> dict[str, float | None]:
    values = asdict(record)
    figures = values.pop("figures")
    best = values.pop("best")
    return {**values, **figures, "best": int(best)}


def _record(row: Mapping[str, str]) -> Record:
    figures = {entry.name: float(row[entry.name] or "nan") for entry in fields(Figures)}
    return Record(
        step=int(row["step"]), elapsed=float(row["elapsed"]), loss=float(row["loss"]) if row["loss"] else None,
        learning_rate=float(row["learning_rate"]), figures=figures, score=float(row["score"]),
        best=row["best"] == "1", skipped=int(row["skipped"]),
    )  # fmt: skip
