"""The pixel grid of a raster, and how the grids of an HSI and an MSI lie to each other.

Pixel coordinates follow GDAL: (0, 0) is the upper left *corner* of the first pixel, x runs along the columns.
All comparisons of two grids go through `map_pixels`, so rotated grids and differing CRS need no special case.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from pyproj import Geod, Transformer
from pyproj.exceptions import CRSError, ProjError
from rasterio.windows import Window

from hsfuse.errors import PairError, RequestError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rasterio.crs import CRS

_ELLIPSOID = Geod(ellps="WGS84")

NESTING_TOLERANCE = 0.01
"""Two grids nest where their pixels coincide within this part of an MSI pixel."""


@dataclass(frozen=True)
class PixelWindow:
    """A rectangle of whole pixels in some grid."""

    column: int
    """First column; may be negative where a window reaches over its grid."""
    row: int
    """First row."""
    width: int
    """Number of columns, at least 1."""
    height: int
    """Number of rows, at least 1."""

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise RequestError(f"A window of {self.width} x {self.height} pixels holds nothing: give at least 1 x 1")

    @property
    def rows(self) -> slice:
        """The rows as a slice."""
        return slice(self.row, self.row + self.height)

    @property
    def bottom(self) -> int:
        """The row below it."""
        return self.row + self.height

    @property
    def columns(self) -> slice:
        """The columns as a slice."""
        return slice(self.column, self.column + self.width)

    def shifted(self, columns: int, rows: int) -> PixelWindow:
        """The same rectangle, `columns` to the right and `rows` down."""
        return PixelWindow(self.column + columns, self.row + rows, self.width, self.height)

    def scaled(self, ratio: int) -> PixelWindow:
        """The same area in a grid that is `ratio` times finer."""
        return PixelWindow(self.column * ratio, self.row * ratio, self.width * ratio, self.height * ratio)

    def intersection(self, other: PixelWindow) -> PixelWindow | None:
        """The pixels that both windows hold, None where there are none."""
        left, top = max(self.column, other.column), max(self.row, other.row)
        width = min(self.columns.stop, other.columns.stop) - left
        height = min(self.rows.stop, other.rows.stop) - top
        return PixelWindow(left, top, width, height) if width > 0 and height > 0 else None

    def contains(self, other: PixelWindow) -> bool:
        """Whether all of `other` lies in this window."""
        return self.intersection(other) == other

    def to_rasterio(self) -> Window:
        """The window as rasterio wants it."""
        return Window(self.column, self.row, self.width, self.height)


@dataclass(frozen=True)
class Grid:
    """Where the pixels of a raster lie."""

    width: int
    """Number of columns."""
    height: int
    """Number of rows."""
    transform: Affine
    """From pixel coordinates to those of the CRS; the identity where the file has none."""
    crs: CRS | None
    """Coordinate reference system, None where the file has none."""

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise RequestError(f"A grid of {self.width} x {self.height} pixels holds nothing")
        if not math.isfinite(self.transform.determinant) or self.transform.determinant == 0:
            raise RequestError(f"The geotransform {self.transform.to_gdal()} gives pixels without an area")

    @classmethod
    def of_dataset(cls, dataset: Any) -> Grid:
        """Where a dataset of rasterio, or one that answers like it, says that its pixels lie.

        A local CRS that says no more than the name of its unit counts as none.

        Raises:
            RequestError: Its geotransform gives pixels without an area.
        """
        return cls(dataset.width, dataset.height, dataset.transform, _usable_crs(dataset.crs))

    @property
    def has_transform(self) -> bool:
        """Whether the file said where its pixels lie; GDAL reports the identity where it did not."""
        return self.transform != Affine.identity()

    @property
    def pixel_size(self) -> tuple[float, float]:
        """Lengths of a pixel's sides along a row and along a column, in units of the CRS, rotated or not."""
        return (
            math.hypot(self.transform.a, self.transform.d),
            math.hypot(self.transform.b, self.transform.e),
        )

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right and top of the box around the grid, in units of the CRS."""
        corners = [
            self.transform @ corner for corner in ((0, 0), (self.width, 0), (0, self.height), (self.width, self.height))
        ]
        xs, ys = zip(*corners, strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    def coarsen(self, ratio: int) -> Grid:
        """The grid whose pixels are squares of `ratio` × `ratio` of these, from the upper left, as far as they go."""
        transform = self.transform @ Affine.scale(ratio)
        return Grid(self.width // ratio, self.height // ratio, transform, self.crs)

    def pixel_metres(self, x: float | None = None, y: float | None = None) -> tuple[float, float]:
        """Lengths of a pixel's sides along a row and along a column in metres; without a CRS in whatever unit it has.

        A projected CRS is taken at its word; of degrees the metres are measured at a place.

        Args:
            x: Of that place, in pixels of the grid; by default its middle.
            y: Likewise.
        """
        if self.crs is None or not self.crs.is_geographic:
            unit = 1.0 if self.crs is None else float(self.crs.linear_units_factor[1])
            across, down = self.pixel_size
            return across * unit, down * unit
        x, y = self.width / 2 if x is None else x, self.height / 2 if y is None else y
        ends = np.array([[x - 0.5, y], [x + 0.5, y], [x, y - 0.5], [x, y + 0.5]])
        longitude, latitude = _apply(self.transform, ends[:, 0], ends[:, 1])
        _, _, metres = _ELLIPSOID.inv(longitude[::2], latitude[::2], longitude[1::2], latitude[1::2])
        return float(metres[0]), float(metres[1])

    @property
    def window(self) -> PixelWindow:
        """The whole grid as a window."""
        return PixelWindow(0, 0, self.width, self.height)

    def crop(self, window: PixelWindow) -> Grid:
        """The part of the grid under `window`."""
        transform = self.transform @ Affine.translation(window.column, window.row)
        return Grid(window.width, window.height, transform, self.crs)

    def refine(self, ratio: int) -> Grid:
        """The same area with every pixel cut into `ratio` × `ratio`."""
        transform = self.transform @ Affine.scale(1 / ratio)
        return Grid(self.width * ratio, self.height * ratio, transform, self.crs)

    def describe_pixel(self) -> str:
        """A pixel's size with its unit, as error messages give it: `30 m`."""
        return f"{_sides(*self.pixel_size, digits=6)} {_unit(self.crs)}".rstrip()

    def describe_pixel_metres(self, x: float | None = None, y: float | None = None) -> str:
        """A pixel's size in metres, of degrees at a place as in `pixel_metres`: `42.6 x 60.2 m`."""
        return f"{_sides(*self.pixel_metres(x, y), digits=4)} {'' if self.crs is None else 'm'}".rstrip()

    def describe_bounds(self) -> str:
        """The box around the grid, and its CRS, as error messages give them."""
        left, bottom, right, top = self.bounds
        return f"x {left:.9g} to {right:.9g}, y {bottom:.9g} to {top:.9g} ({_name(self.crs)})"


def map_pixels(points: NDArray[np.float64], source: Grid, target: Grid) -> NDArray[np.float64]:
    """Pixel coordinates in `target` of points that are given in pixel coordinates of `source`.

    Args:
        points: x and y, shape (N, 2).
        source: the grid of `points`.
        target: the grid that is asked about; in another CRS if need be, but not with one CRS missing.

    Raises:
        PairError: The two CRS cannot be transformed into each other here.
    """
    x, y = _apply(source.transform, points[:, 0], points[:, 1])
    if source.crs is not None and target.crs is not None and source.crs != target.crs:
        try:
            x, y = _transformer(source.crs.to_wkt(), target.crs.to_wkt()).transform(x, y)
        except (ProjError, CRSError) as error:
            raise PairError(
                f"Coordinates cannot be transformed from {_name(source.crs)} to {_name(target.crs)}: {error}"
            ) from error
    with np.errstate(invalid="ignore"):  # infinite where a projection is not defined
        mapped = np.stack(_apply(~target.transform, x, y), axis=1)
    if not np.isfinite(mapped).all():
        raise PairError(
            f"The scene in {_name(source.crs)} reaches where {_name(target.crs)} is not defined: "
            "bring both scenes to one CRS"
        )
    return mapped


@lru_cache(maxsize=32)
def _transformer(source: str, target: str) -> Transformer:
    """Between two CRS given as WKT, x before y in both; making one costs more than using it."""
    return Transformer.from_crs(source, target, always_xy=True)


def _apply(
    transform: Affine, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return transform.a * x + transform.b * y + transform.c, transform.d * x + transform.e * y + transform.f


def nesting_offset(fine: Grid, msi: Grid) -> tuple[int, int] | None:
    """Column and row of the MSI at which `fine` begins, if their pixels coincide within 1 % of an MSI pixel.

    Args:
        fine: The HSI's grid refined by the ratio, cropped to what is of interest.
        msi: the grid of the MSI.

    Returns:
        None where the pixels do not coincide everywhere, so that the MSI has to be resampled.
    """
    # Edge middles as well as corners: between two projections lines that meet at their ends may bulge.
    parts = np.array([[x, y] for x in (0.0, 0.5, 1.0) for y in (0.0, 0.5, 1.0)])
    points = parts * (fine.width, fine.height)
    shift = map_pixels(points, fine, msi) - points
    column, row = np.rint(shift[0])
    if np.abs(shift - (column, row)).max() > NESTING_TOLERANCE:
        return None
    return int(column), int(row)


def lattice(width: int, height: int, patch: int, columns: int, rows: int) -> list[PixelWindow]:
    """At most `columns` × `rows` windows of `patch` pixels a side, spread evenly from corner to corner.

    None overlap; where the grid is smaller than a patch, so is the window.
    """
    return [
        PixelWindow(column, row, min(patch, width), min(patch, height))
        for row in _starts(height, patch, rows)
        for column in _starts(width, patch, columns)
    ]


def _starts(length: int, patch: int, number: int) -> list[int]:
    number = max(1, min(number, length // patch))
    if number == 1:
        return [max(0, length - patch) // 2]
    return [round(start) for start in np.linspace(0, length - patch, number).tolist()]


def _usable_crs(crs: Any) -> CRS | None:
    """None for a missing CRS, and for a local one that says no more than the name of its unit."""
    return None if not crs or crs.to_wkt().startswith(("LOCAL_CS", "ENGCRS")) else crs


def _sides(across: float, down: float, digits: int) -> str:
    """Both sides of a pixel, or one of a square."""
    sides = [f"{float(f'{side:.{digits}g}'):.9g}" for side in (across, down)]
    return sides[0] if math.isclose(across, down, rel_tol=1e-3) else " x ".join(sides)


def _unit(crs: CRS | None) -> str:
    if crs is None:
        return ""
    if crs.is_geographic:
        return "°"
    unit = str(crs.linear_units)
    return "m" if unit.lower() in {"metre", "meter", "m"} else unit


def _name(crs: CRS | None) -> str:
    return "an unknown CRS" if crs is None else str(crs.to_string())[:60]
