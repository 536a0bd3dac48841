"""Readers of products as agencies deliver them, found by what a file or folder holds and not by its name.

A reader turns a product into a `Source`, which opens as one raster with all that is known about its bands in
tags, and into quality layers. To add one: write `read` in a module of its own and name it in a list here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import h5py

from hsfuse.errors import SceneError
from hsfuse.scenes.readers import emit, named_axes, neon, prisma, tanager
from hsfuse.scenes.readers.hdf import arrays, contents, opened
from hsfuse.scenes.readers.product import Product, Source

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Product", "Source", "find_product"]

HDF5_READERS: list[Callable[[h5py.File], Product | None]] = [
    prisma.read,
    emit.read,
    neon.read,
    tanager.read,
    named_axes.read,
]


def find_product(path: str) -> Product | None:
    """The product at a path; None for a raster that GDAL reads rightly by itself, or where there is nothing.

    Args:
        path: a file or a folder, or GDAL's `netcdf:FILE:VARIABLE` and `HDF5:FILE://VARIABLE`.

    Raises:
        SceneError: a product that is damaged, or one that cannot be read, with the reason and the way out.
    """
    file, variable = _subdataset(path)
    if Path(file).is_file() and h5py.is_hdf5(file):
        return _read_hdf5(file, variable)
    return None


def _subdataset(path: str) -> tuple[str, str | None]:
    """File and variable of GDAL's names for parts of netCDF and HDF5 files."""
    match = re.fullmatch(r'(?:netcdf|hdf5):"?(.+?)"?:/{0,2}([^:"]+)', path, re.IGNORECASE)
    return (match[1], match[2]) if match else (path, None)


def _read_hdf5(path: str, variable: str | None) -> Product | None:
    with opened(path) as file:
        for read in HDF5_READERS:
            product = named_axes.read(file, variable) if read is named_axes.read else read(file)
            if product is not None:
                return product
        if arrays(file):
            raise SceneError(
                f"{path}: no reader knows this HDF5 file; it holds {contents(file)}: convert the image to GeoTIFF or "
                "ENVI first"
            )
    return None
