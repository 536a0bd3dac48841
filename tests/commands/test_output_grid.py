"""An output on the MSI's own pixels, also of an HSI in degrees: as good as where grids nest, and scored there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import transform as transform_points
from scipy import ndimage

from hsfuse.commands.compare import compare
from hsfuse.commands.estimate import estimate
from hsfuse.commands.evaluate import evaluate
from hsfuse.commands.fuse import FuseResult, fuse
from hsfuse.errors import PairError
from hsfuse.fusion.opening import open_pair
from hsfuse.imaging import ImagingModel
from hsfuse.pairs.pair import PairRequest
from hsfuse.scenes import Grid, PixelWindow
from hsfuse.scenes.grid import map_pixels

from .conftest import COLUMNS, OFFSET, RATIO, ROWS, SCALE, TRUTH

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import KnownPair, MakePair

UTM33, DEGREES = CRS.from_epsg(32633), CRS.from_epsg(4326)
FINE = Grid(COLUMNS * RATIO, ROWS * RATIO, Affine(10, 0, 5e5, 0, -10, 5e6), UTM33)


def seen_on(grid: Grid, fwhm: float = 1.0) -> np.ndarray:
    """What an HSI with pixels on a grid of degrees sees of the truth, in the numbers of its file."""
    row, column = np.mgrid[: grid.height, : grid.width] + 0.5
    x, y = map_pixels(np.stack((column.ravel(), row.ravel()), axis=1), grid, FINE).T
    (left, top), (right, bottom) = map_pixels(np.array([[10.0, 10.0], [11.0, 11.0]]), grid, FINE)
    sigma = np.array([bottom - top, right - left]) * fwhm / 2.3548
    blurred = ndimage.gaussian_filter(TRUTH, (0, *sigma), mode="nearest")
    seen = [ndimage.map_coordinates(band, [y - 0.5, x - 0.5], order=3, mode="nearest") for band in blurred]
    return np.rint((np.array(seen).reshape(len(TRUTH), *row.shape) - OFFSET) / SCALE).astype(np.int16)


@pytest.fixture
def degrees(make_pair: MakePair) -> KnownPair:
    """An HSI whose pixels are 21 by 30 metres, wholly inside of the MSI."""
    (longitude,), (latitude,) = transform_points(UTM33, DEGREES, [5e5 + 47], [5e6 - 62])
    grid = Grid(62, 35, Affine(2.7e-4, 0, longitude, 0, -2.7e-4, latitude), DEGREES)
    return make_pair(hsi={"numbers": seen_on(grid), "crs": "EPSG:4326", "transform": grid.transform})


def run(pair: KnownPair, output: Path, **choices: Any) -> FuseResult:
    return fuse(
        pair.hsi, pair.msi, output, **({"model": "bayes", "srf": pair.imaging, "psf": "gaussian:1.0"} | choices)
    )


def error(path: Path) -> float:
    """RMSE away from the rim against the truth on the MSI's pixels, of which those of the file have to be."""
    with rasterio.open(path) as dataset:
        assert dataset.crs == UTM33
        assert tuple(dataset.transform)[:2] == (10.0, 0.0)
        assert dataset.transform.e == -10.0
        column, row = (dataset.transform.c - 5e5) / 10, (5e6 - dataset.transform.f) / 10
        assert (column, row) == (round(column), round(row))
        values = dataset.read(masked=True).astype(np.float64) * SCALE + OFFSET
    truth = TRUTH[:, round(row) :, round(column) :][:, : values.shape[1], : values.shape[2]]
    inner = ndimage.binary_erosion(~np.ma.getmaskarray(values).any(axis=0), iterations=6)
    return float(np.sqrt(np.mean((values.filled(0) - truth)[:, inner] ** 2)))


def test_it_costs_little_against_grids_that_nest(make_pair: MakePair, degrees: KnownPair, tmp_path: Path) -> None:
    """The HSI resampled onto squares of the MSI's pixels, its true width told to the method."""
    turned = run(degrees, tmp_path / "turned.tif", grid="msi")
    assert (turned.ratio, turned.resampled, turned.hsi_resampled, turned.pixel_size) == (3, False, True, (10.0, 10.0))
    nested = Grid(COLUMNS, ROWS, FINE.coarsen(RATIO).transform, UTM33)
    aligned = run(make_pair(hsi={"numbers": seen_on(nested)}), tmp_path / "aligned.tif", grid="msi")
    assert not aligned.hsi_resampled
    assert error(tmp_path / "turned.tif") < 1.5 * error(tmp_path / "aligned.tif")


def test_half_a_pixel_beside_is_in_the_model_and_not_in_the_numbers(make_pair: MakePair, tmp_path: Path) -> None:
    beside = Grid(COLUMNS - 1, ROWS - 1, FINE.transform @ Affine.translation(0.5, 0.5) @ Affine.scale(3), UTM33)
    files = make_pair(hsi={"numbers": seen_on(beside), "origin": (5e5 + 5, 5e6 - 5)})
    for psf in ("estimate", "gaussian:1.0"):
        pair = open_pair(files.hsi, files.msi, srf=files.imaging, psf=psf, grid="msi")
        assert (pair.scenes.resampled, pair.scenes.places) == (False, None)
        moved = np.array(pair.scenes.moved_by)
        assert np.abs(moved) == pytest.approx([1 / 6, 1 / 6])
        assert pair.imaging.shift == pytest.approx(-moved, abs=0.02)
        assert pair.shift is not None
        assert (pair.shift.x, pair.shift.y) == pytest.approx((0, 0), abs=0.02)
        assert pair.imaging_on_hsi.shift == pytest.approx((0, 0), abs=0.02)
    run(files, tmp_path / "beside.tif", grid="msi")
    nested = Grid(COLUMNS, ROWS, FINE.coarsen(RATIO).transform, UTM33)
    run(make_pair(hsi={"numbers": seen_on(nested)}), tmp_path / "aligned.tif")
    assert error(tmp_path / "beside.tif") < 1.5 * error(tmp_path / "aligned.tif")


def test_a_move_that_no_detail_shows_is_in_the_model_all_the_same(make_pair: MakePair) -> None:
    """Of two flat images no shift can be measured; where their grids lie is known."""
    rng = np.random.default_rng(3)
    flat = (3000 + 300 * np.arange(len(TRUTH))[:, None, None] + rng.integers(0, 3, (len(TRUTH), ROWS, COLUMNS)),)
    msi = 3000 + rng.integers(0, 3, (4, ROWS * RATIO, COLUMNS * RATIO))
    files = make_pair(
        hsi={"numbers": flat[0].astype(np.int16), "origin": (5e5 + 5, 5e6 - 5)}, msi={"numbers": msi.astype(np.uint16)}
    )
    for psf in ("estimate", "gaussian:1.0"):
        pair = open_pair(files.hsi, files.msi, srf=files.imaging, psf=psf, grid="msi")
        assert np.abs(pair.scenes.moved_by) == pytest.approx([1 / 6, 1 / 6])
        assert pair.imaging.shift == pytest.approx(-np.array(pair.scenes.moved_by))
        assert pair.imaging_on_hsi.shift == (0.0, 0.0)


def test_widths_are_told_in_hsi_pixels_and_used_on_the_outputs(degrees: KnownPair, tmp_path: Path) -> None:
    """An HSI pixel is 21 m wide and 30 high, one of the output's squares 30 m."""
    blind = estimate(degrees.hsi, degrees.msi, tmp_path / "found.json", srf=degrees.imaging, grid="msi")
    written = ImagingModel.load(tmp_path / "found.json")
    assert written.psf.fwhm == pytest.approx((1.0, 1.0), abs=0.1)
    for pair in (blind.pair, open_pair(degrees.hsi, degrees.msi, srf=degrees.imaging, psf="gaussian:1.0", grid="msi")):
        assert pair.imaging.psf.fwhm == pytest.approx((0.71, 1.0), abs=0.08)
    again = open_pair(
        degrees.hsi, degrees.msi, srf=degrees.imaging, psf=str(tmp_path / "found.json"), grid="msi"
    )  # fmt: skip
    np.testing.assert_allclose(again.imaging.psf.kernel, blind.pair.imaging.psf.kernel, atol=1e-6)


@pytest.mark.parametrize("choices", [{}, {"window": PixelWindow(11, 6, 40, 24)}, {"coregister": True}])
def test_a_fused_image_is_scored_where_its_tags_say(
    degrees: KnownPair, tmp_path: Path, choices: dict[str, Any]
) -> None:
    result = run(degrees, tmp_path / "f.tif", grid="msi", **choices)
    with rasterio.open(result.output) as dataset:
        assert dataset.tags()["HSFUSE_GRID"] == "msi"
    request = PairRequest(degrees.hsi, degrees.msi, srf=degrees.imaging, psf="gaussian:1.0")
    without = evaluate(result.output, pair=request)
    assert without.scores.consistency_hsi > 35
    with_reference = evaluate(result.output, degrees.reference).scores
    assert with_reference.pixels <= result.width * result.height
    assert with_reference.psnr > 30
    assert error(result.output) < 0.01


def test_an_image_on_another_grid_than_the_pairs_is_refused(degrees: KnownPair, tmp_path: Path) -> None:
    run(degrees, tmp_path / "f.tif", grid="msi", model="gsa")
    pair = open_pair(degrees.hsi, degrees.msi, srf=degrees.imaging, psf="gaussian:1.0")
    with pytest.raises(PairError, match=r"f\.tif \(pixels of 10 m\) does not lie on the grid of .*hsi\.tif cut into"):
        evaluate(tmp_path / "f.tif", pair=pair)


def test_a_pixel_size_of_the_users(degrees: KnownPair, tmp_path: Path) -> None:
    result = run(degrees, tmp_path / "f.tif", grid="msi", resolution=15.0, model="gsa")
    assert result.pixel_size == pytest.approx((15, 15))
    assert result.ratio == 2
    assert (
        evaluate(
            result.output, pair=PairRequest(degrees.hsi, degrees.msi, srf=degrees.imaging, psf="gaussian:1.0")
        ).scores.qnr
        > 0.8
    )


def test_methods_are_compared_on_the_msis_grid(degrees: KnownPair) -> None:
    found = compare(
        degrees.hsi, degrees.msi, reference=degrees.reference, methods=["bicubic", "gsa"], srf=degrees.imaging,
        psf="gaussian:1.0", grid="msi",
    )  # fmt: skip
    bicubic, gsa = (entry.scores for entry in found.entries)
    assert bicubic is not None
    assert gsa is not None
    assert gsa.psnr > bicubic.psnr + 5
