"""The plan covers every pixel, and its weights sum to one everywhere."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsfuse.errors import RequestError
from hsfuse.fusion.tiles import Axis, TilePlan


@st.composite
def axes(draw):
    overlap = draw(st.integers(0, 12))
    margin = draw(st.integers(0, overlap // 2))
    tile = draw(st.integers(max(3 * overlap, 1), 90))
    return Axis(draw(st.integers(1, 400)), tile, overlap, margin)


@given(axes(), st.integers(2, 6))
@settings(deadline=None, max_examples=200)
def test_weights_sum_to_one_and_at_most_two_tiles_meet(axis, ratio):
    total = np.zeros(axis.length * ratio, np.float32)
    cover = np.zeros(axis.length * ratio, int)
    for index, start in enumerate(axis.starts):
        weights = axis.weights(index, ratio)
        assert weights.min() >= 0
        inside = slice(start * ratio, (start + axis.edge) * ratio)
        total[inside] += weights
        cover[inside] += 1
    assert (total == 1).all()
    assert cover.min() == 1
    assert cover.max() <= 2


@given(axes(), st.integers(2, 6))
@settings(deadline=None, max_examples=100)
def test_margins_at_inner_rims_weigh_nothing(axis, ratio):
    rim = axis.margin * ratio
    for index in range(1, len(axis.starts)):
        assert (axis.weights(index, ratio)[:rim] == 0).all()
        assert (axis.weights(index - 1, ratio)[axis.edge * ratio - rim :] == 0).all()


@given(axes())
@settings(deadline=None, max_examples=100)
def test_tiles_are_no_larger_than_asked_for_and_share_the_overlap(axis):
    assert axis.edge <= max(axis.tile, 1)
    ends = [start + axis.edge for start in axis.starts]
    assert axis.starts[0] == 0
    assert ends[-1] == axis.length
    for end, following in zip(ends, axis.starts[1:], strict=False):
        assert end - following >= axis.overlap


def test_a_tile_too_small_for_its_overlap_is_refused_with_the_numbers():
    with pytest.raises(RequestError, match="tile of 20 HSI pixels is too small for an overlap of 8"):
        TilePlan.make(100, 100, 3, tile=20, overlap=8, margin=2)


def test_a_plan_lists_its_tiles_row_by_row_and_knows_its_length():
    plan = TilePlan.make(100, 50, 3, tile=40, overlap=10, margin=4)
    tiles = list(plan)
    assert len(tiles) == len(plan)
    assert [tile.row for tile in tiles] == sorted(tile.row for tile in tiles)
    assert plan.finished_rows(tiles[-1].row) == 150
