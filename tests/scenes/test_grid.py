"""Windows, grids and how two grids lie to each other."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.warp import transform as transform_points

from hsfuse.errors import PairError, RequestError
from hsfuse.scenes import Grid, PixelWindow, common_area, measured_ratio, nesting_offset, whole_ratio
from hsfuse.scenes.grid import lattice

UTM33, UTM32 = CRS.from_epsg(32633), CRS.from_epsg(32632)

windows = st.builds(
    PixelWindow, st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 9), st.integers(1, 9)
)  # fmt: skip


def north_up(width: int, height: int, pixel: float, x: float = 5e5, y: float = 5e6, *, crs: CRS = UTM33) -> Grid:
    return Grid(width, height, Affine(pixel, 0, x, 0, -pixel, y), crs)


def cells(window: PixelWindow) -> set[tuple[int, int]]:
    return {
        (column, row)
        for column in range(window.columns.start, window.columns.stop)
        for row in range(window.rows.start, window.rows.stop)
    }


@settings(max_examples=60, deadline=None)
@given(windows, windows)
def test_intersection_holds_the_pixels_of_both(one: PixelWindow, other: PixelWindow) -> None:
    both = one.intersection(other)
    assert (cells(both) if both else set()) == cells(one) & cells(other)
    assert one.contains(other) == (cells(other) <= cells(one))


@settings(max_examples=30, deadline=None)
@given(windows, st.integers(1, 6), st.integers(0, 359))
def test_cropping_then_refining_is_refining_then_cropping(window: PixelWindow, ratio: int, angle: int) -> None:
    grid = Grid(50, 40, Affine.translation(4e5, 5e6) @ Affine.rotation(angle) @ Affine.scale(30, -30), UTM33)
    one, other = grid.crop(window).refine(ratio), grid.refine(ratio).crop(window.scaled(ratio))
    assert (one.width, one.height) == (other.width, other.height)
    assert one.transform.almost_equals(other.transform, precision=1e-6)


def test_an_empty_window_is_refused() -> None:
    with pytest.raises(RequestError, match="0 x 3"):
        PixelWindow(0, 0, 0, 3)


def test_pixel_size_of_a_turned_grid() -> None:
    grid = Grid(5, 5, Affine.rotation(71) @ Affine.scale(14.9, -14.9), UTM33)
    assert grid.pixel_size == pytest.approx((14.9, 14.9))


@pytest.mark.parametrize(
    ("hsi_pixel", "msi_pixel", "ratio"),
    [
        (30, 10, 3),
        (30.3, 10, 3),
        (60, 3, 20),
        (1, 0.1, 10),
        (30, 20, 2),
        (5, 3, 2),
        (13, 10, 2),
        (35, 10, 4),
        (34, 10, 3),
    ],
)
def test_whole_ratio(hsi_pixel: float, msi_pixel: float, ratio: int) -> None:
    assert whole_ratio(north_up(20, 20, hsi_pixel), north_up(90, 90, msi_pixel)) == ratio


def test_ratio_of_grids_that_are_turned_against_each_other() -> None:
    hsi = Grid(50, 50, Affine.translation(5e5, 5e6) @ Affine.rotation(71) @ Affine.scale(30, -30), UTM33)
    assert measured_ratio(hsi, north_up(90, 90, 10)) == pytest.approx((3, 3))


def test_ratio_across_utm_zones() -> None:
    hsi = north_up(100, 100, 30, 300_000, 5.5e6)
    (x,), (y,) = transform_points(UTM33, UTM32, [300_000], [5.5e6])
    assert whole_ratio(hsi, north_up(300, 300, 10, x, y, crs=UTM32)) == 3


@pytest.mark.parametrize(
    ("hsi_pixel", "msi_pixel", "sentence"),
    [
        (10, 10, "same pixel size"),
        (10, 30, "swapped"),
        (210, 10, r"21\.00 is above 20"),
        (12, 10, r"ratio 1\.20 leaves next to nothing .*`ratio`"),
    ],
)
def test_ratios_that_are_refused(hsi_pixel: float, msi_pixel: float, sentence: str) -> None:
    with pytest.raises(PairError, match=sentence):
        whole_ratio(north_up(20, 20, hsi_pixel), north_up(90, 90, msi_pixel))


def test_pixels_that_are_no_squares_have_the_ratio_of_their_longer_side() -> None:
    """EMIT's grid is one of degrees: 60 by 43 metres in Switzerland."""
    assert whole_ratio(Grid(20, 20, Affine(42.6, 0, 5e5, 0, -60.2, 5e6), UTM33), north_up(90, 90, 10)) == 6
    stripes = Grid(20, 20, Affine(100, 0, 5e5, 0, -10, 5e6), UTM33)
    with pytest.raises(PairError, match=r"10\.00 along the rows and 1\.00 along the columns"):
        whole_ratio(stripes, north_up(90, 90, 10))


def test_nesting_gives_the_offset_in_the_msi() -> None:
    fine = north_up(20, 20, 30, x=5e5 + 50, y=5e6 - 70).refine(3)
    assert nesting_offset(fine, north_up(90, 90, 10)) == (5, 7)


def test_grids_nest_within_a_hundredth_of_a_pixel() -> None:
    msi = north_up(90, 90, 10)
    assert nesting_offset(north_up(20, 20, 30, x=5e5 + 0.09).refine(3), msi) == (0, 0)
    assert nesting_offset(north_up(20, 20, 30, x=5e5 + 0.2).refine(3), msi) is None


def test_pixels_that_drift_apart_do_not_nest() -> None:
    # They coincide in the upper left corner, and are a fifth of a pixel off at the far end.
    assert nesting_offset(north_up(20, 20, 30.1).refine(3), north_up(90, 90, 10)) is None


def test_common_area_is_whole_pixels_that_the_msi_covers() -> None:
    msi = north_up(60, 90, 10, x=5e5 + 35, y=5e6 + 10)
    assert common_area(north_up(20, 20, 30), msi, 3) == PixelWindow(2, 0, 18, 20)


sizes = st.tuples(st.integers(4, 30), st.integers(4, 30))
msi_sizes = st.tuples(st.integers(10, 120), st.integers(10, 120))
quarter_pixels = st.tuples(st.integers(-160, 160), st.integers(-160, 160))


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 6), sizes, msi_sizes, quarter_pixels)
def test_common_area_against_counting(
    ratio: int, size: tuple[int, int], msi_size: tuple[int, int], shift: tuple[int, int]
) -> None:
    """An HSI pixel belongs to the area where all of its four corners lie on the MSI."""
    (width, height), (msi_width, msi_height), (dx, dy) = size, msi_size, (2.5 * shift[0], 2.5 * shift[1])
    hsi = north_up(width, height, 10.0 * ratio)
    msi = north_up(msi_width, msi_height, 10.0, 5e5 + dx, 5e6 + dy)
    x, y = 10.0 * ratio * np.arange(width), -10.0 * ratio * np.arange(height)
    columns = np.flatnonzero((x >= dx - 0.1) & (x + 10.0 * ratio <= dx + 10.0 * msi_width + 0.1))
    rows = np.flatnonzero((y <= dy + 0.1) & (y - 10.0 * ratio >= dy - 10.0 * msi_height - 0.1))
    if not len(columns) or not len(rows):
        with pytest.raises(PairError, match="do not overlap"):
            common_area(hsi, msi, ratio)
        return
    assert common_area(hsi, msi, ratio) == PixelWindow(
        int(columns[0]), int(rows[0]), len(columns), len(rows)
    )  # fmt: skip


def test_common_area_with_a_turned_hsi_that_the_msi_covers() -> None:
    turned = Affine.translation(5e5 + 1000, 5e6 - 1000) @ Affine.rotation(71) @ Affine.scale(30, -30)
    hsi = Grid(20, 15, turned, UTM33)
    assert common_area(hsi, north_up(300, 300, 10), 3) == hsi.window


def test_common_area_across_utm_zones() -> None:
    (x,), (y,) = transform_points(UTM33, UTM32, [300_000], [5.5e6])
    msi = north_up(300, 300, 10, x, y, crs=UTM32)
    # The zones are turned by some degrees: 3 km of HSI from the same corner lose a strip at the sides.
    area = common_area(north_up(100, 100, 30, 300_000, 5.5e6), msi, 3)
    assert 85 < area.width <= 100
    assert 85 < area.height <= 100


def test_a_place_that_a_crs_does_not_know_is_a_sentence() -> None:
    beyond_the_pole = north_up(10, 10, 0.01, 15, 130, crs=CRS.from_epsg(4326))
    with pytest.raises(PairError, match=r"EPSG:4326.*EPSG:32633"):
        measured_ratio(beyond_the_pole, north_up(90, 90, 10))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.integers(1, 5), st.integers(1, 5))
def test_lattice_stays_inside_and_reaches_the_corners(
    width: int, height: int, patch: int, columns: int, rows: int
) -> None:
    patches = lattice(width, height, patch, columns, rows)
    whole = PixelWindow(0, 0, width, height)
    assert all(whole.contains(window) for window in patches)
    assert sum(len(cells(window)) for window in patches) == len(set().union(*map(cells, patches)))
    assert len(patches) <= columns * rows
    if columns > 1 and width >= 2 * patch:
        assert patches[0].column == 0
        assert patches[-1].columns.stop == width
