"""Planet's Tanager, orthorectified: HDF-EOS5 with (band, row, column) under GRIDS/HYP.

Layout: Planet, Tanager Product Specification (2025).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError

from hsfuse.errors import SceneError
from hsfuse.scenes.grid import Grid
from hsfuse.scenes.raster import Raster
from hsfuse.scenes.readers.hdf import number, numbers, plain
from hsfuse.scenes.readers.hdf_image import Axes, HdfBand, HdfImage
from hsfuse.scenes.readers.product import BandRecord, Product, records_of
from hsfuse.scenes.readers.quality import NO_DATA, Flag, FlagLayer

if TYPE_CHECKING:
    import h5py

_FIELDS = "HDFEOS/GRIDS/HYP/Data Fields"
_IMAGES = ("surface_reflectance", "toa_radiance")
_AXES = Axes(band=0, row=1, column=2)
_FLAT = Axes(band=None, row=0, column=1)
_MASKS = {"beta_cloud_mask": "cloud", "beta_cirrus_mask": "cirrus", "nodata_pixels": NO_DATA}


def read(file: h5py.File) -> Product | None:
    """A Tanager product, None where the file is none.

    Raises:
        SceneError: A product in the geometry of the sensor, or a damaged one.
    """
    if "HDFEOS/SWATHS/HYP" in file and "HDFEOS/GRIDS/HYP" not in file:
        raise SceneError(
            f"{file.filename}: this Tanager product (basic) is in the geometry of the sensor, without a map grid: "
            "order the ortho product of the same scene"
        )
    name = next((name for name in _IMAGES if f"{_FIELDS}/{name}" in file), None)
    if name is None:
        return None
    image = file[f"{_FIELDS}/{name}"]
    grid = _grid(file, image)
    source = HdfImage(file.filename, grid, _bands(file, image), _AXES, image.dtype.name, tags={"SENSOR": "Tanager"})
    return Product(source, _flags(file, grid))


def _bands(file: h5py.File, image: h5py.Dataset) -> tuple[HdfBand, ...]:
    centres = numbers(image.attrs["wavelengths"])
    widths = numbers(image.attrs.get("fwhm", np.full(len(centres), np.nan)))
    good = numbers(image.attrs.get("good_wavelengths", np.ones(len(centres))))
    if image.ndim != 3 or not image.shape[0] == len(centres) == len(widths) == len(good):
        raise SceneError(
            f"{file.filename}: {image.name} has shape {image.shape} and there are {len(centres)} wavelengths: "
            "(band, row, column) were expected"
        )
    units = "Micrometers" if centres.max() < 20 else "Nanometers"
    common = BandRecord(units=units, nodata=number(image.attrs.get("_FillValue", -9999)))
    records = records_of(common, centres, widths, good)
    return tuple(HdfBand(str(image.name), index, record) for index, record in enumerate(records))


def _grid(file: h5py.File, image: h5py.Dataset) -> Grid:
    metadata = file.get("HDFEOS INFORMATION/StructMetadata.0")
    text = "" if metadata is None else str(plain(metadata[()]))
    corners = [
        re.search(rf"{name}=\(\s*(-?[\d.eE+]+)\s*,\s*(-?[\d.eE+]+)\s*\)", text)
        for name in ("UpperLeftPointMtrs", "LowerRightMtrs")
    ]
    code = number(file["HDFEOS/GRIDS/HYP"].attrs.get("epsg_code"))
    zone = re.search(r"ZoneCode=(-?\d+)", text)
    if code is None and zone is not None:
        code = 32600 + int(zone[1]) if int(zone[1]) > 0 else 32700 - int(zone[1])
    if corners[0] is None or corners[1] is None or code is None:
        raise SceneError(f"{file.filename}: StructMetadata.0 names no corners or no CRS: the product is damaged")
    (left, top), (right, bottom) = (map(float, corner.groups()) for corner in corners if corner is not None)
    height, width = image.shape[1:]
    try:
        crs = CRS.from_epsg(int(code))
    except CRSError as error:
        raise SceneError(f"{file.filename}: there is no CRS with the code EPSG:{code:g}") from error
    return Grid(width, height, Affine((right - left) / width, 0, left, 0, (bottom - top) / height, top), crs)


def _flags(file: h5py.File, grid: Grid) -> tuple[FlagLayer, ...]:
    layers = []
    for name, reason in _MASKS.items():
        mask = file.get(f"{_FIELDS}/{name}")
        if mask is not None and mask.shape == (grid.height, grid.width) and mask.dtype.kind in "iu":
            band = HdfBand(str(mask.name), 0, BandRecord())
            image = HdfImage(file.filename, grid, (band,), _FLAT, mask.dtype.name)
            layers.append(FlagLayer(Raster(file.filename, image), (Flag(reason, (1,)),)))
    return tuple(layers)
