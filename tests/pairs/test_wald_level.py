"""Scenes one level down: parts of them are what the whole is, and what is held back is never trained on."""

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hsfuse.errors import RequestError
from hsfuse.imaging import PointSpread
from hsfuse.pairs.wald_level import rim_of
from hsfuse.scenes import PixelWindow
from hsfuse.training.split import gap_of, pieces, some_of, split

from ..training.conftest import imaging, noise_pair, pair_levels


class Sized:
    """A level that has a size and nothing else."""

    name = "scene.tif"

    def __init__(self, width, height, model):
        self.area, self.model = PixelWindow(0, 0, width, height), model


models = st.builds(
    imaging, st.integers(2, 6), st.floats(0.3, 2.0), st.tuples(st.floats(-2, 2), st.floats(-2, 2)), st.just(12)
)


def seen(window, model, axis):
    """Fine pixels along an axis that degrading to a window sees: from the first to the one after the last."""
    start, count = (window.column, window.width) if axis else (window.row, window.height)
    reach = max(model.psf.margin, 0)
    return start * model.ratio - reach, (start + count) * model.ratio + reach


@settings(deadline=None, max_examples=60)
@example(width=20, height=4, share=0.5, model=imaging(2, 2.0))
@given(st.integers(20, 200), st.integers(4, 200), st.floats(0.01, 0.5), models)
def test_no_pixel_is_both_trained_on_and_held_back(width, height, share, model):
    lying, longest = width >= height, max(width, height)
    if longest - max(round(share * longest), 4) - gap_of(model) < 8:  # too little would be left to train on
        with pytest.raises(RequestError, match="pixels of truth in use"):
            split(Sized(width, height, model), share)
        return
    trained, held = split(Sized(width, height, model), share)
    (_, end), (start, _) = seen(trained, model, lying), seen(held, model, lying)
    assert end <= start
    assert min(trained.width, trained.height, held.width, held.height) >= 4
    assert trained.intersection(held) is None
    last = (held.column + held.width, held.row + held.height)
    assert last == (width, height)
    longer, part = (width, held.width) if lying else (height, held.height)
    assert part == max(round(share * longer), 4)
    reach = math.ceil(max(model.psf.margin, 0) / model.ratio)
    assert gap_of(model) >= max(reach, 1)


def test_a_scene_too_small_is_refused_with_the_numbers():
    model = imaging(3)
    least = 8 + 4 + gap_of(model)
    split(Sized(least, 4, model), 0.1)
    for width, height in ((least - 1, 4), (4, least - 1), (least, 3)):
        numbers = rf"scene\.tif has {3 * width}×{3 * height} pixels of truth in use.* at least {3 * least}"
        with pytest.raises(RequestError, match=numbers):
            split(Sized(width, height, model), 0.1)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 9), st.integers(0, 9), st.integers(1, 300), st.integers(1, 300), st.integers(1, 80))
def test_parts_cover_a_window_exactly_and_are_of_one_size_or_so(column, row, width, height, edge):
    parts = pieces(PixelWindow(column, row, width, height), edge)
    count = np.zeros((row + height, column + width), int)
    for part in parts:
        count[part.rows, part.columns] += 1
        for size, whole in ((part.width, width), (part.height, height)):
            assert min(edge, whole) <= size < 2 * edge or size == whole < 2 * edge
    assert (count[row:, column:] == 1).all()
    assert count.sum() == width * height


def test_some_parts_are_evenly_spread():
    parts = pieces(PixelWindow(0, 0, 100, 10), 10)
    assert [part.column for part in some_of(parts, 5)] == [0, 20, 40, 60, 80]
    assert some_of(parts, 10) == parts


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize(
    ("ratio", "fwhm", "shift"),
    [(3, 1.0, (0.0, 0.0)), (2, 1.4, (0.0, 0.0)), (3, 0.8, (0.37, -0.2)), (2, 0.3, (3.0, -2.6)), (5, 0.3, (0.1, 6.0))],
)
def test_a_part_is_what_degrading_the_whole_scene_gives_there(ratio, fwhm, shift, holes):
    model = imaging(ratio, fwhm, shift)
    pair = noise_pair(model, 14 * ratio, 20 * ratio, holes=holes)
    by_parts, at_once = pair_levels(pair, model)
    assert by_parts.area == at_once.area == PixelWindow(0, 0, 20, 14)
    assert by_parts.model.shift == (0.0, 0.0)
    for window in [*pieces(by_parts.area, 5), PixelWindow(3, 2, 9, 11)]:
        part, expected = by_parts.read(window), at_once.read(window)
        assert torch.equal(part.valid, expected.valid)
        assert torch.equal(part.patch.hsi_valid, expected.patch.hsi_valid)
        assert torch.equal(part.patch.msi_valid, expected.patch.msi_valid)
        for name in ("hsi", "msi"):
            valid = getattr(expected.patch, f"{name}_valid")
            got, wanted = (getattr(one.patch, name)[:, valid] for one in (part, expected))
            torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)
        assert torch.equal(part.truth[:, part.valid], expected.truth[:, part.valid])


@pytest.mark.parametrize("garbage", [float("nan"), 1e6])
def test_holes_do_not_leak(garbage):
    """What stands in invalid pixels changes nothing: not the masks, not the images, not even their filling."""
    model = imaging()
    clean, dirty = (
        pair_levels(noise_pair(model, 30, 36, holes=True, garbage=value), model)[0] for value in (0.0, garbage)
    )
    one, other = clean.read(clean.area), dirty.read(dirty.area)
    assert not one.valid.all()
    assert one.valid.any()
    assert torch.equal(one.valid, other.valid)
    for name in ("hsi", "msi", "hsi_valid", "msi_valid"):
        assert torch.equal(getattr(one.patch, name), getattr(other.patch, name)), name
    assert torch.equal(one.truth, other.truth)


def test_the_rim_is_as_wide_as_the_point_spread_reaches():
    assert rim_of(imaging(3, 1.0)) == 2
    box = PointSpread(np.full((3, 3), 1 / 9), 3)
    assert rim_of(type(imaging())(imaging().srf, box)) == 1
