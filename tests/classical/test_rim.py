"""The ground goes on beyond a scene's rim: what its blur brings in must not spoil what the scene knows of itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from hsfuse.classical import Bayes, HySure
from hsfuse.classical.rim import data_precision, step_variance
from hsfuse.imaging import BlurDecimate, PointSpread
from hsfuse.subspace.patch import PairPatch, usable_pixels

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import KnownPair

CUT, RATIO, EDGE = 3, 3, 20


def inner(whole: KnownPair) -> KnownPair:
    """What is left of a pair when a rim is cut off that its blur has seen."""
    coarse, fine = slice(CUT, -CUT), slice(CUT * RATIO, -CUT * RATIO)
    return replace(
        whole, truth=whole.truth[:, fine, fine], hsi=whole.hsi[:, coarse, coarse], msi=whole.msi[:, fine, fine]
    )


def replicated(pair: KnownPair, noise: float) -> KnownPair:
    """The same ground as if its edge went on for ever."""
    hsi = pair.model.blur(pair.truth)
    return replace(pair, hsi=hsi + noise * torch.randn(hsi.shape, generator=torch.Generator().manual_seed(1)))


def loss(method: type[Bayes | HySure], fwhm: float, known_pair: Callable[..., KnownPair]) -> float:
    """How many decibels ground beyond the rim costs against replicated edges."""
    beyond = inner(known_pair(6, ratio=RATIO, edge=EDGE, noise=0.002, fwhm=fwhm))

    def error(pair: KnownPair) -> float:
        fused = method.fit([pair.patch], pair.model)(pair.hsi, pair.msi)
        return float((fused - pair.truth).square().mean())

    return float(10 * torch.log10(torch.tensor(error(beyond) / error(replicated(beyond, 0.002)))))


@pytest.mark.parametrize(("fwhm", "most"), [(1.0, 0.2), (1.3, 0.4), (2.0, 0.7)])
@pytest.mark.parametrize("method", [Bayes, HySure])
def test_ground_beyond_the_rim_costs_little(
    method: type[Bayes | HySure], fwhm: float, most: float, known_pair: Callable[..., KnownPair]
) -> None:
    assert loss(method, fwhm, known_pair) < most  # 0.7 to 1.4, 2.5 to 3.8, 5.3 to 6.3 dB while Y was trusted


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
