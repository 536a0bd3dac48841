"""Episodes: a reference image seen through a random imaging model, brought into its spectral subspace.

Universal weights learn from many scenes under many sensors: each episode draws a spectral response, a point
spread, a ratio and noise, fits the scene's adapter on the simulated pair, and keeps the coefficients only, so
that hundreds of them fit in memory and one batch may mix scenes of any number of bands.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from hsfuse.imaging import BlurDecimate, ImagingModel, PointSpread, SpectralResponse, degrade
from hsfuse.models.adapter import SceneAdapter, SceneCondition, SubspaceInputs, TensorPatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

SENSOR_BANDS = {
    "vnir-4": ([490, 560, 665, 842], [66, 36, 31, 106]),
    "vnir-4-broad": ([480, 550, 665, 805], [70, 90, 66, 96]),
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
class Reference:
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
    """What a network is told of the scene, a batch of one."""

    psf: PointSpread
    """The blur that the network is told."""

    weight: Tensor
    """L with ‖Lᵀ ΔA‖² the mean over bands of the squared error over that of the linear estimate, (K, K)."""

    angle_weight: Tensor
    """Weight of each pixel's squared error in its spectral angle, scaled to mean 1 for the linear estimate,
    (H, W)."""

    angle_metric: Tensor
    """L with ‖Lᵀ ΔA‖² the squared error summed over bands in the image's units, (K, K)."""


@dataclass(frozen=True)
class View:
    """How an episode's pair is made."""

    ratio: int
    """HSI pixel over MSI pixel."""

    truth: ImagingModel
    """What the sensors do."""

    told: ImagingModel
    """What the adapter and the network are told: the truth with the errors of an estimate."""

    snr_hsi: float | None
    """In dB."""

    snr_msi: float | None
    """In dB."""

    seed: int
    """Of the noise."""


def random_view(reference: Reference, generator: np.random.Generator, ratios: Sequence[int]) -> View:
    """Draw sensors for a scene: response, blur, ratio and noise as they occur, and errors in what is told."""
    ratio = int(generator.choice(list(ratios)))
    srf = _random_response(reference.wavelength_nm, generator)
    fwhm = generator.uniform(0.7, 1.4) * np.exp(generator.normal(0, 0.07, 2))
    angle = float(generator.uniform(0, 180))
    error = np.exp(generator.normal(0, 0.04, 2))
    offset = generator.normal(0, 0.04, 2)
    told_srf = srf.matrix * np.exp(generator.normal(0, 0.1, srf.matrix.shape))
    told_srf /= told_srf.sum(axis=1, keepdims=True)
    return View(
        ratio,
        ImagingModel(srf, PointSpread.gaussian(ratio, (fwhm[0], fwhm[1]), angle=angle)),
        ImagingModel(
            SpectralResponse(told_srf, srf.msi_bands, srf.hsi_wavelength_nm),
            PointSpread.gaussian(
                ratio, (fwhm[0] * error[0], fwhm[1] * error[1]), angle=angle, shift=(offset[0], offset[1])
            ),
        ),
        _random_snr(generator),
        _random_snr(generator),
        int(generator.integers(2**31)),
    )


def _random_snr(generator: np.random.Generator) -> float | None:
    return None if generator.random() < 0.05 else float(generator.uniform(25, 45))


def _random_response(wavelength_nm: NDArray[np.float64], generator: np.random.Generator) -> SpectralResponse:
    """A common band layout with jittered centres and widths, or bands anywhere; those that see nothing go."""
    if generator.random() < 0.75:
        centres, widths = SENSOR_BANDS[str(generator.choice(list(SENSOR_BANDS)))]
        centre = np.array(centres) + generator.normal(0, 8, len(centres))
        width = np.array(widths) * np.exp(generator.normal(0, 0.2, len(widths)))
    else:
        count = int(generator.integers(3, 11))
        centre = np.sort(generator.uniform(wavelength_nm.min() + 20, wavelength_nm.max() - 20, count))
        width = np.exp(generator.uniform(math.log(20), math.log(200), count))
    distance = np.abs(wavelength_nm[None] - centre[:, None]) / (width[:, None] / 2)
    sharpness = generator.uniform(2, 6)  # 2 is a Gaussian, more comes near a box
    response = np.exp(-math.log(2) * distance**sharpness)
    response = response[response.sum(axis=1) > 0.3]
    if len(response) < 2:
        return _random_response(wavelength_nm, generator)
    names = tuple(f"B{band + 1}" for band in range(len(response)))
    return SpectralResponse(response / response.sum(axis=1, keepdims=True), names, wavelength_nm)


def simulate_episode(reference: Reference, view: View, size: int = 10) -> Episode:
    """Simulate the pair of a view and bring it into its subspace of `size` coefficients."""
    wald = degrade(reference.image, view.truth, snr_hsi=view.snr_hsi, snr_msi=view.snr_msi, seed=view.seed)
    hsi, msi, truth = (torch.from_numpy(part) for part in (wald.hsi, wald.msi, wald.reference))
    adapter = SceneAdapter.fit([TensorPatch.all_valid(hsi, msi)], view.told, size)
    inputs = adapter.inputs(hsi, msi)
    linear = adapter.decode(inputs.linear, inputs, hsi)
    subspace = adapter.subspace
    spread_bands = subspace.basis * subspace.scale[:, None]  # (C, K): ΔX = spread_bands ΔA
    band_error = ((linear - truth) ** 2).mean(dim=(1, 2)).clamp_min(1e-12).sqrt()
    relative = spread_bands / band_error[:, None]
    pixel_energy = (truth**2).sum(dim=0)
    angle_weight = 1 / pixel_energy.clamp_min(1e-3 * float(pixel_energy.mean()))
    coefficients = subspace.encode(truth)
    metric = _root(spread_bands.T @ spread_bands)
    missed = torch.einsum("kj,khw->jhw", metric, inputs.linear - coefficients).square().sum(dim=0)
    return Episode(
        inputs,
        coefficients,
        adapter.condition(),
        view.told.psf,
        _root(relative.T @ relative / len(relative)),
        angle_weight / float((missed * angle_weight).mean().clamp_min(1e-30)),
        metric,
    )


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

    weight: Tensor
    """(B, K, K), see `Episode.weight`."""

    angle_weight: Tensor
    """(B, H, W), see `Episode.angle_weight`."""

    angle_metric: Tensor
    """(B, K, K), see `Episode.angle_metric`."""


def cut_batch(episodes: Sequence[Episode], patch: int, generator: np.random.Generator) -> Batch:
    """One random patch of `patch` HSI pixels (or what the smallest scene has) of each episode, turned at random.

    All episodes have one ratio. Turning the patch turns the kernel with it.
    """
    ratio = episodes[0].psf.ratio
    edge = min([patch, *(min(episode.inputs.hsi.shape[-2:]) for episode in episodes)])
    parts = [_cut(episode, edge, generator) for episode in episodes]
    inputs = SubspaceInputs(*(torch.stack(group) for group in zip(*(part[0] for part in parts), strict=True)))
    conditions = [episode.condition for episode in episodes]

    def stacked(name: str) -> Tensor:
        return torch.cat([getattr(condition, name) for condition in conditions])

    return Batch(
        inputs,
        torch.stack([part[1] for part in parts]),
        SceneCondition(
            stacked("mixing"),
            stacked("mixing_offset"),
            stacked("residual"),
            stacked("spread"),
            stacked("hsi_noise"),
            stacked("msi_noise"),
            BlurDecimate(*(PointSpread(part[3], ratio) for part in parts)),
        ),
        torch.stack([episode.weight for episode in episodes]),
        torch.stack([part[2] for part in parts]),
        torch.stack([episode.angle_metric for episode in episodes]),
    )


def _cut(
    episode: Episode, edge: int, generator: np.random.Generator
) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor, Tensor, NDArray[np.float64]]:
    ratio = episode.psf.ratio
    rows, columns = episode.inputs.hsi.shape[-2:]
    row, column = int(generator.integers(rows - edge + 1)), int(generator.integers(columns - edge + 1))
    turns, flip = int(generator.integers(4)), bool(generator.integers(2))

    def oriented(image: Tensor, scale: int) -> Tensor:
        part = image[..., row * scale : (row + edge) * scale, column * scale : (column + edge) * scale]
        part = torch.rot90(part, turns, (-2, -1))
        return part.flip(-1) if flip else part

    kernel = np.rot90(episode.psf.kernel, turns)
    inputs = episode.inputs
    return (
        (oriented(inputs.linear, ratio), oriented(inputs.msi, ratio), oriented(inputs.hsi, 1)),
        oriented(episode.truth, ratio),
        oriented(episode.angle_weight, ratio),
        np.ascontiguousarray(kernel[:, ::-1] if flip else kernel),
    )
