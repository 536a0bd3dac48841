"""Wald's protocol: what the two sensors would have made of a fine hyperspectral image.

Wald, Ranchin & Mangolini (1997): degrade what is known, fuse the degraded, compare with what was known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from hsfuse.errors import ImagingError
from hsfuse.imaging.model import ImagingModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hsfuse.imaging.psf import BlurDecimate

_CHUNK_VALUES = 2**25  # fine pixels blurred at a time, 128 MB of float32


@dataclass(frozen=True)
class WaldPair:
    """A degraded pair and the truth that it was made of."""

    hsi: NDArray[np.float32]
    """Y, shape (C, h, w); 0 where not valid."""

    hsi_valid: NDArray[np.bool_]
    """Where Y is known, shape (h, w)."""

    msi: NDArray[np.float32]
    """P, shape (c, r·h, r·w); 0 where not valid."""

    msi_valid: NDArray[np.bool_]
    """Where P is known, shape (r·h, r·w)."""

    reference: NDArray[np.float32]
    """X, shape (C, r·h, r·w): the image to recover, cropped to whole HSI pixels."""

    model: ImagingModel
    """R and B between the pair and X."""


def degrade(
    reference: NDArray[np.float32],
    model: ImagingModel,
    *,
    valid: NDArray[np.bool_] | None = None,
    snr_hsi: float | None = None,
    snr_msi: float | None = None,
    seed: int | None = 0,
) -> WaldPair:
    """Make Y = X B + noise and P = R X + noise of a reference.

    Noise is white; a signal-to-noise ratio in dB is the mean square of the noise-free image (all bands, all valid
    pixels) over the noise's variance. The MSI's noise is drawn first, each image in the order of its array, from
    numpy's `default_rng(seed)`. An HSI pixel is valid where every reference pixel that it covers is; what its blur
    takes from invalid neighbours is left out of its mean.

    Args:
        reference: X, shape (C, H, W), float32.
        model: R and B, the shift included.
        valid: Where X is known, shape (H, W); by default where all its bands are finite.
        snr_hsi: Of Y, in dB; None for no noise.
        snr_msi: Of P, in dB; None for no noise.
        seed: Of the noise.

    Raises:
        ImagingError: Bands of X and R differ, or X is smaller than one HSI pixel.
    """
    _check(reference, model)
    reference, valid = _cropped(reference, valid, model.ratio)
    msi = model.srf.project(torch.from_numpy(reference)).numpy()
    hsi, hsi_valid = _blurred(reference, valid, model.blur)
    generator = np.random.default_rng(seed)
    add_noise(msi, valid, snr_msi, generator)
    add_noise(hsi, hsi_valid, snr_hsi, generator)
    return WaldPair(hsi, hsi_valid, msi, valid, reference, model)


def degrade_pair(
    hsi: NDArray[np.float32],
    msi: NDArray[np.float32],
    model: ImagingModel,
    *,
    hsi_valid: NDArray[np.bool_] | None = None,
    msi_valid: NDArray[np.bool_] | None = None,
) -> WaldPair:
    """Take a real pair one Wald level down: both images by B, and the HSI is the truth.

    The MSI is degraded with the shift, so that it comes to lie on the HSI, and the HSI without it: the new pair is
    registered, and its model has no shift.

    Args:
        hsi: Y, shape (C, h, w), float32.
        msi: P, shape (c, r·h, r·w), float32.
        model: R and B between them.
        hsi_valid: Where Y is known, shape (h, w); by default where it is finite.
        msi_valid: Where P is known, shape (r·h, r·w); by default where it is finite.

    Raises:
        ImagingError: The sizes do not differ by the ratio, or the HSI is smaller than the ratio.
    """
    ratio = model.ratio
    if msi.shape[-2:] != (hsi.shape[-2] * ratio, hsi.shape[-1] * ratio):
        raise ImagingError(
            f"an HSI of {hsi.shape[-1]}×{hsi.shape[-2]} and an MSI of {msi.shape[-1]}×{msi.shape[-2]} pixels do "
            f"not differ by the ratio {ratio}",
        )
    if min(hsi.shape[-2:]) < ratio:
        raise ImagingError(f"an HSI of {hsi.shape[-1]}×{hsi.shape[-2]} pixels cannot be degraded by {ratio}")
    truth, truth_valid = _cropped(hsi, hsi_valid, ratio)
    fine, fine_valid = _cropped(msi, msi_valid, ratio)
    level_msi, level_msi_valid = _blurred(fine, fine_valid, model.blur)
    rows, columns = truth.shape[-2:]
    level_msi, level_msi_valid = level_msi[:, :rows, :columns], level_msi_valid[:rows, :columns]
    registered = ImagingModel(model.srf, model.psf)
    level_hsi, level_hsi_valid = _blurred(truth, truth_valid, registered.blur)
    return WaldPair(level_hsi, level_hsi_valid, level_msi, level_msi_valid, truth, registered)


def add_noise(
    image: NDArray[np.float32],
    valid: NDArray[np.bool_],
    snr: float | None,
    generator: np.random.Generator,
) -> None:
    """Add white noise of `snr` dB to `image` (C, H, W) in place, with the power of its valid pixels.

    The bands are drawn one after another, the same numbers as for the whole array at once.
    """
    if snr is None:
        return
    power = sum(float(np.square(band[valid], dtype=np.float64).sum()) for band in image)
    sigma = np.sqrt(power / max(valid.sum() * len(image), 1) / 10 ** (snr / 10))
    for index in range(len(image)):  # one band's noise at a time in memory
        image[index] += np.where(valid, sigma * generator.standard_normal(valid.shape), 0).astype(np.float32)


def _check(reference: NDArray[np.float32], model: ImagingModel) -> None:
    bands, ratio = model.srf.matrix.shape[1], model.ratio
    if reference.ndim != 3 or reference.shape[0] != bands:
        raise ImagingError(f"the SRF is for {bands} HSI bands, the reference has shape {reference.shape}")
    if min(reference.shape[1:]) < ratio:
        raise ImagingError(
            f"a reference of {reference.shape[2]}×{reference.shape[1]} pixels is smaller than one HSI pixel of "
            f"{ratio}×{ratio}",
        )


def _cropped(
    image: NDArray[np.float32],
    valid: NDArray[np.bool_] | None,
    ratio: int,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Whole multiples of the ratio, finite and 0 where not valid."""
    rows, columns = (edge // ratio * ratio for edge in image.shape[-2:])
    image = np.ascontiguousarray(image[:, :rows, :columns], dtype=np.float32)
    known = np.ones((rows, columns), dtype=bool) if valid is None else valid[:rows, :columns].copy()
    for band in image:
        known &= np.isfinite(band)
    if not known.all():
        image = np.where(known, image, np.float32(0))
    return image, known


def _blurred(
    image: NDArray[np.float32],
    valid: NDArray[np.bool_],
    blur: BlurDecimate,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """B over the valid pixels only, a few bands at a time."""
    chunk = max(_CHUNK_VALUES // valid.size, 1)
    with torch.no_grad():
        parts = [blur(torch.from_numpy(image[start : start + chunk])) for start in range(0, len(image), chunk)]
        coarse = torch.cat(parts)
        if valid.all():
            return coarse.numpy(), np.ones(coarse.shape[-2:], dtype=bool)
        weight = blur(torch.from_numpy(valid.astype(np.float32))[None])[0]
    ratio = blur.ratio
    whole = valid.reshape(valid.shape[0] // ratio, ratio, -1, ratio).all(axis=(1, 3))
    whole &= weight.numpy() > 1e-3
    mean = (coarse / weight.clamp(min=1e-3)).numpy()
    return np.where(whole, mean, np.float32(0)), whole
