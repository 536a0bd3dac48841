"""The pixel grid of a raster, and how the grids of an HSI and an MSI lie to each other.

Pixel coordinates follow GDAL: (0, 0) is the upper left *corner* of the first pixel, x runs along the columns.
All comparisons of two grids go through `map_pixels`, so rotated grids and differing CRS need no special case.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from affine import Affine
from pyproj import Transformer
from pyproj.exceptions import CRSError, ProjError
from rasterio.windows import Window

from hsfuse.errors import PairError, RequestError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rasterio.crs import CRS

RATIO_TOLERANCE = 0.02
"""Largest relative distance of the measured ratio from the integer that is taken for it."""

NESTING_TOLERANCE = 0.01
"""Two grids nest where their pixels coincide within this part of an MSI pixel."""

# Degrees are so oblong in metres at 78° of latitude; beyond, something else is the matter.
_MOST_OBLONG = 5.0

MAX_RATIO = 20
"""Largest ratio of HSI to MSI pixel that is fused."""


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
        x, y = self.pixel_size
        size = f"{x:.6g}" if math.isclose(x, y, rel_tol=1e-3) else f"{x:.6g} x {y:.6g}"
        return f"{size} {_unit(self.crs)}".rstrip()


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


def measured_ratio(hsi: Grid, msi: Grid) -> tuple[float, float]:
    """Size of an HSI pixel in MSI pixels, along the HSI's rows and along its columns, at the HSI's centre."""
    centre = np.array([hsi.width / 2, hsi.height / 2])
    # Ten pixels long: one would lose digits to large coordinates, the whole grid to the projection's bend.
    steps = np.array([[-5.0, 0.0], [5.0, 0.0], [0.0, -5.0], [0.0, 5.0]])
    left, right, top, bottom = map_pixels(centre + steps, hsi, msi)
    return float(np.hypot(*(right - left))) / 10, float(np.hypot(*(bottom - top))) / 10


def is_oblong(across: float, down: float) -> bool:
    """Whether an HSI pixel of so many MSI pixels is no square in them."""
    return abs(across - down) > RATIO_TOLERANCE * max(across, down)


def integer_ratio(hsi: Grid, msi: Grid) -> int:
    """The ratio of HSI to MSI pixel: the integer within 2 % of what was measured, from 2 to 20.

    Where an HSI pixel is no square in MSI pixels (degrees over metres) the MSI has to be resampled anyway, and the
    ratio is the integer nearest to the longer side.

    Raises:
        PairError: There is no such integer; the sentence says why.
    """
    across, down = measured_ratio(hsi, msi)
    sizes = f"MSI pixel {msi.describe_pixel()}, HSI pixel {hsi.describe_pixel()}"
    if max(across, down) < 1 - RATIO_TOLERANCE:
        raise PairError(f"The MSI is the coarser one ({sizes}): HSI and MSI seem to be swapped")
    oblong = is_oblong(across, down)
    if oblong and max(across, down) > _MOST_OBLONG * min(across, down):
        raise PairError(
            f"The ratio is {across:.2f} along the rows and {down:.2f} along the columns ({sizes}): "
            "resample one of the scenes to pixels of the other's shape"
        )
    mean = max(across, down) if oblong else (across + down) / 2
    ratio = round(mean)
    if ratio == 1 and abs(mean - 1) <= RATIO_TOLERANCE:
        raise PairError(f"Both scenes have the same pixel size ({sizes}): there is nothing to sharpen")
    if mean > MAX_RATIO * (1 + RATIO_TOLERANCE):
        raise PairError(f"The ratio {mean:.2f} is above {MAX_RATIO} ({sizes}): aggregate the MSI first")
    if oblong and 2 <= ratio <= MAX_RATIO:
        return ratio
    if max(abs(across - ratio), abs(down - ratio)) > RATIO_TOLERANCE * ratio or ratio < 2:
        raise PairError(
            f"MSI pixel {msi.describe_pixel()} is not a whole fraction of HSI pixel {hsi.describe_pixel()} "
            f"(ratio {mean:.2f}): resample one of them, or pass `ratio`"
        )
    return ratio


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


def common_area(hsi: Grid, msi: Grid, ratio: int) -> PixelWindow:
    """The box of whole HSI pixels that the MSI covers.

    Where the MSI is turned against the HSI the box also holds corners without MSI; they read as invalid.

    Raises:
        PairError: The scenes do not overlap by a whole HSI pixel.
    """
    outline = clip_polygon(map_pixels(_outline(msi), msi, hsi), hsi.width, hsi.height)
    if len(outline):
        slack = NESTING_TOLERANCE / ratio
        left, top = np.ceil(outline.min(axis=0) - slack).astype(int)
        right, bottom = np.floor(outline.max(axis=0) + slack).astype(int)
        if right > left and bottom > top:
            return PixelWindow(int(left), int(top), int(right - left), int(bottom - top))
    raise PairError(
        f"The scenes do not overlap by a whole HSI pixel: the HSI covers {_describe_bounds(hsi)}, "
        f"the MSI {_describe_bounds(msi)}"
    )


def clip_polygon(polygon: NDArray[np.float64], width: float, height: float) -> NDArray[np.float64]:
    """The part of a polygon, vertices (N, 2), in the rectangle from (0, 0) to (width, height); maybe empty.

    Sutherland and Hodgman (1974): the polygon is cut at one side of the rectangle after the other.
    """
    sides = (
        (np.array([1.0, 0.0]), 0.0),
        (np.array([-1.0, 0.0]), -width),
        (np.array([0.0, 1.0]), 0.0),
        (np.array([0.0, -1.0]), -height),
    )
    for normal, limit in sides:
        if not len(polygon):
            break
        depth = polygon @ normal - limit
        following, following_depth = np.roll(polygon, -1, axis=0), np.roll(depth, -1)
        crosses = (depth >= 0) != (following_depth >= 0)
        part = np.divide(depth, depth - following_depth, out=np.zeros_like(depth), where=crosses)
        cuts = polygon + part[:, None] * (following - polygon)
        candidates = np.stack((polygon, cuts), axis=1).reshape(-1, 2)
        polygon = candidates[np.stack((depth >= 0, crosses), axis=1).reshape(-1)]
    return polygon


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


def _outline(grid: Grid, points_a_side: int = 32) -> NDArray[np.float64]:
    step = np.linspace(0, 1, points_a_side, endpoint=False)
    zero, one = np.zeros_like(step), np.ones_like(step)
    x = np.concatenate((step, one, 1 - step, zero))
    y = np.concatenate((zero, step, one, 1 - step))
    return np.stack((x * grid.width, y * grid.height), axis=1)


def _unit(crs: CRS | None) -> str:
    if crs is None:
        return ""
    if crs.is_geographic:
        return "°"
    unit = str(crs.linear_units)
    return "m" if unit.lower() in {"metre", "meter", "m"} else unit


def _name(crs: CRS | None) -> str:
    return "an unknown CRS" if crs is None else str(crs.to_string())[:60]


def _describe_bounds(grid: Grid) -> str:
    left, bottom, right, top = grid.bounds
    return f"x {left:.9g} to {right:.9g}, y {bottom:.9g} to {top:.9g} ({_name(grid.crs)})"
