"""A scene read along a displacement: the same however it is cut, and nothing of a hole bleeds out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import ndimage

from hsfuse.scenes import Block, PixelWindow, Scene, ScenePair
from hsfuse.scenes.displaced import Displacement, Places, cubic_spline, read_placed, sampled

if TYPE_CHECKING:
    from conftest import WriteRaster
    from numpy.typing import NDArray

RNG = np.random.default_rng(4)
IMAGE = RNG.uniform(0.1, 0.9, (5, 60, 70)).astype(np.float32)


@dataclass(frozen=True)
class Slope:
    """What lies at (x, y) + (x / 50 + 2, 1.25) shows at (x, y)."""

    def at(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return x / 50 + 2, np.full(y.shape, 1.25)

    def hsi_points(
        self, x: NDArray[np.float64], y: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return (x - 2) / 1.02, y - 1.25


MOVED = Displacement(Slope(), 2.0, 1.0)


def test_the_spline_is_that_of_scipy() -> None:
    y, x = RNG.uniform(0.0, 60.0, (2, 30, 20))
    expected = [ndimage.map_coordinates(band, [y - 0.5, x - 0.5], order=3, mode="mirror") for band in IMAGE]
    np.testing.assert_allclose(cubic_spline(IMAGE, x, y), expected, atol=2e-6)
    row, column = np.mgrid[:60, :70] + 0.5
    np.testing.assert_allclose(cubic_spline(IMAGE, column, row), IMAGE, atol=2e-6)


def test_windows_are_parts_of_the_whole(write_raster: WriteRaster) -> None:
    scene = Scene.open(write_raster("hsi.tif", IMAGE))
    moved = Places(scene.grid, scene.grid, MOVED)
    whole = read_placed(scene, scene.grid.window, range(5), moved)
    x, y = moved.sources(scene.grid.window)
    assert (x[0, 10], y[7, 0]) == (pytest.approx(10.5 / 1.02), pytest.approx(7.25))
    expected = [ndimage.map_coordinates(band, [y - 0.5, x - 0.5], order=3, mode="mirror") for band in IMAGE]
    inside = (x >= 0) & (y >= 0) & (x < 70) & (y < 60)
    np.testing.assert_array_equal(whole.valid, inside)
    np.testing.assert_allclose(whole.values[:, inside], np.array(expected)[:, inside], atol=2e-6)
    for window in (PixelWindow(20, 21, 9, 8), PixelWindow(61, 0, 9, 3)):
        part = read_placed(scene, window, range(5), moved)
        np.testing.assert_allclose(part.values, whole.values[:, window.rows, window.columns], atol=2e-6)
        np.testing.assert_array_equal(part.valid, whole.valid[window.rows, window.columns])
    far = Places(scene.grid, scene.grid, Displacement(Slope(), 200.0, 0.0))
    away = read_placed(scene, PixelWindow(0, 0, 4, 4), range(5), far)
    assert not away.valid.any()


def test_holes_do_not_bleed() -> None:
    """A hole and a gross value, of a plane."""
    row, column = np.mgrid[:30, :30] + 0.5
    values = np.stack([column / 10, row / 10]).astype(np.float32)
    valid, suspect = np.ones((30, 30), dtype=bool), np.zeros((30, 30), dtype=bool)
    valid[10:14, 10:14], suspect[20, 20] = False, True
    broken = values.copy()
    broken[:, ~valid], broken[:, suspect] = 0, 1e6
    missing = np.zeros((2, 30, 30), dtype=bool)
    missing[1, 5, 5] = True
    found = sampled(Block(broken, valid, missing, suspect), column + 0.25, row)
    assert found.missing is not None
    assert found.missing.sum() == 1
    np.testing.assert_array_equal(found.valid, valid)
    np.testing.assert_array_equal(found.suspect, suspect)
    clean = valid & ~suspect
    away = np.abs(found.values - np.stack([(column + 0.25) / 10, row / 10]))[:, clean]
    assert away.max() < 0.11  # the slope of a pixel, beside the hole


def test_both_ways_are_one(write_raster: WriteRaster) -> None:
    """The fine pixels under an HSI pixel show what lies where that pixel is read from."""
    fine = np.kron(IMAGE[:3], np.ones((3, 3), np.float32))
    smooth = ndimage.gaussian_filter(fine, (0, 6, 6))
    hsi = Scene.open(write_raster("hsi.tif", IMAGE, pixel=30.0))
    pair = ScenePair.open(hsi, Scene.open(write_raster("msi.tif", smooth, pixel=10.0)))
    moved = pair.moved(2.0, 1.0).displaced(MOVED)
    block = moved.read_on_hsi(PixelWindow(20, 20, 6, 5))
    np.testing.assert_array_equal(block.hsi, IMAGE[:, 20:25, 20:26])
    row, column = np.mgrid[60:75, 60:78] + 0.5
    there = [row + 3 * 1.25 - 0.5, column + 3 * (column / 150 + 2) - 0.5]
    expected = [ndimage.map_coordinates(band, there, order=3) for band in smooth]
    np.testing.assert_allclose(block.msi, expected, atol=1e-5)
    assert block.msi_valid.all()
    straight = replace(pair, displacement=None).read_on_hsi(PixelWindow(20, 20, 6, 5))
    np.testing.assert_array_equal(straight.msi, smooth[:, 60:75, 60:78])
