"""What lies beyond a scene's rim: whether it goes on, and how far HSI pixels that see it are to be trusted."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hsfuse.imaging import BlurDecimate, ImagingModel, PointSpread, SpectralResponse, degrade
from hsfuse.subspace.outliers import screened
from hsfuse.subspace.patch import PairPatch, usable_pixels
from hsfuse.subspace.rim import data_precision, rim_difference, step_variance

CUT, RATIO = 3, 3


def pair(*, cut_before: bool, edge: int = 16, fwhm: float = 1.0, snr: float = 35.0) -> tuple[PairPatch, ImagingModel]:
    """A textured scene under two MSI bands: cut out of a larger one before it was seen, or after."""
    generator = torch.Generator().manual_seed(3)
    fine = (edge + 2 * CUT) * RATIO
    maps = (
        torch.rand(4, fine, fine, generator=generator)
        + torch.rand(4, fine // 6, fine // 6, generator=generator)[:, torch.arange(fine) // 6 % (fine // 6)][
            ..., torch.arange(fine) // 6 % (fine // 6)
        ]
    )
    spectra = torch.rand(12, 4, generator=generator) + 0.2
    truth = torch.einsum("ck,khw->chw", spectra, maps).numpy()
    matrix = torch.zeros(2, 12)
    matrix[0, 1:5], matrix[1, 6:11] = 0.25, 0.2
    model = ImagingModel(SpectralResponse(matrix.numpy(), ("a", "b")), PointSpread.gaussian(RATIO, fwhm))
    coarse, within = slice(CUT, -CUT), slice(CUT * RATIO, -CUT * RATIO)
    if cut_before:
        truth = truth[:, within, within].copy()
    seen = degrade(truth, model, snr_hsi=snr, snr_msi=snr + 5)
    hsi, msi = torch.from_numpy(seen.hsi), torch.from_numpy(seen.msi)
    if not cut_before:
        hsi, msi = hsi[:, coarse, coarse], msi[:, within, within]
    return PairPatch.all_valid(hsi, msi), model


@pytest.mark.parametrize("fwhm", [1.0, 1.5])
@pytest.mark.parametrize("edge", [10, 24])
def test_ground_that_goes_on_is_told_from_a_replicated_edge(fwhm: float, edge: int) -> None:
    going_on, model = pair(cut_before=False, edge=edge, fwhm=fwhm)
    replicated, _ = pair(cut_before=True, edge=edge, fwhm=fwhm)
    assert 0.2 < rim_difference([going_on], model) <= 2
    assert rim_difference([replicated], model) == 0


def test_a_change_inside_the_scene_does_not_hide_what_the_rim_tells() -> None:
    going_on, model = pair(cut_before=False, edge=24)
    going_on.msi[:, 30:40, 30:40] *= 3
    assert screened([going_on], model)[0].beyond > 0


def test_where_nothing_can_tell_the_ground_goes_on() -> None:
    patch, model = pair(cut_before=True)
    nowhere = replace(patch, hsi_valid=torch.zeros_like(patch.hsi_valid))
    within = ImagingModel(model.srf, PointSpread.gaussian(RATIO, 0.2))
    assert rim_difference([nowhere], model) == 1
    assert rim_difference([patch], within) == 1


def test_a_replicated_edge_leaves_every_pixel_to_the_statistics() -> None:
    patch, model = pair(cut_before=True)
    assert usable_pixels(screened([patch], model)[0], model.blur).all()


def test_the_hsi_is_trusted_less_where_its_psf_reaches_beyond_and_nowhere_else() -> None:
    blur = BlurDecimate(PointSpread.gaussian(3, 1.0))
    noise, beyond = torch.tensor([0.5, 0.5]), torch.tensor([100.0, 0.0])
    precision = data_precision(noise, beyond, blur, torch.empty(6, 7))
    assert torch.equal(precision[:, 1:-1, 1:-1], torch.full((2, 4, 5), 2.0))
    assert torch.equal(precision[1], torch.full((6, 7), 2.0))
    share = blur.outside(6, 7)[0, 3]
    assert precision[0, 0, 3] == pytest.approx(float(1 / (0.5 + share**2 * 100)))
    assert precision[0, 0, 0] < precision[0, 0, 3] < 1


def test_the_variance_of_steps_is_that_of_the_ground_without_the_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    ramp = torch.stack([3.0 * torch.arange(200.0).expand(200, 200), torch.zeros(200, 200)])
    valid = torch.ones(200, 200, dtype=torch.bool)
    valid[50:60] = False
    noisy = ramp + 2 * torch.randn(ramp.shape, generator=generator)
    noisy[:, 50:60] = 1e6
    found = step_variance([(noisy, valid)], torch.tensor([4.0, 4.0]))
    assert found[0] == pytest.approx(4.5, rel=0.05)  # nine to the right, nothing down
    assert found[1] < 0.2


def test_statistics_leave_out_what_reaches_beyond_unless_too_little_is_left() -> None:
    blur = BlurDecimate(PointSpread.gaussian(3, 1.0))
    large, small, smallest = (
        usable_pixels(PairPatch.all_valid(torch.zeros(2, edge, edge), torch.zeros(1, 3 * edge, 3 * edge)), blur)
        for edge in (9, 7, 5)
    )
    assert large.sum() == 49
    assert large[1:-1, 1:-1].all()
    assert small.sum() == 45  # all but the corners
    assert smallest.all()
