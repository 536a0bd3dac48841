"""The standard deviation of what is fused, for every pixel and band, whatever the method.

Where errors are large within a scene is told by the posterior of the Bayesian estimate (`hsfuse.classical.bayes`); how
large they are, by the method's own errors one Wald level down, where the HSI itself is the truth:

    σ² = b (c f (v + v̄) / 2 + d)

with v the posterior's variance, v̄ its mean over the scene, and d the mean squared distance of what the method fuses
from the Bayesian estimate. f brings the Bayesian estimate's errors one level down, the truth's own noise taken out, to
the quantile that a normal distribution has between one and two standard deviations; b² does the same for the method.
Two corrections are fixed, measured on training scenes (`examples/benchmarks/uncertainty.py`): images one level down are
rougher than at their own level, the more the less noise there is, which c takes out; and what a method gains or loses
against the Bayesian estimate there is found again by half (b, not b²).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from hsfuse.classical import Bayes
from hsfuse.errors import SceneError
from hsfuse.fusion.compute import CPU, Compute, to_device
from hsfuse.fusion.trust import reduced_blocks, some_of
from hsfuse.imaging import ImagingModel, upsample
from hsfuse.metrics import spectral_noise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Self

    from numpy.typing import NDArray
    from torch import Tensor

    from hsfuse.fusion.method import FittedMethod, Method
    from hsfuse.pairs.wald_level import WaldBlock
    from hsfuse.scenes import PairBlock
    from hsfuse.subspace.patch import PairPatch

logger = logging.getLogger(__name__)

_SHARE, _SIGMAS = 0.9, 1.6449  # of a normal distribution lies within: tails are heavier, and this errs to neither side
_LEAST_PIXELS = 24  # degraded HSI pixels that can tell a factor at all
_RIM = 1  # HSI pixels about a hole that are not judged
_OF_ITS_OWN = 20  # degraded HSI pixels at which a band's own factor counts as much as that of all bands
_LEAST_LEFT = 0.05  # of an error's square, that is not the noise of the truth
_ROUGHER, _WITH_NOISE, _MOST = 0.45, 1.1, 1.1  # √c without noise, its rise with the share of noise, and where it ends
_TAILS = 1.03  # standard deviations, on top of all: shares within one and two are right about equally
_UNKNOWN = 1.3  # of the posterior's standard deviations, where the scene is too small to tell


@dataclass(frozen=True)
class Known:
    """What is known of a tile beyond doubt."""

    hsi: Tensor
    """Bool (h, w)."""

    msi: Tensor
    """Bool (r·h, r·w)."""

    differs: Tensor
    """Where the two images do not show the same thing, bool (h, w)."""

    @classmethod
    def of(cls, block: PairBlock, agreeing: PairBlock) -> Self:
        """Of a tile as it was read, and of the same tile as fits see it."""
        sane = block.for_fits()
        differs = sane.hsi_valid & ~agreeing.hsi_valid
        return cls(*(torch.from_numpy(mask) for mask in (sane.hsi_valid, sane.msi_valid, differs)))


@dataclass(frozen=True)
class Uncertainty:
    """The standard deviation of a method's output on one scene, fitted once and handed to every tile."""

    estimate: Bayes
    """Whose posterior says where errors are large."""

    gain: Tensor
    """Of the posterior's variance, float32 (C,)."""

    constant: Tensor
    """Variance that is the same everywhere, float32 (C,)."""

    without_msi: Tensor
    """Variance of the truth about the interpolated HSI, float32 (C,)."""

    without_hsi: Tensor
    """Variance of the truth about what the MSI alone predicts, float32 (C,)."""

    pixels: int
    """HSI pixels that the calibration stands on; 0 where the scene is too small for one."""

    @classmethod
    def fit(
        cls,
        method: Method,
        fitted: FittedMethod,
        patches: Sequence[PairPatch],
        imaging: ImagingModel,
        *,
        compute: Compute = CPU,
        seed: int = 0,
    ) -> Self:
        """Fit the posterior on the scene, and judge the method one level down.

        Args:
            method: What is judged; not one that has learned from this very scene.
            fitted: What fuses the scene's tiles, on the device of `compute`.
            patches: Parts of the scene.
            imaging: R and B.
            compute: As suits the method.
            seed: Of the noise that is restored.

        Raises:
            SceneError: Too few valid pixels.
        """
        estimate, sample = Bayes.fit(patches, imaging), some_of(patches)
        sure = [_sure(patch) for patch in sample]
        typical = _mean((estimate.posterior_variance(patch.msi) for patch in sample), sure)
        apart = _mean(
            ((_fused(fitted, patch, compute) - estimate(patch.hsi, patch.msi)).square() for patch in sample), sure
        )
        found = Calibration.of(method, patches, imaging, compute, seed)
        if found is None:
            logger.info("the scene is too small to calibrate its uncertainty")
            found = Calibration.unknown(patches)
        half, constant = found.posterior / 2, found.posterior / 2 * typical + found.method * apart
        return to_device(
            cls(estimate, half, constant, found.without_msi, found.without_hsi, found.pixels), compute.torch_device
        )

    @property
    def facts(self) -> Mapping[str, str]:
        """What the numbers are, for tags and the log."""
        known = f"calibrated one Wald level down on {self.pixels} HSI pixels" if self.pixels else "not calibrated"
        factor = (2 * self.gain).sqrt()
        return {
            "UNCERTAINTY": "standard deviation of the fused image by pixel and band, in the units of its values",
            "CALIBRATION": f"posterior of the Bayesian estimate, {known}: its standard deviations times "
            f"{float(factor.median()):.2f} ({float(factor.min()):.2f} to {float(factor.max()):.2f} by band)",
        }

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences for the user."""
        if self.pixels:
            return ()
        return ("the scene is too small to calibrate its uncertainty on it: a usual factor was taken",)

    def __call__(self, hsi: Tensor, msi: Tensor, known: Known | None = None) -> Tensor:
        """Standard deviations (C, r·h, r·w) of what is fused of a tile, Y (C, h, w) and P (c, r·h, r·w).

        They grow to what one image alone tells where the other is not known, and where both differ at least to how far
        they are apart.
        """
        variance = self.estimate.posterior_variance(msi)
        variance.mul_(_by_band(self.gain)).add_(_by_band(self.constant))
        if known is not None:
            self._grow(variance, hsi, msi, known)
        return variance.sqrt_()

    def _grow(self, variance: Tensor, hsi: Tensor, msi: Tensor, known: Known) -> None:
        blur, model = self.estimate.linear_model.blur, self.estimate.linear_model
        alone, lacking = _by_band(self.without_hsi), _by_band(self.without_msi)
        # An HSI pixel that is partly under a hole of the MSI says little of the rest.
        unsure = 1 - known.hsi.float() * blur(known.msi[None].float())[0]
        if bool((unsure > 1e-4).any()):
            doubt = upsample(unsure[None], blur.ratio, "bilinear")
            variance.add_(doubt * (alone - variance).clamp_min(0))
        if not bool(known.msi.all()):
            variance.add_((~known.msi).float() * (lacking - variance).clamp_min(0))
        if bool(known.differs.any()):
            told = model.subspace.decode(model.prediction.predict(model.ranges.msi.mended(msi)))
            most = torch.maximum((told - upsample(hsi, blur.ratio)).square(), torch.maximum(alone, lacking))
            doubt = upsample(known.differs[None].float(), blur.ratio, "bilinear")
            variance.add_(doubt * (most - variance).clamp_min(0))


@dataclass(frozen=True)
class TileUncertainty:
    """The uncertainty as a second layer of the engine."""

    uncertainty: Uncertainty
    """Of the scene."""

    for_fits: Callable[[PairBlock], PairBlock]
    """Takes out of a tile what no fit should learn from: suspect pixels, and those that differ between the images."""

    def __call__(self, block: PairBlock, hsi: Tensor, msi: Tensor) -> Tensor:
        """Standard deviations (C, r·h, r·w) of a tile as it was read, its Y and P as methods take them."""
        return self.uncertainty(hsi, msi, to_device(Known.of(block, self.for_fits(block)), msi.device))


@dataclass(frozen=True)
class Calibration:
    """How large errors are, by band."""

    posterior: Tensor
    """b c f, of the posterior's variance, float32 (C,)."""

    method: Tensor
    """b, of the method's squared distance from the Bayesian estimate, float32 (C,)."""

    without_msi: Tensor
    """See `Uncertainty`."""

    without_hsi: Tensor
    """See `Uncertainty`."""

    pixels: int
    """HSI pixels that were known."""

    @classmethod
    def of(
        cls, method: Method, patches: Sequence[PairPatch], imaging: ImagingModel, compute: Compute, seed: int
    ) -> Self | None:
        """Of a method one Wald level down; None where the scene is too small to tell."""
        blocks = reduced_blocks(patches, imaging, seed, least=_LEAST_PIXELS)
        if not blocks:
            return None
        known, model = [block.patch for block in blocks], ImagingModel(imaging.srf, imaging.psf)
        try:
            estimate = Bayes.fit(known, model)
            judged = method.fit(known, model, compute=compute, seed=seed)
        except SceneError:
            return None
        errors = _Errors.of(estimate, judged, blocks, compute)
        spectra = torch.cat([patch.hsi[:, patch.hsi_valid].T for patch in patches]).double()
        noise = np.square(spectral_noise(spectra.numpy()))
        count = errors.variance.shape[1]
        weight = count / (count + _OF_ITS_OWN * imaging.ratio**2)
        even = (errors.variance + errors.variance.mean(axis=1, keepdims=True)) / 2
        posterior = _gain(errors.estimate, even, noise, weight)
        expected = posterior[:, None] * even + errors.apart[:, None]
        of_method = np.sqrt(_gain(errors.method, expected, noise, weight)) * _TAILS**2
        quiet = _to_this_level(noise, np.square(errors.estimate).mean(axis=1))
        hsi_alone, msi_alone = (
            np.maximum(np.square(part).mean(axis=1) - noise, 0) for part in (errors.hsi_alone, errors.msi_alone)
        )
        return cls(
            posterior=torch.from_numpy(of_method * quiet * posterior).float(),
            method=torch.from_numpy(of_method).float(),
            without_msi=torch.from_numpy(hsi_alone).float(),
            without_hsi=torch.from_numpy(msi_alone).float(),
            pixels=count,
        )

    @classmethod
    def unknown(cls, patches: Sequence[PairPatch]) -> Self:
        """A usual one, for a scene that is too small to tell."""
        spectra = torch.cat([patch.hsi[:, patch.hsi_valid] for patch in patches], dim=1)
        spread, usual = spectra.double().var(dim=1).float(), torch.full((len(spectra),), _UNKNOWN**2)
        return cls(usual, torch.ones_like(usual), spread, spread, 0)


@dataclass(frozen=True)
class _Errors:
    """Errors one Wald level down over the pixels that are known, float32 (C, n) each."""

    estimate: NDArray[np.float32]
    method: NDArray[np.float32]
    hsi_alone: NDArray[np.float32]
    msi_alone: NDArray[np.float32]
    variance: NDArray[np.float32]
    """Of the posterior."""
    apart: NDArray[np.float32]
    """Mean squared distance between the method and the estimate, (C,)."""

    @classmethod
    @torch.inference_mode()
    def of(cls, estimate: Bayes, fitted: FittedMethod, blocks: Sequence[WaldBlock], compute: Compute) -> Self:
        linear_model, parts = estimate.linear_model, []
        for block in blocks:
            patch, valid = block.patch, block.valid & _sure(block.patch)
            images = (
                estimate(patch.hsi, patch.msi),
                _fused(fitted, patch, compute),
                upsample(patch.hsi, linear_model.blur.ratio),
                linear_model.subspace.decode(linear_model.inputs(patch.hsi, patch.msi).msi),
            )
            off = [(image - block.truth)[:, valid] for image in images]
            parts.append((*off, estimate.posterior_variance(patch.msi)[:, valid]))
        of_estimate, of_method, hsi_alone, msi_alone, variance = (
            torch.cat(part, dim=1).numpy() for part in zip(*parts, strict=True)
        )
        apart = np.square(of_method - of_estimate).mean(axis=1)
        return cls(of_estimate, of_method, hsi_alone, msi_alone, variance, apart)


def _gain(
    errors: NDArray[np.float32], variance: NDArray[np.float32], noise: NDArray[np.float64], weight: float
) -> NDArray[np.float64]:
    """What the variance (C, n) is multiplied by so that the wanted share of errors lies within it and the noise, (C,).

    Every band has its own by `weight`, and for the rest that of all bands (geometric mean).
    """
    squared, variance = np.square(errors / _SIGMAS), np.maximum(variance, np.float32(1e-30))
    least = _LEAST_LEFT * squared / variance
    wanted = (squared - noise[:, None].astype(np.float32)) / variance
    own = np.maximum(np.quantile(wanted, _SHARE, axis=1), np.quantile(least, _SHARE, axis=1))
    common = max(float(np.quantile(wanted, _SHARE)), float(np.quantile(least, _SHARE)))
    tiny = 1e-12
    gain: NDArray[np.float64] = np.exp(
        weight * np.log(np.maximum(own, tiny)) + (1 - weight) * np.log(max(common, tiny))
    )
    return gain


def _to_this_level(noise: NDArray[np.float64], squared: NDArray[np.float32]) -> NDArray[np.float64]:
    """c, by the share of the truth's noise in the mean squared errors one level down, (C,)."""
    share = np.clip(noise / np.maximum(squared, 1e-30), 0, 1)
    found: NDArray[np.float64] = np.square(np.minimum(_ROUGHER + _WITH_NOISE * share, _MOST))
    return found


@torch.inference_mode()
def _fused(fitted: FittedMethod, patch: PairPatch, compute: Compute) -> Tensor:
    device = compute.torch_device
    return fitted(patch.hsi.to(device), patch.msi.to(device)).float().cpu()


def _sure(patch: PairPatch) -> Tensor:
    """Valid pixels away from the rims of clouds and holes, whose influence reaches over them, bool (r·h, r·w).

    All valid ones where nearly none is left.
    """
    lost = F.max_pool2d((~patch.hsi_valid)[None].float(), 2 * _RIM + 1, 1, _RIM)[0] > 0
    ratio = patch.msi_valid.shape[0] // len(lost)
    around, within = (
        patch.msi_valid & mask.repeat_interleave(ratio, 0).repeat_interleave(ratio, 1)
        for mask in (~lost, patch.hsi_valid)
    )
    return around if around.sum() >= _LEAST_PIXELS * ratio**2 else within


def _mean(images: Iterable[Tensor], where: Iterable[Tensor]) -> Tensor:
    """Mean over pixels of images (C, H, W) of whatever size, each where its mask (H, W) is set, (C,)."""
    total, count = torch.zeros((), dtype=torch.float64), 0
    for image, mask in zip(images, where, strict=True):
        total = total + image[:, mask].double().sum(dim=1)
        count += int(mask.sum())
    return (total / max(count, 1)).float()


def _by_band(values: Tensor) -> Tensor:
    return values[:, None, None]
