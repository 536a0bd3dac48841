"""Which grid a fused image has: the HSI's refined, the MSI's own pixels, or pixels of a size that is asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from affine import Affine

from hsfuse.errors import PairError, RequestError
from hsfuse.scenes.grid import Grid, PixelWindow, map_pixels
from hsfuse.scenes.overlap import whole_pixels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

LEADING = ("hsi", "msi")
"""Whose grid an output can have."""

_GRID_TAG, _RESOLUTION_TAG = "HSFUSE_GRID", "HSFUSE_RESOLUTION"


@dataclass(frozen=True)
class OutputGrid:
    """The grid asked for.

    Raises:
        RequestError: There is no such grid, or no such pixel size.
    """

    grid: str = "hsi"
    """Whose CRS and corner it has: `hsi` or `msi`."""

    resolution: float | None = None
    """Edge of its pixels in metres; None: the HSI's pixel cut into a whole number, or with `msi` the MSI's pixel."""

    def __post_init__(self) -> None:
        if self.grid not in LEADING:
            raise RequestError(f"the output has the grid of `hsi` or `msi`, not of {self.grid!r}")
        if self.resolution is not None and not (math.isfinite(self.resolution) and self.resolution > 0):
            raise RequestError(f"the pixels of the output are {self.resolution:g} m wide: give a positive `resolution`")

    @property
    def refines_hsi(self) -> bool:
        """Whether it is nothing but the HSI's grid, refined by the ratio."""
        return self.grid == "hsi" and self.resolution is None

    def pixels(self, hsi: Grid, msi: Grid, x: float, y: float) -> Grid:
        """A grid whose pixels, continued beyond it, are those of the output.

        Args:
            hsi: The HSI's grid.
            msi: Where the MSI lies.
            x: A place in HSI pixels; of degrees the metres are measured there.
            y: Likewise.

        Raises:
            PairError: The scenes do not say where they lie, so that nothing tells metres.
        """
        leader = hsi if self.grid == "hsi" else msi
        if self.resolution is None:
            return leader
        if not hsi.has_transform:
            raise PairError(
                f"neither scene has a geotransform, so nothing says how large {self.resolution:g} m are: leave out "
                "`resolution`"
            )
        if leader is msi:
            x, y = map_pixels(np.array([[x, y]]), hsi, msi)[0]
        across, down = leader.pixel_metres(x, y)
        factors = self.resolution / across, self.resolution / down
        width, height = math.ceil(leader.width / factors[0]), math.ceil(leader.height / factors[1])
        return Grid(width, height, leader.transform @ Affine.scale(*factors), leader.crs)

    def tags(self) -> dict[str, str]:
        """For the dataset of the output; `of_tags` reads them."""
        found = {_GRID_TAG: self.grid}
        return found if self.resolution is None else found | {_RESOLUTION_TAG: repr(float(self.resolution))}

    @classmethod
    def of_tags(cls, tags: Mapping[str, str], path: str) -> Self | None:
        """Of a fused image; None where its tags do not say.

        Args:
            tags: Of its dataset.
            path: For what is said to the user.

        Raises:
            PairError: The tags are broken.
        """
        if _GRID_TAG not in tags:
            return None
        resolution = tags.get(_RESOLUTION_TAG)
        try:
            return cls(tags[_GRID_TAG], None if resolution is None else float(resolution))
        except (ValueError, RequestError) as error:
            raise PairError(f"{path}: its tags do not say properly which grid it has ({error})") from error


HSI_REFINED = OutputGrid()
"""The HSI's grid cut into the ratio: the default."""


def covering(pixels: Grid, ratio: int, outline: NDArray[np.float64]) -> Grid | None:
    """The part of a grid's pixels, continued at will, that fills the box around an outline in squares of the ratio.

    Args:
        pixels: The fine grid.
        ratio: Edge of a square in its pixels.
        outline: In its pixels, shape (N, 2).

    Returns:
        None where the box has no room for a square.
    """
    box = whole_pixels(outline, 1)
    if box is None:
        return None
    width, height = box.width // ratio * ratio, box.height // ratio * ratio
    return pixels.crop(PixelWindow(box.column, box.row, width, height)) if width > 0 and height > 0 else None
