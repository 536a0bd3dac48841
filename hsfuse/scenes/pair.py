"""A hyperspectral and a multispectral scene of the same place, read together on nested grids.

The HSI's grid leads: its spectra stay as measured. The MSI is read as it is where its pixels coincide with
the HSI grid refined by the ratio, and resampled onto that grid where they do not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import rasterio.warp
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import Resampling

from hsfuse.errors import PairError, WorkError
from hsfuse.scenes.bands import band_list_text
from hsfuse.scenes.displaced import no_block, read_displaced, sampled, window_around
from hsfuse.scenes.grid import (
    Grid,
    PixelWindow,
    common_area,
    integer_ratio,
    is_oblong,
    lattice,
    map_pixels,
    measured_ratio,
    nesting_offset,
)
from hsfuse.scenes.pair_block import PairBlock
from hsfuse.scenes.raster import RASTER_ERRORS
from hsfuse.scenes.repeats import repeats_text
from hsfuse.scenes.scene import Block, Scene

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hsfuse.scenes.displaced import Displacement

# With fewer bands left the spectrum is worth more than sharpness.
_FEWEST_SHARP = 3

# Cubic convolution reaches two source pixels to either side; one more for the rounding of window edges.
_CUBIC_REACH = 3

# Below this many MSI pixels to a fine pixel the kernel keeps its width: the MSI is moved, not averaged.
_WIDENING = 1.1

# The warper insists on a CRS. With the same one on both sides it never looks at what it is.
_ANY_CRS = CRS.from_epsg(3857)


@dataclass(frozen=True, eq=False)
class ScenePair:
    """Two scenes that can be fused; make one with `ScenePair.open`."""

    hsi: Scene
    """The hyperspectral scene."""
    msi: Scene
    """The multispectral scene."""
    ratio: int
    """Size of an HSI pixel in MSI pixels."""
    hsi_bands: tuple[int, ...]
    """0-based bands of the HSI in use."""
    msi_bands: tuple[int, ...]
    """0-based bands of the MSI in use."""
    window: PixelWindow
    """The area in use, in pixels of the HSI scene."""
    msi_grid: Grid
    """Where the MSI's pixels are taken to lie: its own grid, unless shifted or without a transform."""
    msi_offset: tuple[int, int] | None
    """Column and row of the MSI at which the fine grid begins; None where the MSI has to be resampled."""
    warnings: tuple[str, ...]
    """Sentences for the user about what was assumed or left out."""
    wanted: PixelWindow | None = None
    """The part that was asked for, in pixels of the HSI scene; None for all that both scenes cover."""
    moved_by: tuple[float, float] = (0.0, 0.0)
    """HSI pixels (x, y) that the HSI's grid was moved by from where its file says that it lies."""
    displacement: Displacement | None = None
    """Along what the HSI is resampled; None where its pixels are read as they are."""

    @classmethod
    def open(
        cls,
        hsi: Scene,
        msi: Scene,
        *,
        hsi_bands: Sequence[int] | None = None,
        msi_bands: Sequence[int] | None = None,
        window: PixelWindow | None = None,
        ratio: int | None = None,
    ) -> ScenePair:
        """Find out how two scenes lie to each other.

        Args:
            hsi: the hyperspectral scene.
            msi: the multispectral scene.
            hsi_bands: 0-based bands to use; None for all that are good.
            msi_bands: likewise.
            window: the part wanted, in pixels of the HSI; None for all that both scenes cover.
            ratio: HSI to MSI pixel where it is not to be measured; the MSI is resampled to fit.

        Raises:
            PairError: no overlap, a CRS or transform on one side only, or no whole ratio.
            RequestError: bands that do not exist.
        """
        warnings = [*hsi.warnings, *msi.warnings]
        msi_grid = _placed_msi(hsi, msi, warnings)
        if ratio is None:
            ratio = integer_ratio(hsi.grid, msi_grid)
            _warn_if_oblong(hsi.grid, msi_grid, ratio, warnings)
        if not msi.grid.has_transform and not hsi.grid.has_transform:
            msi_grid = replace(msi_grid, transform=hsi.grid.transform @ Affine.scale(1 / ratio))
        area = _wanted_area(common_area(hsi.grid, msi_grid, ratio), window, warnings)
        return cls(
            hsi, msi, ratio,
            _wanted_bands(hsi, "HSI", hsi_bands, warnings), _wanted_bands(msi, "MSI", msi_bands, warnings),
            area, msi_grid, nesting_offset(hsi.grid.crop(area).refine(ratio), msi_grid), tuple(warnings),
            window,
        )  # fmt: skip

    @property
    def was_moved(self) -> bool:
        """Whether the HSI's grid was moved away from where its file says that it lies."""
        return self.moved_by != (0.0, 0.0)

    @property
    def resampled(self) -> bool:
        """Whether the MSI is resampled, its pixels not coinciding with the fine grid."""
        return self.msi_offset is None

    @property
    def grid(self) -> Grid:
        """The HSI's grid over the area in use."""
        return self.hsi.grid.crop(self.window)

    @property
    def fine_grid(self) -> Grid:
        """The same area at the ratio's finer pixels: the grid of a fused image."""
        return self.grid.refine(self.ratio)

    def nested_move(self, x: float, y: float) -> tuple[float, float]:
        """The move of the HSI's grid nearest to (x, y), in HSI pixels, that lets the MSI be read as it is.

        It is less than an MSI pixel away; (x, y) itself where the MSI has to be resampled anyway.
        """
        corner = np.array([[x, y]])
        place = map_pixels(corner, self.hsi.grid, self.msi_grid)
        snapped = map_pixels(np.rint(place), self.msi_grid, self.hsi.grid)[0]
        nearest = float(snapped[0]), float(snapped[1])
        nests = nesting_offset(self._moved_grid(*nearest).refine(self.ratio), self.msi_grid) is not None
        return nearest if nests else (x, y)

    def moved(self, x: float, y: float) -> ScenePair:
        """The pair with the HSI's grid moved by `x` HSI pixels along the rows and `y` along the columns, so that it
        comes to lie where the MSI shows the same; the area in use is found anew.

        Raises:
            PairError: Nothing of the part wanted is covered any more.
        """
        grid = self._moved_grid(x, y)
        area = _wanted_area(common_area(grid, self.msi_grid, self.ratio), self.wanted, [])
        offset = nesting_offset(grid.crop(area).refine(self.ratio), self.msi_grid)
        by = self.moved_by[0] + x, self.moved_by[1] + y
        return replace(self, hsi=replace(self.hsi, grid=grid), msi_offset=offset, window=area, moved_by=by)

    def displaced(self, displacement: Displacement | None) -> ScenePair:
        """The pair with the HSI resampled along a displacement."""
        return replace(self, displacement=displacement)

    def _moved_grid(self, x: float, y: float) -> Grid:
        return replace(self.hsi.grid, transform=self.hsi.grid.transform @ Affine.translation(x, y))

    def read(self, window: PixelWindow) -> PairBlock:
        """Both images under a window.

        Args:
            window: HSI pixels counted from the upper left of the area in use.

        Raises:
            RequestError: the window reaches over the area in use.
            WorkError: a file breaks off.
        """
        hsi = self._read_hsi(window.shifted(self.window.column, self.window.row))
        return PairBlock.of(hsi, self._read_msi(window.scaled(self.ratio)))

    def read_on_hsi(self, window: PixelWindow) -> PairBlock:
        """Both images on the HSI's own pixels: where it is displaced, the MSI is resampled instead of the HSI.

        Args:
            window: Pixels of the HSI scene.

        Raises:
            RequestError: The window reaches over the HSI scene.
            WorkError: A file breaks off.
        """
        if self.displacement is None:
            return self.read(window.shifted(-self.window.column, -self.window.row))
        return PairBlock.of(self.hsi.read(window, self.hsi_bands), self._msi_on_hsi(window))

    def _msi_on_hsi(self, window: PixelWindow) -> Block:
        """The MSI under the HSI's own pixels, as far as it lies under the area in use."""
        x, y = self._targets(window)
        around = window_around(x, y, self.fine_grid)
        if around is None:
            return no_block(len(self.msi_bands), window.scaled(self.ratio))
        return sampled(self._read_msi(around), x - around.column, y - around.row)

    def _targets(self, window: PixelWindow) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Columns and rows of the fine grid that the fine pixels in a window of the HSI scene show."""
        assert self.displacement is not None
        x, y = self.displacement.targets(window, self.ratio)
        return x - self.window.column * self.ratio, y - self.window.row * self.ratio

    def sample(self, max_pixels: int = 65536, patch: int = 64) -> list[PairBlock]:
        """What `sample_windows` hold."""
        return [self.read(window) for window in self.sample_windows(max_pixels, patch)]

    def sample_windows(self, max_pixels: int = 65536, patch: int = 64) -> list[PixelWindow]:
        """Contiguous patches spread evenly over the area, for statistics of the whole; always the same ones.

        Args:
            max_pixels: most HSI pixels in all; an area that has no more is one window.
            patch: edge of a patch in HSI pixels.

        Returns:
            Windows counted from the upper left of the area in use.
        """
        width, height = self.window.width, self.window.height
        if width * height <= max_pixels:
            return [self.grid.window]
        patch = min(patch, width, height, math.isqrt(max_pixels))
        number = max(1, max_pixels // patch**2)
        columns = min(width // patch, max(1, round(math.sqrt(number * width / height))), number)
        rows = max(1, number // columns)
        return lattice(width, height, patch, columns, rows)

    def _read_hsi(self, window: PixelWindow) -> Block:
        """The HSI under a window of its scene's grid."""
        if self.displacement is None:
            return self.hsi.read(window, self.hsi_bands)
        return read_displaced(self.hsi, window, self.hsi_bands, self.displacement)

    def _read_msi(self, fine: PixelWindow) -> Block:
        """The MSI under a window of the fine grid."""
        if self.msi_offset is not None:
            return self.msi.read(fine.shifted(*self.msi_offset), self.msi_bands)
        target = self.fine_grid.crop(fine)
        source = self._msi_under(target)
        if source is None:
            return no_block(len(self.msi_bands), fine)
        block = self.msi.read(source, self.msi_bands)
        return resample(block, self.msi_grid.crop(source), target)

    def _msi_under(self, target: Grid) -> PixelWindow | None:
        """The MSI's pixels that a cubic kernel at any of the target's pixels can reach."""
        edge = np.linspace(0, 1, 17)
        outline = np.array([[x, y] for x in edge for y in edge]) * (target.width, target.height)
        under = map_pixels(outline, target, self.msi_grid)
        reach = _CUBIC_REACH * max(1, math.ceil(max(measured_ratio(target, self.msi_grid))))
        left, top = np.floor(under.min(axis=0)).astype(int) - reach
        right, bottom = np.ceil(under.max(axis=0)).astype(int) + reach
        if right <= left or bottom <= top:
            return None
        return PixelWindow(int(left), int(top), int(right - left), int(bottom - top)).intersection(self.msi.grid.window)


def resample(block: Block, source: Grid, target: Grid) -> Block:
    """A block on another grid, by cubic convolution over its valid pixels.

    A pixel is valid where the source pixel under its centre is: invalid pixels neither bleed into their
    neighbours nor grow. Nor do suspect ones: their values reach those pixels alone whose centre they are under.
    However the target is cut into windows, the result is the same (to float32 rounding where the CRS differ).

    Raises:
        WorkError: GDAL's warper fails.
    """
    values = _warp(block.values, block.valid & ~block.suspect, source, target, Resampling.cubic)
    suspect: NDArray[np.bool_] = np.zeros(values.shape[1:], dtype=bool)
    if block.suspect.any():
        nearest = _warp(block.values, block.suspect, source, target, Resampling.nearest)
        suspect = np.logical_and.reduce(np.isfinite(nearest), axis=0)
        values[:, suspect] = nearest[:, suspect]
    valid: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(values), axis=0)
    values[:, ~valid] = 0
    return Block(values, valid, None, suspect)


def _warp(
    values: NDArray[np.float32], valid: NDArray[np.bool_], source: Grid, target: Grid, kernel: Resampling
) -> NDArray[np.float32]:
    """Valid pixels on another grid, NaN where there are none."""
    across, down = measured_ratio(target, source)
    warped = np.full((len(values), target.height, target.width), np.nan, np.float32)
    try:
        rasterio.warp.reproject(
            np.where(valid, values, np.float32(np.nan)), warped,
            src_transform=source.transform, src_crs=source.crs or _ANY_CRS, src_nodata=np.nan,
            dst_transform=target.transform, dst_crs=target.crs or _ANY_CRS, dst_nodata=np.nan,
            resampling=kernel,
            # Left alone, GDAL interpolates coordinates across the window and works out the kernel's width
            # from the windows at hand: both would differ from tile to tile.
            tolerance=0,
            XSCALE=1 / across if across > _WIDENING else 1.0,
            YSCALE=1 / down if down > _WIDENING else 1.0,
        )  # fmt: skip
    except RASTER_ERRORS as error:
        raise WorkError(f"The MSI cannot be resampled onto the HSI's grid ({error})") from error
    return warped


def _placed_msi(hsi: Scene, msi: Scene, warnings: list[str]) -> Grid:
    """The MSI's grid in the HSI's frame, also where files say nothing or half about where they lie.

    Raises:
        PairError: only one of the scenes says where it lies.
    """
    ours, theirs = hsi.grid, msi.grid
    if ours.crs is not None and theirs.crs is not None:
        return theirs
    for one, other in ((hsi, msi), (msi, hsi)):
        if one.grid.crs is None and other.grid.crs is not None:
            raise PairError(
                f"{one.path} has no CRS while {other.path} has {other.grid.crs.to_string()[:40]}: "
                "give the first its CRS (rio edit-info --crs), or take the other's away"
            )
        if not one.grid.has_transform and other.grid.has_transform:
            raise PairError(f"{one.path} has no geotransform while {other.path} has one: give both one or neither")
    if ours.has_transform:
        warnings.append("neither scene has a CRS: their coordinates were taken to be of the same one")
        return theirs
    warnings.append("neither scene has a CRS or a geotransform: both were taken to show the same extent")
    return replace(theirs, transform=Affine.scale(ours.width / theirs.width, ours.height / theirs.height))


def _warn_if_oblong(hsi: Grid, msi: Grid, ratio: int, warnings: list[str]) -> None:
    across, down = measured_ratio(hsi, msi)
    if is_oblong(across, down):
        warnings.append(
            f"an HSI pixel is {across:.2f} x {down:.2f} MSI pixels, no square: the ratio {ratio} was taken, and the "
            "MSI is resampled onto the HSI's grid"
        )


def _wanted_area(common: PixelWindow, wanted: PixelWindow | None, warnings: list[str]) -> PixelWindow:
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


def _wanted_bands(scene: Scene, kind: str, wanted: Sequence[int] | None, warnings: list[str]) -> tuple[int, ...]:
    if wanted is not None:
        bands = tuple(int(band) for band in wanted)
        if not bands or min(bands) < 0 or max(bands) >= scene.count:
            raise PairError(f"{scene.path}: bands were asked for that are not among its {scene.count}")
        coarse = [band for band in bands if band in scene.repeats]
        if coarse:
            warnings.append(
                f"{kind} bands are coarser than their pixels, which are repeated: {_repeated(scene, coarse)}"
            )
        return bands
    good = tuple(int(band) for band in np.flatnonzero(scene.bands.good))
    if not good:
        raise PairError(f"{scene.path}: all {scene.count} bands are flagged as bad: choose bands yourself")
    good = _sharp(scene, kind, good, warnings)
    left_out = [band for band in range(scene.count) if not scene.bands.good[band]]
    if left_out:
        warnings.append(
            f"{len(left_out)} of {scene.count} {kind} bands are bad or empty and were left out: "
            f"{band_list_text(left_out)}{_why(scene)}"
        )
    return good


def _sharp(scene: Scene, kind: str, good: tuple[int, ...], warnings: list[str]) -> tuple[int, ...]:
    """Those of the good bands that are as sharp as their pixels, where there are enough of them."""
    coarse = [band for band in good if band in scene.repeats]
    if not coarse or kind != "MSI":
        return good
    sharp = tuple(band for band in good if band not in scene.repeats)
    text = f"MSI bands are coarser than their pixels, which are repeated: {_repeated(scene, coarse)}"
    if len(sharp) < _FEWEST_SHARP:
        warnings.append(f"{text}; they were used as they are, for want of {_FEWEST_SHARP} sharp ones")
        return good
    warnings.append(
        f"{text}; they were left out (choose bands to use them as they are, or give a file with their own pixels as a "
        "further `msi`)"
    )
    return sharp


def _repeated(scene: Scene, bands: Sequence[int]) -> str:
    return repeats_text(bands, scene.repeats, scene.bands.names)


def _why(scene: Scene) -> str:
    reasons = [f"{band + 1}: {reason}" for band, reason in sorted(scene.idle_bands.items())]
    return f" ({'; '.join(reasons[:4])}{'; …' if len(reasons) > 4 else ''})" if reasons else ""
