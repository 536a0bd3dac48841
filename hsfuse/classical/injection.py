"""What component substitution and multiresolution analysis share: X̂ = ↑Y + G (P − P_L).

Both put an MSI band's detail into every HSI band, with a gain; they differ in the low-pass version P_L of
the MSI. Each HSI band takes the MSI band with which it correlates best (hypersharpening, Selva et al. 2015).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from hsfuse.imaging import upsample

if TYPE_CHECKING:
    from torch import Tensor

    from hsfuse.imaging import BlurDecimate

BICUBIC_REACH = 2
"""How many HSI pixels away bicubic interpolation looks."""

BILINEAR_REACH = 1
"""How many HSI pixels away bilinear interpolation looks."""


def spread_gains(gain: Tensor, band: Tensor, msi_bands: int) -> Tensor:
    """G, float32 (C, c): each HSI band's gain (C,) in the column of its MSI band (C,), zero elsewhere."""
    matrix = torch.zeros(len(gain), msi_bands)
    return matrix.scatter_(1, band[:, None], gain.float()[:, None])


def inject(hsi: Tensor, detail: Tensor, gains: Tensor, ratio: int) -> Tensor:
    """↑Y + G · detail: Y (C, h, w), detail (c, r·h, r·w), G (C, c) to (C, r·h, r·w)."""
    fused = upsample(hsi, ratio)
    # In place: a tile of all bands is the largest thing that there is.
    fused.flatten(1).addmm_(gains.to(detail), detail.flatten(1))
    return fused


def blur_reach(blur: BlurDecimate) -> int:
    """How many HSI pixels away a blurred pixel looks."""
    return max(-(-blur.margin // blur.ratio), 0)
