"""A first look at what a raster holds: is a band a mask, are bands empty, is there any data at all?"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rasterio.enums import ColorInterp

from hsfuse.errors import SceneError
from hsfuse.scenes.grid import PixelWindow, lattice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hsfuse.scenes.raster import Raster

logger = logging.getLogger(__name__)

_PATCH = 32
_PATCHES_A_SIDE = 4
_OVERVIEW_PIXELS = 256 * 256
_STRIP_NUMBERS = 2**22


@dataclass(frozen=True)
class Contents:
    """What was found."""

    alpha_band: int | None
    """0-based band that is a mask rather than an image."""
    empty_bands: tuple[int, ...]
    """0-based bands without data in the sample: all nodata, or all zeros where other bands are not."""


def look_into(raster: Raster) -> Contents:
    """Read some thousand pixels of all bands, and more only if these hold no data.

    Raises:
        SceneError: there is not one pixel with data.
        WorkError: the file breaks off.
    """
    numbers, hidden = _sample(raster)
    alpha = _alpha_band(raster, numbers)
    if alpha is not None:
        hidden = hidden | (numbers[alpha] == 0)
    images = [band for band in range(len(numbers)) if band != alpha]
    filled = _filled(raster, numbers[:, ~hidden])
    if not filled[images].any():
        _require_data(raster, images, alpha)
        return Contents(alpha, ())
    return Contents(alpha, tuple(band for band in images if not filled[band]))


def _sample(raster: Raster) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """All bands at some thousand pixels, (C, N), and which of these a mask hides, (N,).

    They come from the coarsest overview, or else from patches on a lattice. The last pixel is always read, so
    that a file that breaks off is found out here.
    """
    dataset = raster.dataset
    bands = range(dataset.count)
    factor = max(dataset.overviews(1), default=1)
    if factor > 1 and dataset.width * dataset.height <= _OVERVIEW_PIXELS * factor**2:
        shape = (-(-dataset.height // factor), -(-dataset.width // factor))
        whole = PixelWindow(0, 0, dataset.width, dataset.height)
        numbers, hidden = raster.read(whole, bands, shape=shape)
        raster.read(PixelWindow(dataset.width - 1, dataset.height - 1, 1, 1), bands[-1:])
        return numbers.reshape(dataset.count, -1), hidden.reshape(-1)
    patches = lattice(dataset.width, dataset.height, _PATCH, _PATCHES_A_SIDE, _PATCHES_A_SIDE)
    blocks = [raster.read(patch, bands) for patch in patches]
    return (
        np.concatenate([numbers.reshape(dataset.count, -1) for numbers, _ in blocks], axis=1),
        np.concatenate([hidden.reshape(-1) for _, hidden in blocks]),
    )


def _alpha_band(raster: Raster, numbers: NDArray[Any]) -> int | None:
    """The band marked as alpha, if it looks like a mask: nearly all 0 or its largest number.

    GDAL marks the fourth band of a byte image as alpha unless told otherwise, so infrared often comes so.
    """
    dataset = raster.dataset
    for band, interpretation in enumerate(dataset.colorinterp):
        if interpretation == ColorInterp.alpha and dataset.count > 1:
            extremes = (numbers[band] == 0) | (numbers[band] == numbers[band].max())
            if extremes.mean() > 0.9:
                return band
            logger.info("%s: band %d is marked as alpha but holds an image", dataset.name, band + 1)
    return None


def _filled(raster: Raster, numbers: NDArray[Any]) -> NDArray[np.bool_]:
    """Which bands, (C,), hold data among sampled numbers (C, N)."""
    present = raster.has_data(numbers, range(len(numbers)))
    filled: NDArray[np.bool_] = np.logical_or.reduce(present, axis=1)
    lively: NDArray[np.bool_] = np.logical_or.reduce(present & (numbers != 0), axis=1)
    return lively if lively.any() else filled


def _require_data(raster: Raster, bands: list[int], alpha: int | None) -> None:
    """Look through the whole raster, a strip at a time, until a pixel has data in some band."""
    width, height = raster.dataset.width, raster.dataset.height
    rows = max(1, _STRIP_NUMBERS // (width * len(bands)))
    for row in range(0, height, rows):
        strip = PixelWindow(0, row, width, min(rows, height - row))
        numbers, hidden = raster.read(strip, bands, alpha)
        if (raster.has_data(numbers, bands).any(axis=0) & ~hidden).any():
            return
    raise SceneError(f"{raster.path}: every pixel is nodata or masked: the scene holds nothing to fuse")
