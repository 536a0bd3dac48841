"""NEON, Tanager and images by the names of their axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS
from scipy.io import netcdf_file

from hsfuse.errors import SceneError
from hsfuse.scenes import PixelWindow, Scene

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Write


def test_neon_knows_water_windows_and_rotation(write_neon: Write) -> None:
    written = write_neon(rotation=30.0)
    scene = Scene.open(written.path)
    assert scene.bands.good.tolist() == [True, True, False, False, True]
    np.testing.assert_allclose(tuple(scene.grid.transform), tuple(written.transform), atol=1e-9)


def test_neon_without_a_place(write_neon: Write) -> None:
    path = write_neon().path
    with h5py.File(path, "a") as file:
        del file["SJER/Reflectance/Metadata/Coordinate_System/Map_Info"]
        file["SJER/Reflectance/Metadata/Coordinate_System/Map_Info"] = b"Arbitrary"
    with pytest.raises(SceneError, match=r"the map info 'Arbitrary' .* says no place"):
        Scene.open(path)


def test_tanager_says_its_bad_bands_and_clouds(write_tanager: Write) -> None:
    scene = Scene.open(write_tanager().path)
    assert scene.bands.good.tolist() == [True, True, False, True]
    assert scene.quality is not None
    assert np.argwhere(scene.quality.reasons(scene.grid.window)["cloud"]).tolist() == [[3, 4]]


def test_tanager_in_the_geometry_of_the_sensor(write_tanager: Write) -> None:
    with pytest.raises(SceneError, match=r"scene\.h5: this Tanager product \(basic\) .* order the ortho product"):
        Scene.open(write_tanager(group="SWATHS").path)


def test_tanager_without_corners(write_tanager: Write) -> None:
    with pytest.raises(SceneError, match="names no corners"):
        Scene.open(write_tanager(structure=False).path)


@pytest.mark.parametrize(
    "order",
    [
        ("wavelength", "y", "x"), ("y", "x", "wavelength"), ("y", "wavelength", "x"), ("x", "y", "wavelength"),
        ("lat", "lon", "wavelength"), ("latitude", "longitude", "bands"), ("northing", "easting", "wavelength"),
    ],
)  # fmt: skip
def test_axes_by_their_names_in_any_order(write_netcdf: Write, order: tuple[str, ...]) -> None:
    written = write_netcdf(order=order)
    scene = Scene.open(written.path)
    np.testing.assert_allclose(tuple(scene.grid.transform), tuple(written.transform), atol=1e-6)
    assert scene.grid.crs is not None
    assert scene.grid.crs.to_epsg() == written.epsg
    block = scene.read(scene.grid.window)
    np.testing.assert_allclose(block.values[:, written.valid], written.values[:, written.valid], rtol=1e-5)


def test_south_up_is_turned(write_netcdf: Write) -> None:
    written = write_netcdf(south_up=True)
    scene = Scene.open(written.path)
    assert scene.grid.transform == written.transform
    part = PixelWindow(2, 3, 7, 9)
    np.testing.assert_allclose(scene.read(part, [1]).values, written.values[1:2, 3:12, 2:9], rtol=1e-5)


def test_wavelengths_in_micrometres(write_netcdf: Write) -> None:
    scene = Scene.open(write_netcdf(units="um").path)
    assert scene.bands.wavelength_nm is not None
    np.testing.assert_allclose(scene.bands.wavelength_nm, [2200, 450, 650])


def test_uncertainty_beside_the_image_is_passed_over(write_netcdf: Write) -> None:
    assert Scene.open(write_netcdf(extra="reflectance_uncertainty").path).count == 3


def test_two_images_are_named_and_one_can_be_chosen(write_netcdf: Write) -> None:
    path = write_netcdf(extra="radiance").path
    with pytest.raises(SceneError, match=r"several images \((reflectance, radiance|radiance, reflectance)\): name one"):
        Scene.open(path)
    for named in (f"netcdf:{path}:radiance", f'NETCDF:"{path}":radiance', f'HDF5:"{path}"://radiance'):
        assert Scene.open(named).count == 3
    with pytest.raises(SceneError, match=r"there is no variable 'radience' \(did you mean radiance\?\): .* holds /"):
        Scene.open(f"netcdf:{path}:radience")


def test_gdals_name_of_a_prisma_cube_does_not_confuse_its_axes(write_prisma: Write) -> None:
    written = write_prisma()
    name = "HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields/VNIR_Cube"
    assert Scene.open(f"netcdf:{written.path}:/{name}").count == 7
    assert Scene.open(f'HDF5:"{written.path}"://{name.replace(" ", "_")}').count == 7


def test_a_swath_is_refused_with_its_axes(write_netcdf: Write, tmp_path: Path) -> None:
    path = tmp_path / "PACE_OCI.L2.nc"
    with h5py.File(path, "w") as file:
        image = file.create_dataset("geophysical_data/rhos", data=np.zeros((9, 8, 7), np.float32))
        for axis, name in enumerate(("number_of_lines", "pixels_per_line", "wavelength_3d")):
            file.create_dataset(name, data=np.arange(image.shape[axis])).make_scale(name)
            image.dims[axis].attach_scale(file[name])
    with pytest.raises(SceneError, match=r"rhos lies in the geometry of the sensor \(axes number_of_lines, pixels"):
        Scene.open(path)


def test_axes_with_other_names_are_refused_with_what_was_found(tmp_path: Path) -> None:
    path = tmp_path / "a.nc"
    with h5py.File(path, "w") as file:
        image = file.create_dataset("cube", data=np.zeros((9, 8, 7), np.float32))
        file.create_dataset("time", data=np.arange(9)).make_scale("time")
        image.dims[0].attach_scale(file["time"])
    with pytest.raises(SceneError, match=r"axes of /cube \(time, unnamed, unnamed\) .* holds /cube \(9, 8, 7\)"):
        Scene.open(path)


def test_uneven_coordinates_are_refused(write_netcdf: Write) -> None:
    path = write_netcdf().path
    with h5py.File(path, "a") as file:
        file["x"][5] += 20
    with pytest.raises(SceneError, match="the pixels along /x are not evenly spaced"):
        Scene.open(path)


@pytest.mark.parametrize("time", [False, True])
def test_a_variable_a_band(tmp_path: Path, time: bool) -> None:
    """GDAL writes netCDF so, and openEO with an axis of one time before the others."""
    path, cube = tmp_path / "openEO.nc", np.arange(3 * 9 * 8, dtype=np.int16).reshape(3, 9, 8) + 1
    with h5py.File(path, "w") as file:
        for name, values in (("t", [5.0]), ("y", 5e6 - 10.0 * np.arange(9)), ("x", 5e5 + 10.0 * np.arange(8))):
            file.create_dataset(name, data=values).make_scale(name)
        file.create_dataset("crs", data=0).attrs["crs_wkt"] = CRS.from_epsg(32633).to_wkt()
        for name, image in zip(("B10", "B2", "B8A"), cube, strict=True):
            band = file.create_dataset(name, data=image[None] if time else image)
            band.attrs["grid_mapping"], band.attrs["wavelength"] = "crs", 100.0 * int(name[1:].rstrip("A"))
            for axis, scale in enumerate(("t", "y", "x")[not time :]):
                band.dims[axis].attach_scale(file[scale])
        file.create_dataset("quality_flags", data=cube[0]).dims[0].attach_scale(file["y"])
    scene = Scene.open(path)
    assert scene.bands.names == ("B2", "B8A", "B10")
    assert scene.bands.wavelength_nm is not None
    assert scene.bands.wavelength_nm.tolist() == [200, 800, 1000]
    assert scene.grid.transform == Affine(10, 0, 5e5 - 5, 0, -10, 5e6 + 5)
    np.testing.assert_array_equal(scene.read(scene.grid.window, [2, 0]).values, cube[[0, 1]])


def test_netcdf_with_one_image_of_two_axes_stays_with_gdal(tmp_path: Path) -> None:
    path = tmp_path / "a.nc"
    with h5py.File(path, "w") as file:
        file["band"] = np.arange(1, 73, dtype=np.float32).reshape(8, 9)
    assert Scene.open(path).count == 1


@pytest.mark.parametrize("order", [("wavelength", "y", "x"), ("y", "x", "wavelength")])
def test_netcdf_3_is_read_by_gdal_where_it_sees_the_axes(tmp_path: Path, order: tuple[str, ...]) -> None:
    path, lengths = tmp_path / "a.nc", {"wavelength": 4, "y": 9, "x": 8}
    with netcdf_file(path, "w") as file:
        for name, length in lengths.items():
            file.createDimension(name, length)
            file.createVariable(name, "f8", (name,))[:] = 400.0 + 100 * np.arange(length)
        file.createVariable("reflectance", "f4", order)[:] = np.ones([lengths[name] for name in order])
    if order[0] == "wavelength":
        scene = Scene.open(f"netcdf:{path}:reflectance")
        assert scene.bands.wavelength_nm is not None
        assert scene.bands.wavelength_nm.tolist() == [400, 500, 600, 700]
    else:
        with pytest.raises(SceneError, match="GDAL confuses the axes of this file"):
            Scene.open(f"netcdf:{path}:reflectance")


def test_no_hdf5_after_all(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(200))
    with pytest.raises(SceneError, match=r"a\.h5: this HDF5 file cannot be read"):
        Scene.open(path)
