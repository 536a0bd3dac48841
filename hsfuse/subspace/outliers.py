"""What no statistic of a scene may stand on: numbers beyond all reason, and pixels in which the two images disagree.

Masks come first (`hsfuse.scenes`, the estimator's clouds and change); this is for the garbage that slips through. Both
rules are robust and generous, because a rare bright roof is what a scene's subspace needs most: a value is absurd only
far outside the bulk of its band, and a pixel disagrees only where P B and R Y differ by many times what they differ by
elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from hsfuse.imaging.holes import fill_holes
from hsfuse.subspace.patch import PairPatch, low_resolution, usable_pixels
from hsfuse.subspace.radiometry import fit_radiometry
from hsfuse.subspace.rim import rim_difference

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from torch import Tensor

    from hsfuse.imaging import ImagingModel

_SAMPLE = 20_000  # pixels that tell the bulk of a band
_BULK = (0.03, 0.97)
_ABOVE, _BELOW = 30.0, 3.0  # widths of the bulk: a ship on dark water is bright, but light is not negative
_DISAGREES = 8.0  # robust standard deviations of P B − R Y
_VISIBLE = 0.05  # of the MSI band's bulk: what a disagreement is at least
_SLOPE = 0.05  # of a pixel's distance from the bulk's middle
_MOST_LEFT_OUT = 0.5
_FEWEST = 32  # pixels below which nothing is left out: there is no bulk


@dataclass(frozen=True)
class PlausibleRange:
    """Where the values of each band of an image may lie."""

    low: Tensor
    """Float32 (C,)."""

    high: Tensor
    """Float32 (C,)."""

    zeros: bool = True
    """Whether a pixel of nothing but zeros is one of the scene: no, where zero lies outside the bulk of every band."""

    @classmethod
    def of(cls, pixels: Tensor) -> Self:
        """Of pixels (n, C): thirty widths of the bulk above it, three below; everything for few pixels."""
        if len(pixels) < _FEWEST:
            endless = pixels.new_full((pixels.shape[1],), torch.inf)
            return cls(-endless, endless)
        low, high = _bulk(pixels)
        # A band that hardly varies may hold one thing that does: then the bulk's level is the measure.
        width = torch.maximum(high - low, 0.2 * torch.maximum(low.abs(), high.abs()))
        zeros = bool(((low <= 0) & (high >= 0)).any())
        return cls(low - _BELOW * width, high + _ABOVE * width, zeros)

    def mended(self, image: Tensor) -> Tensor:
        """The image (C, H, W) with absurd pixels as the mean of the sane ones about them; itself if all are sane."""
        absurd = self.absurd(image)
        if not bool(absurd.any()):
            return image
        sane = (~absurd).to(image)[None]
        near, weight = (
            F.avg_pool2d(part, 5, 1, 2, count_include_pad=False) for part in (torch.where(absurd, 0, image), sane)
        )
        middle = ((self.low + self.high) / 2).to(image)[:, None, None]
        return torch.where(absurd, torch.where(weight > 0, near / weight.clamp_min(1e-6), middle), image)

    def absurd(self, image: Tensor) -> Tensor:
        """Pixels of (C, H, W) with a value outside in any band, or with a fill of zeros, bool (H, W)."""
        beyond = (image < self.low.to(image)[:, None, None]) | (image > self.high.to(image)[:, None, None])
        absurd = beyond.any(dim=0)
        return absurd if self.zeros else absurd | (image == 0).all(dim=0)


@dataclass(frozen=True)
class PlausibleRanges:
    """Of both images of a scene."""

    hsi: PlausibleRange
    """Of Y."""

    msi: PlausibleRange
    """Of P."""

    @classmethod
    def of(cls, patches: Sequence[PairPatch]) -> Self:
        """Of the valid pixels of parts of a scene."""
        hsi = torch.cat([patch.hsi[:, patch.hsi_valid].T for patch in patches])
        msi = torch.cat([patch.msi[:, patch.msi_valid].T for patch in patches])
        return cls(PlausibleRange.of(hsi), PlausibleRange.of(msi))


@dataclass(frozen=True, kw_only=True)
class ScreenedPatch(PairPatch):
    """A part of a pair without what no statistic may stand on."""

    ranges: PlausibleRanges
    """Of the scene, as it was before."""


def screened(patches: Sequence[PairPatch], imaging: ImagingModel) -> list[ScreenedPatch]:
    """The patches with what no statistic may stand on left out; as they are if that has been done.

    Absurd HSI pixels are masked, absurd fine pixels filled from their neighbours: masked, each would take every HSI
    pixel out whose PSF reaches it. Then HSI pixels are masked where the images disagree, at the rim only where its edge
    turns out to be replicated.
    """
    done = [patch for patch in patches if isinstance(patch, ScreenedPatch)]
    if len(done) == len(patches):
        return done
    ranges = PlausibleRanges.of(patches)
    sane = [without_absurd(patch, ranges) for patch in patches]
    if sum(int(patch.hsi_valid.sum()) for patch in sane) < _FEWEST:
        sane = list(patches)
    agreeing = _agreement(sane, imaging)
    beyond = rim_difference(agreeing, imaging)
    if beyond == 0:
        agreeing = _agreement([replace(patch, beyond=beyond) for patch in sane], imaging)
    return [
        ScreenedPatch(patch.hsi, patch.hsi_valid, patch.msi, patch.msi_valid, beyond, ranges=ranges)
        for patch in agreeing
    ]


def without_absurd(patch: PairPatch, ranges: PlausibleRanges) -> PairPatch:
    """A patch whose absurd HSI pixels are masked, and whose absurd fine pixels are filled from their neighbours."""
    hsi_valid = patch.hsi_valid & ~ranges.hsi.absurd(patch.hsi)
    absurd = ranges.msi.absurd(patch.msi) & patch.msi_valid
    if not absurd.any():
        return replace(patch, hsi_valid=hsi_valid)
    filled = torch.from_numpy(fill_holes(patch.msi.numpy(), np.asarray(~absurd)))
    return replace(patch, hsi_valid=hsi_valid, msi=filled)


def _agreement(patches: Sequence[PairPatch], imaging: ImagingModel) -> list[PairPatch]:
    """The patches without HSI pixels in which P B is not what R Y says."""
    pairs = [low_resolution(patch, imaging.blur) for patch in patches]
    hsi, msi = (torch.cat(parts).double() for parts in zip(*pairs, strict=True))
    if len(hsi) < _FEWEST:
        return list(patches)
    seen = hsi @ torch.from_numpy(imaging.srf.matrix).T
    agrees = _agreeing(seen, msi)
    parts, start = [], 0
    for patch in patches:
        usable = usable_pixels(patch, imaging.blur)
        valid, count = patch.hsi_valid.clone(), int(usable.sum())
        valid[usable] = agrees[start : start + count]
        parts.append(replace(patch, hsi_valid=valid))
        start += count
    return parts


def _bulk(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """From where to where most values of (n, C) lie, (C,) each."""
    some = pixels[:: -(-len(pixels) // _SAMPLE)]
    low, high = torch.quantile(some, torch.tensor(_BULK, dtype=some.dtype), dim=0)
    return low, high


def _agreeing(seen: Tensor, msi: Tensor) -> Tensor:
    """Which pixels of R Y (n, c) and P B (n, c) lie on one line in every band, bool (n,)."""
    (low, high), (least, most) = (_bulk(image) for image in (msi, seen))
    # The line starts from the bulk of both: garbage far off would draw it to itself.
    agrees = ((msi >= low) & (msi <= high) & (seen >= least) & (seen <= most)).all(dim=1)
    if int(agrees.sum()) < _FEWEST:
        agrees = torch.ones_like(agrees)
    for _ in range(4):
        gain, offset = fit_radiometry(seen[agrees], msi[agrees])
        line = gain * seen + offset
        misfit = (msi - line).abs()
        scale = 1.4826 * misfit[agrees].median(dim=0).values
        allowed = torch.maximum(_DISAGREES * scale, _VISIBLE * (high - low))
        # Far from the bulk the line itself is not certain: the HSI's noise flattens it.
        allowed = allowed + _SLOPE * (line - (low + high) / 2).abs()
        excess = (misfit / allowed.clamp_min(1e-300)).amax(dim=1)
        limit = max(float(torch.quantile(excess[:: -(-len(excess) // _SAMPLE)], 1 - _MOST_LEFT_OUT)), 1.0)
        agrees = excess <= limit
    return agrees
