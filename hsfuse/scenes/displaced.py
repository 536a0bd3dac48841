"""Reading a scene at other places than its pixels': on another grid, or along a displacement on another scene.

Spectra of neighbouring pixels are mixed, by a cubic spline that goes through every one of them (Unser, Aldroubi & Eden
1993): of the interpolators of that reach it leaves most of the detail (Thévenaz, Blu & Unser 2000).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy import ndimage

from hsfuse.scenes.grid import PixelWindow, map_pixels
from hsfuse.scenes.scene import Block, no_block

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hsfuse.scenes.grid import Grid
    from hsfuse.scenes.scene import Scene

# A pixel's weight in a spline decays by 0.268 a pixel: beyond these it is less than float32 holds.
_REACH = 14


class PointField(Protocol):
    """A displacement of one scene on another."""

    def at(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Displacement (x, y) of what the displaced scene shows at (x, y), in its pixels."""

    def hsi_points(
        self, x: NDArray[np.float64], y: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where the displaced scene shows what lies at (x, y), all in its pixels."""


@dataclass(frozen=True, eq=False)
class Displacement:
    """Where pixels of a grid that was moved are to be read."""

    field: PointField
    """The displacement of the scene, in pixels of the grid before it was moved."""

    x: float
    """What the grid was moved by along the columns, in its pixels."""

    y: float
    """The same along the rows."""

    def sources(
        self, x: NDArray[np.float64], y: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Columns and rows of the scene, continuous, that show what lies at (x, y) of the moved grid."""
        return self.field.hsi_points(x + self.x, y + self.y)

    def targets(
        self, x: NDArray[np.float64], y: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Columns and rows of the moved grid, continuous, at which lies what the scene shows at (x, y)."""
        along_x, along_y = self.field.at(x, y)
        return x + along_x - self.x, y + along_y - self.y


@dataclass(frozen=True, eq=False)
class Places:
    """Where a scene shows the pixels of a grid that is not its own."""

    scene: Grid
    """Of the scene, moved or not."""

    grid: Grid
    """Of which pixels are wanted, with the same CRS or another."""

    displacement: Displacement | None = None
    """What the scene shows lies elsewhere than its grid says."""

    def sources(self, window: PixelWindow) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Columns and rows of the scene, continuous, that show the centres of a window of the grid."""
        x, y = _mapped(*_centres(window), self.grid, self.scene)
        return (x, y) if self.displacement is None else self.displacement.sources(x, y)

    def source_window(self, window: PixelWindow) -> PixelWindow | None:
        """The scene's pixels that a window of the grid is interpolated from; None where it has none."""
        return window_around(*self.sources(window), self.scene)

    def targets(self, window: PixelWindow, ratio: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Columns and rows of the grid refined by the ratio, continuous, that the fine pixels in a window of the scene
        show.
        """
        x, y = (axis / ratio for axis in _centres(window.scaled(ratio)))
        if self.displacement is not None:
            x, y = self.displacement.targets(x, y)
        x, y = _mapped(x, y, self.scene, self.grid)
        return x * ratio, y * ratio


def _mapped(
    x: NDArray[np.float64], y: NDArray[np.float64], source: Grid, target: Grid
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixel coordinates in another grid, of any shape."""
    if source == target:
        return x, y
    points = map_pixels(np.stack((x.reshape(-1), y.reshape(-1)), axis=1), source, target)
    return points[:, 0].reshape(x.shape), points[:, 1].reshape(y.shape)


def _centres(window: PixelWindow) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = np.meshgrid(window.column + np.arange(window.width) + 0.5, window.row + np.arange(window.height) + 0.5)
    return x, y


def window_around(x: NDArray[np.float64], y: NDArray[np.float64], grid: Grid) -> PixelWindow | None:
    """The pixels of a grid that places on it are interpolated from; None where no place lies on it."""
    inside = _inside(x, y, grid.width, grid.height)
    if not inside.any():
        return None
    left, top = (max(int(axis[inside].min()) - _REACH, 0) for axis in (x, y))
    right = min(int(x[inside].max()) + 1 + _REACH, grid.width)
    bottom = min(int(y[inside].max()) + 1 + _REACH, grid.height)
    return PixelWindow(left, top, right - left, bottom - top)


def _inside(x: NDArray[np.float64], y: NDArray[np.float64], width: int, height: int) -> NDArray[np.bool_]:
    return np.asarray((x >= 0) & (x < width) & (y >= 0) & (y < height))


def read_placed(scene: Scene, window: PixelWindow, bands: Sequence[int], places: Places) -> Block:
    """A window of another grid, interpolated from the scene's own pixels around it.

    However an area is cut into windows, the result is the same to float32 rounding.

    Raises:
        WorkError: The file breaks off.
    """
    x, y = places.sources(window)
    source = window_around(x, y, scene.grid)
    if source is None:
        return no_block(len(bands), window)
    return sampled(scene.read(source, bands), x - source.column, y - source.row)


def sampled(block: Block, x: NDArray[np.float64], y: NDArray[np.float64]) -> Block:
    """A block at continuous columns and rows (h, w), counted from its upper left.

    A pixel is valid, suspect or missing as the one that it falls on, and not valid beyond the block.
    """
    height, width = block.valid.shape
    inside = _inside(x, y, width, height)
    row, column = (np.clip(axis.astype(int), 0, edge - 1) for axis, edge in ((y, height), (x, width)))
    valid, suspect = block.valid[row, column] & inside, block.suspect[row, column] & inside
    good = block.valid & ~block.suspect
    if not good.any():
        values = block.values[:, row, column]
    else:
        values = cubic_spline(_filled(block.values, good), x, y)
        values[:, suspect] = block.values[:, row[suspect], column[suspect]]
    values[:, ~valid] = 0
    missing = None if block.missing is None else block.missing[:, row, column] & valid
    return Block(values, valid, missing, suspect)


def _filled(values: NDArray[np.float32], good: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Each pixel that is not good as the nearest that is, so that none bleeds into its neighbours."""
    if good.all():
        return values
    rows, columns = ndimage.distance_transform_edt(~good, return_distances=False, return_indices=True)
    return np.asarray(values[:, rows, columns])


def cubic_spline(image: NDArray[np.float32], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float32]:
    """An image (C, H, W) at continuous columns and rows of shape (h, w), pixel i from i to i + 1: float32 (C, h, w)."""
    coefficients = image
    for axis in (1, 2):
        if image.shape[axis] > 1:
            coefficients = ndimage.spline_filter1d(coefficients, 3, axis=axis, output=np.float32, mode="mirror")
    rows, columns = (_taps(axis - 0.5, edge) for axis, edge in ((y, image.shape[1]), (x, image.shape[2])))
    values = np.zeros((len(image), *x.shape), np.float32)
    for row, down in rows:
        for column, across in columns:
            values += coefficients[:, row, column] * (down * across)
    return values


def _taps(place: NDArray[np.float64], edge: int) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """The four coefficients around each place along an axis of so many, mirrored at its ends, and their weights."""
    first = np.floor(place).astype(np.int64)
    part = place - first
    rest = 1 - part
    weights = (rest**3, 3 * part**3 - 6 * part**2 + 4, 3 * rest**3 - 6 * rest**2 + 4, part**3)
    last = max(edge - 1, 0)
    indices = (np.abs(first + step) for step in range(-1, 3))
    mirrored = (np.clip(last - np.abs(last - index), 0, last) for index in indices)
    return [(index, (weight / 6).astype(np.float32)) for index, weight in zip(mirrored, weights, strict=True)]
