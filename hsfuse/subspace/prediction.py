"""The linear prediction of a scene's coefficients from its MSI, fitted at low resolution.

It carries the MSI's own noise at full resolution in its ridge, and its low-resolution error is Wiener-weighted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from hsfuse.subspace.radiometry import fit_radiometry

if TYPE_CHECKING:
    from torch import Tensor

    from hsfuse.imaging import ImagingModel
    from hsfuse.subspace.basis import SpectralSubspace


@dataclass(frozen=True)
class LinearPrediction:
    """Coefficients out of the MSI: A ≈ W (P − p̄), fitted at low resolution on (P B, A)."""

    weights: Tensor
    """W, float32 (K, c)."""

    msi_mean: Tensor
    """p̄, float32 (c,)."""

    residual: Tensor
    """Standard deviation of A − W (P − p̄) at low resolution, float32 (K,)."""

    keep: Tensor
    """Wiener weight of that residual: the part of its variance that is not the HSI's noise, float32 (K,)."""

    msi_noise: Tensor
    """Standard deviation that the MSI's noise and misfit leave in each predicted coefficient, float32 (K,)."""

    mixing: Tensor
    """W R̂: what the prediction makes of coefficients seen through the MSI, float32 (K, K)."""

    mixing_offset: Tensor
    """Its constant part, float32 (K,)."""

    def predict(self, msi: Tensor) -> Tensor:
        """Coefficients (K, H, W) of an MSI (c, H, W)."""
        offset = (self.weights @ self.msi_mean).to(msi)
        return torch.einsum("kc,chw->khw", self.weights.to(msi), msi) - offset[:, None, None]


def fit_prediction(
    subspace: SpectralSubspace, hsi: Tensor, msi: Tensor, imaging: ImagingModel, averaging: float
) -> LinearPrediction:
    """Ridge regression of the coefficients on the degraded MSI, float64 inside."""
    count = msi.shape[0]
    basis, scale, mean = subspace.basis.double(), subspace.scale.double(), subspace.mean.double()
    coefficients = (hsi.double() / scale - mean) @ basis  # (n, K), zero mean up to rounding
    degraded = msi.double()
    msi_mean = degraded.mean(dim=0)
    centred = degraded - msi_mean
    # The MSI's noise at full resolution, out of what the coefficients do not explain of it at low resolution.
    explained, *_ = torch.linalg.lstsq(coefficients, centred)
    noise = ((centred - coefficients @ explained) ** 2).mean(dim=0) / averaging
    covariance = centred.T @ centred / count
    ridge = torch.diag(noise + 1e-6 * torch.diag(covariance) + 1e-300)
    weights = torch.linalg.solve(covariance + ridge, centred.T @ coefficients / count).T  # (K, c)
    residual = (coefficients - centred @ weights.T).pow(2).mean(dim=0)
    keep = (1 - subspace.noise.double() ** 2 / residual.clamp_min(1e-30)).clamp(0, 1)
    response = torch.from_numpy(imaging.srf.matrix)
    gain, constant = fit_radiometry(hsi.double() @ response.T, degraded)
    to_msi = response * gain[:, None] * scale  # (c, C) on scaled bands
    return LinearPrediction(
        weights.float(),
        msi_mean.float(),
        residual.clamp_min(1e-12).sqrt().float(),
        keep.float(),
        (weights**2 @ noise).sqrt().float(),
        (weights @ to_msi @ basis).float(),
        (weights @ (to_msi @ mean + constant - msi_mean)).float(),
    )
