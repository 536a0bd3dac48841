"""What is known about the bands of a scene: wavelengths, widths, names and which of them are any good."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hsfuse.errors import RequestError, SceneError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Bands:
    """The bands of a scene, or a selection of them, in the order of the file (not always by wavelength)."""

    wavelength_nm: NDArray[np.float64] | None
    """Band centres in nm, shape (C,), not sorted; NaN for a bad band without one. None: nothing is known."""
    fwhm_nm: NDArray[np.float64] | None
    """Full widths at half maximum in nm, shape (C,), or None."""
    good: NDArray[np.bool_]
    """Shape (C,). False where the file flags the band as bad, or where it holds no data."""
    names: tuple[str, ...]
    """One description a band; empty where the file has none."""
    source: str = ""
    """Where the wavelengths were found, for the user; empty where nowhere."""

    def __post_init__(self) -> None:
        if not self.names:
            raise SceneError("A scene needs at least one band")
        for values in (self.wavelength_nm, self.fwhm_nm, self.good):
            if values is not None and values.shape != (len(self.names),):
                raise SceneError(f"{len(self.names)} bands do not fit values of shape {values.shape}: give one a band")

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def unknown(cls, count: int) -> Bands:
        """Bands of which nothing but their number is known."""
        return cls(None, None, np.ones(count, dtype=bool), ("",) * count)

    def select(self, indices: Sequence[int]) -> Bands:
        """The bands at the 0-based `indices`, in that order.

        The selection has wavelengths (or widths) only if each of its bands has one.
        """
        order = np.asarray(indices, dtype=int)
        return Bands(
            _complete(self.wavelength_nm, order),
            _complete(self.fwhm_nm, order),
            self.good[order],
            tuple(self.names[index] for index in order),
            self.source,
        )

    def followed_by(self, other: Bands) -> Bands:
        """These bands and then the others; NaN where only the one or the other know wavelengths or widths."""
        return Bands(
            _chained(self.wavelength_nm, len(self), other.wavelength_nm, len(other)),
            _chained(self.fwhm_nm, len(self), other.fwhm_nm, len(other)),
            np.concatenate([self.good, other.good]),
            (*self.names, *other.names),
        )

    def mark_bad(self, indices: Sequence[int]) -> Bands:
        """The same bands with those at the 0-based `indices` no longer good."""
        good = self.good.copy()
        good[list(indices)] = False
        return replace(self, good=good)


def _chained(
    one: NDArray[np.float64] | None, ones: int, other: NDArray[np.float64] | None, others: int
) -> NDArray[np.float64] | None:
    if one is None and other is None:
        return None
    known = (np.full(count, np.nan) if part is None else part for part, count in ((one, ones), (other, others)))
    return np.concatenate(list(known))


def _complete(values: NDArray[np.float64] | None, order: NDArray[np.int_]) -> NDArray[np.float64] | None:
    if values is None or not np.isfinite(values[order]).all():
        return None
    return values[order]


def parse_band_list(text: str, count: int) -> tuple[int, ...]:
    """0-based bands out of a list as users write it: 1-based, ranges allowed, `1-4,8`.

    Args:
        text: The list.
        count: number of bands that the scene has.

    Raises:
        RequestError: Not a list, a band that the scene lacks, or one that is named twice.
    """
    bands: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if match is None:
            raise RequestError(f"'{text}' is not a list of bands: write numbers and ranges, such as 1-4,8")
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last:
            raise RequestError(f"The range {part.strip()} in '{text}' runs backwards: write {last}-{first}")
        if first < 1 or last > count:
            raise RequestError(f"'{text}' asks for bands that are not there: the scene has bands 1 to {count}")
        bands.extend(range(first - 1, last))
    if len(set(bands)) < len(bands):
        raise RequestError(f"'{text}' names a band twice: name each band once")
    return tuple(bands)


def band_list_text(bands: Sequence[int]) -> str:
    """0-based bands as users write them: 1-based, ranges joined, `1-4,8`."""
    runs: list[list[int]] = []
    for number in (band + 1 for band in bands):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
