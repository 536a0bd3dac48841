"""Writing a cube as a cloud-optimised GeoTIFF, row by row, in bounded memory.

GDAL's COG driver cannot be written to in pieces. Here rows of blocks go into GeoTIFFs of their own as they come,
packed on all cores while the next ones are computed, and so do the overviews; in the end their bytes are laid out
as a COG (`cog_layout`). All of it lives in a hidden folder beside the target; the finished file is moved into
place, and the folder goes.
"""

from __future__ import annotations

import logging
import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from rasterio.enums import ColorInterp
from rasterio.windows import Window

from hsfuse.errors import OutputError, WorkError
from hsfuse.files import check_target, move_together, require_room, shown, temporary_folder
from hsfuse.scenes.cog_layout import lay_out
from hsfuse.scenes.cog_options import BLOCK, checked_options
from hsfuse.scenes.composite import NATURAL_NM, nearest_bands
from hsfuse.scenes.packed_rows import PackedRows
from hsfuse.scenes.raster import RASTER_ERRORS, gdal_environment, open_dataset, reason_of

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from numpy.typing import NDArray

    from hsfuse.scenes.bands import Bands
    from hsfuse.scenes.encoding import Encoding
    from hsfuse.scenes.grid import Grid
    from hsfuse.stages import Stage

logger = logging.getLogger(__name__)

WARN_CLIPPED = 1e-3
"""Share of values that the type cannot hold from which on a caller should warn."""
REFUSE_CLIPPED = 1e-2
"""Share from which on an output is refused unless told otherwise."""


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
        folder: Path | None = None,
    ) -> None:
        """Check that the output can be written, and make the folder for what is unfinished.

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
            folder: On the same disk, for what is unfinished; it is kept unless the file gets finished, and a writer
                of the same request that is given it again goes on at `next_row`. By default a temporary one.

        Raises:
            OutputError: The file exists, the folder is missing or cannot be written to, or options do not fit.
            WorkError: The disk has no room.
        """
        self.path = Path(path)
        self.grid = grid
        self.bands = bands
        self.encoding = encoding
        self._options = checked_options(creation_options or {})
        self._tags = dict(tags)
        self._allow_clipping = allow_clipping
        self._held: list[tuple[NDArray[np.float32], NDArray[np.bool_]]] = []
        self.overwrite = overwrite
        check_target(self.path, overwrite=overwrite)
        self._check_disk()
        self._kept = folder is not None
        self._folder = temporary_folder(self.path) if folder is None else folder
        try:
            with gdal_environment():
                self._rows = PackedRows(self._folder, grid, encoding, self._options)
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
        counts = self._rows.counts
        return counts.clipped / counts.written if counts.written else 0.0

    @property
    def block(self) -> int:
        """Edge of the file's blocks in pixels: rows that come in whole rows of blocks are not held."""
        return self._rows.block

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Where the time of encoding, packing and laying out went."""
        return self._rows.stages.table

    @property
    def next_row(self) -> int:
        """The row that is due next."""
        return self._rows.counts.rows + sum(len(valid) for _, valid in self._held)

    def tag(self, tags: Mapping[str, str]) -> None:
        """Add tags to the dataset's default domain, such as what was found out only after the file was begun."""
        self._tags |= tags

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
        if row != self.next_row or row + rows > self.grid.height:
            raise ValueError(f"rows {row} to {row + rows} came where row {self.next_row} was due")
        last = row + rows == self.grid.height
        if self._held or (rows % self.block and not last):
            self._held.append((values.copy(), valid.copy()))
            finished = self._whole_blocks(last=last)
            if finished is None:
                return
            values, valid = finished
        try:
            with gdal_environment():
                self._rows.write(values, valid)
        except (*RASTER_ERRORS, OSError) as error:
            raise WorkError(self._failed(error)) from error
        whole = len(self.bands) * self.grid.width * self.grid.height
        if not self._allow_clipping and self._rows.counts.clipped > REFUSE_CLIPPED * whole:
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
        if self.next_row != self.grid.height:
            raise WorkError(f"{self.path}: only {self.next_row} of {self.grid.height} rows came: nothing was kept")
        try:
            with gdal_environment(), self._rows.stages.work("lay out"):
                finished = self._laid_out()
                _check_whole(finished)
        except (*RASTER_ERRORS, OSError) as error:
            raise WorkError(self._failed(error)) from error
        return finished

    def discard(self) -> None:
        """Remove everything temporary, but not a folder that was given; the target stays as it was."""
        self._close()
        if not self._kept:
            self.remove()

    def _close(self) -> None:
        rows = getattr(self, "_rows", None)
        if rows is not None:
            try:
                rows.overviews.close()
            except RASTER_ERRORS:
                logger.debug("closing the overviews of %s failed", self.path, exc_info=True)

    def remove(self) -> None:
        """Remove the folder of what is unfinished, also one that was given."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _whole_blocks(self, *, last: bool) -> tuple[NDArray[np.float32], NDArray[np.bool_]] | None:
        """Those of the rows held that make whole rows of blocks, or all of them if they are the last; or None."""
        rows = sum(len(valid) for _, valid in self._held)
        finished = rows if last else rows - rows % self.block
        if not finished:
            return None
        values = np.concatenate([part for part, _ in self._held], axis=1)
        valid = np.concatenate([part for _, part in self._held])
        self._held = [(values[:, finished:], valid[finished:])] if finished < rows else []
        return values[:, :finished], valid[:finished]

    def _check_disk(self) -> None:
        tiles = math.ceil(self.grid.width / BLOCK) * math.ceil(self.grid.height / BLOCK)
        cube = len(self.bands) * tiles * BLOCK**2 * np.dtype(self.encoding.dtype).itemsize
        # The cube, a third of it for overviews, and the same again for an output that may not compress.
        require_room(self.path.parent, 2 * cube * 4 // 3, f"to write {self.path.name}", "write elsewhere")

    # --- the finished file ---

    def _laid_out(self) -> Path:
        head = self._folder / "head.tif"
        image, overviews = self._rows.finish(head)
        with self._rows.create(head, self.grid.width, self.grid.height, sparse=True) as dataset:
            self._describe(dataset)
        finished = self._folder / self.path.name
        finished.unlink(missing_ok=True)
        bigtiff = self._options.get("BIGTIFF", "IF_SAFER")
        lay_out(image, overviews, finished, bigtiff=bigtiff, sparse=self._rows.sparse)
        return finished

    def _describe(self, dataset: Any) -> None:
        dataset.update_tags(**self._tags)
        scales, offsets = self.encoding.scales, self.encoding.offsets
        if (scales != 1).any() or (offsets != 0).any():
            dataset.scales, dataset.offsets = tuple(scales), tuple(offsets)
        describe_bands(dataset, self.bands)
        if self._options.get("STATISTICS", "AUTO").upper() != "NO":
            overviews = self._rows.overviews
            for band in range(len(self.bands)):
                dataset.update_tags(band + 1, **overviews.statistics.tags(band, approximate=bool(overviews.files)))
        natural = nearest_bands(self.bands, NATURAL_NM)
        if natural is not None:  # viewers show these, and not the first three
            colours = {natural[0]: ColorInterp.red, natural[1]: ColorInterp.green, natural[2]: ColorInterp.blue}
            dataset.colorinterp = [colours.get(index, ColorInterp.undefined) for index in range(len(self.bands))]

    def _failed(self, error: BaseException) -> str:
        kept = "the finished rows were kept, and `resume` goes on" if self._kept else "nothing was kept"
        return f"{self.path} could not be written ({reason_of(error)}): see whether the disk is full; {kept}"


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
            writer.remove()
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
