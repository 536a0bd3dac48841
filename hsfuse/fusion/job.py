"""One run of one method on one pair: fit, plan the tiles, fuse them, into rows of any kind or into a COG."""

from __future__ import annotations

import contextlib
import logging
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from hsfuse.fusion.card import free_card_bytes, tile_on_card
from hsfuse.fusion.engine import ALONE, STAGES, fuse_tiles
from hsfuse.fusion.memory import fitting_tile, least_tile
from hsfuse.fusion.tile_work import TileWork
from hsfuse.fusion.tiles import BY_MEMORY, TilePlan
from hsfuse.fusion.uncertainty import TileUncertainty, Uncertainty
from hsfuse.fusion.unfinished import REQUEST_TAG, Unfinished, forget
from hsfuse.progress import SILENT, one_stage
from hsfuse.scenes import WARN_CLIPPED, CogWriter, Encoding, finish_all, keep_common_rows
from hsfuse.scenes.cog_options import checked_options
from hsfuse.stages import Stages
from hsfuse.version import __version__

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from hsfuse.fusion.compute import Compute
    from hsfuse.fusion.engine import Crew, RowSink, TileSource
    from hsfuse.fusion.method import FittedMethod
    from hsfuse.fusion.methods import ChosenMethod
    from hsfuse.fusion.tile_work import SecondRule
    from hsfuse.fusion.tiles import Tiling
    from hsfuse.imaging import ImagingModel
    from hsfuse.pairs.pair import Pair, PathLike
    from hsfuse.progress import Progress
    from hsfuse.scenes import PixelWindow
    from hsfuse.stages import Stage
    from hsfuse.subspace.patch import PairPatch

logger = logging.getLogger(__name__)

BLEND_PIXELS = 4
"""HSI pixels over which neighbouring tiles are blended, beside the margins that a method needs."""


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
    tiling: Tiling = BY_MEMORY,
    layers: int = 1,
) -> TilePlan:
    """The tiles asked for, or those that fit into memory, the card's too, with the overlap that a method needs.

    Args:
        fitted: The method.
        area: What is fused, in HSI pixels; only its size matters.
        bands: C, of the fused image.
        ratio: HSI pixel over fine pixel.
        compute: Where tiles are computed, with the memory that there is.
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
        tile = tile_on_card(
            tile, least_tile(overlap), ratio=ratio, bands=layers * bands, bytes_a_pixel=fitted.bytes_a_pixel,
            free=free_card_bytes(compute.torch_device),
        )  # fmt: skip
    margin = min(fitted.margin, overlap // 2)
    return TilePlan.make(area.width, area.height, ratio, tile=tile, overlap=overlap, margin=margin)


WRITTEN_BESIDE = ("uncertainty", "save_imaging", "stac", "report")
"""The `FuseOptions` that name a file to write beside the output."""


class FuseOptions(TypedDict, total=False):
    """Keywords of `hsfuse.fuse` for what becomes of a pair; its docstring says what they are."""

    model: str
    weights: str | None
    adapt_seconds: float | None
    adapt_weights: PathLike | None
    uncertainty: PathLike | None
    save_imaging: PathLike | None
    stac: PathLike | None
    report: PathLike | None
    compute: Compute | None
    tiling: Tiling
    form: OutputFormat
    dask: str | None
    resume: bool
    overwrite: bool
    seed: int
    progress: Progress


@dataclass(frozen=True)
class Run:
    """What a run did."""

    plan: TilePlan | None
    """The tiles; None where nothing was left to do."""

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

    stages: tuple[Stage, ...] = ()
    """Where the time went."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences for the user."""
        found = list(self.found)
        if self.redone and self.plan is not None:
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

    tiling: Tiling = BY_MEMORY
    """Of the scene."""

    seed: int = 0
    """Of whatever is drawn at random."""

    unadapted: ChosenMethod | None = None
    """The method before it learned from the very pair, which would flatter it where it is judged there; None if it has
    not."""

    @property
    def told(self) -> dict[str, object]:
        """All of it that the numbers of an output depend on, as JSON knows it."""
        weights, suited = self.method.weights, self.suited
        return {
            "model": self.method.name, "weights": None if weights is None else weights.checksum(),
            "device": suited.device, "precision": suited.precision, "tiling": asdict(self.tiling), "seed": self.seed,
        }  # fmt: skip

    @property
    def suited(self) -> Compute:
        """Where and how exactly the method runs."""
        return self.method.method.suited(self.compute)

    def fit(self, patches: Sequence[PairPatch], imaging: ImagingModel) -> FittedMethod:
        """The method, knowing the scene, on the device where tiles are computed."""
        logger.info("%s on %s in %s", self.method.name, self.suited.device, self.suited.exactness)
        with self.compute.products():
            return self.method.method.fit(patches, imaging, compute=self.suited, seed=self.seed)

    def uncertainty(self, pair: Pair, fitted: FittedMethod) -> Uncertainty:
        """How far what the fitted method makes of a pair may be off."""
        judged = (self.unadapted or self.method).method
        with self.compute.products():
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
        progress: Progress = SILENT,
    ) -> Run:
        """Fuse an area tile by tile.

        Args:
            source: Gives both images under a window.
            area: What is fused, in HSI pixels; only its size matters.
            fitted: The method that `fit` gave.
            sink: Takes the rows.
            bands: C, of the fused image.
            ratio: HSI pixel over fine pixel.
            progress: Observer of the work.

        Raises:
            RequestError: The tile is too small for the overlap, or for the memory.
            WorkError: A tile is not finite, memory runs out, or reading or writing fails.
        """
        plan = plan_tiles(fitted, area, bands=bands, ratio=ratio, compute=self.suited, tiling=self.tiling)
        return self._run(source, plan, fitted, [sink], bands=bands, progress=progress, stages=Stages(*STAGES))

    def _run(
        self,
        source: TileSource,
        plan: TilePlan,
        fitted: FittedMethod,
        sinks: Sequence[RowSink],
        *,
        bands: int,
        stages: Stages,
        beside: SecondRule | None = None,
        align: int = 256,
        done: int = 0,
        crew: Crew = ALONE,
        progress: Progress = SILENT,
    ) -> Run:
        """Run a plan, but for the rows that the sinks have already."""
        work = TileWork(fitted, self.suited, beside)
        redone = fuse_tiles(
            source, work, plan, sinks, bands=bands, progress=progress, align=align, done=done, crew=crew,
            stages=stages,
        )  # fmt: skip
        return Run(plan, redone, self.suited, stages=stages.table)

    def write(
        self,
        pair: Pair,
        output: str | os.PathLike[str],
        *,
        uncertainty: str | os.PathLike[str] | None = None,
        form: OutputFormat = OutputFormat(),
        tags: Mapping[str, str] | None = None,
        overwrite: bool = False,
        resume: str | None = None,
        crew: Crew = ALONE,
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
            resume: Key of the request (`request_key`): what an interrupted run of it has finished is gone on with, and
                what this one finishes is kept if it is interrupted. None: nothing is kept.
            crew: Who computes the tiles.
            progress: Observer of the work.

        Raises:
            RequestError: The tiles or an output cannot be had.
            WorkError: The work failed on the way; the old outputs, if any, are untouched.
        """
        encodings = [(Path(output), form.encoding(pair), form.allow_clipping)]
        if uncertainty is not None:
            encodings.append((Path(uncertainty), Encoding.for_output(len(pair.hsi_bands), "float32", math.nan), True))
        tags = self._tags(pair) | dict(tags or {}) | ({} if resume is None else {REQUEST_TAG: resume})
        with contextlib.ExitStack() as stack:
            kept = [] if resume is None else [Unfinished.of(path, resume) for path, _, _ in encodings]
            for unfinished in kept:
                stack.callback(unfinished.close)
            folders: list[Path | None] = [unfinished.rows for unfinished in kept] or [None] * len(encodings)
            keep_common_rows([folder for folder in folders if folder is not None])
            writers = []
            for (path, encoding, allow_clipping), folder in zip(encodings, folders, strict=True):
                writers.append(
                    CogWriter(
                        path, pair.fine_grid, pair.hsi_bands, encoding, tags=tags, overwrite=overwrite,
                        creation_options=form.creation_options, allow_clipping=allow_clipping, folder=folder,
                    )
                )  # fmt: skip
                stack.callback(writers[-1].discard)
            run = self._write(pair, writers, kept, crew, progress)
            finish_all(writers)
        for unfinished in kept:
            unfinished.remove()
        for path, _, _ in encodings:
            forget(path)
        return replace(run, stages=(*run.stages, *(stage for writer in writers for stage in writer.stages)))

    def _write(
        self, pair: Pair, writers: Sequence[CogWriter], kept: Sequence[Unfinished], crew: Crew, progress: Progress
    ) -> Run:
        """Fuse a pair into the first of the writers, and its standard deviations into the second, if there is one."""
        first, *second = writers
        stages = Stages("fit", *STAGES)
        with stages.work("fit"), one_stage(progress, "fit"):
            for block in pair.sample:
                first.require_room(block.hsi, block.hsi_valid)
            fitted, bands = self.fit(pair.patches, pair.imaging), len(pair.hsi_bands)
        for writer in writers:
            writer.tag({f"HSFUSE_{key}": value for key, value in fitted.facts.items()})
        beside: SecondRule | None = None
        warned: tuple[str, ...] = ()
        for writer in second:
            with stages.work("fit"), one_stage(progress, "fit the uncertainty"):
                found = self.uncertainty(pair, fitted)
            writer.tag({f"HSFUSE_{key}": value for key, value in found.facts.items()} | {"HSFUSE_OF": first.path.name})
            beside, warned = TileUncertainty(found, pair.for_fits), found.warnings
        plan = plan_tiles(
            fitted, pair.area, bands=bands, ratio=pair.ratio, compute=self.suited, tiling=self.tiling,
            layers=len(writers),
        )  # fmt: skip
        for unfinished in kept[:1]:
            plan = plan.tiled_as(unfinished.tiling(plan.tiling))
        if first.next_row:
            progress.note(f"{first.next_row} of {first.grid.height} rows are there: going on")
        elif any(unfinished.begun_anew for unfinished in kept):
            progress.note("what is there was made for another request: beginning anew")
        run = self._run(
            pair, plan, fitted, writers, bands=bands, beside=beside, align=first.block, done=first.next_row, crew=crew,
            progress=progress, stages=stages,
        )  # fmt: skip
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
            "HSFUSE_PRECISION": self.suited.precision,
            "HSFUSE_SEED": str(self.seed),
        }
        if pair.shift is not None:
            tags["HSFUSE_MEASURED_SHIFT"] = f"x {pair.shift.x:+.3f}, y {pair.shift.y:+.3f} HSI pixels"
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
