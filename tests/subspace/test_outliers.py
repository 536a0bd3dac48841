"""What no statistic may stand on is found, and what is only rare is kept."""

import pytest
import torch

from hsfuse.imaging import ImagingModel, PointSpread, SpectralResponse
from hsfuse.subspace.outliers import PlausibleRange, screened
from hsfuse.subspace.patch import PairPatch


def pair(noise=0.003):
    """Three materials seen by 12 HSI and 2 MSI bands at ratio 3, and the model."""
    generator = torch.Generator().manual_seed(0)
    spectra = 0.2 + 0.6 * torch.rand(12, 3, generator=generator)
    maps = torch.rand(3, 10, 10, generator=generator).repeat_interleave(9, 1).repeat_interleave(9, 2)
    truth = torch.einsum("cm,mhw->chw", spectra, maps / maps.sum(dim=0))
    matrix = torch.zeros(2, 12)
    matrix[0, 2:5] = matrix[1, 7:10] = 1 / 3
    model = ImagingModel(SpectralResponse(matrix.double().numpy(), ("a", "b")), PointSpread.gaussian(3, 1.0))
    hsi, msi = model.blur(truth), model.srf.project(truth)
    hsi = hsi + noise * torch.randn(hsi.shape, generator=generator)
    return hsi, 3 * msi + 0.1, model


def test_a_clean_pair_is_left_as_it_is():
    hsi, msi, model = pair()
    (patch,) = screened([PairPatch.all_valid(hsi, msi)], model)
    assert patch.hsi_valid.all()
    assert patch.msi is msi


def test_a_bright_roof_that_both_images_see_is_kept():
    hsi, msi, model = pair()
    bright = torch.zeros_like(msi[0])
    bright[30:33, 30:33] = 1.0
    msi = msi + 3 * bright
    hsi = hsi + model.blur(bright[None])
    (patch,) = screened([PairPatch.all_valid(hsi, msi)], model)
    assert patch.hsi_valid.all()


@pytest.mark.parametrize("value", [0.0, 0.9, -9999.0, 65.535])
def test_hsi_pixels_that_the_msi_does_not_know_are_left_out(value):
    hsi, msi, model = pair()
    hsi[:, 7, 5] = value
    (patch,) = screened([PairPatch.all_valid(hsi, msi)], model)
    assert not patch.hsi_valid[7, 5]
    assert int((~patch.hsi_valid).sum()) == 1


@pytest.mark.parametrize("value", [0.0, -9999.0, 65.535])
def test_fine_pixels_of_garbage_are_filled_and_cost_no_hsi_pixel(value):
    hsi, msi, model = pair()
    msi[:, 31, 40] = value
    (patch,) = screened([PairPatch.all_valid(hsi, msi)], model)
    assert (patch.msi[:, 31, 40] - msi[:, 31, 39]).abs().max() < 0.5
    assert patch.hsi_valid.float().mean() > 0.99


def test_screening_is_done_once():
    hsi, msi, model = pair()
    patches = screened([PairPatch.all_valid(hsi, msi)], model)
    assert screened(patches, model)[0] is patches[0]


def test_zeros_belong_to_a_scene_of_dark_water():
    image = torch.rand(3, 20, 20)
    image[:, :5] = 0
    ranges = PlausibleRange.of(image.flatten(1).T)
    assert not ranges.absurd(image).any()
    assert ranges.mended(image) is image


def test_an_absurd_pixel_is_mended_from_those_about_it():
    image = torch.linspace(0.2, 0.6, 400).reshape(1, 20, 20).repeat(2, 1, 1)
    broken = image.clone()
    broken[:, 8, 9] = 1e6
    mended = PlausibleRange.of(image.flatten(1).T).mended(broken)
    assert (mended - image).abs().max() < 0.03
