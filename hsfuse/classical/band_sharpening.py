"""Coarse bands of a multispectral sensor sharpened by its finer ones: Sentinel-2's 20 m bands by its 10 m bands.

The bands X at the finer pixel minimise

    (Y − X B)ᵀ N⁻¹ (Y − X B)  +  (X − W P − o)ᵀ Q (0.05 + Dᵀ w D) (X − W P − o)

with Y the coarse bands, N their noise S and more at the rim (`hsfuse.subspace.rim`), P the finer ones, and W, o the
regression of Y on P B. It is the estimate of `hsfuse.classical.bayes` without its term P = R X: no finer band is a sum
of coarser ones, and an R fitted all the same (non-negative least squares) moved the result by 0.04 dB. Q is the inverse
of the covariance of what the regression misses, smooth in space but at the edges of P. Regression and an interpolation
of what it misses are also what area-to-point regression kriging makes of these bands (Wang et al. 2016, Fusion of
Sentinel-2 images, RSE 187).

It is solved in coordinates X = W P + o + T Z in which S and Q are diagonal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from hsfuse.classical.edge_prior import EdgePrior, WeightedLaplacian
from hsfuse.classical.posterior import NormalEquations, Preconditioner, conjugate_gradients
from hsfuse.errors import SceneError
from hsfuse.imaging import BlurDecimate
from hsfuse.metrics import spatial_noise, spectral_noise
from hsfuse.subspace.basis import LEAST_NOISE, RANGE_FLOOR
from hsfuse.subspace.outliers import PlausibleRanges, without_absurd
from hsfuse.subspace.patch import low_resolution
from hsfuse.subspace.rim import data_precision, step_variance

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from numpy.typing import NDArray
    from torch import Tensor

    from hsfuse.imaging import PointSpread
    from hsfuse.subspace.patch import PairPatch

_FEWEST_PIXELS = 8
_LEAST_MISSED = 1e-3  # of the largest eigenvalue of what the regression misses, in units of the noise


@dataclass(frozen=True)
class BandSharpening:
    """Sharpens tiles of coarse bands."""

    blur: BlurDecimate
    """B."""

    weights: Tensor
    """W, float32 (C, c)."""

    offset: Tensor
    """o, float32 (C,)."""

    noise: Tensor
    """Variance of each coarse band's noise, the diagonal of S, float32 (C,)."""

    beyond: Tensor
    """v: how much ground beyond the rim may differ from what is replicated there, float32 (C,)."""

    turn: Tensor
    """T, float32 (C, C): Tᵀ Q T is the identity, Tᵀ S⁻¹ T diagonal."""

    prior: EdgePrior
    """The scale of the weights w."""

    ranges: PlausibleRanges
    """Where values may lie: what lies beyond would ring."""

    steps: int = 40
    """Of conjugate gradients, at most."""

    tolerance: float = 0.003
    """Error of the solution at which they stop, in the posterior's standard deviations."""

    margin: int = 6
    """Coarse pixels at the rim of a tile over which the influence of what lies outside fades: those of `Bayes`."""

    @classmethod
    def fit(cls, patches: Sequence[PairPatch], psf: PointSpread) -> Self:
        """Fit the regression, the prior and both noises on parts of the images.

        Args:
            patches: Y the coarse bands, P the finer ones; holes filled and masked.
            psf: B, with the shift in it.

        Raises:
            SceneError: Too few valid pixels.
        """
        blur, ranges = BlurDecimate(psf), PlausibleRanges.of(patches)
        patches = [without_absurd(patch, ranges) for patch in patches]
        pairs = [low_resolution(patch, blur) for patch in patches]
        coarse, fine = (torch.cat(parts).double() for parts in zip(*pairs, strict=True))
        if len(coarse) < _FEWEST_PIXELS:
            raise SceneError(f"{len(coarse)} valid pixels are not enough to sharpen bands: at least {_FEWEST_PIXELS}")
        noise, fine_noise = _noises(patches, coarse, fine, blur.noise_gain)
        weights, offset, missed = _regression(coarse, fine, fine_noise * (1 - blur.noise_gain))
        turn = _coordinates(missed, noise)
        prior = EdgePrior.fit(patches, fine_noise)
        beyond = step_variance(((patch.hsi, patch.hsi_valid) for patch in patches), noise)
        return cls(
            blur, weights.float(), offset.float(), noise.float(), beyond.float(), turn.float(), prior, ranges
        )  # fmt: skip

    @torch.no_grad()
    def __call__(self, hsi: Tensor, msi: Tensor) -> Tensor:
        """Sharpen Y (C, h, w) by P (c, r·h, r·w) to float32 (C, r·h, r·w)."""
        msi = self.ranges.msi.mended(msi)
        predicted = torch.einsum("kc,chw->khw", self.weights, msi) + self.offset[:, None, None]
        expected = self.blur(predicted)
        # Of a coarse pixel with absurd values nothing is known but what the finer bands tell.
        missed = torch.where(self.ranges.hsi.absurd(hsi), 0, hsi - expected)
        laplacian = WeightedLaplacian.of(self.prior.weights(msi), msi.shape[-2:])
        diagonal = laplacian.degree.expand(len(hsi), -1, -1)
        precision = data_precision(self.noise, self.beyond, self.blur, hsi)
        equations = NormalEquations(laplacian, diagonal, self.turn.to(msi), precision, self.blur)
        solution = conjugate_gradients(
            equations, Preconditioner.of(equations, len(hsi)), equations.weighted(missed), torch.zeros_like(predicted),
            steps=self.steps, tolerance=self.tolerance,
        )  # fmt: skip
        return predicted + torch.einsum("ck,khw->chw", self.turn, solution)


def _noises(patches: Sequence[PairPatch], coarse: Tensor, fine: Tensor, gain: float) -> tuple[Tensor, Tensor]:
    """Variances of the noise in the coarse bands (C,) and in the finer ones at their own pixel (c,), float64.

    Each of the two ways to tell them gives an upper bound, bands few as these being hard to predict from others: told
    by the coarse bands alone the noise costs 0.8 dB.
    """
    bands = torch.cat([coarse, fine], dim=1).numpy()
    # The bands of two files may have units of their own; a constant one has a level and no spread.
    unit = bands.std(axis=0) + 1e-6 * np.abs(bands.mean(axis=0)) + 1e-30
    spectral = spectral_noise(bands / unit) * unit
    floor = LEAST_NOISE**0.5 * RANGE_FLOOR * np.quantile(np.abs(bands), 0.99, axis=0)
    of_coarse = _lower(spectral[: coarse.shape[1]], [spatial_noise(*_image(p.hsi, p.hsi_valid)) for p in patches])
    of_fine = _lower(
        spectral[coarse.shape[1] :] / gain**0.5, [spatial_noise(*_image(p.msi, p.msi_valid)) for p in patches]
    )
    noise = np.maximum(np.concatenate([of_coarse, of_fine]), np.maximum(floor, 1e-30)) ** 2
    return torch.from_numpy(noise[: coarse.shape[1]]), torch.from_numpy(noise[coarse.shape[1] :])


def _image(image: Tensor, valid: Tensor) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    return image.numpy(), valid.numpy()


def _lower(spectral: NDArray[np.float64], by_patch: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The lower of two estimates by band; what patches tell is zero where they are too small."""
    told = np.stack(by_patch)
    spatial = np.median(told[told.any(axis=1)], axis=0) if told.any() else np.zeros(len(spectral))
    return np.where(spatial > 0, np.minimum(spatial, spectral), spectral)


def _regression(coarse: Tensor, fine: Tensor, ridge: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """W (C, c), o (C,) and the covariance (C, C) of what they miss at low resolution.

    The ridge is the noise that P has and P B has lost.
    """
    count, coarse_mean, fine_mean = len(coarse), coarse.mean(dim=0), fine.mean(dim=0)
    bands, seen = coarse - coarse_mean, fine - fine_mean
    covariance = seen.T @ seen / count
    loaded = covariance + torch.diag(ridge + 1e-6 * covariance.diag() + 1e-300)
    weights = torch.linalg.solve(loaded, seen.T @ bands / count).T
    rest = bands - seen @ weights.T
    return weights, coarse_mean - weights @ fine_mean, rest.T @ rest / count


def _coordinates(missed: Tensor, noise: Tensor) -> Tensor:
    """T of what the regression misses with the noise still in it."""
    scale = noise.sqrt()
    values, vectors = torch.linalg.eigh(missed / scale / scale[:, None] - torch.eye(len(noise), dtype=noise.dtype))
    turn: Tensor = scale[:, None] * vectors * values.clamp_min(max(_LEAST_MISSED * float(values[-1]), 1e-6)).sqrt()
    return turn
