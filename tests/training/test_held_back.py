"""Every method is judged on the same pixels, those that are held back and known."""

import pytest
import torch

from hsfuse.errors import WorkError
from hsfuse.fusion.methods import choose_method
from hsfuse.metrics import FullReference
from hsfuse.scenes import PixelWindow
from hsfuse.training.held_back import Figures, HeldBack

from .conftest import with_hole


class Oracle:
    """Hands out the truth, wrong where nothing is known."""

    margin = 0

    def __init__(self, held):
        self.truths = [torch.where(part.valid, part.truth + 0.01, torch.tensor(-5.0)) for part in held.parts]

    def __call__(self, hsi, msi):
        return self.truths.pop(0)


def test_only_known_pixels_are_judged(level):
    held = HeldBack.of(with_hole(level, 1e6), PixelWindow(0, 0, 24, 24))
    assert not held.parts[0].valid.all()
    scores = held.score(Oracle(held))
    assert scores.rmse == pytest.approx(0.01, rel=1e-4)
    assert scores.pixels == sum(int(part.valid.sum()) for part in held.parts)


def test_figures_are_those_of_the_metrics_and_means_over_scenes(level):
    held = HeldBack.of(level, PixelWindow(18, 0, 6, 24))
    bicubic = held.score(held.fit(choose_method("bicubic").method))
    part = level.read(PixelWindow(18, 0, 6, 24))
    fused = choose_method("bicubic").method.fit([], level.model)(part.patch.hsi, part.patch.msi)
    direct = FullReference(3)
    direct.update(fused.numpy(), part.truth.numpy(), part.valid.numpy())
    assert bicubic.psnr == direct.result().psnr
    gsa = held.score(held.fit(choose_method("gsa").method))
    mean = Figures.of([bicubic, gsa])
    assert mean.psnr == pytest.approx((bicubic.psnr + gsa.psnr) / 2)
    assert mean.score == pytest.approx(mean.psnr - mean.sam)
    assert Figures.of([gsa]).score > Figures.of([bicubic]).score


def test_what_is_not_finite_is_not_judged_on_the_rest(level):
    """One lost pixel is no smaller a fault for being left out."""
    held = HeldBack.of(level, PixelWindow(18, 0, 6, 24))
    oracle = Oracle(held)
    oracle.truths[0][0, 5, 5] = float("nan")
    with pytest.raises(WorkError, match="what was fused of a scene is not finite"):
        held.score(oracle)
