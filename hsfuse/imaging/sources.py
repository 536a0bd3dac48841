"""Where a spectral response or a point spread comes from when it is given and not estimated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hsfuse.errors import ImagingError
from hsfuse.imaging.model import ImagingModel, read_small_text
from hsfuse.imaging.psf import PointSpread, check_kernel_edge
from hsfuse.imaging.srf import SpectralResponse
from hsfuse.imaging.tables import parse_sensor
from hsfuse.spelling import did_you_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TOLERANCE_NM = 1.0


@dataclass(frozen=True)
class LoadedSrf:
    """R from a sensor's name or a file, and what of it fits the HSI."""

    response: SpectralResponse
    """R, one row for each MSI band that the HSI sees."""

    msi_index: tuple[int, ...]
    """Which of the source's bands (0-based, in the order asked for) have a row."""

    left_out: tuple[str, ...]
    """Names of the source's bands that the HSI does not see: worth a warning."""

    @property
    def source_bands(self) -> int:
        """How many bands the source has, kept and left out."""
        return len(self.msi_index) + len(self.left_out)


def load_srf(
    source: str,
    hsi_wavelength_nm: NDArray[np.float64] | None = None,
    hsi_fwhm_nm: NDArray[np.float64] | None = None,
) -> LoadedSrf:
    """R of `sentinel-2a`, `sentinel-2a:B2,B3`, a `.json` of `hsfuse estimate`, or a table (`.csv`, `.txt`).

    Args:
        source: What to load; a table's path may choose bands, as a sensor's name.
        hsi_wavelength_nm: The HSI's band centres in nm, shape (C,), not sorted; needed by tables.
        hsi_fwhm_nm: Their full widths at half maximum in nm.

    Raises:
        ImagingError: The source is unknown, unreadable or does not fit the HSI, or a table lacks the wavelengths.
    """
    if source.lower().endswith(".json"):
        response = _for_bands(ImagingModel.load(source).srf, hsi_wavelength_nm, source)
        return LoadedSrf(response, tuple(range(len(response.msi_bands))), ())
    table = parse_sensor(source)
    if hsi_wavelength_nm is None:
        raise ImagingError(
            f"the SRF {source} needs the HSI's wavelengths, which its file does not give: add them, or use "
            "`srf=estimate`",
        )
    response, coverage = SpectralResponse.from_table(table, hsi_wavelength_nm, hsi_fwhm_nm)
    return LoadedSrf(response, coverage.kept, coverage.left_out)


def load_psf(source: str, ratio: int) -> PointSpread:
    """B's kernel of `gaussian:FWHM`, `gaussian:FX,FY` (HSI pixels), a `.json` of `hsfuse estimate`, or a `.csv`.

    A `.csv` holds the kernel's weights, one line a row, in MSI pixels; it is normalised to sum 1.

    Raises:
        ImagingError: The source is unknown, unreadable, or made for another ratio.
    """
    kind, _, widths = source.partition(":")
    if kind.lower() == "gaussian":
        try:
            return PointSpread.gaussian(ratio, _widths(widths, source))
        except ImagingError as error:
            raise ImagingError(f"{source}: {str(error).removeprefix(f'{source}: ')}") from error
    if source.lower().endswith(".json"):
        psf = ImagingModel.load(source).psf
        if psf.ratio != ratio:
            raise ImagingError(f"{source}: its PSF is for ratio {psf.ratio}, the pair has ratio {ratio}")
        return psf
    return _kernel_file(Path(source), ratio)


def _for_bands(
    response: SpectralResponse,
    wavelength_nm: NDArray[np.float64] | None,
    source: str,
) -> SpectralResponse:
    """Check that the file's HSI bands are those at hand; where both know wavelengths, pick the file's by them."""
    if wavelength_nm is None or response.hsi_wavelength_nm is None:
        return response
    wanted = np.asarray(wavelength_nm, dtype=np.float64)
    distance = np.abs(response.hsi_wavelength_nm[None, :] - wanted[:, None])
    if wanted.size == response.matrix.shape[1] and np.diagonal(distance).max() <= _TOLERANCE_NM:
        return response
    nearest = distance.argmin(axis=1)
    if distance.min(axis=1).max() > _TOLERANCE_NM or np.unique(nearest).size < wanted.size:
        raise ImagingError(
            f"{source}: its SRF is for other HSI bands ({response.matrix.shape[1]} of them) than the "
            f"{wanted.size} at hand",
        )
    matrix = response.matrix[:, nearest]
    total = matrix.sum(axis=1, keepdims=True)
    lost = [name for name, kept in zip(response.msi_bands, total[:, 0], strict=True) if kept < 0.5]
    if lost:
        raise ImagingError(f"{source}: the HSI bands at hand lack most of what MSI band {', '.join(lost)} sees")
    return SpectralResponse(matrix / total, response.msi_bands, wanted)


def _widths(text: str, source: str) -> tuple[float, float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) not in {1, 2} or not all(0 < value < np.inf for value in values):
        raise ImagingError(f"{source}: expected gaussian:FWHM or gaussian:FX,FY in HSI pixels, such as gaussian:1.0")
    return values[0], values[-1]


def _kernel_file(path: Path, ratio: int) -> PointSpread:
    if not path.is_file():
        near = did_you_mean(path.name.partition(":")[0], ("gaussian",))
        known = "gaussian:FWHM, a .json of hsfuse estimate or a .csv kernel"
        raise ImagingError(f"{path}: no such PSF{near}; it is {known}")
    lines = read_small_text(path, "array of a PSF's weights").splitlines()
    rows = [line.replace(",", " ").replace(";", " ") for line in lines if line.strip() and not line.startswith("#")]
    try:
        check_kernel_edge(max(len(rows), len(rows[0].split()) if rows else 0), ratio)
        kernel = np.loadtxt(rows, dtype=np.float64, ndmin=2, comments="#") if rows else np.empty((0, 0))
    except ImagingError as error:
        raise ImagingError(f"{path}: {error}") from error
    except (OSError, ValueError) as error:
        raise ImagingError(f"{path}: cannot be read as a PSF kernel ({error})") from error
    if not kernel.size or not np.isfinite(kernel).all() or kernel.min() < 0 or kernel.sum() <= 0:
        raise ImagingError(f"{path}: a PSF kernel holds non-negative numbers with a positive sum")
    try:
        return PointSpread(kernel / kernel.sum(), ratio)
    except ImagingError as error:
        raise ImagingError(f"{path}: {error}") from error
