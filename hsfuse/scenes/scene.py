"""One scene: what it is, and reading it by window as physical values with a mask of what is valid."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from hsfuse.errors import RequestError, SceneError, WorkError
from hsfuse.scenes.band_metadata import read_bands
from hsfuse.scenes.contents import look_into
from hsfuse.scenes.grid import Grid, PixelWindow
from hsfuse.scenes.raster import RASTER_ERRORS, Raster, data_file, gdal_environment, require_whole, unreadable
from hsfuse.scenes.readers import Product, find_product
from hsfuse.scenes.readers.named_axes import require_known_axes
from hsfuse.scenes.readers.quality import QualityMask, mask_of_file, require_layers, require_place
from hsfuse.scenes.sensor import sensor_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from hsfuse.scenes.bands import Bands


@dataclass(frozen=True, eq=False)
class Block:
    """What a window of a scene holds."""

    values: NDArray[np.float32]
    """Physical values, float32, shape (C, h, w); 0 where not valid."""
    valid: NDArray[np.bool_]
    """Shape (h, w). True where every band that was asked for is finite, not nodata and not masked."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A raster scene; get one with `Scene.open`.

    Any thread may read, and a pickled copy may go to another process.
    """

    path: str
    """What GDAL opened: a file, or a path such as `/vsicurl/…`."""
    grid: Grid
    """Where its pixels lie."""
    bands: Bands
    """All bands of the file. Not good: flagged as bad, without any data, or an alpha band."""
    dtype: str
    """numpy's name of the type that holds the numbers of all bands."""
    nodata: float | None
    """The first band's nodata value in the file's own numbers, before scale and offset."""
    scales: NDArray[np.float64]
    """Shape (C,): value = number in the file · scale + offset."""
    offsets: NDArray[np.float64]
    """Shape (C,)."""
    sensor: str | None
    """The multispectral sensor such as `sentinel-2a`, where metadata or file name say so."""
    tags: Mapping[str, str]
    """Tags of the dataset's default domain."""
    alpha_band: int | None
    """0-based band that is a mask rather than an image."""
    empty_bands: tuple[int, ...]
    """0-based bands without any data in the sample that was read on opening."""
    _raster: Raster = field(repr=False)
    quality: QualityMask | None = None
    """The quality layers in use; pixels that they flag are not valid."""
    product_warnings: tuple[str, ...] = ()
    """What the reader of the product has to say to the user."""

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        wavelengths: str | Path | None = None,
        quality: bool = True,
        mask: str | Path | None = None,
    ) -> Scene:
        """Open a product or a raster; a few small patches of it are read to see what it holds.

        Bands without data in these patches (EnMAP fills its water-vapour bands with nodata, PRISMA its unused
        ones with zeros) are marked as not good, since they would make every pixel invalid.

        Args:
            path: A file, an ENVI header, a product's folder, zip or tar (`readers.find_product`), or any path
                that GDAL knows.
            wavelengths: A text table of wavelengths that overrules the metadata.
            quality: Whether pixels that the product's quality layers flag are taken for not valid.
            mask: A raster of one band, anywhere over the scene, that is not 0 where a pixel is bad.

        Raises:
            SceneError: There is no such file, it is no raster, it breaks off, or it holds no data.
        """
        with gdal_environment():
            product = find_product(str(path))
        raster = Raster(data_file(str(path))) if product is None else Raster(product.source.path, product.source)
        try:
            with gdal_environment():
                scene = cls._of(raster, None if wavelengths is None else Path(wavelengths))
                return _with_quality(scene, product, quality, mask)
        except RASTER_ERRORS as error:
            raise SceneError(unreadable(raster.path, error)) from error
        except WorkError as error:
            # To break off in the sample is the fault of the input, and nothing has been begun yet.
            raise SceneError(str(error)) from error

    @classmethod
    def _of(cls, raster: Raster, wavelengths: Path | None) -> Scene:
        dataset = raster.dataset
        if dataset.count == 0:
            raise SceneError(_no_bands(dataset))
        require_known_axes(dataset)
        if raster.dtype.kind not in "iuf":
            raise SceneError(f"{raster.path}: bands of type {raster.dtype} are not images of real numbers")
        require_whole(dataset)
        contents = look_into(raster)
        bands = read_bands(dataset, wavelengths).mark_bad(contents.empty_bands)
        if contents.alpha_band is not None:
            bands = bands.mark_bad([contents.alpha_band])
        scales, offsets = _scaling(dataset)
        return cls(
            path=raster.path,
            grid=_grid(dataset),
            bands=bands,
            dtype=raster.dtype.name,
            nodata=dataset.nodatavals[0],
            scales=scales,
            offsets=offsets,
            sensor=sensor_of(dataset),
            tags=MappingProxyType(dict(dataset.tags())),
            alpha_band=contents.alpha_band,
            empty_bands=contents.empty_bands,
            _raster=raster,
        )

    def __getstate__(self) -> dict[str, Any]:
        # A read-only view of a dict cannot be pickled.
        return {**self.__dict__, "tags": dict(self.tags)}

    @property
    def count(self) -> int:
        """Number of bands in the file."""
        return len(self.bands)

    def read(self, window: PixelWindow, bands: Sequence[int] | None = None) -> Block:
        """Physical values under a window, with scale, offset, nodata and masks undone.

        Args:
            window: pixels of this scene, all inside its grid.
            bands: 0-based bands in the order wanted; None for all but an alpha band.

        Raises:
            RequestError: The window reaches over the grid, or a band does not exist.
            WorkError: The file breaks off or cannot be decoded there.
        """
        chosen = self._chosen(bands)
        if not self.grid.window.contains(window):
            raise RequestError(
                f"{self.path}: the window {window} reaches over the {self.grid.width} x {self.grid.height} "
                "pixels of the scene: ask for a smaller one"
            )
        numbers, hidden = self._raster.read(window, chosen, self.alpha_band)
        if self.quality is not None:
            hidden |= self.quality.read(window)
        present = self._raster.has_data(numbers, chosen)
        values = _undo_scaling(numbers, self.scales[chosen], self.offsets[chosen])
        # Not every number of a float64 file is one of float32.
        present &= np.isfinite(values)
        valid = present.all(axis=0) & ~hidden
        values[:, ~valid] = 0
        return Block(values, valid)

    def _chosen(self, bands: Sequence[int] | None) -> list[int]:
        if bands is None:
            return [band for band in range(self.count) if band != self.alpha_band]
        chosen = [int(band) for band in bands]
        if not chosen or min(chosen) < 0 or max(chosen) >= self.count:
            raise RequestError(
                f"{self.path}: bands {[band + 1 for band in chosen]} were asked for; "
                f"the scene has bands 1 to {self.count}"
            )
        return chosen


def _with_quality(scene: Scene, product: Product | None, quality: bool, mask: str | Path | None) -> Scene:
    """The scene with the quality layers of its product and the user's own mask."""
    layers = product.flags if product is not None and quality else ()
    require_layers(layers)
    if mask is not None:
        own = mask_of_file(str(mask))
        require_place(own, scene.grid)
        layers = (*layers, own)
    said = () if product is None else product.warnings
    return replace(scene, quality=QualityMask(scene.grid, layers) if layers else None, product_warnings=said)


def _grid(dataset: Any) -> Grid:
    try:
        return Grid(dataset.width, dataset.height, dataset.transform, _usable_crs(dataset.crs))
    except RequestError as error:
        raise SceneError(f"{dataset.name}: {error}") from error


def _usable_crs(crs: Any) -> Any:
    """None for a missing CRS, and for a local one that says no more than the name of its unit."""
    return None if not crs or crs.to_wkt().startswith(("LOCAL_CS", "ENGCRS")) else crs


def _scaling(dataset: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    scales, offsets = np.array(dataset.scales, np.float64), np.array(dataset.offsets, np.float64)
    # A scale of 0 or NaN says nothing that could be undone.
    scales[~np.isfinite(scales) | (scales == 0)] = 1.0
    offsets[~np.isfinite(offsets)] = 0.0
    return scales, offsets


def _undo_scaling(
    numbers: NDArray[Any], scales: NDArray[np.float64], offsets: NDArray[np.float64]
) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        if (scales == 1).all() and (offsets == 0).all():
            return numbers.astype(np.float32)
        # float32 holds 16-bit integers exactly; wider types would lose digits before the offset takes them.
        kind: type[np.floating[Any]] = np.float32 if np.can_cast(numbers.dtype, np.float32) else np.float64
        values: NDArray[Any] = numbers.astype(kind)
        values = np.multiply(values, scales.astype(kind)[:, None, None], out=values)
        values = np.add(values, offsets.astype(kind)[:, None, None], out=values)
        return values.astype(np.float32, copy=False)


def _no_bands(dataset: Any) -> str:
    if dataset.subdatasets:
        listed = ", ".join(dataset.subdatasets[:4])
        return f"{dataset.name}: a container of {len(dataset.subdatasets)} images: name one, such as {listed}"
    return f"{dataset.name}: there are no raster bands in this file: give an image"
