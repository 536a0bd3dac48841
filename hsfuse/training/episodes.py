"""Episodes: a reference image seen through a random imaging model, brought into its spectral subspace.

Universal weights learn from many scenes under many sensors: each episode draws a spectral response, a point
spread, a ratio and noise, fits the scene's estimate on the simulated pair, and keeps the coefficients only, so
that hundreds of them fit in memory and one batch may mix scenes of any number of bands.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from hsfuse.classical import Bayes
from hsfuse.imaging import BlurDecimate, ImagingModel, PointSpread, SpectralResponse, degrade
from hsfuse.subspace.linear_model import LinearModel, SceneCondition, SubspaceInputs
from hsfuse.subspace.patch import PairPatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

SENSOR_BANDS = {
    "vnir-4": ([490, 560, 665, 842], [66, 36, 31, 106]),
    "vnir-4-broad": ([480, 550, 665, 805], [70, 90, 66, 96]),
    "pan": ([640], [300]),
    "rgb": ([480, 550, 650], [70, 70, 70]),
    "vnir-8": ([427, 478, 546, 608, 659, 724, 833, 949], [40, 54, 63, 40, 58, 40, 118, 88]),
    "vnir-swir-6": ([483, 561, 655, 865, 1609, 2201], [60, 57, 37, 28, 85, 187]),
    "vnir-swir-10": (
        [490, 560, 665, 704, 740, 783, 842, 865, 1610, 2190],
        [66, 36, 31, 15, 15, 20, 106, 21, 91, 175],
    ),
}
"""Band sets to start from, centres and FWHM in nm: the common layouts of multispectral sensors."""


@dataclass(frozen=True)
class ReferenceImage:
    """A hyperspectral image taken as the truth."""

    name: str
    """Which scene it is."""

    image: NDArray[np.float32]
    """X, shape (C, H, W), finite."""

    wavelength_nm: NDArray[np.float64]
    """Band centres in nm, shape (C,)."""


@dataclass(frozen=True)
class Episode:
    """One simulated pair in the coefficients of its own subspace."""

    inputs: SubspaceInputs
    """What a network is given, without batch axis."""

    truth: Tensor
    """The coefficients of X, (K, H, W)."""

    condition: SceneCondition
    """What a network knows of the scene, a batch of one."""

    psf: PointSpread
    """The blur that the network assumes."""

    units: ErrorUnits
    """What an error counts."""

    valid: Tensor
    """1 where the truth is known, else 0, (H, W)."""

    angle_weight: Tensor
    """Weight of each pixel's squared error in its spectral angle, 0 where the truth is not known, (H, W)."""

    def leading(self, size: int) -> Episode:
        """The same of the first `size` coefficients, or with empty ones up to `size`: as many as a network expects."""
        missing = size - len(self.truth)
        if not missing:
            return self
        inputs = self.inputs.batched().leading(size)
        units = replace(  # lower triangular: what is cut off holds nothing of the coefficients that stay
            self.units,
            bands=F.pad(self.units.bands, (0, missing, 0, missing)),
            angles=F.pad(self.units.angles, (0, missing, 0, missing)),
        )
        return replace(
            self,
            inputs=SubspaceInputs(inputs.initial[0], inputs.msi[0], inputs.hsi[0]),
            truth=F.pad(self.truth, (0, 0, 0, 0, 0, missing)),
            condition=self.condition.leading(size),
            units=units,
        )


@dataclass(frozen=True)
class ErrorUnits:
    """What errors of a scene's coefficients count: those of the estimate to start from are one."""

    bands: Tensor
    """L with ‖Lᵀ ΔA‖² the mean over bands of the squared error over that of the estimate to start from, (K, K)."""

    angles: Tensor
    """L with ‖Lᵀ ΔA‖² the squared error summed over bands in the image's units, (K, K)."""

    angle_scale: float
    """Mean of such an error over the pixel's energy, for the estimate to start from."""

    least_energy: float
    """Pixels darker than this, a sum of squares over bands, count as this: their angles are noise."""

    @classmethod
    def of(cls, estimate: Bayes, hsi: Tensor, msi: Tensor, truth: Tensor, valid: Tensor) -> ErrorUnits:
        """Out of the estimate of a part of the scene: Y (C, h, w), P (c, H, W), X (C, H, W), bool (H, W)."""
        inputs, linear_model = estimate.inputs(hsi, msi), estimate.linear_model
        missed = (linear_model.decode(inputs.initial, inputs, hsi) - truth)[:, valid]
        band_error = (missed**2).mean(dim=1).clamp_min(1e-12).sqrt()
        spread_bands = _spread_bands(linear_model)  # (C, K): ΔX = spread_bands ΔA
        relative = spread_bands / band_error[:, None]
        metric = _root(spread_bands.T @ spread_bands)
        energy = (truth[:, valid] ** 2).sum(dim=0)
        least = 1e-3 * float(energy.mean())
        error = metric.T @ (inputs.initial - linear_model.subspace.encode(truth))[:, valid]
        angle = error.square().sum(dim=0) / energy.clamp_min(least)
        return cls(_root(relative.T @ relative / len(relative)), metric, float(angle.mean().clamp_min(1e-30)), least)


@dataclass(frozen=True)
class View:
    """How an episode's pair is made."""

    ratio: int
    """HSI pixel over MSI pixel."""

    truth: ImagingModel
    """What the sensors do."""

    assumed: ImagingModel
    """What the estimate and the network assume: the truth with the errors of an estimate."""

    snr_hsi: float | None
    """In dB."""

    snr_msi: float | None
    """In dB."""

    seed: int
    """Of the noise."""


def random_view(reference: ReferenceImage, generator: np.random.Generator, ratios: Sequence[int]) -> View:
    """Draw sensors for a scene: response, blur, ratio and noise as they occur, and errors in what is assumed."""
    ratio = int(generator.choice(list(ratios)))
    srf = _random_response(reference.wavelength_nm, generator)
    fwhm = generator.uniform(0.7, 1.4) * np.exp(generator.normal(0, 0.07, 2))
    angle = float(generator.uniform(0, 180))
    error = np.exp(generator.normal(0, 0.04, 2))
    offset = generator.normal(0, 0.04, 2)
    assumed_srf = srf.matrix * np.exp(generator.normal(0, 0.1, srf.matrix.shape))
    assumed_srf /= assumed_srf.sum(axis=1, keepdims=True)
    return View(
        ratio,
        ImagingModel(srf, PointSpread.gaussian(ratio, (fwhm[0], fwhm[1]), angle=angle)),
        ImagingModel(
            SpectralResponse(assumed_srf, srf.msi_bands, srf.hsi_wavelength_nm),
            PointSpread.gaussian(
                ratio, (fwhm[0] * error[0], fwhm[1] * error[1]), angle=angle, shift=(offset[0], offset[1])
            ),
        ),
        _random_snr(generator),
        _random_snr(generator),
        int(generator.integers(2**31)),
    )


def _random_snr(generator: np.random.Generator) -> float | None:
    return None if generator.random() < 0.1 else float(generator.uniform(20, 50))


def _random_response(wavelength_nm: NDArray[np.float64], generator: np.random.Generator) -> SpectralResponse:
    """A common band layout with jittered centres and widths, or bands anywhere; those that see nothing go."""
    if generator.random() < 0.75:
        centres, widths = SENSOR_BANDS[str(generator.choice(list(SENSOR_BANDS)))]
        centre = np.array(centres) + generator.normal(0, 8, len(centres))
        width = np.array(widths) * np.exp(generator.normal(0, 0.2, len(widths)))
    else:
        count = int(generator.integers(1, 13))
        centre = np.sort(generator.uniform(wavelength_nm.min() + 20, wavelength_nm.max() - 20, count))
        width = np.exp(generator.uniform(math.log(20), math.log(200), count))
    distance = np.abs(wavelength_nm[None] - centre[:, None]) / (width[:, None] / 2)
    sharpness = generator.uniform(2, 6)  # 2 is a Gaussian, more comes near a box
    response = np.exp(-math.log(2) * distance**sharpness)
    response = response[response.sum(axis=1) > 0.3]
    if not len(response):
        return _random_response(wavelength_nm, generator)
    names = tuple(f"B{band + 1}" for band in range(len(response)))
    return SpectralResponse(response / response.sum(axis=1, keepdims=True), names, wavelength_nm)


def simulate_episode(reference: ReferenceImage, view: View, size: int = 10) -> Episode:
    """Simulate the pair of a view and bring it into its subspace, of which the first `size` coefficients count."""
    wald = degrade(reference.image, view.truth, snr_hsi=view.snr_hsi, snr_msi=view.snr_msi, seed=view.seed)
    hsi, msi, truth = (torch.from_numpy(part) for part in (wald.hsi, wald.msi, wald.reference))
    estimate = Bayes.fit([PairPatch.all_valid(hsi, msi)], view.assumed, fewest=size)
    valid = torch.ones(truth.shape[1:], dtype=torch.bool)
    units = ErrorUnits.of(estimate, hsi, msi, truth, valid)
    return make_episode(estimate, units, view.assumed.psf, (hsi, msi, truth), valid).leading(size)


def make_episode(
    estimate: Bayes,
    units: ErrorUnits,
    psf: PointSpread,
    images: tuple[Tensor, Tensor, Tensor],
    valid: Tensor,
) -> Episode:
    """Bring a part of a scene, Y (C, h, w), P (c, H, W) and X (C, H, W), into the scene's subspace."""
    hsi, msi, truth = images
    energy = (truth**2).sum(dim=0).clamp_min(units.least_energy)
    known = valid.float()
    return Episode(
        estimate.inputs(hsi, msi),
        estimate.linear_model.subspace.encode(truth),
        estimate.linear_model.condition(),
        psf,
        units,
        known,
        known / (energy * units.angle_scale),
    )


def _spread_bands(linear_model: LinearModel) -> Tensor:
    return linear_model.subspace.basis * linear_model.subspace.scale[:, None]


def _root(gram: Tensor) -> Tensor:
    """L with L Lᵀ = gram, lower triangular."""
    tiny = 1e-6 * torch.diag(gram).mean()
    root: Tensor = torch.linalg.cholesky(gram.double() + tiny * torch.eye(len(gram)))
    return root.float()


@dataclass(frozen=True)
class Batch:
    """Patches of several episodes of one ratio."""

    inputs: SubspaceInputs
    """With a batch axis."""

    truth: Tensor
    """(B, K, H, W)."""

    condition: SceneCondition
    """Of the batch."""

    band_units: Tensor
    """(B, K, K), see `ErrorUnits.bands`."""

    angle_units: Tensor
    """(B, K, K), see `ErrorUnits.angles`."""

    valid: Tensor
    """(B, H, W), see `Episode.valid`."""

    angle_weight: Tensor
    """(B, H, W), see `Episode.angle_weight`."""


def place_patches(
    episodes: Sequence[Episode], patch: int, generator: np.random.Generator
) -> list[tuple[Episode, Placement]]:
    """A random patch of `patch` HSI pixels, or what the smallest scene has, in each episode."""
    edge = min([patch, *(min(episode.inputs.hsi.shape[-2:]) for episode in episodes)])
    return [(episode, Placement.draw(episode.inputs.hsi.shape[-2:], edge, generator)) for episode in episodes]


def cut_batch(placed: Sequence[tuple[Episode, Placement]]) -> Batch:
    """Patches of one size out of episodes of one ratio; turning a patch turns the kernel with it."""
    episodes = [episode for episode, _ in placed]
    ratio = episodes[0].psf.ratio

    def cut(name: str, scale: int) -> Tensor:
        return torch.stack([place.cut(getattr(episode, name), scale) for episode, place in placed])

    def conditioned(name: str) -> Tensor:
        return torch.cat([getattr(episode.condition, name) for episode in episodes])

    return Batch(
        SubspaceInputs(
            torch.stack([place.cut(episode.inputs.initial, ratio) for episode, place in placed]),
            torch.stack([place.cut(episode.inputs.msi, ratio) for episode, place in placed]),
            torch.stack([place.cut(episode.inputs.hsi, 1) for episode, place in placed]),
        ),
        cut("truth", ratio),
        SceneCondition(
            conditioned("mixing"),
            conditioned("mixing_offset"),
            conditioned("residual"),
            conditioned("spread"),
            conditioned("hsi_noise"),
            conditioned("msi_noise"),
            BlurDecimate(*(PointSpread(place.turned(episode.psf.kernel), ratio) for episode, place in placed)),
        ),
        torch.stack([episode.units.bands for episode in episodes]),
        torch.stack([episode.units.angles for episode in episodes]),
        cut("valid", ratio),
        cut("angle_weight", ratio),
    )


@dataclass(frozen=True)
class Placement:
    """Where a patch is cut from a scene, and how it is turned."""

    row: int
    """In HSI pixels."""

    column: int
    """In HSI pixels."""

    edge: int
    """In HSI pixels."""

    turns: int
    """Quarter turns."""

    flipped: bool
    """Left to right, after turning."""

    @classmethod
    def draw(cls, shape: Sequence[int], edge: int, generator: np.random.Generator) -> Placement:
        """Any place and orientation in a scene of `shape` (h, w) HSI pixels."""
        row, column = (int(generator.integers(size - edge + 1)) for size in shape)
        return cls(row, column, edge, int(generator.integers(4)), bool(generator.integers(2)))

    def cut(self, image: Tensor, scale: int) -> Tensor:
        """The patch of an image (..., H, W) of `scale` pixels an HSI pixel."""
        rows, columns = (slice(start * scale, (start + self.edge) * scale) for start in (self.row, self.column))
        part = torch.rot90(image[..., rows, columns], self.turns, (-2, -1))
        return part.flip(-1) if self.flipped else part

    def turned(self, kernel: NDArray[np.float64]) -> NDArray[np.float64]:
        """A kernel (rows, columns) turned as the patch is."""
        kernel = np.rot90(kernel, self.turns)
        return np.ascontiguousarray(kernel[:, ::-1] if self.flipped else kernel)
