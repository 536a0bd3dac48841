"""Hyperspectral images as they are published: MATLAB files of both kinds, and whatever GDAL opens (ENVI, GeoTIFF)."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.io

from hsfuse.errors import RequestError
from hsfuse.scenes import PixelWindow, Scene

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Read = Callable[[PixelWindow, Sequence[int]], NDArray[np.float32]]

_HDF5 = b"\x89HDF"
_MATLAB_73 = b"MATLAB 7.3"


@dataclass(frozen=True)
class Cube:
    """An image in a file."""

    path: Path
    """Where it is."""

    bands: int
    """How many the file has."""

    rows: int
    """Of pixels."""

    columns: int
    """Of pixels."""

    wavelength_nm: NDArray[np.float64] | None
    """Band centres, shape (bands,); MATLAB files do not tell."""

    read: Read
    """The values under a window of some bands (0-based), float32 (C, h, w), NaN where there are none."""


def open_cube(path: Path, key: str | None = None) -> Cube:
    """Find out what is in a file.

    Args:
        path: A `.mat`, or anything that GDAL opens.
        key: Name of the array in a `.mat`; by default its only array of three dimensions.

    Raises:
        RequestError: There is no such file, no such array, or h5py is missing for MATLAB 7.3.
    """
    if path.suffix.lower() != ".mat":
        return _raster(path)
    if not path.is_file():
        raise RequestError(f"there is no file {path}: give the data set's file")
    with path.open("rb") as file:
        start = file.read(len(_MATLAB_73))
    return _hdf5(path, key) if start == _MATLAB_73 or start.startswith(_HDF5) else _matlab(path, key)


def _matlab(path: Path, key: str | None) -> Cube:
    """Up to version 7: (rows, columns, bands), read whole."""
    try:
        arrays = {name: shape for name, shape, _ in scipy.io.whosmat(path)}
    except (ValueError, OSError, NotImplementedError) as error:
        raise RequestError(f"{path} is no MATLAB file ({error}): give the file as it was published") from error
    name = _chosen(path, arrays, key)
    array = scipy.io.loadmat(path, variable_names=[name])[name]
    rows, columns, bands = array.shape

    def read(window: PixelWindow, chosen: Sequence[int]) -> NDArray[np.float32]:
        part = array[window.rows, window.columns][..., list(chosen)]
        return np.ascontiguousarray(part.transpose(2, 0, 1), dtype=np.float32)

    return Cube(path, bands, rows, columns, None, read)


def _hdf5(path: Path, key: str | None) -> Cube:
    """Version 7.3: MATLAB's order of axes turned round, (bands, columns, rows), read by window."""
    if find_spec("h5py") is None:
        raise RequestError(f"{path} is a MATLAB 7.3 file, which needs h5py: pip install h5py, or give the ENVI files")
    import h5py  # noqa: PLC0415 (optional)

    with h5py.File(path) as file:
        arrays: dict[str, tuple[int, ...]] = {
            name: item.shape for name, item in file.items() if isinstance(item, h5py.Dataset)
        }
    name = _chosen(path, arrays, key)
    bands, columns, rows = arrays[name]

    def read(window: PixelWindow, chosen: Sequence[int]) -> NDArray[np.float32]:
        image = np.empty((len(chosen), window.height, window.width), np.float32)
        with h5py.File(path) as opened:
            source: Any = opened[name]
            for index, band in enumerate(chosen):  # one band in memory at a time
                image[index] = source[band, window.columns, window.rows].T
        return image

    return Cube(path, bands, rows, columns, None, read)


def _raster(path: Path) -> Cube:
    scene = Scene.open(path)

    def read(window: PixelWindow, chosen: Sequence[int]) -> NDArray[np.float32]:
        block = scene.read(window, chosen)
        block.values[:, ~block.valid] = np.nan
        return block.values

    wavelength = scene.bands.select(range(scene.count)).wavelength_nm
    return Cube(path, scene.count, scene.grid.height, scene.grid.width, wavelength, read)


def _chosen(path: Path, arrays: dict[str, tuple[int, ...]], key: str | None) -> str:
    cubes = [name for name, shape in arrays.items() if len(shape) == 3]
    if key is None and len(cubes) == 1:
        return cubes[0]
    if key in cubes:
        return str(key)
    found = ", ".join(f"{name} {'×'.join(map(str, shape))}" for name, shape in arrays.items()) or "nothing"
    asked = "its only array of three dimensions" if key is None else f"an array {key!r} of three dimensions"
    raise RequestError(f"{path} holds {found}, where {asked} is wanted: name the right one with --key")
