"""NEON's airborne imaging spectrometer: HDF5 with (row, column, band) under the name of the site.

Layout: NEON.DP3.30006.001 and NEON.DP1.30006.001, Spectrometer orthorectified surface reflectance.
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
from hsfuse.scenes.readers.hdf import number, numbers, plain, variable
from hsfuse.scenes.readers.hdf_image import Axes, HdfBand, HdfImage
from hsfuse.scenes.readers.product import BandRecord, Product, records_of

if TYPE_CHECKING:
    import h5py
    from numpy.typing import NDArray

_AXES = Axes(band=2, row=0, column=1)


def read(file: h5py.File) -> Product | None:
    """A NEON reflectance product, None where the file is none.

    Raises:
        SceneError: The product is damaged or not complete.
    """
    group = next((f"{site}/Reflectance" for site in file if f"{site}/Reflectance/Reflectance_Data" in file), None)
    if group is None:
        return None
    image = variable(file, f"{group}/Reflectance_Data")
    centres = numbers(variable(file, f"{group}/Metadata/Spectral_Data/Wavelength")[()])
    if image.ndim != 3 or image.shape[2] != len(centres):
        raise SceneError(
            f"{file.filename}: Reflectance_Data has shape {image.shape} and there are {len(centres)} wavelengths: "
            "(row, column, band) were expected"
        )
    source = HdfImage(
        file.filename, _grid(file, group, image), _bands(file, group, image, centres), _AXES, image.dtype.name,
        tags={"SENSOR": "NEON AIS"},
    )  # fmt: skip
    return Product(source)


def _bands(file: h5py.File, group: str, image: h5py.Dataset, centres: NDArray[np.float64]) -> tuple[HdfBand, ...]:
    widths_in = file.get(f"{group}/Metadata/Spectral_Data/FWHM")
    widths = None if widths_in is None else numbers(widths_in[()])
    good = np.ones(len(centres))
    for low, high in _water_windows(file[group], image):
        good[(centres >= low) & (centres <= high)] = 0
    factor = number(image.attrs.get("Scale_Factor", 1)) or 1.0
    common = BandRecord(scale=1 / factor, nodata=number(image.attrs.get("Data_Ignore_Value", -9999)))
    records = records_of(common, centres, widths, good)
    return tuple(HdfBand(str(image.name), index, record) for index, record in enumerate(records))


def _water_windows(*places: h5py.Group | h5py.Dataset) -> list[NDArray[np.float64]]:
    """Ranges in nm that the product calls unusable."""
    names = ("Band_Window_1_Nanometers", "Band_Window_2_Nanometers")
    found = [numbers(place.attrs[name]) for place in places for name in names if name in place.attrs]
    return [window for window in found if len(window) == 2]


def _grid(file: h5py.File, group: str, image: h5py.Dataset) -> Grid:
    """From the map info as ENVI writes it: reference pixel, its easting and northing, pixel sizes, rotation."""
    system = f"{group}/Metadata/Coordinate_System"
    code = plain(variable(file, f"{system}/EPSG Code")[()])
    info = str(plain(variable(file, f"{system}/Map_Info")[()]))
    parts = [part.strip() for part in info.split(",")]
    try:
        crs = CRS.from_epsg(int(code))
        column, row, easting, northing, width, height = (float(part) for part in parts[1:7])
    except (CRSError, ValueError) as error:
        raise SceneError(f"{file.filename}: the map info '{info}' with EPSG {code} says no place ({error})") from error
    turned = re.search(r"rotation\s*=\s*(-?[\d.]+)", info)
    transform = (
        Affine.translation(easting, northing)
        @ Affine.rotation(float(turned[1]) if turned else 0.0)
        @ Affine.scale(width, -height)
        @ Affine.translation(1 - column, 1 - row)
    )
    return Grid(image.shape[1], image.shape[0], transform, crs)
