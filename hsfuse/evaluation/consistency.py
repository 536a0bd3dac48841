"""A fused image beside both images that it was made of, tile by tile, through their imaging model."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from hsfuse.errors import PairError
from hsfuse.evaluation.reference import match_bands
from hsfuse.fusion.compute import Compute
from hsfuse.fusion.opening import opened
from hsfuse.fusion.several_msis import open_scenes
from hsfuse.imaging.holes import fill_holes
from hsfuse.metrics import FusedView, NoReference
from hsfuse.pairs.coregistration import Coregistration
from hsfuse.pairs.pair import Pair
from hsfuse.progress import SILENT
from hsfuse.scenes import OutputGrid, PixelWindow, Scene, nesting_offset

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from hsfuse.imaging import ImagingModel
    from hsfuse.metrics import NoReferenceScores
    from hsfuse.pairs.pair import PairRequest
    from hsfuse.progress import Progress
    from hsfuse.scenes import ScenePair

_TILE_NUMBERS = 2**24  # of the fused image held at a time
_KNOWN = 0.999  # share of a blurred pixel's weight that lies on valid pixels


@dataclass(frozen=True, eq=False)
class PlacedView:
    """A tile of a fused image beside both images, and where it lies."""

    core: PixelWindow
    """In HSI pixels, counted from the upper left of the pair's area."""

    view: FusedView
    """What stands there, and what the imaging model makes of it."""

    fused_valid: NDArray[np.bool_]
    """Where the fused image has data, shape (r·h, r·w)."""

    hsi_valid: NDArray[np.bool_]
    """The same of the HSI, shape (h, w)."""

    msi_valid: NDArray[np.bool_]
    """The same of the MSI, shape (r·h, r·w)."""


@dataclass(frozen=True, eq=False)
class FusedViews:
    """A fused image and its pair."""

    fused: Scene
    """The image to judge."""

    fused_bands: tuple[int, ...]
    """0-based, those of the pair's HSI bands, in that order."""

    offset: tuple[int, int]
    """Column and row of the fused image at which the pair's area begins."""

    pair: Pair
    """The pair over the area that the fused image covers, with R and B."""

    warnings: tuple[str, ...]
    """Sentences for the user."""

    @classmethod
    def open(
        cls, fused: str | os.PathLike[str], pair: Pair | PairRequest, *, progress: Progress = SILENT
    ) -> FusedViews:
        """Open the three images and find their imaging model.

        A fused image that says how it was coregistered, or which grid it has, is held against its pair in the same way.

        Args:
            fused: The fused image; it may show a part of the pair.
            pair: What it was fused from.
            progress: Observer of the sharpening, where there are several MSIs.

        Raises:
            RequestError: An image cannot be read, they do not belong together, or the imaging model is not to be had.
        """
        image = Scene.open(str(fused), screen=False)
        placed = Coregistration.of_tags(image.tags, image.path)
        output = OutputGrid.of_tags(image.tags, image.path)
        if not isinstance(pair, Pair) and output is not None:
            pair = replace(pair, grid=output.grid, resolution=output.resolution)
        if not isinstance(pair, Pair) and placed is None and pair.coregister:
            pair = opened(pair, progress=progress)
        if isinstance(pair, Pair):
            scenes, request, placed = pair.scenes, pair.request, pair.coregistration
        else:
            scenes, request = open_scenes(pair, compute=Compute(), progress=progress), pair
            scenes = scenes if placed is None else placed.apply(scenes)
        own = [band for band in range(image.count) if band != image.alpha_band]
        match = match_bands(image.path, image.bands, own, scenes.hsi, among=scenes.hsi_bands)
        column, row = _place(image, scenes)
        area = _whole_pixels(image, scenes, column, row)
        if not isinstance(pair, Pair) or (match.other, area) != (scenes.hsi_bands, scenes.window):
            part = scenes.part(area, match.other)
            pair = Pair.of_scenes(part, replace(request, coregister=False), coregistration=placed)
        window = pair.window.scaled(pair.ratio)
        warnings = [*match.warnings, *pair.warnings]
        if not pair.agreement.radiometry.follows.all():
            unlike = np.flatnonzero(~pair.agreement.radiometry.follows)
            names = ", ".join(pair.imaging.srf.msi_bands[band] for band in unlike)
            warnings.append(f"MSI band(s) {names} do not follow the HSI: their units were taken to be its own")
        return cls(image, match.fused, (window.column - column, window.row - row), pair, tuple(dict.fromkeys(warnings)))

    def scores(self, seen: Callable[[PlacedView], None] | None = None) -> tuple[NoReferenceScores, tuple[str, ...]]:
        """The metrics without a reference, and what the user should know about them; every tile is `seen` meanwhile.

        Raises:
            RequestError: The three images have no valid pixel in common.
        """
        metric = NoReference(self.pair.ratio)
        for placed in self.placed_tiles(metric.block):
            metric.update(placed.view)
            if seen is not None:
                seen(placed)
        scores = metric.result()
        if scores.blocks:
            return scores, ()
        hole = f"no block of {metric.block}×{metric.block} HSI pixels is without a hole"
        return scores, (f"{hole}: D_λ, D_S, QNR and HQNR are undefined",)

    def tiles(self, block: int) -> Iterator[FusedView]:
        """The area in tiles whose edges are multiples of `block` HSI pixels, but for the last ones."""
        return (placed.view for placed in self.placed_tiles(block))

    def placed_tiles(self, block: int) -> Iterator[PlacedView]:
        """The same tiles with their places."""
        ratio, bands, area = self.pair.ratio, len(self.fused_bands), self.pair.window
        edge = block * max(math.isqrt(_TILE_NUMBERS // bands) // (block * ratio), 1)
        for row in range(0, area.height, edge):
            for column in range(0, area.width, edge):
                core = PixelWindow(column, row, min(edge, area.width - column), min(edge, area.height - row))
                view = self._view(core)
                if view is not None:
                    yield view

    def _view(self, core: PixelWindow) -> PlacedView | None:
        """What stands on a tile, blurred with all around it that the blur reaches; None where nothing is known."""
        pair, imaging = self.pair, self.pair.imaging
        halo = -(-max(imaging.blur.margin, 0) // pair.ratio)
        around = _grown(core, halo).intersection(PixelWindow(0, 0, pair.window.width, pair.window.height))
        assert around is not None
        block = pair.read(around)
        fused = self.fused.read(around.scaled(pair.ratio).shifted(*self.offset), self.fused_bands)
        valid = fused.valid & block.msi_valid
        if not valid.any() or not block.hsi_valid.any():
            return None
        values = fill_holes(fused.values, fused.valid)
        msi = pair.agreement.radiometry.to_hsi_units(fill_holes(block.msi, block.msi_valid))
        inner = PixelWindow(core.column - around.column, core.row - around.row, core.width, core.height)
        coarse, fine = _cut(inner), _cut(inner.scaled(pair.ratio))
        view = FusedView(
            fused=values[fine],
            hsi=block.hsi[coarse],
            msi=msi[fine],
            fused_as_hsi=_blurred(values, imaging)[coarse],
            fused_as_msi=imaging.srf.project(torch.from_numpy(values[fine])).numpy(),
            msi_as_hsi=_blurred(msi, imaging)[coarse],
            hsi_valid=(block.hsi_valid & _known(valid, imaging))[coarse[1:]],
            msi_valid=valid[fine[1:]],
        )
        return PlacedView(core, view, fused.valid[fine[1:]], block.hsi_valid[coarse[1:]], block.msi_valid[fine[1:]])


def _place(image: Scene, pair: ScenePair) -> tuple[int, int]:
    """Column and row of the fine grid over the whole HSI at which the fused image begins."""
    fine, ours = pair.fine, image.grid
    unplaced = not pair.hsi.grid.has_transform and not ours.has_transform
    if unplaced and (ours.width, ours.height) == (fine.width, fine.height):
        return 0, 0
    one_crs = ours.crs is None or fine.crs is None or ours.crs == fine.crs
    place = nesting_offset(ours, fine) if one_crs else None
    if place is None:
        raise PairError(
            f"{image.path} (pixels of {ours.describe_pixel()}) does not lie on the grid of {_grid_of(pair)} (pixels of "
            f"{fine.describe_pixel()}): give the pair that it was fused from"
        )
    return place


def _grid_of(pair: ScenePair) -> str:
    """What a fused image of the pair would lie on."""
    output = pair.output
    if output.refines_hsi:
        return f"{pair.hsi.path} cut into {pair.ratio}×{pair.ratio}"
    leader = pair.hsi.path if output.grid == "hsi" else pair.msi.path
    return leader if output.resolution is None else f"{leader} at {output.resolution:g} m"


def _whole_pixels(image: Scene, pair: ScenePair, column: int, row: int) -> PixelWindow:
    """The HSI pixels that the fused image covers whole and that the MSI covers too."""
    ratio, grid = pair.ratio, image.grid
    left, top = -(-column // ratio), -(-row // ratio)
    width, height = (column + grid.width) // ratio - left, (row + grid.height) // ratio - top
    covered = PixelWindow(left, top, width, height) if width > 0 and height > 0 else None
    area = None if covered is None else covered.intersection(pair.window)
    if area is None:
        raise PairError(
            f"{image.path} covers no whole pixel of what {pair.hsi.path} and {pair.msi.path} have in common: give the "
            "pair that it was fused from"
        )
    return area


def _blurred(image: NDArray[np.float32], imaging: ImagingModel) -> NDArray[np.float32]:
    with torch.no_grad():
        return np.asarray(imaging.blur(torch.from_numpy(image)).numpy(), dtype=np.float32)


def _known(valid: NDArray[np.bool_], imaging: ImagingModel) -> NDArray[np.bool_]:
    """Where all that a blurred pixel sees is valid."""
    return np.asarray(_blurred(valid.astype(np.float32)[None], imaging)[0] >= _KNOWN, dtype=bool)


def _grown(window: PixelWindow, margin: int) -> PixelWindow:
    return PixelWindow(
        window.column - margin, window.row - margin, window.width + 2 * margin, window.height + 2 * margin
    )


def _cut(window: PixelWindow) -> tuple[slice, slice, slice]:
    return slice(None), window.rows, window.columns
