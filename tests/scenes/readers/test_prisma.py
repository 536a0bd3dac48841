"""PRISMA: spectrometers merged, corners settled by the grid, error matrices, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest

from hsfuse.errors import SceneError
from hsfuse.scenes import Scene

if TYPE_CHECKING:
    from conftest import Write


@pytest.mark.parametrize("corners", ["centres", "edges"])
def test_corners_are_centres_or_edges_as_the_number_of_pixels_says(write_prisma: Write, corners: str) -> None:
    written = write_prisma(corners=corners)
    assert Scene.open(written.path).grid.transform == written.transform


def test_pixels_that_are_a_little_less_than_30_m(write_prisma: Write) -> None:
    path = write_prisma().path
    with h5py.File(path, "a") as file:
        file.attrs["Product_LRcorner_easting"] = 500_015 + 19 * 29.5
    grid = Scene.open(path).grid
    assert (grid.transform.a, grid.transform.e) == (29.5, -30)
    assert grid.transform.c == 500_015 - 14.75


def test_one_spectrometer_where_both_see(write_prisma: Write) -> None:
    written = write_prisma(overlap=True)
    scene = Scene.open(written.path)
    assert scene.bands.wavelength_nm is not None
    np.testing.assert_allclose(scene.bands.wavelength_nm, [410, 550, 700, 925, 1600, 2400])
    assert scene.bands.names[2:4] == ("VNIR 3", "SWIR 3")
    np.testing.assert_allclose(scene.read(scene.grid.window).values[:, 5, 7], written.values[:, 5, 7], rtol=1e-6)


def test_each_cube_has_its_own_scale(write_prisma: Write) -> None:
    scene = Scene.open(write_prisma().path)
    np.testing.assert_allclose(scene.scales, [1.0 / 65535] * 4 + [0.7 / 65535] * 3, rtol=1e-6)
    np.testing.assert_allclose(scene.offsets, [-0.1] * 4 + [0] * 3, atol=1e-7)


def test_found_whatever_its_name(write_prisma: Write) -> None:
    assert Scene.open(write_prisma(name="download (1).dat").path).count == 7


def test_error_matrices_say_why(write_prisma: Write) -> None:
    scene = Scene.open(write_prisma().path)
    assert scene.quality is not None
    reasons = scene.quality.reasons(scene.grid.window)
    assert np.argwhere(reasons["saturation"]).tolist() == [[5, 6]]
    assert not reasons["no data"].any()


def test_a_product_without_error_matrices(write_prisma: Write) -> None:
    assert Scene.open(write_prisma(errors=False).path).quality is None


@pytest.mark.parametrize("level", ["L1", "L2B", "L2C"])
def test_levels_without_a_map_grid_are_refused(write_prisma: Write, level: str) -> None:
    path = write_prisma(level=level).path
    with pytest.raises(SceneError, match=rf"scene\.he5: this PRISMA product is of level {level}, .* order .* L2D"):
        Scene.open(path)


@pytest.mark.parametrize("name", ["List_Cw_Vnir", "L2ScaleSwirMax", "Epsg_Code", "Product_LRcorner_northing"])
def test_a_missing_attribute_is_named(write_prisma: Write, name: str) -> None:
    path = write_prisma().path
    with h5py.File(path, "a") as file:
        del file.attrs[name]
    with pytest.raises(SceneError, match=rf"scene\.he5: the product lacks the attribute {name}"):
        Scene.open(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.attrs.create("Product_LRcorner_easting", 500_000 + 999.0), "20 pixels of 30 m do not reach"),
        (lambda file: file.attrs.create("Epsg_Code", 1), "no CRS with the code EPSG:1"),
        (lambda file: file.attrs.create("List_Cw_Vnir", [400.0, 500.0]), r"shape \(24, 5, 20\) and List_Cw_Vnir 2"),
        (lambda file: file.attrs.create("L2ScaleVnirMin", "no number"), "cannot be read"),
    ],
)
def test_what_does_not_fit_is_one_sentence(write_prisma: Write, change: object, message: str) -> None:
    path = write_prisma().path
    assert callable(change)
    with h5py.File(path, "a") as file:
        change(file)
    with pytest.raises(SceneError, match=rf"^\S+scene\.he5: .*{message}"):
        Scene.open(path)


def test_cubes_of_different_size(write_prisma: Write) -> None:
    path = write_prisma(errors=False).path
    fields = "HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields"
    with h5py.File(path, "a") as file:
        del file[f"{fields}/SWIR_Cube"]
        file[f"{fields}/SWIR_Cube"] = np.ones((23, 4, 20), np.uint16)
    with pytest.raises(SceneError, match="differ in size"):
        Scene.open(path)
    with h5py.File(path, "a") as file:
        del file[f"{fields}/SWIR_Cube"]
    with pytest.raises(SceneError, match=r"lacks HDFEOS/.*SWIR_Cube"):
        Scene.open(path)


@pytest.mark.parametrize("keep", [0.02, 0.3, 0.7, 0.97])
def test_a_file_that_breaks_off(write_prisma: Write, keep: float) -> None:
    path = write_prisma().path
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(SceneError, match=r"scene\.he5: "):
        Scene.open(path)


def test_damage_inside_of_the_cube(write_prisma: Write) -> None:
    path = write_prisma().path
    content = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        chunk = file["HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields/VNIR_Cube"].id.get_chunk_info(0)
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    path.write_bytes(content)
    with pytest.raises(SceneError, match=r"scene\.he5: cannot be read"):
        Scene.open(path)
