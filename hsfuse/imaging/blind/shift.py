"""Misregistration: where the HSI looks beside its nominal place on the MSI.

Coarsely first, by correlating the images' detail at every displacement in reach; then to a fraction of a pixel by
Lucas & Kanade's (1981) least squares on R Y and P B, with B moved instead of the images, so that nothing is
interpolated. Per cell of the scene; the scene's figure is the cells' robust median.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from hsfuse.errors import ImagingError
from hsfuse.imaging.blind.samples import sample_blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hsfuse.imaging.blind.samples import PatchLike, SampleBlock
    from hsfuse.imaging.model import ImagingModel
    from hsfuse.imaging.psf import PointSpread

REACH = 4.0
"""Displacements up to this many HSI pixels are looked for."""

_CELL = 16  # HSI pixels
_FEWEST_IN_CELL = 40
_STEP = 0.25  # HSI pixels, of the finite difference that gives the slope of P B
_ROUNDS = 3
_MOST_UNSURE = 0.25  # HSI pixels, standard error of a cell that counts
_CLIP = 4.0  # robust standard deviations of the detail
_MAD_TO_SIGMA = 1.4826
_COMPONENTS = 6
_COARSE_BLOCKS = 10
_ALIKE = 0.5  # of what is usually explained, or the cell is clouded or changed
_LEAST_ALIKE = 0.1  # share of a band's variance in a cell that must be explained, or it has no say
_MOSTLY = 0.8
_BETTER_CELLS = 0.8  # quantile
_AS_GOOD = 0.1  # more of the variance left over than at the best displacement, as a share
_FLAT = 1e-3  # of the strongest cell's variance


@dataclass(frozen=True)
class Misregistration:
    """How the HSI lies on the MSI, in the sign of `ImagingModel.shift`."""

    x: float
    """Along the columns, in HSI pixels."""

    y: float
    """Along the rows, in HSI pixels."""

    spread: float
    """Robust standard deviation of the cells about (x, y), in HSI pixels; 0 with a single cell."""

    cells: NDArray[np.float64]
    """Cells that were used, shape (n, 5): patch, column, row (its centre, HSI pixels), x, y (HSI pixels)."""

    cells_tried: int
    """Cells with enough valid pixels, the unsure ones included."""

    @property
    def magnitude(self) -> float:
        """Length of the shift in HSI pixels."""
        return float(np.hypot(self.x, self.y))

    def moved(self, x: float, y: float) -> Misregistration:
        """The same as seen from a place that lies (x, y) HSI pixels further back."""
        return replace(self, x=self.x + x, y=self.y + y, cells=self.cells + np.array([0, 0, 0, x, y]))


@dataclass(frozen=True)
class CoarseShift:
    """The displacement at which the images' detail agrees best."""

    x: int
    """In fine pixels."""

    y: int
    """In fine pixels."""

    agreement: float
    """Share of the MSI detail's variance that the HSI's explains there, 0 to 1."""

    background: float
    """The same at displacements beyond two HSI pixels from there: chance and large-scale likeness."""

    pixels: int
    """HSI pixels compared."""


def measure_shift(patches: Sequence[PatchLike], model: ImagingModel) -> Misregistration:
    """Measure the misregistration of a pair.

    Args:
        patches: Parts of the pair, on their nominal ground.
        model: R and B; its shift is where the search starts.

    Raises:
        ImagingError: No part of the pair has enough valid pixels and detail to tell.
    """
    blocks = sample_blocks(patches, model.ratio)
    wanted = [block.projected(model.srf) for block in blocks]
    shift = np.array(model.shift)
    for _ in range(_ROUNDS):
        cells = _cells(blocks, wanted, model.psf, shift)
        if not len(cells):
            raise ImagingError("the images have too little valid detail in common to measure their shift")
        known = cells[np.isfinite(cells[:, 5])]
        if not len(known):
            raise ImagingError("the images have no detail in common that would tell their shift")
        alike = known[known[:, 6] >= _ALIKE * np.quantile(known[:, 6], 0.8)]
        sure = alike[alike[:, 5] <= max(_MOST_UNSURE, float(np.median(alike[:, 5])))]
        step = np.median(sure[:, 3:5], axis=0)
        shift = shift + np.clip(step, -1, 1)
        if np.abs(step).max() < 0.01:
            break
    field = sure[:, :5].copy()
    field[:, 3:5] += shift - np.clip(step, -1, 1)
    away = np.abs(field[:, 3:5] - shift)
    spread = float(_MAD_TO_SIGMA * np.median(np.hypot(away[:, 0], away[:, 1])) / np.sqrt(2)) if len(field) > 1 else 0.0
    return Misregistration(float(shift[0]), float(shift[1]), spread, field, len(cells))


def coarse_shift(blocks: Sequence[SampleBlock], ratio: int, reach: float = REACH) -> CoarseShift:
    """The displacement at which the HSI's detail explains the MSI's best.

    Args:
        blocks: Of the pair.
        ratio: HSI pixel over MSI pixel.
        reach: HSI pixels to either side that are looked at, if the blocks are large enough: up to `REACH` by halves of
            an HSI pixel, beyond by whole ones.
    """
    wide = reach > REACH
    blocks = blocks[:_COARSE_BLOCKS]
    hsi = [principal_detail(block, _COMPONENTS) for block in blocks]
    edge = min(min(block.rows, block.columns) for block in blocks)
    reach = min(reach, max(edge / (3 if wide else 5), 1.0))
    step = ratio if wide else max(round(ratio / 2), 1)
    steps = np.arange(-int(reach * ratio / step), int(reach * ratio / step) + 1) * step
    fine = [block.msi(int(np.abs(steps).max())) for block in blocks]
    places = steps.tolist()
    scores = np.array([[_agreement(hsi, fine, ratio, places[-1], x, y)[0] for x in places] for y in places])
    row, column = _best(scores, steps)
    y, x = int(steps[row]), int(steps[column])
    distance = np.hypot(steps[:, None] - y, steps[None, :] - x) / ratio
    far = scores[distance >= min(2.0, 0.75 * float(distance.max()))]
    pixels = _agreement(hsi, fine, ratio, int(steps[-1]), x, y)[1]
    return CoarseShift(x, y, float(scores.max()), float(np.quantile(far, 0.9)), pixels)


def _best(scores: NDArray[np.float64], steps: NDArray[np.int64]) -> tuple[int, int]:
    """Row and column of the greatest score; among some that are as good, of the least displacement.

    A regular scene, such as waves or rows of crops, agrees with itself at many displacements.
    """
    alike = scores >= scores.max() - min(_AS_GOOD * (1 - scores.max()), 0.02)
    distance = np.where(alike, np.hypot(steps[:, None], steps[None, :]), np.inf)
    row, column = np.unravel_index(distance.argmin(), scores.shape)
    return int(row), int(column)


def principal_detail(block: SampleBlock, count: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Detail of a block's leading principal components, at most `count` of them, (k, h, w), and where it is known."""
    known = block.hsi_known()
    spectra = block.hsi()[:, known].astype(np.float64)
    centred = spectra - spectra.mean(axis=1, keepdims=True)
    vectors = np.linalg.svd(centred @ centred.T, hermitian=True)[0][:, :count]
    images = np.zeros((vectors.shape[1], *known.shape))
    images[:, known] = vectors.T @ centred
    return local_detail(images, known), known


def _agreement(
    hsi: Sequence[tuple[NDArray[np.float64], NDArray[np.bool_]]],
    fine: Sequence[tuple[NDArray[np.float32], NDArray[np.bool_]]],
    ratio: int,
    margin: int,
    x: int,
    y: int,
) -> tuple[float, int]:
    """Share of the displaced MSI's detail that the HSI's explains, upper cells; and pixels compared."""
    left, spread, pixels = [], [], 0
    for (components, known), (image, seen) in zip(hsi, fine, strict=True):
        coarse, whole = _means(image, seen, ratio, margin + y, margin + x, known.shape)
        detail, both = local_detail(coarse, known & whole), known & whole
        for part in _parts(both.shape):
            inside = both[part]
            if inside.sum() < 4 * (len(components) + 1):
                continue
            predictors = np.column_stack([_clipped(components[:, *part][:, inside]).T, np.ones(int(inside.sum()))])
            wanted = _clipped(detail[:, *part][:, inside]).T
            rest = wanted - predictors @ np.linalg.lstsq(predictors, wanted, rcond=None)[0]
            left.append(np.square(rest).sum(axis=0) / (len(wanted) - predictors.shape[1]))
            spread.append(wanted.var(axis=0))
            pixels += len(wanted)
    if not left:
        return -1.0, 0
    floor = _FLAT * np.max(spread, axis=0) + 1e-300  # a flat cell agrees with nothing
    shares = np.mean(1 - (np.array(left) + floor) / (np.array(spread) + floor), axis=1)
    # A cloud spoils some cells: the better ones tell where the images fit.
    return float(np.quantile(shares, _BETTER_CELLS)), pixels


def _means(
    image: NDArray[np.float32],
    seen: NDArray[np.bool_],
    ratio: int,
    row: int,
    column: int,
    shape: tuple[int, ...],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """P averaged over the HSI pixels, (c, h, w), and where it is known, both displaced."""
    rows, columns = slice(row, row + shape[0] * ratio), slice(column, column + shape[1] * ratio)
    apart = (shape[0], ratio, shape[1], ratio)
    means = image[:, rows, columns].reshape(-1, *apart).mean(axis=(2, 4), dtype=np.float64)
    return means, seen[rows, columns].reshape(apart).mean(axis=(1, 3)) > _MOSTLY


def local_detail(images: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Images (k, h, w) less their local mean over 5 × 5 known pixels, 0 where not known."""
    weight = ndimage.uniform_filter(known.astype(np.float64), 5, mode="nearest")
    local = ndimage.uniform_filter(np.where(known, images, 0), (0, 5, 5), mode="nearest")
    return np.asarray(np.where(known, images - local / np.maximum(weight, 1e-6), 0))


def _clipped(detail: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bands (k, n) without what stands out of each: a cloud's edge is not detail."""
    bound = _CLIP * _MAD_TO_SIGMA * np.median(np.abs(detail), axis=1, keepdims=True)
    return np.clip(detail, -bound, bound)


def _cells(
    blocks: Sequence[SampleBlock],
    wanted: Sequence[NDArray[np.float64]],
    psf: PointSpread,
    shift: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Each cell's displacement beside `shift`: (patch, column, row, x, y, standard error, likeness)."""
    found: list[list[float]] = []
    for block, expected in zip(blocks, wanted, strict=True):
        here, whole = block.degraded(_displaced(psf, shift))
        slopes = [
            (block.degraded(_displaced(psf, shift + step))[0] - block.degraded(_displaced(psf, shift - step))[0])
            / (2 * _STEP)
            for step in (np.array([_STEP, 0.0]), np.array([0.0, _STEP]))
        ]
        both = block.hsi_known() & whole
        if both.sum() < _FEWEST_IN_CELL:
            continue
        for part in _parts(both.shape):
            inside = both[part]
            if inside.sum() < _FEWEST_IN_CELL:
                continue
            stack = [image[:, *part][:, inside] for image in (expected, here, *slopes)]
            x, y, error, likeness = local_displacement(*stack)
            rows, columns = part
            middle = (block.column + (columns.start + columns.stop) / 2, block.row + (rows.start + rows.stop) / 2)
            found.append([block.number, *middle, x, y, error, likeness])
    return np.array(found).reshape(-1, 7)


def _displaced(psf: PointSpread, shift: NDArray[np.float64]) -> PointSpread:
    return psf.shifted((float(shift[0]), float(shift[1])))


def _parts(shape: tuple[int, ...]) -> list[tuple[slice, slice]]:
    """A block's cells: rows and columns of each, even in size."""
    edges = [np.linspace(0, edge, max(round(edge / _CELL), 1) + 1).round().astype(int).tolist() for edge in shape]
    rows, columns = ([slice(*pair) for pair in itertools.pairwise(edge)] for edge in edges)
    return [(row, column) for row in rows for column in columns]


def local_displacement(
    expected: NDArray[np.float64],
    here: NDArray[np.float64],
    slope_x: NDArray[np.float64],
    slope_y: NDArray[np.float64],
) -> tuple[float, float, float, float]:
    """Least squares of gain · (P B + x ∂P B/∂x + y ∂P B/∂y) + offset against R Y over a cell, bands together.

    With u = gain · (1, x, y) each band is linear; the bands share x and y through their weighted means.
    """
    normal, right, explained = np.zeros((2, 2)), np.zeros(2), [0.0]
    for wanted, base, *slopes in zip(expected, here, slope_x, slope_y, strict=True):
        design = np.column_stack([base, *slopes, np.ones_like(base)])
        keep = np.ones(len(base), dtype=bool)
        for _ in range(2):  # the second time without what stands out
            solution = np.linalg.lstsq(design[keep], wanted[keep], rcond=None)[0]
            left = wanted - design @ solution
            bound = _CLIP * _MAD_TO_SIGMA * np.median(np.abs(left))
            keep = np.abs(left) <= max(bound, 1e-12)
        gain = solution[0]
        share = 1 - float(left[keep].var()) / max(float(wanted[keep].var()), 1e-300)
        if gain <= 0 or share < _LEAST_ALIKE:
            continue
        design, left = design[keep], left[keep]
        variance = max(float(left @ left) / max(len(left) - 4, 1), 1e-12 * float(wanted.var()) + 1e-300)
        others = design[:, [0, 3]]
        tangent = design[:, 1:3] - others @ np.linalg.lstsq(others, design[:, 1:3], rcond=None)[0]
        weight = gain**2 / variance
        normal += weight * tangent.T @ tangent
        right += weight * tangent.T @ tangent @ (solution[1:3] / gain)
        explained.append(share)
    if len(explained) == 1 or np.linalg.cond(normal) > 1e8:
        return 0.0, 0.0, np.inf, 0.0
    x, y = np.linalg.solve(normal, right)
    error = float(np.sqrt(np.linalg.inv(normal).diagonal().max()))
    return float(x), float(y), error, sum(explained) / len(expected)
