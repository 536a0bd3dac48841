"""The plan of tiles: where a scene is cut, how far tiles overlap, and weights that sum to one.

Along each axis a tile is wide, overlaps its neighbours, and is weighed by a trapezium with raised-cosine flanks.
The flank lies in the middle of an overlap: `margin` pixels at the rim of a tile, which a method computes without
knowing what lies beyond, weigh nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from hsfuse.errors import RequestError
from hsfuse.scenes import PixelWindow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Tiling:
    """How a scene is cut into tiles, in HSI pixels."""

    tile: int | None = None
    """Edge of a tile; None for what fits into memory."""

    overlap: int | None = None
    """What neighbours share; None for what the method needs."""


BY_MEMORY = Tiling()
"""Whatever fits."""


@dataclass(frozen=True)
class Axis:
    """One axis of the plan, in HSI pixels.

    Raises:
        RequestError: The tile is smaller than three overlaps although the axis needs more than one.
    """

    length: int
    """Pixels of the whole."""

    tile: int
    """Edge of a tile; the whole if that is smaller."""

    overlap: int
    """What neighbours share at least."""

    margin: int
    """What weighs nothing at an inner rim of a tile; at most half of the overlap."""

    def __post_init__(self) -> None:
        # With three overlaps no pixel ever lies in more than two tiles, also where they are shrunk.
        if self.tile < self.length and self.tile < max(3 * self.overlap, 1):
            raise RequestError(
                f"a tile of {self.tile} HSI pixels is too small for an overlap of {self.overlap}: "
                f"make it at least {3 * self.overlap} (`tile`), or the overlap smaller (`overlap`)",
            )
        if not 0 <= 2 * self.margin <= self.overlap:
            raise RequestError(f"an overlap of {self.overlap} HSI pixels does not hold margins of {self.margin}")

    @cached_property
    def count(self) -> int:
        """How many tiles the axis takes."""
        if self.tile >= self.length:
            return 1
        return -(-(self.length - self.overlap) // (self.tile - self.overlap))

    @cached_property
    def edge(self) -> int:
        """Length of every tile: shrunk evenly to what the axis needs."""
        return -(-(self.length + (self.count - 1) * self.overlap) // self.count)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """First pixel of each tile; the last tile ends with the axis."""
        last = self.length - self.edge
        return tuple(round(index * last / max(self.count - 1, 1)) for index in range(self.count))

    def weights(self, index: int, ratio: int) -> NDArray[np.float32]:
        """Weight of each fine pixel of a tile, shape (ratio · edge,), float32.

        Where two tiles meet the second's weights are one minus the first's, so the sum is one to the last bit.
        """
        weights = np.ones(self.edge * ratio, np.float32)
        if index > 0:
            shared = (self.starts[index - 1] + self.edge - self.starts[index]) * ratio
            weights[:shared] = np.float32(1) - self._falling(shared, ratio)
        if index + 1 < len(self.starts):
            shared = (self.starts[index] + self.edge - self.starts[index + 1]) * ratio
            weights[len(weights) - shared :] = self._falling(shared, ratio)
        return weights

    def _falling(self, shared: int, ratio: int) -> NDArray[np.float32]:
        """From one to zero over `shared` fine pixels: flat, raised cosine in the middle, flat."""
        flank = (self.overlap - 2 * self.margin) * ratio
        position = np.arange(shared) + 0.5 - shared / 2
        if flank == 0:
            return (position < 0).astype(np.float32)
        phase = np.clip(position / flank + 0.5, 0, 1)
        return (0.5 * (1 + np.cos(np.pi * phase))).astype(np.float32)


@dataclass(frozen=True)
class Tile:
    """One tile of a plan."""

    window: PixelWindow
    """What is read and computed, in HSI pixels."""

    row: int
    """Which row of tiles it belongs to."""

    row_weights: NDArray[np.float32]
    """Weight along the rows' axis, shape (ratio · height,)."""

    column_weights: NDArray[np.float32]
    """Weight along the columns' axis, shape (ratio · width,)."""


@dataclass(frozen=True)
class TilePlan:
    """How an area of `height` × `width` HSI pixels is cut; iterate for the tiles, row by row."""

    rows: Axis
    """Along the height."""

    columns: Axis
    """Along the width."""

    ratio: int
    """HSI pixel over fine pixel."""

    @classmethod
    def make(cls, width: int, height: int, ratio: int, *, tile: int, overlap: int, margin: int) -> TilePlan:
        """Plan square tiles.

        Args:
            width: Of the area, in HSI pixels.
            height: Of the area, in HSI pixels.
            ratio: HSI pixel over fine pixel.
            tile: Edge of a tile in HSI pixels.
            overlap: What neighbours share at least, in HSI pixels.
            margin: What weighs nothing at the inner rims of a tile, in HSI pixels.

        Raises:
            RequestError: The tile is too small for the overlap.
        """
        return cls(Axis(height, tile, overlap, margin), Axis(width, tile, overlap, margin), ratio)

    @property
    def tiling(self) -> Tiling:
        """What it was made from."""
        return Tiling(self.rows.tile, self.rows.overlap)

    def tiled_as(self, tiling: Tiling) -> TilePlan:
        """The same area in other tiles."""
        assert tiling.tile is not None
        assert tiling.overlap is not None
        if tiling == self.tiling:
            return self
        margin = min(self.rows.margin, tiling.overlap // 2)
        return TilePlan.make(
            self.columns.length, self.rows.length, self.ratio, tile=tiling.tile, overlap=tiling.overlap, margin=margin
        )

    def __len__(self) -> int:
        return len(self.rows.starts) * len(self.columns.starts)

    def __iter__(self) -> Iterator[Tile]:
        for row, top in enumerate(self.rows.starts):
            row_weights = self.rows.weights(row, self.ratio)
            for column, left in enumerate(self.columns.starts):
                yield Tile(
                    PixelWindow(left, top, self.columns.edge, self.rows.edge),
                    row,
                    row_weights,
                    self.columns.weights(column, self.ratio),
                )

    def finished_rows(self, row: int) -> int:
        """How many fine rows are complete once this row of tiles has been added."""
        starts = self.rows.starts
        following = starts[row + 1] if row + 1 < len(starts) else self.rows.length
        return following * self.ratio
