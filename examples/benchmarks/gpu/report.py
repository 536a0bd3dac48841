"""What was found, line by line: a table for people and the same with plain numbers."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Verdict(StrEnum):
    """What a figure says."""

    NONE = ""
    """Nothing but itself."""

    GOOD = "ok"
    """It lies within its limit."""

    SLOW = "slow"
    """Right, but not as fast as was wanted."""

    NO_MEMORY = "no memory"
    """The device could not hold it."""

    LEFT_OUT = "left out"
    """There was no time left, or what it takes is not there."""

    FAILED = "FAIL"
    """It is wrong, or broke off."""


@dataclass(frozen=True)
class Line:
    """A line of the table."""

    what: str
    """Was looked at."""

    figure: str
    """As people read it."""

    verdict: Verdict = Verdict.NONE
    """Of it."""

    numbers: dict[str, float] = field(default_factory=dict)
    """The figure for programs, by name with its unit."""

    trace: str = ""
    """Where it broke off."""


class Report:
    """Lines by section, written anew with every line, so that nothing is lost where the machine is."""

    def __init__(self, folder: Path, title: str, facts: dict[str, str]) -> None:
        """Begin empty.

        Args:
            folder: Takes `gpu.json` and `gpu.md`; made if it is missing.
            title: Of the table.
            facts: About the run.
        """
        self._folder, self._title, self._facts = folder, title, facts
        self._sections: dict[str, list[Line]] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, section: str, line: Line) -> None:
        """Add a line to a section."""
        self._sections.setdefault(section, []).append(line)
        self._write()

    @property
    def failures(self) -> list[str]:
        """What went wrong, a sentence each."""
        return [
            f"{section}: {line.what}: {line.figure}"
            for section, lines in self._sections.items()
            for line in lines
            if line.verdict == Verdict.FAILED
        ]

    def _write(self) -> None:
        told = {
            "title": self._title,
            **self._facts,
            "sections": {name: [asdict(line) for line in lines] for name, lines in self._sections.items()},
        }
        (self._folder / "gpu.json").write_text(json.dumps(told, indent=1, ensure_ascii=False), encoding="utf-8")
        rows = [f"| {cell(name)} | {markdown(line)} |" for name, lines in self._sections.items() for line in lines]
        facts = ", ".join(f"{name} {value}" for name, value in self._facts.items())
        text = [f"# {self._title}", "", facts, "", *HEAD, *rows, ""]
        (self._folder / "gpu.md").write_text("\n".join(text), encoding="utf-8")


HEAD = ["| section | what | figure | verdict |", "| --- | --- | --- | --- |"]
"""Of the table."""


def markdown(line: Line) -> str:
    """The cells of a line."""
    return " | ".join(map(cell, (line.what, line.figure, line.verdict)))


def cell(text: str) -> str:
    """A text as a table holds it."""
    return " ".join(text.split()).replace("|", "\\|")
