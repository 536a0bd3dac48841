"""What a page shows of images that come tile by tile: small pictures, maps, and spectra at chosen places."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hsfuse.scenes.composite import BlockMeans

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_SPECTRAL_NUMBERS = 1_200_000
_FEWEST_PLACES, _MOST_PLACES = 16, 10_000
_PICTURE_PIXELS = 6_200_000
_MAP_PIXELS = 350_000
_LONGEST_EDGE = 1024


@dataclass(frozen=True, eq=False)
class Places:
    """Pixels, evenly spread over an image, whose spectra are kept."""

    columns: NDArray[np.int64]
    """Shape (n,), ascending."""

    rows: NDArray[np.int64]
    """Shape (m,), ascending: the places are all pairs."""

    @classmethod
    def of(cls, width: int, height: int, numbers: int) -> Places:
        """As many as a page has room for.

        Args:
            width: Of the image in pixels.
            height: The same.
            numbers: Of each place: bands by curves.
        """
        most = min(max(_SPECTRAL_NUMBERS // max(numbers, 1), _FEWEST_PLACES), _MOST_PLACES)
        across = min(max(round(math.sqrt(most * width / height)), 1), width, most)
        down = min(max(most // across, 1), height)
        return cls(_spread(width, across), _spread(height, down))


def _spread(length: int, number: int) -> NDArray[np.int64]:
    """The pixels in the middle of so many equal parts of an edge."""
    return ((np.arange(number) + 0.5) * length / number).astype(np.int64)


class Spectra:
    """Spectra at places, out of an image that comes in parts."""

    def __init__(self, bands: int, places: Places, scale: int = 1) -> None:
        """Make room.

        Args:
            bands: Of the image.
            places: In fine pixels.
            scale: Fine pixels along a pixel of the image.
        """
        self._columns, self._rows = places.columns // scale, places.rows // scale
        self.values = np.full((len(places.rows), len(places.columns), bands), np.nan, np.float32)
        """Shape (m, n, C); NaN where nothing is valid."""

    def add(self, values: NDArray[np.floating], valid: NDArray[np.bool_], column: int, row: int) -> None:
        """Take in a part, as `BlockMeans.add`."""
        height, width = valid.shape
        across = np.flatnonzero((self._columns >= column) & (self._columns < column + width))
        down = np.flatnonzero((self._rows >= row) & (self._rows < row + height))
        if not len(across) or not len(down):
            return
        rows, columns = self._rows[down] - row, self._columns[across] - column
        there = np.moveaxis(values[:, rows[:, None], columns], 0, -1)
        self.values[np.ix_(down, across)] = np.where(valid[rows[:, None], columns][..., None], there, np.nan)


def picture_edge(pictures: int) -> int:
    """Pixels along an edge that a page has room for, of so many pictures."""
    return min(int(math.sqrt(_PICTURE_PIXELS / max(pictures, 1))), _LONGEST_EDGE)


def map_edge(maps: int) -> int:
    """The same of maps, which are kept as numbers."""
    return int(math.sqrt(_MAP_PIXELS / max(maps, 1)))


class ImageParts:
    """An image that comes in parts: its pictures, and its spectra where places are given."""

    def __init__(
        self,
        bands: int,
        size: tuple[int, int],
        composites: Mapping[str, tuple[int, ...]],
        *,
        edge: int,
        places: Places | None = None,
        scale: int = 1,
    ) -> None:
        """Make room.

        Args:
            bands: C.
            size: Width and height of the image in its own pixels.
            composites: Bands, 0-based, by the name of a picture.
            edge: Most pixels along an edge of a picture.
            places: Where spectra are kept, in fine pixels.
            scale: Fine pixels along a pixel of the image.
        """
        self._bands = tuple(dict.fromkeys(band for chosen in composites.values() for band in chosen))
        self._composites = composites
        self._means = BlockMeans(len(self._bands), *size, edge)
        self._spectra = None if places is None else Spectra(bands, places, scale)

    def add(self, values: NDArray[np.floating], valid: NDArray[np.bool_], column: int, row: int) -> None:
        """Take in a part, as `BlockMeans.add`."""
        self._means.add(values[list(self._bands)], valid, column, row)
        if self._spectra is not None:
            self._spectra.add(values, valid, column, row)

    @property
    def composites(self) -> dict[str, NDArray[np.float32]]:
        """Pictures by name, shape (1 or 3, rows, columns), in the image's values; NaN where nothing is valid."""
        means = self._means.means
        return {name: means[[self._bands.index(band) for band in chosen]] for name, chosen in self._composites.items()}

    @property
    def factor(self) -> int:
        """Pixels of the image along a pixel of its pictures."""
        return self._means.factor

    @property
    def spectra(self) -> NDArray[np.float32]:
        """At the places, shape (m, n, C); NaN where nothing is valid."""
        assert self._spectra is not None
        return self._spectra.values
