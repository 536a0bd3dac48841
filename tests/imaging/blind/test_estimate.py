"""Blind estimation and misregistration: against the truth, on spoilt pairs, and where they must refuse."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from hsfuse.errors import ImagingError
from hsfuse.imaging import (
    ImagingModel,
    PointSpread,
    SpectralResponse,
    WaldPair,
    degrade,
    estimate_imaging,
    load_srf,
    measure_shift,
)
from hsfuse.imaging.blind.samples import KernelBasis

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


@pytest.mark.parametrize(
    ("sensor", "ratio", "fwhm", "angle", "shift"),
    [
        ("sentinel-2a", 3, 1.0, 0.0, (0.4, -0.3)),
        ("landsat-8", 4, (1.4, 0.8), 30.0, (-0.9, 0.2)),
        ("worldview-2", 6, (0.8, 1.2), 0.0, (1.0, 1.0)),
        ("ikonos", 10, 0.9, 0.0, (0.0, 0.25)),
    ],
)
def test_the_truth_is_found(
    sensor: str,
    ratio: int,
    fwhm: float | tuple[float, float],
    angle: float,
    shift: tuple[float, float],
    make_pair: Callable[..., WaldPair],
    angles: Callable[..., NDArray[np.float64]],
    wavelength: NDArray[np.float64],
) -> None:
    truth = load_srf(sensor, wavelength).response
    pair = make_pair(truth, ratio, fwhm, shift, angle=angle)
    found = estimate_imaging([pair], ratio, wavelength, msi_bands=truth.msi_bands)
    assert found.model.psf.fwhm == pytest.approx(pair.model.psf.fwhm, rel=0.1)
    assert found.model.shift == pytest.approx(shift, abs=0.1)
    assert (found.shift.x, found.shift.y) == pytest.approx(shift, abs=0.15)
    assert angles(found.model.srf.matrix, truth.matrix).mean() < 10
    assert found.left_out == ()
    assert found.model.srf.msi_bands == truth.msi_bands
    assert found.radiometry.gain == pytest.approx(np.ones(len(truth.msi_bands)), abs=0.05)


def test_bands_of_no_known_sensor_are_found(
    make_pair: Callable[..., WaldPair], angles: Callable[..., NDArray[np.float64]], wavelength: NDArray[np.float64]
) -> None:
    truth = SpectralResponse.from_gaussians([500, 600, 720, 1000], [120, 90, 100, 200], wavelength)
    found = estimate_imaging([make_pair(truth)], 3, wavelength)
    assert found.sensor == ""
    assert angles(found.model.srf.matrix, truth.matrix).mean() < 15


def test_known_centres_and_widths_confine_the_rows(
    make_pair: Callable[..., WaldPair], angles: Callable[..., NDArray[np.float64]], wavelength: NDArray[np.float64]
) -> None:
    centre, width = np.array([500.0, 600, 720, 1000]), np.array([120.0, 90, 100, 200])
    truth = SpectralResponse.from_gaussians(centre, width, wavelength)
    pair = make_pair(truth)
    known = estimate_imaging([pair], 3, wavelength, msi_wavelength_nm=centre, msi_fwhm_nm=width)
    assert np.abs(known.model.srf.matrix @ wavelength - centre).max() < 40
    assert angles(known.model.srf.matrix, truth.matrix).mean() < 12


def test_other_units_come_out_as_gain_and_offset(
    make_pair: Callable[..., WaldPair],
    spoil: Callable[[WaldPair], Any],
    wavelength: NDArray[np.float64],
) -> None:
    patch = spoil(make_pair(load_srf("sentinel-2a", wavelength).response, 3, 1.1, (0.3, 0.0)))
    patch.msi = patch.msi * 2000 + 100
    found = estimate_imaging([patch], 3, wavelength)
    assert found.radiometry.gain == pytest.approx(np.full(4, 2000), rel=0.05)
    assert found.radiometry.offset == pytest.approx(np.full(4, 100), abs=25)
    assert found.model.psf.fwhm == pytest.approx((1.1, 1.1), rel=0.1)
    assert found.model.srf.matrix.sum(axis=1) == pytest.approx(1)


def test_it_works_without_wavelengths(
    make_pair: Callable[..., WaldPair], angles: Callable[..., NDArray[np.float64]], wavelength: NDArray[np.float64]
) -> None:
    truth = load_srf("sentinel-2a", wavelength).response
    found = estimate_imaging([make_pair(truth, 3, 1.2, (-0.5, 0.5))], 3)
    assert found.model.psf.fwhm == pytest.approx((1.2, 1.2), rel=0.1)
    assert found.model.shift == pytest.approx((-0.5, 0.5), abs=0.1)
    assert found.model.srf.hsi_wavelength_nm is None
    assert angles(found.model.srf.matrix, truth.matrix).mean() < 45  # confined, if not sharp


def test_noise_in_the_msi_does_not_widen_the_blur(
    make_reference: Callable[..., NDArray[np.float32]], wavelength: NDArray[np.float64]
) -> None:
    # Low contrast, so that the noise is a good part of the MSI's variance.
    image = 0.3 + 0.3 * (make_reference(150) - 0.3)
    srf = load_srf("sentinel-2a", wavelength).response
    model = ImagingModel(srf, PointSpread.gaussian(3, 1.0))
    pair = degrade(image, model, snr_hsi=40, snr_msi=25)
    found = estimate_imaging([pair], 3, wavelength, srf=srf)
    assert found.model.psf.fwhm == pytest.approx(model.psf.fwhm, rel=0.035)


def test_what_is_given_is_kept(make_pair: Callable[..., WaldPair], wavelength: NDArray[np.float64]) -> None:
    truth = load_srf("landsat-8", wavelength).response
    pair = make_pair(truth, 3, (1.3, 0.9), (0.2, -0.6))
    by_srf = estimate_imaging([pair], 3, wavelength, srf=truth)
    assert by_srf.model.srf is truth
    assert by_srf.model.psf.fwhm == pytest.approx(pair.model.psf.fwhm, rel=0.05)
    by_psf = estimate_imaging([pair], 3, wavelength, psf=pair.model.psf)
    assert by_psf.model.psf is pair.model.psf
    assert by_psf.model.shift == pytest.approx((0.2, -0.6), abs=0.05)


def test_msi_bands_that_the_hsi_does_not_see_are_left_out(
    make_pair: Callable[..., WaldPair], spoil: Callable[[WaldPair], Any], wavelength: NDArray[np.float64]
) -> None:
    srf = load_srf("landsat-8:B2,B3,B4,B5,B6,B7", wavelength).response
    patch = spoil(make_pair(srf))
    visible = wavelength < 950
    patch.hsi = patch.hsi[visible]
    found = estimate_imaging([patch], 3, wavelength[visible], msi_bands=srf.msi_bands)
    assert found.left_out == ("B6", "B7")
    assert found.msi_index == (0, 1, 2, 3)
    (told,) = (warning for warning in found.warnings if "B6" in warning)
    assert re.fullmatch(r"MSI band B6 is left out: the HSI explains [\d.]+% of it, and 9\d\.\d% of others", told)


@pytest.mark.parametrize("case", ["cloud in the HSI", "cloud in the MSI", "changed field", "NaN stripes"])
def test_what_spoils_part_of_the_scene_does_not_bend_the_answer(
    case: str, make_pair: Callable[..., WaldPair], spoil: Callable[[WaldPair], Any], wavelength: NDArray[np.float64]
) -> None:
    pair = make_pair(load_srf("sentinel-2a", wavelength).response, 3, 1.2, (0.3, -0.4), edge=150)
    patch = spoil(pair)
    if case == "cloud in the HSI":
        texture = ndimage.gaussian_filter(np.random.default_rng(1).standard_normal((50, 25)), 2)
        patch.hsi[:, :, :25] = 0.8 * (1 + texture)
    elif case == "cloud in the MSI":
        patch.msi[:, :, :75] = 1.0
    elif case == "changed field":
        patch.msi[:, 30:80, 30:90] = 1.4 * patch.msi[:, 30:80, 30:90][:, ::-1]
    else:
        patch.msi[:, :, ::20] = np.nan
        patch.hsi[:, ::11] = np.nan
    found = estimate_imaging([patch], 3, wavelength)
    assert found.model.psf.fwhm == pytest.approx(pair.model.psf.fwhm, rel=0.1)
    assert found.model.shift == pytest.approx((0.3, -0.4), abs=0.1)
    assert np.isfinite(found.model.srf.matrix).all()
    assert (found.shift.x, found.shift.y) == pytest.approx((0.3, -0.4), abs=0.15)
    if case.startswith("cloud"):
        assert found.differing > 0.2


def test_two_different_places_are_refused(
    make_pair: Callable[..., WaldPair], spoil: Callable[[WaldPair], Any], wavelength: NDArray[np.float64]
) -> None:
    srf = load_srf("sentinel-2a", wavelength).response
    here, elsewhere = spoil(make_pair(srf, seed=0)), make_pair(srf, seed=5)
    here.msi = elsewhere.msi
    with pytest.raises(ImagingError, match=r"does not agree.*same place"):
        estimate_imaging([here], 3, wavelength)


def test_noise_alone_speaks_against_nothing(
    make_pair: Callable[..., WaldPair], spoil: Callable[[WaldPair], Any], wavelength: NDArray[np.float64]
) -> None:
    patch = spoil(make_pair(load_srf("sentinel-2a", wavelength).response))
    random = np.random.default_rng(0)
    patch.hsi = (0.3 + 0.01 * random.standard_normal(patch.hsi.shape)).astype(np.float32)
    patch.msi = (0.3 + 0.01 * random.standard_normal(patch.msi.shape)).astype(np.float32)
    found = estimate_imaging([patch], 3, wavelength)
    assert "too little detail in common" in found.warnings[0]
    assert found.model.shift == (0.0, 0.0)


def test_a_pair_without_a_valid_pixel_is_refused(
    make_pair: Callable[..., WaldPair], spoil: Callable[[WaldPair], Any], wavelength: NDArray[np.float64]
) -> None:
    patch = spoil(make_pair(load_srf("sentinel-2a", wavelength).response))
    patch.hsi_valid[:] = False
    with pytest.raises(ImagingError, match="0 HSI pixels"):
        estimate_imaging([patch], 3, wavelength)


def test_several_patches_are_looked_at_together(
    make_pair: Callable[..., WaldPair], wavelength: NDArray[np.float64]
) -> None:
    srf = load_srf("sentinel-2a", wavelength).response
    patches = [make_pair(srf, 3, 1.1, (0.4, 0.1), edge=60, seed=seed) for seed in range(4)]
    found = estimate_imaging(patches, 3, wavelength)
    assert found.model.shift == pytest.approx((0.4, 0.1), abs=0.05)
    assert set(found.shift.cells[:, 0]) <= {0.0, 1.0, 2.0, 3.0}
    assert len(found.shift.cells) >= 4


def test_shift_is_measured_per_cell(
    make_reference: Callable[..., NDArray[np.float32]], wavelength: NDArray[np.float64]
) -> None:
    # The left half of the HSI looks 0.5 pixels further to the right than the right half.
    srf, psf = load_srf("sentinel-2a", wavelength).response, PointSpread.gaussian(3, 1.0)
    image = make_reference(192)
    left, right = (degrade(image, ImagingModel(srf, psf, (x, 0.0)), snr_hsi=35) for x in (0.8, 0.3))
    half = left.hsi.shape[2] // 2
    left.hsi[:, :, half:] = right.hsi[:, :, half:]
    found = measure_shift([left], ImagingModel(srf, psf))
    columns, x = found.cells[:, 1], found.cells[:, 3]
    assert np.median(x[columns < half - 8]) == pytest.approx(0.8, abs=0.1)
    assert np.median(x[columns > half + 8]) == pytest.approx(0.3, abs=0.1)
    assert found.spread > 0.1


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 20), st.floats(0.8, 1.4), st.floats(0.8, 1.4), st.floats(0, 180), st.floats(-0.5, 0.5))
def test_the_kernel_basis_holds_every_usual_blur(
    ratio: int, wide: float, high: float, angle: float, shift: float
) -> None:
    basis = KernelBasis.of(ratio)
    kernel = PointSpread.gaussian(ratio, (wide, high), angle=angle, shift=(shift, -shift), taps=basis.taps).kernel
    again = basis.kernel(basis.coefficients(kernel))
    assert np.abs(again - kernel).max() < 0.01 * kernel.max()
