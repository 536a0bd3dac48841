"""What is assumed where a pair leaves its imaging model open, and when that is more than leaving it open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hsfuse.errors import ImagingError
from hsfuse.imaging.blind.shift import local_detail, principal_detail
from hsfuse.imaging.blind.spectral_fit import SpectralMoments, fit_rows
from hsfuse.imaging.model import ImagingModel
from hsfuse.imaging.psf import PointSpread
from hsfuse.imaging.radiometry import Radiometry
from hsfuse.imaging.srf import FWHM_PER_SIGMA, SpectralResponse, band_spacing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hsfuse.imaging.blind.band_shapes import BandShapes
    from hsfuse.imaging.blind.samples import SampleBlock

ASSUMED_FWHM = 1.0
"""HSI pixels: what most instruments have, and what is taken where the pair does not tell."""

_FEWEST_FOR_ROWS = 16  # HSI pixels
_LEAST_CONTRAST = 2e-3  # standard deviation over mean, below which an image is flat
_WELL_EXPLAINED = 0.5  # of the MSI's variance, by the HSI's bands together
_STRUCTURED = 0.2  # correlation of neighbouring pixels' detail; white noise has none
_ENOUGH_TO_CONTRADICT = 150  # HSI pixels
_SAME_LEVEL = 1.5  # times: within it the images are taken to have the same units


class UndeterminedError(ImagingError):
    """The pair leaves its imaging model open; nothing in it speaks against a usual one."""


@dataclass(frozen=True, eq=False)
class BandMetadata:
    """What the files say of the bands of both images."""

    hsi_wavelength_nm: NDArray[np.float64] | None
    """Band centres of the HSI, shape (C,), not sorted."""

    hsi_fwhm_nm: NDArray[np.float64] | None
    """Their widths, shape (C,)."""

    msi_bands: tuple[str, ...]
    """Names of the c MSI bands; one without a name is called by its number."""

    msi_wavelength_nm: NDArray[np.float64] | None
    """Band centres of the MSI, shape (c,)."""

    msi_fwhm_nm: NDArray[np.float64] | None
    """Their widths, shape (c,)."""

    @classmethod
    def band_names(cls, names: Sequence[str] | None, count: int) -> tuple[str, ...]:
        """Names for `count` MSI bands: those given, the 1-based number in place of an empty one."""
        if names is None:
            return tuple(f"B{band + 1}" for band in range(count))
        return tuple(name.strip() or str(band + 1) for band, name in enumerate(names))


def contrasts(blocks: Sequence[SampleBlock]) -> tuple[float, float]:
    """Standard deviation over mean of the HSI's and of the MSI's most varied band."""
    hsi = [block.hsi()[:, block.hsi_known()] for block in blocks]
    msi = [image[:, seen] for image, seen in (block.msi(0) for block in blocks)]
    return _contrast(hsi), _contrast(msi)


def _contrast(parts: list[NDArray[np.float32]]) -> float:
    pixels = np.concatenate(parts, axis=1).astype(np.float64)
    mean = np.abs(pixels.mean(axis=1)) if pixels.size else np.ones(1)
    return float((pixels.std(axis=1) / np.maximum(mean, 1e-30)).max()) if pixels.size else 0.0


def check_contrast(blocks: Sequence[SampleBlock], bands: int) -> None:
    """See that both images show something.

    Raises:
        UndeterminedError: One of them is flat.
    """
    for label, contrast in zip(("HSI", "MSI"), contrasts(blocks), strict=True):
        if contrast < _LEAST_CONTRAST:
            raise UndeterminedError(
                f"the {label} is flat (standard deviation {contrast:.1g} of its mean), so that nothing tells its "
                f"{bands}-band response or its blur",
            )


def can_contradict(blocks: Sequence[SampleBlock]) -> bool:
    """Whether both images have detail above their noise in enough pixels, so that they would agree if they could."""
    if sum(int(block.hsi_known().sum()) for block in blocks) < _ENOUGH_TO_CONTRADICT:
        return False
    hsi = [principal_detail(block, 1) for block in blocks]
    msi = [
        (local_detail(image.astype(np.float64), known), known) for image, known in (block.msi(0) for block in blocks)
    ]
    return _structure(hsi) > _STRUCTURED and _structure(msi) > _STRUCTURED


def _structure(images: Sequence[tuple[NDArray[np.float64], NDArray[np.bool_]]]) -> float:
    """Correlation of the detail of pixels side by side, of the band that has most of it."""
    shared, power = 0.0, 1e-300
    for detail, known in images:
        across, down = (known[:, 1:] & known[:, :-1]), (known[1:] & known[:-1])
        shared = shared + (detail[:, :, 1:] * detail[:, :, :-1])[:, across].sum(axis=1)
        shared = shared + (detail[:, 1:] * detail[:, :-1])[:, down].sum(axis=1)
        power = power + 2 * np.square(detail).sum(axis=(1, 2))
    return float(np.max(shared / power))


@dataclass(frozen=True, eq=False)
class AssumedModel:
    """A usual imaging model, for a pair that does not tell its own."""

    model: ImagingModel
    """R by the wavelengths or a guess, a round PSF of one HSI pixel unless it was given, no shift."""

    msi_index: tuple[int, ...]
    """The MSI bands (0-based) that have a row in R."""

    sensor: str
    """The published sensor whose bands R's rows were taken from; empty where there is none."""

    radiometry: Radiometry
    """Of the bands with a row: from the images' levels alone."""

    pixels: int
    """HSI pixels that are known in both images."""

    warning: str
    """What was assumed, and why."""


def assumed_model(
    blocks: Sequence[SampleBlock],
    metadata: BandMetadata,
    shapes: Sequence[BandShapes],
    reason: UndeterminedError,
    srf: SpectralResponse | None = None,
    psf: PointSpread | None = None,
) -> AssumedModel:
    """The most usual model that agrees with what is known.

    Args:
        blocks: The sample.
        metadata: Of the bands.
        shapes: Candidates for each row of R; none where R is given.
        reason: Why the pair does not tell.
        srf: R, where it is known.
        psf: B's kernel, where it is known.

    Raises:
        ImagingError: There are no wavelengths, and nothing to estimate R from.
    """
    ratio = blocks[0].ratio
    kernel = psf or PointSpread.gaussian(ratio, ASSUMED_FWHM)
    spectra, degraded = _pixels(blocks, kernel)
    if srf is not None:
        response, index, sensor, origin = srf, tuple(range(len(srf.msi_bands))), "", ""
    else:
        response, index, sensor, origin = _rows(spectra, degraded, metadata, shapes, reason)
    taken = [
        *([] if psf else [f"a PSF of {ASSUMED_FWHM:.1f} HSI pixel FWHM"]),
        "no shift",
        *([origin] if origin else []),
    ]
    return AssumedModel(
        ImagingModel(response, kernel),
        index,
        sensor,
        _levels(spectra @ response.matrix.T, degraded[:, index]),
        len(spectra),
        f"{reason}: assumed {', '.join(taken)}",
    )


def _pixels(blocks: Sequence[SampleBlock], psf: PointSpread) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Y (N, C) and P B (N, c) where both are known."""
    spectra, degraded = [], []
    for block in blocks:
        image, seen = block.degraded(psf)
        both = block.hsi_known() & seen
        spectra.append(block.hsi()[:, both].T.astype(np.float64))
        degraded.append(image[:, both].T)
    return np.concatenate(spectra), np.concatenate(degraded)


def _rows(
    spectra: NDArray[np.float64],
    degraded: NDArray[np.float64],
    metadata: BandMetadata,
    shapes: Sequence[BandShapes],
    reason: UndeterminedError,
) -> tuple[SpectralResponse, tuple[int, ...], str, str]:
    """R, the MSI bands that it has rows for, the sensor that they look like, and where they come from."""
    names, centre = metadata.msi_bands, metadata.hsi_wavelength_nm
    if centre is not None and metadata.msi_wavelength_nm is not None:
        found = _by_wavelength(centre, metadata)
        if found is not None:
            return *found, "", "an SRF by the wavelengths that the files give"
    sensors = [rows for rows in shapes[0].sensors.values() if len(rows) == len(names)]
    usable = len(spectra) >= _FEWEST_FOR_ROWS and min(spectra.std(axis=0).max(), degraded.std(axis=0).min()) > 0
    moments = SpectralMoments.of(spectra, degraded) if usable else None
    if moments is not None and (moments.explained.mean() >= _WELL_EXPLAINED or not sensors):
        fit = fit_rows(moments, shapes)
        rows, sensor, origin = (
            fit.rows,
            fit.sensor,
            f"an SRF out of {len(spectra)} HSI pixels (little more than a guess)",
        )
    elif sensors:
        rows, sensor = np.mean(sensors, axis=0), ""
        origin = f"an SRF that is the mean of the {len(sensors)} known sensors of {len(names)} bands (a guess)"
    else:
        raise ImagingError(f"{reason}, and there are no wavelengths to go by: give `srf` and `psf`") from reason
    return SpectralResponse(rows, names, centre), tuple(range(len(names))), sensor, origin


def _by_wavelength(
    centre: NDArray[np.float64], metadata: BandMetadata
) -> tuple[SpectralResponse, tuple[int, ...]] | None:
    """Gaussian rows about the MSI's centres, of the bands that lie among the HSI's; None where none does."""
    assert metadata.msi_wavelength_nm is not None
    msi = np.asarray(metadata.msi_wavelength_nm, dtype=np.float64)
    spacing = band_spacing(centre)
    given = metadata.msi_fwhm_nm
    width = band_spacing(msi) * 0.7 if given is None else np.asarray(given, dtype=np.float64)
    width = np.maximum(np.where(np.isfinite(width) & (width > 0), width, 50.0), float(np.median(spacing)))
    distance = np.abs(msi[:, None] - centre)
    rows = np.exp(-0.5 * (distance * FWHM_PER_SIGMA / width[:, None]) ** 2) * spacing
    index = tuple(np.flatnonzero(np.nanmin(distance, axis=1) <= width / 2).tolist())
    if not index:
        return None
    kept = rows[list(index)]
    names = tuple(metadata.msi_bands[band] for band in index)
    return SpectralResponse(kept / kept.sum(axis=1, keepdims=True), names, centre), index


def _levels(projected: NDArray[np.float64], degraded: NDArray[np.float64]) -> Radiometry:
    """Units by the images' levels alone: a slope through noise says nothing."""
    bands = degraded.shape[1]
    if not len(projected):
        return Radiometry.same(bands)
    here, there = np.median(projected, axis=0), np.median(degraded, axis=0)
    if (here <= 0).any() or (there <= 0).any():
        return Radiometry.same(bands)
    gain = there / here
    if 1 / _SAME_LEVEL < np.median(gain) < _SAME_LEVEL:
        return Radiometry.same(bands)
    return Radiometry(gain, np.zeros(bands), np.ones(bands, dtype=bool))
