"""Losses count what the papers count, pixel by pixel where the truth is known, patch by patch alike."""

from dataclasses import replace

import pytest
import torch

from hsfuse.training.episodes import Batch
from hsfuse.training.objective import band_loss, relative_loss


class Answer(torch.nn.Module):
    """A network that answers the same whatever it is given."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, *inputs):
        return self.answer


@pytest.mark.parametrize(("squared", "expected"), [(False, 0.5), (True, 0.25)])
def test_errors_of_bands_are_in_units_of_each_band(squared, expected):
    truth, unit = torch.rand(2, 3, 6, 6), torch.tensor([1.0, 10.0, 0.1])
    off = Answer(truth + 0.5 * unit[:, None, None])
    valid = torch.ones(2, 6, 6, dtype=torch.bool)
    images = (truth, truth, truth, valid)
    assert float(band_loss(off, images, unit, squared=squared)) == pytest.approx(expected, rel=1e-4)
    valid[0, :4] = False
    off.answer[0, :, :4] = 1e6
    assert float(band_loss(off, images, unit, squared=squared)) == pytest.approx(expected, rel=1e-4)
    valid[1] = False  # nothing is known of a patch: it costs nothing, and nothing is divided by zero
    assert float(band_loss(off, images, unit, squared=squared)) == pytest.approx(expected / 2, rel=1e-4)


def batch(truth, valid):
    unit = torch.eye(2)[None].expand(len(truth), 2, 2)
    return Batch(None, truth, None, 2 * unit, unit, valid, 4 * valid)


def test_errors_of_coefficients_are_roots_by_patch_of_bands_and_angles():
    truth, valid = torch.zeros(2, 2, 4, 4), torch.ones(2, 4, 4)
    answer = truth.clone()
    answer[0, 0], answer[1, 1] = 3.0, 5.0
    # 2·e for bands, half of 2·e for angles, the mean of both patches
    assert float(relative_loss(Answer(answer), batch(truth, valid))) == pytest.approx(3 * 4, rel=1e-4)


def test_garbage_where_nothing_is_known_costs_nothing():
    truth, valid = torch.rand(2, 2, 4, 4), torch.ones(2, 4, 4)
    valid[:, :2] = 0
    one = batch(truth, valid)
    other = replace(one, truth=torch.where(valid[:, None] > 0, truth, torch.tensor(1e6)))
    answer = Answer(truth + 1)
    assert float(relative_loss(answer, other)) == pytest.approx(float(relative_loss(answer, one)), rel=1e-6)
    assert float(relative_loss(answer, one)) == pytest.approx(3 * 2**0.5, rel=1e-3)
