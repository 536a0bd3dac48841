"""The spectral subspace: one set of weights, or one classical rule, for every pair of sensors.

A scene's bands are expressed in K coefficients, and so are the MSI's, through a linear prediction fitted at low
resolution; neither the number of HSI bands nor of MSI bands is left. The linear prediction plus what it missed at
low resolution is the linear estimate, which networks correct.

Everything is noise-aware, the subspace (`hsfuse.subspace.basis`) and the prediction, because the upsampled noise of
the HSI is the largest error that a careless subspace method makes: four decibels of mean PSNR at 30 dB in the HSI, on
six scenes. The prediction carries the MSI's own noise at full resolution in its ridge, and its low-resolution error
is Wiener-weighted before it is upsampled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch.nn import functional as F

from hsfuse.imaging import BlurDecimate, upsample
from hsfuse.subspace.basis import SpectralSubspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from hsfuse.imaging import ImagingModel


class Patch(Protocol):
    """A contiguous part of a pair on which statistics are fitted."""

    @property
    def hsi(self) -> Tensor:
        """Y, float32 (C, h, w)."""

    @property
    def hsi_valid(self) -> Tensor:
        """Bool (h, w)."""

    @property
    def msi(self) -> Tensor:
        """P, float32 (c, r·h, r·w)."""

    @property
    def msi_valid(self) -> Tensor:
        """Bool (r·h, r·w)."""


@dataclass(frozen=True)
class TensorPatch:
    """A `Patch` of plain tensors."""

    hsi: Tensor
    """Y, float32 (C, h, w)."""

    hsi_valid: Tensor
    """Bool (h, w)."""

    msi: Tensor
    """P, float32 (c, r·h, r·w)."""

    msi_valid: Tensor
    """Bool (r·h, r·w)."""

    @classmethod
    def all_valid(cls, hsi: Tensor, msi: Tensor) -> TensorPatch:
        """A patch without holes."""
        return cls(
            hsi,
            torch.ones(hsi.shape[-2:], dtype=torch.bool),
            msi,
            torch.ones(msi.shape[-2:], dtype=torch.bool),
        )


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
        offset = self.weights @ self.msi_mean
        return torch.einsum("kc,chw->khw", self.weights, msi) - offset[:, None, None]


@dataclass(frozen=True)
class SubspaceInputs:
    """What a network, or the linear rule, is given of one tile. A leading batch axis may stand before each shape."""

    linear: Tensor
    """The linear estimate of A, (K, H, W)."""

    msi: Tensor
    """The coefficients predicted from the MSI, (K, H, W)."""

    hsi: Tensor
    """The coefficients of the HSI, (K, h, w)."""

    def batched(self) -> SubspaceInputs:
        """The same with a batch axis of one."""
        return SubspaceInputs(self.linear[None], self.msi[None], self.hsi[None])

    def padded(self, size: int) -> SubspaceInputs:
        """A batch with empty coefficients up to `size`, for a scene with fewer bands than a network expects."""
        missing = (0, 0, 0, 0, 0, size - self.linear.shape[1])
        return SubspaceInputs(*(F.pad(part, missing) for part in (self.linear, self.msi, self.hsi)))


@dataclass(frozen=True)
class SceneCondition:
    """What a subspace network is told of the scene, batched: R and B as they act on coefficients, and spreads."""

    mixing: Tensor
    """Coefficients as the MSI and the linear prediction show them, (B, K, K)."""
    mixing_offset: Tensor
    """Its constant part, (B, K)."""
    residual: Tensor
    """Spread of the linear prediction's residual, the unit of every correction, (B, K)."""
    spread: Tensor
    """Spread of the coefficients, (B, K)."""
    hsi_noise: Tensor
    """Noise of the HSI in each coefficient, (B, K)."""
    msi_noise: Tensor
    """Noise of the MSI in each predicted coefficient, (B, K)."""
    blur: BlurDecimate
    """B, one for the batch or one an image."""

    def padded(self, size: int) -> SceneCondition:
        """The same with empty coefficients up to `size`."""
        missing = size - self.residual.shape[1]
        ends = (0, missing)
        return SceneCondition(
            F.pad(self.mixing, (0, missing, 0, missing)),
            F.pad(self.mixing_offset, ends),
            F.pad(self.residual, ends, value=1.0),
            F.pad(self.spread, ends, value=1.0),
            F.pad(self.hsi_noise, ends),
            F.pad(self.msi_noise, ends),
            self.blur,
        )

    def scalars(self) -> Tensor:
        """Numbers of order one that tell how far the linear prediction can be trusted, (B, K, 4)."""
        ratio = torch.full_like(self.residual, 2.0 / self.blur.ratio)
        return torch.stack(
            [
                torch.log10((self.residual / self.spread.clamp_min(1e-12)).clamp(1e-3, 10)),
                (self.hsi_noise / self.residual).clamp(0, 2),
                (self.msi_noise / self.residual).clamp(0, 2),
                ratio,
            ],
            dim=-1,
        )


@dataclass(frozen=True)
class SceneAdapter:
    """The subspace and the linear prediction of one scene, fitted once and handed to every tile."""

    subspace: SpectralSubspace
    """What the coefficients mean."""

    prediction: LinearPrediction
    """How the MSI tells them."""

    blur: BlurDecimate
    """B."""

    @classmethod
    def fit(cls, patches: Sequence[Patch], imaging: ImagingModel, size: int = 10) -> SceneAdapter:
        """Fit on parts of a scene.

        Args:
            patches: Contiguous parts of the pair, holes filled; their masks say what may enter a statistic.
            imaging: R and B of the pair.
            size: K, the number of coefficients.

        Raises:
            SceneError: Too few valid pixels.
        """
        blur = imaging.blur
        spectra, degraded = zip(*(low_resolution(patch, blur) for patch in patches), strict=True)
        hsi, msi = torch.cat(spectra), torch.cat(degraded)
        subspace = SpectralSubspace.fit(hsi, size)
        averaging = blur.noise_gain
        return cls(subspace, _fit_prediction(subspace, hsi, msi, imaging, averaging), blur)

    @property
    def size(self) -> int:
        """K."""
        return self.subspace.size

    def condition(self) -> SceneCondition:
        """What a network is told of the scene, as a batch of one."""
        prediction, subspace = self.prediction, self.subspace
        return SceneCondition(
            prediction.mixing[None],
            prediction.mixing_offset[None],
            prediction.residual[None],
            subspace.spread[None],
            subspace.noise[None],
            prediction.msi_noise[None],
            self.blur,
        )

    def inputs(self, hsi: Tensor, msi: Tensor) -> SubspaceInputs:
        """Bring a tile, Y (C, h, w) and P (c, r·h, r·w), into the subspace."""
        coefficients, predicted = self.subspace.encode(hsi), self.prediction.predict(msi)
        missed = (coefficients - self.blur(predicted)) * self.prediction.keep[:, None, None]
        return SubspaceInputs(predicted + upsample(missed, self.blur.ratio), predicted, coefficients)

    def decode(self, coefficients: Tensor, inputs: SubspaceInputs, hsi: Tensor) -> Tensor:
        """The fused image (C, H, W) of coefficients (K, H, W), with what the subspace leaves out of `hsi`."""
        left_out = self.subspace.left_out(hsi, inputs.hsi)
        return self.subspace.decode(coefficients, upsample(left_out, self.blur.ratio, "bilinear"))


def low_resolution(patch: Patch, blur: BlurDecimate) -> tuple[Tensor, Tensor]:
    """Spectra (n, C) of Y and (n, c) of P B where every fine pixel under the PSF is valid."""
    use = usable_pixels(patch, blur)
    return patch.hsi[:, use].T, blur(patch.msi)[:, use].T


def usable_pixels(patch: Patch, blur: BlurDecimate) -> Tensor:
    """The HSI pixels that are valid with every fine pixel under their PSF, bool (h, w)."""
    covered: Tensor = blur(patch.msi_valid[None].float())[0] > 1 - 1e-4
    return covered & patch.hsi_valid


def _fit_prediction(
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
    response, constant = _radiometry(hsi.double(), degraded, imaging)
    to_msi = response * scale  # (c, C) on scaled bands
    return LinearPrediction(
        weights.float(),
        msi_mean.float(),
        residual.clamp_min(1e-12).sqrt().float(),
        keep.float(),
        (weights**2 @ noise).sqrt().float(),
        (weights @ to_msi @ basis).float(),
        (weights @ (to_msi @ mean + constant - msi_mean)).float(),
    )


def _radiometry(hsi: Tensor, msi: Tensor, imaging: ImagingModel) -> tuple[Tensor, Tensor]:
    """R with each row in the MSI's own units, (c, C), and the constant (c,): P ≈ gain · R X + offset."""
    response = torch.from_numpy(imaging.srf.matrix)
    seen = hsi @ response.T
    seen_mean, msi_mean = seen.mean(dim=0), msi.mean(dim=0)
    variance = ((seen - seen_mean) ** 2).mean(dim=0)
    gain = ((seen - seen_mean) * (msi - msi_mean)).mean(dim=0) / variance.clamp_min(1e-30)
    return response * gain[:, None], msi_mean - gain * seen_mean
