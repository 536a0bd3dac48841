"""Where the time of a run goes: what each stage of it worked, waited for the others, and moved."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Stage:
    """One stage."""

    name: str
    """Such as `read`."""

    worked: float = 0.0
    """Seconds on the clock."""

    waited: float = 0.0
    """Seconds for what others had not done yet."""

    megabytes: float = 0.0
    """That passed through it."""


class Stages:
    """The stages of a run in the order in which they first appear; each belongs to one thread at a time."""

    def __init__(self, *names: str) -> None:
        """Begin with stages of these names, so that the table has the order of the flow."""
        self._stages = {name: Stage(name) for name in names}

    @contextlib.contextmanager
    def work(self, name: str, size: int = 0) -> Iterator[None]:
        """Count a block as work on so many bytes."""
        stage, begun = self._stage(name), time.perf_counter()
        try:
            yield
        finally:
            stage.worked += time.perf_counter() - begun
            stage.megabytes += size / 2**20

    @contextlib.contextmanager
    def wait(self, name: str) -> Iterator[None]:
        """Count a block as waiting."""
        stage, begun = self._stage(name), time.perf_counter()
        try:
            yield
        finally:
            stage.waited += time.perf_counter() - begun

    @property
    def table(self) -> tuple[Stage, ...]:
        """Those that did something."""
        return tuple(stage for stage in self._stages.values() if stage.worked or stage.waited)

    def _stage(self, name: str) -> Stage:
        return self._stages.setdefault(name, Stage(name))
