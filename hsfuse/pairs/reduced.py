"""A pair one Wald level down, in memory: both images degraded by the ratio, and the HSI itself as the truth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hsfuse.errors import RequestError
from hsfuse.imaging import degrade_pair
from hsfuse.pairs.wald_level import wald_area, wald_block
from hsfuse.scenes import PixelWindow

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hsfuse.imaging import WaldPair
    from hsfuse.pairs.pair import Pair
    from hsfuse.scenes import PairBlock, ScenePair

_MOST_NUMBERS = 2**25  # of both images before they are degraded, 128 MB: no image is streamed here
_LEAST_EDGE = 8  # degraded HSI pixels


@dataclass(frozen=True, eq=False)
class ReducedPair:
    """Gives tiles to the engine as a `ScenePair` does."""

    wald: WaldPair
    """The degraded pair, its truth and its imaging model."""

    part: PixelWindow
    """Which pixels of the HSI the truth shows."""

    whole: bool
    """Whether that is all of the area in use, but for what does not fill a degraded pixel."""

    @classmethod
    def of(cls, imaged: Pair) -> ReducedPair:
        """Degrade a pair, or its middle if it is large.

        Raises:
            RequestError: Too few pixels are left.
        """
        pair = imaged.pair
        part = _middle(pair)
        block = pair.read(part)
        wald = degrade_pair(block.hsi, block.msi, imaged.imaging, hsi_valid=block.hsi_valid, msi_valid=block.msi_valid)
        whole = max(pair.window.width - part.width, pair.window.height - part.height) < pair.ratio
        return cls(wald, part.shifted(pair.window.column, pair.window.row), whole)

    @property
    def area(self) -> PixelWindow:
        """All of it, in degraded HSI pixels."""
        return wald_area(self.wald)

    def read(self, window: PixelWindow) -> PairBlock:
        """Both degraded images under a window of degraded HSI pixels."""
        return wald_block(self.wald, window)


class FusedArray:
    """Takes the rows of a fused image from the engine as a `CogWriter` does."""

    def __init__(self, like: NDArray[np.float32]) -> None:
        """Make room for an image of the shape of `like`, (C, H, W)."""
        self.values = np.zeros_like(like)
        """Fused image, float32 (C, H, W)."""
        self.valid = np.zeros(like.shape[1:], dtype=bool)
        """Where it is known, (H, W)."""

    def write(self, row: int, values: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
        """Take the next rows."""
        rows = slice(row, row + values.shape[1])
        self.values[:, rows], self.valid[rows] = values, valid


def _middle(pair: ScenePair) -> PixelWindow:
    """The middle of the area in use that fits into memory, in whole degraded pixels."""
    ratio, width, height = pair.ratio, pair.window.width, pair.window.height
    numbers = width * height * (len(pair.hsi_bands) + len(pair.msi_bands) * ratio**2)
    shrink = min(math.sqrt(_MOST_NUMBERS / numbers), 1.0)
    across, down = (int(edge * shrink) // ratio * ratio for edge in (width, height))
    if min(across, down) < _LEAST_EDGE * ratio:
        raise RequestError(
            f"the {width}×{height} HSI pixels that {pair.hsi.path} and {pair.msi.path} have in common are too few at "
            f"reduced resolution: give at least {_LEAST_EDGE * ratio}×{_LEAST_EDGE * ratio}, or a --reference"
        )
    return PixelWindow((width - across) // 2, (height - down) // 2, across, down)
