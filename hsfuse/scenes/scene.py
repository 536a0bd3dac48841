"""One scene: what it is, and reading it by window as physical values with a mask of what is valid."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from hsfuse.errors import RequestError, SceneError, WorkError
from hsfuse.scenes.band_metadata import read_bands
from hsfuse.scenes.bridge import FEWEST_BANDS, SHARE_PRESENT, bridge
from hsfuse.scenes.contents import look_into
from hsfuse.scenes.encoding import Encoding
from hsfuse.scenes.findings import later_sentences
from hsfuse.scenes.grid import Grid, PixelWindow
from hsfuse.scenes.raster import RASTER_ERRORS, Raster, data_file, gdal_environment, require_whole, tags_of, unreadable
from hsfuse.scenes.readers import Product, find_product
from hsfuse.scenes.readers.named_axes import require_known_axes
from hsfuse.scenes.readers.quality import QualityMask, mask_of_file, require_layers, require_place
from hsfuse.scenes.rectification import require_grid
from hsfuse.scenes.repeats import find_repeats
from hsfuse.scenes.screen import screen
from hsfuse.scenes.sensor import sensor_of
from hsfuse.scenes.siblings import gains

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from hsfuse.scenes.bands import Bands
    from hsfuse.scenes.rules import Screened
    from hsfuse.scenes.screen import Screen
    from hsfuse.scenes.sharpened import SharpenedBands


def no_pixels() -> NDArray[np.bool_]:
    """The mask that stands for one without a True where none was given."""
    return np.zeros((0, 0), dtype=bool)


def mask_like(valid: NDArray[np.bool_], mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """`mask`, or one without a True of the shape of `valid` where none was given.

    Raises:
        ValueError: The two have different shapes.
    """
    if mask.shape != valid.shape and mask.size:
        raise ValueError(f"a mask of {mask.shape} does not fit pixels of {valid.shape}")
    return mask if mask.shape == valid.shape else np.zeros(valid.shape, dtype=bool)


@dataclass(frozen=True, eq=False)
class Block:
    """What a window of a scene holds."""

    values: NDArray[np.float32]
    """Physical values, float32, shape (C, h, w); 0 where not valid."""
    valid: NDArray[np.bool_]
    """Shape (h, w). True where the pixel is not masked, no fill, and has the numbers of all bands that were asked
    for; of ten bands or more, of at least half of them."""
    missing: NDArray[np.bool_] | None = None
    """Shape (C, h, w): numbers of valid pixels that the file lacks, bridged in `values`. None: there are none."""
    suspect: NDArray[np.bool_] = field(default_factory=no_pixels)
    """Shape (h, w): valid pixels with a number far beyond the rest of the scene, which no fit should learn from;
    none unless given."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "suspect", mask_like(self.valid, self.suspect))

    def with_part(self, part: Block, window: PixelWindow) -> Block:
        """The block with what another one holds under a window of it; of missing numbers it is not told."""
        here = window.rows, window.columns
        values, valid, suspect = self.values.copy(), self.valid.copy(), self.suspect.copy()
        values[:, *here], valid[here], suspect[here] = part.values, part.valid, part.suspect
        return Block(values, valid, None, suspect)

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Valid pixels of which no number had to be bridged, (h, w)."""
        return self.valid if self.missing is None else self.valid & ~self.missing.any(axis=0)


def no_block(bands: int, window: PixelWindow) -> Block:
    """A window of which nothing is known."""
    shape = (window.height, window.width)
    return Block(np.zeros((bands, *shape), np.float32), np.zeros(shape, dtype=bool))


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
    """All bands of the file. Not good: flagged as bad, an alpha band, or one of the next two."""
    encoding: Encoding
    """What its numbers stand for."""
    nodata: float | None
    """The first band's nodata value in the file's own numbers, before scale and offset."""
    sensor: str | None
    """The multispectral sensor such as `sentinel-2a`, where metadata or file name say so."""
    tags: Mapping[str, str]
    """Tags of the dataset's default domain."""
    alpha_band: int | None
    """0-based band that is a mask rather than an image."""
    empty_bands: tuple[int, ...]
    """0-based bands without any data in the sample that was read on opening."""
    idle_bands: Mapping[int, str]
    """0-based bands that hold no image of their own, and why: constant, classes, the same as another."""
    repeats: Mapping[int, int]
    """0-based bands that are coarser than their pixels, each of which is repeated in blocks of so many squared."""
    metadata_warnings: tuple[str, ...]
    """What of its metadata was passed over, and why."""
    screen: Screen
    """What its numbers are like, and what was found among them on opening."""
    _raster: Raster = field(repr=False)
    quality: QualityMask | None = None
    """The quality layers in use; pixels that they flag are not valid."""
    product_warnings: tuple[str, ...] = ()
    """What the reader of the product has to say to the user."""
    sharpened: tuple[SharpenedBands, ...] = ()
    """Which of its bands were made out of coarser ones."""
    _later: set[str] = field(repr=False, default_factory=set)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        wavelengths: str | os.PathLike[str] | None = None,
        quality: bool = True,
        mask: str | os.PathLike[str] | None = None,
        screen: bool = True,
    ) -> Scene:
        """Open a product or a raster; a sample of it is read to see what it holds.

        Bands without data in the sample (EnMAP fills its water-vapour bands with nodata, PRISMA its unused ones
        with zeros) are marked as not good, and so are those that hold no image of their own.

        Args:
            path: A file, an ENVI header, a product's folder, zip or tar (`readers.find_product`), or any path
                that GDAL knows.
            wavelengths: A text table of wavelengths that overrules the metadata.
            quality: Whether pixels that the product's quality layers flag are taken for not valid.
            mask: A raster of one band, anywhere over the scene, that is not 0 where a pixel is bad.
            screen: Look for fill that no tag declares, for gross values and for bands that hold no image
                (`hsfuse.scenes.screen`); without, every number is taken as it is.

        Raises:
            SceneError: There is no such file, it is no raster, it breaks off, or it holds no data.
        """
        with gdal_environment():
            product = find_product(str(path))
        raster = Raster(data_file(str(path))) if product is None else Raster(product.source.path, product.source)
        try:
            with gdal_environment():
                scene = cls._of(raster, None if wavelengths is None else Path(wavelengths), strict=screen)
                return _with_quality(scene, product, quality, mask)
        except RASTER_ERRORS as error:
            raise SceneError(unreadable(raster.path, error)) from error
        except WorkError as error:
            # To break off in the sample is the fault of the input, and nothing has been begun yet.
            raise SceneError(str(error)) from error

    @classmethod
    def of_raster(cls, raster: Raster, *, screen: bool = True) -> Scene:
        """A raster that is at hand already, such as one in memory; what is raised is that of `open`."""
        with gdal_environment():
            return cls._of(raster, None, strict=screen)

    @classmethod
    def _of(cls, raster: Raster, wavelengths: Path | None, *, strict: bool) -> Scene:
        dataset = raster.dataset
        if dataset.count == 0:
            raise SceneError(_no_bands(dataset))
        require_known_axes(dataset)
        if raster.dtype.kind not in "iuf":
            raise SceneError(f"{raster.path}: bands of type {raster.dtype} are not images of real numbers")
        require_whole(dataset)
        require_grid(dataset)
        encoding = Encoding.of_file(raster.dtype.name, dataset.nodatavals, *gains(dataset))
        bands, metadata_warnings = read_bands(dataset, wavelengths)
        contents = look_into(raster, encoding, bands)
        idle = contents.idle_bands if strict else {}
        bands = bands.mark_bad([*contents.empty_bands, *idle])
        if contents.alpha_band is not None:
            bands = bands.mark_bad([contents.alpha_band])
        return cls(
            path=raster.path,
            grid=_grid(dataset),
            bands=bands,
            encoding=encoding,
            nodata=dataset.nodatavals[0],
            sensor=sensor_of(dataset),
            tags=MappingProxyType(tags_of(dataset)),
            alpha_band=contents.alpha_band,
            empty_bands=contents.empty_bands,
            idle_bands=MappingProxyType(idle),
            repeats=MappingProxyType(find_repeats(contents.sample, contents.images)),
            metadata_warnings=metadata_warnings,
            screen=screen(contents.sample, encoding, contents.images, strict=strict),
            _raster=raster,
        )

    def __getstate__(self) -> dict[str, Any]:
        # A read-only view of a dict cannot be pickled.
        return self.__dict__ | {name: dict(getattr(self, name)) for name in ("tags", "idle_bands", "repeats")}

    @property
    def dtype(self) -> str:
        """The type, by numpy's name, that holds the numbers of all bands."""
        return self.encoding.dtype

    @property
    def scales(self) -> NDArray[np.float64]:
        """Shape (C,): value = number in the file · scale + offset."""
        return self.encoding.scales

    @property
    def offsets(self) -> NDArray[np.float64]:
        """Shape (C,)."""
        return self.encoding.offsets

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about what the product's reader left, metadata passed over, flagged pixels and what the screen
        found, on opening and in all that was read since.
        """
        found = self.screen.findings
        flagged = None if self.quality is None else self.quality.description
        said = (*self.product_warnings, *self.metadata_warnings, *(() if flagged is None else (flagged,)))
        texts = [*said, *(finding.sentence for finding in found)]
        later = later_sentences(self._later - {finding.kind for finding in found})
        return tuple(f"{self.path}: {text}" for text in (*texts, *later))

    @property
    def bad_bands(self) -> dict[int, str]:
        """0-based bands that are not good, and why."""
        reasons = dict.fromkeys(self.empty_bands, "no data") | dict(self.idle_bands)
        if self.alpha_band is not None:
            reasons[self.alpha_band] = "a mask"
        nm = self.bands.wavelength_nm
        for band in np.flatnonzero(~self.bands.good).tolist():
            unknown = nm is not None and not np.isfinite(nm[band])
            reasons.setdefault(band, "no wavelength" if unknown else "flagged as bad, or with another's wavelength")
        return {band: reasons[band] for band in sorted(reasons) if not self.bands.good[band]}

    @property
    def count(self) -> int:
        """Number of bands in the file."""
        return len(self.bands)

    def read(self, window: PixelWindow, bands: Sequence[int] | None = None) -> Block:
        """Physical values under a window, with scale, offset, nodata and masks undone.

        Args:
            window: Pixels of this scene, all inside its grid.
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
        rules = self.screen.rules
        read = [*chosen, *rules.needed(chosen)]
        numbers, hidden = self._raster.read(window, read, self.alpha_band)
        if self.quality is not None:
            hidden |= self.quality.read(window)
        encoding, own = self.encoding.select(chosen), numbers[: len(chosen)]
        values = encoding.decode(own)
        # Not every number of a float64 file is one of float32.
        present = encoding.has_data(own) & np.isfinite(values)
        values[~present] = np.nan
        screened = rules.apply(numbers, values, read)
        if screened.absent is not None:
            present &= ~screened.absent
        valid = _enough(present) & ~hidden & ~screened.fill
        missing = self._bridge(values, ~present & valid, chosen)
        values[:, ~valid] = 0
        suspect = screened.suspect & valid
        self._note(screened, hidden, suspect, missing)
        return Block(values, valid, missing, suspect)

    def _bridge(
        self, values: NDArray[np.float32], missing: NDArray[np.bool_], chosen: list[int]
    ) -> NDArray[np.bool_] | None:
        """Fill in missing numbers of valid pixels, and say where they are."""
        pixels = missing.any(axis=0)
        if not pixels.any():
            return None
        position = np.arange(len(chosen), dtype=np.float64)
        nm = self.bands.wavelength_nm
        if nm is not None and np.isfinite(nm[chosen]).all():
            position = nm[chosen]
        values[:, pixels] = bridge(values[:, pixels], missing[:, pixels], position, self.screen.typical[chosen])
        return missing

    def _note(
        self,
        screened: Screened,
        hidden: NDArray[np.bool_],
        suspect: NDArray[np.bool_],
        missing: NDArray[np.bool_] | None,
    ) -> None:
        """Remember kinds of findings, for the warnings: adding to a set is safe among threads."""
        if (screened.fill & ~hidden).any():
            self._later.add("fill")
        if screened.absent is not None:
            self._later.add("absent")
        elif missing is not None:
            self._later.add("missing")
        if suspect.any():
            self._later.add("suspect")

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


def _with_quality(scene: Scene, product: Product | None, quality: bool, mask: str | os.PathLike[str] | None) -> Scene:
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
        return Grid.of_dataset(dataset)
    except RequestError as error:
        raise SceneError(f"{dataset.name}: {error}") from error


def _enough(present: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels (h, w) with numbers in enough bands of (C, h, w) to be used."""
    everywhere: NDArray[np.bool_] = np.logical_and.reduce(present, axis=0)
    if len(present) < FEWEST_BANDS or everywhere.all():
        return everywhere
    return np.asarray(present.sum(axis=0) >= SHARE_PRESENT * len(present))


def _no_bands(dataset: Any) -> str:
    if dataset.subdatasets:
        listed = ", ".join(dataset.subdatasets[:4])
        return f"{dataset.name}: a container of {len(dataset.subdatasets)} images: name one, such as {listed}"
    return f"{dataset.name}: there are no raster bands in this file: give an image"
