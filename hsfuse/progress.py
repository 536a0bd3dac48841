"""The one observer of progress: the library tells it what it does and never prints, the command line draws it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


STAGE = "stage"
"""Unit of a stage that has no steps of its own."""


class Progress(Protocol):
    """Follows the work, stage after stage; stages do not nest."""

    def start(self, stage: str, total: int, unit: str = "tiles") -> None:
        """A stage of `total` steps begins."""

    def advance(self, steps: int = 1) -> None:
        """So many steps are done."""

    def note(self, sentence: str) -> None:
        """Something worth a line has happened, such as a validation."""

    def finish(self) -> None:
        """The stage is over."""


class _Silent:
    def start(self, stage: str, total: int, unit: str = "tiles") -> None:
        pass

    def advance(self, steps: int = 1) -> None:
        pass

    def note(self, sentence: str) -> None:
        pass

    def finish(self) -> None:
        pass


SILENT: Progress = _Silent()
"""Says nothing."""


class Renamed:
    """Passes everything on, with `by NAME` after each stage: several methods run one after another."""

    def __init__(self, progress: Progress, name: str) -> None:
        """Follow work that `name` does."""
        self._progress, self._name = progress, name

    def start(self, stage: str, total: int, unit: str = "tiles") -> None:
        """A stage begins."""
        self._progress.start(f"{stage} by {self._name}", total, unit)

    def advance(self, steps: int = 1) -> None:
        """Steps are done."""
        self._progress.advance(steps)

    def note(self, sentence: str) -> None:
        """Something worth a line."""
        self._progress.note(f"{self._name}: {sentence}")

    def finish(self) -> None:
        """The stage is over."""
        self._progress.finish()


@contextlib.contextmanager
def one_stage(progress: Progress, stage: str) -> Iterator[None]:
    """Call a block a stage, of which nothing is known before its end."""
    progress.start(stage, 0, STAGE)
    yield
    progress.finish()


class Percent:
    """Turns a share that is done, 0 to 1, into steps of one percent."""

    def __init__(self, progress: Progress, stage: str) -> None:
        """Begin a stage of a hundred steps."""
        self._progress, self._done = progress, 0
        progress.start(stage, 100, "percent")

    def reach(self, share: float) -> None:
        """So much is done."""
        steps = int(share * 100) - self._done
        if steps > 0:
            self._done += steps
            self._progress.advance(steps)

    def finish(self) -> None:
        """The stage is over."""
        self._progress.finish()
