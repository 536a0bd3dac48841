"""An image in an HDF5 file, read by window with the axes that its reader says.

GDAL takes the last two axes of a variable for rows and columns, which is wrong for most hyperspectral products.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioIOError

from hsfuse.scenes.readers.hdf import HDF5_ERRORS, number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from affine import Affine
    from numpy.typing import NDArray
    from rasterio.windows import Window

    from hsfuse.scenes.grid import Grid
    from hsfuse.scenes.readers.product import BandRecord

# Products are cut into chunks of up to a few megabytes; h5py keeps 1 MB of them unless told otherwise.
_CHUNK_CACHE_BYTES = 64 * 2**20

# Chosen bands this far apart are read in one go.
_BAND_GAP = 8

# Pixels a side that are looked up at once through a geometry lookup table, so that turned swaths stay small.
_LOOKUP_BLOCK = 128


@dataclass(frozen=True)
class Axes:
    """Which axis of a variable is which; all others have length 1."""

    band: int | None
    """None for a variable of one band without such an axis."""
    row: int
    """From north to south, unless flipped."""
    column: int
    """From west to east, unless flipped."""
    flip_rows: bool = False
    """Rows run from south to north."""
    flip_columns: bool = False
    """Columns run from east to west."""


@dataclass(frozen=True)
class Lookup:
    """A geometry lookup table (GLT): for each pixel of the map the pixel of the swath that shows it."""

    column: str
    """Variable with 1-based columns of the swath, shape (H, W); 0 where no pixel shows the place."""
    row: str
    """Variable with 1-based rows."""


@dataclass(frozen=True)
class HdfBand:
    """One band of an HDF5 image."""

    variable: str
    """Its variable."""
    index: int
    """0-based along the variable's band axis."""
    record: BandRecord
    """What is known about it."""


@dataclass(frozen=True, eq=False)
class HdfImage:
    """An image in an HDF5 file, described by its reader; a `Source`."""

    path: str
    """The file."""
    grid: Grid
    """Where the pixels lie, of the map where there is a lookup table."""
    bands: tuple[HdfBand, ...]
    """In order."""
    axes: Axes
    """Of all variables."""
    dtype: str
    """numpy's name of the numbers' type."""
    lookup: Lookup | None = None
    """Where the variables are in the geometry of the sensor."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """What a dataset's default domain would hold."""

    def open(self) -> HdfDataset:
        """A new handle."""
        return HdfDataset(self)


class HdfDataset:
    """Answers like a `rasterio.DatasetReader` to all that hsfuse asks of one."""

    driver = "HDF5"
    subdatasets: tuple[str, ...] = ()
    rpcs = None
    gcps: tuple[list[Any], None] = ([], None)

    def __init__(self, image: HdfImage) -> None:
        """Open the file.

        Raises:
            RasterioIOError: It cannot be opened.
        """
        self._image = image
        self.name = image.path
        self.count = len(image.bands)
        self.closed = False
        try:
            self._file = h5py.File(image.path, "r", rdcc_nbytes=_CHUNK_CACHE_BYTES)
        except OSError as error:
            raise RasterioIOError(f"{image.path}: {error}") from error

    def close(self) -> None:
        """Close the file."""
        self.closed = True
        self._file.close()

    @property
    def width(self) -> int:
        """Number of columns."""
        return self._image.grid.width

    @property
    def height(self) -> int:
        """Number of rows."""
        return self._image.grid.height

    @property
    def transform(self) -> Affine:
        """From pixels to the CRS."""
        return self._image.grid.transform

    @property
    def crs(self) -> Any:
        """Coordinate reference system or None."""
        return self._image.grid.crs

    @property
    def indexes(self) -> tuple[int, ...]:
        """1-based band numbers."""
        return tuple(range(1, self.count + 1))

    @property
    def dtypes(self) -> tuple[str, ...]:
        """Types of the bands."""
        return (self._image.dtype,) * self.count

    @property
    def nodatavals(self) -> tuple[float | None, ...]:
        """Of each band."""
        return tuple(band.record.nodata for band in self._image.bands)

    @property
    def nodata(self) -> float | None:
        """Of the first band."""
        return self._image.bands[0].record.nodata

    @property
    def scales(self) -> tuple[float, ...]:
        """Of each band."""
        return tuple(band.record.scale for band in self._image.bands)

    @property
    def offsets(self) -> tuple[float, ...]:
        """Of each band."""
        return tuple(band.record.offset for band in self._image.bands)

    @property
    def descriptions(self) -> tuple[str | None, ...]:
        """Of each band."""
        return tuple(band.record.description or None for band in self._image.bands)

    @property
    def colorinterp(self) -> tuple[ColorInterp, ...]:
        """None of the bands is alpha."""
        return (ColorInterp.undefined,) * self.count

    @property
    def mask_flag_enums(self) -> tuple[list[MaskFlags], ...]:
        """No band has a mask but its nodata value."""
        return ([MaskFlags.nodata],) * self.count

    @property
    def block_shapes(self) -> list[tuple[int, int]]:
        """Height and width of a chunk of each band's variable."""
        axes = self._image.axes
        chunks = {band.variable: self._file[band.variable].chunks for band in self._image.bands}
        whole = (1, self.width)
        return [
            whole if (chunk := chunks[band.variable]) is None else (chunk[axes.row], chunk[axes.column])
            for band in self._image.bands
        ]

    def tag_namespaces(self, _band: int = 0) -> list[str]:
        """Only the default domain."""
        return []

    def tags(self, band: int = 0, ns: str | None = None) -> dict[str, str]:
        """Of the dataset, or of a 1-based band."""
        if ns is not None:
            return {}
        return dict(self._image.tags) if band == 0 else self._image.bands[band - 1].record.tags()

    def read_masks(self, _band: int, window: Window | None = None, out_shape: Any = None) -> NDArray[np.uint8]:
        """255 everywhere."""
        height, width = out_shape or (
            (self.height, self.width) if window is None else (int(window.height), int(window.width))
        )
        return np.full((height, width), 255, np.uint8)

    def read(
        self,
        indexes: int | Sequence[int] | None = None,
        *,
        window: Window | None = None,
        out: NDArray[Any] | None = None,
        out_shape: tuple[int, ...] | None = None,
    ) -> NDArray[Any]:
        """Numbers of 1-based bands under a window, (C, h, w), or (h, w) for a single index.

        Of a decimated reading the nearest pixels are given.

        Raises:
            RasterioIOError: The file breaks off or cannot be decoded.
        """
        chosen = list(self.indexes) if indexes is None else [indexes] if isinstance(indexes, int) else list(indexes)
        rows, columns = self._slices(window)
        try:
            found = self._read([index - 1 for index in chosen], rows, columns)
        except HDF5_ERRORS as error:
            raise RasterioIOError(f"{self.name}: {error}") from error
        if out_shape is not None:
            found = _nearest(found, out_shape[-2:])
        if out is not None:
            out[...] = found
            return out
        return found[0] if isinstance(indexes, int) else found

    def _slices(self, window: Window | None) -> tuple[slice, slice]:
        if window is None:
            return slice(0, self.height), slice(0, self.width)
        row, column = int(window.row_off), int(window.col_off)
        return slice(row, row + int(window.height)), slice(column, column + int(window.width))

    def _read(self, bands: list[int], rows: slice, columns: slice) -> NDArray[Any]:
        shape = (len(bands), rows.stop - rows.start, columns.stop - columns.start)
        numbers = np.empty(shape, self._image.dtype)
        of = [self._image.bands[band] for band in bands]
        read = self._part if self._image.lookup is None else self._through_lookup
        for name in dict.fromkeys(band.variable for band in of):
            places = [place for place, band in enumerate(of) if band.variable == name]
            indices = np.array([of[place].index for place in places])
            numbers[places] = read(self._file[name], indices, rows, columns)
        return numbers

    def _through_lookup(
        self, variable: h5py.Dataset, indices: NDArray[np.intp], rows: slice, columns: slice
    ) -> NDArray[Any]:
        lookup, axes = self._image.lookup, self._image.axes
        assert lookup is not None
        nodata = self._image.bands[0].record.nodata
        height, width = rows.stop - rows.start, columns.stop - columns.start
        numbers = np.full((len(indices), height, width), 0 if nodata is None else nodata, self._image.dtype)
        for top in range(0, height, _LOOKUP_BLOCK):
            for left in range(0, width, _LOOKUP_BLOCK):
                part = np.s_[top : min(top + _LOOKUP_BLOCK, height), left : min(left + _LOOKUP_BLOCK, width)]
                under = tuple(
                    slice(whole.start + own.start, whole.start + own.stop)
                    for whole, own in zip((rows, columns), part, strict=True)
                )
                column, row = (_lookup_index(self._file[name], under) for name in (lookup.column, lookup.row))
                shown = (column >= 0) & (row >= 0)
                shown &= (column < variable.shape[axes.column]) & (row < variable.shape[axes.row])
                if shown.any():
                    row, column = row[shown], column[shown]
                    box = slice(row.min(), row.max() + 1), slice(column.min(), column.max() + 1)
                    swath = self._part(variable, indices, *box)
                    numbers[(slice(None), *part)][:, shown] = swath[:, row - box[0].start, column - box[1].start]
        return numbers

    def _part(self, variable: h5py.Dataset, indices: NDArray[np.intp], rows: slice, columns: slice) -> NDArray[Any]:
        """Bands of one variable under rows and columns, (C, h, w), flips undone."""
        axes = self._image.axes
        if axes.flip_rows:
            rows = _flipped(rows, variable.shape[axes.row])
        if axes.flip_columns:
            columns = _flipped(columns, variable.shape[axes.column])
        shape = (len(indices), rows.stop - rows.start, columns.stop - columns.start)
        numbers = np.empty(shape, variable.dtype.newbyteorder("="))
        for run in _runs(indices):
            first, last = int(indices[run].min()), int(indices[run].max())
            selection: list[Any] = [0] * variable.ndim
            selection[axes.row], selection[axes.column] = rows, columns
            kept = [axes.row, axes.column]
            if axes.band is not None:
                selection[axes.band] = slice(first, last + 1)
                kept = [axes.band, *kept]
            order = np.argsort(np.argsort(kept))
            block = np.transpose(variable[tuple(selection)], order)
            numbers[run] = block[indices[run] - first] if axes.band is not None else block[None]
        return numbers[:, :: -1 if axes.flip_rows else 1, :: -1 if axes.flip_columns else 1]


def _lookup_index(table: h5py.Dataset, part: tuple[slice, ...]) -> NDArray[np.int64]:
    """0-based places in the swath, negative for none; numbers below 0 in the table mark filled-in neighbours."""
    index: NDArray[np.int64] = table[part].astype(np.int64)
    index[index == number(table.attrs.get("_FillValue", 0))] = 0
    places: NDArray[np.int64] = np.abs(index) - 1
    return places


def _flipped(part: slice, length: int) -> slice:
    return slice(length - part.stop, length - part.start)


def _runs(indices: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Places of indices that lie close together, run by run."""
    order = np.argsort(indices, kind="stable")
    cuts = np.flatnonzero(np.diff(indices[order]) > _BAND_GAP) + 1
    return np.split(order, cuts)


def _nearest(numbers: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    height, width = numbers.shape[1:]
    rows = ((np.arange(shape[0]) + 0.5) * height / shape[0]).astype(int)
    columns = ((np.arange(shape[1]) + 0.5) * width / shape[1]).astype(int)
    return numbers[:, rows[:, None], columns]
