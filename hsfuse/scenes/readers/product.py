"""What a reader makes of a product: something that opens as a raster, and the quality layers beside it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hsfuse.scenes.readers.quality import FlagLayer
    from hsfuse.scenes.readers.source import Source


@dataclass(frozen=True)
class BandRecord:
    """What a product says about one band."""

    description: str = ""
    """Its name, such as `B02`."""
    wavelength: float | None = None
    """Band centre in `units`."""
    fwhm: float | None = None
    """Full width at half maximum in `units`."""
    units: str = "Nanometers"
    """Of wavelength and width, as the product writes them."""
    good: bool = True
    """False where the product flags the band as bad."""
    scale: float = 1.0
    """Physical value = number in the file · scale + offset."""
    offset: float = 0.0
    """As above."""
    nodata: float | None = None
    """The number that stands for no data."""

    def tags(self) -> dict[str, str]:
        """The band tags that `read_bands` understands."""
        tags = {} if self.good else {"bbl": "0"}
        if self.wavelength is not None:
            tags |= {"wavelength": f"{self.wavelength:.10g}", "wavelength_units": self.units}
        if self.fwhm is not None:
            tags |= {"fwhm": f"{self.fwhm:.10g}", "fwhm_units": self.units}
        return tags


def records_of(
    common: BandRecord,
    centres: NDArray[np.float64] | None,
    widths: NDArray[np.float64] | None = None,
    good: NDArray[Any] | None = None,
    count: int | None = None,
) -> list[BandRecord]:
    """One record a band out of lists, each (C,) or None; a centre or width that is not above 0 says nothing.

    Args:
        common: What all bands share.
        centres: Wavelengths.
        widths: Full widths at half maximum.
        good: 0 for a bad band.
        count: Number of bands, where there are no wavelengths to count.
    """
    bands = range(count or (0 if centres is None else len(centres)))
    return [
        replace(
            common,
            wavelength=_above_zero(centres, band),
            fwhm=_above_zero(widths, band),
            good=good is None or bool(good[band] != 0),
        )
        for band in bands
    ]


def _above_zero(values: NDArray[np.float64] | None, band: int) -> float | None:
    return float(values[band]) if values is not None and values[band] > 0 else None


@dataclass(frozen=True)
class Product:
    """A product, found and understood."""

    source: Source
    """Its image."""
    flags: tuple[FlagLayer, ...] = ()
    """Its quality layers, none where it has none."""
    warnings: tuple[str, ...] = ()
    """Sentences for the user about what was taken and what was left."""
