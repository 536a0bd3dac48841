"""A fused image beside both images that it was made of, tile by tile, through their imaging model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from hsfuse.errors import PairError
from hsfuse.evaluation.reference import match_bands
from hsfuse.imaging.holes import fill_holes
from hsfuse.metrics import FusedView
from hsfuse.pairs.pair import Pair
from hsfuse.scenes import PixelWindow, Scene, ScenePair, nesting_offset

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from hsfuse.imaging import ImagingModel
    from hsfuse.pairs.pair import PairRequest
    from hsfuse.scenes import PairBlock

_TILE_NUMBERS = 2**24  # of the fused image held at a time
_KNOWN = 0.999  # share of a blurred pixel's weight that lies on valid pixels
_SAME_UNITS = 1.05  # residual variance of the MSI as it is, over that after the best gain and offset


@dataclass(frozen=True, eq=False)
class Units:
    """What brings an MSI into the units of its HSI: value · gain + offset, per band."""

    gain: NDArray[np.float32]
    """Shape (c,)."""

    offset: NDArray[np.float32]
    """In the HSI's units, shape (c,)."""

    unlike: tuple[int, ...]
    """MSI bands, 0-based in the model, that do not follow the HSI at all; they are left as they are."""

    @classmethod
    def fit(cls, blocks: Sequence[PairBlock], imaging: ImagingModel) -> Units:
        """Least squares of R Y on P B over a sample; none where the units are the same already."""
        parts = [_seen_by_both(block, imaging) for block in blocks]
        x = np.concatenate([part[0] for part in parts], axis=1)
        y = np.concatenate([part[1] for part in parts], axis=1)
        one, zero = np.ones(len(x), np.float32), np.zeros(len(x), np.float32)
        if x.shape[1] < 2:
            return cls(one, zero, ())
        off_x, off_y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
        spread = np.square(off_x).sum(axis=1)
        gain = np.divide((off_x * off_y).sum(axis=1), spread, out=np.zeros_like(spread), where=spread > 0)
        offset = y.mean(axis=1) - gain * x.mean(axis=1)
        left = np.square(off_y - gain[:, None] * off_x).sum(axis=1)
        if (np.square(y - x).sum(axis=1) <= _SAME_UNITS * left).all():
            return cls(one, zero, ())
        follows = gain > 0
        unlike = tuple(np.flatnonzero(~follows).tolist())
        gain, offset = np.where(follows, gain, 1), np.where(follows, offset, 0)
        return cls(gain.astype(np.float32), offset.astype(np.float32), unlike)

    def apply(self, msi: NDArray[np.float32]) -> NDArray[np.float32]:
        """P (c, H, W) in the HSI's units."""
        return msi * self.gain[:, None, None] + self.offset[:, None, None]


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

    units: Units
    """Of the MSI."""

    warnings: tuple[str, ...]
    """Sentences for the user."""

    @classmethod
    def open(cls, fused: str | os.PathLike[str], pair: Pair | PairRequest) -> FusedViews:
        """Open the three images and find their imaging model.

        Args:
            fused: The fused image; it may show a part of the pair.
            pair: What it was fused from.

        Raises:
            RequestError: An image cannot be read, they do not belong together, or the imaging model is not to be had.
        """
        image = Scene.open(str(fused))
        scenes, request = (pair.scenes, pair.request) if isinstance(pair, Pair) else (pair.open_scenes(), pair)
        own = [band for band in range(image.count) if band != image.alpha_band]
        match = match_bands(image.path, image.bands, own, scenes.hsi, among=scenes.hsi_bands)
        column, row = _place(image, scenes)
        area = _whole_pixels(image, scenes, column, row)
        if not isinstance(pair, Pair) or (match.other, area) != (scenes.hsi_bands, scenes.window):
            part = ScenePair.open(
                scenes.hsi, scenes.msi,
                hsi_bands=match.other, msi_bands=scenes.msi_bands, window=area, ratio=scenes.ratio,
            )  # fmt: skip
            pair = Pair.of_scenes(part, request)
        units = Units.fit([block.for_fits() for block in pair.sample], pair.imaging)
        window = pair.window.scaled(pair.ratio)
        warnings = [*match.warnings, *pair.findings, *pair.warnings]
        if units.unlike:
            names = ", ".join(pair.imaging.srf.msi_bands[band] for band in units.unlike)
            warnings.append(f"MSI band(s) {names} do not follow the HSI: their units were taken to be its own")
        return cls(image, match.fused, (window.column - column, window.row - row), pair, units, tuple(warnings))

    def tiles(self, block: int) -> Iterator[FusedView]:
        """The area in tiles whose edges are multiples of `block` HSI pixels, but for the last ones."""
        ratio, bands, area = self.pair.ratio, len(self.fused_bands), self.pair.window
        edge = block * max(math.isqrt(_TILE_NUMBERS // bands) // (block * ratio), 1)
        for row in range(0, area.height, edge):
            for column in range(0, area.width, edge):
                core = PixelWindow(column, row, min(edge, area.width - column), min(edge, area.height - row))
                view = self._view(core)
                if view is not None:
                    yield view

    def _view(self, core: PixelWindow) -> FusedView | None:
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
        msi = self.units.apply(fill_holes(block.msi, block.msi_valid))
        inner = PixelWindow(core.column - around.column, core.row - around.row, core.width, core.height)
        coarse, fine = _cut(inner), _cut(inner.scaled(pair.ratio))
        return FusedView(
            fused=values[fine],
            hsi=block.hsi[coarse],
            msi=msi[fine],
            fused_as_hsi=_blurred(values, imaging)[coarse],
            fused_as_msi=imaging.srf.project(torch.from_numpy(values[fine])).numpy(),
            msi_as_hsi=_blurred(msi, imaging)[coarse],
            hsi_valid=(block.hsi_valid & _known(valid, imaging))[coarse[1:]],
            msi_valid=valid[fine[1:]],
        )


def _place(image: Scene, pair: ScenePair) -> tuple[int, int]:
    """Column and row of the fine grid over the whole HSI at which the fused image begins."""
    fine, ours = pair.hsi.grid.refine(pair.ratio), image.grid
    unplaced = not pair.hsi.grid.has_transform and not ours.has_transform
    if unplaced and (ours.width, ours.height) == (fine.width, fine.height):
        return 0, 0
    one_crs = ours.crs is None or fine.crs is None or ours.crs == fine.crs
    place = nesting_offset(ours, fine) if one_crs else None
    if place is None:
        raise PairError(
            f"{image.path} (pixels of {ours.describe_pixel()}) does not lie on the grid of {pair.hsi.path} cut into "
            f"{pair.ratio}×{pair.ratio} (pixels of {fine.describe_pixel()}): give the HSI that it was fused from"
        )
    return place


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


def _seen_by_both(block: PairBlock, imaging: ImagingModel) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """P B and R Y at the pixels where both are known, (c, n) in float64."""
    known = block.hsi_valid & _known(block.msi_valid, imaging)
    seen = _blurred(fill_holes(block.msi, block.msi_valid), imaging)[:, known]
    expected = imaging.srf.project(torch.from_numpy(block.hsi[:, known][..., None]))[..., 0].numpy()
    return seen.astype(np.float64), expected.astype(np.float64)


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
