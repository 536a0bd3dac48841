"""What is gathered tile by tile is what the whole image would give."""

import numpy as np
import pytest

from hsfuse.report.gathering import ImageParts, Places, Spectra
from hsfuse.scenes.composite import BlockMeans

RNG = np.random.default_rng(3)


def tiles(height, width, edge):
    for row in range(0, height, edge):
        for column in range(0, width, edge):
            yield slice(row, min(row + edge, height)), slice(column, min(column + edge, width))


@pytest.mark.parametrize("edge", [5, 7, 40])
def test_means_over_blocks_are_those_of_the_whole_image(edge):
    image = RNG.random((2, 23, 37)).astype(np.float32)
    valid = RNG.random((23, 37)) > 0.3
    image[1, 4, 5] = np.nan  # counted as not valid, mask or no mask
    valid[8:12, 8:12] = False
    found = BlockMeans(2, 37, 23, most=10)
    for rows, columns in tiles(23, 37, edge):
        found.add(image[:, rows, columns], valid[rows, columns], columns.start, rows.start)
    assert found.factor == 4
    assert found.means.shape == (2, 6, 10)
    usable = valid & np.isfinite(image).all(axis=0)
    for row, column in ((0, 0), (1, 1), (5, 9), (2, 6)):
        here = slice(4 * row, 4 * row + 4), slice(4 * column, 4 * column + 4)
        expected = image[:, *here][:, usable[here]].mean(axis=1)
        np.testing.assert_allclose(found.means[:, row, column], expected, rtol=1e-5)
    assert np.isnan(found.means[:, 2, 2]).all()


def test_spectra_are_those_of_their_pixels_also_in_a_coarser_image():
    fine = RNG.random((4, 24, 36)).astype(np.float32)
    coarse = RNG.random((4, 8, 12)).astype(np.float32)
    valid = np.ones((24, 36), dtype=bool)
    valid[:12] = False
    places = Places(np.array([0, 17, 35]), np.array([2, 20]))
    ours, theirs = Spectra(4, places), Spectra(4, places, scale=3)
    for rows, columns in tiles(24, 36, 10):
        ours.add(fine[:, rows, columns], valid[rows, columns], columns.start, rows.start)
    for rows, columns in tiles(8, 12, 5):
        theirs.add(coarse[:, rows, columns], np.ones_like(coarse[0, rows, columns], bool), columns.start, rows.start)
    np.testing.assert_array_equal(ours.values[1, 1], fine[:, 20, 17])
    assert np.isnan(ours.values[0]).all()
    np.testing.assert_array_equal(theirs.values[0, 2], coarse[:, 0, 11])
    np.testing.assert_array_equal(theirs.values[1, 1], coarse[:, 6, 5])


@pytest.mark.parametrize(
    ("width", "height", "numbers"), [(1000, 1000, 600), (30_000, 40, 400), (5, 4000, 100_000), (1, 1, 10)]
)
def test_places_stay_in_the_image_and_within_what_a_page_holds(width, height, numbers):
    places = Places.of(width, height, numbers)
    for found, edge in ((places.columns, width), (places.rows, height)):
        assert found[0] >= 0
        assert found[-1] < edge
        assert (np.diff(found) > 0).all()
    count = len(places.columns) * len(places.rows)
    assert count <= max(1_200_000 // numbers, 16)


def test_composites_take_their_bands_in_their_order():
    image = np.stack([np.full((4, 4), value, np.float32) for value in (1, 2, 3, 4)])
    parts = ImageParts(4, (4, 4), {"one": (3, 2, 0), "other": (1,)}, edge=2)
    parts.add(image, np.ones((4, 4), dtype=bool), 0, 0)
    assert parts.factor == 2
    assert parts.composites["one"][:, 0, 0].tolist() == [4, 3, 1]
    assert parts.composites["other"].shape == (1, 2, 2)
