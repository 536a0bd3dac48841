"""One run of one method on one pair: fit, plan the tiles, fuse them, into rows of any kind or into a COG."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from hsfuse.fusion.engine import SecondLayer, fuse_tiles
from hsfuse.fusion.memory import fitting_tile
from hsfuse.fusion.tiles import TilePlan
from hsfuse.fusion.uncertainty import TileUncertainty, Uncertainty
from hsfuse.progress import SILENT
from hsfuse.scenes import WARN_CLIPPED, CogWriter, Encoding, finish_all
from hsfuse.scenes.cog_options import checked_options
from hsfuse.version import __version__

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from hsfuse.fusion.compute import Compute
    from hsfuse.fusion.engine import RowSink, TileSource
    from hsfuse.fusion.method import FittedMethod
    from hsfuse.fusion.methods import ChosenMethod
    from hsfuse.imaging import ImagingModel
    from hsfuse.pairs.pair import Pair, PathLike
    from hsfuse.progress import Progress
    from hsfuse.scenes import PixelWindow
    from hsfuse.subspace.patch import PairPatch

BLEND_PIXELS = 4
"""HSI pixels over which neighbouring tiles are blended, beside the margins that a method needs."""


@dataclass(frozen=True)
class Tiling:
    """How a scene is cut into tiles, in HSI pixels."""

    tile: int | None = None
    """Edge of a tile; None for what fits into memory."""

    overlap: int | None = None
    """What neighbours share; None for what the method needs."""


@dataclass(frozen=True)
class OutputFormat:
    """How the numbers of the output are kept; what is None is the HSI's own.

    Raises:
        OutputError: A creation option that there is not.
    """

    dtype: str | None = None
    """numpy's name of the type."""

    nodata: float | None = None
    """In the file's numbers."""

    scale: float | None = None
    """Value = number · scale + offset."""

    offset: float | None = None
    """As `scale`."""

    allow_clipping: bool = False
    """Go on where the type cannot hold more than a hundredth of the values."""

    creation_options: Mapping[str, str] = field(default_factory=dict)
    """As of GDAL's COG driver."""

    def __post_init__(self) -> None:
        checked_options(self.creation_options)

    def encoding(self, pair: Pair) -> Encoding:
        """How the fused image of a pair is encoded.

        Raises:
            OutputError: The type cannot be written, or cannot hold the nodata value.
        """
        hsi, index = pair.scenes.hsi, list(pair.scenes.hsi_bands)
        return Encoding.for_output(
            len(index),
            self.dtype or hsi.dtype,
            hsi.nodata if self.nodata is None else self.nodata,
            hsi.scales[index] if self.scale is None else self.scale,
            hsi.offsets[index] if self.offset is None else self.offset,
            clip_negative=hsi.screen.nonnegative,
        )


def plan_tiles(
    fitted: FittedMethod,
    area: PixelWindow,
    *,
    bands: int,
    ratio: int,
    compute: Compute,
    tiling: Tiling = Tiling(),
    layers: int = 1,
) -> TilePlan:
    """The tiles asked for, or those that fit into memory with the overlap that a method needs.

    Args:
        fitted: The method.
        area: What is fused, in HSI pixels; only its size matters.
        bands: C, of the fused image.
        ratio: HSI pixel over fine pixel.
        compute: With the memory that there is.
        tiling: What was asked for.
        layers: How many images are written.

    Raises:
        RequestError: The tile is too small for the overlap, or for the memory.
    """
    tile, overlap = tiling.tile, tiling.overlap
    if overlap is None:
        overlap = 2 * fitted.margin + BLEND_PIXELS
    if tile is None:
        size = (area.width, area.height)
        tile = fitting_tile(layers * bands, size, ratio, overlap, compute.budget, fitted.bytes_a_pixel)
    margin = min(fitted.margin, overlap // 2)
    return TilePlan.make(area.width, area.height, ratio, tile=tile, overlap=overlap, margin=margin)


WRITTEN_BESIDE = ("uncertainty", "save_imaging", "report")
"""The `FuseOptions` that name a file to write beside the output."""


class FuseOptions(TypedDict, total=False):
    """Keywords of `hsfuse.fuse` for what becomes of a pair; its docstring says what they are."""

    model: str
    weights: str | None
    adapt_seconds: float | None
    uncertainty: PathLike | None
    save_imaging: PathLike | None
    report: PathLike | None
    compute: Compute | None
    tiling: Tiling
    form: OutputFormat
    overwrite: bool
    seed: int
    progress: Progress


@dataclass(frozen=True)
class Run:
    """What a run did."""

    plan: TilePlan
    """The tiles."""

    redone: int
    """How many of them were not finite in half precision and were computed again in float32."""

    compute: Compute
    """Where and how exactly they were computed."""

    clipped: float = 0.0
    """Share of the values that the output's type could not hold, 0 to 1."""

    facts: Mapping[str, str] = field(default_factory=dict)
    """What was fitted on the scene, such as the weights of a stack."""

    found: tuple[str, ...] = ()
    """What else the user should know, sentences."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences for the user."""
        found = list(self.found)
        if self.redone:
            precision = self.compute.precision
            found.append(
                f"{self.redone} of {len(self.plan)} tiles were not finite in {precision} and were computed in fp32"
            )
        if self.clipped > WARN_CLIPPED:
            found.append(f"{self.clipped:.2%} of the values do not fit the output's type and were clipped")
        return tuple(found)


@dataclass(frozen=True)
class Job:
    """A method and what it is run with."""

    method: ChosenMethod
    """With its weights."""

    compute: Compute
    """As asked for; the method may want less."""

    tiling: Tiling = Tiling()
    """Of the scene."""

    seed: int = 0
    """Of whatever is drawn at random."""

    unadapted: ChosenMethod | None = None
    """The method before it learned from the very pair, which would flatter it where it is judged there; None if it has
    not."""

    @property
    def suited(self) -> Compute:
        """Where and how exactly the method runs."""
        return self.method.method.suited(self.compute)

    def fit(self, patches: Sequence[PairPatch], imaging: ImagingModel) -> FittedMethod:
        """The method, knowing the scene, on the device where tiles are computed."""
        return self.method.method.fit(patches, imaging, compute=self.suited, seed=self.seed)

    def uncertainty(self, pair: Pair, fitted: FittedMethod) -> Uncertainty:
        """How far what the fitted method makes of a pair may be off."""
        judged = (self.unadapted or self.method).method
        return Uncertainty.fit(judged, fitted, pair.patches, pair.imaging, compute=self.suited, seed=self.seed)

    def run(
        self,
        source: TileSource,
        area: PixelWindow,
        fitted: FittedMethod,
        sink: RowSink,
        *,
        bands: int,
        ratio: int,
        beside: SecondLayer | None = None,
        progress: Progress = SILENT,
        stage: str = "fuse",
    ) -> Run:
        """Fuse an area tile by tile.

        Args:
            source: Gives both images under a window.
            area: What is fused, in HSI pixels; only its size matters.
            fitted: The method that `fit` gave.
            sink: Takes the rows.
            bands: C, of the fused image.
            ratio: HSI pixel over fine pixel.
            beside: What else is made of the tiles; nothing by default.
            progress: Observer of the work.
            stage: What it is called there.

        Raises:
            RequestError: The tile is too small for the overlap, or for the memory.
            WorkError: A tile is not finite, memory runs out, or reading or writing fails.
        """
        layers = 1 if beside is None else 2
        plan = plan_tiles(
            fitted, area, bands=bands, ratio=ratio, compute=self.compute, tiling=self.tiling, layers=layers
        )
        redone = fuse_tiles(
            source, fitted, plan, sink, bands=bands, compute=self.suited, progress=progress, stage=stage, beside=beside
        )
        return Run(plan, redone, self.suited)

    def write(
        self,
        pair: Pair,
        output: str | os.PathLike[str],
        *,
        uncertainty: str | os.PathLike[str] | None = None,
        form: OutputFormat = OutputFormat(),
        tags: Mapping[str, str] | None = None,
        overwrite: bool = False,
        progress: Progress = SILENT,
    ) -> Run:
        """Fuse a pair into a COG.

        Args:
            pair: The scenes.
            output: The file.
            uncertainty: A second one, for the standard deviations, float32; both appear, or none of them.
            form: Of the first one's numbers; the creation options are for both.
            tags: Further ones for the dataset.
            overwrite: Replace existing files.
            progress: Observer of the work.

        Raises:
            RequestError: The tiles or an output cannot be had.
            WorkError: The work failed on the way; the old outputs, if any, are untouched.
        """
        encodings = [(Path(output), form.encoding(pair), form.allow_clipping)]
        if uncertainty is not None:
            encodings.append((Path(uncertainty), Encoding.for_output(len(pair.hsi_bands), "float32", math.nan), True))
        with contextlib.ExitStack() as stack:
            writers = []
            for path, encoding, allow_clipping in encodings:
                writers.append(
                    CogWriter(
                        path,
                        pair.fine_grid,
                        pair.hsi_bands,
                        encoding,
                        tags=self._tags(pair) | dict(tags or {}),
                        creation_options=form.creation_options,
                        overwrite=overwrite,
                        allow_clipping=allow_clipping,
                    )
                )
                stack.callback(writers[-1].discard)
            run = self._write(pair, writers, progress)
            finish_all(writers)
        return run

    def _write(self, pair: Pair, writers: Sequence[CogWriter], progress: Progress) -> Run:
        """Fuse a pair into the first of the writers, and its standard deviations into the second, if there is one."""
        first, *second = writers
        for block in pair.sample:
            first.require_room(block.hsi, block.hsi_valid)
        fitted, bands = self.fit(pair.patches, pair.imaging), len(pair.hsi_bands)
        for writer in writers:
            writer.tag({f"HSFUSE_{key}": value for key, value in fitted.facts.items()})
        beside: SecondLayer | None = None
        warned: tuple[str, ...] = ()
        for writer in second:
            found = self.uncertainty(pair, fitted)
            writer.tag({f"HSFUSE_{key}": value for key, value in found.facts.items()} | {"HSFUSE_OF": first.path.name})
            beside, warned = SecondLayer(TileUncertainty(found, pair.for_fits), writer), found.warnings
        run = self.run(pair, pair.area, fitted, first, bands=bands, ratio=pair.ratio, beside=beside, progress=progress)
        return replace(run, clipped=first.clipped, facts=fitted.facts, found=warned)

    def _tags(self, pair: Pair) -> dict[str, str]:
        """How the output was made, for its dataset."""
        fwhm = pair.imaging_on_hsi.psf.fwhm
        tags = {
            "HSFUSE_VERSION": __version__,
            "HSFUSE_MODEL": self.method.name,
            "HSFUSE_RATIO": str(pair.ratio),
            "HSFUSE_SRF": pair.srf_source,
            "HSFUSE_PSF": f"{pair.psf_source} (FWHM {fwhm[0]:.2f} × {fwhm[1]:.2f} HSI pixels)",
            "HSFUSE_HSI": Path(pair.scenes.hsi.path).name,
            "HSFUSE_MSI": Path(pair.scenes.msi.path).name,
        }
        if pair.scenes.msi.sharpened:
            tags["HSFUSE_SHARPENED"] = "; ".join(group.sentence for group in pair.scenes.msi.sharpened)
        if not pair.scenes.output.refines_hsi:
            tags |= pair.scenes.output.tags()
        if pair.coregistration is not None:
            tags |= pair.coregistration.tags()
        weights = self.method.weights
        if weights is not None:
            tags["HSFUSE_WEIGHTS"] = weights.name
            tags["HSFUSE_WEIGHTS_SHA256"] = weights.checksum()
        return tags
