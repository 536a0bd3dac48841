"""Which three bands make a picture, and reading them small."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hsfuse.scenes.grid import PixelWindow

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hsfuse.scenes.bands import Bands
    from hsfuse.scenes.scene import Scene

NATURAL_NM = (660.0, 560.0, 490.0)
"""Red, green and blue."""

SWIR_NM = (2200.0, 850.0, 660.0)
"""Shortwave infrared, near infrared and red as red, green and blue."""

INFRARED_NM = (850.0, 660.0, 560.0)
"""Near infrared, red and green as red, green and blue: vegetation shows red."""

_FARTHEST_NM = 100.0
_STRIP_NUMBERS = 2**24


def nearest_bands(bands: Bands, wanted_nm: tuple[float, float, float]) -> tuple[int, int, int] | None:
    """0-based good bands nearest to three wavelengths in nm; None unless each has one of its own within 100 nm."""
    if bands.wavelength_nm is None:
        return None
    usable = bands.good & np.isfinite(bands.wavelength_nm)
    if not usable.any():
        return None
    distance = np.where(usable, np.abs(bands.wavelength_nm[None] - np.array(wanted_nm)[:, None]), np.inf)
    chosen = tuple(int(band) for band in distance.argmin(axis=1))
    if len(set(chosen)) < 3 or (distance.min(axis=1) > _FARTHEST_NM).any():
        return None
    return chosen[0], chosen[1], chosen[2]


def guessed_bands(bands: Bands) -> tuple[int, ...]:
    """0-based bands that show most where wavelengths are not known: three, red first, or one."""
    images = np.flatnonzero(bands.good).tolist() or list(range(len(bands)))
    if len(images) < 3:
        return (images[0],)
    # Few bands without wavelengths come as blue, green, red as a rule; of many the ends and the middle differ most.
    last = 2 if len(images) <= 4 else len(images) - 1
    return images[last], images[last // 2], images[0]


@dataclass(frozen=True, eq=False)
class SmallImage:
    """Some bands of a scene, averaged over blocks of its pixels."""

    values: NDArray[np.float32]
    """Mean over the valid pixels of each block, (C, h, w); 0 where there is none."""

    valid: NDArray[np.bool_]
    """Where a block has valid pixels, (h, w)."""

    factor: int
    """Edge of a block in pixels of the scene."""


class BlockMeans:
    """Means over square blocks of an image that comes in parts, in any order."""

    def __init__(self, bands: int, width: int, height: int, most: int) -> None:
        """Make room.

        Args:
            bands: Of the image.
            width: Of the image in pixels.
            height: The same.
            most: Blocks along its longer edge.
        """
        self.factor = max(math.ceil(max(width, height) / most), 1)
        """Edge of a block in pixels."""
        shape = -(-height // self.factor), -(-width // self.factor)
        self._sums = np.zeros((bands, *shape))
        self._count = np.zeros(shape)

    def add(self, values: NDArray[np.floating], valid: NDArray[np.bool_], column: int, row: int) -> None:
        """Take in a part.

        Args:
            values: Shape (C, h, w); what is not valid is never looked at, and what is not finite is not valid.
            valid: Shape (h, w).
            column: Of the image at which the part begins.
            row: The same.
        """
        height, width = valid.shape
        down, rows = self._blocks(row, height)
        across, columns = self._blocks(column, width)
        valid = valid & np.isfinite(values).all(axis=0)
        kept = np.where(valid, values, 0).astype(np.float64)
        for target, part in ((self._sums, kept), (self._count[None], valid[None].astype(np.float64))):
            target[:, rows, columns] += np.add.reduceat(np.add.reduceat(part, down, axis=1), across, axis=2)

    def _blocks(self, start: int, length: int) -> tuple[NDArray[np.int64], slice]:
        """Where blocks begin in a part, and which blocks of the image they are."""
        first = -start % self.factor
        begins = np.arange(first, length, self.factor)
        if first:
            begins = np.concatenate(([0], begins))
        block = start // self.factor
        return begins, slice(block, block + len(begins))

    @property
    def means(self) -> NDArray[np.float32]:
        """Shape (C, rows, columns); NaN where nothing is valid."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.where(self._count > 0, self._sums / self._count, np.nan), np.float32)


def read_small(scene: Scene, bands: tuple[int, ...], size: int) -> SmallImage:
    """0-based bands of a whole scene, at most `size` pixels a side, in strips: never the scene at once.

    Raises:
        RequestError: There is no such band.
        WorkError: The file breaks off.
    """
    width, height = scene.grid.width, scene.grid.height
    small = BlockMeans(len(bands), width, height, size)
    rows = max(_STRIP_NUMBERS // (width * len(bands) * small.factor), 1) * small.factor
    for row in range(0, height, rows):
        block = scene.read(PixelWindow(0, row, width, min(rows, height - row)), bands)
        small.add(block.values, block.valid, 0, row)
    values = small.means
    valid = np.isfinite(values[0])
    return SmallImage(np.where(valid, values, np.float32(0)), valid, small.factor)
