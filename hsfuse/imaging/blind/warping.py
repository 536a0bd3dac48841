"""A patch whose MSI was brought onto the HSI's pixels along a displacement field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hsfuse.imaging.blind.displacement_field import DisplacementField
    from hsfuse.imaging.blind.samples import PatchLike


@dataclass(frozen=True, eq=False)
class WarpedPatch:
    """A `PatchLike`."""

    hsi: NDArray[np.float32]
    """Y, (C, h, w)."""

    hsi_valid: NDArray[np.bool_]
    """(h, w)."""

    msi: NDArray[np.float32]
    """P where the HSI's pixels look, (c, r·h, r·w)."""

    msi_valid: NDArray[np.bool_]
    """(r·h, r·w); not valid is also what lies beyond the patch."""

    @classmethod
    def of(cls, patch: PatchLike, place: tuple[int, int], field: DisplacementField) -> WarpedPatch:
        """Read the MSI of a patch, whose first HSI pixel stands at `place` (column, row), along a field."""
        height, width = patch.msi_valid.shape
        ratio = height // patch.hsi_valid.shape[0]
        y, x = np.mgrid[:height, :width] + 0.5
        there_x, there_y = field.msi_points(x + ratio * place[0], y + ratio * place[1], ratio)
        looked = np.stack([there_y - ratio * place[1], there_x - ratio * place[0]]) - 0.5
        inside = (looked >= -0.5).all(axis=0) & (looked[0] <= height - 0.5) & (looked[1] <= width - 0.5)
        row, column = np.clip(np.rint(looked).astype(int), 0, np.array([height - 1, width - 1])[:, None, None])
        valid = inside & patch.msi_valid[row, column]
        filled = np.where(patch.msi_valid & np.isfinite(patch.msi), patch.msi, np.float32(0))
        if not patch.msi_valid.all() and patch.msi_valid.any():
            rows, columns = ndimage.distance_transform_edt(
                ~patch.msi_valid, return_distances=False, return_indices=True
            )
            filled = filled[:, rows, columns]
        msi = [ndimage.map_coordinates(band, looked, order=3, mode="mirror") for band in filled]
        return cls(patch.hsi, patch.hsi_valid, np.stack(msi).astype(np.float32), valid)
