"""A pair of scenes with its imaging model: asked for by one noun, opened once, and handed to every verb."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from hsfuse.errors import PairError, RequestError
from hsfuse.imaging import Agreement
from hsfuse.pairs.coregistration import Coregistration
from hsfuse.pairs.guidance import Guidance
from hsfuse.pairs.imaging_source import find_imaging
from hsfuse.pairs.misregistration import UNMOVED, corrected, from_where_files_say, judge_shift
from hsfuse.scenes import MAX_RATIO, OutputGrid, PixelWindow, Scene, ScenePair, parse_band_list, seen_from
from hsfuse.subspace.patch import PairPatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsfuse.imaging import Estimate, ImagingModel, Misregistration
    from hsfuse.scenes import Bands, Grid, PairBlock

PathLike = str | os.PathLike[str]


WARN_DIFFERING = 0.02
"""Share of the pixels that differ between the images from which on the user is warned."""


class PairOptions(TypedDict, total=False):
    """The keywords by which a pair is opened; see the fields of `PairRequest`."""

    srf: str | None
    psf: str | None
    hsi_bands: str | None
    msi_bands: str | None
    window: PixelWindow | None
    ratio: int | None
    grid: str
    resolution: float | None
    allow_shift: bool
    coregister: bool
    wavelengths: PathLike | None
    msi_wavelengths: PathLike | None
    mask: PathLike | None
    quality_mask: bool
    screen: bool


@dataclass(frozen=True)
class PairRequest:
    """Two scenes, and how they are related.

    Raises:
        RequestError: A ratio outside of 2 to 20, or an output grid that there is not.
    """

    hsi: PathLike
    """The hyperspectral scene, anything that GDAL opens."""

    msi: PathLike | Sequence[PathLike]
    """The multispectral scene of the same place; or several of one sensor, such as Sentinel-2's 10 m and 20 m bands, of
    which `hsfuse.open_pair` and the verbs sharpen the coarser by the finer ones."""

    srf: str | None = None
    """`estimate`, a sensor's name or a file; by default the table of the sensor that the MSI says it is, else
    `estimate`."""

    psf: str | None = None
    """`estimate` (the default), `gaussian:FWHM` in HSI pixels, or a file."""

    hsi_bands: str | None = None
    """1-based list such as `1-4,8`; by default all good ones."""

    msi_bands: str | None = None
    """The same of the MSI; of several counted through them in the order given."""

    window: PixelWindow | None = None
    """The part wanted, in HSI pixels; by default all that both scenes cover."""

    ratio: int | None = None
    """HSI pixel over MSI pixel; measured by default."""

    grid: str = "hsi"
    """Whose grid the output has: `hsi`, refined by the ratio, or `msi`."""

    resolution: float | None = None
    """Edge of the output's pixels in metres; by default they are what `grid` has."""

    allow_shift: bool = False
    """Go on also above two HSI pixels of misregistration."""

    coregister: bool = False
    """Measure where the HSI lies on the MSI, up to ten HSI pixels off, and bring it onto the MSI's geolocation."""

    wavelengths: PathLike | None = None
    """A table of the HSI's wavelengths (nm or µm, one row a band, optional FWHM) that overrules its file."""

    msi_wavelengths: PathLike | None = None
    """The same of the MSI."""

    mask: PathLike | None = None
    """A raster of one band anywhere over the scenes, not 0 where pixels are bad."""

    quality_mask: bool = True
    """Whether pixels that the products' quality layers flag (cloud, shadow, saturation) are taken as not valid."""

    screen: bool = True
    """Whether to look for fill that no tag declares, gross values and bands without an image."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "hsi", os.fspath(self.hsi))
        object.__setattr__(self, "msi", _one_or_several(self.msi))
        if self.msi_wavelengths is not None and len(self.msis) > 1:
            raise RequestError(
                f"a table of wavelengths (`msi_wavelengths`) is for one MSI, and {len(self.msis)} were given: write "
                "them into the files' band tags (`wavelength`)"
            )
        for name in ("wavelengths", "msi_wavelengths", "mask"):
            given = getattr(self, name)
            object.__setattr__(self, name, None if given is None else os.fspath(given))
        if self.ratio is not None:
            if not 2 <= self.ratio <= MAX_RATIO or int(self.ratio) != self.ratio:
                raise RequestError(f"the ratio of a pair is a whole number from 2 to {MAX_RATIO}, got {self.ratio:g}")
            object.__setattr__(self, "ratio", int(self.ratio))
        _ = self.output

    @property
    def output(self) -> OutputGrid:
        """The grid of the output."""
        return OutputGrid(self.grid, self.resolution)

    @property
    def msis(self) -> tuple[str, ...]:
        """The multispectral scenes, one or more."""
        return self.msi if isinstance(self.msi, tuple) else (self.msi,)

    def seen_from_anywhere(self) -> PairRequest:
        """The same with absolute names of the scenes and of the mask."""
        here = Path.cwd()
        msis = tuple(seen_from(here, msi) for msi in self.msis)
        return replace(
            self,
            hsi=seen_from(here, os.fspath(self.hsi)),
            msi=msis[0] if len(msis) == 1 else msis,
            mask=None if self.mask is None else seen_from(here, os.fspath(self.mask)),
        )

    def open_scene(self, path: PathLike, wavelengths: PathLike | None = None) -> Scene:
        """Open one of the scenes as is asked for.

        Raises:
            SceneError: It cannot be read.
        """
        return Scene.open(
            path, wavelengths=wavelengths, mask=self.mask, quality=self.quality_mask, screen=self.screen
        )  # fmt: skip

    def related(self, hsi: Scene, msi: Scene, msi_bands: Sequence[int] | None = None) -> ScenePair:
        """Find out how the grids of two open scenes lie to each other.

        Args:
            hsi: The HSI.
            msi: The MSI.
            msi_bands: 0-based; None for all that are good.

        Raises:
            PairError: They cannot be fused.
            RequestError: Bands or a window that do not exist.
        """
        return ScenePair.open(
            hsi,
            msi,
            hsi_bands=None if self.hsi_bands is None else parse_band_list(self.hsi_bands, hsi.count),
            msi_bands=msi_bands,
            window=self.window,
            ratio=self.ratio,
            output=self.output,
        )

    def open_scenes(self) -> ScenePair:
        """Open both scenes and find out how their grids lie to each other, without looking for the imaging model.

        Raises:
            SceneError: A scene cannot be read.
            PairError: They cannot be fused.
            RequestError: Bands or a window that do not exist, or several MSIs.
        """
        if len(self.msis) > 1:
            raise RequestError(f"{len(self.msis)} MSIs were given: `hsfuse.open_pair` brings them together")
        hsi, msi = self.open_scene(self.hsi, self.wavelengths), self.open_scene(self.msis[0], self.msi_wavelengths)
        bands = None if self.msi_bands is None else parse_band_list(self.msi_bands, msi.count)
        return self.related(hsi, msi, bands)

    def open(self) -> Pair:
        """Open both scenes, and load or estimate what lies between them; of a Sentinel-2 product only its 10 m bands.

        Raises:
            SceneError: A scene cannot be read.
            PairError: The scenes cannot be fused, or are misregistered by more than two HSI pixels.
            ImagingError: The imaging model cannot be loaded, or the pair does not determine it.
            RequestError: Bands or a window that do not exist.
        """
        return Pair.open(self)


@dataclass(frozen=True, eq=False)
class Pair:
    """Two scenes of one place with their imaging model; get one from `open_pair`.

    What statistics are fitted on is read once and kept, and so is the whole of a small scene.
    """

    scenes: ScenePair
    """The rasters; the MSI's bands in use are those that have a row in the model."""

    imaging: ImagingModel
    """R and B between the two images as they are read."""

    imaging_on_hsi: ImagingModel
    """The same with Y on the HSI's own pixels; its shift is from where the HSI's file says that it lies, or from
    where it was brought by coregistration."""

    srf_source: str
    """Where R comes from: `estimate`, a sensor or a file."""

    psf_source: str
    """Where B comes from: `estimate`, `gaussian:FWHM` or a file."""

    shift: Misregistration | None
    """As measured on the scenes' nominal ground, also where they were coregistered, `imaging.shift` being what is left;
    None where nothing could be measured."""

    coregistration: Coregistration | None
    """How the HSI was brought onto the MSI's geolocation; None where it lies where its file says."""

    estimate: Estimate | None
    """Of what was estimated; None where all was given."""

    notes: tuple[str, ...]
    """Sentences for the user about the imaging model, the registration and what differs between the images."""

    sample: tuple[PairBlock, ...]
    """Windows spread evenly over the area in use, or all of it if it is small: what statistics are fitted on."""

    agreement: Agreement
    """Where the two images show the same thing, and their units: one for every fit."""

    request: PairRequest
    """What was asked for."""

    guidance: Guidance | None = None
    """How a displaced HSI is resampled; None where it is read as it is."""

    @classmethod
    def open(cls, request: PairRequest) -> Pair:
        """Open what was asked for; see `PairRequest.open` for what is raised."""
        return cls.of_scenes(request.open_scenes(), request)

    @classmethod
    def of_scenes(
        cls, scenes: ScenePair, request: PairRequest, *, coregistration: Coregistration | None = None
    ) -> Pair:
        """Two scenes that are open already; of the request only what says how they are related counts.

        Args:
            scenes: On their nominal ground, unless a coregistration is given.
            request: With the sources of the imaging model.
            coregistration: That of the scenes, where it was applied to them already.

        Raises:
            PairError: No pixel is valid in both, or the images are misregistered by more than two HSI pixels.
            ImagingError: The imaging model cannot be loaded, or the pair does not determine it.
            RequestError: The SRF is for other bands.
        """
        if coregistration is None and request.coregister:
            coregistration = Coregistration.measure(scenes.led_by_hsi or scenes, srf=request.srf, psf=request.psf)
            scenes = coregistration.apply(scenes)
        own = scenes.on_hsi
        on_hsi = [own.read_on_hsi(window.shifted(own.window.column, own.window.row)) for window in own.sample_windows()]
        if not any(block.fine_valid.any() for block in on_hsi):
            raise PairError(
                f"{scenes.hsi.path} and {scenes.msi.path} have no valid pixel in common, so there is nothing to fuse: "
                "choose another pair, or look with `hsfuse info` at what each leaves out"
            )
        found = find_imaging(own, [block.for_fits() for block in on_hsi], srf=request.srf, psf=request.psf)
        notes = list(found.warnings)
        if len(found.msi_index) < len(scenes.msi_bands):
            scenes = scenes.with_msi_bands(found.msi_index)
            on_hsi = [block.with_msi_bands(found.msi_index) for block in on_hsi]
        on_own, shift = found.imaging, found.shift
        nominal = found.imaging
        if coregistration is None and scenes.was_moved:
            on_own, nominal, shift = from_where_files_say(found, scenes.moved_by)
        if coregistration is not None and coregistration.largest > UNMOVED:
            notes.append(corrected(coregistration))
        if shift is not None:
            judge_shift(shift, notes, corrected=coregistration is not None, allowed=request.allow_shift)
            shift = shift if coregistration is None else shift.moved(*scenes.moved_by)
        imaging = on_own.seen_from(scenes.steps_on_hsi())
        guidance, sample = None, on_hsi
        if scenes.places is not None:
            guidance = Guidance.fit([block.for_fits() for block in on_hsi], on_own, imaging)
            sample = [guidance.read(scenes, window) for window in scenes.sample_windows()]
        agreement = Agreement.fit([block.for_fits() for block in sample], imaging)
        differing = max(agreement.share, 0.0 if found.estimate is None else found.estimate.differing)
        if differing > WARN_DIFFERING:
            notes.append(
                f"{differing:.0%} of the HSI pixels differ between the images (clouds, change, shadow): they are "
                "fused, but no fit learns from them"
            )
        return cls(
            scenes=scenes,
            imaging=imaging,
            imaging_on_hsi=nominal,
            srf_source=found.srf_source,
            psf_source=found.psf_source,
            shift=shift,
            coregistration=coregistration,
            estimate=found.estimate,
            notes=tuple(notes),
            sample=tuple(sample),
            agreement=agreement,
            request=request,
            guidance=guidance,
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences for the user, each once: of the scenes, of all that was read of them since, and the notes."""
        return tuple(dict.fromkeys((*self.scenes.warnings, *self.notes)))

    @property
    def ratio(self) -> int:
        """HSI pixel over MSI pixel."""
        return self.scenes.ratio

    @property
    def window(self) -> PixelWindow:
        """The area in use, in pixels of the HSI scene."""
        return self.scenes.window

    @property
    def area(self) -> PixelWindow:
        """The same counted from its own upper left."""
        return PixelWindow(0, 0, self.window.width, self.window.height)

    @property
    def fine_grid(self) -> Grid:
        """The grid of the fused image."""
        return self.scenes.fine_grid

    @property
    def hsi_bands(self) -> Bands:
        """The HSI's bands in use: those of the fused image."""
        return self.scenes.hsi.bands.select(self.scenes.hsi_bands)

    @property
    def msi_bands(self) -> Bands:
        """The MSI's bands in use, one a row of R."""
        return self.scenes.msi.bands.select(self.scenes.msi_bands)

    @cached_property
    def patches(self) -> tuple[PairPatch, ...]:
        """The sample as methods are fitted on it: without what no fit should learn from, holes filled."""
        return tuple(PairPatch.of(self.for_fits(block)) for block in self.sample)

    def read(self, window: PixelWindow) -> PairBlock:
        """Both images under a window of HSI pixels, counted from the upper left of the area in use.

        Raises:
            RequestError: The window reaches over the area in use.
            WorkError: A file breaks off.
        """
        if len(self.sample) == 1 and self.sample[0].hsi_valid.shape == (self.window.height, self.window.width):
            return self.sample[0].crop(window)
        return self.scenes.read(window) if self.guidance is None else self.guidance.read(self.scenes, window)

    def for_fits(self, block: PairBlock) -> PairBlock:
        """A window of the pair as every fit should see it: pixels are not valid that are suspect in themselves, or that
        differ between the images.
        """
        block = block.for_fits()
        return block.where_hsi(self.agreement.where(block))

    def read_for_fits(self, window: PixelWindow) -> PairBlock:
        """`read`, as every fit should see it."""
        return self.for_fits(self.read(window))


def _one_or_several(paths: PathLike | Sequence[PathLike]) -> str | tuple[str, ...]:
    """A path, or the paths of several scenes, each once.

    Raises:
        RequestError: There is none.
    """
    if isinstance(paths, (str, os.PathLike)):
        return os.fspath(paths)
    several = tuple(dict.fromkeys(os.fspath(path) for path in paths))
    if not several:
        raise RequestError("there is no MSI: give at least one (`msi`)")
    return several[0] if len(several) == 1 else several
