"""A hyperspectral and a multispectral scene of the same place, read together on nested grids.

By default the HSI's grid leads: its spectra stay as measured, and the MSI is read as it is where its pixels coincide
with the HSI grid refined by the ratio, and resampled onto that grid where they do not. Laid on another `OutputGrid`
the fine grid is that one, and the coarse grid squares of its pixels; where these are the HSI's pixels, moved by less
than a fine pixel, nothing of the HSI is resampled either.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from affine import Affine

from hsfuse.errors import PairError
from hsfuse.scenes.band_choice import choose_bands
from hsfuse.scenes.displaced import Places, read_placed, sampled, window_around
from hsfuse.scenes.grid import Grid, PixelWindow, lattice, map_pixels, nesting_offset
from hsfuse.scenes.output_grid import HSI_REFINED, OutputGrid, covering
from hsfuse.scenes.overlap import common_area, overlap, wanted_area, window_outline
from hsfuse.scenes.pair_block import PairBlock
from hsfuse.scenes.ratio import RATIO_TOLERANCE, measured_ratio, pixel_steps, whole_ratio
from hsfuse.scenes.resampling import read_resampled
from hsfuse.scenes.scene import Block, Scene, no_block

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hsfuse.scenes.displaced import Displacement


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
    """The area in use, in pixels of `coarse`: those of the HSI scene, unless it is resampled."""
    coarse: Grid
    """The grid of Y: the HSI's own, moved or not, or squares of the output's pixels."""
    fine: Grid
    """The same area in the output's pixels."""
    msi_grid: Grid
    """Where the MSI's pixels are taken to lie: its own grid, unless shifted or without a transform."""
    msi_offset: tuple[int, int] | None
    """Column and row of the MSI at which the fine grid begins; None where the MSI has to be resampled."""
    notes: tuple[str, ...]
    """Sentences for the user about how the two lie to each other, and what was assumed or left out of them."""
    wanted: PixelWindow | None = None
    """The part that was asked for, in pixels of the HSI scene; None for all that both scenes cover."""
    moved_by: tuple[float, float] = (0.0, 0.0)
    """HSI pixels (x, y) that the HSI's grid was moved by from where its file says that it lies."""
    displacement: Displacement | None = None
    """How what the HSI shows is displaced on the MSI, place by place; None where it lies where its grid says."""
    output: OutputGrid = HSI_REFINED
    """What `fine` was asked to be."""
    led_by_hsi: ScenePair | None = None
    """The same pair on the HSI's own grid, where this one is laid on another."""

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
        output: OutputGrid = HSI_REFINED,
    ) -> ScenePair:
        """Find out how two scenes lie to each other.

        Args:
            hsi: the hyperspectral scene.
            msi: the multispectral scene.
            hsi_bands: 0-based bands to use; None for all that are good.
            msi_bands: likewise.
            window: the part wanted, in pixels of the HSI; None for all that both scenes cover.
            ratio: HSI to fine pixel where it is not to be measured.
            output: which grid the fine pixels have.

        Raises:
            PairError: no overlap, a CRS or transform on one side only, or no whole ratio.
            RequestError: bands that do not exist.
        """
        notes: list[str] = []
        msi_grid = _placed_msi(hsi, msi, notes)
        outline = overlap(hsi.grid, msi_grid)
        x, y = ((outline.min(axis=0) + outline.max(axis=0)) / 2).tolist()
        if ratio is None:
            pixels = msi_grid if output.refines_hsi else output.pixels(hsi.grid, msi_grid, x, y)
            ratio = whole_ratio(hsi.grid, pixels, (x, y), called="MSI" if pixels is msi_grid else "output")
        if not msi.grid.has_transform and not hsi.grid.has_transform:
            msi_grid = replace(msi_grid, transform=hsi.grid.transform @ Affine.scale(1 / ratio))
        area = wanted_area(common_area(hsi.grid, msi_grid, ratio), window, notes)
        pair = cls(
            hsi, msi, ratio,
            choose_bands(hsi, "HSI", hsi_bands, notes), choose_bands(msi, "MSI", msi_bands, notes),
            area, hsi.grid, hsi.grid.refine(ratio), msi_grid,
            nesting_offset(hsi.grid.refine(ratio).crop(area.scaled(ratio)), msi_grid), tuple(notes), window,
        ).laid_on(output)  # fmt: skip
        about = _about_pixels(pair)
        return pair if about is None else replace(pair, notes=(*pair.notes, about))

    @property
    def warnings(self) -> tuple[str, ...]:
        """The notes, and what was found in both scenes on opening and in all that was read since."""
        return (*self.hsi.warnings, *self.msi.warnings, *self.notes)

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
        """The coarse grid over the area in use."""
        return self.coarse.crop(self.window)

    @property
    def fine_grid(self) -> Grid:
        """The same area at the ratio's finer pixels: the grid of a fused image."""
        return self.fine.crop(self.window.scaled(self.ratio))

    @cached_property
    def places(self) -> Places | None:
        """Where the HSI shows the coarse pixels; None where they are its own and are read as they are."""
        own = (self.coarse.width, self.coarse.height) == (self.hsi.grid.width, self.hsi.grid.height)
        if own and nesting_offset(self.grid, self.hsi.grid.crop(self.window)) == (0, 0):
            return None if self.displacement is None else Places(self.hsi.grid, self.hsi.grid, self.displacement)
        return Places(self.hsi.grid, self.coarse, self.displacement)

    @property
    def on_hsi(self) -> ScenePair:
        """The pair whose coarse pixels are the HSI's own."""
        if self.led_by_hsi is None or self.places is None or self.places.grid == self.hsi.grid:
            return self
        return self.led_by_hsi

    def steps_on_hsi(self) -> NDArray[np.float64]:
        """What steps of a coarse pixel along x and y are in pixels of the HSI, in the middle of the area in use: (x, y)
        to (x, y), shape (2, 2).
        """
        if self.on_hsi is self:
            return np.eye(2)
        middle = self.window.column + self.window.width / 2, self.window.row + self.window.height / 2
        return pixel_steps(self.coarse, self.hsi.grid, middle)

    def nested_move(self, x: float, y: float, onto: Grid | None = None) -> tuple[float, float]:
        """The move of the HSI's grid nearest to (x, y), in HSI pixels, that lets the MSI be read as it is.

        It is less than an MSI pixel away; (x, y) itself where the MSI has to be resampled anyway.

        Args:
            x: Along the rows.
            y: Along the columns.
            onto: The grid with which the fine pixels are to coincide, where it is not the MSI's.
        """
        onto = self.msi_grid if onto is None else onto
        corner = np.array([[self.window.column + x, self.window.row + y]])
        place = map_pixels(corner, self.hsi.grid, onto)
        snapped = map_pixels(np.rint(place), onto, self.hsi.grid)[0] - (self.window.column, self.window.row)
        nearest = float(snapped[0]), float(snapped[1])
        fine = self._moved_grid(*nearest).refine(self.ratio).crop(self.window.scaled(self.ratio))
        return nearest if nesting_offset(fine, onto) is not None else (x, y)

    def laid_on(self, output: OutputGrid) -> ScenePair:
        """The pair, led by the HSI so far, on another grid.

        Raises:
            PairError: Nothing of the part wanted is covered there, or nothing says how large a metre is.
        """
        if output.refines_hsi:
            return self
        middle = self.window.column + self.window.width / 2, self.window.row + self.window.height / 2
        pixels = output.pixels(self.hsi.grid, self.msi_grid, *middle)
        moved = self
        if self.displacement is None and nesting_offset(self.fine_grid, pixels) is None:
            move = self.nested_move(0.0, 0.0, pixels)
            moved = self if move == (0.0, 0.0) else self.moved(*move)
        start = nesting_offset(moved.fine_grid, pixels)
        if start is None:
            return self._resampled_on(output, pixels)
        whole, begin = moved.fine.window, moved.window.scaled(self.ratio)
        fine = pixels.crop(whole.shifted(start[0] - begin.column, start[1] - begin.row))
        return replace(moved, coarse=fine.coarsen(self.ratio), fine=fine, output=output, led_by_hsi=self)

    def _resampled_on(self, output: OutputGrid, pixels: Grid) -> ScenePair:
        """The pair on pixels that the HSI's do not fall on."""
        hsi = self.hsi.grid
        fine = covering(pixels, self.ratio, map_pixels(overlap(hsi, self.msi_grid), hsi, pixels))
        area = None if fine is None else fine.coarsen(self.ratio).window
        if fine is not None and area is not None and self.wanted is not None:
            area = area.intersection(_box(map_pixels(window_outline(self.window), hsi, fine.coarsen(self.ratio))))
        if fine is None or area is None:
            raise PairError(
                f"{self.hsi.path} and {self.msi.path} have no whole square of {self.ratio} x {self.ratio} pixels of "
                f"{pixels.describe_pixel()} in common: ask for finer pixels, or for a larger part"
            )
        coarse = fine.coarsen(self.ratio)
        offset = nesting_offset(fine.crop(area.scaled(self.ratio)), self.msi_grid)
        return replace(
            self, window=area, coarse=coarse, fine=fine, msi_offset=offset, output=output, led_by_hsi=self
        )  # fmt: skip

    def moved(self, x: float, y: float) -> ScenePair:
        """The pair, led by the HSI, with its grid moved by `x` HSI pixels along the rows and `y` along the columns, so
        that it comes to lie where the MSI shows the same; the area in use is found anew.

        Raises:
            PairError: Nothing of the part wanted is covered any more.
        """
        grid = self._moved_grid(x, y)
        area = wanted_area(common_area(grid, self.msi_grid, self.ratio), self.wanted, [])
        fine = grid.refine(self.ratio)
        offset = nesting_offset(fine.crop(area.scaled(self.ratio)), self.msi_grid)
        by = self.moved_by[0] + x, self.moved_by[1] + y
        hsi = replace(self.hsi, grid=grid)
        return replace(self, hsi=hsi, coarse=grid, fine=fine, msi_offset=offset, window=area, moved_by=by)

    def displaced(self, displacement: Displacement | None) -> ScenePair:
        """The pair, led by the HSI, with the HSI resampled along a displacement."""
        return replace(self, displacement=displacement)

    def with_msi_bands(self, index: Sequence[int]) -> ScenePair:
        """The pair with some of its MSI bands, 0-based among those in use."""
        led = None if self.led_by_hsi is None else self.led_by_hsi.with_msi_bands(index)
        return replace(self, msi_bands=tuple(self.msi_bands[band] for band in index), led_by_hsi=led)

    def part(self, area: PixelWindow, hsi_bands: Sequence[int]) -> ScenePair:
        """The pair over a part of the area in use, in pixels of `coarse`, with some of its HSI bands, 0-based."""
        fine, led, bands = self.fine.crop(area.scaled(self.ratio)), self.led_by_hsi, tuple(hsi_bands)
        led = None if led is None else replace(led, hsi_bands=bands)
        offset = nesting_offset(fine, self.msi_grid)
        return replace(self, window=area, wanted=area, hsi_bands=bands, led_by_hsi=led, msi_offset=offset)

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
        """Both images on the HSI's own pixels: where it is resampled, the MSI is resampled instead.

        Args:
            window: Pixels of the HSI scene.

        Raises:
            RequestError: The window reaches over the HSI scene.
            WorkError: A file breaks off.
        """
        if self.on_hsi is not self:
            return self.on_hsi.read_on_hsi(window)
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
        assert self.places is not None
        x, y = self.places.targets(window, self.ratio)
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
        """The HSI under a window of the coarse grid."""
        if self.places is None:
            return self.hsi.read(window, self.hsi_bands)
        return read_placed(self.hsi, window, self.hsi_bands, self.places)

    def _read_msi(self, fine: PixelWindow) -> Block:
        """The MSI under a window of the fine grid, which may reach beyond it."""
        if self.msi_offset is None:
            return read_resampled(self.msi, self.msi_grid, self.fine_grid.crop(fine), self.msi_bands)
        wanted = fine.shifted(*self.msi_offset)
        there = wanted.intersection(self.msi.grid.window)
        if there == wanted:
            return self.msi.read(wanted, self.msi_bands)
        padded = no_block(len(self.msi_bands), fine)
        return padded if there is None else padded.with_part(
            self.msi.read(there, self.msi_bands), there.shifted(-wanted.column, -wanted.row)
        )  # fmt: skip


def _placed_msi(hsi: Scene, msi: Scene, notes: list[str]) -> Grid:
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
        notes.append("neither scene has a CRS: their coordinates were taken to be of the same one")
        return theirs
    notes.append("neither scene has a CRS or a geotransform: both were taken to show the same extent")
    return replace(theirs, transform=Affine.scale(ours.width / theirs.width, ours.height / theirs.height))


def _box(outline: NDArray[np.float64]) -> PixelWindow:
    """The pixels nearest to the box around an outline (N, 2)."""
    column, row = np.rint(outline.min(axis=0)).astype(int).tolist()
    right, bottom = np.rint(outline.max(axis=0)).astype(int).tolist()
    return PixelWindow(column, row, max(right - column, 1), max(bottom - row, 1))


def _about_pixels(pair: ScenePair) -> str | None:
    """What there is to say where the output's pixels are not the MSI's."""
    fine, msi = pair.fine_grid, pair.msi_grid
    middle = fine.width / 2, fine.height / 2
    across, down = measured_ratio(fine, msi, middle)
    if max(abs(across - 1), abs(down - 1)) <= RATIO_TOLERANCE:
        return None
    ours = fine.describe_pixel_metres(*middle)
    theirs = msi.describe_pixel_metres(*map_pixels(np.array([middle]), fine, msi)[0])
    if pair.output.refines_hsi:
        return (
            f"the output's pixels are {ours}, the HSI's cut into {pair.ratio} x {pair.ratio}, not the MSI's {theirs}: "
            "`grid=msi` puts the output onto the MSI's pixels"
        )
    if max(across, down) < 1 - RATIO_TOLERANCE:
        return f"the output's pixels of {ours} are finer than the MSI's of {theirs}: neither image shows so much"
    return None
