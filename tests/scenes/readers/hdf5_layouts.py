"""Products of one HDF5 file, written small as their documents describe them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py
import numpy as np
from affine import Affine
from rasterio.crs import CRS

from .layouts import LEFT, NOISE, TOP, Content, Written, north_up

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray


def write_prisma(
    within: Path,
    content: Content = NOISE,
    name: str = "scene.he5",
    level: str = "L2D",
    corners: str = "centres",
    overlap: bool = False,
    errors: bool = True,
) -> Written:
    path = within / name
    nm = sorted(content.nm or (410, 550, 700, 930, 960, 1600, 2400), reverse=True)
    vnir_nm = np.array([0.0, *(centre for centre in nm if centre < 945)])
    swir_nm = np.array([*(centre for centre in nm if centre >= 945), 0.0])
    if overlap:
        swir_nm[-2] = 925.0
    ends = {"Vnir": (-0.1, 0.9), "Swir": (0.0, 0.7)}
    cubes = {}
    for part, centres in (("Vnir", vnir_nm), ("Swir", swir_nm)):
        low, high = ends[part]
        numbers = content.numbers(centres, 1, 65535, (high - low) / 65535, low).astype(np.uint16)
        cubes[part.upper()] = numbers.transpose(1, 0, 2)
    for cube in cubes.values():
        cube[:3, :, :2] = 0  # collar
    error = {part: np.zeros(cube.shape, np.uint8) for part, cube in cubes.items()}
    error["VNIR"][5, :, 6] = error["SWIR"][5, :, 6] = 3
    error["VNIR"][7, 1, 8] = 3  # a single band
    error["VNIR"][9, :, 9] = error["SWIR"][9, :, 9] = 2  # below zero is no fault
    with h5py.File(path, "w") as file:
        fields = file.create_group(f"HDFEOS/SWATHS/PRS_{level}_HCO/Data Fields")
        for part, cube in cubes.items():
            fields.create_dataset(f"{part}_Cube", data=cube, compression=4, chunks=(8, 2, content.width))
            if errors:
                fields.create_dataset(f"{part}_PIXEL_L2_ERR_MATRIX", data=error[part])
        for part, nm in (("Vnir", vnir_nm), ("Swir", swir_nm)):
            file.attrs[f"List_Cw_{part}"] = nm.astype("float32")
            file.attrs[f"List_Cw_{part}_Flags"] = (nm > 0).astype(np.uint8)
            file.attrs[f"List_Fwhm_{part}"] = np.full(len(nm), 11, "float32")
            file.attrs[f"L2Scale{part}Min"], file.attrs[f"L2Scale{part}Max"] = map(np.float32, ends[part])
        file.attrs["Epsg_Code"] = np.uint32(32633)
        inset = 15 if corners == "centres" else 0
        file.attrs["Product_ULcorner_easting"] = LEFT + inset
        file.attrs["Product_ULcorner_northing"] = TOP - inset
        file.attrs["Product_LRcorner_easting"] = LEFT + 30 * content.width - inset
        file.attrs["Product_LRcorner_northing"] = TOP - 30 * content.height + inset
    reflectance = {
        part: low + cubes[part.upper()].astype(float) / 65535 * (high - low) for part, (low, high) in ends.items()
    }
    vnir = list(range(len(vnir_nm) - 1, 1 if overlap else 0, -1))
    swir = list(range(len(swir_nm) - 2, -1, -1))
    values = np.concatenate((reflectance["Vnir"][:, vnir], reflectance["Swir"][:, swir]), axis=1)
    valid = np.ones(content.shape, dtype=bool)
    valid[:3, :2] = valid[5, 6] = False
    nm_read = [*vnir_nm[vnir].tolist(), *swir_nm[swir].tolist()]
    return Written(path, values.transpose(1, 0, 2), valid, nm_read, north_up(30), 32633)


def write_emit(
    within: Path,
    content: Content = NOISE,
    name: str = "EMIT_L2A_RFL_001_20230401T203751_2309114_002.nc",
    image: str = "reflectance",
    mask: bool = False,
    glt_x: NDArray[np.int32] | None = None,
) -> Written:
    path = within / name
    height, width = (30, 160) if content is NOISE else content.shape
    rows, columns = width - 10, height - 12
    nm = np.array(content.nm or [400, 600, 800, 1380, 1600, 2200], np.float32)
    bands = len(nm)
    on_map = content.sized(height, width).reflectance(nm).astype(np.float32)[:, 5 : height - 7, 6 : width - 4]
    cube = np.ascontiguousarray(on_map.transpose(2, 1, 0))
    # The swath lies turned on the map, so that a column of the map crosses many rows of the swath.
    x, y = np.zeros((height, width), np.int32), np.zeros((height, width), np.int32)
    x[5 : height - 7, 6 : width - 4] = np.arange(1, columns + 1)[:, None]
    y[5 : height - 7, 6 : width - 4] = np.arange(1, rows + 1)[None]
    x[6, 7] *= -1  # filled from a neighbour, as in lookup tables of AVIRIS
    y[6, 7] *= -1
    with h5py.File(path, "w") as file:
        file.create_dataset(image, data=cube, compression=4, chunks=(32, columns, bands)).attrs["_FillValue"] = -9999.0
        parameters = file.create_group("sensor_band_parameters")
        parameters["wavelengths"], parameters["fwhm"] = nm, np.full(bands, 8.5, np.float32)
        parameters["good_wavelengths"] = _outside_water(nm).astype(np.float32)
        _write_lookup(file, x if glt_x is None else glt_x, y)
    values = np.full((bands, height, width), -9999.0)
    values[:, 5 : height - 7, 6 : width - 4] = cube.transpose(2, 1, 0)
    valid = values[0] != -9999
    if mask:
        names = [b"Cloud flag", b"Cirrus flag", b"Water flag", b"Spacecraft Flag", b"Dilated Cloud Flag", b"AOD550"]
        layers = np.zeros((rows, columns, 6), np.float32)
        layers[10:20, 3, 0] = layers[40, 5, 1] = 1
        layers[60, 5, 2] = 1  # water is no fault
        layers[..., 5] = 1.0
        with h5py.File(within / name.replace("_RFL_", "_MASK_"), "w") as file:
            file.create_dataset("mask", data=layers)
            file["sensor_band_parameters/mask_bands"] = names
            _write_lookup(file, x, y)
        valid[5 + 3, 6 + 10 : 6 + 20] = valid[5 + 5, 6 + 40] = False
    return Written(path, values, valid, nm.tolist(), Affine(1e-3, 0, 15, 0, -1e-3, 45), 4326)


def _write_lookup(file: h5py.File, x: NDArray[np.int32], y: NDArray[np.int32]) -> None:
    for name, index in (("glt_x", x), ("glt_y", y)):
        file.create_dataset(f"location/{name}", data=index).attrs["_FillValue"] = np.array([0], np.int32)
    file.attrs["geotransform"] = np.array([15.0, 1e-3, 0, 45.0, 0, -1e-3])
    file.attrs["spatial_ref"] = CRS.from_epsg(4326).to_wkt()


def write_neon(
    within: Path, content: Content = NOISE, name: str = "flight.h5", rotation: float | None = None
) -> Written:
    path = within / name
    nm = list(content.nm or (400.0, 700, 1400, 1900, 2300))
    cube = content.numbers(nm, 0, 9000, 1e-4).astype(np.int16).transpose(1, 2, 0)
    cube[4, 5] = -9999
    turned = "" if rotation is None else f", rotation={rotation}"
    with h5py.File(path, "w") as file:
        group = file.create_group("SJER/Reflectance")
        group.attrs["Band_Window_1_Nanometers"], group.attrs["Band_Window_2_Nanometers"] = (
            [1340, 1445],
            [1790, 1955],
        )
        image = group.create_dataset("Reflectance_Data", data=cube)
        image.attrs["Data_Ignore_Value"], image.attrs["Scale_Factor"] = np.array([-9999.0]), np.array([10000.0])
        group["Metadata/Coordinate_System/EPSG Code"] = np.array([b"32611"])
        group["Metadata/Coordinate_System/Map_Info"] = (
            f"UTM,  1.000,  1.000,  {LEFT:.2f},  {TOP},  1.0000000,  1.0000000,  11,  North,  WGS-84,  units=Meters"
            f"{turned}"
        )
        group["Metadata/Spectral_Data/Wavelength"], group["Metadata/Spectral_Data/FWHM"] = nm, np.full(len(nm), 5.5)
    valid = (cube != -9999).all(axis=2)
    transform = Affine.translation(LEFT, TOP) @ Affine.rotation(rotation or 0) @ Affine.scale(1, -1)
    return Written(path, cube.transpose(2, 0, 1) / 1e4, valid, nm, transform, 32611)


def write_tanager(
    within: Path, content: Content = NOISE, name: str = "scene.h5", group: str = "GRIDS", structure: bool = True
) -> Written:
    path = within / name
    nm = list(content.nm or (450.0, 650, 1380, 2200))
    cube = content.reflectance(nm).astype(np.float32)
    cube[:, 1, 1] = -9999
    cloud, nodata = np.zeros(content.shape, np.uint8), np.zeros(content.shape, np.uint8)
    cloud[3, 4], nodata[1, 1] = 1, 1
    with h5py.File(path, "w") as file:
        fields = file.create_group(f"HDFEOS/{group}/HYP/Data Fields")
        image = fields.create_dataset("surface_reflectance", data=cube)
        image.attrs["wavelengths"], image.attrs["fwhm"] = nm, np.full(len(nm), 6.0)
        image.attrs["good_wavelengths"], image.attrs["_FillValue"] = (
            _outside_water(nm).astype(np.uint8),
            np.float32(-9999),
        )
        fields["beta_cloud_mask"], fields["nodata_pixels"] = cloud, nodata
        file[f"HDFEOS/{group}/HYP"].attrs["epsg_code"] = 32633
        if structure:
            right, bottom = LEFT + 30 * content.width, TOP - 30 * content.height
            corners = f"\t\tUpperLeftPointMtrs=({LEFT},{TOP})\n\t\tLowerRightMtrs=({right:.1f},{bottom:.1f})\n"
            file["HDFEOS INFORMATION/StructMetadata.0"] = np.bytes_(corners)
    valid = np.ones(content.shape, dtype=bool)
    valid[1, 1] = valid[3, 4] = False
    return Written(path, cube.astype(float), valid, nm, north_up(30), 32633)


def write_netcdf(
    within: Path,
    content: Content = NOISE,
    name: str = "cube.nc",
    order: tuple[str, ...] = ("y", "x", "wavelength"),
    south_up: bool = False,
    units: str = "nm",
    extra: str | None = None,
) -> Written:
    path = within / name
    nm = np.array(content.nm or [2200.0, 450, 650])
    cube = content.numbers(nm, 1, 9999, 1e-4).astype(np.int16)
    cube[:, 2, 3] = -1
    degrees = order[0] in {"lat", "lon"} or "lat" in order
    pixel, left, top = (1e-3, 15.0, 45.0) if degrees else (30.0, LEFT, TOP)
    y, x = top - (np.arange(content.height) + 0.5) * pixel, left + (np.arange(content.width) + 0.5) * pixel
    stored = cube[:, ::-1] if south_up else cube
    kinds = {"lat": "y", "lon": "x", "latitude": "y", "longitude": "x", "northing": "y", "easting": "x"}
    natural = ["wavelength", "y", "x"]
    axes = [natural.index(kinds.get(axis, axis if axis in natural else "wavelength")) for axis in order]
    values_of = {
        "wavelength": nm * (1e-3 if units == "um" else 1), "y": y[::-1] if south_up else y, "x": x,
    }  # fmt: skip
    with h5py.File(path, "w") as file:
        image = file.create_dataset("reflectance", data=stored.transpose(axes))
        image.attrs["_FillValue"], image.attrs["scale_factor"] = np.int16(-1), 1e-4
        for place, (axis, which) in enumerate(zip(order, axes, strict=True)):
            scale = file.create_dataset(axis, data=values_of[natural[which]])
            scale.make_scale(axis)
            image.dims[place].attach_scale(scale)
            if which == 0:
                scale.attrs["units"] = units
        if not degrees:
            image.attrs["grid_mapping"] = "spatial_ref"
            file.create_dataset("spatial_ref", data=0).attrs["crs_wkt"] = CRS.from_epsg(32633).to_wkt()
        if extra:
            double = file.create_dataset(extra, data=stored.transpose(axes))
            for place, axis in enumerate(order):
                double.dims[place].attach_scale(file[axis])
    valid = np.ones(content.shape, dtype=bool)
    valid[2, 3] = False
    return Written(path, cube * 1e-4, valid, nm.tolist(), north_up(pixel, left, top), 4326 if degrees else 32633)


def _outside_water(nm: Sequence[float] | NDArray[np.floating]) -> NDArray[np.bool_]:
    return ~((np.asarray(nm) > 1340) & (np.asarray(nm) < 1450))
