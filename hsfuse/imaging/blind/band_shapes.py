"""What rows of R look like: the candidates among which an MSI band's row is sought."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hsfuse.errors import ImagingError
from hsfuse.imaging.srf import (
    COVERED,
    FWHM_PER_SIGMA,
    SpectralResponse,
    averaged,
    band_edges,
    band_spacing,
    checked_bands,
)
from hsfuse.imaging.tables import TEN_METRE_BANDS, SensorTable, load_table, sensor_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_GRID_STEP = 2.0  # nm
_SHIFTS = np.arange(-20.0, 20.1, 5.0)  # nm, of a published band
_STRETCHES = np.geomspace(0.75, 1.33, 5)  # of its width
_SHIFT_SPREAD = 8.0  # nm
_STRETCH_SPREAD = 0.15  # of its logarithm
_WIDTHS = np.geomspace(12.0, 350.0, 16)  # nm at half maximum
_STEEPNESS = (2.0, 4.0, 8.0)  # exponents of a super-Gaussian: bell to box
_CENTRE_STEP = 6.0  # nm
_MOST_CENTRES = 600
_PUBLISHED_SHARE = 0.85  # of the prior; the rest is for sensors unlike any published one
_SEEN_SHARE = 0.5  # of a band's width must lie among the HSI's bands
_METADATA_SHARE = 0.8  # of the prior, for shapes of just the centre and width that are known
_STEPS_PER_BAND = 10.0  # stands for nm where the wavelengths are not known


@dataclass(frozen=True, eq=False)
class BandShapes:
    """Candidate rows of R over one HSI's bands, each with its prior probability, and whole sensors."""

    rows: NDArray[np.float64]
    """Candidates, shape (n, C), non-negative, each summing to 1."""

    log_prior: NDArray[np.float64]
    """Logarithm of each one's prior probability, shape (n,)."""

    sensors: dict[str, NDArray[np.float64]]
    """Rows of sensors as they are published, each (c, C); those whose number of bands fits are tried as a whole."""

    @classmethod
    def of(
        cls,
        bands: int,
        wavelength_nm: NDArray[np.float64] | None = None,
        fwhm_nm: NDArray[np.float64] | None = None,
        without: Sequence[str] = (),
    ) -> BandShapes:
        """The candidates over an HSI of so many bands, without what is known of the sensors named in `without`."""
        if wavelength_nm is None:
            position = np.arange(bands, dtype=np.float64) * _STEPS_PER_BAND
            rows = _geometric(position, band_spacing(position))
            return cls(rows, np.full(len(rows), -np.log(len(rows))), {})
        centre, fwhm = checked_bands(wavelength_nm, fwhm_nm)
        tables = [load_table(name) for name in sensor_names() if name not in without]
        free = _geometric(centre, fwhm)
        known, weight = _perturbed(tables, centre, fwhm)
        share = _PUBLISHED_SHARE if len(known) else 0.0
        prior = np.concatenate([(1 - share) * np.full(len(free), 1 / len(free)), share * weight])
        return cls(np.concatenate([free, known]), np.log(prior), _sensors(tables, centre, fwhm))

    def of_sensors_near(
        self, centre_nm: NDArray[np.float64], fwhm_nm: NDArray[np.float64], hsi_wavelength_nm: NDArray[np.float64]
    ) -> BandShapes:
        """The same without the sensors whose bands lie elsewhere than those whose centres and widths are known."""
        reach = np.maximum(0.5 * fwhm_nm, 15.0)
        sensors = {
            name: rows
            for name, rows in self.sensors.items()
            if len(rows) == len(centre_nm) and (np.abs(rows @ hsi_wavelength_nm - centre_nm) <= reach).all()
        }
        return replace(self, sensors=sensors)

    def near(self, centre_nm: float, fwhm_nm: float, hsi_wavelength_nm: NDArray[np.float64]) -> BandShapes:
        """Only the candidates about a band whose centre and width are known, and above all those of just these."""
        mean = self.rows @ hsi_wavelength_nm
        spread = np.sqrt(np.maximum(self.rows @ hsi_wavelength_nm**2 - mean**2, 0))
        near = (np.abs(mean - centre_nm) < max(0.25 * fwhm_nm, 8.0)) & (spread * FWHM_PER_SIGMA < 1.5 * fwhm_nm)
        spacing = band_spacing(hsi_wavelength_nm)
        exact = _super_gaussians(np.array([[centre_nm]]), fwhm_nm, hsi_wavelength_nm, spacing)
        if not near.any() and exact.sum() < _SEEN_SHARE * fwhm_nm * len(exact):
            return self
        exact /= np.maximum(exact.sum(axis=1, keepdims=True), 1e-300)
        prior = np.exp(self.log_prior[near])
        prior = (1 - _METADATA_SHARE) * prior / max(prior.sum(), 1e-300)
        metadata_prior = np.full(len(exact), _METADATA_SHARE / len(exact))
        rows = np.concatenate([exact, self.rows[near]])
        return replace(self, rows=rows, log_prior=np.log(np.maximum(np.concatenate([metadata_prior, prior]), 1e-300)))


def _geometric(centre: NDArray[np.float64], fwhm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Super-Gaussians exp(−ln 2 · |2 (λ − λ₀)/w|ᵖ) of every centre, width and steepness that the HSI covers."""
    step = max(_CENTRE_STEP, float(np.ptp(centre)) / _MOST_CENTRES)
    middle = np.arange(centre.min(), centre.max() + 1, step)[:, None]
    found = []
    for width in _WIDTHS:
        rows = _super_gaussians(middle, width, centre, fwhm)
        found.append(rows[rows.sum(axis=1) > _SEEN_SHARE * width])
    rows = np.concatenate(found)
    return np.asarray(rows / rows.sum(axis=1, keepdims=True), dtype=np.float64)


def _super_gaussians(
    middle: NDArray[np.float64],
    width: float,
    centre: NDArray[np.float64],
    fwhm: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Bands of one width about each middle (n, 1), of every steepness, over the HSI's bands: shape (3n, C), in nm."""
    low, high = band_edges(centre, fwhm)
    seen = np.sqrt(width**2 + fwhm**2)  # an HSI band's own width blurs the edges
    distance = np.minimum(np.abs(centre - middle) * 2 / seen, 20.0)
    return np.concatenate([np.exp(-np.log(2) * distance**power) * (high - low) for power in _STEEPNESS])


def _perturbed(
    tables: Sequence[SensorTable],
    centre: NDArray[np.float64],
    fwhm: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Every published band, somewhat moved and stretched, with its weight (summing to 1)."""
    low, high = band_edges(centre, fwhm)
    grid = np.arange(350.0, 2601.0, _GRID_STEP)
    inside = ((grid[:, None] >= low) & (grid[:, None] <= high)).any(axis=1)
    rows, weights = [], []
    for shift in _SHIFTS:
        for stretch in _STRETCHES:
            response = np.concatenate([_moved(table, grid, shift, stretch) for table in tables])
            total = np.maximum(response.sum(axis=1), 1e-12)
            row = averaged(grid, response, centre, fwhm) * (high - low)
            usable = (response[:, inside].sum(axis=1) / total >= COVERED) & (row.sum(axis=1) > 0)
            rows.append(row[usable] / row[usable].sum(axis=1, keepdims=True))
            distance = (shift / _SHIFT_SPREAD) ** 2 + (np.log(stretch) / _STRETCH_SPREAD) ** 2
            weights.append(np.full(int(usable.sum()), np.exp(-0.5 * distance)))
    weight = np.concatenate(weights)
    return np.concatenate(rows), weight / max(weight.sum(), 1e-300)


def _moved(table: SensorTable, grid: NDArray[np.float64], shift: float, stretch: float) -> NDArray[np.float64]:
    rows = [
        np.interp((grid - middle - shift) / stretch + middle, table.wavelength_nm, row, left=0, right=0)
        for middle, row in zip(table.centre_nm, table.response, strict=True)
    ]
    return np.stack(rows)


def _sensors(
    tables: Sequence[SensorTable],
    centre: NDArray[np.float64],
    fwhm: NDArray[np.float64],
) -> dict[str, NDArray[np.float64]]:
    """All bands of each sensor, and those of Sentinel-2 that come together."""
    found = {}
    for table in tables:
        choices = [("", table.bands)]
        if table.name.startswith("sentinel-2"):
            twenty = tuple(band for band in table.bands if band not in {"B1", "B9", "B10"})
            choices += [(" 10 m", TEN_METRE_BANDS), (" 10 and 20 m", twenty)]
        for label, bands in choices:
            try:
                response, _ = SpectralResponse.from_table(table.select(bands), centre, fwhm)
            except ImagingError:
                continue
            found[table.name + label] = response.matrix
    return found
