"""What a number has to be to count as no data, or as too far from the rest of its scene to be learnt from.

The rules are found once per scene (`hsfuse.scenes.screen`) and are then the same for every block of it, so that
it does not matter how a scene is cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hsfuse.scenes.bridge import FEWEST_BANDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FILL_NUMBERS = (
    -9999.0, -32768.0, -32767.0, -999.0, -9998.0, -99999.0, -2147483648.0, -3.4028234663852886e38, -3.4e38,
    -1e38, -1e34, -1e32, -1e20, 1e20, 1e30, 1e32, 1e34, 9.969209968386869e36, 3.4028234663852886e38,
)  # fmt: skip
"""Numbers that programs write where there is no data."""

# Of numbers that were rounded to float32.
_FILL_TOLERANCE = 1e-5

FILL_SCALES = (1.0, 0.1, 0.01, 1e-3, 1e-4, 1e-5)
"""Factors with which they were turned into floats."""

# A detector that is dead in more of a pixel's bands is none: water is black in half of them.
_MOST_DEAD = 0.1

CONSTANT_FILL = (*FILL_NUMBERS, -1.0, -99.0, 9999.0, 32767.0, 32768.0, 55537.0, 64537.0, 65535.0, 4294967295.0)
"""Numbers that stand for no data where a pixel holds one of them in every band; some are negative ones that
were cast to an unsigned type."""


@dataclass(frozen=True, eq=False)
class Ranges:
    """Physical values per band, each shape (C,), that a scene makes usual, plausible and thinkable."""

    usual: tuple[NDArray[np.float32], NDArray[np.float32]]
    """Least and greatest of nearly all values; no rule looks at a number between them."""
    plausible: tuple[NDArray[np.float32], NDArray[np.float32]]
    """A pixel with a value beyond these is kept out of fits."""
    thinkable: tuple[NDArray[np.float32], NDArray[np.float32]]
    """A value beyond these is no data."""

    def select(self, bands: Sequence[int]) -> Ranges:
        """Those of some bands."""
        return Ranges(*((low[bands], high[bands]) for low, high in (self.usual, self.plausible, self.thinkable)))

    def among(self, places: Sequence[int], bands: int) -> Ranges:
        """The ranges as those of some among more bands, of which the others may hold anything."""
        return Ranges(*(_among(ends, places, bands) for ends in (self.usual, self.plausible, self.thinkable)))

    @classmethod
    def everything(cls, bands: int) -> Ranges:
        """Ranges that hold every number."""
        ends = np.full(bands, -np.inf, np.float32), np.full(bands, np.inf, np.float32)
        return cls(ends, ends, ends)


@dataclass(frozen=True, eq=False)
class Screened:
    """What the rules say of a block."""

    fill: NDArray[np.bool_]
    """Pixels (…) that are no data in any band."""
    absent: NDArray[np.bool_] | None
    """Single numbers (C, …) that are no data; None where there are none."""
    suspect: NDArray[np.bool_]
    """Pixels (…) that are data but kept out of every fit."""


@dataclass(frozen=True, eq=False)
class Rules:
    """The rules of one scene."""

    fills: NDArray[np.float64]
    """Shape (K, C): the numbers of K pixels that are no data, mostly one number in every band."""
    dark: bool
    """Whether a pixel that holds 0 in every band is suspect: such pixels stand apart, but alone."""
    edge: NDArray[np.bool_]
    """Shape (C,): bands in which a single 0 makes a pixel suspect, since zeros are fill and stand apart."""
    ranges: Ranges
    """What values are usual, plausible and thinkable."""
    ceiling: NDArray[np.float64]
    """Shape (C,): numbers from which on a detector was saturated; infinite where nothing says so."""
    images: NDArray[np.bool_]
    """Shape (C,): bands that tell whether a pixel is fill."""
    witnesses: tuple[int, ...]
    """A few of them that stand for all where fewer are read."""

    @classmethod
    def none(cls, bands: int) -> Rules:
        """Rules that take every number as it is."""
        nowhere = np.zeros(bands, dtype=bool)
        return cls(np.zeros((0, bands)), False, nowhere, Ranges.everything(bands), np.full(bands, np.inf), nowhere, ())

    def needed(self, bands: Sequence[int]) -> list[int]:
        """Bands that have to be read beside `bands` to tell whether a pixel is fill."""
        if np.count_nonzero(self.images[list(bands)]) >= len(self.witnesses):
            return []
        return [band for band in self.witnesses if band not in bands]

    def apply(self, numbers: NDArray[Any], values: NDArray[np.float32], bands: Sequence[int]) -> Screened:
        """Screen a block.

        Args:
            numbers: The file's numbers, shape (C, …).
            values: The physical values of the first of them, (c, …) with c ≤ C, NaN where no data; the bands after
                them are witnesses.
            bands: 0-based bands of `numbers`.
        """
        fill = np.zeros(numbers.shape[1:], dtype=bool)
        own, tells = list(bands[: len(values)]), self.images[list(bands)]
        if not tells.any():
            return Screened(fill, None, fill.copy())
        telling = numbers if tells.all() else numbers[tells]
        for spectrum in self.fills[:, list(bands)][:, tells]:
            fill |= holds(telling, spectrum)
        suspect = holds(telling, np.zeros(len(telling))) if self.dark else np.zeros_like(fill)
        for index in np.flatnonzero(self.edge[own]):
            suspect |= numbers[index] == 0
        absent = None
        if not self._quiet(values, own):
            absent = self._loud(numbers, telling, values, own, fill, suspect)
        return Screened(fill, absent, suspect & ~fill)

    def _quiet(self, values: NDArray[np.float32], bands: list[int]) -> bool:
        """Whether no number of the block is unusual; most blocks end here."""
        axes = tuple(range(1, values.ndim))
        low, high = self.ranges.usual
        least, greatest = np.fmin.reduce(values, axis=axes), np.fmax.reduce(values, axis=axes)
        # A band that is all NaN compares as False.
        return not bool(((least < low[bands]) | (greatest > high[bands])).any())

    def _loud(
        self,
        numbers: NDArray[Any],
        telling: NDArray[Any],
        values: NDArray[np.float32],
        bands: list[int],
        fill: NDArray[np.bool_],
        suspect: NDArray[np.bool_],
    ) -> NDArray[np.bool_] | None:
        """Add to `fill` and `suspect` what unusual numbers make so; single numbers that are absent, (c, …)."""
        ranges = self.ranges.select(bands)
        unusual = outside(values, ranges.usual)
        where = np.logical_or.reduce(unusual, axis=0)
        found, unusual = values[:, where], unusual[:, where]
        raw = numbers[: len(values)][:, where]
        implausible = outside(found, ranges.plausible) & unusual
        gone = (outside(found, ranges.thinkable) | _is_fill_number(raw)) & unusual
        if len(bands) >= FEWEST_BANDS:
            gone |= _dead(raw, outside(found, (ranges.usual[0], np.full_like(ranges.usual[0], np.inf))))
        # No light is as far below nothing as bright things are above it.
        fill[where] |= ((found < ranges.plausible[0][:, None]) & unusual).mean(axis=0) > 0.5
        alike = constant_everywhere(telling[:, where])
        odd = implausible.mean(axis=0) > 0.5
        known = np.isin(raw[0], castable(CONSTANT_FILL, raw.dtype)) & unusual.all(axis=0)
        fill[where] |= alike & (odd | known)
        saturated = (raw >= self.ceiling[bands][:, None]) & unusual
        suspect[where] |= ((implausible | saturated) & ~gone).any(axis=0)
        if not gone.any():
            return None
        absent = np.zeros(values.shape, dtype=bool)
        absent[:, where] = gone
        return absent


def _among(
    ends: tuple[NDArray[np.float32], NDArray[np.float32]], places: Sequence[int], bands: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    low, high = np.full(bands, -np.inf, np.float32), np.full(bands, np.inf, np.float32)
    low[places], high[places] = ends
    return low, high


def outside(values: NDArray[Any], ends: tuple[NDArray[np.float32], NDArray[np.float32]]) -> NDArray[np.bool_]:
    """Where values (C, …) lie beyond ends per band; NaN lies nowhere."""
    a_band = (-1, *(1,) * (values.ndim - 1))
    beyond: NDArray[np.bool_] = (values < ends[0].reshape(a_band)) | (values > ends[1].reshape(a_band))
    return beyond


def holds(numbers: NDArray[Any], spectrum: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Pixels (…) of (C, …) that hold just the numbers of `spectrum`, shape (C,)."""
    native = spectrum.astype(numbers.dtype)
    found: NDArray[np.bool_] = numbers[0] == native[0]
    if found.any():
        found[found] = (numbers[:, found] == native[:, None]).all(axis=0)
    return found


def constant_everywhere(numbers: NDArray[Any]) -> NDArray[np.bool_]:
    """Pixels (…) that hold one number in every band of (C, …), of which there are two or more."""
    if len(numbers) < 2:
        return np.zeros(numbers.shape[1:], dtype=bool)
    alike: NDArray[np.bool_] = np.logical_and.reduce(numbers[1:] == numbers[0], axis=0)
    return alike


def castable(fills: Sequence[float], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Those of some numbers that a type can hold."""
    if dtype.kind == "f":
        most = float(np.finfo(dtype).max)
        return np.array([number for number in fills if abs(number) <= most], dtype)
    limits = np.iinfo(dtype)
    return np.array([number for number in fills if limits.min <= number <= limits.max], dtype)


def _dead(numbers: NDArray[Any], low: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Zeros (C, N) where detectors are dead: in few of a pixel's bands, and in none that a dark neighbour explains.

    Args:
        numbers: Of the file, shape (C, N).
        low: Whether they are unusually low, shape (C, N).
    """
    zero = (numbers == 0) & low
    alone = zero.copy()
    alone[1:] &= ~low[:-1]
    alone[:-1] &= ~low[1:]
    return np.asarray(alone & (zero.mean(axis=0) <= _MOST_DEAD))


def _is_fill_number(numbers: NDArray[Any]) -> NDArray[np.bool_]:
    """Where numbers are ones that programs write for no data, also times a scale in a file of floats."""
    if numbers.dtype.kind != "f":
        return np.isin(numbers, castable(FILL_NUMBERS, numbers.dtype))
    found = np.zeros(numbers.shape, dtype=bool)
    with np.errstate(over="ignore", invalid="ignore"):
        for scale in FILL_SCALES:
            for number in FILL_NUMBERS if scale == 1 else FILL_NUMBERS[:4]:
                found |= np.abs(numbers / (number * scale) - 1) < _FILL_TOLERANCE
    return found
