"""How far a network's correction is trusted: known factors, and what a scene's noise does to them."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hsfuse.classical import Bayes
from hsfuse.fusion.methods import choose_method
from hsfuse.fusion.trust import calibrated_trust, least_squares_trust
from hsfuse.imaging import ImagingModel, PointSpread, SpectralResponse, degrade
from hsfuse.pairs.wald_level import WaldBlock

from .conftest import textured

BANDS, K, RATIO = 24, 6, 3


def simulated(rows=30, snr=None, seed=0):
    """A pair with its truth, and the estimate of the scene that a network would correct."""
    nm = np.linspace(450, 900, BANDS)
    srf = SpectralResponse.from_gaussians([490, 560, 665, 842], [66, 36, 31, 106], nm)
    truth = textured(rows * RATIO, rows * RATIO, BANDS, seed)
    model = ImagingModel(srf, PointSpread.gaussian(RATIO, 1.0))
    block = WaldBlock.of(degrade(truth, model, snr_hsi=snr, snr_msi=None if snr is None else snr + 5, seed=seed))
    return block, model, Bayes.fit([block.patch], model, K)


@pytest.mark.parametrize(
    ("overdone", "trust"), [(1.0, 1.0), (2.0, 0.5), (4.0, 0.25), (0.5, 1.0), (20.0, 0.0), (-1.0, 0.0)]
)
def test_a_correction_that_overdoes_is_shrunk_to_what_is_right(overdone, trust):
    """Of `overdone` times the step to the truth's coefficients 1 / `overdone` is right, and never more than all."""
    block, _, estimate = simulated()

    def correct(linear_model, inputs):
        # what the decoded image misses, in coefficients: adding all of it is the best that coefficients can do
        missed = block.truth - linear_model.decode(inputs.initial, inputs, block.patch.hsi)
        step = torch.einsum("ck,chw->khw", linear_model.subspace.basis / linear_model.subspace.scale[:, None], missed)
        return inputs.initial + overdone * step

    bands_outside = 1e-3  # of the error lies outside of the subspace
    assert least_squares_trust(correct, estimate, [block]) == pytest.approx(trust, abs=bands_outside + 0.03)


def test_a_correction_that_is_noise_is_not_trusted():
    block, model, estimate = simulated()

    def correct(linear_model, inputs):
        generator = torch.Generator().manual_seed(1)
        noise = torch.randn(inputs.initial.shape, generator=generator)
        return inputs.initial + linear_model.prediction.residual[:, None, None] * noise

    assert least_squares_trust(correct, estimate, [block]) < 0.02
    assert calibrated_trust(correct, [block.patch], model, K) < 0.05


def test_the_noise_that_degrading_takes_is_restored_before_trust_is_fitted():
    """Smoothing pays where there is noise. One level down a noisy pair would look calm, and smoothing like harm."""

    def smooth(linear_model, inputs):
        padded = F.pad(inputs.initial[None], (1, 1, 1, 1), mode="replicate")
        return F.avg_pool2d(padded, 3, 1)[0]

    noisy, model, estimate = simulated(rows=60, snr=12)
    calm, calm_model, _ = simulated(rows=36)
    right = least_squares_trust(smooth, estimate, [noisy])
    assert right > 0.3
    assert calibrated_trust(smooth, [noisy.patch], model, K) == pytest.approx(right, abs=0.25)
    assert calibrated_trust(smooth, [calm.patch], calm_model, K) < 0.2


def test_a_network_is_calibrated_on_the_scene_that_it_is_fitted_to():
    """The bundled network keeps some of its correction on a scene, and of nonsense none: the fit is what decides."""
    block, model, _ = simulated()
    fitted = choose_method("mgdunlss").method.fit([block.patch], model)
    assert 0 <= fitted.trust <= 1
    assert fitted.trust == pytest.approx(
        calibrated_trust(fitted.correction, [block.patch], model, fitted.correction.coefficients), abs=1e-6
    )
