"""Writing a cube as a cloud-optimised GeoTIFF, row by row, in bounded memory.

GDAL's COG driver cannot be written to in pieces, so rows go into an uncompressed, tiled, band-interleaved
temporary file first, which gets its overviews and all metadata and is then copied into the COG. Both live in
a hidden folder beside the target; the finished file is moved into place, and the folder goes in any case.
"""

from __future__ import annotations

import logging
import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import rasterio.shutil
from rasterio.enums import ColorInterp, Resampling
from rasterio.windows import Window

from hsfuse.errors import OutputError, WorkError
from hsfuse.files import check_target, move_together, require_room, shown, temporary_folder
from hsfuse.scenes.cog_options import BLOCK, checked_options, copy_options
from hsfuse.scenes.composite import NATURAL_NM, nearest_bands
from hsfuse.scenes.raster import RASTER_ERRORS, gdal_environment, open_dataset, reason_of

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from numpy.typing import NDArray

    from hsfuse.scenes.bands import Bands
    from hsfuse.scenes.encoding import Encoding
    from hsfuse.scenes.grid import Grid

logger = logging.getLogger(__name__)

WARN_CLIPPED = 1e-3
"""Share of values that the type cannot hold from which on a caller should warn."""
REFUSE_CLIPPED = 1e-2
"""Share from which on an output is refused unless told otherwise."""

# Bands are encoded in groups of about this many numbers, so that a copy of all rows is never made.
_ENCODED_NUMBERS = 2**22


class CogWriter:
    """Writes one raster, top to bottom; a context manager.

        encoding = Encoding.for_output(len(bands), "int16", -32768, scales, offsets)
        with CogWriter(path, grid, bands, encoding, tags={}) as writer:
            writer.write(0, values, valid)

    Leaving the block without an exception makes the file appear under its name; leaving it with one leaves
    what was there before.
    """

    def __init__(
        self,
        path: str | Path,
        grid: Grid,
        bands: Bands,
        encoding: Encoding,
        *,
        tags: Mapping[str, str],
        creation_options: Mapping[str, str] | None = None,
        overwrite: bool = False,
        allow_clipping: bool = False,
    ) -> None:
        """Check that the output can be written, and open the temporary file.

        Args:
            path: The COG.
            grid: Its size, geotransform and CRS.
            bands: One entry a band; wavelengths and widths become metadata.
            encoding: What numbers the values are written as, `Encoding.for_output`. Without a nodata value of its
                own the file is marked with one only once a pixel needs it.
            tags: For the dataset's default domain.
            creation_options: As of GDAL's COG driver, such as `COMPRESS`, `LEVEL` or `NUM_THREADS`.
            overwrite: Replace an existing file.
            allow_clipping: Go on where the type cannot hold more than 1 % of the values.

        Raises:
            OutputError: The file exists, the folder is missing or cannot be written to, or options do not fit.
            WorkError: The disk has no room.
        """
        self.path = Path(path)
        self.grid = grid
        self.bands = bands
        self.encoding = encoding
        self._options = checked_options(creation_options or {})
        self._nodata_written = encoding.declared
        self._allow_clipping = allow_clipping
        self._clipped = self._written = 0
        self._next_row = 0
        self.overwrite = overwrite
        check_target(self.path, overwrite=overwrite)
        self._check_disk()
        self._folder = temporary_folder(self.path)
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
            OutputError: The file exists, or its folder is missing or cannot be written to.
        """
        temporary_folder(check_target(path, overwrite=overwrite)).rmdir()

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

    @property
    def clipped(self) -> float:
        """Share of the values written so far, 0 to 1, that the type could not hold and that became its least or
        greatest number; a caller should warn above `WARN_CLIPPED`.
        """
        return self._clipped / self._written if self._written else 0.0

    def tag(self, tags: Mapping[str, str]) -> None:
        """Add tags to the dataset's default domain, such as what was found out only after the file was begun."""
        self._dataset.update_tags(**tags)

    def require_room(self, values: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
        """Refuse early, on a sample of what the output will be like, a type that cannot hold it.

        Args:
            values: Shape (C, …), such as the HSI's that is to be sharpened.
            valid: Shape (…).

        Raises:
            OutputError: The type cannot hold more than 1 % of the values; the sentence has its range and the way out.
        """
        share = self.encoding.share_clipped(values, valid)
        if share > REFUSE_CLIPPED and not self._allow_clipping:
            raise OutputError(f"{shown(self.path)}: {self.encoding.refusal(share)}")

    def write(self, row: int, values: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
        """Write the next rows.

        Args:
            row: The first of them; it must follow on the last one written.
            values: Physical values, shape (C, rows, W); one that is not finite becomes nodata in its band alone.
            valid: Shape (rows, W); other pixels become nodata in all bands.

        Raises:
            OutputError: The type cannot hold more than 1 % of the output's values.
            WorkError: The disk is full or the file cannot be written.
            ValueError: Rows out of order or of the wrong shape.
        """
        rows = values.shape[1]
        if values.shape != (len(self.bands), rows, self.grid.width) or valid.shape != values.shape[1:]:
            raise ValueError(f"rows of shape {values.shape} with a mask of {valid.shape} do not fit {self.grid}")
        if row != self._next_row or row + rows > self.grid.height:
            raise ValueError(f"rows {row} to {row + rows} came where row {self._next_row} was due")
        if not self._nodata_written and not (valid.all() and np.isfinite(values.sum(axis=0, dtype=np.float64)).all()):
            self._dataset.nodata = float(self.encoding.nodata[0])
            self._nodata_written = True
        window = Window(0, row, self.grid.width, rows)
        at_once = max(1, _ENCODED_NUMBERS // max(1, valid.size))
        try:
            with gdal_environment():
                for first in range(0, len(values), at_once):
                    bands = slice(first, first + at_once)
                    encoded, clipped = self.encoding.select(bands).encode(values[bands], valid)
                    self._clipped += clipped
                    self._dataset.write(
                        encoded, indexes=list(range(first + 1, first + 1 + len(encoded))), window=window
                    )
        except RASTER_ERRORS as error:
            raise WorkError(self._failed(error)) from error
        self._next_row = row + rows
        self._written += int(valid.sum()) * len(values)
        whole = len(self.bands) * self.grid.width * self.grid.height
        if not self._allow_clipping and self._clipped > REFUSE_CLIPPED * whole:
            raise OutputError(f"{shown(self.path)}: {self.encoding.refusal(self.clipped)}")

    def finish(self) -> None:
        """Make the COG and move it into place.

        Raises:
            OutputError: The target cannot be replaced any more.
            WorkError: Rows are missing, or the disk is full.
        """
        finish_all([self])

    def make(self) -> Path:
        """Make the COG under a temporary name, and say which.

        Raises:
            WorkError: Rows are missing, or the disk is full.
        """
        if self._next_row != self.grid.height:
            raise WorkError(f"{self.path}: only {self._next_row} of {self.grid.height} rows came: nothing was kept")
        try:
            with gdal_environment():
                self._build_overviews()
                self._dataset.close()
                finished = self._convert()
                _check_whole(finished)
        except (*RASTER_ERRORS, OSError) as error:
            raise WorkError(self._failed(error)) from error
        return finished

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
        cube = len(self.bands) * tiles * BLOCK**2 * np.dtype(self.encoding.dtype).itemsize
        # The cube, a third of it for overviews, and the same again for an output that may not compress.
        require_room(self.path.parent, 2 * cube * 4 // 3, f"to write {self.path.name}", "write elsewhere")

    def _create(self) -> Any:
        nodata = float(self.encoding.nodata[0]) if self._nodata_written else None
        return create_raster(self._temporary, self.grid, len(self.bands), self.encoding.dtype, nodata)

    def _describe(self, tags: Mapping[str, str]) -> None:
        dataset = self._dataset
        dataset.update_tags(**tags)
        scales, offsets = self.encoding.scales, self.encoding.offsets
        if (scales != 1).any() or (offsets != 0).any():
            dataset.scales, dataset.offsets = tuple(scales), tuple(offsets)
        describe_bands(dataset, self.bands)
        natural = nearest_bands(self.bands, NATURAL_NM)
        if natural is not None:  # viewers show these, and not the first three
            colours = {natural[0]: ColorInterp.red, natural[1]: ColorInterp.green, natural[2]: ColorInterp.blue}
            dataset.colorinterp = [colours.get(index, ColorInterp.undefined) for index in range(len(self.bands))]

    def _build_overviews(self) -> None:
        levels = max(0, math.ceil(math.log2(max(self.grid.width, self.grid.height) / BLOCK)))
        if levels:
            self._dataset.build_overviews([2**level for level in range(1, levels + 1)], Resampling.average)

    # --- the finished file ---

    def _convert(self) -> Path:
        finished = self._folder / self.path.name
        options = copy_options(self._options, np.dtype(self.encoding.dtype))
        rasterio.shutil.copy(str(self._temporary), str(finished), **options)
        return finished

    def _failed(self, error: BaseException) -> str:
        return f"{self.path} could not be written ({reason_of(error)}): see whether the disk is full; nothing was kept"


def create_raster(path: Path, grid: Grid, bands: int, dtype: str, nodata: float | None) -> Any:
    """A new tiled, uncompressed GeoTIFF, band by band, to write rows to."""
    return open_dataset(
        path, "w", driver="GTiff", width=grid.width, height=grid.height, count=bands, dtype=dtype,
        crs=grid.crs, transform=grid.transform, nodata=nodata,
        tiled=True, blockxsize=BLOCK, blockysize=BLOCK, interleave="band", BIGTIFF="IF_SAFER",
        # Left to itself GDAL takes four bands of bytes for red, green, blue and alpha.
        photometric="MINISBLACK", ALPHA="NO",
    )  # fmt: skip


def describe_bands(dataset: Any, bands: Bands) -> None:
    """Write what is known of each band into an open dataset: wavelength, width and name."""
    for index in range(len(bands)):
        own, imagery = _band_tags(bands, index)
        dataset.update_tags(index + 1, **own)
        dataset.update_tags(index + 1, ns="IMAGERY", **imagery)
        dataset.set_band_description(index + 1, _description(bands, index))


def finish_all(writers: Sequence[CogWriter]) -> None:
    """Make the COGs of several writers and move them into place, all of them or none.

    Raises:
        OutputError: One of the targets cannot be replaced any more.
        WorkError: Rows are missing, or the disk is full.
    """
    try:
        made = {writer.make(): writer.path for writer in writers}
        try:
            move_together(made, overwrite=all(writer.overwrite for writer in writers))
        except OSError as error:
            names = ", ".join(shown(writer.path) for writer in writers)
            raise WorkError(
                f"{names} cannot be moved into place ({error.strerror or error}): nothing was kept"
            ) from error
        for writer in writers:
            _remove_stale_sidecars(writer.path)
    finally:
        for writer in writers:
            writer.discard()


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
