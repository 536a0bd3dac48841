"""Arrays as scenes: what is in memory already is read by window like any raster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from rasterio.io import MemoryFile

from hsfuse.errors import SceneError
from hsfuse.scenes.raster import Raster, gdal_environment, open_dataset
from hsfuse.scenes.scene import Scene

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from rasterio.crs import CRS


@dataclass(frozen=True, eq=False)
class _InMemory:
    """A `Source`: a GeoTIFF in memory, which lives as long as something reads it."""

    path: str
    file: MemoryFile

    def open(self) -> Any:
        return open_dataset(self.file.name)


def scene_of_array(
    values: NDArray[np.floating[Any]] | NDArray[np.integer[Any]],
    name: str,
    *,
    pixel_size: float = 1.0,
    transform: Affine | None = None,
    crs: CRS | None = None,
    wavelength_nm: ArrayLike | None = None,
    fwhm_nm: ArrayLike | None = None,
    screen: bool = True,
) -> Scene:
    """An image as a scene; the array is copied.

    Args:
        values: Shape (C, H, W), any real type; NaN where a number is missing.
        name: What messages call it.
        pixel_size: Edge of a pixel, in units that all scenes of a pair share; where there is no `transform`.
        transform: From columns and rows to the CRS, or to what all scenes of a pair share.
        crs: Of the transform.
        wavelength_nm: Band centres in nm, shape (C,), in any order.
        fwhm_nm: Full widths at half maximum in nm, shape (C,).
        screen: As of `Scene.open`.

    Raises:
        SceneError: Not three axes, not real numbers, wavelengths for another number of bands, or nothing but NaN.
    """
    image = np.asarray(values)
    if image.ndim != 3 or 0 in image.shape:
        raise SceneError(f"{name}: an image has shape (bands, rows, columns), this one has {image.shape}")
    if image.dtype.kind not in "iuf":
        raise SceneError(f"{name}: {image.dtype} numbers are not those of an image: give integers or floats")
    tags = _band_tags(name, len(image), {"wavelength": wavelength_nm, "fwhm": fwhm_nm})
    if image.dtype.kind != "f" or image.dtype.itemsize != 8:
        image = image.astype(np.float32, copy=False)
    bands, rows, columns = image.shape
    with gdal_environment():
        file = MemoryFile()
        with file.open(
            driver="GTiff", count=bands, height=rows, width=columns, dtype=image.dtype.name, nodata=np.nan,
            transform=transform or Affine.scale(pixel_size, -pixel_size), crs=crs, interleave="band",
            photometric="MINISBLACK", ALPHA="NO", BIGTIFF="IF_SAFER",
        ) as dataset:  # fmt: skip
            dataset.write(image)
            for band, own in enumerate(tags, start=1):
                dataset.update_tags(band, **own)
    return Scene.of_raster(Raster(name, _InMemory(name, file)), screen=screen)


def _band_tags(name: str, bands: int, given: dict[str, ArrayLike | None]) -> list[dict[str, str]]:
    tags: list[dict[str, str]] = [{} for _ in range(bands)]
    for key, numbers in given.items():
        if numbers is None:
            continue
        each = np.asarray(numbers, dtype=np.float64)
        if each.shape != (bands,):
            raise SceneError(f"{name}: it has {bands} bands, and {key} has shape {each.shape}: give one a band")
        for tag, number in zip(tags, each.tolist(), strict=True):
            tag |= {key: f"{number:.10g}", "wavelength_units": "Nanometers"}
    return tags
