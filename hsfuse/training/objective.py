"""What training minimises."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hsfuse.training.episodes import Batch


def relative_loss(network: nn.Module, batch: Batch) -> Tensor:
    """Root mean square error of each patch in units of the linear estimate's, bands alike, plus that of angles.

    Roots are taken per patch, so that no single patch of a difficult scene rules the step; pixels whose truth is
    not known count nothing.
    """
    error = network(batch.inputs, batch.condition) - batch.truth
    bands = torch.einsum("bkj,bkhw->bjhw", batch.band_units, error).square().sum(dim=1) * batch.valid
    angles = torch.einsum("bkj,bkhw->bjhw", batch.angle_units, error).square().sum(dim=1) * batch.angle_weight
    known = batch.valid.sum(dim=(1, 2)).clamp_min(1)
    per_patch = (bands.sum(dim=(1, 2)) / known + 1e-4).sqrt() + 0.5 * (angles.sum(dim=(1, 2)) / known + 1e-4).sqrt()
    return per_patch.mean()


def band_loss(
    network: nn.Module, images: tuple[Tensor, Tensor, Tensor, Tensor], unit: Tensor, *, squared: bool
) -> Tensor:
    """Mean absolute (Khader et al. 2023) or squared (Zhao et al. 2024) error of a network on bands.

    Args:
        network: Takes Y (B, C, h, w) and P (B, c, H, W).
        images: Y, P, X (B, C, H, W), and where X is known, bool (B, H, W).
        unit: Of each band's error, (C,).
        squared: Which of the two.
    """
    hsi, msi, truth, valid = images
    error = (network(hsi, msi) - truth) / unit[:, None, None] * valid[:, None]
    sums = (error.square() if squared else error.abs()).sum(dim=(1, 2, 3))
    per_patch: Tensor = sums / (valid.sum(dim=(1, 2)).clamp_min(1) * len(unit))
    return per_patch.mean()
