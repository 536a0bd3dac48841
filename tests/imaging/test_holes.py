"""Holes take the nearest spectrum, and nothing else changes."""

import numpy as np

from hsfuse.imaging.holes import fill_holes
from hsfuse.scenes import PairBlock


def test_a_hole_takes_the_nearest_valid_spectrum():
    values = np.arange(2 * 4 * 5, dtype=np.float32).reshape(2, 4, 5)
    valid = np.ones((4, 5), dtype=bool)
    valid[:, 2] = False
    valid[:, 1] = False
    filled = fill_holes(values, valid)
    np.testing.assert_array_equal(filled[:, :, 1], values[:, :, 0])
    np.testing.assert_array_equal(filled[:, :, 2], values[:, :, 3])
    np.testing.assert_array_equal(filled[:, valid], values[:, valid])


def test_nothing_is_copied_where_there_is_no_hole_or_no_spectrum():
    values = np.ones((2, 3, 3), np.float32)
    assert fill_holes(values, np.ones((3, 3), dtype=bool)) is values
    assert fill_holes(values, np.zeros((3, 3), dtype=bool)) is values


def test_a_fused_pixel_needs_both_images():
    hsi_valid = np.array([[True, False]])
    msi_valid = np.ones((2, 4), dtype=bool)
    msi_valid[0, 0] = False
    block = PairBlock(np.zeros((3, 1, 2), np.float32), hsi_valid, np.zeros((2, 2, 4), np.float32), msi_valid)
    expected = [[False, True, False, False], [True, True, False, False]]
    np.testing.assert_array_equal(block.fine_valid, expected)
