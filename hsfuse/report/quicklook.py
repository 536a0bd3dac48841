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


def stretched(values: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Bands (C, h, w), each stretched by itself between its 2nd and 98th percentile, as bytes and an alpha band.

    Returns:
        (C + 1, h, w); transparent where not valid.
    """
    picture = np.zeros((len(values) + 1, *valid.shape), np.uint8)
    if valid.any():
        low, high = np.percentile(values[:, valid], (DARKEST, BRIGHTEST), axis=1)
        range_ = np.where(high > low, high - low, 1)
        level = (values - low[:, None, None]) / range_[:, None, None]
        picture[:-1] = np.where(valid, np.rint(255 * np.clip(level, 0, 1)), 0)
    picture[-1] = np.where(valid, 255, 0)
    return picture


def write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write bytes (2 or 4, h, w), grey or colours with alpha, as a PNG."""
    profile = {"width": picture.shape[2], "height": picture.shape[1], "count": len(picture), "dtype": "uint8"}
    with open_dataset(path, "w", driver="PNG", **profile) as dataset:
        dataset.write(picture)
