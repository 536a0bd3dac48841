"""Writing a cube as a cloud-optimised GeoTIFF, row by row, in bounded memory.

GDAL's COG driver cannot be written to in pieces, so rows go into an uncompressed, tiled, band-interleaved
temporary file first, which gets its overviews and all metadata and is then copied into the COG. Both live in
a hidden folder beside the target; the finished file is moved into place, and the folder goes in any case.
"""

from __future__ import annotations

import logging
import math
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import rasterio.shutil
from rasterio.enums import Resampling
from rasterio.windows import Window

from hsfuse.errors import OutputError, WorkError
from hsfuse.scenes.cog_options import (
    BLOCK,
    beside_nodata,
    checked_dtype,
    checked_nodata,
    checked_options,
    copy_options,
)
from hsfuse.scenes.raster import RASTER_ERRORS, gdal_environment, open_dataset

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from types import TracebackType

    from numpy.typing import NDArray

    from hsfuse.scenes.bands import Bands
    from hsfuse.scenes.grid import Grid

logger = logging.getLogger(__name__)

# Bands are encoded in groups of about this many numbers, so that a copy of all rows is never made.
_ENCODED_NUMBERS = 2**22


class CogWriter:
    """Writes one raster, top to bottom; a context manager.

        with CogWriter(path, grid, bands, "int16", -32768, scales, offsets, tags={}) as writer:
            writer.write(0, values, valid)

    Leaving the block without an exception makes the file appear under its name; leaving it with one leaves
    what was there before.
    """

    def __init__(
        self,
        path: str | Path,
        grid: Grid,
        bands: Bands,
        dtype: str,
        nodata: float | None,
        scales: NDArray[np.float64],
        offsets: NDArray[np.float64],
        *,
        tags: Mapping[str, str],
        creation_options: Mapping[str, str] | None = None,
        overwrite: bool = False,
    ) -> None:
        """Check that the output can be written, and open the temporary file.

        Args:
            path: the COG.
            grid: its size, geotransform and CRS.
            bands: one entry a band; wavelengths and widths become metadata.
            dtype: numpy's name of the type in the file.
            nodata: in the file's numbers. None: NaN for floats, the least value for signed integers, 0 for
                unsigned ones; the file is marked with it only once an invalid pixel has come.
            scales: shape (C,): value = number in the file · scale + offset.
            offsets: shape (C,).
            tags: for the dataset's default domain.
            creation_options: as of GDAL's COG driver, such as `COMPRESS`, `LEVEL` or `NUM_THREADS`.
            overwrite: replace an existing file.

        Raises:
            OutputError: the file exists, the folder is missing or cannot be written to, or type, nodata or
                options do not fit.
            WorkError: the disk has no room.
        """
        self.path = Path(path)
        self.grid = grid
        self.bands = bands
        self.dtype = np.dtype(checked_dtype(dtype))
        self.nodata = checked_nodata(nodata, self.dtype)
        self.scales = np.asarray(scales, np.float64).reshape(len(bands))
        self.offsets = np.asarray(offsets, np.float64).reshape(len(bands))
        self._options = checked_options(creation_options or {})
        self._nodata_written = nodata is not None
        self._next_row = 0
        _check_target(self.path, overwrite=overwrite)
        self._check_disk()
        self._folder = _temporary_folder(self.path)
        try:
            self._dataset: Any = self._create()
            self._describe(tags)
        except RASTER_ERRORS as error:
            self.discard()
            raise WorkError(self._failed(error)) from error
        except BaseException:
            self.discard()
            raise

    @staticmethod
    def check_target(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Find out early whether an output could be written, before any work is done for it.

        Raises:
            OutputError: the file exists, or its folder is missing or cannot be written to.
        """
        _check_target(Path(path), overwrite=overwrite)
        _temporary_folder(Path(path)).rmdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.finish()
        else:
            self.discard()

    def write(self, row: int, values: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
        """Write the next rows.

        Args:
            row: the first of them; it must follow on the last one written.
            values: physical values, shape (C, rows, W).
            valid: shape (rows, W); other pixels become nodata, and so does any that is not finite.

        Raises:
            WorkError: the disk is full or the file cannot be written.
            ValueError: rows out of order or of the wrong shape.
        """
        rows = values.shape[1]
        if values.shape != (len(self.bands), rows, self.grid.width) or valid.shape != values.shape[1:]:
            raise ValueError(f"rows of shape {values.shape} with a mask of {valid.shape} do not fit {self.grid}")
        if row != self._next_row or row + rows > self.grid.height:
            raise ValueError(f"rows {row} to {row + rows} came where row {self._next_row} was due")
        valid = valid & np.isfinite(values.sum(axis=0, dtype=np.float64))
        if not self._nodata_written and not valid.all():
            self._dataset.nodata = self.nodata
            self._nodata_written = True
        window = Window(0, row, self.grid.width, rows)
        at_once = max(1, _ENCODED_NUMBERS // max(1, valid.size))
        try:
            with gdal_environment():
                for first in range(0, len(values), at_once):
                    bands = slice(first, first + at_once)
                    encoded = self._encode(values[bands], valid, bands)
                    self._dataset.write(
                        encoded, indexes=list(range(first + 1, first + 1 + len(encoded))), window=window
                    )
        except RASTER_ERRORS as error:
            raise WorkError(self._failed(error)) from error
        self._next_row = row + rows

    def finish(self) -> None:
        """Make the COG and move it into place.

        Raises:
            WorkError: rows are missing, or the disk is full.
        """
        try:
            if self._next_row != self.grid.height:
                raise WorkError(f"{self.path}: only {self._next_row} of {self.grid.height} rows came: nothing was kept")
            with gdal_environment():
                self._build_overviews()
                self._dataset.close()
                finished = self._convert()
                _check_whole(finished)
            finished.replace(self.path)
            _remove_stale_sidecars(self.path)
        except (*RASTER_ERRORS, OSError) as error:
            raise WorkError(self._failed(error)) from error
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove everything temporary; the target stays as it was."""
        dataset = getattr(self, "_dataset", None)
        if dataset is not None and not dataset.closed:
            try:
                dataset.close()
            except RASTER_ERRORS:
                logger.debug("closing the temporary file of %s failed", self.path, exc_info=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    # --- the temporary file ---

    @property
    def _temporary(self) -> Path:
        return self._folder / "rows.tif"

    def _check_disk(self) -> None:
        tiles = math.ceil(self.grid.width / BLOCK) * math.ceil(self.grid.height / BLOCK)
        cube = len(self.bands) * tiles * BLOCK**2 * self.dtype.itemsize
        # The cube, a third of it for overviews, and the same again for an output that may not compress.
        needed = 2 * cube * 4 // 3
        free = shutil.disk_usage(self.path.parent).free
        if free < needed:
            raise WorkError(
                f"{self.path.parent} has {free / 2**20:.0f} MB free where {needed / 2**20:.0f} MB are needed "
                f"to write {self.path.name}: free some, or write elsewhere"
            )

    def _create(self) -> Any:
        return open_dataset(
            self._temporary, "w", driver="GTiff",
            width=self.grid.width, height=self.grid.height, count=len(self.bands), dtype=self.dtype.name,
            crs=self.grid.crs, transform=self.grid.transform,
            nodata=self.nodata if self._nodata_written else None,
            tiled=True, blockxsize=BLOCK, blockysize=BLOCK, interleave="band", BIGTIFF="IF_SAFER",
            # Left to itself GDAL takes four bands of bytes for red, green, blue and alpha.
            photometric="MINISBLACK", ALPHA="NO",
        )  # fmt: skip

    def _describe(self, tags: Mapping[str, str]) -> None:
        dataset = self._dataset
        dataset.update_tags(**tags)
        if (self.scales != 1).any() or (self.offsets != 0).any():
            dataset.scales, dataset.offsets = tuple(self.scales), tuple(self.offsets)
        for index in range(len(self.bands)):
            own, imagery = _band_tags(self.bands, index)
            dataset.update_tags(index + 1, **own)
            dataset.update_tags(index + 1, ns="IMAGERY", **imagery)
            dataset.set_band_description(index + 1, _description(self.bands, index))

    def _encode(self, values: NDArray[np.float32], valid: NDArray[np.bool_], bands: slice) -> NDArray[Any]:
        """Physical values of some bands to the file's numbers, no valid one of which reads as nodata."""
        narrow = self.dtype.itemsize <= 2 or self.dtype == np.float32
        kind: type[np.floating[Any]] = np.float32 if narrow else np.float64
        numbers: NDArray[Any] = values.astype(kind)
        numbers = np.subtract(numbers, self.offsets[bands].astype(kind)[:, None, None], out=numbers)
        numbers = np.divide(numbers, self.scales[bands].astype(kind)[:, None, None], out=numbers)
        if self.dtype.kind == "f":
            encoded = numbers.astype(self.dtype, copy=False)
        else:
            limits = np.iinfo(self.dtype)
            np.rint(numbers, out=numbers)
            # A pixel that is not valid may hold anything, NaN too; it is overwritten below.
            np.nan_to_num(numbers, copy=False)
            encoded = np.clip(numbers, limits.min, limits.max).astype(self.dtype)
        if not math.isnan(self.nodata):
            encoded[encoded == self.nodata] = beside_nodata(self.nodata, self.dtype)
        encoded[:, ~valid] = self.nodata
        return encoded

    def _build_overviews(self) -> None:
        levels = max(0, math.ceil(math.log2(max(self.grid.width, self.grid.height) / BLOCK)))
        if levels:
            self._dataset.build_overviews([2**level for level in range(1, levels + 1)], Resampling.average)

    # --- the finished file ---

    def _convert(self) -> Path:
        finished = self._folder / self.path.name
        options = copy_options(self._options, self.dtype)
        rasterio.shutil.copy(str(self._temporary), str(finished), **options)
        return finished

    def _failed(self, error: BaseException) -> str:
        reason = " ".join(str(error.__cause__ or error).split())
        return f"{self.path} could not be written ({reason}): see whether the disk is full; nothing was kept"


def _check_target(path: Path, *, overwrite: bool) -> None:
    if path.is_dir():
        raise OutputError(f"{path} is a folder: give the name of a file")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists: pass `overwrite=True` to replace it")
    if not path.parent.is_dir():
        raise OutputError(f"The folder {path.parent} does not exist: create it first")


def _temporary_folder(path: Path) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise OutputError(f"The folder {path.parent} cannot be written to ({error.strerror})") from error


def _band_tags(bands: Bands, index: int) -> tuple[dict[str, str], dict[str, str]]:
    """Tags of the default domain, which most programs read, and of IMAGERY, which GDAL's own tools read."""
    own: dict[str, str] = {}
    imagery: dict[str, str] = {}
    if bands.wavelength_nm is not None and math.isfinite(bands.wavelength_nm[index]):
        nm = bands.wavelength_nm[index]
        own |= {"wavelength": f"{nm:.10g}", "wavelength_units": "Nanometers"}
        imagery["CENTRAL_WAVELENGTH_UM"] = f"{nm / 1e3:.10g}"
    if bands.fwhm_nm is not None and math.isfinite(bands.fwhm_nm[index]):
        own["fwhm"] = f"{bands.fwhm_nm[index]:.10g}"
        imagery["FWHM_UM"] = f"{bands.fwhm_nm[index] / 1e3:.10g}"
    return own, imagery


def _description(bands: Bands, index: int) -> str:
    if bands.names[index]:
        return bands.names[index]
    if bands.wavelength_nm is not None and math.isfinite(bands.wavelength_nm[index]):
        return f"Band {index + 1} ({bands.wavelength_nm[index]:.6g} nm)"
    return f"Band {index + 1}"


def _check_whole(path: Path) -> None:
    """Read the end of the last band: GDAL may report a full disk only in a log message."""
    with open_dataset(path) as dataset:
        last = Window(dataset.width - 1, dataset.height - 1, 1, 1)
        dataset.read(window=last)


def _remove_stale_sidecars(path: Path) -> None:
    """Statistics, overviews and masks beside a file that was overwritten describe the old one."""
    for ending in (".aux.xml", ".ovr", ".msk"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
