"""Quality layers: which pixels of a scene a product, or a mask of the user's own, calls bad, and why."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from hsfuse.errors import SceneError
from hsfuse.scenes.grid import Grid, PixelWindow, lattice, map_pixels
from hsfuse.scenes.raster import RASTER_ERRORS, Raster, data_file, gdal_environment, unreadable

if TYPE_CHECKING:
    from numpy.typing import NDArray

NO_DATA = "no data"
"""The reason of pixels that show nothing, which the product's nodata value mostly says as well."""

_PATCH = 64
_PATCHES_A_SIDE = 12


@dataclass(frozen=True)
class Flag:
    """One reason to call a pixel bad, as numbers in a quality layer."""

    reason: str
    """Such as `cloud`."""
    values: tuple[int, ...] = ()
    """Bad where the number is one of these …"""
    bits: int = 0
    """… or has one of these bits set …"""
    not_zero: bool = False
    """… or is anything but 0."""
    bands: tuple[int, ...] = (0,)
    """0-based bands of the layer that are asked."""
    share: float = 0.0
    """Bad where more than this part of the bands is."""

    def found(self, numbers: NDArray[Any]) -> NDArray[np.bool_]:
        """Where numbers (C, …) of all of a layer's bands say so, shape (…)."""
        asked = numbers[list(self.bands)]
        bad = np.isin(asked, self.values) if self.values else np.zeros(asked.shape, dtype=bool)
        if self.bits:
            bad |= (asked.astype(np.int64) & self.bits) != 0
        if self.not_zero:
            bad |= asked != 0
        few: NDArray[np.bool_] = bad.mean(axis=0) > self.share
        return few


@dataclass(frozen=True, eq=False)
class FlagLayer:
    """A raster of flags on a grid of its own."""

    raster: Raster
    """Where the numbers come from."""
    flags: tuple[Flag, ...]
    """What they mean."""

    @property
    def grid(self) -> Grid:
        """Where its pixels lie."""
        return Grid.of_dataset(self.raster.dataset)


@dataclass(frozen=True, eq=False)
class QualityMask:
    """The quality layers of a scene, read on the scene's own grid."""

    grid: Grid
    """Of the scene."""
    layers: tuple[FlagLayer, ...]
    """What is asked; a pixel that lies outside of a layer is not flagged by it."""

    def read(self, window: PixelWindow) -> NDArray[np.bool_]:
        """Where pixels under a window of the scene are bad for any reason, shape (h, w).

        Raises:
            WorkError: A layer breaks off or cannot be decoded.
        """
        bad = np.zeros((window.height, window.width), dtype=bool)
        for found in self.reasons(window).values():
            bad |= found
        return bad

    def reasons(self, window: PixelWindow) -> dict[str, NDArray[np.bool_]]:
        """Where pixels under a window are bad, by reason, each (h, w).

        Raises:
            WorkError: A layer breaks off or cannot be decoded.
        """
        found: dict[str, NDArray[np.bool_]] = {}
        for layer in self.layers:
            numbers, inside = _on_grid(layer, self.grid, window)
            for flag in layer.flags:
                bad = flag.found(numbers) & inside
                found[flag.reason] = found[flag.reason] | bad if flag.reason in found else bad
        return found

    def shares(self) -> dict[str, float]:
        """Part of the scene's pixels that is flagged, by reason and as `flagged` for any but missing data.

        Small scenes are read whole, of others patches on a lattice; pixels without data do not count.
        """
        counts: dict[str, int] = {}
        pixels = 0
        for window in lattice(self.grid.width, self.grid.height, _PATCH, _PATCHES_A_SIDE, _PATCHES_A_SIDE):
            found = self.reasons(window)
            shown = ~found.pop(NO_DATA, np.zeros((window.height, window.width), dtype=bool))
            pixels += int(shown.sum())
            found["flagged"] = np.logical_or.reduce([*found.values(), np.zeros_like(shown)])
            for reason, bad in found.items():
                counts[reason] = counts.get(reason, 0) + int((bad & shown).sum())
        return {reason: count / pixels if pixels else 0.0 for reason, count in counts.items()}

    @cached_property
    def description(self) -> str | None:
        """`23 % of the pixels are flagged (cloud 20 %, shadow 3 %)`, None where hardly any is; read once."""
        shares = self.shares()
        flagged = shares.pop("flagged", 0.0)
        if flagged < 0.001:
            return None
        by_reason = sorted(((share, reason) for reason, share in shares.items() if share >= 0.0005), reverse=True)
        listed = ", ".join(f"{reason} {_percent(share)}" for share, reason in by_reason)
        return f"{_percent(flagged)} of the pixels are flagged ({listed}) and left out"


def mask_of_file(path: str) -> FlagLayer:
    """A mask that the user brings: one band, bad where it is not 0.

    Raises:
        SceneError: The file cannot be read, or has several bands.
    """
    raster = Raster(data_file(path))
    try:
        with gdal_environment():
            count = raster.dataset.count
    except RASTER_ERRORS as error:
        raise SceneError(unreadable(path, error)) from error
    if count != 1:
        raise SceneError(f"{path}: a mask has one band, this file has {count}: give one where bad pixels are not 0")
    return FlagLayer(raster, (Flag("own mask", not_zero=True),))


def require_layers(layers: tuple[FlagLayer, ...]) -> None:
    """Open quality layers, so that what is wrong with them is found out now.

    Raises:
        SceneError: One cannot be opened.
    """
    for layer in layers:
        try:
            _ = layer.grid
        except RASTER_ERRORS as error:
            raise SceneError(f"{unreadable(layer.raster.path, error)} (--no-quality-mask leaves it)") from error


def require_place(mask: FlagLayer, scene: Grid) -> None:
    """Refuse a mask that cannot be laid onto a scene.

    Raises:
        SceneError: One of them has no CRS or geotransform, and they differ in size.
    """
    grid = mask.grid
    if not _comparable(grid, scene) and (grid.width, grid.height) != (scene.width, scene.height):
        raise SceneError(
            f"{mask.raster.path}: the mask has {grid.width} x {grid.height} pixels and the scene {scene.width} x "
            f"{scene.height}, and not both say where they lie: give the mask the scene's grid"
        )


def _comparable(one: Grid, other: Grid) -> bool:
    placed = one.has_transform and other.has_transform
    return placed and (one.crs is None) == (other.crs is None)


def _on_grid(layer: FlagLayer, scene: Grid, window: PixelWindow) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """A layer's numbers (C, h, w) at the centres of a scene's pixels, and where it has any, (h, w)."""
    with gdal_environment():
        grid, bands = layer.grid, range(layer.raster.dataset.count)
        if grid == scene or not _comparable(grid, scene):
            return layer.raster.read(window, bands)[0], np.ones((window.height, window.width), dtype=bool)
    rows, columns = np.mgrid[window.rows, window.columns] + 0.5
    centres = np.stack((columns.reshape(-1), rows.reshape(-1)), axis=1)
    # A centre that falls onto an edge between two pixels is to belong to the same side everywhere.
    column, row = np.floor(map_pixels(centres, scene, grid) + 1e-6).T.reshape(2, *rows.shape)
    inside = (column >= 0) & (row >= 0) & (column < grid.width) & (row < grid.height)
    numbers = np.zeros((len(bands), *rows.shape), layer.raster.dtype)
    if inside.any():
        column, row = column[inside].astype(int), row[inside].astype(int)
        left, top = int(column.min()), int(row.min())
        box = PixelWindow(left, top, int(column.max()) - left + 1, int(row.max()) - top + 1)
        numbers[:, inside] = layer.raster.read(box, bands)[0][:, row - top, column - left]
    return numbers, inside


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"
