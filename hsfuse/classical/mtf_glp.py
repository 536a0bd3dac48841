"""MTF-GLP: the generalised Laplacian pyramid with the sensor's MTF, for HSI and MSI.

Aiazzi, Alparone, Baronti, Garzelli, Selva (2006), MTF-tailored multiscale fusion of high-resolution MS and
Pan imagery; for HSI and MSI as hypersharpening, Selva, Aiazzi, Butera, Chiarantini, Baronti (2015).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from hsfuse.classical.covariances import Covariances
from hsfuse.classical.injection import BICUBIC_REACH, blur_reach, inject, spread_gains
from hsfuse.imaging import upsample

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from torch import Tensor

    from hsfuse.imaging import BlurDecimate, ImagingModel
    from hsfuse.subspace.patch import PairPatch


@dataclass(frozen=True)
class MTFGLP:
    """X̂ = ↑Y + G (P − ↑(P B)): the detail is what the HSI's own blur takes from the MSI."""

    gains: Tensor
    """G, float32 (C, c): the regression of each HSI band on its best-correlated MSI band."""

    blur: BlurDecimate
    """B."""

    @classmethod
    def fit(cls, patches: Sequence[PairPatch], imaging: ImagingModel) -> Self:
        """Fit the gains on parts of a scene, holes filled and masked.

        Raises:
            SceneError: Too few valid pixels.
        """
        found = Covariances.of(patches, imaging)
        band = found.best_msi_band()
        covariance = found.cross.gather(0, band[None])[0]
        gain = covariance / found.msi_variance[band].clamp_min(1e-300)
        return cls(spread_gains(gain, band, len(found.msi_variance)), imaging.blur)

    @property
    def margin(self) -> int:
        """HSI pixels at the rim of a tile that depend on what lies outside."""
        return BICUBIC_REACH + blur_reach(self.blur)

    @torch.no_grad()
    def __call__(self, hsi: Tensor, msi: Tensor) -> Tensor:
        """Fuse Y (C, h, w) and P (c, r·h, r·w) to float32 (C, r·h, r·w)."""
        detail = msi - upsample(self.blur(msi), self.blur.ratio)
        return inject(hsi, detail, self.gains, self.blur.ratio)
