"""The spectral subspace: exact where it can be, and deaf to noise and holes."""

import numpy as np
import pytest
import torch

from hsfuse.errors import SceneError
from hsfuse.imaging import ImagingModel, PointSpread, SpectralResponse, degrade, upsample
from hsfuse.subspace.basis import SpectralSubspace
from hsfuse.subspace.linear_model import LinearModel
from hsfuse.subspace.patch import PairPatch

RATIO = 3


def mixed_scene(rows=60, columns=60, bands=40, members=4, seed=0):
    """Linear mixtures of a few smooth spectra, (bands, rows, columns)."""
    generator = np.random.default_rng(seed)
    spectra = np.cumsum(generator.normal(size=(members, bands)), axis=1)
    spectra = 0.2 + 0.6 * (spectra - spectra.min()) / np.ptp(spectra)
    maps = generator.normal(size=(members, rows // 6, columns // 6))
    maps = np.exp(upsample(torch.from_numpy(maps), 6).numpy())
    maps *= np.exp(0.3 * generator.normal(size=maps.shape))
    return np.einsum("kb,khw->bhw", spectra, maps / maps.sum(axis=0)).astype(np.float32)


def simulated(image, snr=None, bands=(4, 10, 20, 30)):
    matrix = np.zeros((len(bands), len(image)))
    for row, band in enumerate(bands):
        matrix[row, band - 2 : band + 3] = 0.2
    model = ImagingModel(SpectralResponse(matrix, tuple("abcdefgh"[: len(bands)])), PointSpread.gaussian(RATIO, 1.0))
    wald = degrade(image, model, snr_hsi=snr, snr_msi=snr)
    return torch.from_numpy(wald.hsi), torch.from_numpy(wald.msi), torch.from_numpy(wald.reference), model


def psnr(image, truth):
    error = ((image - truth) ** 2).mean(dim=(1, 2))
    return float((10 * torch.log10(truth.amax(dim=(1, 2)) ** 2 / error)).mean())


def test_as_many_members_as_msi_bands_are_recovered_exactly():
    hsi, msi, truth, model = simulated(mixed_scene())
    linear_model = LinearModel.fit([PairPatch.all_valid(hsi, msi)], model)
    inputs = linear_model.inputs(hsi, msi)
    assert psnr(linear_model.decode(inputs.initial, inputs, hsi), truth) > 55


def test_noise_costs_less_than_it_would_if_it_were_upsampled():
    hsi, msi, truth, model = simulated(mixed_scene(), snr=25)
    linear_model = LinearModel.fit([PairPatch.all_valid(hsi, msi)], model)
    inputs = linear_model.inputs(hsi, msi)
    fused = linear_model.decode(inputs.initial, inputs, hsi)
    careless = fused + upsample(hsi - linear_model.subspace.decode(inputs.hsi), RATIO)
    assert psnr(fused, truth) > psnr(careless, truth) + 3


def test_a_rare_spectrum_outside_of_the_subspace_is_kept():
    image = mixed_scene()
    image[33, 27:33, 27:33] += 1.0  # one band only, in one place
    hsi, msi, _, model = simulated(image, snr=35)
    linear_model = LinearModel.fit([PairPatch.all_valid(hsi, msi)], model, size=4)
    inputs = linear_model.inputs(hsi, msi)
    fused = linear_model.decode(inputs.initial, inputs, hsi)
    assert float(fused[33, 28:32, 28:32].mean() - fused[32, 28:32, 28:32].mean()) > 0.6


def test_encode_and_decode_are_inverse_within_the_subspace():
    hsi, *_ = simulated(mixed_scene())
    subspace = SpectralSubspace.fit(hsi.flatten(1).T, 6)
    coefficients = subspace.encode(hsi)
    torch.testing.assert_close(subspace.encode(subspace.decode(coefficients)), coefficients, rtol=1e-3, atol=1e-2)
    basis = subspace.basis.T @ subspace.basis
    torch.testing.assert_close(basis, torch.eye(subspace.size), rtol=0, atol=1e-4)
    assert (subspace.basis.sum(dim=0) >= 0).all()


def test_invalid_pixels_do_not_enter_statistics():
    hsi, msi, _, model = simulated(mixed_scene())
    clean = LinearModel.fit([PairPatch.all_valid(hsi, msi)], model)
    valid, msi_valid = torch.ones(20, 20, dtype=torch.bool), torch.ones(60, 60, dtype=torch.bool)
    valid[:, 14:] = False
    sane = LinearModel.fit([PairPatch(hsi, valid, msi, msi_valid)], model)
    broken = hsi.clone()
    broken[:, :, 14:] = 1e6
    holed = LinearModel.fit([PairPatch(broken, valid, msi, msi_valid)], model)
    torch.testing.assert_close(holed.subspace.mean, sane.subspace.mean)
    torch.testing.assert_close(holed.subspace.basis, sane.subspace.basis)
    assert not torch.allclose(holed.subspace.mean, clean.subspace.mean)
    # a hole of the MSI takes the HSI pixels out whose PSF reaches into it
    msi_valid[30, 30] = False
    msi = msi.clone()
    msi[:, 30, 30] = 1e6
    assert (
        LinearModel.fit([PairPatch(hsi, torch.ones_like(valid), msi, msi_valid)], model).prediction.residual.max() < 1e3
    )


def test_mixing_is_what_the_msi_makes_of_coefficients():
    hsi, msi, truth, model = simulated(mixed_scene())
    msi = 3 * msi + 0.5  # other units than the HSI's
    linear_model = LinearModel.fit([PairPatch.all_valid(hsi, msi)], model, size=4)
    prediction = linear_model.prediction
    seen = torch.einsum("kj,jhw->khw", prediction.mixing, linear_model.subspace.encode(truth))
    seen += prediction.mixing_offset[:, None, None]
    error = (seen - prediction.predict(msi)).std() / prediction.predict(msi).std()
    assert error < 0.05


def test_units_do_not_matter():
    hsi, msi, _, model = simulated(mixed_scene(), snr=35)
    fused = []
    for scale in (1.0, 1e4):
        linear_model = LinearModel.fit([PairPatch.all_valid(hsi * scale, msi * scale)], model)
        inputs = linear_model.inputs(hsi * scale, msi * scale)
        fused.append(linear_model.decode(inputs.initial, inputs, hsi * scale) / scale)
    torch.testing.assert_close(fused[0], fused[1], rtol=1e-3, atol=1e-3)


def test_too_few_pixels_are_refused():
    hsi, msi, _, model = simulated(mixed_scene())
    with pytest.raises(SceneError, match="at least 8"):
        LinearModel.fit([PairPatch.all_valid(hsi[:, :2, :2], msi[:, :6, :6])], model)
