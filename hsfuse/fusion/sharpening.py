"""One step of bringing MSIs together: the bands of a coarser one join those of a finer one, on the finer one's grid.

A coarser image is to the finer one what the HSI is to the MSI, so the tile engine does it: finished rows go, beside
those of the finer bands, into a temporary raster. What either image does not know is no data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hsfuse.classical.band_sharpening import BandSharpening
from hsfuse.errors import PairError, SceneError
from hsfuse.fusion.engine import fuse_tiles
from hsfuse.fusion.job import plan_tiles
from hsfuse.fusion.method import FittedClassical
from hsfuse.fusion.tile_work import TileWork
from hsfuse.imaging import RelativeBlur
from hsfuse.scenes import (
    MAX_RATIO,
    PixelWindow,
    Scene,
    ScenePair,
    SharpenedBands,
    StackWriter,
    measured_ratio,
    nesting_offset,
)
from hsfuse.scenes.overlap import window_under
from hsfuse.subspace.patch import PairPatch

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from hsfuse.fusion.compute import Compute
    from hsfuse.progress import Progress
    from hsfuse.scenes import Bands, Grid

_WHOLE = 0.02  # relative distance of a ratio from a whole number
_SHIFTED = 0.3  # coarse pixels from which on the user is told
_STRIP = 256


@dataclass(frozen=True, eq=False)
class MsiBands:
    """Some bands of an MSI."""

    scene: Scene
    """Where they are."""

    index: tuple[int, ...]
    """Which they are, 0-based."""

    @property
    def bands(self) -> Bands:
        """What is known about them."""
        return self.scene.bands.select(self.index)

    @property
    def names(self) -> tuple[str, ...]:
        """What to call them."""
        return tuple(self.scene.bands.names[band] or f"band {band + 1}" for band in self.index)


@dataclass(frozen=True)
class Workplace:
    """Where and how MSIs are brought together."""

    name: str
    """What messages call the result."""

    beside: Path | None
    """The file beside which it lies; None for the system's folder for temporary files."""

    compute: Compute
    """With the memory that there is."""

    screen: bool
    """As of `Scene.open`."""

    progress: Progress
    """Observer of the work."""

    def stack(self, grid: Grid, fine: MsiBands, coarse: MsiBands) -> StackWriter:
        """A raster for both."""
        sensors = {part.scene.sensor for part in (fine, coarse)} - {None}
        sensor = sensors.pop() if len(sensors) == 1 else None
        bands = fine.bands.followed_by(coarse.bands)
        return StackWriter(self.name, grid, bands, sensor=sensor, beside=self.beside)

    def read_back(self, stack: StackWriter, sharpened: tuple[SharpenedBands, ...]) -> MsiBands:
        """What was written."""
        scene = replace(stack.scene(screen=self.screen), sharpened=sharpened)
        return MsiBands(scene, tuple(range(scene.count)))


def times(coarse: Grid, fine: Grid) -> float:
    """How many times as large the pixels of one grid are."""
    return math.sqrt(math.prod(measured_ratio(coarse, fine)))


def sharpened(fine: MsiBands, coarse: MsiBands, area: PixelWindow, place: Workplace) -> tuple[MsiBands, list[str]]:
    """Sharpen coarse bands by finer ones.

    Args:
        fine: On whose grid the result lies.
        coarse: What to sharpen.
        area: Pixels of the finer scene that are needed.
        place: Where to do it.

    Returns:
        The finer bands and the sharpened ones, and sentences for the user.

    Raises:
        PairError: The grids do not nest, or have no pixel in common.
        SceneError: There are too few valid pixels.
        WorkError: The work failed on the way.
    """
    scenes = _nested(fine, coarse, area)
    if scenes.msi_offset is None:
        raise PairError(
            f"the pixels of {coarse.scene.path} ({coarse.scene.grid.describe_pixel()}) do not lie on whole ones of "
            f"{fine.scene.path} ({fine.scene.grid.describe_pixel()}): warp one of them onto the other's grid "
            "(gdalwarp -tap), or leave it out"
        )
    blocks = [block.for_fits() for block in scenes.sample()]
    blur = RelativeBlur.fit(blocks, scenes.ratio)
    try:
        method = BandSharpening.fit([PairPatch.of(block) for block in blocks], blur.psf)
    except SceneError as error:
        raise SceneError(f"{coarse.scene.path} by {fine.scene.path}: {error}") from error
    corner, area = scenes.msi_offset, PixelWindow(0, 0, scenes.window.width, scenes.window.height)
    taken = PixelWindow(*corner, area.width * scenes.ratio, area.height * scenes.ratio)
    fitted, compute, bands = FittedClassical(method), place.compute.on_cpu(), len(coarse.index)
    plan = plan_tiles(fitted, area, bands=bands, ratio=scenes.ratio, compute=compute)
    with place.stack(fine.scene.grid.crop(taken), fine, coarse) as stack:
        fuse_tiles(
            scenes, TileWork(fitted, compute), plan,
            [_BesideFiner(stack, fine, taken, coarse.scene.screen.nonnegative)],
            bands=bands, progress=place.progress, stage=f"sharpen {', '.join(coarse.names)}",
        )  # fmt: skip
    told = SharpenedBands(
        coarse.names, coarse.scene.grid.describe_pixel(), scenes.ratio, round(float(np.mean(blur.psf.fwhm)), 3),
        (round(blur.shift[0], 3), round(blur.shift[1], 3)),
    )  # fmt: skip
    return place.read_back(stack, (*fine.scene.sharpened, told)), _remarks(fine, coarse, blur)


def joined(fine: MsiBands, other: MsiBands, area: PixelWindow, place: Workplace) -> tuple[MsiBands, list[str]]:
    """Put bands of the same pixels together; see `sharpened`.

    Raises:
        PairError: The pixels do not coincide.
        WorkError: The work failed on the way.
    """
    grid = fine.scene.grid
    offset = nesting_offset(grid, other.scene.grid)
    if offset is None:
        raise PairError(
            f"{fine.scene.path} and {other.scene.path} have pixels of one size, {grid.describe_pixel()}, that do not "
            "coincide: warp one of them onto the other's grid (gdalwarp -tap), or leave it out"
        )
    taken = other.scene.grid.window.shifted(-offset[0], -offset[1]).intersection(area)
    if taken is None:
        raise PairError(_apart(fine, other))
    with place.stack(grid.crop(taken), fine, other) as stack:
        for row in range(0, taken.height, _STRIP):
            rows = PixelWindow(taken.column, taken.row + row, taken.width, min(_STRIP, taken.height - row))
            blocks = fine.scene.read(rows, fine.index), other.scene.read(rows.shifted(*offset), other.index)
            stack.write(row, np.concatenate([block.values for block in blocks]), blocks[0].valid & blocks[1].valid)
    return place.read_back(stack, fine.scene.sharpened), []


@dataclass(frozen=True, eq=False)
class _BesideFiner:
    """Takes sharpened rows from the engine, and writes them behind the finer bands' own."""

    stack: StackWriter
    fine: MsiBands
    window: PixelWindow
    nonnegative: bool

    def write(self, row: int, values: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
        own = PixelWindow(self.window.column, self.window.row + row, self.window.width, values.shape[1])
        block = self.fine.scene.read(own, self.fine.index)
        known = valid & np.isfinite(values).all(axis=0)  # the engine's mask holds the finer bands' already
        sharp = np.maximum(values, np.float32(0)) if self.nonnegative else values
        self.stack.write(row, np.concatenate([block.values, sharp]), known)


def _nested(fine: MsiBands, coarse: MsiBands, area: PixelWindow) -> ScenePair:
    """Both as a pair, over what is needed in whole coarse pixels."""
    measured = times(coarse.scene.grid, fine.scene.grid)
    ratio = round(measured)
    if abs(measured - ratio) > _WHOLE * ratio or not 2 <= ratio <= MAX_RATIO:
        raise PairError(
            f"the pixels of {coarse.scene.path} ({coarse.scene.grid.describe_pixel()}) are {measured:.3g} times those "
            f"of {fine.scene.path} ({fine.scene.grid.describe_pixel()}), where a whole number from 2 to {MAX_RATIO} is "
            "needed: resample one of them, or leave it out"
        )
    window = window_over(fine.scene.grid.crop(area), coarse.scene.grid)
    if window is None:
        raise PairError(_apart(fine, coarse))
    return ScenePair.open(
        coarse.scene, fine.scene, hsi_bands=coarse.index, msi_bands=fine.index, window=window, ratio=ratio
    )


def window_over(area: Grid, grid: Grid, margin: int = 0) -> PixelWindow | None:
    """The pixels of a grid that an area touches by more than a fiftieth, with a margin around; None where it has none
    there.
    """
    return window_under(area, grid, margin, slack=_WHOLE)


def _apart(fine: MsiBands, other: MsiBands) -> str:
    return (
        f"{other.scene.path} has no pixel in common with what is fused of {fine.scene.path}: give scenes of one place, "
        "or leave it out"
    )


def _remarks(fine: MsiBands, coarse: MsiBands, blur: RelativeBlur) -> list[str]:
    x, y = blur.shift
    if math.hypot(x, y) <= _SHIFTED:
        return []
    sentence = (
        f"{coarse.scene.path} lies {math.hypot(x, y):.2f} of its pixels (x {x:+.2f}, y {y:+.2f}) beside "
        f"{fine.scene.path}: its bands were sharpened with that in mind and lie where the finer ones do"
    )
    return [sentence]
