"""Second moments of a scene at low resolution: what the classical methods fit their global numbers on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from hsfuse.errors import SceneError
from hsfuse.subspace.outliers import screened
from hsfuse.subspace.patch import low_resolution

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from hsfuse.imaging import ImagingModel
    from hsfuse.subspace.patch import PairPatch

CONSTANT = 1e-12
"""Variance over squared mean up to which a band is constant but for float32's rounding."""

FEWEST_PIXELS = 8
"""Valid HSI pixels that statistics need."""


@dataclass(frozen=True)
class Covariances:
    """Second moments of Y and P B over the valid HSI pixels of a scene, float64."""

    count: int
    """Pixels n."""

    hsi_mean: Tensor
    """Of Y, (C,)."""

    msi_mean: Tensor
    """Of P B, (c,)."""

    hsi: Tensor
    """Covariance of Y, (C, C)."""

    cross: Tensor
    """Covariance of P B with Y, (c, C)."""

    msi_variance: Tensor
    """Variances of P B, (c,)."""

    @classmethod
    def of(cls, patches: Sequence[PairPatch], imaging: ImagingModel) -> Covariances:
        """Of parts of a scene, their masks respected.

        Raises:
            SceneError: Fewer than eight valid pixels.
        """
        pairs = [low_resolution(patch, imaging.blur) for patch in screened(patches, imaging)]
        hsi, msi = (torch.cat(parts).double() for parts in zip(*pairs, strict=True))
        count = hsi.shape[0]
        if count < FEWEST_PIXELS:
            raise SceneError(
                f"the HSI has {count} valid pixels in common with the MSI, fusing needs at least {FEWEST_PIXELS}"
            )
        hsi_mean, msi_mean = hsi.mean(dim=0), msi.mean(dim=0)
        hsi, msi = hsi - hsi_mean, msi - msi_mean
        # What is left of a constant band after rounding is not detail.
        msi = msi * ((msi**2).mean(dim=0) > CONSTANT * msi_mean**2)
        variance = (msi**2).mean(dim=0)
        return cls(count, hsi_mean, msi_mean, hsi.T @ hsi / count, msi.T @ hsi / count, variance)

    def radiometry(self, imaging: ImagingModel) -> tuple[Tensor, Tensor]:
        """Gain and offset of P = gain · R X + offset, each (c,): `fit_radiometry`, out of the moments."""
        response = torch.from_numpy(imaging.srf.matrix)
        variance = (response @ self.hsi * response).sum(dim=1)
        gain = (response * self.cross).sum(dim=1) / variance.clamp_min(1e-300)
        return gain, self.msi_mean - gain * (response @ self.hsi_mean)

    def best_msi_band(self) -> Tensor:
        """The MSI band (0-based) whose correlation with each HSI band is strongest, (C,)."""
        scale = torch.sqrt(self.msi_variance[:, None] * torch.diag(self.hsi))
        return (self.cross.abs() / scale.clamp_min(1e-300)).argmax(dim=0)
