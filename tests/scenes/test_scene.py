"""Opening scenes, and reading physical values with a mask of what is valid."""

from __future__ import annotations

import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.rpc import RPC

from hsfuse.errors import RequestError, SceneError, WorkError
from hsfuse.scenes import PixelWindow, Scene

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import WriteRaster

RNG = np.random.default_rng(1)
CUBE = RNG.integers(1, 9999, (4, 40, 50)).astype(np.int16)
WHOLE = PixelWindow(0, 0, 50, 40)


def test_what_a_scene_says(write_raster: WriteRaster) -> None:
    path = write_raster("a.tif", CUBE, nodata=-32768, scale=1e-4, offset=-0.1, tags={"maker": "me"})
    scene = Scene.open(path)
    assert (scene.count, scene.grid.width, scene.grid.height) == (4, 50, 40)
    assert (scene.dtype, scene.nodata, scene.tags["maker"]) == ("int16", -32768, "me")
    assert scene.grid.crs is not None
    assert scene.grid.crs.to_epsg() == 32633
    assert scene.grid.transform == Affine(30, 0, 5e5, 0, -30, 5e6)
    assert scene.scales.tolist() == [1e-4] * 4
    assert scene.offsets.tolist() == [-0.1] * 4


def test_scale_and_offset_are_undone(write_raster: WriteRaster) -> None:
    block = Scene.open(write_raster("a.tif", CUBE, scale=1e-4, offset=-0.1)).read(WHOLE)
    assert block.values.dtype == np.float32
    np.testing.assert_allclose(block.values, CUBE * 1e-4 - 0.1, rtol=1e-6, atol=1e-7)
    assert block.valid.all()


def test_wide_integers_keep_their_digits_under_an_offset(write_raster: WriteRaster) -> None:
    numbers = np.array([[[2_000_000_001, 2_000_000_003]]], np.int32)
    block = Scene.open(write_raster("a.tif", numbers, offset=-2e9)).read(PixelWindow(0, 0, 2, 1))
    assert block.values.tolist() == [[[1, 3]]]


def test_windows_and_bands_are_those_of_the_file(write_raster: WriteRaster) -> None:
    scene = Scene.open(write_raster("a.tif", CUBE))
    block = scene.read(PixelWindow(7, 3, 11, 5), [2, 0])
    np.testing.assert_array_equal(block.values, CUBE[[2, 0], 3:8, 7:18])


@pytest.mark.parametrize("nodata", [-32768, 0, 77])
def test_nodata_of_any_band_hides_the_pixel(write_raster: WriteRaster, nodata: int) -> None:
    numbers = np.where(nodata == CUBE, 78, CUBE).astype(np.int16)
    numbers[1, 5, 6] = numbers[3, 20, 30] = nodata
    block = Scene.open(write_raster("a.tif", numbers, nodata=nodata, scale=0.5, offset=3)).read(WHOLE)
    assert np.argwhere(~block.valid).tolist() == [[5, 6], [20, 30]]
    assert (block.values[:, ~block.valid] == 0).all()


def test_only_the_bands_asked_for_decide(write_raster: WriteRaster) -> None:
    numbers = CUBE.copy()
    numbers[3, 0, 0] = -1
    assert Scene.open(write_raster("a.tif", numbers, nodata=-1)).read(WHOLE, [0, 1]).valid.all()


def test_nan_and_infinity_never_leak(write_raster: WriteRaster) -> None:
    numbers = CUBE.astype(np.float64)
    numbers[0, 1, 2], numbers[2, 3, 4], numbers[1, 9, 9] = np.nan, np.inf, 1e300
    block = Scene.open(write_raster("a.tif", numbers, nodata=np.nan)).read(WHOLE)
    assert np.argwhere(~block.valid).tolist() == [[1, 2], [3, 4], [9, 9]]
    assert np.isfinite(block.values).all()


def test_nodata_that_only_float32_rounds_to(write_raster: WriteRaster) -> None:
    """The customary −3.4e38 is not a float32; what stands in the file is its neighbour."""
    numbers = CUBE.astype(np.float32)
    numbers[0, 1, 2] = -3.4e38
    block = Scene.open(write_raster("a.tif", numbers, nodata=-3.4e38)).read(WHOLE)
    assert np.argwhere(~block.valid).tolist() == [[1, 2]]


def test_mask_of_the_dataset(write_raster: WriteRaster) -> None:
    mask = np.ones((40, 50), dtype=bool)
    mask[10:12, 20:25] = False
    block = Scene.open(write_raster("a.tif", CUBE, mask=mask)).read(WHOLE)
    np.testing.assert_array_equal(block.valid, mask)


def test_alpha_band_is_a_mask_and_no_band(write_raster: WriteRaster) -> None:
    alpha = np.full((1, 40, 50), 255, np.uint8)
    alpha[0, 4, 5] = 0
    numbers = np.concatenate((RNG.integers(1, 255, (3, 40, 50)).astype(np.uint8), alpha))
    scene = Scene.open(write_raster("a.tif", numbers, photometric="RGB", ALPHA="YES"))
    assert scene.alpha_band == 3
    assert scene.bands.good.tolist() == [True, True, True, False]
    block = scene.read(WHOLE)
    assert block.values.shape[0] == 3
    assert np.argwhere(~block.valid).tolist() == [[4, 5]]


def test_infrared_that_gdal_takes_for_alpha_stays_a_band(write_raster: WriteRaster) -> None:
    """Four bands of bytes are red, green, blue and alpha to GDAL; dark infrared (water) is valid though."""
    numbers = RNG.integers(1, 255, (4, 40, 50)).astype(np.uint8)
    numbers[3, 4, 5] = 0
    path = write_raster("a.tif", numbers)
    with rasterio.open(path) as dataset:
        assert dataset.colorinterp[3] == ColorInterp.alpha
    scene = Scene.open(path)
    assert scene.alpha_band is None
    block = scene.read(WHOLE)
    assert block.values.shape[0] == 4
    assert block.valid.all()


# --- bands and scenes without data ---


def test_empty_bands_are_not_good(write_raster: WriteRaster) -> None:
    numbers = CUBE.copy()
    numbers[1], numbers[2] = -32768, 0
    scene = Scene.open(write_raster("a.tif", numbers, nodata=-32768))
    assert scene.empty_bands == (1, 2)
    assert scene.bands.good.tolist() == [True, False, False, True]
    assert scene.read(WHOLE, np.flatnonzero(scene.bands.good).tolist()).valid.all()


def test_a_band_of_zeros_alone_is_no_fault(write_raster: WriteRaster) -> None:
    assert Scene.open(write_raster("a.tif", np.zeros((2, 5, 5), np.int16))).bands.good.all()


def test_a_scene_of_nodata_is_refused(write_raster: WriteRaster) -> None:
    path = write_raster("a.tif", np.full((2, 300, 300), -1, np.int16), nodata=-1)
    with pytest.raises(SceneError, match=r"a\.tif: every pixel is nodata"):
        Scene.open(path)


def test_data_in_a_small_corner_only_is_found(write_raster: WriteRaster) -> None:
    numbers = np.full((2, 600, 600), -1, np.int16)
    numbers[:, 100:110, 100:110] = 5
    scene = Scene.open(write_raster("a.tif", numbers, nodata=-1))
    assert scene.bands.good.all()


def test_a_masked_out_scene_is_refused(write_raster: WriteRaster) -> None:
    path = write_raster("a.tif", CUBE, mask=np.zeros((40, 50), dtype=bool))
    with pytest.raises(SceneError, match="masked"):
        Scene.open(path)


def test_a_scene_under_a_closed_alpha_band_is_refused(write_raster: WriteRaster) -> None:
    numbers = np.concatenate((np.full((3, 40, 50), 9, np.uint8), np.zeros((1, 40, 50), np.uint8)))
    with pytest.raises(SceneError, match="masked"):
        Scene.open(write_raster("a.tif", numbers, photometric="RGB", ALPHA="YES"))


# --- what cannot be opened or read ---


def test_missing_file() -> None:
    with pytest.raises(SceneError, match=r"nowhere/a\.tif: there is no such file"):
        Scene.open("nowhere/a.tif")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("x" * 300, "no file can have this name"), ("a\udcff.tif", "the name is not UTF-8"), ("a\0b", "no file can have")],
)
def test_names_that_no_file_can_have(name: str, sentence: str) -> None:
    with pytest.raises(SceneError, match=sentence):
        Scene.open(name)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tif")
    with pytest.raises(SceneError, match=r"pipe\.tif: a device or pipe"):
        Scene.open(tmp_path / "pipe.tif")


def test_a_pipe_beside_the_scene_is_not_waited_for(write_raster: WriteRaster, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.hdr")
    assert Scene.open(write_raster("a.tif", CUBE)).bands.wavelength_nm is None


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.tif").touch()
    with pytest.raises(SceneError, match=r"a\.tif: the file is empty"):
        Scene.open(tmp_path / "a.tif")


def test_no_raster(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(SceneError, match=r"notes\.txt: cannot be read as a raster"):
        Scene.open(tmp_path / "notes.txt")


def test_hdf5_that_no_reader_knows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "product.h5"
    with h5py.File(path, "w") as file:
        file["Reflectance"] = np.zeros((5, 6, 40), np.int16)  # rows, columns, bands
    with pytest.raises(SceneError, match=r"no reader knows .* holds /Reflectance \(5, 6, 40\)"):
        Scene.open(str(path))


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="no product or raster is in there"):
        Scene.open(tmp_path)


def test_complex_numbers_are_refused(write_raster: WriteRaster) -> None:
    with pytest.raises(SceneError, match="complex64"):
        Scene.open(write_raster("a.tif", np.ones((1, 4, 4), np.complex64)))


@pytest.mark.parametrize("driver", ["GTiff", "ENVI"])
@pytest.mark.parametrize("keep", [0.05, 0.5, 0.98])
def test_a_file_that_breaks_off_is_found_on_opening(write_raster: WriteRaster, driver: str, keep: float) -> None:
    path = write_raster("a.img", RNG.integers(1, 99, (3, 400, 400)).astype(np.int16), driver=driver)
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(SceneError, match=r"a\.img: (cannot be read|cut off)"):
        Scene.open(path)


def test_damage_that_shows_only_on_reading(write_raster: WriteRaster) -> None:
    path = write_raster(
        "a.tif", RNG.integers(1, 99, (1, 3000, 3000)).astype(np.int16),
        compress="deflate", tiled=True, blockxsize=64, blockysize=64,
    )  # fmt: skip
    scene = Scene.open(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 3 : len(content) // 3 + 9999] = bytes(9999)
    path.write_bytes(content)
    with pytest.raises(WorkError, match=r"a\.tif: cannot be read"):
        scene.read(scene.grid.window)


def test_windows_over_the_edge_and_bands_that_are_not_there(write_raster: WriteRaster) -> None:
    scene = Scene.open(write_raster("a.tif", CUBE))
    with pytest.raises(RequestError, match="50 x 40"):
        scene.read(PixelWindow(40, 0, 11, 5))
    with pytest.raises(RequestError, match="bands 1 to 4"):
        scene.read(WHOLE, [4])


def test_points_without_a_grid_are_refused(write_raster: WriteRaster) -> None:
    path = write_raster("a.tif", CUBE, crs=None, transform=Affine.identity())
    corners = [(0, 0), (0, 50), (40, 0), (40, 50)]
    with rasterio.open(path, "r+") as dataset:
        points = [GroundControlPoint(row, column, 5e5 + 30 * column, 5e6 - 30 * row) for row, column in corners]
        dataset.gcps = (points, CRS.from_epsg(32633))
    with pytest.raises(SceneError, match=r"a\.tif: only ground control points ") as refusal:
        Scene.open(path)
    command = f"(gdalwarp -order 1 -t_srs EPSG:32633 -r cubic {path} a-rectified.tif)"
    assert str(refusal.value).endswith(command)
    with rasterio.open(path, "r+") as dataset:
        points = [GroundControlPoint(y, x, -70.2 + 0.001 * x, -33.1 - 0.001 * y) for y in range(4) for x in range(3)]
        dataset.gcps = (points, CRS.from_epsg(4326))
    with pytest.raises(SceneError, match=r"\(gdalwarp -tps -t_srs EPSG:32719 -r cubic "):
        Scene.open(path)


def test_a_camera_model_without_a_grid_is_refused(write_raster: WriteRaster) -> None:
    path = write_raster("a b.tif", CUBE, crs=None, transform=Affine.identity())
    with rasterio.open(path, "r+") as dataset:
        one = [1.0] + [0.0] * 19
        dataset.rpcs = RPC(
            height_off=100, height_scale=500, lat_off=48.0, lat_scale=0.1, long_off=11.5, long_scale=0.1,
            line_off=20, line_scale=20, samp_off=25, samp_scale=25,
            line_num_coeff=one, line_den_coeff=one, samp_num_coeff=one, samp_den_coeff=one,
        )  # fmt: skip
    with pytest.raises(SceneError, match=r"only rational polynomials .*RPC_DEM=dem\.tif") as refusal:
        Scene.open(path)
    assert f"(gdalwarp -rpc -t_srs EPSG:32632 -r cubic '{path}' 'a b-rectified.tif')" in str(refusal.value)


# --- formats, threads, processes ---


def test_vrt_with_bands_of_two_types(write_raster: WriteRaster, tmp_path: Path) -> None:
    one = write_raster("one.tif", CUBE[:1])
    two = write_raster("two.tif", CUBE[1:2].astype(np.float32) / 2)
    source = '<SourceFilename relativeToVRT="0">{}</SourceFilename>'
    band = '<VRTRasterBand dataType="{}" band="{}"><SimpleSource>' + source + "</SimpleSource></VRTRasterBand>"
    bands = band.format("Int16", 1, one) + band.format("Float32", 2, two)
    vrt = tmp_path / "a.vrt"
    vrt.write_text(f'<VRTDataset rasterXSize="50" rasterYSize="40">{bands}</VRTDataset>')
    values = Scene.open(vrt).read(WHOLE).values
    np.testing.assert_array_equal(values, np.stack((CUBE[0], CUBE[1] / 2)))


@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip"])
def test_envi_interleaves(write_raster: WriteRaster, interleave: str) -> None:
    path = write_raster("a.dat", CUBE, driver="ENVI", interleave=interleave)
    scene = Scene.open(path.with_suffix(".hdr"))
    assert scene.path == str(path)
    np.testing.assert_array_equal(scene.read(WHOLE).values, CUBE)


def test_an_envi_header_without_data(tmp_path: Path) -> None:
    (tmp_path / "a.hdr").write_text("ENVI\n")
    with pytest.raises(SceneError, match="no data file"):
        Scene.open(tmp_path / "a.hdr")


def test_a_local_crs_counts_as_none(write_raster: WriteRaster) -> None:
    local = 'LOCAL_CS["Arbitrary",UNIT["metre",1]]'
    assert Scene.open(write_raster("a.tif", CUBE, crs=local)).grid.crs is None


def test_threads_read_at_the_same_time(write_raster: WriteRaster) -> None:
    scene = Scene.open(write_raster("a.tif", CUBE, compress="deflate"))
    windows = [PixelWindow(column, row, 10, 10) for column in (0, 20, 40) for row in (0, 15, 30)] * 20

    def read(window: PixelWindow) -> bool:
        return bool((scene.read(window).values == CUBE[:, window.rows, window.columns]).all())

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, windows))


def test_a_scene_can_be_sent_to_another_process(write_raster: WriteRaster) -> None:
    scene = Scene.open(write_raster("a.tif", CUBE, wavelengths=[400, 500, 600, 700]))
    copy = pickle.loads(pickle.dumps(scene))  # noqa: S301 (our own bytes)
    np.testing.assert_array_equal(copy.read(WHOLE).values, CUBE)
    assert copy.bands.wavelength_nm.tolist() == [400, 500, 600, 700]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 49), st.integers(0, 39), st.integers(1, 50), st.integers(1, 40))
def test_any_window_is_a_part_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, column: int, row: int, width: int, height: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "any_window.tif"
    if not path.exists():
        with rasterio.open(
            path, "w", driver="GTiff", width=50, height=40, count=4, dtype="int16",
            transform=Affine(1, 0, 0, 0, -1, 9), nodata=7,
        ) as dataset:  # fmt: skip
            dataset.write(CUBE)
    scene = Scene.open(path)
    window = PixelWindow(column, row, min(width, 50 - column), min(height, 40 - row))
    part, whole = scene.read(window), scene.read(WHOLE)
    np.testing.assert_array_equal(part.values, whole.values[:, window.rows, window.columns])
    np.testing.assert_array_equal(part.valid, whole.valid[window.rows, window.columns])


# --- sensors ---


@pytest.mark.parametrize(
    ("name", "tags", "sensor"),
    [
        ("S2A_MSIL2A_20220724T101559.tif", {}, "sentinel-2a"),
        ("S2B2A_20190723_022_BOA_10.tif", {}, "sentinel-2b"),
        ("LC08_L2SP_193023_20220724.tif", {}, "landsat-8"),
        ("LT52240631988227CUB02.tif", {}, "landsat-5"),
        ("msi.tif", {"SPACECRAFT_NAME": "Sentinel-2C"}, "sentinel-2c"),
        ("msi.tif", {"DATATAKE_1_SPACECRAFT_NAME": "Sentinel-2A"}, "sentinel-2a"),
        ("msi.tif", {"SPACECRAFT_ID": '"LANDSAT_9"'}, "landsat-9"),
        ("msi.tif", {"SATELLITEID": "WV03"}, "worldview-3"),
        ("msi.tif", {}, None),
        ("S2_composite.tif", {"platform": "drone"}, None),
    ],
)
def test_sensor(write_raster: WriteRaster, name: str, tags: dict[str, str], sensor: str | None) -> None:
    assert Scene.open(write_raster(name, CUBE, tags=tags)).sensor == sensor
