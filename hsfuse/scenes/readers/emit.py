"""EMIT L1B and L2A: netCDF in the geometry of the sensor, laid onto the map through its lookup table.

Layout: EMIT L2A Algorithm Theoretical Basis and data product guide (LP DAAC, 2023).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError

from hsfuse.errors import SceneError
from hsfuse.scenes.grid import Grid
from hsfuse.scenes.raster import Raster
from hsfuse.scenes.readers.hdf import attribute, contents, number, numbers, opened, variable
from hsfuse.scenes.readers.hdf_image import Axes, HdfBand, HdfImage, Lookup
from hsfuse.scenes.readers.product import BandRecord, Product, records_of
from hsfuse.scenes.readers.quality import Flag, FlagLayer

if TYPE_CHECKING:
    import h5py

_LOOKUP = Lookup("location/glt_x", "location/glt_y")
_AXES = Axes(band=2, row=0, column=1)
_IMAGES = ("reflectance", "radiance")
_LOOKUP_ROWS = 512

# Names of mask bands that speak of something in front of the ground, in lower case.
_MASK_REASONS = {
    "cloud flag": "cloud",
    "cirrus flag": "cirrus",
    "dilated cloud flag": "cloud",
    "spectf-cloud flag": "cloud",
    "spacecraft flag": "spacecraft",
}


def read(file: h5py.File) -> Product | None:
    """An EMIT product, None where the file is none.

    Raises:
        SceneError: It holds no image, or is damaged.
    """
    if "sensor_band_parameters" not in file or "location" not in file:
        return None
    name = next((name for name in _IMAGES if name in file), None)
    if name is None:
        raise SceneError(
            f"{file.filename}: an EMIT file without reflectance or radiance ({contents(file)}): "
            "name the RFL or RAD file"
        )
    image = HdfImage(
        file.filename, _grid(file), _bands(file, name), _AXES, variable(file, name).dtype.name, _LOOKUP,
        {"SENSOR": "EMIT"},
    )  # fmt: skip
    _require_lookup(file, variable(file, name))
    return Product(image, *_flags(image, variable(file, name).shape[:2]))


def _bands(file: h5py.File, name: str) -> tuple[HdfBand, ...]:
    image = variable(file, name)
    centres = numbers(variable(file, "sensor_band_parameters/wavelengths")[()])
    if image.ndim != 3 or image.shape[2] != len(centres):
        raise SceneError(
            f"{file.filename}: {name} has shape {image.shape} and there are {len(centres)} wavelengths: (downtrack, "
            "crosstrack, bands) were expected"
        )
    widths, good = (
        numbers(found[()]) if (found := file.get(f"sensor_band_parameters/{name}")) is not None else other
        for name, other in (("fwhm", np.full(len(centres), np.nan)), ("good_wavelengths", np.ones(len(centres))))
    )
    common = BandRecord(nodata=number(image.attrs.get("_FillValue", -9999.0)))
    records = records_of(common, centres, widths, good)
    return tuple(HdfBand(name, index, record) for index, record in enumerate(records))


def _grid(file: h5py.File) -> Grid:
    height, width = variable(file, _LOOKUP.column).shape
    transform = numbers(attribute(file, "geotransform"))
    if len(transform) != 6:
        raise SceneError(f"{file.filename}: the geotransform has {len(transform)} numbers, not 6: fetch it again")
    try:
        crs = CRS.from_wkt(str(attribute(file, "spatial_ref")))
    except CRSError as error:
        raise SceneError(f"{file.filename}: spatial_ref is no CRS ({error}): fetch it again") from error
    return Grid(width, height, Affine.from_gdal(*transform), crs)


def _require_lookup(file: h5py.File, image: h5py.Dataset) -> None:
    """Refuse a lookup table that points outside of the swath, or nowhere at all."""
    for name, length in ((_LOOKUP.column, image.shape[1]), (_LOOKUP.row, image.shape[0])):
        table = variable(file, name)
        none = abs(number(table.attrs.get("_FillValue", 0)) or 0)
        largest = 0
        for start in range(0, table.shape[0], _LOOKUP_ROWS):
            index = np.abs(table[start : start + _LOOKUP_ROWS].astype(np.int64))
            largest = max(largest, int(index[index != none].max(initial=0)))
        if largest > length or largest == 0:
            said = f"points at pixel {largest} of {length}" if largest else "is empty"
            raise SceneError(f"{file.filename}: the lookup table {name} {said}: the product is damaged")


def _flags(image: HdfImage, swath: tuple[int, ...]) -> tuple[tuple[FlagLayer, ...], tuple[str, ...]]:
    """The mask product of the same scene, where it lies beside the image, and what is to be said about it."""
    place = Path(image.path)
    beside = place.with_name(place.name.replace("_RFL_", "_MASK_").replace("_L1B_RAD_", "_L2A_MASK_"))
    if beside == place or not beside.is_file():
        return (), ()
    try:
        with opened(str(beside)) as file:
            layer = _mask(file, swath)
    except SceneError as error:
        return (), (f"the mask beside it was not used ({error})",)
    return (layer,), ()


def _mask(file: h5py.File, swath: tuple[int, ...]) -> FlagLayer:
    mask = variable(file, "mask")
    names = [_name(value) for value in variable(file, "sensor_band_parameters/mask_bands")[()]]
    if mask.shape != (*swath, len(names)):
        raise SceneError(f"{file.filename}: its shape {mask.shape} is not that of a mask of {swath} pixels")
    bands = tuple(HdfBand("mask", index, BandRecord(nodata=0)) for index in range(len(names)))
    meant = [(_MASK_REASONS[name], index) for index, name in enumerate(names) if name in _MASK_REASONS]
    source = HdfImage(file.filename, _grid(file), bands, _AXES, mask.dtype.name, _LOOKUP)
    flags = tuple(Flag(reason, (1,), bands=(index,)) for reason, index in meant)
    return FlagLayer(Raster(file.filename, source), flags)


def _name(value: Any) -> str:
    return (value.decode() if isinstance(value, bytes) else str(value)).strip().lower()
