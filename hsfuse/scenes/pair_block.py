"""What a window of a pair holds: both images on nested grids, and what is known of their pixels."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from hsfuse.errors import RequestError
from hsfuse.scenes.grid import PixelWindow
from hsfuse.scenes.scene import mask_like, no_pixels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hsfuse.scenes.scene import Block


@dataclass(frozen=True, eq=False)
class PairBlock:
    """What a window of a pair holds."""

    hsi: NDArray[np.float32]
    """Shape (C, h, w); 0 where not valid."""
    hsi_valid: NDArray[np.bool_]
    """Shape (h, w)."""
    msi: NDArray[np.float32]
    """Shape (c, ratio·h, ratio·w), on the HSI grid refined by the ratio; 0 where not valid."""
    msi_valid: NDArray[np.bool_]
    """Shape (ratio·h, ratio·w)."""
    hsi_missing: NDArray[np.bool_] | None = None
    """Shape (C, h, w): numbers of valid pixels that the file lacks and that were bridged. None: there are none."""
    hsi_suspect: NDArray[np.bool_] = field(default_factory=no_pixels)
    """Shape (h, w): valid pixels that no fit should learn from; none unless given."""
    msi_suspect: NDArray[np.bool_] = field(default_factory=no_pixels)
    """Shape (ratio·h, ratio·w), as `hsi_suspect`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "hsi_suspect", mask_like(self.hsi_valid, self.hsi_suspect))
        object.__setattr__(self, "msi_suspect", mask_like(self.msi_valid, self.msi_suspect))

    @classmethod
    def of(cls, hsi: Block, msi: Block) -> PairBlock:
        """Both scenes' blocks of one area."""
        return cls(hsi.values, hsi.valid, msi.values, msi.valid, hsi.missing, hsi.suspect, msi.suspect)

    @property
    def fine_valid(self) -> NDArray[np.bool_]:
        """Where a fused pixel is valid, (ratio·h, ratio·w): the MSI's pixel is, and the HSI's pixel over it."""
        ratio = self.msi_valid.shape[0] // self.hsi_valid.shape[0]
        return self.msi_valid & np.kron(self.hsi_valid, np.ones((ratio, ratio), dtype=bool))

    def with_msi_bands(self, index: Sequence[int]) -> PairBlock:
        """The same with some of its MSI bands, 0-based."""
        return self if tuple(index) == tuple(range(len(self.msi))) else replace(self, msi=self.msi[list(index)])

    def crop(self, window: PixelWindow) -> PairBlock:
        """What a window of it holds, in HSI pixels.

        Raises:
            RequestError: The window reaches over the block.
        """
        height, width = self.hsi_valid.shape
        if not PixelWindow(0, 0, width, height).contains(window):
            raise RequestError(f"the window {window} reaches over the {width}×{height} HSI pixels at hand")
        fine = window.scaled(self.msi_valid.shape[0] // height)
        here, under = (window.rows, window.columns), (fine.rows, fine.columns)
        return PairBlock(
            self.hsi[:, *here],
            self.hsi_valid[here],
            self.msi[:, *under],
            self.msi_valid[under],
            None if self.hsi_missing is None else self.hsi_missing[:, *here],
            self.hsi_suspect[here],
            self.msi_suspect[under],
        )

    def where_hsi(self, kept: NDArray[np.bool_]) -> PairBlock:
        """The same with fewer valid HSI pixels: those that are `kept` as well, (h, w)."""
        if kept.all():
            return self
        valid = self.hsi_valid & kept
        missing = None if self.hsi_missing is None else self.hsi_missing & valid
        hsi = np.where(valid, self.hsi, np.float32(0))
        return replace(self, hsi=hsi, hsi_valid=valid, hsi_missing=missing)

    def for_fits(self) -> PairBlock:
        """The block as fits should see it: pixels that are suspect are not valid."""
        hsi, hsi_valid = _without(self.hsi, self.hsi_valid, self.hsi_suspect)
        msi, msi_valid = _without(self.msi, self.msi_valid, self.msi_suspect)
        missing = None if self.hsi_missing is None else self.hsi_missing & hsi_valid
        return PairBlock(hsi, hsi_valid, msi, msi_valid, missing)


def _without(
    values: NDArray[np.float32], valid: NDArray[np.bool_], suspect: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    if not suspect.any():
        return values, valid
    return np.where(suspect, np.float32(0), values), valid & ~suspect
