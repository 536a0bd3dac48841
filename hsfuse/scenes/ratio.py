"""How many fine pixels an HSI pixel is long, and the whole number that is taken for it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from hsfuse.errors import PairError
from hsfuse.scenes.grid import map_pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hsfuse.scenes.grid import Grid

    Point = tuple[float, float]

RATIO_TOLERANCE = 0.02
"""Two pixel sizes that differ by no more than this part count as the same."""

MAX_RATIO = 20
"""Largest ratio of HSI to MSI pixel that is fused."""

# Between 1 and 2 the nearest whole number is no ratio: 2 is taken down to pixels that are a fifth finer.
_LEAST = 1.25

# Degrees are so oblong in metres at 78° of latitude; beyond, something else is the matter.
_MOST_OBLONG = 5.0


def measured_ratio(hsi: Grid, msi: Grid, at: Point | None = None) -> tuple[float, float]:
    """Size of an HSI pixel in MSI pixels, along the HSI's rows and along its columns.

    Args:
        hsi: The coarser grid.
        msi: The finer one.
        at: Where it is measured, in HSI pixels; by default the HSI's centre.

    Raises:
        PairError: The two CRS cannot be transformed into each other there.
    """
    across, down = np.hypot(*pixel_steps(hsi, msi, (hsi.width / 2, hsi.height / 2) if at is None else at))
    return float(across), float(down)


def pixel_steps(source: Grid, target: Grid, at: Point) -> NDArray[np.float64]:
    """What steps of a pixel along x and y are in pixels of another grid: (x, y) to (x, y), shape (2, 2).

    Args:
        source: Whose pixel it is.
        target: In whose pixels it is told.
        at: Where it is measured, in pixels of the source.

    Raises:
        PairError: The two CRS cannot be transformed into each other there.
    """
    # Ten pixels long: one would lose digits to large coordinates, the whole grid to the projection's bend.
    steps = np.array([[-5.0, 0.0], [5.0, 0.0], [0.0, -5.0], [0.0, 5.0]])
    left, right, top, bottom = map_pixels(np.array(at) + steps, source, target)
    return np.stack((right - left, bottom - top), axis=1) / 10


def is_oblong(across: float, down: float) -> bool:
    """Whether an HSI pixel of so many MSI pixels is no square in them."""
    return abs(across - down) > RATIO_TOLERANCE * max(across, down)


def whole_ratio(hsi: Grid, fine: Grid, at: Point | None = None, *, called: str = "MSI") -> int:
    """The ratio of HSI to fine pixel: the whole number nearest to what is measured, from 2 to 20.

    Where an HSI pixel is no square in fine pixels (degrees over metres) its longer side counts, so that none of the
    MSI's detail is lost; with the HSI resampled onto squares of that size, in trials, it was no worse than their mean.

    Args:
        hsi: The HSI's grid.
        fine: The MSI's, or whatever grid the output is to have.
        at: Where it is measured, in HSI pixels; by default the HSI's centre.
        called: What has the fine pixels, `MSI` or `output`.

    Raises:
        PairError: There is no such number; the sentence says why.
    """
    across, down = measured_ratio(hsi, fine, at)
    sizes = f"{called} pixel {fine.describe_pixel()}, HSI pixel {hsi.describe_pixel()}"
    if called != "MSI" and min(across, down) < _LEAST:
        raise PairError(f"Pixels so large leave nothing to sharpen ({sizes}): ask for a finer `resolution`")
    if max(across, down) < 1 - RATIO_TOLERANCE:
        raise PairError(f"The MSI is the coarser one ({sizes}): HSI and MSI seem to be swapped")
    if max(across, down) > _MOST_OBLONG * min(across, down):
        raise PairError(
            f"The ratio is {across:.2f} along the rows and {down:.2f} along the columns ({sizes}): "
            "resample one of the scenes to pixels of the other's shape"
        )
    size = max(across, down) if is_oblong(across, down) else (across + down) / 2
    if abs(size - 1) <= RATIO_TOLERANCE:
        raise PairError(f"Both scenes have the same pixel size ({sizes}): there is nothing to sharpen")
    if size < _LEAST:
        raise PairError(
            f"The ratio {size:.2f} leaves next to nothing to sharpen ({sizes}): take an MSI of finer pixels, or pass "
            "`ratio`"
        )
    if size > MAX_RATIO * (1 + RATIO_TOLERANCE):
        way = "ask for" if called != "MSI" else "aggregate the MSI first, or ask for"
        raise PairError(f"The ratio {size:.2f} is above {MAX_RATIO} ({sizes}): {way} coarser pixels (`resolution`)")
    return min(max(math.floor(size + 0.5), 2), MAX_RATIO)
