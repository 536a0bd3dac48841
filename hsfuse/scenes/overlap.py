"""Which part of an HSI an MSI covers, however the two lie to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hsfuse.errors import PairError
from hsfuse.scenes.grid import NESTING_TOLERANCE, Grid, PixelWindow, map_pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

_POINTS_A_SIDE = 32


def overlap(hsi: Grid, msi: Grid) -> NDArray[np.float64]:
    """The outline of what both cover, vertices (N, 2) in HSI pixels.

    Raises:
        PairError: They cover nothing in common, or one of them reaches where the other's CRS is not defined.
    """
    # The smaller of the two maps well into the other's pixels; a world's outline in UTM is none.
    found = _there_and_back(hsi, msi)
    if found is not None:
        inside = clip_polygon(found, msi.width, msi.height)
        found = map_pixels(_divided(inside), msi, hsi) if len(inside) else inside
    else:
        found = _there_and_back(msi, hsi)
    if found is None:
        found = map_pixels(_outline(msi), msi, hsi)
    found = clip_polygon(found, hsi.width, hsi.height)
    if not len(found):
        raise _apart(hsi, msi)
    return found


def _there_and_back(source: Grid, target: Grid) -> NDArray[np.float64] | None:
    """The outline of a grid in pixels of another; None where it does not come back as it was."""
    outline = _outline(source)
    try:
        mapped = map_pixels(outline, source, target)
        back = map_pixels(mapped, target, source)
    except PairError:
        return None
    return mapped if np.abs(back - outline).max() < NESTING_TOLERANCE else None


def _divided(polygon: NDArray[np.float64]) -> NDArray[np.float64]:
    """A polygon with points along its sides, which bend in another CRS."""
    part = np.linspace(0, 1, _POINTS_A_SIDE, endpoint=False)[:, None]
    following = np.roll(polygon, -1, axis=0)
    return (polygon[:, None] + part * (following - polygon)[:, None]).reshape(-1, 2)


def common_area(hsi: Grid, msi: Grid, ratio: int) -> PixelWindow:
    """The box of whole HSI pixels that the MSI covers.

    Where the MSI is turned against the HSI the box also holds corners without MSI; they read as invalid.

    Raises:
        PairError: The scenes do not overlap by a whole HSI pixel.
    """
    found = whole_pixels(overlap(hsi, msi), ratio)
    if found is None:
        raise _apart(hsi, msi)
    return found


def wanted_area(common: PixelWindow, wanted: PixelWindow | None, warnings: list[str]) -> PixelWindow:
    """The part of a common area that is asked for; a sentence joins `warnings` where that is less.

    Raises:
        PairError: Nothing of it is in common.
    """
    if wanted is None:
        return common
    area = wanted.intersection(common)
    if area is None:
        raise PairError(
            f"The window {_text(wanted)} lies outside of what both scenes cover, {_text(common)} "
            "(column, row, width, height in HSI pixels)"
        )
    if area != wanted:
        warnings.append(f"the window {_text(wanted)} was cut to what both scenes cover, {_text(area)}")
    return area


def _text(window: PixelWindow) -> str:
    return f"{window.column},{window.row},{window.width},{window.height}"


def whole_pixels(outline: NDArray[np.float64], ratio: int) -> PixelWindow | None:
    """The whole pixels in the box around an outline (N, 2), to a hundredth of what the ratio cuts them into."""
    slack = NESTING_TOLERANCE / ratio
    left, top = np.ceil(outline.min(axis=0) - slack).astype(int)
    right, bottom = np.floor(outline.max(axis=0) + slack).astype(int)
    if right <= left or bottom <= top:
        return None
    return PixelWindow(int(left), int(top), int(right - left), int(bottom - top))


def window_under(area: Grid, grid: Grid, margin: int = 0, slack: float = 0.0) -> PixelWindow | None:
    """The pixels of a grid that an area touches.

    Args:
        area: Also within it lines may bend in the grid's CRS.
        grid: Whose pixels are wanted.
        margin: So many pixels more on every side.
        slack: Parts of a pixel by which the area may reach into one without touching it.

    Returns:
        None where it touches none.
    """
    edge = np.linspace(0, 1, 17)
    points = np.array([[x, y] for x in edge for y in edge]) * (area.width, area.height)
    under = map_pixels(points, area, grid)
    left, top = np.floor(under.min(axis=0) + slack).astype(int) - margin
    right, bottom = np.ceil(under.max(axis=0) - slack).astype(int) + margin
    if right <= left or bottom <= top:
        return None
    return PixelWindow(int(left), int(top), int(right - left), int(bottom - top)).intersection(grid.window)


def window_outline(window: PixelWindow) -> NDArray[np.float64]:
    """Points around a window, (N, 2), close enough for lines that bend in another CRS."""
    step = np.linspace(0, 1, _POINTS_A_SIDE, endpoint=False)
    zero, one = np.zeros_like(step), np.ones_like(step)
    x = np.concatenate((step, one, 1 - step, zero))
    y = np.concatenate((zero, step, one, 1 - step))
    return np.stack((window.column + x * window.width, window.row + y * window.height), axis=1)


def _outline(grid: Grid) -> NDArray[np.float64]:
    return window_outline(grid.window)


def _apart(hsi: Grid, msi: Grid) -> PairError:
    return PairError(
        f"The scenes do not overlap by a whole HSI pixel: the HSI covers {hsi.describe_bounds()}, "
        f"the MSI {msi.describe_bounds()}"
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
