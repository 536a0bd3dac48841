"""Bands out of several files as one raster: a virtual raster (VRT) that GDAL reads and that never is on disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np
from rasterio.io import MemoryFile

from hsfuse.errors import RequestError, SceneError
from hsfuse.scenes.grid import Grid
from hsfuse.scenes.raster import RASTER_ERRORS, descriptions_of, gdal_environment, open_dataset, unreadable
from hsfuse.scenes.sensor import sensor_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hsfuse.scenes.readers.product import BandRecord

_GDAL_TYPES = {
    "uint8": "Byte", "int8": "Int8", "uint16": "UInt16", "int16": "Int16", "uint32": "UInt32", "int32": "Int32",
    "float32": "Float32", "float64": "Float64",
}  # fmt: skip


@dataclass(frozen=True)
class RasterFacts:
    """What one file of a product says of itself."""

    path: str
    """For GDAL."""
    grid: Grid
    """Where its pixels lie."""
    dtypes: tuple[str, ...]
    """numpy's name of each band's type."""
    nodata: tuple[float | None, ...]
    """Of each band."""
    scales: tuple[float, ...]
    """Of each band."""
    offsets: tuple[float, ...]
    """Of each band."""
    descriptions: tuple[str, ...]
    """Of each band."""
    block: tuple[int, int]
    """Height and width of a block of the first band."""
    sensor: str | None
    """Where its metadata or its name say so."""

    @property
    def count(self) -> int:
        """Number of bands."""
        return len(self.dtypes)


def look_at(path: str, shown: str) -> RasterFacts:
    """Open a file of a product for what it says of itself; `shown` begins the messages.

    Raises:
        SceneError: It is no raster, or has no grid.
    """
    try:
        with gdal_environment(), open_dataset(path) as dataset:
            return RasterFacts(
                path,
                Grid.of_dataset(dataset),
                tuple(dataset.dtypes),
                tuple(dataset.nodatavals),
                tuple(dataset.scales),
                tuple(dataset.offsets),
                tuple(description or "" for description in descriptions_of(dataset)),
                tuple(dataset.block_shapes[0]) if dataset.count else (1, 1),
                sensor_of(dataset),
            )
    except RASTER_ERRORS as error:
        raise SceneError(unreadable(shown, error)) from error
    except RequestError as error:
        raise SceneError(f"{shown}: {error}") from error


@dataclass(frozen=True)
class VirtualBand:
    """One band of a virtual raster."""

    file: RasterFacts
    """Where it comes from."""
    band: int
    """0-based, in that file."""
    record: BandRecord
    """What is known about it."""


@dataclass(frozen=True)
class VirtualRaster:
    """Bands of one grid, out of any files; a `Source`."""

    path: str
    """What the user named."""
    bands: tuple[VirtualBand, ...]
    """In order."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Of the dataset's default domain."""

    def __post_init__(self) -> None:
        for band in self.bands:
            if not _same_grid(band.file.grid, self.bands[0].file.grid):
                raise SceneError(
                    f"{self.path}: its bands lie on different grids, {_size(self.bands[0].file.grid)} and "
                    f"{_size(band.file.grid)} pixels: name those of one resolution"
                )
            if band.file.dtypes[band.band] not in _GDAL_TYPES:
                raise SceneError(f"{self.path}: bands of type {band.file.dtypes[band.band]} are no images")

    @property
    def grid(self) -> Grid:
        """Where the pixels lie."""
        return self.bands[0].file.grid

    def open(self) -> Any:
        """A new handle that opens the files as they are needed."""
        # The text of a VRT may not serve as its path: hsfuse looks for files beside a dataset by its name.
        with MemoryFile(self._xml(), ext=".vrt") as memory:
            return open_dataset(memory.name)

    def _xml(self) -> bytes:
        grid = self.grid
        root = ET.Element("VRTDataset", rasterXSize=str(grid.width), rasterYSize=str(grid.height))
        if grid.crs is not None:
            _text(root, "SRS", grid.crs.to_wkt())
        if grid.has_transform:
            _text(root, "GeoTransform", ", ".join(f"{value!r}" for value in map(float, grid.transform.to_gdal())))
        _metadata(root, self.tags)
        for index, band in enumerate(self.bands, start=1):
            self._add(root, index, band)
        return ET.tostring(root)

    def _add(self, root: ET.Element, index: int, band: VirtualBand) -> None:
        record, facts = band.record, band.file
        dtype = _GDAL_TYPES[facts.dtypes[band.band]]
        element = ET.SubElement(root, "VRTRasterBand", dataType=dtype, band=str(index))
        if record.description:
            _text(element, "Description", record.description)
        _metadata(element, record.tags())
        if record.nodata is not None:
            _text(element, "NoDataValue", f"{float(record.nodata):.17g}")
        if record.scale != 1 or record.offset != 0:
            _text(element, "Offset", f"{record.offset:.17g}")
            _text(element, "Scale", f"{record.scale:.17g}")
        source = ET.SubElement(element, "SimpleSource")
        _text(source, "SourceFilename", facts.path, relativeToVRT="0", shared="0")
        _text(source, "SourceBand", str(band.band + 1))
        size = {"RasterXSize": str(facts.grid.width), "RasterYSize": str(facts.grid.height)}
        block = {"BlockXSize": str(facts.block[1]), "BlockYSize": str(facts.block[0])}
        ET.SubElement(source, "SourceProperties", {**size, "DataType": dtype, **block})


@dataclass(frozen=True)
class SingleFile:
    """One raster that GDAL reads rightly by itself, found inside of a folder or archive; a `Source`."""

    path: str
    """What the user named."""
    file: str
    """The raster, for GDAL."""

    def open(self) -> Any:
        """A new handle."""
        return open_dataset(self.file)


def of_finest_grid(path: str, files: Sequence[RasterFacts]) -> list[RasterFacts]:
    """The files of the finest pixels, in their order.

    Raises:
        SceneError: Files of the same pixel size cover different areas.
    """
    finest = min(abs(facts.grid.transform.determinant) for facts in files)
    kept = [facts for facts in files if abs(facts.grid.transform.determinant) < 1.01 * finest]
    for facts in kept[1:]:
        if not _same_grid(facts.grid, kept[0].grid):
            raise SceneError(
                f"{path}: its files cover different areas, {_size(kept[0].grid)} and {_size(facts.grid)} pixels: "
                "name the files of one scene"
            )
    return kept


def _same_grid(one: Grid, other: Grid) -> bool:
    if (one.width, one.height) != (other.width, other.height) or (one.crs or None) != (other.crs or None):
        return False
    slack = 0.01 * max(one.pixel_size)
    return bool(np.allclose(tuple(one.transform), tuple(other.transform), rtol=0, atol=slack))


def _size(grid: Grid) -> str:
    return f"{grid.width} x {grid.height}"


def _text(parent: ET.Element, name: str, text: str, **attributes: str) -> None:
    ET.SubElement(parent, name, attributes).text = text


def _metadata(parent: ET.Element, tags: Mapping[str, str]) -> None:
    if tags:
        metadata = ET.SubElement(parent, "Metadata")
        for key, value in tags.items():
            _text(metadata, "MDI", value, key=key)
