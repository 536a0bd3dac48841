"""PRISMA L2D: one HDF-EOS5 file with a cube of each of the two spectrometers.

Layout: ASI, PRISMA Products Specification Document (2020). Axes are (row, band, column); bands run from long to
short wavelengths, one without a wavelength is not used; reflectance = min + DN / 65535 · (max − min), each cube
with its own; 0 is fill.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError

from hsfuse.errors import SceneError
from hsfuse.scenes.grid import Grid
from hsfuse.scenes.raster import Raster
from hsfuse.scenes.readers.hdf import attribute, numbers, plain, variable
from hsfuse.scenes.readers.hdf_image import Axes, HdfBand, HdfImage
from hsfuse.scenes.readers.product import BandRecord, Product, records_of
from hsfuse.scenes.readers.quality import NO_DATA, Flag, FlagLayer

if TYPE_CHECKING:
    import h5py

PIXEL_M = 30.0
"""PRISMA's hyperspectral pixel."""

_AXES = Axes(band=1, row=0, column=2)
_LARGEST_DN = 65535

# Pixels by which the corners may be rounded, and the part by which a pixel may differ from 30 m.
_ROUNDED = 0.25
_ODD_PIXEL = 0.02

# Of the used bands; in water vapour single bands of most pixels are flagged.
_BAD_SHARE = 0.25


def read(file: h5py.File) -> Product | None:
    """A PRISMA product, None where the file is none.

    Raises:
        SceneError: A level without a map grid, or a damaged product.
    """
    swaths = file.get("HDFEOS/SWATHS")
    levels = [] if swaths is None else [match[1] for name in swaths if (match := re.fullmatch(r"PRS_(L\w+)_HCO", name))]
    if not levels:
        return None
    if levels[0] != "L2D":
        raise SceneError(
            f"{file.filename}: this PRISMA product is of level {levels[0]}, in the geometry of the sensor and "
            "without a map grid: order the same scene as level L2D"
        )
    fields = "HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields"
    vnir, swir = _bands(file, fields, "Vnir"), _bands(file, fields, "Swir")
    bands = _merge(vnir, swir)
    if not bands:
        raise SceneError(f"{file.filename}: no band of this PRISMA product has a wavelength: fetch it again")
    shapes = {variable(file, name).shape[::2] for name in dict.fromkeys(band.variable for band in bands)}
    if len(shapes) > 1:
        raise SceneError(f"{file.filename}: the VNIR and SWIR cubes differ in size ({shapes}): fetch the product again")
    rows, columns = shapes.pop()
    image = HdfImage(
        file.filename, _grid(file, columns, rows), tuple(bands), _AXES, variable(file, bands[0].variable).dtype.name,
        tags={"SENSOR": "PRISMA", "LEVEL": "L2D"},
    )  # fmt: skip
    return Product(image, _flags(file, image))


def _bands(file: h5py.File, fields: str, part: str) -> list[HdfBand]:
    """The used bands of one spectrometer, ascending."""
    cube = variable(file, f"{fields}/{part.upper()}_Cube")
    centres = numbers(attribute(file, f"List_Cw_{part}"))
    widths = numbers(file.attrs.get(f"List_Fwhm_{part}", np.zeros_like(centres)))
    used = numbers(file.attrs.get(f"List_Cw_{part}_Flags", np.ones_like(centres)))
    if cube.ndim != 3 or not len(centres) == len(widths) == len(used) == cube.shape[_AXES.band or 1]:
        raise SceneError(
            f"{file.filename}: {part.upper()}_Cube has shape {cube.shape} and List_Cw_{part} {len(centres)} "
            "wavelengths: rows, bands and columns were expected, with one wavelength a band"
        )
    least, largest = (float(attribute(file, f"L2Scale{part}{end}")) for end in ("Min", "Max"))
    common = BandRecord(scale=(largest - least) / _LARGEST_DN or 1.0, offset=least, nodata=0)
    records = records_of(common, centres, widths)
    return [
        HdfBand(str(cube.name), int(index), replace(records[index], description=f"{part.upper()} {index + 1}"))
        for index in np.argsort(centres, kind="stable")
        if centres[index] > 0 and used[index] != 0
    ]


def _merge(vnir: list[HdfBand], swir: list[HdfBand]) -> list[HdfBand]:
    """Both spectrometers without overlap: VNIR's bands up to where SWIR's begin, whose noise is lower there."""
    first = min((band.record.wavelength or 0 for band in swir), default=np.inf)
    return [band for band in vnir if (band.record.wavelength or 0) < first] + swir


def _grid(file: h5py.File, width: int, height: int) -> Grid:
    """From the corner attributes, which are centres of corner pixels where the count of pixels says so."""
    left, top = (float(attribute(file, f"Product_ULcorner_{name}")) for name in ("easting", "northing"))
    right, bottom = (float(attribute(file, f"Product_LRcorner_{name}")) for name in ("easting", "northing"))
    code = plain(attribute(file, "Epsg_Code"))
    try:
        crs = CRS.from_epsg(int(code))
    except (CRSError, ValueError) as error:
        raise SceneError(f"{file.filename}: there is no CRS with the code EPSG:{code}: fetch it again") from error
    x, y = _axis(file, left, right, width), _axis(file, top, bottom, height)
    return Grid(width, height, Affine(x[1], 0, x[0], 0, y[1], y[0]), crs)


def _axis(file: h5py.File, first: float, last: float, count: int) -> tuple[float, float]:
    """Outer edge and pixel size along one axis."""
    length = last - first
    step = float(np.sign(length)) * PIXEL_M
    if abs(abs(length) / PIXEL_M - (count - 1)) <= _ROUNDED:
        return first - step / 2, step
    if abs(abs(length) / PIXEL_M - count) <= _ROUNDED:
        return first, step
    # Pixels that are a little smaller or larger reach from centre to centre.
    if count > 1 and abs(abs(length) / (count - 1) / PIXEL_M - 1) <= _ODD_PIXEL:
        step = length / (count - 1)
        return first - step / 2, step
    raise SceneError(
        f"{file.filename}: {count} pixels of {PIXEL_M:g} m do not reach from {first:.10g} to {last:.10g}: "
        "the corners or the cube are damaged"
    )


def _flags(file: h5py.File, image: HdfImage) -> tuple[FlagLayer, ...]:
    """The pixel error matrices: 1 and 4 are without a value, 3 saturated; 2, below zero, is common and kept."""
    matrices = {band.variable: band.variable.replace("_Cube", "_PIXEL_L2_ERR_MATRIX") for band in image.bands}
    if any(name not in file or file[name].shape != file[cube].shape for cube, name in matrices.items()):
        return ()
    bands = tuple(HdfBand(matrices[band.variable], band.index, BandRecord()) for band in image.bands)
    dtype = file[bands[0].variable].dtype.name
    layer = Raster(image.path, HdfImage(image.path, image.grid, bands, image.axes, dtype))
    everywhere = tuple(range(len(bands)))
    bad = (Flag(NO_DATA, (1, 4), bands=everywhere, share=_BAD_SHARE),
           Flag("saturation", (3,), bands=everywhere, share=_BAD_SHARE))  # fmt: skip
    return (FlagLayer(layer, bad),)
