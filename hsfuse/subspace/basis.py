"""The spectral subspace of one scene: its bands as K coefficients, with noise in mind.

Every band is divided by its noise, so that the leading directions are those of the signal (maximum noise fraction,
Green et al. 1988); noise per band by regressing each band on the others (HySime, Bioucas-Dias and Nascimento 2008).
What the subspace leaves out is added back after James-Stein shrinkage per pixel: noise goes, a rare spectrum, whose
energy stands out from the noise, stays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from hsfuse.errors import SceneError
from hsfuse.metrics import spectral_noise

if TYPE_CHECKING:
    from torch import Tensor

_SIGNAL_TO_NOISE = 4.0  # variances: what a direction must hold to be worth a coefficient
FEWEST_COEFFICIENTS = 6
"""Coefficients that a scene gets whatever its noise."""

_MOST = 40  # coefficients that the noise may choose

RANGE_FLOOR = 0.003
"""Least scale of a band, as a part of its 99th percentile: keeps a noise-free band from ruling the subspace."""

LEAST_NOISE = 0.05
"""Variance of the HSI's noise in units of the bands' scales, at least, where a method divides by it: a noise-free pair
stays well posed."""


@dataclass(frozen=True)
class SpectralSubspace:
    """D, μ and the bands' scales of one scene: X = scale · (D A + μ) + what the subspace leaves out."""

    scale: Tensor
    """Divisor of every band, float32 (C,), in the image's units."""

    mean: Tensor
    """μ of the scaled bands, float32 (C,)."""

    basis: Tensor
    """D, float32 (C, K), orthonormal columns, each with a positive sum."""

    spread: Tensor
    """Standard deviation of each coefficient over the scene, float32 (K,)."""

    noise: Tensor
    """Standard deviation of the noise in each coefficient of Y, float32 (K,)."""

    left_out_noise: float
    """Expected energy per pixel of the noise outside the subspace, in scaled bands."""

    @classmethod
    def fit(cls, spectra: Tensor, size: int | None = None, *, fewest: int = FEWEST_COEFFICIENTS) -> SpectralSubspace:
        """Fit on spectra.

        Args:
            spectra: Of shape (n, C).
            size: K; by default as many directions as have a signal variance above four times their noise's.
            fewest: K at least, where the noise chooses; 40 at most.

        Raises:
            SceneError: Fewer than eight spectra.
        """
        count, bands = spectra.shape
        if count < 8:
            raise SceneError(f"the HSI has {count} valid pixels in common with the MSI, fusing needs at least 8")
        pixels = spectra.double()
        noise = torch.from_numpy(spectral_noise(pixels.numpy()))
        reach = torch.quantile(_at_most(pixels, 20000).abs(), 0.99, dim=0)
        floor = torch.where(reach > 0, RANGE_FLOOR * reach, torch.ones_like(reach))
        scale = torch.sqrt(floor**2 + noise**2)
        mean = (pixels / scale).mean(dim=0)
        centred = pixels / scale - mean
        variances, directions = torch.linalg.eigh(centred.T @ centred / count)
        scaled_noise = (noise / scale) ** 2
        variances, basis = variances.flip(0), directions.flip(1)
        if size is None:
            size = max(_above_noise(variances, (scaled_noise[:, None] * basis**2).sum(dim=0)), fewest)
        size = min(size, bands)
        variances, basis = variances[:size], basis[:, :size]
        signs = torch.sign(basis.sum(dim=0))
        basis = basis * torch.where(signs == 0, torch.ones_like(signs), signs)
        coefficient_noise = (scaled_noise[:, None] * basis**2).sum(dim=0)
        return cls(
            scale.float(),
            mean.float(),
            basis.float(),
            variances.clamp_min(0).sqrt().float(),
            coefficient_noise.sqrt().float(),
            float(scaled_noise.sum() - coefficient_noise.sum()),
        )

    def centred(self, spectra: Tensor) -> SpectralSubspace:
        """The same with the coefficients of `spectra` (n, C) zero on average."""
        return replace(self, mean=(spectra.double() / self.scale).mean(dim=0).float())

    @property
    def size(self) -> int:
        """K."""
        return self.basis.shape[1]

    def encode(self, image: Tensor) -> Tensor:
        """Coefficients (K, h, w) of an image (C, h, w)."""
        offset = (self.basis.T @ self.mean).to(image)
        return torch.einsum("ck,chw->khw", (self.basis / self.scale[:, None]).to(image), image) - offset[:, None, None]

    def decode(self, coefficients: Tensor, left_out: Tensor | None = None) -> Tensor:
        """The image (C, h, w) of coefficients (K, h, w), with what `left_out` returned, if given."""
        bands = torch.einsum("ck,khw->chw", (self.basis * self.scale[:, None]).to(coefficients), coefficients)
        bands += (self.scale * self.mean).to(coefficients)[:, None, None]
        return bands if left_out is None else bands.add_(left_out)

    def left_out(self, image: Tensor, coefficients: Tensor) -> Tensor:
        """What the subspace leaves out of `image` (C, h, w), in the image's units, noise shrunk away.

        James-Stein per pixel, positive part: (1 − expected noise energy / energy)₊.
        """
        rest = image - self.decode(coefficients)
        energy = ((rest / self.scale.to(rest)[:, None, None]) ** 2).sum(dim=0)
        keep = (1 - self.left_out_noise / energy.clamp_min(1e-30)).clamp_min(0)
        return rest * keep


def _above_noise(variances: Tensor, noise: Tensor) -> int:
    """How many leading directions have a signal variance of more than four times their noise's, 40 at most."""
    above = variances - noise > _SIGNAL_TO_NOISE * noise
    leading = int(above.long().cumprod(dim=0).sum())
    return min(leading, _MOST)


def _at_most(pixels: Tensor, count: int) -> Tensor:
    """An even subset of at most `count` rows (torch.quantile has a limit, and needs no more)."""
    return pixels[:: -(-pixels.shape[0] // count)]
