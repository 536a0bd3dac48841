"""Misregistration that is not one shift: a smooth displacement of the HSI on the MSI, out of many small cells.

Each cell is sought up to ten HSI pixels around by the normalised cross-correlation of the detail of R Y and P B,
those of its neighbours added so that a cloud does not lead it astray, and then placed to a fraction of a pixel by
Lucas & Kanade's (1981) least squares. A thin-plate spline with robust weights runs through the cells (Duchon 1977;
Goshtasby 1988 for image registration), and is kept on a regular grid.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree

from hsfuse.errors import ImagingError
from hsfuse.imaging.blind.displacement_field import DisplacementField
from hsfuse.imaging.blind.samples import SampleBlock, sample_blocks
from hsfuse.imaging.blind.shift import coarse_shift, local_detail, local_displacement
from hsfuse.imaging.blind.warping import WarpedPatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hsfuse.imaging.blind.samples import PatchLike
    from hsfuse.imaging.model import ImagingModel

REACH = 10
"""Displacements up to this many HSI pixels are looked for."""

_CELL = 12  # HSI pixels, edge of a cell
_MOST_CELLS = 600
_LEAST_SPACING = 6  # HSI pixels between the centres of cells
_NODE_SPACING = 4.0  # HSI pixels between the nodes of the field
_MOST_NODES = 128  # along one side
_FEWEST_CELLS = 6
_FEWEST_IN_CELL = 40
_CLIP = 4.0  # robust standard deviations of the detail
_STEP = 0.25  # HSI pixels, of the finite difference that gives the slope of P B
_ROUNDS = 3
_REFINEMENTS = 2
_MOST_UNSURE = 0.25  # HSI pixels, standard error of a cell that counts
_NEIGHBOURS = 8
_STRAY = 1.0  # HSI pixels from the median of its neighbours
_FITS = 0.35  # HSI pixels from the field
_LEAST_FITTING = 0.5  # of the cells that were placed, or they contradict each other
_SMOOTHINGS = (0.1, 1.0, 10.0, 100.0, 1e3, 1e4)
_MAD_TO_SIGMA = 1.4826


class SparseCellsError(ImagingError):
    """Too few cells have detail for a displacement field; nothing speaks against one shift for all."""


def coarse_displacement(patches: Sequence[PatchLike], ratio: int) -> tuple[int, int]:
    """The displacement (x, y), in whole HSI pixels, at which most of a pair agrees best, without knowing R or B.

    Args:
        patches: Parts of the pair on their nominal ground.
        ratio: HSI pixel over MSI pixel.

    Raises:
        ImagingError: No pixel is valid in both images.
    """
    blocks = sample_blocks(patches, ratio)
    if not blocks:
        raise ImagingError("the pair has 0 HSI pixels that are valid: its displacement cannot be measured")
    found = coarse_shift(blocks, ratio, REACH)
    return round(found.x / ratio), round(found.y / ratio)


def measure_displacement(
    patches: Sequence[PatchLike], places: Sequence[tuple[int, int]], model: ImagingModel
) -> DisplacementField:
    """Measure the displacement field of a pair.

    Args:
        patches: Parts of the pair on their nominal ground.
        places: First column and row of each in the scene, in HSI pixels.
        model: R and B, as far as they are known: rough ones do. Its shift is not looked at, and with the field
            taken out the pair has none.

    Raises:
        SparseCellsError: The images have too little detail in common.
        ImagingError: The cells contradict each other.
    """
    corners = _corners(patches)
    cells = _all_cells(patches, places, corners, model)
    tried = sum(map(len, corners))
    sure = cells[cells[:, 4] <= _MOST_UNSURE]
    if len(sure) < _FEWEST_CELLS:
        raise SparseCellsError(
            f"only {len(sure)} of {tried} cells of {_CELL} × {_CELL} HSI pixels have enough detail in both images to "
            f"be placed, fewer than the {_FEWEST_CELLS} that a displacement field needs",
        )
    kept = _without_strays(sure)
    field, fitting = _fitted(kept, _extent(patches, places)) if len(kept) >= _FEWEST_CELLS else (None, 0)
    if field is None or fitting < max(_LEAST_FITTING * len(sure), _FEWEST_CELLS):
        raise ImagingError(
            f"the images' local displacements contradict each other: {fitting} of {len(sure)} cells agree on a smooth "
            f"field to {_FITS} HSI pixel; do they show the same place, within {REACH} HSI pixels?",
        )
    for _ in range(_REFINEMENTS):
        field = _refined(field, patches, places, corners, model)
    return field


def _refined(
    field: DisplacementField,
    patches: Sequence[PatchLike],
    places: Sequence[tuple[int, int]],
    corners: list[list[tuple[int, int]]],
    model: ImagingModel,
) -> DisplacementField:
    """The field with what is left of the displacement once it is taken out: within a cell that is the same all over."""
    warped = [WarpedPatch.of(patch, place, field) for patch, place in zip(patches, places, strict=True)]
    cells = _all_cells(warped, places, corners, model, start=np.zeros(2, dtype=np.int64))
    sure = cells[cells[:, 4] <= _MOST_UNSURE]
    kept = _without_strays(sure) if len(sure) >= _FEWEST_CELLS else sure
    if len(kept) < max(_LEAST_FITTING * len(field.cells), _FEWEST_CELLS):
        return field
    rest, fitting = _fitted(kept, _extent(patches, places))
    return rest.after(field) if fitting >= _LEAST_FITTING * len(kept) else field


def _all_cells(
    patches: Sequence[PatchLike],
    places: Sequence[tuple[int, int]],
    corners: list[list[tuple[int, int]]],
    model: ImagingModel,
    start: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """Column and row in the scene, x, y and standard error of all cells, shape (n, 5)."""
    found = [
        np.add(_placed_cells(patch, cells, model, start), [*place, 0, 0, 0])
        for patch, place, cells in zip(patches, places, corners, strict=True)
        if cells
    ]
    return np.concatenate(found) if found else np.empty((0, 5))


def _corners(patches: Sequence[PatchLike]) -> list[list[tuple[int, int]]]:
    """First row and column of each patch's cells, spread evenly and overlapping."""
    pixels = sum(patch.hsi_valid.size for patch in patches)
    spacing = max(_LEAST_SPACING, int(np.ceil(np.sqrt(pixels / _MOST_CELLS))))
    found = []
    for patch in patches:
        rows, columns = (_starts(edge, spacing) for edge in patch.hsi_valid.shape)
        found.append([(row, column) for row in rows for column in columns])
    return found


def _starts(edge: int, spacing: int) -> list[int]:
    last = max(edge - _CELL, 0)
    return [int(start) for start in np.linspace(0, last, max(-(-last // spacing), 0) + 1).round()]


def _placed_cells(
    patch: PatchLike, corners: list[tuple[int, int]], model: ImagingModel, start: NDArray[np.int64] | None
) -> NDArray[np.float64]:
    """Column, row, x, y and standard error of a patch's cells, sought all around or only near a start."""
    block = SampleBlock.whole(patch, model.ratio)
    starts = [start] * len(corners) if start is not None else _coarse_displacements(block, corners, model)
    found = [_placed(patch, corner, first, model) for corner, first in zip(corners, starts, strict=True)]
    return np.array([cell for cell in found if cell is not None]).reshape(-1, 5)


def _coarse_displacements(block: SampleBlock, corners: list[tuple[int, int]], model: ImagingModel) -> NDArray[np.int64]:
    """The whole displacement (x, y) of each cell at which the images correlate best, shape (n, 2)."""
    degraded, seen = block.degraded(model.psf)
    known = block.hsi_known()
    hsi, msi = _standard_detail(block.projected(model.srf), known), _standard_detail(degraded, seen)
    height, width = known.shape
    steps = list(itertools.product(range(-REACH, REACH + 1), repeat=2))
    rows, columns = (np.array([corner[axis] + _CELL // 2 for corner in corners]) for axis in (0, 1))
    rows, columns = np.minimum(rows, height - 1), np.minimum(columns, width - 1)
    padded = np.pad(msi, ((0, 0), (REACH, REACH), (REACH, REACH)))
    whole = np.pad(seen, REACH)
    scores = np.empty((len(steps), len(corners)))
    for number, (y, x) in enumerate(steps):
        part = slice(REACH + y, REACH + y + height), slice(REACH + x, REACH + x + width)
        both = known & whole[part]
        other = padded[:, *part]
        sums = [
            ndimage.uniform_filter(np.where(both, product, 0), _CELL, mode="constant")[rows, columns]
            for product in ((hsi * other).sum(axis=0), (hsi**2).sum(axis=0), (other**2).sum(axis=0), both * 1.0)
        ]
        enough = sums[3] * _CELL**2 >= _FEWEST_IN_CELL
        scores[number] = np.where(enough, sums[0] / np.sqrt(np.maximum(sums[1] * sums[2], 1e-30)), 0)
    near = cKDTree(np.stack([rows, columns], axis=1)).query_ball_point(np.stack([rows, columns], axis=1), _CELL * 0.75)
    together = np.stack([np.clip(scores[:, others], 0, None).mean(axis=1) for others in near], axis=1)
    best = np.array(steps)[together.argmax(axis=0)]
    return np.asarray(best[:, ::-1], dtype=np.int64)


def _standard_detail(images: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Detail of each band in robust standard deviations, clipped: a cloud's edge is not detail."""
    detail = local_detail(images, known)
    if not known.any():
        return detail
    scale = _MAD_TO_SIGMA * np.median(np.abs(detail[:, known]), axis=1)
    return np.clip(detail / np.maximum(scale, 1e-300)[:, None, None], -_CLIP, _CLIP)


def _placed(
    patch: PatchLike, corner: tuple[int, int], start: NDArray[np.int64], model: ImagingModel
) -> list[float] | None:
    """Column, row, x, y and standard error of one cell; None where it has too little in common."""
    height, width = patch.hsi_valid.shape
    row, column = corner
    rows, columns = min(_CELL, height - row), min(_CELL, width - column)
    cell = SampleBlock(patch, 0, model.ratio, row, column, rows, columns)
    expected, known = cell.projected(model.srf), cell.hsi_known()
    shift = start.astype(np.float64)
    error = np.inf
    for _ in range(_ROUNDS):
        here, seen = _looking(cell, model, shift)
        inside = known & seen
        if inside.sum() < _FEWEST_IN_CELL:
            return None
        slopes = [
            (_looking(cell, model, shift + step)[0] - _looking(cell, model, shift - step)[0]) / (2 * _STEP)
            for step in (np.array([_STEP, 0.0]), np.array([0.0, _STEP]))
        ]
        x, y, error, _ = local_displacement(*(image[:, inside] for image in (expected, here, *slopes)))
        if not np.isfinite(error):
            return None
        shift = shift + np.clip([x, y], -1, 1)
        if np.hypot(x, y) < 0.02:
            break
    if np.abs(shift - start).max() > 2:
        return None
    return [column + columns / 2, row + rows / 2, float(shift[0]), float(shift[1]), error]


def _looking(
    cell: SampleBlock, model: ImagingModel, shift: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """P B of a cell that looks beside its place by `shift` HSI pixels, and where it is known."""
    whole = np.round(shift * model.ratio).astype(int)
    rest = shift - whole / model.ratio
    return cell.degraded(model.psf.shifted((float(rest[0]), float(rest[1]))), (int(whole[0]), int(whole[1])))


def _without_strays(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cells that lie near the median of their neighbours'."""
    count = min(_NEIGHBOURS + 1, len(cells))
    _, index = cKDTree(cells[:, :2]).query(cells[:, :2], count)
    middle = np.median(cells[index, 2:4], axis=1)
    return np.asarray(cells[np.hypot(*(cells[:, 2:4] - middle).T) <= _STRAY])


def _extent(patches: Sequence[PatchLike], places: Sequence[tuple[int, int]]) -> tuple[float, float, float, float]:
    """First and last column and row of the area that the patches span, in HSI pixels."""
    first = np.array(places)
    last = first + [patch.hsi_valid.shape[::-1] for patch in patches]
    return float(first[:, 0].min()), float(last[:, 0].max()), float(first[:, 1].min()), float(last[:, 1].max())


def _fitted(cells: NDArray[np.float64], extent: tuple[float, float, float, float]) -> tuple[DisplacementField, int]:
    """The smooth field through the cells, and how many of them lie on it."""
    smoothing = min(_SMOOTHINGS, key=lambda value: _held_out_misfit(cells, value))
    weight = np.ones(len(cells))
    for _ in range(4):
        spline = _spline(cells, smoothing, weight)
        away = np.hypot(*(cells[:, 2:4] - spline(cells[:, :2])).T)
        weight = 1 / (1 + (away / max(2 * float(np.median(away)), 0.02)) ** 2)
    left, right, top, bottom = extent
    spacing = max(_NODE_SPACING, (right - left) / _MOST_NODES, (bottom - top) / _MOST_NODES)
    x, y = (np.arange(low, high + spacing, spacing) for low, high in ((left, right), (top, bottom)))
    grid = np.stack(np.meshgrid(x, y), axis=-1)
    nodes = spline(grid.reshape(-1, 2)).reshape(*grid.shape)
    near = cells[away <= _FITS, 2:4] if (away <= _FITS).any() else cells[:, 2:4]
    nodes = np.clip(nodes, near.min(axis=0) - 0.5, near.max(axis=0) + 0.5)
    spread = float(_MAD_TO_SIGMA * np.median(away) / np.sqrt(2))
    field = DisplacementField((left, top), spacing, np.moveaxis(nodes, -1, 0), cells[away <= _FITS], spread)
    return field, int((away <= _FITS).sum())


def _spline(cells: NDArray[np.float64], smoothing: float, weight: NDArray[np.float64]) -> RBFInterpolator:
    certainty = weight / (0.05**2 + cells[:, 4] ** 2) * 0.05**2
    return RBFInterpolator(
        cells[:, :2], cells[:, 2:4], kernel="thin_plate_spline", smoothing=smoothing / np.maximum(certainty, 1e-4)
    )


def _held_out_misfit(cells: NDArray[np.float64], smoothing: float) -> float:
    """Median misfit of cells that the spline did not see, every fourth at a time."""
    left = []
    for turn in range(4):
        held = np.arange(len(cells)) % 4 == turn
        if (~held).sum() < 4 or not held.any():
            return smoothing
        spline = _spline(cells[~held], smoothing, np.ones(int((~held).sum())))
        left.append(np.hypot(*(cells[held, 2:4] - spline(cells[held, :2])).T))
    return float(np.median(np.concatenate(left)))
