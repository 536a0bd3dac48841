"""Blending tiles by rows: finished rows leave, so that no more than a row of tiles is ever held."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hsfuse.fusion.tiles import Tile, TilePlan


class RowBlender:
    """Adds weighted tiles, row of tiles after row of tiles, and hands out the rows that nothing more will touch."""

    def __init__(self, plan: TilePlan, bands: int, *, align: int = 1, first: int = 0) -> None:
        """Rows from `first` on are handed out, in multiples of `align` except for the last ones."""
        self.plan = plan
        self.align = align
        height = plan.rows.edge * plan.ratio + align - 1
        width = plan.columns.length * plan.ratio
        self._sum = np.zeros((bands, height, width), np.float32)
        self._valid = np.zeros((height, width), dtype=bool)
        self.first = first
        """Fine row that the next rows handed out begin with."""

    def add(self, tile: Tile, values: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
        """Add a tile's fused values (C, ratio · h, ratio · w), weighed in place, and where they are valid."""
        ratio = self.plan.ratio
        top = tile.window.row * ratio - self.first
        left = tile.window.column * ratio
        gone = max(-top, 0)  # rows of it that were handed out before
        rows, columns = _weighed(tile.row_weights, gone), _weighed(tile.column_weights)
        part = values[:, rows, columns]
        part *= tile.row_weights[rows, None] * tile.column_weights[columns]
        self._sum[:, rows.start + top : rows.stop + top, columns.start + left : columns.stop + left] += part
        here = slice(gone + top, len(valid) + top), slice(left, left + valid.shape[1])
        self._valid[here] |= valid[gone:]

    def take(self, row: int) -> tuple[int, NDArray[np.float32], NDArray[np.bool_]] | None:
        """The rows that are complete once the tiles of `row` are in: first fine row, values, valid; or None.

        The arrays are copies.
        """
        finished = self.plan.finished_rows(row)
        total = self.plan.rows.length * self.plan.ratio
        if finished < total:
            finished -= finished % self.align
        count = finished - self.first
        if count <= 0:
            return None
        first, values, valid = self.first, self._sum[:, :count].copy(), self._valid[:count].copy()
        kept = self._sum.shape[1] - count
        for band in self._sum:  # moved band by band: overlapping memory, and no copy of the whole
            band[:kept] = band[count:].copy()
            band[kept:] = 0
        self._valid[:kept] = self._valid[count:].copy()
        self._valid[kept:] = False
        self.first = finished
        return first, values, valid


def _weighed(weights: NDArray[np.float32], gone: int = 0) -> slice:
    """The pixels along an axis, from `gone` on, that weigh anything."""
    places = np.flatnonzero(weights[gone:])
    return slice(gone, gone) if not len(places) else slice(int(places[0]) + gone, int(places[-1]) + gone + 1)
