"""Rows of an image as they come, packed on all cores into files whose blocks become those of a COG."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from rasterio.windows import Window

from hsfuse.scenes.cog_layout import Level
from hsfuse.scenes.cog_options import BLOCK, block_edge, raster_options
from hsfuse.scenes.overviews import Overviews, band_groups, indexes
from hsfuse.scenes.raster import gdal_environment, open_dataset
from hsfuse.stages import Stages

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from numpy.typing import NDArray

    from hsfuse.scenes.encoding import Encoding
    from hsfuse.scenes.grid import Grid

_PART = "rows-{:08d}-{:d}.tif"  # the first of them, and how many
_PART_NAME = re.compile(r"rows-(\d{8})-(\d+)\.tif")
_COUNTS = "HSFUSE_COUNTS"


def create_raster(path: Path, grid: Grid, bands: int, dtype: str, nodata: float | None, **options: Any) -> Any:
    """A new tiled GeoTIFF, band by band, to write rows to; uncompressed unless the creation options say else."""
    settings = {"blockxsize": BLOCK, "blockysize": BLOCK, "BIGTIFF": "IF_SAFER"} | options
    return open_dataset(
        path, "w", driver="GTiff", width=grid.width, height=grid.height, count=bands, dtype=dtype,
        crs=grid.crs, transform=grid.transform, nodata=nodata, tiled=True, interleave="band",
        # Left to itself GDAL takes four bands of bytes for red, green, blue and alpha.
        photometric="MINISBLACK", ALPHA="NO", **settings,
    )  # fmt: skip


@dataclass
class Counts:
    """What rows held."""

    rows: int = 0
    """How many they were."""

    clipped: int = 0
    """Values that the type could not hold."""

    written: int = 0
    """Values of valid pixels."""

    nodata: bool = False
    """Whether one of the numbers is nodata."""

    def add(self, others: Counts) -> None:
        """Count further rows."""
        self.rows += others.rows
        self.clipped += others.clipped
        self.written += others.written
        self.nodata |= others.nodata


def keep_common_rows(folders: Sequence[Path]) -> None:
    """Of what earlier runs have finished in folders, keep the rows that all of them have."""
    finished = [_finished(folder) for folder in folders]
    for parts in finished:
        common = min(sum(heights.values()) for heights in finished)
        first = 0
        for path, height in parts.items():
            first += height
            if first > common:
                path.unlink()


def _finished(folder: Path) -> dict[Path, int]:
    """The files of finished rows, top to bottom, and how many rows each has."""
    named = ((path, _PART_NAME.fullmatch(path.name)) for path in folder.iterdir())
    parts = {int(match[1]): (path, int(match[2])) for path, match in named if match is not None}
    found: dict[Path, int] = {}
    while (part := parts.get(sum(found.values()))) is not None:
        path, rows = part
        found[path] = rows
    return found


@dataclass(eq=False)
class PackedRows:
    """Takes whole rows of blocks, top to bottom; each call makes a file, which appears once it is finished.

    Files that are there already are taken over, overviews and all.

    Raises:
        RasterioError: The folder cannot be written to.
    """

    folder: Path
    """Where the files are."""

    grid: Grid
    """Of the image."""

    encoding: Encoding
    """Of its numbers."""

    options: Mapping[str, str]
    """Checked creation options of GDAL's COG driver."""

    counts: Counts = field(default_factory=Counts, init=False)
    """Of all rows that have come."""

    files: list[Path] = field(default_factory=list, init=False)
    """The finished ones."""

    overviews: Overviews = field(init=False)
    """Of the image."""

    stages: Stages = field(default_factory=lambda: Stages("encode", "compress and write", "overviews"), init=False)
    """Where the time goes."""

    def __post_init__(self) -> None:
        size = self.grid.width, self.grid.height
        self.overviews = Overviews(self.folder, size, self.encoding, self.block, self._create_overview)
        for path in _finished(self.folder):
            self._take_over(path)

    @property
    def block(self) -> int:
        """Edge of a block in pixels."""
        return block_edge(self.options)

    @property
    def sparse(self) -> bool:
        """Whether blocks without data are left out."""
        asked = self.options.get("SPARSE_OK", "NO").upper() in {"YES", "TRUE", "ON", "1"}
        return asked and self.encoding.declared

    @property
    def nodata(self) -> float | None:
        """What the file is to name as its nodata value, as far as is known."""
        return float(self.encoding.nodata[0]) if self.encoding.declared or self.counts.nodata else None

    def write(self, values: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
        """Take the next rows, physical values (C, rows, W) and valid (rows, W).

        Overviews are made in a thread beside, of one group of bands while the next is packed.

        Raises:
            RasterioError: They cannot be written.
            OSError: Likewise.
        """
        path = self.folder / _PART.format(self.counts.rows, values.shape[1])
        unfinished = path.with_suffix(".unfinished")
        found = Counts(values.shape[1], written=int(valid.sum()) * len(values))
        with self.create(unfinished, self.grid.width, found.rows) as part, ThreadPoolExecutor(1) as beside:
            earlier: Future[None] = beside.submit(lambda: None)
            for window, here in self._rows_of_blocks(found.rows):
                pixels = valid[here]
                for bands in band_groups(len(values), pixels.size):
                    own = values[bands, here]
                    with self.stages.work("encode", own.nbytes):
                        whole = bool(pixels.all()) and bool(np.isfinite(own.sum(dtype=np.float64)))
                        encoded, clipped = self.encoding.select(bands).encode(own, pixels, whole=whole)
                    found.clipped += clipped
                    found.nodata |= not whole
                    with self.stages.work("compress and write", encoded.nbytes):
                        part.write(encoded, indexes=indexes(bands), window=window)
                    earlier.result()
                    earlier = beside.submit(self._add_to_overviews, bands, encoded, whole=whole)
                earlier.result()
                earlier = beside.submit(self._advance_overviews)
            earlier.result()
            part.update_tags(**{_COUNTS: json.dumps(vars(found))})
        unfinished.rename(path)
        self.files.append(path)
        self.counts.add(found)

    def finish(self, head: Path) -> tuple[Level, list[Level]]:
        """Close all files, and say what the image and its overviews consist of.

        Args:
            head: File that says what there is to say of the image.

        Raises:
            RasterioError: They cannot be written.
        """
        self.overviews.close()
        for path in self.overviews.files:
            if self.nodata is not None and not self.encoding.declared:
                with open_dataset(path, "r+") as dataset:
                    dataset.nodata = self.nodata
        return Level(head, tuple(self.files)), [Level(path, (path,)) for path in self.overviews.files]

    def create(self, path: Path, width: int, height: int, *, overview: bool = False, sparse: bool = False) -> Any:
        """A new file with the options of the image."""
        options = raster_options(self.options, np.dtype(self.encoding.dtype), overview=overview)
        if sparse or self.sparse:
            options["SPARSE_OK"] = "YES"
        grid = replace(self.grid, width=width, height=height)
        return create_raster(path, grid, len(self.encoding), self.encoding.dtype, self.nodata, **options)

    def _create_overview(self, path: Path, width: int, height: int) -> Any:
        return self.create(path, width, height, overview=True)

    def _add_to_overviews(self, bands: slice, encoded: NDArray[Any], *, whole: bool) -> None:
        with self.stages.work("overviews", encoded.nbytes):
            self.overviews.add(bands, encoded, whole=whole)

    def _advance_overviews(self) -> None:
        with gdal_environment(), self.stages.work("overviews"):
            self.overviews.advance()

    def _rows_of_blocks(self, rows: int) -> list[tuple[Window, slice]]:
        starts = range(0, rows, self.block)
        heights = [min(self.block, rows - first) for first in starts]
        return [
            (Window(0, first, self.grid.width, height), slice(first, first + height))
            for first, height in zip(starts, heights, strict=True)
        ]

    def _take_over(self, path: Path) -> None:
        with open_dataset(path) as part:
            for window, here in self._rows_of_blocks(part.height):
                for bands in band_groups(len(self.encoding), (here.stop - here.start) * self.grid.width):
                    numbers = part.read(indexes(bands), window=window)
                    whole = bool(self.encoding.select(bands).has_data(numbers).all())
                    self.overviews.add(bands, numbers, whole=whole)
                self.overviews.advance()
            self.counts.add(Counts(**json.loads(part.tags()[_COUNTS])))
        self.files.append(path)
