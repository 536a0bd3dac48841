"""How coarse bands see finer ones, told without a spectral response."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from hsfuse.imaging import BlurDecimate, PointSpread, RelativeBlur
from hsfuse.scenes import PairBlock


def bands(ratio, psf, noise=0.002, edge=96):
    """Three coarse bands and four finer ones of one ground, mixtures of the same five images; none a sum of others."""
    rng = np.random.default_rng(5)
    ground = sum(
        ndimage.gaussian_filter(rng.standard_normal((5, edge, edge)), (0, width, width)) * width
        for width in (0.6, 1.5, 4)
    )
    fine = np.tensordot(rng.uniform(-1, 1, (4, 5)), ground, axes=1).astype(np.float32)
    coarse = np.tensordot(rng.uniform(-1, 1, (3, 5)), ground, axes=1).astype(np.float32)
    seen = BlurDecimate(psf)(torch.from_numpy(coarse)).numpy()
    seen += noise * rng.standard_normal(seen.shape).astype(np.float32)
    return PairBlock(seen, np.ones(seen.shape[1:], dtype=bool), fine, np.ones(fine.shape[1:], dtype=bool))


@pytest.mark.parametrize(("ratio", "fwhm", "shift"), [(2, 0.8, (0, 0)), (2, 1.2, (0.3, -0.2)), (3, 1.0, (-0.4, 0.1))])
def test_width_and_shift_are_found(ratio, fwhm, shift):
    found = RelativeBlur.fit([bands(ratio, PointSpread.gaussian(ratio, fwhm, shift=shift))], ratio)
    assert found.fwhm == pytest.approx(fwhm, rel=0.06)
    assert found.shift == pytest.approx(shift, abs=0.03)
    assert found.psf.ratio == ratio


def test_holes_do_not_count():
    block = bands(2, PointSpread.gaussian(2, 0.8))
    block.msi_valid[20:50, 30:70] = False
    block.msi[:, 20:50, 30:70] = 50
    block.hsi_valid[40:] = False
    block.hsi[:, 40:] = -9
    found = RelativeBlur.fit([block], 2)
    assert found.fwhm == pytest.approx(0.8, rel=0.08)
    assert found.shift == pytest.approx((0, 0), abs=0.05)


def test_what_is_usual_rules_where_nothing_tells():
    nothing = bands(2, PointSpread.gaussian(2, 0.8))
    rng = np.random.default_rng(1)
    nothing.hsi[:] = rng.standard_normal(nothing.hsi.shape)
    found = RelativeBlur.fit([nothing], 2)
    assert 0.6 < found.fwhm < 1.6
    few = RelativeBlur.fit([bands(2, PointSpread.gaussian(2, 0.8), edge=8)], 2)
    assert (few.fwhm, few.shift) == (1.0, (0.0, 0.0))
    constant = bands(2, PointSpread.gaussian(2, 0.8))
    constant.hsi[:] = 3
    assert RelativeBlur.fit([constant], 2).fwhm == pytest.approx(1.0, abs=0.05)
