"""Holes: what invalid pixels are filled with before a method sees them, so that they touch nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scipy import ndimage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def fill_holes(values: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Give every invalid pixel of `values` (C, h, w) the spectrum of the nearest valid one.

    Returns `values` itself where there is nothing to fill, or nothing to fill it with.
    """
    if valid.all() or not valid.any():
        return values
    rows, columns = ndimage.distance_transform_edt(~valid, return_distances=False, return_indices=True)
    holes = ~valid
    filled = values.copy()
    filled[:, holes] = values[:, rows[holes], columns[holes]]
    return filled
