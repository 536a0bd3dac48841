"""A scene read on a grid whose pixels are not its own, by GDAL's warper."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import rasterio.warp
from rasterio.crs import CRS
from rasterio.enums import Resampling

from hsfuse.errors import WorkError
from hsfuse.scenes.overlap import window_under
from hsfuse.scenes.raster import RASTER_ERRORS
from hsfuse.scenes.ratio import measured_ratio
from hsfuse.scenes.scene import Block, Scene, no_block

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hsfuse.scenes.grid import Grid

# Cubic convolution reaches two source pixels to either side; one more for the rounding of window edges.
_CUBIC_REACH = 3

# Below this many MSI pixels to a fine pixel the kernel keeps its width: the MSI is moved, not averaged.
_WIDENING = 1.1

# The warper insists on a CRS. With the same one on both sides it never looks at what it is.
_ANY_CRS = CRS.from_epsg(3857)


def read_resampled(scene: Scene, placed: Grid, target: Grid, bands: Sequence[int]) -> Block:
    """A scene on another grid; not valid where it does not reach.

    Args:
        scene: What is read.
        placed: Where its pixels are taken to lie.
        target: What is wanted.
        bands: 0-based.

    Raises:
        WorkError: The file breaks off, or GDAL's warper fails.
    """
    reach = _CUBIC_REACH * max(1, math.ceil(max(measured_ratio(target, placed))))
    source = window_under(target, placed, reach)
    if source is None:
        return no_block(len(bands), target.window)
    return resample(scene.read(source, bands), placed.crop(source), target)


def resample(block: Block, source: Grid, target: Grid) -> Block:
    """A block on another grid, by cubic convolution over its valid pixels.

    A pixel is valid where the source pixel under its centre is: invalid pixels neither bleed into their
    neighbours nor grow. Nor do suspect ones: their values reach those pixels alone whose centre they are under.
    However the target is cut into windows, the result is the same (to float32 rounding where the CRS differ).

    Raises:
        WorkError: GDAL's warper fails.
    """
    values = _warp(block.values, block.valid & ~block.suspect, source, target, Resampling.cubic)
    suspect: NDArray[np.bool_] = np.zeros(values.shape[1:], dtype=bool)
    if block.suspect.any():
        nearest = _warp(block.values, block.suspect, source, target, Resampling.nearest)
        suspect = np.logical_and.reduce(np.isfinite(nearest), axis=0)
        values[:, suspect] = nearest[:, suspect]
    valid: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(values), axis=0)
    values[:, ~valid] = 0
    return Block(values, valid, None, suspect)


def _warp(
    values: NDArray[np.float32], valid: NDArray[np.bool_], source: Grid, target: Grid, kernel: Resampling
) -> NDArray[np.float32]:
    """Valid pixels on another grid, NaN where there are none."""
    across, down = measured_ratio(target, source)
    warped = np.full((len(values), target.height, target.width), np.nan, np.float32)
    try:
        rasterio.warp.reproject(
            np.where(valid, values, np.float32(np.nan)), warped,
            src_transform=source.transform, src_crs=source.crs or _ANY_CRS, src_nodata=np.nan,
            dst_transform=target.transform, dst_crs=target.crs or _ANY_CRS, dst_nodata=np.nan,
            resampling=kernel,
            # Left alone, GDAL interpolates coordinates across the window and works out the kernel's width
            # from the windows at hand: both would differ from tile to tile.
            tolerance=0,
            XSCALE=1 / across if across > _WIDENING else 1.0,
            YSCALE=1 / down if down > _WIDENING else 1.0,
        )  # fmt: skip
    except RASTER_ERRORS as error:
        raise WorkError(f"The MSI cannot be resampled onto the HSI's grid ({error})") from error
    return warped
