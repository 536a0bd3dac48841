"""Bands of several scenes on one grid, written row by row into a temporary raster that is read as one scene."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from rasterio.windows import Window

from hsfuse.errors import OutputError, WorkError
from hsfuse.files import require_room, temporary_folder
from hsfuse.scenes.cog import describe_bands
from hsfuse.scenes.packed_rows import create_raster
from hsfuse.scenes.raster import RASTER_ERRORS, Raster, gdal_environment, open_dataset, reason_of
from hsfuse.scenes.scene import Scene

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray

    from hsfuse.scenes.bands import Bands
    from hsfuse.scenes.grid import Grid

_NAME = "hsfuse-msi"


class _OwnFolder:
    """A folder that goes with the last one who holds on to this, and with the process at the latest."""

    def __init__(self, beside: Path | None) -> None:
        self.path = temporary_folder(Path(tempfile.gettempdir()) / _NAME if beside is None else beside)
        self._process = os.getpid()
        self.remove = weakref.finalize(self, _remove, self.path, self._process)


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:  # a forked process only borrows it
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class _TemporaryImage:
    """A `Source`: a raster that is there for as long as something reads it in this process."""

    path: str
    file: str
    owner: _OwnFolder | None = field(repr=False, compare=False)

    def __reduce__(self) -> tuple[type[_TemporaryImage], tuple[str, str, None]]:
        return _TemporaryImage, (self.path, self.file, None)

    def open(self) -> Any:
        return open_dataset(self.file)


class StackWriter:
    """Takes the rows of a stack of bands, top to bottom, and gives it back as a scene; a context manager.

        with StackWriter("a.tif + b.tif", grid, bands, sensor="sentinel-2a") as stack:
            stack.write(0, values, valid)
        scene = stack.scene(screen=True)

    The file goes when the scene does, and what a killed process has left of it when the next stack is written there.
    """

    def __init__(self, name: str, grid: Grid, bands: Bands, *, sensor: str | None, beside: Path | None = None) -> None:
        """Open the temporary file.

        Args:
            name: What messages call the scene.
            grid: Where its pixels lie.
            bands: One entry a band.
            sensor: That took all of it, such as `sentinel-2a`; None where it is not known.
            beside: The file beside which to work; by default the system's folder for temporary files.

        Raises:
            WorkError: There is no room, or no folder to write to.
        """
        self._name, self._grid, self._bands = name, grid, bands
        try:
            self._folder = _OwnFolder(beside)
            self._check_disk()
            self._dataset: Any = self._create()
            describe_bands(self._dataset, bands)
            self._dataset.update_tags(**({} if sensor is None else {"SENSOR": sensor}))
        except (*RASTER_ERRORS, OutputError) as error:
            raise WorkError(self._failed(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            with gdal_environment():
                self._dataset.close()
        except RASTER_ERRORS as failed:
            if kind is None:
                raise WorkError(self._failed(failed)) from failed
        finally:
            if kind is not None:
                self._folder.remove()

    def write(self, row: int, values: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
        """Write rows.

        Args:
            row: The first of them.
            values: Physical values, shape (C, rows, W).
            valid: Shape (rows, W); other pixels are no data in every band.

        Raises:
            WorkError: The disk is full or the file cannot be written.
        """
        numbers = np.where(valid, values, np.float32(np.nan))
        try:
            with gdal_environment():
                self._dataset.write(numbers, window=Window(0, row, self._grid.width, values.shape[1]))
        except RASTER_ERRORS as error:
            raise WorkError(self._failed(error)) from error

    def scene(self, *, screen: bool) -> Scene:
        """What was written; only after the block has ended.

        Args:
            screen: As of `Scene.open`.

        Raises:
            SceneError: There is no data in it.
        """
        source = _TemporaryImage(self._name, str(self._file), self._folder)
        scene = Scene.of_raster(Raster(self._name, source), screen=screen)
        return replace(scene, bands=replace(scene.bands, names=self._bands.names))

    @property
    def _file(self) -> Path:
        return self._folder.path / "bands.tif"

    def _create(self) -> Any:
        return create_raster(self._file, self._grid, len(self._bands), "float32", np.nan)

    def _check_disk(self) -> None:
        needed = len(self._bands) * self._grid.width * self._grid.height * 4
        folder = self._folder.path.parent
        try:
            require_room(folder, needed, f"for the bands of {self._name}", "fuse a part (`window`)")
        except WorkError:
            self._folder.remove()
            raise

    def _failed(self, error: BaseException) -> str:
        return f"the bands of {self._name} could not be put together ({reason_of(error)}): see whether the disk is full"
