"""A picture of three bands, or of one, stretched between percentiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hsfuse.scenes.raster import open_dataset

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

DARKEST, BRIGHTEST = 2.0, 98.0
"""Percentiles of the valid pixels that become black and white."""


def levels(values: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """What becomes black and white of each band of (C, h, w), shape (2, C); None where nothing is valid."""
    if not valid.any():
        return None
    low, high = np.percentile(values[:, valid], (DARKEST, BRIGHTEST), axis=1)
    return np.stack((low, np.where(high > low, high, low + 1)))


def stretched(
    values: NDArray[np.float32], valid: NDArray[np.bool_], between: NDArray[np.float64] | None = None
) -> NDArray[np.uint8]:
    """Bands (C, h, w) as bytes and an alpha band, each stretched between two levels.

    Args:
        values: The bands.
        valid: Shape (h, w).
        between: Black and white of each, shape (2, C); by default its own 2nd and 98th percentile.

    Returns:
        (C + 1, h, w); transparent where not valid.
    """
    picture = np.zeros((len(values) + 1, *valid.shape), np.uint8)
    between = levels(values, valid) if between is None else between
    if between is not None and valid.any():
        low, high = between[:, :, None, None]
        level = (values - low) / (high - low)
        picture[:-1] = np.where(valid, np.rint(255 * np.clip(np.nan_to_num(level), 0, 1)), 0)
    picture[-1] = np.where(valid, 255, 0)
    return picture


def write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write bytes (2 or 4, h, w), grey or colours with alpha, as a PNG."""
    profile = {"width": picture.shape[2], "height": picture.shape[1], "count": len(picture), "dtype": "uint8"}
    with open_dataset(path, "w", driver="PNG", **profile) as dataset:
        dataset.write(picture)
