"""The MSI as it sees a scene's coefficients: P = R A + o + noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from typing import Self

    from torch import Tensor

    from hsfuse.classical.covariances import Covariances
    from hsfuse.imaging import ImagingModel
    from hsfuse.subspace.linear_model import LinearModel


@dataclass(frozen=True)
class MsiObservation:
    """R on coefficients, with the MSI's gain and offset in it, and its noise."""

    response: Tensor
    """R, float64 (c, K)."""

    offset: Tensor
    """o, float64 (c,)."""

    noise: Tensor
    """s_m², the variance at full resolution of what R A + o leaves of P, float64 (c,); infinite for bands that do not
    vary."""

    @classmethod
    def of(cls, linear_model: LinearModel, found: Covariances, imaging: ImagingModel) -> Self:
        """Of the moments of a scene.

        The misfit at low resolution is taken for white noise that B has averaged, so the noise covers what the
        subspace and the SRF leave unexplained.
        """
        subspace = linear_model.subspace
        scale, mean, basis = subspace.scale.double(), subspace.mean.double(), subspace.basis.double()
        gain, offset = found.radiometry(imaging)
        to_msi = torch.from_numpy(imaging.srf.matrix) * gain[:, None] * scale  # (c, C) of scaled bands
        response = to_msi @ basis
        seen = (response @ basis.T) / scale  # (c, C): the same of Y's bands
        misfit = found.msi_variance - 2 * (seen * found.cross).sum(dim=1) + (seen @ found.hsi * seen).sum(dim=1)
        noise = misfit.clamp_min(0) / imaging.blur.noise_gain + 1e-6 * found.msi_variance + 1e-12 * found.msi_mean**2
        noise = torch.where(found.msi_variance > 0, noise, torch.inf)
        return cls(response, offset + to_msi @ mean, noise)

    def precision(self) -> Tensor:
        """Rᵀ diag(1 / s_m²) R, float64 (K, K)."""
        return self.response.T @ (self.response / self.noise[:, None])
