"""Two scenes read together: nested, resampled, turned, in two zones, and without a CRS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.warp import transform as transform_points

from hsfuse.errors import PairError, RequestError
from hsfuse.scenes import Grid, PixelWindow, Scene, ScenePair
from hsfuse.scenes.resampling import resample
from hsfuse.scenes.scene import Block

if TYPE_CHECKING:
    from conftest import WriteRaster
    from numpy.typing import NDArray

RNG = np.random.default_rng(2)
HSI = RNG.integers(1, 9999, (6, 20, 24)).astype(np.int16)
MSI = RNG.integers(1, 9999, (3, 60, 72)).astype(np.uint16)
X, Y = 5e5, 5e6


def plane(grid: Grid, crs: CRS | None = None) -> NDArray[np.float32]:
    """An image whose value says where a pixel's centre lies: 100 + x/100 + y/50 from the origin, in `crs`."""
    columns, rows = np.meshgrid(np.arange(grid.width) + 0.5, np.arange(grid.height) + 0.5)
    x, y = grid.transform @ (columns.ravel(), rows.ravel())
    if crs is not None and grid.crs is not None:
        x, y = (np.array(axis) for axis in transform_points(grid.crs, crs, x, y))
    values = 100 + (x - X) / 100 + (y - Y) / 50
    return values.reshape(1, grid.height, grid.width).astype(np.float32)


def open_pair(write_raster: WriteRaster, hsi: dict[str, Any], msi: dict[str, Any], **options: Any) -> ScenePair:
    hsi_path = write_raster("hsi.tif", **({"numbers": HSI, "pixel": 30.0} | hsi))
    msi_path = write_raster("msi.tif", **({"numbers": MSI, "pixel": 10.0} | msi))
    return ScenePair.open(Scene.open(hsi_path), Scene.open(msi_path), **options)


# --- grids that nest ---


def test_nested_pair_is_read_as_it_is(write_raster: WriteRaster) -> None:
    pair = open_pair(write_raster, {}, {})
    assert (pair.ratio, pair.resampled, pair.window) == (3, False, PixelWindow(0, 0, 24, 20))
    block = pair.read(PixelWindow(2, 1, 5, 4))
    np.testing.assert_array_equal(block.hsi, HSI[:, 1:5, 2:7])
    np.testing.assert_array_equal(block.msi, MSI[:, 3:15, 6:21])
    assert block.hsi_valid.all()
    assert block.msi_valid.all()


def test_windows_count_from_the_common_area(write_raster: WriteRaster) -> None:
    """The MSI begins two HSI pixels to the right and one down, plus one MSI pixel that is half of nothing."""
    pair = open_pair(write_raster, {}, {"origin": (X + 50, Y - 20)})
    assert pair.window == PixelWindow(2, 1, 22, 19)
    assert pair.grid.transform == Affine(30, 0, X + 60, 0, -30, Y - 30)
    assert (pair.fine_grid.width, pair.fine_grid.height) == (66, 57)
    block = pair.read(PixelWindow(0, 0, 1, 1))
    np.testing.assert_array_equal(block.hsi[:, 0, 0], HSI[:, 1, 2])
    np.testing.assert_array_equal(block.msi, MSI[:, 1:4, 1:4])


def test_bands_and_window_of_the_user(write_raster: WriteRaster) -> None:
    pair = open_pair(write_raster, {}, {}, hsi_bands=[4, 1], msi_bands=[2], window=PixelWindow(3, 2, 30, 4))
    assert pair.window == PixelWindow(3, 2, 21, 4)
    assert any("3,2,30,4 was cut" in warning for warning in pair.warnings)
    block = pair.read(PixelWindow(0, 0, 21, 4))
    np.testing.assert_array_equal(block.hsi, HSI[[4, 1], 2:6, 3:])
    np.testing.assert_array_equal(block.msi, MSI[[2], 6:18, 9:])


def test_a_window_outside_is_refused(write_raster: WriteRaster) -> None:
    with pytest.raises(PairError, match="30,0,5,5 lies outside"):
        open_pair(write_raster, {}, {}, window=PixelWindow(30, 0, 5, 5))
    with pytest.raises(RequestError, match="reaches over"):
        open_pair(write_raster, {}, {}).read(PixelWindow(20, 0, 5, 5))


def test_bad_and_empty_bands_are_left_out_with_a_warning(write_raster: WriteRaster) -> None:
    numbers = HSI.copy()
    numbers[2:4] = -1
    flags = [{"bbl": "0" if band == 5 else "1"} for band in range(6)]
    pair = open_pair(write_raster, {"numbers": numbers, "nodata": -1, "band_tags": flags}, {})
    assert pair.hsi_bands == (0, 1, 4)
    assert any("3 of 6 HSI bands" in warning and "3-4,6" in warning for warning in pair.warnings)
    assert pair.read(PixelWindow(0, 0, 24, 20)).hsi_valid.all()


# --- resampling ---


@settings(max_examples=25, deadline=None)
@given(st.floats(-8, 8), st.floats(-8, 8))
def test_resampling_puts_values_where_they_lie(dx: float, dy: float) -> None:
    """Cubic convolution reproduces a plane, so half a pixel of displacement would show."""
    crs = CRS.from_epsg(32633)
    source = Grid(60, 60, Affine(10, 0, X, 0, -10, Y), crs)
    target = Grid(30, 30, Affine(10, 0, X + 150 + dx, 0, -10, Y - 150 + dy), crs)
    block = resample(Block(plane(source), np.ones((60, 60), dtype=bool)), source, target)
    assert block.valid.all()
    np.testing.assert_allclose(block.values, plane(target), atol=2e-3)


@settings(max_examples=25, deadline=None)
@given(st.floats(-0.49, 0.49), st.floats(-0.49, 0.49), st.integers(0, 99))
def test_invalid_pixels_neither_bleed_nor_grow(dx: float, dy: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    crs = CRS.from_epsg(32633)
    grid = Grid(20, 20, Affine(10, 0, X, 0, -10, Y), crs)
    values, valid = rng.uniform(1, 2, (2, 20, 20)).astype(np.float32), rng.random((20, 20)) < 0.8
    values[:, ~valid] = 1e6
    moved = Grid(20, 20, grid.transform @ Affine.translation(dx, dy), crs)
    block = resample(Block(values, valid), grid, moved)
    # Shifts below half a pixel leave every centre in its own pixel.
    np.testing.assert_array_equal(block.valid, valid)
    assert block.values.max() < 10


def test_shifted_grids_are_resampled_with_nodata_and_alike_in_tiles(write_raster: WriteRaster) -> None:
    msi = MSI.copy()
    msi[0, 30, 30] = 0
    pair = open_pair(write_raster, {}, {"numbers": msi, "nodata": 0, "origin": (X - 4, Y + 3)})
    assert pair.resampled
    whole = pair.read(pair.grid.window)
    assert whole.msi.shape == (3, 3 * pair.window.height, 3 * pair.window.width)
    assert (~whole.msi_valid).sum() == 1
    for window in (PixelWindow(0, 0, 7, 5), PixelWindow(7, 5, 9, 8), PixelWindow(20, 15, 3, 4)):
        part, fine = pair.read(window), window.scaled(3)
        np.testing.assert_array_equal(part.msi, whole.msi[:, fine.rows, fine.columns])
        np.testing.assert_array_equal(part.msi_valid, whole.msi_valid[fine.rows, fine.columns])


def test_ratio_within_two_percent_is_resampled_in_place(write_raster: WriteRaster) -> None:
    msi_grid = Grid(80, 80, Affine(10.1, 0, X - 40, 0, -10.1, Y + 40), CRS.from_epsg(32633))
    pair = open_pair(write_raster, {}, {"numbers": plane(msi_grid), "transform": msi_grid.transform})
    assert (pair.ratio, pair.resampled) == (3, True)
    block = pair.read(pair.grid.window)
    assert block.msi_valid.all()
    np.testing.assert_allclose(block.msi, plane(pair.fine_grid), atol=2e-3)


def test_turned_hsi_with_msi_north_up(write_raster: WriteRaster) -> None:
    turned = Affine.translation(X + 900, Y - 900) @ Affine.rotation(71) @ Affine.scale(30, -30)
    msi_grid = Grid(200, 200, Affine(10, 0, X, 0, -10, Y), CRS.from_epsg(32633))
    pair = open_pair(write_raster, {"transform": turned}, {"numbers": plane(msi_grid)})
    assert pair.ratio == 3
    assert pair.window == PixelWindow(0, 0, 24, 20)
    block = pair.read(pair.grid.window)
    assert block.msi_valid.all()
    np.testing.assert_allclose(block.msi, plane(pair.fine_grid), atol=2e-3)


def test_corners_that_a_turned_msi_leaves_open_are_invalid(write_raster: WriteRaster) -> None:
    turned = Affine.translation(X + 900, Y - 500) @ Affine.rotation(71) @ Affine.scale(30, -30)
    msi_grid = Grid(200, 200, Affine(10, 0, X, 0, -10, Y), CRS.from_epsg(32633))
    pair = open_pair(write_raster, {"transform": turned}, {"numbers": plane(msi_grid)})
    block, seen = pair.read(pair.grid.window), plane(pair.fine_grid)[0]
    columns, rows = np.meshgrid(np.arange(72) + 0.5, np.arange(60) + 0.5)
    inside = pair.fine_grid.transform @ (columns, rows)
    np.testing.assert_array_equal(block.msi_valid, inside[1] < Y)
    np.testing.assert_allclose(block.msi[0][block.msi_valid], seen[block.msi_valid], atol=0.2)


def test_turned_grids_that_nest_are_not_resampled(write_raster: WriteRaster) -> None:
    turned = Affine.translation(X, Y) @ Affine.rotation(71)
    pair = open_pair(
        write_raster,
        {"transform": turned @ Affine.scale(30, -30)}, {"transform": turned @ Affine.scale(10, -10)},
    )  # fmt: skip
    assert not pair.resampled
    np.testing.assert_array_equal(pair.read(PixelWindow(1, 2, 3, 4)).msi, MSI[:, 6:18, 3:12])


def test_msi_in_the_neighbouring_zone(write_raster: WriteRaster) -> None:
    utm33, utm32 = CRS.from_epsg(32633), CRS.from_epsg(32632)
    hsi_origin = (300_000.0, 5_500_000.0)
    (x,), (y,) = transform_points(utm33, utm32, [hsi_origin[0]], [hsi_origin[1]])
    msi_grid = Grid(120, 120, Affine(10, 0, x - 200, 0, -10, y + 200), utm32)
    pair = open_pair(
        write_raster, {"origin": hsi_origin}, {"numbers": plane(msi_grid, utm33), "crs": "EPSG:32632",
                                              "transform": msi_grid.transform},
    )  # fmt: skip
    assert (pair.ratio, pair.resampled) == (3, True)
    block = pair.read(pair.grid.window)
    assert block.msi_valid.all()
    # A plane in one zone is nearly one in the other; its values are thousands here.
    np.testing.assert_allclose(block.msi, plane(pair.fine_grid), atol=0.01)
    part = pair.read(PixelWindow(9, 6, 4, 5))
    # Not to the last bit: PROJ's coordinates carry the rounding of the window's own origin.
    np.testing.assert_allclose(part.msi, block.msi[:, 18:33, 27:39], rtol=1e-6)


def test_moving_the_hsi(write_raster: WriteRaster) -> None:
    """Two MSI pixels to the left and one down: the area follows the MSI, whose pixels are read as they are."""
    pair = open_pair(write_raster, {}, {}, window=PixelWindow(5, 5, 10, 10))
    moved = pair.moved(-2 / 3, 1 / 3)
    assert (moved.resampled, moved.was_moved, pair.was_moved) == (False, True, False)
    block = moved.read(moved.grid.window)
    np.testing.assert_array_equal(block.msi, MSI[:, 16:46, 13:43])
    np.testing.assert_array_equal(block.hsi, HSI[:, 5:15, 5:15])
    assert moved.fine_grid.transform @ (0, 0) == pytest.approx((X + 130, Y - 160))
    assert pair.moved(0.5, 0).resampled


def test_a_move_that_nests(write_raster: WriteRaster) -> None:
    """The nearest one that has the MSI read as it is, also where the grids did not nest before."""
    pair = open_pair(write_raster, {}, {})
    assert pair.nested_move(0.4, -1.1) == pytest.approx((1 / 3, -1))
    beside = open_pair(write_raster, {}, {"origin": (X + 4, Y + 4)})
    x, y = beside.nested_move(0.5, 0.0)
    assert (x, y) == pytest.approx((14 / 30, -4 / 30))
    assert not beside.moved(x, y).resampled
    turned = open_pair(
        write_raster, {}, {"transform": Affine.translation(X, Y) @ Affine.rotation(5) @ Affine.scale(10, -10)}
    )
    assert turned.nested_move(0.4, -1.1) == (0.4, -1.1)


def test_a_move_finds_the_area_anew(write_raster: WriteRaster) -> None:
    """What the MSI does not cover where the HSI's file places it comes in, what it leaves goes out."""
    pair = open_pair(write_raster, {}, {"origin": (X + 60, Y)})
    assert pair.window == PixelWindow(2, 0, 22, 20)
    assert pair.moved(2, 0).window == PixelWindow(0, 0, 24, 20)
    assert pair.moved(5, 3).window == PixelWindow(0, 0, 21, 17)
    with pytest.raises(PairError):
        pair.moved(100, 0)


def test_a_ratio_of_the_user(write_raster: WriteRaster) -> None:
    msi_grid = Grid(90, 90, Affine(8, 0, X, 0, -8, Y), CRS.from_epsg(32633))
    msi = {"numbers": plane(msi_grid), "transform": msi_grid.transform}
    assert open_pair(write_raster, {}, msi, ratio=3).ratio == 3
    pair = open_pair(write_raster, {}, msi)
    assert pair.ratio == 4  # 3.75
    inner = (slice(None), slice(4, -4), slice(4, -4))
    np.testing.assert_allclose(pair.read(pair.grid.window).msi[inner], plane(pair.fine_grid)[inner], atol=2e-3)


# --- files that do not say where they lie ---


def test_no_crs_on_either_side(write_raster: WriteRaster) -> None:
    pair = open_pair(write_raster, {"crs": None}, {"crs": None, "origin": (X + 30, Y)})
    assert pair.window == PixelWindow(1, 0, 23, 20)
    assert any("neither scene has a CRS" in warning for warning in pair.warnings)


def test_no_crs_and_resampling(write_raster: WriteRaster) -> None:
    pair = open_pair(write_raster, {"crs": None}, {"crs": None, "origin": (X - 4, Y + 4)})
    assert pair.resampled
    assert pair.read(pair.grid.window).msi_valid.all()


@pytest.mark.parametrize("extra", [0, 1])
def test_no_transform_on_either_side(write_raster: WriteRaster, extra: int) -> None:
    """The extents are the same up to an MSI pixel or so that does not make a whole HSI pixel."""
    msi = RNG.integers(1, 99, (3, 60 + extra, 72)).astype(np.uint16)
    nowhere: dict[str, Any] = {"crs": None, "transform": Affine.identity()}
    pair = open_pair(write_raster, nowhere, {"numbers": msi, **nowhere})
    assert (pair.ratio, pair.resampled, pair.window) == (3, False, PixelWindow(0, 0, 24, 20))
    assert any("same extent" in warning for warning in pair.warnings)
    np.testing.assert_array_equal(pair.read(PixelWindow(1, 2, 3, 4)).msi, msi[:, 6:18, 3:12])


def test_one_side_without_crs_is_refused_by_name(write_raster: WriteRaster) -> None:
    with pytest.raises(PairError, match=r"hsi\.tif has no CRS while .*msi\.tif has EPSG:32633"):
        open_pair(write_raster, {"crs": None}, {})
    with pytest.raises(PairError, match=r"msi\.tif has no CRS"):
        open_pair(write_raster, {}, {"crs": None})


def test_one_side_without_transform_is_refused_by_name(write_raster: WriteRaster) -> None:
    with pytest.raises(PairError, match=r"msi\.tif has no geotransform"):
        open_pair(write_raster, {"crs": None}, {"crs": None, "transform": Affine.identity()})


def test_scenes_apart_are_refused(write_raster: WriteRaster) -> None:
    with pytest.raises(PairError, match="do not overlap"):
        open_pair(write_raster, {}, {"origin": (X + 10_000, Y)})


# --- samples ---


def test_a_small_area_is_sampled_whole(write_raster: WriteRaster) -> None:
    (block,) = open_pair(write_raster, {}, {}).sample()
    np.testing.assert_array_equal(block.hsi, HSI)


def test_a_large_area_is_sampled_in_patches(write_raster: WriteRaster) -> None:
    pair = open_pair(write_raster, {}, {})
    blocks = pair.sample(max_pixels=100, patch=5)
    assert len(blocks) == 4
    assert all(block.hsi.shape == (6, 5, 5) and block.msi.shape == (3, 15, 15) for block in blocks)
    np.testing.assert_array_equal(blocks[0].hsi, HSI[:, :5, :5])
    np.testing.assert_array_equal(blocks[-1].hsi, HSI[:, -5:, -5:])
    again = pair.sample(max_pixels=100, patch=5)
    assert all((one.msi == other.msi).all() for one, other in zip(blocks, again, strict=True))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 479), st.integers(1, 30))
def test_a_sample_is_never_larger_than_asked(
    tmp_path_factory: pytest.TempPathFactory, max_pixels: int, patch: int
) -> None:
    import rasterio

    folder = tmp_path_factory.getbasetemp()
    for name, numbers, pixel in (("h.tif", HSI, 30), ("m.tif", MSI, 10)):
        if not (folder / name).exists():
            with rasterio.open(
                folder / name, "w", driver="GTiff", count=len(numbers), height=numbers.shape[1],
                width=numbers.shape[2], dtype=numbers.dtype, transform=Affine(pixel, 0, X, 0, -pixel, Y),
            ) as dataset:  # fmt: skip
                dataset.write(numbers)
    blocks = ScenePair.open(Scene.open(folder / "h.tif"), Scene.open(folder / "m.tif")).sample(max_pixels, patch)
    assert 0 < sum(block.hsi_valid.size for block in blocks) <= max_pixels


# --- pixels that no fit should learn from ---


def test_a_suspect_pixel_stays_where_it_is(write_raster: WriteRaster) -> None:
    """A spike is resampled to the pixels whose centres it is under, and reaches none of its neighbours."""
    grid = Grid(40, 40, Affine(10, 0, X, 0, -10, Y), CRS.from_epsg(32633))
    moved = Grid(40, 40, Affine(10, 0, X + 3, 0, -10, Y - 2), CRS.from_epsg(32633))
    valid, suspect = np.ones((40, 40), dtype=bool), np.zeros((40, 40), dtype=bool)
    values = plane(grid)
    suspect[20, 21] = True
    values[0, 20, 21] = 1e6
    block = resample(Block(values, valid, None, suspect), grid, moved)
    assert np.argwhere(block.suspect).tolist() == [[20, 21]]
    assert block.values[0, 20, 21] == 1e6
    inner = ~block.suspect & block.valid
    inner[:2] = inner[-2:] = inner[:, :2] = inner[:, -2:] = False
    np.testing.assert_allclose(block.values[0][inner], plane(moved)[0][inner], atol=0.2)


def test_fits_see_no_suspect_pixels(write_raster: WriteRaster) -> None:
    hsi, msi = np.tile(HSI, (2, 1, 1)).astype(np.int32), MSI.astype(np.int32)
    hsi[6:] += 7
    hsi[3, 4, 5], hsi[2, 9, 9], msi[1, 30, 31] = 10**7, -9999, 10**7
    block = open_pair(write_raster, {"numbers": hsi}, {"numbers": msi}).sample()[0]
    assert block.hsi_valid.all()
    fits = block.for_fits()
    assert np.argwhere(~fits.hsi_valid).tolist() == np.argwhere(block.hsi_suspect).tolist() == [[4, 5]]
    assert np.argwhere(~fits.msi_valid).tolist() == [[30, 31]]
    assert np.argwhere(block.hsi_missing).tolist() == np.argwhere(fits.hsi_missing).tolist() == [[2, 9, 9]]
    assert fits.hsi.max() < 1e5
    assert not fits.hsi_suspect.any()
