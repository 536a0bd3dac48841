"""Pairs that tell little of their imaging model are fused with a usual one and a warning, not refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import ndimage

from hsfuse.errors import ImagingError
from hsfuse.imaging import ImagingModel, PointSpread, SpectralResponse, WaldPair, degrade, estimate_imaging, load_srf

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def plain_scene(kind: str, wavelength: NDArray[np.float64], edge: int = 150) -> NDArray[np.float32]:
    """A scene (C, edge, edge) with little in it."""
    random = np.random.default_rng(4)
    y, x = np.mgrid[:edge, :edge].astype(np.float64)
    smooth = ndimage.gaussian_filter(random.standard_normal((edge, edge)), 12)
    smooth /= smooth.std()
    if kind == "water":
        spectrum, field = 0.06 * np.exp(-(wavelength - 400) / 150), 1 + 0.01 * smooth
    elif kind == "desert":
        spectrum, field = 0.25 + 0.15 * (wavelength - 400) / 2000, 1 + 0.03 * smooth
    elif kind == "snow":
        spectrum, field = 0.95 / (1 + np.exp((wavelength - 1300) / 120)) + 0.02, 1 + 0.005 * smooth
    elif kind == "rows":
        spectrum, field = 0.1 + 0.3 / (1 + np.exp((710 - wavelength) / 20)), 1 + 0.3 * np.sign(np.sin(x / 6))
    else:
        spectrum = np.full(len(wavelength), 0.3) * (1 + (wavelength - 420) / 4000)
        field = 1 + 0.15 * (np.sin(x / 21) + np.cos(y / 27) + np.sin((x + y) / 9))
    return np.asarray(spectrum[:, None, None] * field, dtype=np.float32)


@pytest.mark.parametrize("told", [True, False], ids=["wavelengths known", "MSI wavelengths unknown"])
@pytest.mark.parametrize("kind", ["water", "desert", "snow", "rows", "waves"])
def test_scenes_with_little_in_them_are_not_refused(kind: str, told: bool, wavelength: NDArray[np.float64]) -> None:
    truth = ImagingModel(load_srf("sentinel-2a", wavelength).response, PointSpread.gaussian(3, 1.0))
    pair = degrade(plain_scene(kind, wavelength), truth, snr_hsi=35, snr_msi=40)
    centre = truth.srf.matrix @ wavelength if told else None
    width = np.array([66.0, 36, 31, 106]) if told else None
    found = estimate_imaging([pair], 3, wavelength, msi_wavelength_nm=centre, msi_fwhm_nm=width)
    assert found.warnings
    assert 0.5 < min(found.model.psf.fwhm) <= max(found.model.psf.fwhm) < 1.8
    assert np.hypot(*found.model.shift) < 0.6
    assert all(np.isfinite(list(found.quality.values())))
    if told:
        assert found.radiometry.gain == pytest.approx(np.ones(len(found.msi_index)), abs=0.2)
        assert np.abs(found.model.srf.matrix @ wavelength - centre[list(found.msi_index)]).max() < 60


@pytest.mark.parametrize("edge", [30, 18, 15])
def test_small_pairs_are_not_refused(
    edge: int, make_pair: Callable[..., WaldPair], wavelength: NDArray[np.float64]
) -> None:
    pair = make_pair(load_srf("sentinel-2a", wavelength).response, edge=edge)
    found = estimate_imaging([pair], 3, wavelength)
    assert len(found.msi_index) == 4
    assert np.hypot(*found.model.shift) < 0.5
    assert found.model.psf.fwhm == pytest.approx((1.0, 1.0), abs=0.2)
    if edge == 15:
        assert "too little detail" in found.warnings[0]


@pytest.mark.parametrize("image", ["hsi", "msi"])
def test_a_flat_image_is_refused_only_where_nothing_tells_its_bands(
    image: str, make_pair: Callable[..., WaldPair], spoil: Callable[[WaldPair], Any], wavelength: NDArray[np.float64]
) -> None:
    patch = spoil(make_pair(load_srf("sentinel-2a", wavelength).response))
    getattr(patch, image)[:] = 0.3
    centre, width = np.array([490.0, 560, 665, 842]), np.array([66.0, 36, 31, 106])
    found = estimate_imaging([patch], 3, wavelength, msi_wavelength_nm=centre, msi_fwhm_nm=width)
    assert f"the {image.upper()} is flat" in found.warnings[0]
    assert np.abs(found.model.srf.matrix @ wavelength - centre).max() < 15
    with pytest.raises(ImagingError, match=rf"the {image.upper()} is flat.*no wavelengths"):
        estimate_imaging([patch], 3)


def test_a_level_is_a_gain_where_the_units_differ(wavelength: NDArray[np.float64]) -> None:
    truth = ImagingModel(load_srf("sentinel-2a", wavelength).response, PointSpread.gaussian(3, 1.0))
    pair = degrade(np.full((len(wavelength), 60, 60), 0.2, np.float32), truth)
    patch = SimpleNamespace(hsi=pair.hsi, hsi_valid=pair.hsi_valid, msi=pair.msi * 10_000, msi_valid=pair.msi_valid)
    found = estimate_imaging([patch], 3, wavelength, srf=truth.srf)
    assert found.radiometry.gain == pytest.approx(np.full(4, 10_000), rel=0.01)


def test_what_is_given_stays_where_the_rest_is_assumed(
    make_pair: Callable[..., WaldPair], wavelength: NDArray[np.float64]
) -> None:
    srf, psf = load_srf("sentinel-2a", wavelength).response, PointSpread.gaussian(3, 1.3)
    pair = make_pair(srf, edge=15)
    assert estimate_imaging([pair], 3, wavelength, srf=srf).model.srf is srf
    assert estimate_imaging([pair], 3, wavelength, psf=psf).model.psf is psf


def test_unnamed_bands_are_called_by_their_number(
    make_pair: Callable[..., WaldPair], spoil: Callable[[WaldPair], Any], wavelength: NDArray[np.float64]
) -> None:
    srf = load_srf("landsat-8:B2,B3,B4,B5,B6,B7", wavelength).response
    patch = spoil(make_pair(srf))
    visible = wavelength < 950
    patch.hsi = patch.hsi[visible]
    found = estimate_imaging([patch], 3, wavelength[visible], msi_bands=("blue", "", "", "", "", " "))
    assert found.left_out == ("5", "6")
    assert any(warning.startswith("MSI band 6 is left out") for warning in found.warnings)
    assert found.model.srf.msi_bands == ("blue", "2", "3", "4")


def test_a_wavelength_outside_the_hsi_leaves_its_band_out(wavelength: NDArray[np.float64]) -> None:
    truth = SpectralResponse.from_gaussians([500, 600, 720], [90, 90, 90], wavelength)
    pair = degrade(np.full((len(wavelength), 60, 60), 0.2, np.float32), ImagingModel(truth, PointSpread.gaussian(3, 1)))
    near = wavelength < 690
    patch = SimpleNamespace(hsi=pair.hsi[near], hsi_valid=pair.hsi_valid, msi=pair.msi, msi_valid=pair.msi_valid)
    centre, width = np.array([500.0, 600, 780]), np.full(3, 90.0)
    found = estimate_imaging([patch], 3, wavelength[near], msi_wavelength_nm=centre, msi_fwhm_nm=width)
    assert found.msi_index == (0, 1)
    assert found.left_out == ("B3",)
    assert "MSI band B3 is left out: by its wavelength it sees nothing that the HSI covers" in found.warnings
