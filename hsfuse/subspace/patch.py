"""A window of a pair as tensors: what statistics are fitted on and methods are given."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from hsfuse.imaging.holes import fill_holes

if TYPE_CHECKING:
    from torch import Tensor

    from hsfuse.imaging import BlurDecimate, PatchLike

_BEYOND = 0.01  # of a PSF that may lie beyond the patch
_FEWEST_INSIDE = 32


@dataclass(frozen=True)
class PairPatch:
    """A contiguous part of a pair, its holes filled; the masks say what may enter a statistic."""

    hsi: Tensor
    """Y, float32 (C, h, w)."""

    hsi_valid: Tensor
    """Bool (h, w)."""

    msi: Tensor
    """P, float32 (c, r·h, r·w)."""

    msi_valid: Tensor
    """Bool (r·h, r·w)."""

    beyond: float = 1.0
    """How far the ground beyond the rim differs from its edge, in variances of what neighbouring HSI pixels differ by:
    about 1, as real ground goes on, and 0 where a simulation replicated the edge (`hsfuse.subspace.rim`)."""

    @classmethod
    def of(cls, block: PatchLike) -> PairPatch:
        """The window of a pair as methods take it: holes filled, masks telling where they were."""
        return cls(
            torch.from_numpy(fill_holes(block.hsi, block.hsi_valid)),
            torch.from_numpy(block.hsi_valid),
            torch.from_numpy(fill_holes(block.msi, block.msi_valid)),
            torch.from_numpy(block.msi_valid),
        )

    @classmethod
    def all_valid(cls, hsi: Tensor, msi: Tensor) -> PairPatch:
        """A patch without holes."""
        return cls(
            hsi,
            torch.ones(hsi.shape[-2:], dtype=torch.bool),
            msi,
            torch.ones(msi.shape[-2:], dtype=torch.bool),
        )

    def middle(self, edge: int) -> PairPatch:
        """The middle of it, at most `edge` HSI pixels wide and high."""
        rows, columns = self.hsi.shape[-2:]
        ratio = self.msi.shape[-2] // rows
        top, left = max(rows - edge, 0) // 2, max(columns - edge, 0) // 2
        coarse = slice(top, top + edge), slice(left, left + edge)
        fine = tuple(slice(part.start * ratio, part.stop * ratio) for part in coarse)
        return replace(
            self,
            hsi=self.hsi[:, *coarse],
            hsi_valid=self.hsi_valid[coarse],
            msi=self.msi[:, *fine],
            msi_valid=self.msi_valid[fine],
        )


def low_resolution(patch: PairPatch, blur: BlurDecimate) -> tuple[Tensor, Tensor]:
    """Spectra (n, C) of Y and (n, c) of P B where every fine pixel under the PSF is valid."""
    use = usable_pixels(patch, blur)
    return patch.hsi[:, use].T, blur(patch.msi)[:, use].T


def usable_pixels(patch: PairPatch, blur: BlurDecimate) -> Tensor:
    """The HSI pixels that are valid with every fine pixel under their PSF, bool (h, w).

    What lies beyond the patch is no more known than what is masked: pixels whose PSF reaches there tell nothing of B
    and R. Those that reach there least stay where fewer than 32 others are left.
    """
    usable = covered_pixels(patch, blur)
    return usable if patch.beyond == 0 else inner_pixels(usable, blur)


def inner_pixels(usable: Tensor, blur: BlurDecimate) -> Tensor:
    """The usable HSI pixels with at most 1 % of their PSF beyond the rim, or the 32 with least there, bool (h, w)."""
    outside = blur.outside(*usable.shape).to(usable.device)
    innermost = outside[usable].sort().values[:_FEWEST_INSIDE]
    if not len(innermost):
        return usable
    return usable & (outside <= max(_BEYOND, float(innermost[-1]) + 1e-6))


def covered_pixels(patch: PairPatch, blur: BlurDecimate) -> Tensor:
    """The HSI pixels that are valid with every fine pixel under their PSF, as far as the patch holds it, (h, w)."""
    covered: Tensor = blur(patch.msi_valid[None].float())[0] > 1 - 1e-4
    return covered & patch.hsi_valid
