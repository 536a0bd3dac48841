"""What an HSI pixel at the rim of a tile may owe to ground that the tile does not hold.

B replicates the edge. Where a share q of a pixel's PSF lies beyond it, the true ground there differs from what is
replicated by about what neighbouring pixels differ by, so that Y − B A has more than the noise in it: its variance is

    n_ki = s_k² + q_i² θ v_k,

v_k the mean squared difference of neighbouring HSI pixels less that of their noise. It is s_k² exactly where the PSF
does not reach beyond the rim. Rims of tiles inside a scene are taken alike: what a tile makes there weighs nothing.

θ, `PairPatch.beyond`, is the scene's. Real ground goes on beyond the rim, and P B misses there what R Y shows; a pair
that was simulated with its edge replicated, as Wald's protocol does it, misses nothing, and θ is 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from hsfuse.subspace.patch import covered_pixels, inner_pixels
from hsfuse.subspace.radiometry import fit_radiometry

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

    from hsfuse.imaging import BlurDecimate, ImagingModel
    from hsfuse.subspace.basis import SpectralSubspace
    from hsfuse.subspace.patch import PairPatch

_DIFFERS = tuple(2.0**power for power in range(-6, 2))  # what θ may be besides 0
_MSI_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the MSI's noise in P B − R Y: B averages less of it where it replicates
_EVIDENCE = 3.0  # log-likelihood by which any other θ must lead 0
_MOST_SURPRISE = 25.0  # variances: one pixel alone tells nothing
_FEWEST_INSIDE = 8


def rim_difference(patches: Sequence[PairPatch], imaging: ImagingModel) -> float:
    """θ, found by maximum likelihood of P B − R Y at the rims of all patches, both images on one line.

    It is 0 where nothing tells it from 0, and 1, as real scenes have it, where there are no pixels to tell by.
    """
    degraded = [(imaging.blur(patch.msi), covered_pixels(patch, imaging.blur)) for patch in patches]
    pixels = [_pixels(patch, imaging, *own) for patch, own in zip(patches, degraded, strict=True)]
    seen, msi, outside, gain_of_noise, inside = (torch.cat(parts) for parts in zip(*pixels, strict=True))
    rim = ~inside
    if int(inside.sum()) < _FEWEST_INSIDE or not bool(rim.any()):
        return 1.0
    gain, offset = fit_radiometry(seen[inside], msi[inside])
    misfit = (msi - gain * seen - offset).square()
    own = misfit[inside].mean(dim=0).clamp_min(1e-30)
    noisier = (gain_of_noise[rim] / imaging.blur.noise_gain - 1)[:, None] * own
    added = outside[rim].square()[:, None] * _mean_square_step(degraded)
    likelihood = {
        differs: max(_log_likelihood(misfit[rim], own + share * noisier + differs * added) for share in _MSI_SHARES)
        for differs in (0.0, *_DIFFERS)
    }
    best = max(_DIFFERS, key=likelihood.__getitem__)
    return best if likelihood[best] > likelihood[0.0] + _EVIDENCE else 0.0


def _pixels(
    patch: PairPatch, imaging: ImagingModel, degraded: Tensor, usable: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Of the usable pixels of a patch R Y (n, c), P B (n, c), q (n,), B's gain of noise (n,), which are inside (n,)."""
    blur = imaging.blur
    seen = patch.hsi[:, usable].T.double() @ torch.from_numpy(imaging.srf.matrix).T
    outside, noise_gains = blur.outside(*usable.shape).double(), blur.noise_gains(*usable.shape)
    inside = inner_pixels(usable, blur)
    return seen, degraded[:, usable].T.double(), outside[usable], noise_gains[usable], inside[usable]


def _log_likelihood(squared: Tensor, variance: Tensor) -> float:
    """Of squared misfits (n, c) with these variances, but for what is the same for all."""
    return -float((squared / variance).clamp(max=_MOST_SURPRISE).add(variance.log()).sum()) / 2


def beyond_variance(patches: Sequence[PairPatch], subspace: SpectralSubspace) -> Tensor:
    """θ v of a scene's coefficients, float64 (K,)."""
    images = ((subspace.encode(patch.hsi), patch.hsi_valid) for patch in patches)
    return patches[0].beyond * step_variance(images, subspace.noise.square())


def step_variance(images: Iterable[tuple[Tensor, Tensor]], noise: Tensor) -> Tensor:
    """v: mean squared difference of neighbouring pixels beyond what noise alone makes, float64 (K,), not negative.

    Args:
        images: Parts of a scene, each (K, h, w) with its mask (h, w); differences of two valid pixels count.
        noise: s², the noise's variance, (K,).
    """
    return (_mean_square_step(images) - 2 * noise.double()).clamp_min(0)


def _mean_square_step(images: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Mean squared difference of neighbouring valid pixels, float64 (K,); zero where there are none."""
    steps = torch.cat([part for image, valid in images for part in _steps(image.double(), valid)], dim=1)
    return steps.square().sum(dim=1) / max(steps.shape[1], 1)


def _steps(image: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    down, right = image[:, 1:] - image[:, :-1], image[..., 1:] - image[..., :-1]
    return down[:, valid[1:] & valid[:-1]], right[:, valid[:, 1:] & valid[:, :-1]]


def data_precision(noise: Tensor, beyond: Tensor, blur: BlurDecimate, like: Tensor) -> Tensor:
    """1 / n of every coefficient and HSI pixel of a tile, (K, h, w).

    Args:
        noise: s², (K,).
        beyond: θ v, (K,).
        blur: B.
        like: The tile's HSI, (..., h, w): where and how exactly it is computed.
    """
    share = blur.outside(like.shape[-2], like.shape[-1]).to(like)
    own, added = (part.to(like)[:, None, None] for part in (noise, beyond))
    return 1 / (own + share.square() * added)
