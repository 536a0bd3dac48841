"""The grid of the output: the HSI's, the MSI's, or pixels of a size that is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import transform as transform_points

from hsfuse.errors import PairError, RequestError
from hsfuse.scenes import Grid, OutputGrid, PixelWindow, Scene, ScenePair
from hsfuse.scenes.overlap import common_area, overlap

from .test_pair import HSI, MSI, X, Y, plane

if TYPE_CHECKING:
    from conftest import WriteRaster

UTM33, DEGREES = CRS.from_epsg(32633), CRS.from_epsg(4326)
PIXEL = 0.000542232520256367
"""Of EMIT's grid, in degrees."""


def open_pair(write_raster: WriteRaster, hsi: dict[str, Any], msi: dict[str, Any], **options: Any) -> ScenePair:
    grid = OutputGrid(options.pop("grid", "hsi"), options.pop("resolution", None))
    hsi_path = write_raster("hsi.tif", **({"numbers": HSI, "pixel": 30.0} | hsi))
    msi_path = write_raster("msi.tif", **({"numbers": MSI, "pixel": 10.0} | msi))
    return ScenePair.open(Scene.open(hsi_path), Scene.open(msi_path), output=grid, **options)


def in_degrees(width: int = 30, height: int = 22) -> Grid:
    (longitude,), (latitude,) = transform_points(UTM33, DEGREES, [X + 200], [Y - 200])
    return Grid(width, height, Affine(PIXEL, 0, longitude, 0, -PIXEL, latitude), DEGREES)


def on_pixels_of(grid: Grid, msi: Grid) -> None:
    """Every edge of the one grid's pixels is an edge of the other's, to the last bit."""
    assert grid.crs == msi.crs
    assert tuple(grid.transform)[:2] == tuple(msi.transform)[:2]
    assert (grid.transform.d, grid.transform.e) == (msi.transform.d, msi.transform.e)
    column, row = ~msi.transform @ (grid.transform.c, grid.transform.f)
    assert (column, row) == (round(column), round(row))
    assert msi.window.contains(PixelWindow(round(column), round(row), grid.width, grid.height))


def test_by_default_and_where_the_grids_nest_it_is_the_same(write_raster: WriteRaster) -> None:
    own, other = (open_pair(write_raster, {}, {"origin": (X + 50, Y - 20)}, grid=grid) for grid in ("hsi", "msi"))
    assert own.fine_grid == other.fine_grid
    assert other.window == PixelWindow(2, 1, 22, 19)
    assert not other.was_moved
    np.testing.assert_array_equal(other.read(other.grid.window).hsi, HSI[:, 1:, 2:])


def test_half_a_pixel_beside_nothing_is_resampled(write_raster: WriteRaster) -> None:
    """The HSI's grid is moved by half an MSI pixel, and both scenes' numbers stay as they are."""
    beside: dict[str, Any] = {"origin": (X - 5, Y + 4)}
    assert open_pair(write_raster, {}, beside).resampled
    pair = open_pair(write_raster, {}, beside, grid="msi")
    on_pixels_of(pair.fine_grid, pair.msi.grid)
    assert np.abs(np.array(pair.moved_by) * 3).max() <= 0.5 + 1e-9
    assert (pair.resampled, pair.places) == (False, None)
    block, window = pair.read(pair.grid.window), pair.window
    np.testing.assert_array_equal(block.hsi, HSI[:, window.rows, window.columns])
    column, row = (round(value) for value in ~pair.msi.grid.transform @ (pair.fine_grid.transform @ (0, 0)))
    height, width = block.msi_valid.shape
    np.testing.assert_array_equal(block.msi, MSI[:, row : row + height, column : column + width])


def test_an_hsi_in_degrees_lies_on_the_msis_pixels(write_raster: WriteRaster) -> None:
    """Y is interpolated where it belongs: on a plane the error is the plane's own bend."""
    grid, msi = in_degrees(), Grid(180, 180, Affine(10, 0, X, 0, -10, Y), UTM33)
    placed: dict[str, Any] = {"numbers": plane(grid, UTM33), "crs": "EPSG:4326", "transform": grid.transform}
    pair = open_pair(write_raster, placed, {"numbers": plane(msi)}, grid="msi")
    assert pair.ratio == 6
    assert not pair.resampled
    on_pixels_of(pair.fine_grid, msi)
    assert not any("`grid=msi`" in text for text in pair.warnings)
    whole = pair.read(pair.grid.window)
    assert whole.hsi_valid.mean() > 0.9
    expected = plane(pair.grid)
    inner = whole.hsi_valid.copy()
    inner[:5] = inner[-5:] = inner[:, :5] = inner[:, -5:] = False  # a spline mirrors a plane at its rim
    np.testing.assert_allclose(whole.hsi[:, inner], expected[:, inner], atol=5e-3)
    np.testing.assert_array_equal(whole.msi, plane(pair.fine_grid))
    window = PixelWindow(4, 3, 7, 5)
    part = pair.read(window)
    np.testing.assert_allclose(part.hsi, whole.crop(window).hsi, atol=1e-3)
    np.testing.assert_array_equal(part.hsi_valid, whole.crop(window).hsi_valid)


def test_what_the_hsi_shows_finds_its_place_on_the_msi(write_raster: WriteRaster) -> None:
    """The MSI under the HSI's own pixels, of which the imaging model is estimated."""
    grid, msi = in_degrees(), Grid(180, 180, Affine(10, 0, X, 0, -10, Y), UTM33)
    placed: dict[str, Any] = {"numbers": plane(grid, UTM33), "crs": "EPSG:4326", "transform": grid.transform}
    pair = open_pair(write_raster, placed, {"numbers": plane(msi)}, grid="msi")
    block = pair.read_on_hsi(PixelWindow(9, 8, 6, 5))
    np.testing.assert_array_equal(block.hsi, plane(grid, UTM33)[:, 8:13, 9:15])
    fine = grid.refine(6).crop(PixelWindow(54, 48, 36, 30))
    np.testing.assert_allclose(block.msi, plane(fine, UTM33), atol=5e-3)
    # A step of 60 m along a row of the output is one of 1.4 EMIT pixels, and hardly any down.
    np.testing.assert_allclose(pair.steps_on_hsi(), [[1.40, 0.0], [0.0, 1.0]], atol=0.03)


@pytest.mark.parametrize(("hsi_pixel", "msi_pixel", "ratio", "size"), [(30.0, 20.0, 2, "15 m"), (5.0, 3.0, 2, "2.5 m")])
def test_ratios_that_are_not_whole(
    write_raster: WriteRaster, hsi_pixel: float, msi_pixel: float, ratio: int, size: str
) -> None:
    grid = Grid(40, 40, Affine(msi_pixel, 0, X, 0, -msi_pixel, Y), UTM33)
    msi: dict[str, Any] = {"numbers": plane(grid), "pixel": msi_pixel}
    pair = open_pair(write_raster, {"pixel": hsi_pixel}, msi)
    assert pair.ratio == ratio
    assert pair.fine_grid.pixel_size == pytest.approx((hsi_pixel / ratio,) * 2)
    (told,) = (text for text in pair.warnings if "the output's pixels" in text)
    assert f"are {size}" in told
    assert f"the MSI's {msi_pixel:g} m" in told
    assert "`grid=msi`" in told
    inner = (slice(None), slice(4, -4), slice(4, -4))
    np.testing.assert_allclose(pair.read(pair.grid.window).msi[inner], plane(pair.fine_grid)[inner], atol=2e-3)
    other = open_pair(write_raster, {"pixel": hsi_pixel}, msi, grid="msi")
    on_pixels_of(other.fine_grid, grid)
    assert not any("the output's pixels" in text for text in other.warnings)
    assert (other.ratio, other.resampled) == (ratio, False)
    assert other.grid.pixel_size == (ratio * msi_pixel,) * 2


def test_degrees_are_told_in_metres(write_raster: WriteRaster) -> None:
    grid, msi = in_degrees(), Grid(180, 180, Affine(10, 0, X, 0, -10, Y), UTM33)
    hsi: dict[str, Any] = {"numbers": plane(grid, UTM33), "crs": "EPSG:4326", "transform": grid.transform}
    pair = open_pair(write_raster, hsi, {"numbers": plane(msi)})
    (told,) = (text for text in pair.warnings if "the output's pixels" in text)
    assert "are 7.1" in told
    assert " x 10.0" in told
    assert "not the MSI's 10 m: `grid=msi`" in told


def test_a_pixel_size_that_fits_leaves_the_hsi_as_it_is(write_raster: WriteRaster) -> None:
    pair = open_pair(write_raster, {}, {}, resolution=15.0)
    assert (pair.ratio, pair.places, pair.resampled) == (2, None, True)
    assert pair.fine_grid.transform == Affine(15, 0, X, 0, -15, Y)
    np.testing.assert_array_equal(pair.read(PixelWindow(2, 1, 5, 4)).hsi, HSI[:, 1:5, 2:7])
    finer = open_pair(write_raster, {}, {}, resolution=5.0, grid="msi")
    assert (finer.ratio, finer.places) == (6, None)
    assert any("pixels of 5 m are finer than the MSI's of 10 m" in text for text in finer.warnings)


@pytest.mark.parametrize(("grid", "corner"), [("hsi", (X, Y)), ("msi", (X + 7, Y - 8))])
def test_a_pixel_size_that_fits_nothing(write_raster: WriteRaster, grid: str, corner: tuple[float, float]) -> None:
    hsi = Grid(90, 90, Affine(30, 0, X, 0, -30, Y), UTM33)
    shown = Grid(90, 90, Affine(10, 0, X + 7, 0, -10, Y - 8), UTM33)
    pair = open_pair(
        write_raster, {"numbers": plane(hsi)}, {"numbers": plane(shown), "origin": (X + 7, Y - 8)},
        grid=grid, resolution=12.0,
    )  # fmt: skip
    assert pair.ratio == 3
    assert pair.fine_grid.pixel_size == pytest.approx((12, 12))
    column, row = (pair.fine_grid.transform.c - corner[0]) / 12, (corner[1] - pair.fine_grid.transform.f) / 12
    assert (column, row) == (pytest.approx(round(column)), pytest.approx(round(row)))
    block = pair.read(pair.grid.window)
    assert block.hsi_valid.all()
    inner = (slice(None), slice(5, -5), slice(5, -5))  # a spline mirrors a plane at its rim
    np.testing.assert_allclose(block.hsi[inner], plane(pair.grid)[inner], atol=2e-3)
    np.testing.assert_allclose(block.msi[inner], plane(pair.fine_grid)[inner], atol=5e-3)  # a wide kernel is sampled


def test_a_window_in_hsi_pixels_is_that_place_on_the_other_grid(write_raster: WriteRaster) -> None:
    grid, msi = in_degrees(), Grid(180, 180, Affine(10, 0, X, 0, -10, Y), UTM33)
    placed: dict[str, Any] = {"numbers": plane(grid, UTM33), "crs": "EPSG:4326", "transform": grid.transform}
    whole = open_pair(write_raster, placed, {"numbers": plane(msi)}, grid="msi")
    pair = open_pair(write_raster, placed, {"numbers": plane(msi)}, grid="msi", window=PixelWindow(8, 6, 14, 10))
    on_pixels_of(pair.fine_grid, msi)
    corner, end = (grid.transform @ place for place in ((8, 6), (22, 16)))
    x, y = transform_points(DEGREES, UTM33, *zip(corner, end, strict=True))
    fine = pair.fine_grid
    assert fine.bounds == pytest.approx((x[0], y[1], x[1], y[0]), abs=45)  # less than a pixel of 60 m
    column, row = ((edge - begin) / 60 for edge, begin in zip(
        (fine.transform.c, -fine.transform.f), (whole.fine_grid.transform.c, -whole.fine_grid.transform.f), strict=True
    ))  # fmt: skip
    assert (column, row) == (round(column), round(row))


def test_what_cannot_be_is_refused(write_raster: WriteRaster) -> None:
    with pytest.raises(RequestError, match=r"`hsi` or `msi`, not of 'both'"):
        OutputGrid("both")
    for size in (0.0, -3.0, float("nan"), float("inf")):
        with pytest.raises(RequestError, match=r"positive `resolution`"):
            OutputGrid("hsi", size)
    with pytest.raises(PairError, match=r"output pixel 30 m, HSI pixel 30 m\): ask for a finer `resolution`"):
        open_pair(write_raster, {}, {}, resolution=30.0)
    with pytest.raises(PairError, match=r"30\.00 is above 20 .*coarser pixels \(`resolution`\)"):
        open_pair(write_raster, {}, {}, resolution=1.0)
    nowhere: dict[str, Any] = {"crs": None, "transform": Affine.identity()}
    with pytest.raises(PairError, match="neither scene has a geotransform"):
        open_pair(write_raster, nowhere, nowhere, resolution=5.0)
    assert open_pair(write_raster, nowhere, nowhere, grid="msi").ratio == 3


def test_tags_say_it_again() -> None:
    for grid in (OutputGrid(), OutputGrid("msi"), OutputGrid("hsi", 12.5)):
        assert OutputGrid.of_tags(grid.tags(), "f.tif") == grid
    assert OutputGrid.of_tags({}, "f.tif") is None
    for broken in ({"HSFUSE_GRID": "x"}, {"HSFUSE_GRID": "msi", "HSFUSE_RESOLUTION": "wide"}):
        with pytest.raises(PairError, match=r"f\.tif: its tags"):
            OutputGrid.of_tags(broken, "f.tif")


# --- scenes of very different extents ---


def test_a_world_around_a_small_hsi() -> None:
    """The world's outline means nothing in UTM, the HSI's does on the world."""
    world = Grid(3600, 1800, Affine(0.1, 0, -180, 0, -0.1, 90), DEGREES)
    hsi = Grid(20, 20, Affine(30_000, 0, 4e5, 0, -30_000, 5.4e6), UTM33)
    assert common_area(hsi, world, 4) == hsi.window


def test_a_small_msi_in_a_large_hsi() -> None:
    """The ratio is that of the common area: at the HSI's centre, in the tropics, degrees are longer."""
    hsi = Grid(400, 800, Affine(0.1, 0, -20, 0, -0.1, 60), DEGREES)
    msi = Grid(60, 60, Affine(3000, 0, 5e5, 0, -3000, 6.6e6), UTM33)
    outline = overlap(hsi, msi)
    corners = [msi.transform @ corner for corner in ((0, 0), (60, 0), (60, 60), (0, 60))]
    x, y = transform_points(UTM33, DEGREES, *zip(*corners, strict=True))
    inside = np.array([(np.array(x) + 20) / 0.1, (60 - np.array(y)) / 0.1])
    np.testing.assert_allclose(outline.min(axis=0), inside.min(axis=1), atol=0.05)
    np.testing.assert_allclose(outline.max(axis=0), inside.max(axis=1), atol=0.05)
    area = common_area(hsi, msi, 4)
    assert (area.column, area.row) == tuple(np.ceil(outline.min(axis=0) - 0.01).astype(int))


def test_the_ratio_is_measured_where_both_lie(write_raster: WriteRaster) -> None:
    """At 59° north a tenth of a degree is 5.7 km wide, at the HSI's centre 10.4."""
    numbers = np.random.default_rng(0).integers(1, 999, (2, 400, 400)).astype(np.int16)
    hsi = {"numbers": numbers, "crs": "EPSG:4326", "transform": Affine(0.1, 0, -5, 0, -0.1, 60)}
    msi = {"pixel": 3700.0, "origin": (5e5, 6.6e6)}
    pair = open_pair(write_raster, hsi, msi)
    assert pair.ratio == 3
    assert any("1905 x 37" in text or "1906 x 37" in text or "are 19" in text for text in pair.warnings)
