"""Coarse bands sharpened by finer ones that are no sums of them."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from hsfuse.classical.band_sharpening import BandSharpening
from hsfuse.errors import SceneError
from hsfuse.imaging import BlurDecimate, PointSpread, upsample
from hsfuse.subspace.patch import PairPatch

PSF = PointSpread.gaussian(2, 1.0)


def images(noise=0.01, edge=96):
    """Coarse bands (3), finer ones (4) and what the coarse ones are to become."""
    rng = np.random.default_rng(5)
    fields = ndimage.gaussian_filter(rng.standard_normal((5, edge, edge)), (0, 6, 6))
    ground = (fields > 0) * 1.0 + ndimage.gaussian_filter(rng.standard_normal((5, edge, edge)), (0, 1, 1))
    mixed = [np.tensordot(rng.uniform(0, 1, (count, 5)), ground, axes=1).astype(np.float32) + 2 for count in (3, 4)]
    truth, fine = (torch.from_numpy(image) for image in mixed)
    coarse = BlurDecimate(PSF)(truth)
    drawn = torch.Generator().manual_seed(0)
    noisy = [image + noise * torch.randn(image.shape, generator=drawn) for image in (coarse, fine)]
    return noisy[0], noisy[1], truth


def rmse(image, truth):
    return float((image - truth).square().mean().sqrt())


def test_detail_comes_from_the_finer_bands():
    coarse, fine, truth = images()
    sharp = BandSharpening.fit([PairPatch.all_valid(coarse, fine)], PSF)(coarse, fine)
    assert rmse(sharp, truth) < 0.5 * rmse(upsample(coarse, 2), truth)
    assert rmse(BlurDecimate(PSF)(sharp), coarse) < 0.012  # what was seen stays as it was seen


def test_bands_are_not_taken_for_noise_when_there_are_few():
    """One band that the finer ones hardly explain: its own detail is no noise."""
    coarse, fine, truth = images()
    alone = BandSharpening.fit([PairPatch.all_valid(coarse[:1], fine)], PSF)
    assert rmse(alone(coarse[:1], fine), truth[:1]) < 0.6 * rmse(upsample(coarse[:1], 2), truth[:1])


def test_scale_of_a_band_does_not_matter():
    coarse, fine, _ = images()
    factors = torch.tensor([1.0, 1000.0, 0.001])[:, None, None]
    plain, scaled = (
        BandSharpening.fit([PairPatch.all_valid(bands, fine)], PSF)(bands, fine) for bands in (coarse, coarse * factors)
    )
    torch.testing.assert_close(scaled / factors, plain, rtol=0, atol=0.01)


def test_holes_and_gross_numbers_spoil_nothing_else():
    coarse, fine, truth = images()
    clean = BandSharpening.fit([PairPatch.all_valid(coarse, fine)], PSF)(coarse, fine)
    spoiled, wrong = coarse.clone(), fine.clone()
    spoiled[:, 20, 20], wrong[:, 70, 30] = 1e6, -1e6
    patch = PairPatch.all_valid(spoiled, wrong)
    patch.hsi_valid[:5] = False
    result = BandSharpening.fit([patch], PSF)(spoiled, wrong)
    away = torch.ones(96, 96, dtype=torch.bool)
    away[26:56, 26:56] = away[56:84, 16:44] = False
    assert rmse(result[:, away], clean[:, away]) < 0.2 * rmse(clean[:, away], truth[:, away])
    assert bool(torch.isfinite(result).all())


def test_constant_bands_stay():
    coarse, fine, _ = images()
    flat = torch.cat([coarse[:1], torch.full_like(coarse[:1], 4.0)])
    sharp = BandSharpening.fit([PairPatch.all_valid(flat, fine)], PSF)(flat, fine)
    torch.testing.assert_close(sharp[1], torch.full_like(sharp[1], 4.0), rtol=1e-3, atol=0)


def test_too_few_pixels_are_refused():
    coarse, fine, _ = images(edge=4)
    with pytest.raises(SceneError, match=r"4 valid pixels are not enough"):
        BandSharpening.fit([PairPatch.all_valid(coarse, fine)], PSF)


def test_ground_beyond_the_rim_costs_little():
    """Real images go on where the blur of this tile replicates its edge."""
    wide = PointSpread.gaussian(2, 2.0)
    _, fine, truth = images()
    seen = BlurDecimate(wide)(truth) + 0.002 * torch.randn(3, 48, 48, generator=torch.Generator().manual_seed(2))

    def error(coarse):
        inner = fine[:, 32:-32, 32:-32]
        sharp = BandSharpening.fit([PairPatch.all_valid(coarse, inner)], wide)(coarse, inner)
        return rmse(sharp, truth[:, 32:-32, 32:-32])

    replicated = BlurDecimate(wide)(truth[:, 32:-32, 32:-32])
    replicated += 0.002 * torch.randn(replicated.shape, generator=torch.Generator().manual_seed(2))
    assert error(seen[:, 16:-16, 16:-16]) < 1.2 * error(replicated)  # 1.39 while every pixel was trusted
