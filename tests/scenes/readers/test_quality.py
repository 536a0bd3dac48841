"""Quality masks: laid onto the scene's grid, by reason, off, and of the user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import Resampling, reproject

from hsfuse.errors import SceneError, WorkError
from hsfuse.scenes import PixelWindow, Scene

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from conftest import Write
    from numpy.typing import NDArray

SIZE = 40


@pytest.fixture
def scene_path(tmp_path: Path) -> Path:
    numbers = np.random.default_rng(1).integers(1, 999, (2, SIZE, SIZE)).astype(np.int16)
    return _write(tmp_path / "scene.tif", numbers, Affine(30, 0, 5e5, 0, -30, 5e6))


def _write(path: Path, numbers: NDArray[Any], transform: Affine | None, crs: int | str | None = 32633) -> Path:
    with rasterio.open(
        path, "w", driver="GTiff", width=numbers.shape[2], height=numbers.shape[1], count=len(numbers),
        dtype=numbers.dtype, transform=transform, crs=CRS.from_user_input(crs) if crs else None,
    ) as file:  # fmt: skip
        file.write(numbers)
    return path


def test_own_mask_on_the_same_grid(scene_path: Path, tmp_path: Path) -> None:
    numbers = np.zeros((1, SIZE, SIZE), np.uint8)
    numbers[0, 3, 4], numbers[0, 30:, 10:20] = 1, 255
    mask = _write(tmp_path / "mask.tif", numbers, Affine(30, 0, 5e5, 0, -30, 5e6))
    scene = Scene.open(scene_path, mask=mask)
    np.testing.assert_array_equal(scene.read(scene.grid.window).valid, numbers[0] == 0)
    assert scene.read(scene.grid.window).values[:, 3, 4].tolist() == [0, 0]


@pytest.mark.parametrize(
    "transform", [Affine(70, 0, 500_100, 0, -70, 4_999_900), Affine(38, 13, 5e5, 13, -38, 4_999_900)]
)
def test_own_mask_of_another_grid_is_laid_on_by_nearest_pixel(
    scene_path: Path, tmp_path: Path, transform: Affine
) -> None:
    """GDAL's warper is the oracle; where the mask does not reach nothing is bad."""
    numbers = (np.random.default_rng(2).random((1, 21, 23)) < 0.4).astype(np.uint8)
    mask = _write(tmp_path / "mask.tif", numbers, transform)
    scene = Scene.open(scene_path, mask=mask)
    expected = np.zeros((SIZE, SIZE), np.uint8)
    reproject(
        numbers[0], expected, src_transform=transform, src_crs="EPSG:32633", dst_transform=scene.grid.transform,
        dst_crs="EPSG:32633", resampling=Resampling.nearest, tolerance=0,
    )  # fmt: skip
    assert 20 < expected.sum() < SIZE * SIZE / 2
    np.testing.assert_array_equal(scene.read(scene.grid.window).valid, expected == 0)
    part = PixelWindow(5, 6, 20, 11)
    np.testing.assert_array_equal(scene.read(part).valid, expected[6:17, 5:25] == 0)


def test_own_mask_whose_pixel_edges_meet_the_scenes_centres(tmp_path: Path) -> None:
    numbers = np.ones((1, SIZE, SIZE), np.uint8)
    path = _write(tmp_path / "scene.tif", numbers, Affine(0.6, 0, 500_000.1, 0, -0.6, 4_999_999.7))
    size = 2 * SIZE + 2
    stripes = np.broadcast_to((np.arange(size) % 2 == 0)[:, None], (1, size, size)).astype(np.uint8)
    mask = _write(tmp_path / "mask.tif", stripes, Affine(0.3, 0, 500_000.1 - 0.3, 0, -0.3, 4_999_999.7 + 0.3))
    scene = Scene.open(path, mask=mask)
    assert not scene.read(scene.grid.window).valid.any()


def test_own_mask_in_degrees(scene_path: Path, tmp_path: Path) -> None:
    numbers = np.zeros((1, 100, 100), np.uint8)
    numbers[0, :50] = 1
    mask = _write(tmp_path / "mask.tif", numbers, Affine(2e-4, 0, 15 - 0.002, 0, -2e-4, 45.1574), 4326)
    valid = Scene.open(scene_path, mask=mask).read(PixelWindow(0, 0, SIZE, SIZE)).valid
    rows = np.flatnonzero(valid.all(axis=1))
    assert 0 < rows[0] < SIZE - 1
    assert not valid[: rows[0] - 1].any()


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_own_mask_without_a_place_must_have_the_scenes_size(scene_path: Path, tmp_path: Path) -> None:
    numbers = np.zeros((1, SIZE, SIZE), np.uint8)
    numbers[0, 7, 8] = 1
    scene = Scene.open(scene_path, mask=_write(tmp_path / "a.tif", numbers, None, None))
    assert np.argwhere(~scene.read(scene.grid.window).valid).tolist() == [[7, 8]]
    with pytest.raises(SceneError, match=r"b\.tif: the mask has 39 x 40 pixels and the scene 40 x 40"):
        Scene.open(scene_path, mask=_write(tmp_path / "b.tif", numbers[:, :, 1:], None, None))


def test_a_local_crs_says_as_little_of_a_mask_as_of_a_scene(tmp_path: Path) -> None:
    """Both then lie where their coordinates say, not pixel on pixel."""
    local = 'LOCAL_CS["Arbitrary",UNIT["metre",1]]'
    numbers = np.random.default_rng(1).integers(1, 999, (2, SIZE, SIZE)).astype(np.int16)
    path = _write(tmp_path / "scene.tif", numbers, Affine(30, 0, 10, 0, -30, 0), local)
    bad = np.zeros((1, SIZE, SIZE), np.uint8)
    bad[0, 5, 7] = 1
    mask = _write(tmp_path / "mask.tif", bad, Affine(30, 0, 100, 0, -30, -60), local)
    for written in (path, _write(tmp_path / "bare.tif", numbers, Affine(30, 0, 10, 0, -30, 0), None)):
        valid = Scene.open(written, mask=mask).read(PixelWindow(0, 0, SIZE, SIZE)).valid
        assert np.argwhere(~valid).tolist() == [[7, 10]]


def test_own_mask_that_is_none(scene_path: Path, tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"scene\.tif: a mask has one band, this file has 2"):
        Scene.open(scene_path, mask=scene_path)
    with pytest.raises(SceneError, match=r"nowhere\.tif: there is no such file"):
        Scene.open(scene_path, mask="nowhere.tif")
    (tmp_path / "a.txt").write_text("no image")
    with pytest.raises(SceneError, match=r"a\.txt: cannot be read as a raster"):
        Scene.open(scene_path, mask=tmp_path / "a.txt")


def test_shares_by_reason_without_what_shows_nothing(write_landsat: Write) -> None:
    scene = Scene.open(write_landsat().path)
    assert scene.quality is not None
    pixels = 24 * 20 - 1  # one is fill
    shares = scene.quality.shares()
    assert shares == {
        "flagged": 4 / pixels,
        **dict.fromkeys(("cloud", "cirrus", "shadow", "saturation"), 1 / pixels),
    }
    said = scene.quality.description
    assert said is not None
    assert said.startswith("0.84 % of the pixels are flagged (")
    assert "cloud 0.21 %" in said


def test_hardly_anything_flagged_is_not_worth_a_word(write_safe: Write) -> None:
    scene = Scene.open(write_safe(classes=False).path)
    assert scene.quality is None


def test_masks_of_the_product_can_be_left(write_landsat: Write) -> None:
    scene = Scene.open(write_landsat().path, quality=False)
    assert scene.quality is None
    assert np.argwhere(~scene.read(scene.grid.window).valid).tolist() == [[0, 0]]


def test_own_mask_adds_to_the_products(write_landsat: Write, tmp_path: Path) -> None:
    written = write_landsat()
    numbers = np.zeros((1, 24, 20), np.uint8)
    numbers[0, 20, 1] = 1
    mask = _write(tmp_path / "mask.tif", numbers, written.transform)
    valid = Scene.open(written.path, mask=mask).read(PixelWindow(0, 0, 20, 24)).valid
    expected = written.valid.copy()
    expected[20, 1] = False
    np.testing.assert_array_equal(valid, expected)


def test_a_quality_layer_that_is_no_raster(write_enmap: Write) -> None:
    written = write_enmap()
    layer = next(written.path.glob("*QL_QUALITY_CLOUD.TIF"))
    layer.write_bytes(layer.read_bytes()[:40])
    with pytest.raises(SceneError, match=r"QL_QUALITY_CLOUD\.TIF: cannot be read .* \(--no-quality-mask leaves it\)"):
        Scene.open(written.path)
    assert Scene.open(written.path, quality=False).count == 4


def test_a_quality_layer_that_breaks_off(write_enmap: Write) -> None:
    written = write_enmap()
    layer = next(written.path.glob("*QL_QUALITY_CLOUD.TIF"))
    layer.write_bytes(layer.read_bytes()[:-200])
    scene = Scene.open(written.path)
    with pytest.raises(WorkError, match=r"QL_QUALITY_CLOUD\.TIF: cannot be read"):
        scene.read(scene.grid.window)
