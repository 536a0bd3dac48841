"""Overviews of an image that comes row by row: every level halves the one before, over valid numbers alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from rasterio.windows import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from hsfuse.scenes.encoding import Encoding

SMALLEST = 256
"""Edge in pixels from which on an image has no further overview."""

# Bands are halved in groups of about this many numbers, so that a copy of all rows is never made.
_NUMBERS_AT_ONCE = 2**22


def overview_sizes(width: int, height: int) -> list[tuple[int, int]]:
    """Width and height of every overview that an image gets, largest first."""
    sizes = []
    while max(width, height) > SMALLEST:
        width, height = -(-width // 2), -(-height // 2)
        sizes.append((width, height))
    return sizes


def band_groups(bands: int, pixels: int) -> Iterator[slice]:
    """Bands in groups that are worked on at once, for so many pixels of each."""
    at_once = max(1, _NUMBERS_AT_ONCE // max(1, pixels))
    for first in range(0, bands, at_once):
        yield slice(first, min(first + at_once, bands))


def indexes(bands: slice) -> list[int]:
    """What rasterio calls a group of bands."""
    return list(range(bands.start + 1, bands.stop + 1))


def halved(numbers: NDArray[Any], encoding: Encoding, *, whole: bool = False) -> NDArray[Any]:
    """Means over 2 × 2 pixels of the file's numbers, rounded to the file's type.

    Args:
        numbers: Shape (C, H, W); of an odd edge the last row or column stands for itself.
        encoding: Of these bands.
        whole: Whether it is known that none of them is nodata.

    Returns:
        Shape (C, ⌈H/2⌉, ⌈W/2⌉); nodata where all of a mean's pixels are.
    """
    height, width = numbers.shape[1:]
    if height % 2 or width % 2:
        numbers = np.pad(numbers, ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    kind = np.float32 if numbers.dtype.itemsize <= 2 or numbers.dtype == np.float32 else np.float64
    present = None if whole else encoding.has_data(numbers)
    if present is None or present.all():
        means = _sums(numbers, kind)
        return encoding.rounded(np.multiply(means, kind(0.25), out=means))
    count = _sums(present, np.float32)
    means = _sums(np.where(present, numbers, 0), kind)
    np.divide(means, count, out=means, where=count > 0)
    return encoding.rounded(means, count == 0)


def _sums(numbers: NDArray[Any], kind: type[np.floating[Any]]) -> NDArray[Any]:
    """Sums over 2 × 2 pixels."""
    pairs = np.add(numbers[:, ::2], numbers[:, 1::2], dtype=kind)
    sums: NDArray[Any] = np.add(pairs[:, :, ::2], pairs[:, :, 1::2])
    return sums


@dataclass(eq=False)
class Statistics:
    """Least, greatest, mean and deviation of every band's valid numbers, as they come."""

    bands: int
    """C."""

    _count: NDArray[np.int64] = field(init=False)
    _all: int = field(default=0, init=False)
    _moments: NDArray[np.float64] = field(init=False)
    _ends: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        self._count = np.zeros(self.bands, np.int64)
        self._moments = np.zeros((2, self.bands))
        self._ends = np.stack((np.full(self.bands, np.inf), np.full(self.bands, -np.inf)))

    def add(self, bands: slice, numbers: NDArray[Any], encoding: Encoding, *, whole: bool) -> None:
        """Count further rows of some bands, (C, H, W); `whole` as of `halved`."""
        present = np.ones((), dtype=bool) if whole else encoding.has_data(numbers)
        where: dict[str, Any] = {"axis": (1, 2), "where": present}
        real = numbers.astype(np.float32 if numbers.dtype.itemsize <= 2 else np.float64)
        self._count[bands] += np.broadcast_to(present, numbers.shape).sum(axis=(1, 2))
        self._moments[0, bands] += real.sum(dtype=np.float64, **where)
        self._moments[1, bands] += np.square(real, dtype=np.float64).sum(**where)
        self._ends[0, bands] = np.minimum(self._ends[0, bands], real.min(initial=np.inf, **where))
        self._ends[1, bands] = np.maximum(self._ends[1, bands], real.max(initial=-np.inf, **where))
        self._all += numbers[0].size if bands.start == 0 else 0

    def tags(self, band: int, *, approximate: bool) -> dict[str, str]:
        """As GDAL keeps them of a band (0-based); none where it has no valid number."""
        count = int(self._count[band])
        if not count:
            return {}
        mean, square = (float(total) / count for total in self._moments[:, band])
        told = {
            "STATISTICS_MINIMUM": self._ends[0, band], "STATISTICS_MAXIMUM": self._ends[1, band],
            "STATISTICS_MEAN": mean, "STATISTICS_STDDEV": max(square - mean**2, 0.0) ** 0.5,
            "STATISTICS_VALID_PERCENT": 100 * count / self._all,
        }  # fmt: skip
        named = {name: f"{value:.10g}" for name, value in told.items()}
        return named | ({"STATISTICS_APPROXIMATE": "YES"} if approximate else {})


class Overviews:
    """All overviews of an image, written level by level as its rows come."""

    def __init__(
        self, folder: Path, size: tuple[int, int], encoding: Encoding, block: int, create: Callable[..., Any]
    ) -> None:
        """Open a file a level.

        Args:
            folder: Where.
            size: Width and height of the image.
            encoding: Of its numbers.
            block: Edge of the files' blocks, an even number.
            create: Makes an open dataset of a path, a width and a height.
        """
        self.files: list[Path] = []
        """Largest first."""
        self.statistics = Statistics(len(encoding))
        """Of the numbers of the first overview; of the image's own if it has none."""
        self._encoding, self._block = encoding, block
        self._levels: list[_Level] = []
        for number, (width, height) in enumerate(overview_sizes(*size), start=1):
            self.files.append(folder / f"overview-{number}.tif")
            dataset = create(self.files[-1], width, height)
            pending = np.zeros((len(encoding), min(block, height), width), encoding.dtype)
            self._levels.append(_Level(dataset, height, pending))

    def add(self, bands: slice, numbers: NDArray[Any], *, whole: bool) -> None:
        """Take some bands of the next row of blocks, (C, rows, W); `whole` as of `halved`."""
        encoding = self._encoding.select(bands)
        if self._levels:
            self._levels[0].hold(bands, halved(numbers, encoding, whole=whole), whole=whole)
        else:
            self.statistics.add(bands, numbers, encoding, whole=whole)

    def advance(self) -> None:
        """Say that all bands of a row of blocks have come."""
        for number, level in enumerate(self._levels):
            level.filled += level.held
            if level.filled < min(self._block, level.height - level.first):
                return
            rows = level.pending[:, : level.filled]
            following = self._levels[number + 1] if number + 1 < len(self._levels) else None
            for bands in band_groups(len(rows), rows[0].size):
                encoding = self._encoding.select(bands)
                level.write(bands, rows[bands])
                if number == 0:
                    self.statistics.add(bands, rows[bands], encoding, whole=level.whole)
                if following is not None:
                    following.hold(bands, halved(rows[bands], encoding, whole=level.whole), whole=level.whole)
            level.begin_next()

    def close(self) -> None:
        """Finish the files."""
        for level in self._levels:
            level.dataset.close()


@dataclass(eq=False)
class _Level:
    """One overview, of which a row of blocks is held until it is whole."""

    dataset: Any
    height: int
    pending: NDArray[Any]
    first: int = 0
    """Its row that the pending ones begin with."""
    filled: int = 0
    held: int = 0
    """Rows that came last, behind the filled ones."""
    whole: bool = True

    def hold(self, bands: slice, numbers: NDArray[Any], *, whole: bool) -> None:
        self.held = numbers.shape[1]
        self.pending[bands, self.filled : self.filled + self.held] = numbers
        self.whole &= whole

    def write(self, bands: slice, numbers: NDArray[Any]) -> None:
        window = Window(0, self.first, numbers.shape[2], numbers.shape[1])
        self.dataset.write(numbers, indexes=indexes(bands), window=window)

    def begin_next(self) -> None:
        self.first += self.filled
        self.filled = self.held = 0
        self.whole = True
