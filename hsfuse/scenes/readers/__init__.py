"""Readers of products as agencies deliver them, found by what a file or folder holds and not by its name.

A reader turns a product into a `Source`, which opens as one raster with all that is known about its bands in
tags, and into quality layers. To add one: write `read` in a module of its own and name it in a list here.
"""

from __future__ import annotations

import glob
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import h5py

from hsfuse.errors import SceneError
from hsfuse.scenes.raster import gdal_environment
from hsfuse.scenes.readers import (
    band_files,
    dlr,
    emit,
    hyperion,
    landsat,
    named_axes,
    neon,
    prisma,
    sentinel2,
    tanager,
)
from hsfuse.scenes.readers.files import ProductFiles, files_of, natural
from hsfuse.scenes.readers.hdf import arrays, contents, opened
from hsfuse.scenes.readers.product import Product
from hsfuse.scenes.readers.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Product", "Source", "find_product", "resolutions"]

HDF5_READERS: list[Callable[[h5py.File], Product | None]] = [
    prisma.read,
    emit.read,
    neon.read,
    tanager.read,
]
"""Asked about an HDF5 or netCDF 4 file, in this order; after them the names of its axes."""

FILES_READERS: list[Callable[[ProductFiles], Product | None]] = [
    sentinel2.read,
    landsat.read,
    dlr.read,
    hyperion.read,
    band_files.read,
]
"""Asked about a folder or an archive, in this order."""

# Names of metadata files that stand for their product: what comes before is shared by its files.
_METADATA = re.compile(r"(?P<stem>.*?)(?:MTD_MSIL(?:1C|2A)\.xml|METADATA\.xml|MTL\.txt)", re.IGNORECASE)
_RESOLUTION = re.compile(r"(?P<file>.+):(?P<metres>10|20|60)m", re.IGNORECASE)


def find_product(path: str) -> Product | None:
    """The product at a path; None for a raster that GDAL reads rightly by itself, or where there is nothing.

    Args:
        path: A file; the folder, zip, tar or metadata file of a product; `S2A_….SAFE:20m` for the bands of another
            resolution; files of single bands with commas between them or as `B*.tif`; or GDAL's
            `netcdf:FILE:VARIABLE` and `HDF5:FILE://VARIABLE`.

    Raises:
        SceneError: A product that is damaged, or one that cannot be read, with the reason and the way out.
    """
    if path.startswith("/vsi") or re.match(r"\w+://", path):
        return None
    if _exists(path):
        return _find_at(path)
    return _find_by_name(path)


def resolutions(path: str) -> tuple[str, ...]:
    """`PATH:10m` and `PATH:20m` for a Sentinel-2 product with bands of both; the path itself for anything else.

    Raises:
        SceneError: A product that is damaged.
    """
    place = Path(path)
    if path.startswith("/vsi") or not _exists(path) or not (place.is_file() or place.is_dir()):
        return (path,)
    files = _files_at(path)
    sizes = () if files is None else sentinel2.pixel_sizes(files)
    return tuple(f"{path}:{size}m" for size in sizes) if len(sizes) > 1 else (path,)


def _exists(path: str) -> bool:
    """Whether there is anything; not so for names that no file can have."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def _find_at(path: str) -> Product | None:
    place = Path(path)
    # To open a pipe would wait for its other end.
    if not place.is_file() and not place.is_dir():
        return None
    if (files := _files_at(path)) is not None:
        return _read_files(files)
    if h5py.is_hdf5(path):
        return _read_hdf5(path, None)
    _refuse_hdf4(path)
    return dlr.read_beside(path)


def _find_by_name(path: str) -> Product | None:
    """What is not a file: part of one, a list, a pattern."""
    resolution = _RESOLUTION.fullmatch(path)
    if resolution is not None and (files := _files_at(resolution["file"])) is not None:
        return sentinel2.read(files, int(resolution["metres"]))
    part = re.fullmatch(r'(?:netcdf|hdf5):"?(.+?)"?:/{0,2}([^:"]+)', path, re.IGNORECASE)
    if part is not None:
        return _read_hdf5(part[1], part[2]) if _exists(part[1]) and h5py.is_hdf5(part[1]) else None
    names = [name.strip() for name in path.split(",")]
    if len(names) > 1 and all(_exists(name) for name in names):
        return band_files.read_list(path, names)
    found = sorted(glob.glob(path), key=natural) if glob.has_magic(path) else []  # noqa: PTH207 (may be absolute)
    if len(found) == 1 and (product := find_product(found[0])) is not None:
        return product
    return band_files.read_list(path, found) if found else None


def _files_at(path: str) -> ProductFiles | None:
    """The files of the product at a path, be it a folder, an archive or its metadata file; None for anything else."""
    return (files_of(path) or _files_of_metadata(Path(path))) if _exists(path) else None


def _files_of_metadata(path: Path) -> ProductFiles | None:
    """The files of the product that a metadata file is named for."""
    match = _METADATA.fullmatch(path.name)
    if match is None:
        return None
    beside = files_of(str(path.parent))
    return None if beside is None else replace(beside.under(match["stem"]), root=str(path))


def _read_files(files: ProductFiles) -> Product:
    for read in FILES_READERS:
        product = read(files)
        if product is not None:
            return product
    hdf5 = files.matching(r"[^/]*\.(?:he5|h5|hdf5?|nc4?)")
    if len(hdf5) == 1 and Path(files.root).is_dir():
        product = find_product(files.paths[hdf5[0]])
        if product is not None:
            return product
    if hdf5:
        what = "unpack it and name the file" if len(hdf5) == 1 else "name one of them"
        raise SceneError(f"{files.root}: it holds {', '.join(hdf5[:4])}: {what}")
    listed = ", ".join(files.names[:4]) or "nothing"
    raise SceneError(f"{files.root}: no product or raster is in there, only {listed}: name the image itself")


def _refuse_hdf4(path: str) -> None:
    try:
        with Path(path).open("rb") as file:
            head = file.read(4)
    except OSError:
        return
    with gdal_environment() as environment:
        if hyperion.is_hdf4(head) and "HDF4Image" not in environment.drivers():
            raise SceneError(
                f"{path}: an HDF 4 file (Hyperion L1R comes so), which this build of GDAL cannot read: take the L1T "
                "product in GeoTIFF, or convert it with a GDAL that has the HDF4 driver"
            )


def _read_hdf5(path: str, variable: str | None) -> Product | None:
    with opened(path) as file:
        for read in HDF5_READERS:
            if (product := read(file)) is not None:
                return product
        product = named_axes.read(file, variable)
        if product is None and arrays(file):
            raise SceneError(
                f"{path}: no reader knows this HDF5 file; it holds {contents(file)}: convert the image to GeoTIFF or "
                "ENVI first"
            )
    return product
