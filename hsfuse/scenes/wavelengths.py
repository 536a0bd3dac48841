"""Whether wavelengths can be those of an imager, and which of them are doubled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hsfuse.scenes.bands import band_list_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

# What an imager in reflected light or the thermal infrared can have, and how wide its bands may be.
_IMAGER_NM = (200.0, 20_000.0)
_WIDTH_NM = (0.01, 5_000.0)

# Relative.
_ONE_BAND = 0.01


def faults_of(wavelength: NDArray[np.float64] | None) -> list[str]:
    """What is wrong with wavelengths in nm, (C,), as sentences."""
    if wavelength is None or not np.isfinite(wavelength).any():
        return []
    known = wavelength[np.isfinite(wavelength)]
    odd = ~_plausible(known)
    if odd.mean() >= 0.5:
        possible = f"{_IMAGER_NM[0]:g} to {_IMAGER_NM[1]:g}"
        return [f"its wavelengths ({range_text(known)}) are not those of an imager ({possible} nm), so none are known"]
    if len(known) > 1 and _too_alike(known):
        return [f"its {len(known)} bands share {len(np.unique(known))} wavelength(s), so none are known"]
    sentences = []
    if odd.any():
        listed = band_list_text(_places_of(~_plausible(wavelength) & np.isfinite(wavelength)))
        sentences.append(f"the wavelengths of band(s) {listed} are not those of an imager: left out")
    again = _places_of(doubled(wavelength))
    if again:
        sentences.append(f"band(s) {band_list_text(again)} have the wavelength of an earlier one: left out")
    return sentences


def believable(
    wavelength: NDArray[np.float64] | None, fwhm: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """Wavelengths and widths in nm, (C,), that an imager can have, NaN for others; None where most are others."""
    if fwhm is not None:
        fwhm = np.where((fwhm >= _WIDTH_NM[0]) & (fwhm <= _WIDTH_NM[1]), fwhm, np.nan)
        fwhm = fwhm if mostly_known(fwhm) else None
    if wavelength is None:
        return None, fwhm
    known = wavelength[np.isfinite(wavelength)]
    if not len(known) or not _plausible(known).mean() > 0.5 or (len(known) > 1 and _too_alike(known)):
        return None, fwhm
    return np.where(_plausible(wavelength), wavelength, np.nan), fwhm


def differ(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Whether two lists of wavelengths, (C,), are of different bands: most of them are more than 1 % apart.

    Names round wavelengths, and the centres of a scene differ from those of its sensor: 842 and 832.8 nm are both
    Sentinel-2's band 8.
    """
    apart = np.abs(one / other - 1)
    apart = apart[np.isfinite(apart)]
    return bool(len(apart)) and bool(np.median(apart) > _ONE_BAND)


def range_text(wavelength: NDArray[np.float64]) -> str:
    """The least and the greatest wavelength for the user."""
    known = wavelength[np.isfinite(wavelength)]
    return f"{known.min():.4g} to {known.max():.4g} nm"


def _plausible(wavelength: NDArray[np.float64]) -> NDArray[np.bool_]:
    return (wavelength >= _IMAGER_NM[0]) & (wavelength <= _IMAGER_NM[1])


def _too_alike(known: NDArray[np.float64]) -> bool:
    return len(np.unique(known)) <= len(known) / 2


def doubled(wavelength: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Bands with exactly the wavelength of an earlier one."""
    first = np.unique(wavelength, return_index=True)[1]
    doubled = np.isfinite(wavelength)
    doubled[first] = False
    return doubled


def _places_of(mask: NDArray[np.bool_]) -> list[int]:
    return [int(place) for place in np.flatnonzero(mask)]


def mostly_known(values: NDArray[np.float64]) -> bool:
    """Whether at least half of some bands' values are known."""
    return bool(len(values)) and bool(np.isfinite(values).mean() >= 0.5)
