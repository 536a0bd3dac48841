"""Bridging numbers that a pixel lacks in single bands."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hsfuse.scenes.bridge import bridge

PLACE = np.array([400.0, 420.0, 460.0, 455.0, 500.0, 560.0, 600.0, 640.0])  # one step back, as at EnMAP's overlap
TYPICAL = np.array([0.1, 0.2, 0.4, 0.35, 0.3, 0.1, 0.05, 0.2])


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6))
def test_what_is_there_is_never_touched(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.uniform(0, 1, (8, 30)).astype(np.float32)
    missing = rng.random((8, 30)) < 0.3
    missing[rng.integers(0, 8, 30), np.arange(30)] = False
    holed = np.where(missing, np.float32(np.nan), values)
    bridged = bridge(holed, missing, PLACE, TYPICAL)
    np.testing.assert_array_equal(bridged[~missing], values[~missing])
    assert np.isfinite(bridged).all()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.3, 3))
def test_a_brighter_typical_spectrum_comes_back(seed: int, times: float) -> None:
    rng = np.random.default_rng(seed)
    values = np.repeat((times * TYPICAL)[:, None], 20, axis=1).astype(np.float32)
    missing = rng.random((8, 20)) < 0.4
    missing[rng.integers(0, 8, 20), np.arange(20)] = False
    bridged = bridge(np.where(missing, np.float32(-9999), values), missing, PLACE, TYPICAL)
    np.testing.assert_allclose(bridged, values, rtol=1e-5)


def test_neighbours_are_those_in_wavelength() -> None:
    """Band 4 lies between bands 2 and 3, although it comes after both."""
    values = np.array([[1.0], [2.0], [4.0], [np.nan]], np.float32)
    missing = np.isnan(values)
    place, flat = np.array([400.0, 500.0, 600.0, 550.0]), np.ones(4)
    assert bridge(values, missing, place, flat)[3, 0] == 3


def test_a_spectrum_around_zero_is_bridged_by_difference() -> None:
    values = np.array([[-0.001], [np.nan], [0.003]], np.float32)
    bridged = bridge(values, np.isnan(values), np.arange(3.0), np.array([0.1, 0.2, 0.1]))
    np.testing.assert_allclose(bridged[1, 0], 0.001 + 0.1, rtol=1e-5)


def test_a_band_of_which_nothing_is_known_is_bridged_too() -> None:
    values = np.array([[2.0], [np.nan], [4.0]], np.float32)
    bridged = bridge(values, np.isnan(values), np.arange(3.0), np.array([1.0, np.nan, 2.0]))
    np.testing.assert_allclose(bridged[1, 0], 3)
