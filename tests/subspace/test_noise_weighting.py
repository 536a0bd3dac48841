"""The low-resolution error of the linear prediction is weighed by what of it is signal, before it is upsampled."""

from dataclasses import replace

import torch

from hsfuse.imaging import ImagingModel, PointSpread, SpectralResponse, degrade
from hsfuse.pairs.wald_level import WaldBlock
from hsfuse.subspace.linear_model import LinearModel

from ..fusion.conftest import textured


def psnr(linear_model, block):
    inputs = linear_model.inputs(block.patch.hsi, block.patch.msi)
    fused = linear_model.decode(inputs.initial, inputs, block.patch.hsi)
    error = ((fused - block.truth) ** 2).mean(dim=(1, 2))
    return float((10 * torch.log10(block.truth.amax(dim=(1, 2)) ** 2 / error)).mean())


def test_the_noise_in_the_low_resolution_error_is_not_upsampled():
    model = ImagingModel(
        SpectralResponse.from_gaussians([490, 560, 665, 842], [66, 36, 31, 106], torch.linspace(450, 900, 24).numpy()),
        PointSpread.gaussian(3, 1.0),
    )
    block = WaldBlock.of(degrade(textured(90, 90), model, snr_hsi=20, snr_msi=35))
    linear_model = LinearModel.fit([block.patch], model, 10)
    careless = replace(linear_model, prediction=replace(linear_model.prediction, keep=torch.ones(linear_model.size)))
    assert psnr(linear_model, block) > psnr(careless, block) + 0.1
    assert bool((linear_model.prediction.keep < 0.9).any())
