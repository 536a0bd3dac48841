"""EMIT: through the lookup table onto the map, bad bands, the mask product, and damaged tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest

from hsfuse.errors import SceneError
from hsfuse.scenes import PixelWindow, Scene

if TYPE_CHECKING:
    from conftest import Write


def test_bands_that_the_product_calls_bad(write_emit: Write) -> None:
    scene = Scene.open(write_emit().path)
    assert scene.bands.good.tolist() == [True, True, True, False, True, True]
    assert scene.bands.fwhm_nm is not None
    np.testing.assert_allclose(scene.bands.fwhm_nm, 8.5)


def test_windows_that_cross_many_rows_of_the_swath(write_emit: Write) -> None:
    """The lookup goes block by block; their seams must not show."""
    written = write_emit()
    scene = Scene.open(written.path)
    whole = scene.read(scene.grid.window).values
    part = scene.read(PixelWindow(100, 3, 60, 20), [5, 0]).values
    np.testing.assert_array_equal(part, whole[[5, 0], 3:23, 100:160])


def test_radiance_is_read_as_well(write_emit: Write) -> None:
    written = write_emit(name="EMIT_L1B_RAD_001_20230401T203751_2309114_002.nc", image="radiance")
    scene = Scene.open(written.path)
    np.testing.assert_allclose(scene.read(scene.grid.window).values[:, written.valid], written.values[:, written.valid])


def test_the_mask_product_beside_it(write_emit: Write) -> None:
    written = write_emit(mask=True)
    scene = Scene.open(written.path)
    np.testing.assert_array_equal(scene.read(scene.grid.window).valid, written.valid)
    assert scene.quality is not None
    assert {name for name, bad in scene.quality.reasons(scene.grid.window).items() if bad.any()} == {"cloud", "cirrus"}
    assert Scene.open(written.path, quality=False).read(scene.grid.window).valid.sum() == written.valid.sum() + 11


def test_a_mask_of_another_scene_is_left(write_emit: Write) -> None:
    written = write_emit(mask=True)
    with h5py.File(written.path.with_name(written.path.name.replace("RFL", "MASK")), "a") as file:
        del file["mask"]
        file["mask"] = np.zeros((9, 9, 6), np.float32)
    scene = Scene.open(written.path)
    assert scene.quality is None
    assert "its shape (9, 9, 6) is not that of a mask of (150, 18) pixels" in scene.product_warnings[0]


def test_the_mask_alone_is_no_image(write_emit: Write) -> None:
    written = write_emit(mask=True)
    with pytest.raises(SceneError, match=r"without reflectance or radiance .* name the RFL"):
        Scene.open(written.path.with_name(written.path.name.replace("RFL", "MASK")))


@pytest.mark.parametrize(("value", "message"), [(99, "points at pixel 99 of 18"), (0, "is empty")])
def test_a_damaged_lookup_table(write_emit: Write, value: int, message: str) -> None:
    with pytest.raises(SceneError, match=message):
        Scene.open(write_emit(glt_x=np.full((30, 160), value, np.int32)).path)


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        ("location/glt_x", "lacks location/glt_x"),
        ("sensor_band_parameters/wavelengths", "lacks sensor_band_parameters/wavelengths"),
    ],
)
def test_missing_parts_are_named(write_emit: Write, remove: str, message: str) -> None:
    path = write_emit().path
    with h5py.File(path, "a") as file:
        del file[remove]
    with pytest.raises(SceneError, match=message):
        Scene.open(path)


def test_a_geotransform_of_four_numbers(write_emit: Write) -> None:
    path = write_emit().path
    with h5py.File(path, "a") as file:
        file.attrs["geotransform"] = [1.0, 2, 3, 4]
    with pytest.raises(SceneError, match="has 4 numbers, not 6"):
        Scene.open(path)
