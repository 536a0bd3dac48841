"""Images in netCDF 4 and HDF5 whose axes have names (PACE level 3, what xarray saves): read by these names."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError

from hsfuse.errors import SceneError
from hsfuse.scenes.grid import Grid
from hsfuse.scenes.readers.files import natural
from hsfuse.scenes.readers.hdf import arrays, contents, number, numbers, plain
from hsfuse.scenes.readers.hdf_image import Axes, HdfBand, HdfImage
from hsfuse.scenes.readers.product import BandRecord, Product, records_of
from hsfuse.spelling import did_you_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Names as `_simple` leaves them.
BAND_NAMES = {
    "wavelength", "wavelengths", "wavelength3d", "wl", "lambda", "band", "bands", "bandnumber", "spectral", "channel",
    "channels", "bandname", "numberofbands", "wvl", "centerwavelength",
}  # fmt: skip
ROW_NAMES = {"y", "lat", "latitude", "northing", "row", "rows", "line", "lines", "ydim", "nrows"}
COLUMN_NAMES = {"x", "lon", "longitude", "long", "easting", "column", "columns", "col", "cols", "sample", "samples",
                "xdim", "ncols"}  # fmt: skip
_SWATH_NAMES = {"downtrack", "crosstrack", "numberoflines", "pixelsperline", "scan", "scans", "pixels", "numberofscans",
                "ccdpixels", "alongtrack", "acrosstrack"}  # fmt: skip
_WAVELENGTH_NAMES = {"wavelength", "wavelengths", "wavelength3d", "wl", "wvl", "centerwavelength", "centerwavelengths",
                     "lambda", "bandcenters"}  # fmt: skip
_WIDTH_NAMES = {"fwhm", "bandwidth", "bandwidths", "fwhms"}
_GOOD_NAMES = {"goodwavelengths", "goodbands", "bbl"}
_BESIDE_THE_IMAGE = re.compile(r"unc|err|std|sigma|mask|flag|qual|variance|_sd$", re.IGNORECASE)

# float32 coordinates of a long axis are this unsteady.
_STEADY = 0.1


@dataclass(frozen=True)
class _Image:
    variable: Any
    names: tuple[str, ...]
    axes: Axes


def read(file: h5py.File, wanted: str | None = None) -> Product | None:
    """The one image of a file by the names of its axes; None where no axis of three-dimensional arrays has a name.

    Args:
        file: The file.
        wanted: The variable to take, where the user named one.

    Raises:
        SceneError: There is no such variable, the axes are those of a swath, or there are several images.
    """
    named = [(array, names) for array in arrays(file) if any(names := axis_names(array))]
    if wanted is not None:
        _refuse_unknown(file, wanted)
        named = [(array, names) for array, names in named if _as_gdal(_name(array)) == _as_gdal(wanted)]
    images = [image for array, names in named if (image := _understood(array, names)) is not None]
    if not images:
        _refuse(file, named)
        return None if arrays(file) or wanted is not None else _one_variable_a_band(file)
    image = _the_one(file, images)
    grid, axes = _grid(file, image)
    source = HdfImage(file.filename, grid, _bands(file, image), axes, image.variable.dtype.name)
    return Product(source)


def _one_variable_a_band(file: h5py.File) -> Product | None:
    """Bands that are variables of two axes each, as GDAL and openEO write them; None for fewer than two."""
    found = [(array, names) for array in arrays(file, 2) if _is_band(array, names := axis_names(array))]
    if len({(array.shape, names) for array, names in found}) != 1 or len(found) < 2:
        return None
    variables = sorted((array for array, _ in found), key=lambda array: natural(str(array.name)))
    simple = [_simple(name) for name in found[0][1]]
    row, column = (next(axis for axis, name in enumerate(simple) if name in kind) for kind in (ROW_NAMES, COLUMN_NAMES))
    image = _Image(variables[0], found[0][1], Axes(None, row, column))
    grid, axes = _grid(file, image)
    bands = tuple(HdfBand(str(array.name), 0, _record_of(array)) for array in variables)
    dtype = np.result_type(*(array.dtype for array in variables)).name
    return Product(HdfImage(file.filename, grid, bands, axes, dtype))


def _is_band(array: h5py.Dataset, names: tuple[str, ...]) -> bool:
    """Rows and columns by their names, nothing else longer than 1, and not what accompanies an image."""
    simple = [_simple(name) for name in names]
    long = [name for name, length in zip(simple, array.shape, strict=True) if length > 1]
    own = _simple(str(array.name).rsplit("/", 1)[-1])
    beside = own in ROW_NAMES | COLUMN_NAMES or _BESIDE_THE_IMAGE.search(own) is not None
    return len(long) == 2 and bool({*long} & ROW_NAMES) and bool({*long} & COLUMN_NAMES) and not beside


def _record_of(array: h5py.Dataset) -> BandRecord:
    centre = next(
        (found for name in array.attrs if _simple(name) in _WAVELENGTH_NAMES and (found := number(array.attrs[name]))),
        None,
    )
    name = str(array.name).rsplit("/", 1)[-1]
    return replace(_common_record(array, ""), description=name, wavelength=centre)


def require_known_axes(dataset: Any) -> None:
    """Refuse an open rasterio dataset whose axes GDAL confuses, out of a file that `read` could not be asked about.

    Raises:
        SceneError: HDF5 with three axes, or netCDF whose bands are rows, columns or lines of a swath.
    """
    if dataset.count < 2 or dataset.driver not in {"HDF5Image", "netCDF"}:
        return
    keys = {_simple(key.upper().removeprefix("NETCDF_DIM_")) for key in dataset.tags(1) if "NETCDF_DIM_" in key.upper()}
    if dataset.driver == "HDF5Image" or keys & (ROW_NAMES | COLUMN_NAMES | _SWATH_NAMES):
        raise SceneError(
            f"{dataset.name}: GDAL confuses the axes of this file, and hsfuse reads such files from a local disk and "
            "in netCDF 4 or HDF5 only: fetch it, or convert the image to GeoTIFF or ENVI first"
        )


def axis_names(array: h5py.Dataset) -> tuple[str, ...]:
    """A name for each axis, empty where it has none: of its dimension scale, or as Zarr's users write it."""
    listed = plain(array.attrs.get("_ARRAY_DIMENSIONS"))
    if isinstance(listed, np.ndarray) and len(listed) == array.ndim:
        return tuple(str(plain(name)) for name in listed)
    names = []
    for dimension in array.dims:
        scale = next(iter(dimension.values()), None)
        names.append(dimension.label or ("" if scale is None or scale.name is None else scale.name.rsplit("/", 1)[-1]))
    return tuple(names)


def _understood(array: h5py.Dataset, names: tuple[str, ...]) -> _Image | None:
    simple = [_simple(name) for name in names]
    places = [
        [axis for axis, name in enumerate(simple) if name in kind and array.shape[axis] > 1]
        for kind in (BAND_NAMES, ROW_NAMES, COLUMN_NAMES)
    ]
    others = [axis for axis in range(array.ndim) if array.shape[axis] > 1]
    if any(len(found) != 1 for found in places) or len(others) != 3:
        return None
    band, row, column = (found[0] for found in places)
    return _Image(array, names, Axes(band, row, column))


def _the_one(file: h5py.File, images: list[_Image]) -> _Image:
    likely = [image for image in images if not _BESIDE_THE_IMAGE.search(str(image.variable.name))] or images
    if len(likely) > 1:
        listed = ", ".join(_name(image.variable) for image in likely[:5])
        raise SceneError(f"{file.filename}: several images ({listed}): name one as netcdf:{file.filename}:NAME")
    return likely[0]


def _name(array: h5py.Dataset) -> str:
    return str(array.name).strip("/")


def _refuse_unknown(file: h5py.File, wanted: str) -> None:
    known = [_name(array) for array in arrays(file, 1)]
    if _as_gdal(wanted) not in map(_as_gdal, known):
        raise SceneError(
            f"{file.filename}: there is no variable {wanted!r}{did_you_mean(wanted.strip('/'), known)}: the file holds "
            f"{contents(file)}"
        )


def _as_gdal(name: str) -> str:
    """GDAL's names of subdatasets have no blanks."""
    return name.strip("/").replace(" ", "_")


def _refuse(file: h5py.File, named: list[tuple[h5py.Dataset, tuple[str, ...]]]) -> None:
    for array, names in named:
        if {_simple(name) for name in names} & _SWATH_NAMES:
            raise SceneError(
                f"{file.filename}: {array.name} lies in the geometry of the sensor (axes {', '.join(names)}), "
                "without a map grid: take the orthorectified or gridded product of the same scene"
            )
    if named:
        axes = ", ".join(name or "unnamed" for name in named[0][1])
        raise SceneError(
            f"{file.filename}: the axes of {named[0][0].name} ({axes}) are not known as rows, columns and bands; the "
            f"file holds {contents(file)}: convert the image to GeoTIFF or ENVI first"
        )


def _bands(file: h5py.File, image: _Image) -> tuple[HdfBand, ...]:
    array, band_axis = image.variable, image.axes.band
    assert band_axis is not None
    count = array.shape[band_axis]
    centres, units = _wavelengths(file, image, count)
    widths, _ = _listed(file, array, _WIDTH_NAMES, count)
    good, _ = _listed(file, array, _GOOD_NAMES, count)
    records = records_of(_common_record(array, units or ""), centres, widths, good, count)
    return tuple(HdfBand(str(array.name), index, record) for index, record in enumerate(records))


def _common_record(array: h5py.Dataset, units: str) -> BandRecord:
    """Fill and scale as the CF conventions name them."""
    attributes = array.attrs
    nodata = next((number(attributes[name]) for name in ("_FillValue", "missing_value") if name in attributes), None)
    scale, offset = number(attributes.get("scale_factor", 1)), number(attributes.get("add_offset", 0))
    return BandRecord(units=units, scale=scale or 1.0, offset=offset or 0.0, nodata=nodata)


def _wavelengths(file: h5py.File, image: _Image, count: int) -> tuple[NDArray[np.float64] | None, str | None]:
    """From the band axis itself, where it is no mere numbering, or else from any list of the same length."""
    scale = _coordinates(image.variable, image.axes.band)
    if scale is not None:
        values = numbers(scale[()])
        numbering = bool(np.isin(values[:1], (0, 1)).all() and np.allclose(np.diff(values), 1))
        speaks = _simple(str(scale.name).rsplit("/", 1)[-1]) in _WAVELENGTH_NAMES or _unit(scale) in {"nm", "um"}
        if len(values) == count and speaks and not numbering:
            return values, _unit(scale)
    return _listed(file, image.variable, _WAVELENGTH_NAMES, count)


def _listed(
    file: h5py.File, array: h5py.Dataset, names: set[str], count: int
) -> tuple[NDArray[np.float64] | None, str | None]:
    """A list of `count` numbers under one of the names: an attribute of the image, or a variable of the file."""
    for name, value in array.attrs.items():
        if _simple(name) in names and np.size(value) == count:
            return numbers(value), None
    found: list[h5py.Dataset] = []

    def visit(path: str, item: object) -> None:
        is_list = isinstance(item, h5py.Dataset) and item.shape == (count,) and item.dtype.kind in "iuf"
        if is_list and _simple(path.rsplit("/", 1)[-1]) in names:
            found.append(item)

    file.visititems(visit)
    return (numbers(found[0][()]), _unit(found[0])) if found else (None, None)


def _grid(file: h5py.File, image: _Image) -> tuple[Grid, Axes]:
    axes = image.axes
    height, width = image.variable.shape[axes.row], image.variable.shape[axes.column]
    rows, columns = (_coordinates(image.variable, axis) for axis in (axes.row, axes.column))
    crs = _crs(file, image, rows, columns)
    if rows is None or columns is None:
        return Grid(width, height, Affine.identity(), None), axes
    top, down = _steps(file, rows, height)
    left, right = _steps(file, columns, width)
    flipped = Axes(axes.band, axes.row, axes.column, flip_rows=down > 0, flip_columns=right < 0)
    if down > 0:
        top, down = top + down * height, -down
    if right < 0:
        left, right = left + right * width, -right
    return Grid(width, height, Affine(right, 0, left, 0, down, top), crs), flipped


def _steps(file: h5py.File, scale: h5py.Dataset, count: int) -> tuple[float, float]:
    """Outer edge and step of coordinates that are centres of pixels."""
    values = numbers(scale[()])
    if len(values) != count or count < 2 or not np.isfinite(values).all():
        raise SceneError(f"{file.filename}: {scale.name} has {values.size} coordinates for {count} pixels")
    step = (values[-1] - values[0]) / (count - 1)
    if step == 0 or np.abs(np.diff(values) - step).max() > _STEADY * abs(step):
        raise SceneError(
            f"{file.filename}: the pixels along {scale.name} are not evenly spaced: grid the image first (gdalwarp)"
        )
    return float(values[0] - step / 2), float(step)


def _crs(file: h5py.File, image: _Image, rows: h5py.Dataset | None, columns: h5py.Dataset | None) -> CRS | None:
    """From the grid mapping of the image, as CF and GDAL write it; or degrees where the axes are in degrees."""
    name = plain(image.variable.attrs.get("grid_mapping", "spatial_ref"))
    mapping = image.variable.parent.get(str(name)) or file.get(str(name))
    for place in (mapping, image.variable, file):
        for key in ("crs_wkt", "spatial_ref", "epsg_code"):
            if place is not None and key in place.attrs:
                try:
                    return CRS.from_user_input(plain(place.attrs[key]))
                except (CRSError, TypeError, ValueError):
                    continue
    degrees = [scale is not None and _is_degrees(scale) for scale in (rows, columns)]
    return CRS.from_epsg(4326) if all(degrees) else None


def _is_degrees(scale: h5py.Dataset) -> bool:
    name = _simple(str(scale.name).rsplit("/", 1)[-1])
    units = str(plain(scale.attrs.get("units", ""))).lower()
    return name in {"lat", "latitude", "lon", "longitude", "long"} or units.startswith("degrees_")


def _coordinates(array: h5py.Dataset, axis: int | None) -> h5py.Dataset | None:
    """The values along an axis; None where its dimension has no more than a length."""
    scales = [] if axis is None else list(array.dims[axis].values())
    beside = None if axis is None else array.parent.get(axis_names(array)[axis])
    for scale in (*scales, beside):
        is_mere_length = scale is not None and str(plain(scale.attrs.get("NAME", ""))).startswith(
            "This is a netCDF dim"
        )
        if scale is not None and not is_mere_length and getattr(scale, "ndim", 0) == 1 and scale.dtype.kind in "iuf":
            return scale
    return None


def _unit(scale: h5py.Dataset) -> str | None:
    text = str(plain(scale.attrs.get("units", ""))).strip().lower().removesuffix("s")
    known = {"nanometer": "nm", "nanometre": "nm", "micrometer": "um", "micrometre": "um", "micron": "um", "µm": "um"}
    unit = known.get(text, text)
    return unit if unit in {"nm", "um"} else None


def _simple(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
