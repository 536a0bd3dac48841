"""A raster file as GDAL gives it: opening it, and reading its own numbers."""

from __future__ import annotations

import logging
import os
import re
import stat
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.enums import MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError
from rasterio.io import MemoryFile
from rasterio.shutil import copy

from hsfuse.errors import SceneError, WorkError
from hsfuse.files import shown
from hsfuse.scenes.remote import (
    chosen,
    errors_that_are_told,
    is_remote,
    may_be_silent,
    no_sidecars,
    nothing_kept,
    retries,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hsfuse.scenes.grid import PixelWindow
    from hsfuse.scenes.readers.source import Source

logger = logging.getLogger(__name__)

RASTER_ERRORS = (RasterioError, CPLE_BaseError)
"""What rasterio raises; the second leaks through and is a plain `Exception`."""

_ENVI_DATA_SUFFIXES = ("", ".img", ".dat", ".bsq", ".bil", ".bip", ".raw", ".bin")

_ARCHIVES = {".zip": "vsizip", ".tar": "vsitar", ".tgz": "vsitar", ".tar.gz": "vsitar"}

# rasterio hands GDAL_CACHEMAX to a function of GDAL that takes bytes, never the megabytes of the variable.
_CACHE_BYTES = 256 * 2**20

# Python keeps one list of warning filters for all threads.
_filtering_warnings = threading.Lock()


def gdal_environment() -> rasterio.Env:
    """What GDAL works in: a block cache of 256 MB unless the user chose one, patience with servers, and warnings that
    go to logging.

    Left alone the cache grows to 5 % of the machine's memory, and warnings go straight to stderr.
    """
    cache = {} if chosen("GDAL_CACHEMAX") else {"GDAL_CACHEMAX": _CACHE_BYTES}
    return rasterio.Env(**cache, **retries())


def open_dataset(path: str | Path, mode: str = "r", **profile: Any) -> Any:
    """As `rasterio.open`, without its warning about files that have no geotransform.

    Raises:
        RasterioIOError: Also where rasterio ends at letters of a CRS that are no UTF-8.
    """
    with _filtering_warnings, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            with rasterio.Env(**errors_that_are_told(), **no_sidecars(str(path))):
                return rasterio.open(path, mode, **profile)
        except UnicodeDecodeError as error:
            raise RasterioIOError("its CRS has letters that are not UTF-8") from error


def tags_of(dataset: Any, band: int = 0, domain: str | None = None) -> dict[str, str]:
    """Tags of a dataset, or of a 1-based band; none where they are in letters other than UTF-8's."""
    try:
        return dict(dataset.tags(band, ns=domain))
    except UnicodeDecodeError:
        logger.info("%s: tags of band %d in %s are not UTF-8", dataset.name, band, domain)
        return {}


def descriptions_of(dataset: Any) -> tuple[str | None, ...]:
    """Descriptions of a dataset's bands, in UTF-8 or, where one is in other letters, in Latin-1."""
    try:
        return tuple(dataset.descriptions)
    except UnicodeDecodeError:
        return _latin_descriptions(dataset)


def _latin_descriptions(dataset: Any) -> tuple[str | None, ...]:
    """By way of the text of a virtual raster, into which GDAL copies every letter as it is."""
    none = (None,) * int(dataset.count)
    try:
        with MemoryFile(ext=".vrt") as memory:
            copy(dataset, memory.name, driver="VRT")
            root = ET.fromstring(memory.read().decode("latin-1"))  # noqa: S314 (GDAL wrote it)
    except (*RASTER_ERRORS, ET.ParseError):
        logger.info("%s: the descriptions of its bands are not UTF-8", dataset.name)
        return none
    found = tuple(band.findtext("Description") for band in root.iter("VRTRasterBand"))
    return found if len(found) == len(none) else none


class _Handle(threading.local):
    """One thread's open dataset."""

    dataset: Any = None
    process: int = 0


class Raster:
    """The numbers in a raster file, with no scale or offset applied.

    Any thread may read, and a copy may go to another process: GDAL's handles may be shared between neither,
    so each opens its own.
    """

    def __init__(self, path: str, source: Source | None = None) -> None:
        """Open nothing yet; `path` is whatever GDAL takes, unless a reader's `source` opens it instead."""
        self.path = path
        self._source = source
        self._handle = _Handle()

    def __reduce__(self) -> tuple[type[Raster], tuple[str, Source | None]]:
        return Raster, (self.path, self._source)

    @property
    def dataset(self) -> Any:
        """This thread's `rasterio.DatasetReader`; raises one of `RASTER_ERRORS` if it cannot be opened."""
        if self._handle.dataset is None or self._handle.process != os.getpid():
            self._handle.dataset = open_dataset(self.path) if self._source is None else self._source.open()
            self._handle.process = os.getpid()
        return self._handle.dataset

    def read(
        self,
        window: PixelWindow,
        bands: Sequence[int],
        alpha_band: int | None = None,
        shape: tuple[int, int] | None = None,
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Numbers of a window, shape (C, h, w), and whether a mask or alpha band hides a pixel, (h, w).

        Args:
            window: Pixels of the raster.
            bands: 0-based.
            alpha_band: 0-based band that is a mask.
            shape: Height and width of a decimated reading, out of overviews where there are any.

        Raises:
            WorkError: The file breaks off or cannot be decoded.
        """
        indexes = [int(band) + 1 for band in bands]
        flat = {"window": window.to_rasterio(), "out_shape": shape or (window.height, window.width)}
        try:
            with gdal_environment(), rasterio.Env(**errors_that_are_told()):
                numbers = _numbers(self.dataset, indexes, window, shape)
                self._require_told(numbers, indexes, window, shape)
                hidden = np.zeros(numbers.shape[1:], dtype=bool)
                if alpha_band is not None:
                    hidden |= self.dataset.read(alpha_band + 1, **flat) == 0
                for index in _mask_indexes(self.dataset, indexes):
                    hidden |= self.dataset.read_masks(index, **flat) == 0
        except RASTER_ERRORS as error:
            raise WorkError(unreadable(self.path, error)) from error
        return numbers, hidden

    def _require_told(
        self, numbers: NDArray[Any], indexes: list[int], window: PixelWindow, shape: tuple[int, int] | None
    ) -> None:
        """Zeros of raw images on servers are believed only where the file, fetched anew, has them too."""
        if numbers.all() or self._source is not None or not may_be_silent(self.dataset):
            return
        try:
            with rasterio.Env(**nothing_kept()):
                # GDAL forgets what it has fetched when a handle is closed.
                open_dataset(self.path, sharing=False).close()
                with open_dataset(self.path, sharing=False) as dataset:
                    again = _numbers(dataset, indexes, window, shape)
        except RASTER_ERRORS:
            raise RasterioIOError("it can no longer be fetched") from None
        if not np.array_equal(again, numbers, equal_nan=numbers.dtype.kind == "f"):
            raise RasterioIOError("it is not fetched whole")

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type that holds the numbers of every band."""
        return np.dtype(np.result_type(*self.dataset.dtypes))


def _numbers(dataset: Any, indexes: list[int], window: PixelWindow, shape: tuple[int, int] | None) -> NDArray[Any]:
    shape = shape or (window.height, window.width)
    types = np.array([dataset.dtypes[index - 1] for index in indexes])
    numbers = np.empty((len(indexes), *shape), np.dtype(np.result_type(*dataset.dtypes)))
    # rasterio reads bands of one type at a time; a virtual raster may mix them.
    for of_type in (np.flatnonzero(types == name) for name in np.unique(types)):
        alike = [indexes[place] for place in of_type]
        if len(alike) == len(indexes):
            dataset.read(alike, window=window.to_rasterio(), out=numbers)
        else:
            part = (len(alike), *shape)
            numbers[of_type] = dataset.read(alike, window=window.to_rasterio(), out_shape=part)
    return numbers


def _mask_indexes(dataset: Any, indexes: Sequence[int]) -> list[int]:
    """1-based bands whose masks have to be read, nodata being compared by `Encoding.has_data`.

    A mask of the whole dataset is the same for all bands, so one is enough. A mask that GDAL derives from an
    alpha band is left alone: the fourth band of many a red-green-blue-infrared file is marked as alpha.
    """
    flags = dataset.mask_flag_enums
    of_dataset = [
        index
        for index, flag in enumerate(flags, start=1)
        if MaskFlags.per_dataset in flag and MaskFlags.alpha not in flag
    ]
    return of_dataset[:1] or [index for index in indexes if not flags[index - 1]]


def data_file(path: str) -> str:
    """The file to open for what a user named: for an ENVI header, the data beside it.

    Raises:
        SceneError: A plain path at which there is nothing.
    """
    # Of one letter it would be a drive of Windows; longer ones are URLs or GDAL's `NETCDF:file:variable`.
    if path.startswith("/vsi") or re.match(r"\w[\w+]+:", path):
        return path
    file = Path(path)
    _check_input(file)
    if file.suffix.lower() != ".hdr":
        return path
    suffixes = (*_ENVI_DATA_SUFFIXES, *(suffix.upper() for suffix in _ENVI_DATA_SUFFIXES[1:]))
    candidates = (file.with_name(file.stem + suffix) for suffix in suffixes)
    found = next((str(candidate) for candidate in candidates if candidate.is_file()), None)
    if found is None:
        raise SceneError(f"{path}: there is no data file beside this ENVI header: name the data file instead")
    return found


def _check_input(file: Path) -> None:
    """Refuse what GDAL would wait at for ever, or has no words for."""
    try:
        str(file).encode()
        mode = file.stat().st_mode
    except UnicodeEncodeError as error:
        raise SceneError(f"{shown(file)}: the name is not UTF-8, which GDAL asks for: rename the file") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SceneError(f"{shown(file)}: there is no such file: check the name") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SceneError(f"{shown(file)[:60]}: no file can have this name ({reason}): check it") from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise SceneError(f"{shown(file)}: a device or pipe, and not an image: copy it into a file first")
    if stat.S_ISREG(mode) and file.stat().st_size == 0:
        raise SceneError(f"{shown(file)}: the file is empty, and not an image: fetch it again")


def require_whole(dataset: Any) -> None:
    """Refuse an ENVI file that is shorter than its header says, since GDAL reads zeros past its end.

    Raises:
        SceneError: With both sizes.
    """
    header, file = tags_of(dataset, 0, "ENVI"), Path(dataset.name)
    if dataset.driver != "ENVI" or header.get("file_compression", "0").strip() != "0" or not file.is_file():
        return
    numbers = dataset.width * dataset.height * sum(np.dtype(name).itemsize for name in dataset.dtypes)
    offset = header.get("header_offset", "").strip()
    needed, size = (int(offset) if offset.isdecimal() else 0) + numbers, file.stat().st_size  # as GDAL reads it
    if size < needed:
        raise SceneError(
            f"{dataset.name}: cut off, {size} bytes where its header asks for {needed}: fetch the file again"
        )


def reason_of(error: BaseException) -> str:
    """What rasterio or GDAL says of a failure, on one line."""
    return " ".join(str(error.__cause__ or error).split())


def unreadable(path: str, error: BaseException) -> str:
    """The sentence for a raster that GDAL cannot open or read."""
    cause = None if isinstance(error.__cause__, UnicodeError) else error.__cause__
    reason = " ".join(str(cause or error).split()).removeprefix(f"{path}: ")
    remote = is_remote(path)
    if remote and (status := re.search(r"HTTP response code: (\d+)|CURL error: (.*)", reason)):
        answer = f"the server answers {status[1]}" if status[1] else f"{status[2].rstrip('.')}"
        return f"{path}: cannot be fetched ({answer}): check the address and what it takes to be let in"
    if "ENVI header file" in reason:
        return f"{path}: an ENVI header: name the data file instead"
    if "does not exist in the file system" in reason:
        return f"{path}: there is no such file: check the name"
    if "not recognized" in reason and (place := _inside_of_archive(path)):
        return f"{path}: an archive: name the image in it, such as {place}"
    way_out = "the file is damaged, cut off or not an image"
    if remote and "not recognized" not in reason:
        way_out = "the server broke off, or the file there is damaged: try again, or fetch it first"
    return f"{path}: cannot be read as a raster ({reason}): {way_out}"


def _inside_of_archive(path: str) -> str | None:
    """How an image in an archive is named; None where the path is of none."""
    kind = next((kind for suffix, kind in _ARCHIVES.items() if path.lower().endswith(suffix)), None)
    if kind is None:
        return None
    curl = "/vsicurl/" if re.match(r"\w+://", path) else ""
    return f"{path}/NAME.tif" if path.startswith(f"/{kind}/") else f"/{kind}/{curl}{path}/NAME.tif"
