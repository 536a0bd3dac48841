"""GSA: Gram-Schmidt adaptive component substitution, for HSI and MSI.

Aiazzi, Baronti, Selva (2007), Improving component substitution pansharpening through multivariate regression
of MS + Pan data; for HSI and MSI by groups of HSI bands, as in Yokoya, Grohnfeldt, Chanussot (2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from hsfuse.classical.covariances import Covariances
from hsfuse.classical.injection import BICUBIC_REACH, inject, spread_gains
from hsfuse.imaging import upsample

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from torch import Tensor

    from hsfuse.imaging import ImagingModel
    from hsfuse.subspace.patch import PairPatch

_RIDGE = 1e-6  # of the mean variance: neighbouring HSI bands are nearly collinear


@dataclass(frozen=True)
class GSA:
    """X̂ = ↑Y + G (P − ↑I): each MSI band replaces an intensity I, made of the HSI bands nearest to it."""

    gains: Tensor
    """G, float32 (C, c): cov(Y_b, I_m) / var(I_m) of each HSI band and the MSI band of its group."""

    weights: Tensor
    """W of I = W Y + w₀, float32 (c, C): the regression of P B on the group's HSI bands."""

    offset: Tensor
    """w₀, float32 (c,)."""

    ratio: int
    """HSI pixel over MSI pixel."""

    @classmethod
    def fit(cls, patches: Sequence[PairPatch], imaging: ImagingModel) -> Self:
        """Fit groups, intensities and gains on parts of a scene, holes filled and masked.

        Raises:
            SceneError: Too few valid pixels.
        """
        found = Covariances.of(patches, imaging)
        band = found.best_msi_band()
        weights = _intensity_weights(found, band)
        with_hsi = weights @ found.hsi  # (c, C): cov(I, Y)
        variance = (with_hsi * weights).sum(dim=1)
        gain = with_hsi.gather(0, band[None])[0] / variance[band].clamp_min(1e-300)
        offset = found.msi_mean - weights @ found.hsi_mean
        return cls(spread_gains(gain, band, len(variance)), weights.float(), offset.float(), imaging.ratio)

    @property
    def margin(self) -> int:
        """HSI pixels at the rim of a tile that depend on what lies outside."""
        return BICUBIC_REACH

    @torch.no_grad()
    def __call__(self, hsi: Tensor, msi: Tensor) -> Tensor:
        """Fuse Y (C, h, w) and P (c, r·h, r·w) to float32 (C, r·h, r·w)."""
        intensity = torch.einsum("mc,chw->mhw", self.weights.to(hsi), hsi) + self.offset.to(hsi)[:, None, None]
        return inject(hsi, msi - upsample(intensity, self.ratio), self.gains, self.ratio)


def _intensity_weights(found: Covariances, band: Tensor) -> Tensor:
    """W, float64 (c, C): one ridge regression an MSI band, all at once, each on the HSI bands of its group.

    A band outside the group gets a unit row and column in the normal equations, and so the weight zero.
    """
    group = (band == torch.arange(len(found.msi_variance))[:, None]).double()  # (c, C)
    ridge = torch.diag(_RIDGE * torch.diag(found.hsi) + 1e-12 * torch.diag(found.hsi).mean() + 1e-300)
    normal = group[:, :, None] * (found.hsi + ridge) * group[:, None, :] + torch.diag_embed(1 - group)
    # Cholesky, not LU: torch 2.13 never returns from a batched LU once a caller has set its number of threads.
    return torch.cholesky_solve((group * found.cross)[:, :, None], torch.linalg.cholesky(normal))[:, :, 0]
