"""Where on Earth a grid lies, in degrees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from rasterio.errors import RasterioError
from rasterio.warp import transform_bounds

if TYPE_CHECKING:
    from typing import Self

    from hsfuse.scenes.grid import Grid


@dataclass(frozen=True)
class GeographicExtent:
    """A box of longitudes and latitudes on WGS 84, in degrees; `west` is larger than `east` across the antimeridian."""

    west: float
    south: float
    east: float
    north: float

    @classmethod
    def of(cls, grid: Grid) -> Self | None:
        """The box around a grid; None where nothing says where it lies, or where its CRS ends."""
        if grid.crs is None or not grid.has_transform:
            return None
        try:
            box = transform_bounds(grid.crs, "EPSG:4326", *grid.bounds)
        except RasterioError:
            return None
        return cls(*box) if np.isfinite(box).all() else None

    def __str__(self) -> str:
        west, east = (f"{abs(angle):.4f}° {'W' if angle < 0 else 'E'}" for angle in (self.west, self.east))
        south, north = (f"{abs(angle):.4f}° {'S' if angle < 0 else 'N'}" for angle in (self.south, self.north))
        return f"{south} to {north}, {west} to {east}"
