"""Blending tiles by rows: finished rows leave, so that no more than a row of tiles is ever held."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from hsfuse.fusion.tiles import Tile, TilePlan


@dataclass(frozen=True, eq=False)
class Strip:
    """Some rows of the image."""

    first: int
    """Fine row that it begins with."""

    values: NDArray[np.float32]
    """Shape (C, rows, W)."""

    valid: NDArray[np.bool_]
    """Shape (rows, W)."""

    @property
    def end(self) -> int:
        """The row below it."""
        return self.first + len(self.valid)


class RowBlender:
    """Adds weighted tiles, row of tiles after row of tiles, and hands out the rows that nothing more will touch.

    Rows are held in strips that leave whole, so that nothing is copied and nothing moved up. The memory of one that has
    left is taken for a later one: the system takes longer to give fresh pages than a tile to be added.
    """

    def __init__(self, plan: TilePlan, bands: int, *, align: int = 1, first: int = 0) -> None:
        """Rows from `first` on are handed out, in strips that end at multiples of `align` or with the image."""
        self.plan = plan
        self._bands, self._align = bands, align
        self._next = first
        self._strips: deque[Strip] = deque()
        self._left: list[Strip] = []

    def add(self, tile: Tile, values: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
        """Add a tile's fused values (C, ratio · h, ratio · w), weighed in place, and where they are valid."""
        ratio = self.plan.ratio
        top, left = tile.window.row * ratio, tile.window.column * ratio
        bottom = top + len(valid)
        while self._next < bottom:
            self._strips.append(self._new_strip())
        rows, columns = _weighed(tile.row_weights), _weighed(tile.column_weights)
        values[:, rows, columns] *= tile.row_weights[rows, None] * tile.column_weights[columns]
        across, weighed = slice(left, left + valid.shape[1]), slice(left + columns.start, left + columns.stop)
        for strip in self._strips:  # what lies above the first of them was handed out before
            begin, end = max(strip.first, top), min(strip.end, bottom)
            if begin < end:
                strip.valid[begin - strip.first : end - strip.first, across] |= valid[begin - top : end - top]
            begin, end = max(begin, top + rows.start), min(end, top + rows.stop)
            if begin < end:
                here, own = slice(begin - strip.first, end - strip.first), slice(begin - top, end - top)
                strip.values[:, here, weighed] += values[:, own, columns]

    def take(self, row: int) -> Iterator[Strip]:
        """The strips that are complete once the tiles of `row` are in; each only until the next is asked for."""
        finished = self.plan.finished_rows(row)
        while self._strips and self._strips[0].end <= finished:
            strip = self._strips.popleft()
            yield strip
            self._left.append(strip)

    def _new_strip(self) -> Strip:
        total, width = self.plan.rows.length * self.plan.ratio, self.plan.columns.length * self.plan.ratio
        first = self._next
        self._next = min(first - first % self._align + self._align, total)
        shape = self._next - first, width
        self._left = [strip for strip in self._left if strip.valid.shape == shape]
        if not self._left:
            return Strip(first, np.zeros((self._bands, *shape), np.float32), np.zeros(shape, dtype=bool))
        left = self._left.pop()
        left.values.fill(0)
        left.valid.fill(False)
        return replace(left, first=first)


def _weighed(weights: NDArray[np.float32]) -> slice:
    """The pixels along an axis that weigh anything."""
    places = np.flatnonzero(weights)
    return slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0)
