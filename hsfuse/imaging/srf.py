"""The spectral response function, and R of P = R X: what each MSI band sees of the HSI's bands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from hsfuse.errors import ImagingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from hsfuse.imaging.tables import SensorTable

FWHM_PER_SIGMA = 2.3548200450309493
"""Full width at half maximum of a Gaussian of standard deviation 1."""

COVERED = 0.5
"""An MSI band is left out if the HSI's bands see less than this share of its response."""

_LONGEST_NM = 1e5  # beyond the thermal infrared
_REACH = 1.5  # a band speaks for the spectrum this many times its FWHM (or its spacing) wide, no wider


@dataclass(frozen=True)
class BandCoverage:
    """What became of a table's bands over one HSI."""

    kept: tuple[int, ...]
    """The table's bands (0-based) that got a row, in order."""

    left_out: tuple[str, ...]
    """Names of those that the HSI does not see."""

    share: NDArray[np.float64]
    """Share of each of the table's bands that lies within reach of an HSI band, 0 to 1."""


@dataclass(frozen=True)
class SpectralResponse:
    """R: MSI bands as weighted means of HSI bands.

    Raises:
        ImagingError: The matrix is not finite and non-negative, a row does not sum to 1, or sizes disagree.
    """

    matrix: NDArray[np.float64]
    """Weights, shape (c, C): MSI bands × HSI bands, non-negative, rows summing to 1."""

    msi_bands: tuple[str, ...]
    """Names of the c MSI bands."""

    hsi_wavelength_nm: NDArray[np.float64] | None = None
    """Centres of the C HSI bands in nm, not sorted; None where they are not known."""

    def __post_init__(self) -> None:
        matrix = np.asarray(self.matrix, dtype=np.float64)
        object.__setattr__(self, "matrix", matrix)
        if matrix.ndim != 2 or len(self.msi_bands) != matrix.shape[0]:
            raise ImagingError(f"an SRF of {len(self.msi_bands)} MSI bands has a matrix of shape {matrix.shape}")
        if self.hsi_wavelength_nm is not None and len(self.hsi_wavelength_nm) != matrix.shape[1]:
            raise ImagingError(
                f"an SRF over {matrix.shape[1]} HSI bands comes with {len(self.hsi_wavelength_nm)} wavelengths",
            )
        if not np.isfinite(matrix).all() or (matrix < 0).any():
            raise ImagingError("the weights of an SRF are finite and non-negative")
        if not np.allclose(matrix.sum(axis=1), 1, atol=1e-4):
            raise ImagingError(f"the rows of an SRF sum to 1, these to {np.round(matrix.sum(axis=1), 4).tolist()}")

    @classmethod
    def from_gaussians(
        cls,
        centre_nm: Sequence[float],
        fwhm_nm: Sequence[float],
        hsi_wavelength_nm: NDArray[np.float64],
        names: Sequence[str] | None = None,
    ) -> SpectralResponse:
        """Gaussian MSI bands sampled at the HSI's band centres, each row normalised.

        Raises:
            ImagingError: A band sees none of the HSI's bands.
        """
        sigma = np.asarray(fwhm_nm, dtype=np.float64)[:, None] / FWHM_PER_SIGMA
        distance = hsi_wavelength_nm[None, :] - np.asarray(centre_nm, dtype=np.float64)[:, None]
        response = np.exp(-0.5 * (distance / sigma) ** 2)
        names = tuple(names) if names else tuple(f"B{index + 1}" for index in range(len(centre_nm)))
        unseen = [name for name, row in zip(names, response, strict=True) if row.sum() < 1e-6]
        if unseen:
            raise ImagingError(f"no HSI band lies within MSI band(s) {', '.join(unseen)}")
        return cls(response / response.sum(axis=1, keepdims=True), names, hsi_wavelength_nm)

    @classmethod
    def from_table(
        cls,
        table: SensorTable,
        hsi_wavelength_nm: NDArray[np.float64],
        hsi_fwhm_nm: NDArray[np.float64] | None = None,
    ) -> tuple[SpectralResponse, BandCoverage]:
        """R of a sensor's published response over the bands of one HSI.

        An HSI band's weight is the response averaged over its own Gaussian, times the stretch of the spectrum for
        which it stands. The wavelengths need not be sorted, detectors may overlap, and bands may be missing.

        Args:
            table: The MSI's response.
            hsi_wavelength_nm: Band centres in nm, shape (C,).
            hsi_fwhm_nm: Full widths at half maximum in nm, shape (C,); by default the spacing of the bands.

        Returns:
            The response over the bands that the HSI covers to at least half, and which those are.

        Raises:
            ImagingError: The wavelengths are not positive numbers, or no band is covered.
        """
        centre, fwhm = checked_bands(hsi_wavelength_nm, hsi_fwhm_nm)
        low, high = band_edges(centre, fwhm)
        grid = np.arange(table.wavelength_nm[0] - 1, table.wavelength_nm[-1] + 2)  # nm
        response = table.sampled(grid)
        seen = ((grid[:, None] >= low) & (grid[:, None] <= high)).any(axis=1)
        share = response[:, seen].sum(axis=1) / response.sum(axis=1)
        weights = averaged(grid, response, centre, fwhm) * (high - low)
        kept = np.flatnonzero((share >= COVERED) & (weights.sum(axis=1) > 0))
        left_out = tuple(name for index, name in enumerate(table.bands) if index not in kept)
        if not kept.size:
            raise ImagingError(
                f"the HSI's bands ({centre.min():.0f} to {centre.max():.0f} nm) see none of {table.name}'s bands "
                f"{', '.join(left_out)}",
            )
        rows = weights[kept] / weights[kept].sum(axis=1, keepdims=True)
        names = tuple(table.bands[index] for index in kept)
        return cls(rows, names, centre), BandCoverage(tuple(kept.tolist()), left_out, share)

    def project(self, image: Tensor) -> Tensor:
        """R X: shape (..., C, H, W) to (..., c, H, W), in the image's dtype."""
        matrix = torch.as_tensor(self.matrix, dtype=image.dtype, device=image.device)
        return torch.einsum("cb,...bhw->...chw", matrix, image)

    def adjoint(self, image: Tensor) -> Tensor:
        """Rᵀ P: shape (..., c, H, W) to (..., C, H, W)."""
        matrix = torch.as_tensor(self.matrix, dtype=image.dtype, device=image.device)
        return torch.einsum("cb,...chw->...bhw", matrix, image)

    def select(self, msi_bands: Sequence[int]) -> SpectralResponse:
        """The response with only these MSI bands (0-based)."""
        index = list(msi_bands)
        return SpectralResponse(self.matrix[index], tuple(self.msi_bands[i] for i in index), self.hsi_wavelength_nm)


def checked_bands(
    wavelength_nm: NDArray[np.float64],
    fwhm_nm: NDArray[np.float64] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres and widths as arrays (C,), the spacing in place of widths that are not known.

    Raises:
        ImagingError: The wavelengths are no optical ones, or the sizes differ.
    """
    centre = np.asarray(wavelength_nm, dtype=np.float64)
    if centre.ndim != 1 or not centre.size or not (np.isfinite(centre) & (centre > 0)).all():
        raise ImagingError("the HSI's wavelengths are positive numbers of nm, one a band")
    if centre.max() > _LONGEST_NM:
        raise ImagingError(f"the HSI's wavelengths reach {centre.max():.4g} nm, beyond {_LONGEST_NM:g} nm: is it nm?")
    spacing = band_spacing(centre)
    if fwhm_nm is None:
        return centre, spacing
    fwhm = np.asarray(fwhm_nm, dtype=np.float64)
    if fwhm.shape != centre.shape:
        raise ImagingError(f"the HSI has {centre.size} wavelengths and {fwhm.size} FWHM")
    return centre, np.where(np.isfinite(fwhm) & (fwhm > 0), fwhm, spacing)


def band_spacing(centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance from each band to its nearer neighbour in wavelength, at most four times the median, shape (C,)."""
    order = np.argsort(centre)
    step = np.diff(centre[order])
    if not step.size:
        return np.full(1, 10.0)
    step = np.minimum(np.maximum(step, 1e-3), 4 * max(float(np.median(step)), 1e-3))
    spacing = np.empty_like(centre)
    spacing[order] = np.minimum(np.append(step, np.inf), np.insert(step, 0, np.inf))
    return spacing


def band_edges(
    centre: NDArray[np.float64],
    fwhm: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """From where to where each band stands for the spectrum: halfway to its neighbours, and not beyond its reach."""
    order = np.argsort(centre, kind="stable")
    middle = (centre[order][1:] + centre[order][:-1]) / 2
    reach = _REACH / 2 * np.maximum(fwhm, band_spacing(centre))
    low, high = np.empty_like(centre), np.empty_like(centre)
    low[order] = np.insert(middle, 0, -np.inf)
    high[order] = np.append(middle, np.inf)
    return np.maximum(low, centre - reach), np.minimum(high, centre + reach)


def averaged(
    grid: NDArray[np.float64],
    response: NDArray[np.float64],
    centre: NDArray[np.float64],
    fwhm: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Mean of each response (c, n) on an even grid under each HSI band's Gaussian, shape (c, C)."""
    step = grid[1] - grid[0]
    sigma = np.maximum(fwhm, step) / FWHM_PER_SIGMA
    gaussian = np.exp(-0.5 * ((grid[:, None] - centre) / sigma) ** 2) * step / (sigma * np.sqrt(2 * np.pi))
    return np.asarray(response @ gaussian, dtype=np.float64)
