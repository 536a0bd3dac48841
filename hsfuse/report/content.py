"""What a page about a result shows, told by nouns of plain numbers and words."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from hsfuse.imaging import ImagingModel, SensorTable

Level = Literal["good", "note", "look", "doubt"]

_LEAST_REACH = 8.0  # HSI pixels
_DRAWN = 0.12  # of the reach: length of the longest arrow
_LONGEST_FACTOR = 20.0  # by which displacements are lengthened: what is then still a dot is none

TRUST = "Is it to be trusted?"


@dataclass(frozen=True)
class Finding:
    """What speaks for or against a result."""

    level: Level
    """`good`; `note`, what a reader should know; `look`, to be looked at; `doubt`, it may be wrong."""

    sentence: str
    """With its numbers."""


@dataclass(frozen=True)
class Table:
    """Rows of words and figures."""

    title: str
    """Above it."""

    columns: tuple[str, ...]
    """Headings with their units; the first one's cells head the rows."""

    rows: Sequence[Sequence[str]]
    """As they are shown."""

    note: str = ""
    """A sentence below it."""

    best: Collection[tuple[int, int]] = ()
    """Row and column of cells that are best in their column."""


@dataclass(frozen=True, eq=False)
class Picture:
    """An image as a reader sees it."""

    name: str
    """What it shows."""

    composites: Mapping[str, NDArray[np.uint8]]
    """Red, green, blue and alpha (rows, columns, 4) by what they are: `natural colours`, …"""

    extent: tuple[float, float]
    """Width and height that it covers, in pixels of the output, from the common upper left."""


@dataclass(frozen=True, eq=False)
class SpectraAt:
    """Spectra at places on a grid, one curve an image."""

    columns: NDArray[np.int64]
    """Of the output, shape (n,)."""

    rows: NDArray[np.int64]
    """Of the output, shape (m,)."""

    wavelength_nm: NDArray[np.float64] | None
    """Shape (C,), in any order; None where not known: bands are then counted."""

    curves: Mapping[str, NDArray[np.float32]]
    """Shape (m, n, C) by name; NaN where nothing is known."""

    spread: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """Standard deviations of a curve, shape (m, n, C)."""


@dataclass(frozen=True, eq=False)
class ErrorMap:
    """A number a pixel."""

    name: str
    """What it tells."""

    unit: str
    """Such as °, or %."""

    values: NDArray[np.float32]
    """Shape (rows, columns); NaN where it is not known."""

    extent: tuple[float, float]
    """As of `Picture`."""

    scale: str = ""
    """Maps with the same word share one scale of colours."""


@dataclass(frozen=True, eq=False)
class Arrows:
    """Displacements over the scene."""

    title: str
    """What they are."""

    x: NDArray[np.float64]
    """Columns in HSI pixels, shape (n,)."""

    y: NDArray[np.float64]
    """Rows."""

    along_x: NDArray[np.float64]
    """Displacement in HSI pixels."""

    along_y: NDArray[np.float64]
    """The same along the rows."""

    @property
    def reach(self) -> float:
        """Longer edge of the box around the places, in HSI pixels."""
        return max(float(np.ptp(self.x)), float(np.ptp(self.y)), _LEAST_REACH)

    @property
    def drawn(self) -> str:
        """What is drawn, in words."""
        return "lines from each dot" + ("" if self.factor == 1 else f", {self.factor:g} times as long")

    @property
    def factor(self) -> float:
        """How many times as long they are drawn, so that they can be seen: 1, 2 or 5 times a power of ten."""
        longest = float(np.hypot(self.along_x, self.along_y).max())
        if longest == 0:
            return 1.0
        wanted = min(_DRAWN * self.reach / longest, _LONGEST_FACTOR)
        power = 10.0 ** math.floor(math.log10(wanted))
        return power * max(step for step in (1, 2, 5) if step * power <= wanted * (1 + 1e-9))


@dataclass(frozen=True, eq=False)
class Curves:
    """Some lines over one axis."""

    title: str
    """Above them."""

    x_label: str
    """With its unit."""

    y_label: str
    """With its unit."""

    x: NDArray[np.float64]
    """Shape (n,), ascending."""

    lines: Mapping[str, NDArray[np.float64]]
    """Shape (n,) by name; NaN where undefined."""

    levels: Mapping[str, float] = field(default_factory=dict)
    """Horizontal lines by name."""

    logarithmic: bool = False
    """Whether the y axis is."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Page:
    """What a report says and shows; what is left out of it is left out of the page."""

    title: str
    """Of the page."""

    lead: str
    """What it is about, a sentence."""

    question: str = TRUST
    """What the findings answer."""

    findings: Sequence[Finding] = ()
    """Whether the result is to be trusted, or what else was asked."""

    measure: str = ""
    """What the findings can tell and what not, a sentence."""

    first: Table | None = None
    """What a reader wants to see before all else."""

    tables: Sequence[Table] = ()
    """Metrics and facts."""

    warnings: Sequence[str] = ()
    """Sentences for the user."""

    size: tuple[int, int] = (1, 1)
    """Width and height of the output in pixels."""

    pictures: Sequence[Picture] = ()
    """Over the same ground."""

    swiped: tuple[str, str] | None = None
    """The two of them between which the swipe begins."""

    spectra: SpectraAt | None = None
    """Of pixels that the reader chooses."""

    maps: Sequence[ErrorMap] = ()
    """Over the same ground."""

    imaging: ImagingModel | None = None
    """R and B."""

    published: SensorTable | None = None
    """A sensor's response beside R."""

    arrows: Arrows | None = None
    """Of the displacement."""

    curves: Sequence[Curves] = ()
    """Metrics over the bands, or the course of a training."""
