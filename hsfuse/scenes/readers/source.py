"""What a raster that is no plain file is opened from."""

from __future__ import annotations

from typing import Any, Protocol


class Source(Protocol):
    """Opens a product as if it were one raster; may be pickled, and holds no handles itself."""

    @property
    def path(self) -> str:
        """What the user named; messages begin with it."""

    def open(self) -> Any:
        """A new handle: a `rasterio.DatasetReader`, or an `HdfDataset`, which answers like one.

        Raises:
            RasterioError: A file of the product cannot be opened.
        """
