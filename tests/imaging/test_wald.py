"""Wald's protocol: the noise convention, phase, validity, and a level further down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from hsfuse.errors import ImagingError
from hsfuse.imaging import ImagingModel, PointSpread, SpectralResponse, degrade, degrade_pair

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

RGB = ((480.0, 560.0, 660.0), (60.0, 50.0, 40.0))


@pytest.fixture
def model(wavelength: NDArray[np.float64]) -> ImagingModel:
    return ImagingModel(SpectralResponse.from_gaussians(*RGB, wavelength), PointSpread.gaussian(3, 1.0))


def test_noise_is_that_of_the_protocol(make_reference: Callable[..., NDArray[np.float32]], model: ImagingModel) -> None:
    reference = make_reference(60)
    clean = degrade(reference, model)
    noisy = degrade(reference, model, snr_hsi=30, snr_msi=35, seed=7)
    random = np.random.default_rng(7)
    for image, spoilt, snr in ((clean.msi, noisy.msi, 35), (clean.hsi, noisy.hsi, 30)):
        sigma = np.sqrt(np.mean(image.astype(np.float64) ** 2) / 10 ** (snr / 10))
        np.testing.assert_allclose(spoilt, image + sigma * random.standard_normal(image.shape), atol=1e-5)


def test_the_pair_is_what_the_operators_make(
    make_reference: Callable[..., NDArray[np.float32]], model: ImagingModel
) -> None:
    reference = make_reference(61)
    pair = degrade(reference, model)
    assert pair.reference.shape[1:] == (60, 60)
    torch.testing.assert_close(torch.from_numpy(pair.hsi), model.blur(torch.from_numpy(pair.reference)))
    torch.testing.assert_close(torch.from_numpy(pair.msi), model.srf.project(torch.from_numpy(pair.reference)))


def test_gaps_stay_gaps_and_no_wider_than_the_pixels_they_touch(
    make_reference: Callable[..., NDArray[np.float32]], model: ImagingModel
) -> None:
    reference = make_reference(60)
    reference[4, 31, 18] = np.nan
    pair = degrade(reference, model, snr_hsi=40, snr_msi=40)
    assert np.isfinite(pair.hsi).all()
    assert np.isfinite(pair.msi).all()
    assert np.argwhere(~pair.hsi_valid).tolist() == [[10, 6]]
    assert np.argwhere(~pair.msi_valid).tolist() == [[31, 18]]
    assert pair.hsi[:, 10, 6].tolist() == [0.0] * len(pair.hsi)


def test_what_lies_beside_a_gap_does_without_it(model: ImagingModel) -> None:
    # Its fill must not be mixed into the mean: a constant image stays constant around its gaps.
    reference = np.full((102, 30, 30), 0.5, dtype=np.float32)
    reference[:, 10:13, 15] = np.nan
    pair = degrade(reference, model)
    np.testing.assert_allclose(pair.hsi[:, pair.hsi_valid], 0.5, rtol=1e-5)


def test_a_level_down_is_registered_whatever_the_shift(
    make_reference: Callable[..., NDArray[np.float32]], wavelength: NDArray[np.float64]
) -> None:
    srf = SpectralResponse.from_gaussians(*RGB, wavelength)
    model = ImagingModel(srf, PointSpread.gaussian(3, 1.0), (0.6, -0.4))
    pair = degrade(make_reference(108), model)
    level = degrade_pair(pair.hsi, pair.msi, model)
    assert level.model.shift == (0.0, 0.0)
    assert level.hsi.shape[1:] == (12, 12)
    np.testing.assert_array_equal(level.reference, pair.hsi)
    seen = srf.project(torch.from_numpy(level.reference)).numpy()
    np.testing.assert_allclose(level.msi[:, 2:-2, 2:-2], seen[:, 2:-2, 2:-2], atol=2e-3)


def test_sizes_that_do_not_fit_are_refused(
    make_reference: Callable[..., NDArray[np.float32]], model: ImagingModel
) -> None:
    with pytest.raises(ImagingError, match="the SRF is for 102 HSI bands"):
        degrade(make_reference(30)[:50], model)
    with pytest.raises(ImagingError, match="smaller than one HSI pixel"):
        degrade(make_reference(30)[:, :2, :2], model)
    pair = degrade(make_reference(30), model)
    with pytest.raises(ImagingError, match="do not differ by the ratio 3"):
        degrade_pair(pair.hsi, pair.msi[:, :29], model)
