"""`hsfuse fuse`: two co-registered scenes in, a georeferenced high-resolution hyperspectral COG out; `hsfuse batch`:
the same of many pairs.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from hsfuse.errors import HsfuseError, RequestError, WorkError
from hsfuse.evaluation.consistency import FusedViews
from hsfuse.evaluation.pages import judge_pair
from hsfuse.files import already_there, shown, written_whole
from hsfuse.fusion.batch import run_batch
from hsfuse.fusion.cluster import Cluster
from hsfuse.fusion.compute import Compute, peak_device_megabytes
from hsfuse.fusion.engine import ALONE
from hsfuse.fusion.job import FuseOptions, Job, OutputFormat, Run
from hsfuse.fusion.memory import peak_megabytes
from hsfuse.fusion.methods import DEFAULT_METHOD, choose_method
from hsfuse.fusion.opening import opened
from hsfuse.fusion.tiles import Tiling
from hsfuse.fusion.unfinished import Due, request_key
from hsfuse.pairs.opening import refuse_to_replace_scenes, requested
from hsfuse.pairs.pair import PairOptions, PairRequest
from hsfuse.progress import SILENT
from hsfuse.report.page import check_page
from hsfuse.scenes.stac import require_place, when_taken, write_item
from hsfuse.stages import Stages
from hsfuse.training.adaptation import Adaptation, adapt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime
    from typing import Unpack

    from hsfuse.fusion.batch import BatchEntry, BatchOutcome
    from hsfuse.fusion.engine import Crew
    from hsfuse.pairs.pair import Pair, PathLike
    from hsfuse.progress import Progress
    from hsfuse.scenes import SharpenedBands
    from hsfuse.stages import Stage


@dataclass(frozen=True, kw_only=True)
class FuseResult:
    """What was made, and how."""

    output: Path
    """The COG."""

    uncertainty: Path | None
    """The COG of its standard deviations; None where none was asked for."""

    report: Path | None
    """The page about it; None where none was asked for."""

    width: int
    """Fine pixels."""

    height: int
    """Fine pixels."""

    bands: int
    """Of the output."""

    ratio: int
    """HSI pixel over MSI pixel."""

    model: str
    """The method."""

    weights: str | None
    """Name of the weights file; None for classical methods."""

    device: str
    """Where it was computed."""

    precision: str
    """`fp32`, `tf32`, `bf16` or `fp16`."""

    tiles: int
    """How many; 0 where the output of the very request was there already (`resume`)."""

    tile: int
    """Edge in HSI pixels."""

    overlap: int
    """In HSI pixels."""

    resampled: bool
    """Whether the MSI was resampled onto the output's grid."""

    hsi_resampled: bool
    """Whether the HSI was: displaced, or laid on a grid on which its pixels do not fall."""

    pixel_size: tuple[float, float]
    """Width and height of a pixel of the output, in units of its CRS."""

    sharpened: tuple[SharpenedBands, ...]
    """Coarser MSI bands that were sharpened by finer ones first."""

    fitted: dict[str, str]
    """What the method fitted on the scene: `stack`, the weights of its members; `trust` in a network."""

    adapted: Adaptation | None
    """What came of adapting the weights; None without it."""

    shift: tuple[float, float] | None
    """Misregistration (x, y) in HSI pixels as measured; None where it could not be."""

    displacement: dict[str, Any] | None
    """With `coregister` the displacement field that was measured, see `Coregistration.summary`; None without."""

    stages: tuple[Stage, ...]
    """Where the time went: what each stage worked and waited, s; stages overlap in time."""

    seconds: float
    """From opening to the finished file."""

    peak_memory_mb: float
    """Largest resident size of the process."""

    peak_device_memory_mb: float | None
    """Most memory of the card that torch held; None without one."""

    warnings: tuple[str, ...]
    """Sentences for the user."""


class _PathOptions(FuseOptions, PairOptions, total=False):
    """Keywords of `fuse` for a pair that is given by its paths."""


@overload
def fuse(pair: Pair | PairRequest, output: PathLike, /, **choices: Unpack[FuseOptions]) -> FuseResult: ...


@overload
def fuse(hsi: PathLike, msi: PathLike, output: PathLike, /, **choices: Unpack[_PathOptions]) -> FuseResult: ...


def fuse(
    pair: Pair | PairRequest | PathLike,
    /,
    *paths: PathLike,
    model: str = DEFAULT_METHOD,
    weights: str | None = None,
    adapt_seconds: float | None = None,
    adapt_weights: PathLike | None = None,
    uncertainty: PathLike | None = None,
    save_imaging: PathLike | None = None,
    stac: PathLike | None = None,
    report: PathLike | None = None,
    compute: Compute | None = None,
    tiling: Tiling = Tiling(),  # noqa: B008 (frozen)
    form: OutputFormat = OutputFormat(),  # noqa: B008
    dask: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    seed: int = 0,
    progress: Progress = SILENT,
    **options: Unpack[PairOptions],
) -> FuseResult:
    """Fuse a hyperspectral and a multispectral scene of the same place.

    Args:
        pair: An open pair, a `PairRequest` (which may name several MSIs), or the paths of both scenes.
        paths: The COG to write, after the MSI if paths are given.
        model: A network or a classical method.
        weights: A weights file, or the name of a bundled one.
        adapt_seconds: First fine-tune the weights on this pair at reduced resolution, for that long.
        adapt_weights: A weights file to write with the adapted weights, if they are better.
        uncertainty: A second COG to write, of the same grid and bands: the standard deviation of each of the output's
            values, float32, in their units. Both appear, or none of them.
        save_imaging: A JSON file for R, B and the shift that were loaded or found, as `estimate` writes it.
        stac: A STAC 1.1 item of the output, as JSON; its time is the HSI's, where metadata or file name say it.
        report: A page to write last, with pictures, spectra, maps, imaging model, metrics and warnings; needs the
            `report` extra.
        compute: Device, precision and memory; chosen by default.
        tiling: Size and overlap of tiles; chosen by default.
        form: Type, nodata and options of the output; by default the HSI's.
        dask: Address of a Dask scheduler whose workers compute the tiles; inputs must be called the same there.
        resume: Keep what is finished where the run breaks off, and go on with what an earlier one of the same request
            has finished, with the same bytes in the end. An output that it had finished is left as it is.
        overwrite: Replace existing outputs.
        seed: Of whatever is drawn at random: the noise that calibration and `adapt_seconds` restore, and training.
        progress: Observer of the work.
        options: Of a pair that is given by its paths: the fields of `PairRequest`.

    Raises:
        RequestError: The request cannot be served (see its subclasses); nothing was written.
        WorkError: The work failed on the way; the old output, if any, is untouched. Or the report failed, the output
            being there.
    """
    started, clock = time.monotonic(), Stages()
    wanted, (output,) = requested(pair, paths, options, after=1)
    if dask is not None and isinstance(wanted, PairRequest):
        wanted = wanted.seen_from_anywhere()
    named = {
        "output": output, "adapt_weights": adapt_weights, "uncertainty": uncertainty, "save_imaging": save_imaging,
        "stac": stac, "report": report,
    }  # fmt: skip
    targets = {name: Path(path) for name, path in named.items() if path is not None}
    refuse_to_replace_scenes(wanted, tuple(targets.values()))
    _refuse_contradictions(adapt=adapt_seconds is not None, adapt_weights=adapt_weights is not None, resume=resume)
    job = Job(choose_method(model, weights), compute or Compute(), tiling, seed)
    key = None
    if resume:
        key = request_key(_request(wanted), **job.told, form=asdict(form), uncertainty=uncertainty is not None)
    due = Due.of(targets, key, overwrite=overwrite)
    if "report" in due.files:
        check_page(due.files["report"], overwrite=overwrite)
    with clock.work("open and estimate"):
        found = opened(wanted, beside=output, compute=job.compute, progress=progress)
    adapted: Adaptation | None = None
    if adapt_seconds is not None:
        job, adapted = adapt(found, job, adapt_seconds, keep=adapt_weights, progress=progress)
    tags = {} if adapted is None else {"HSFUSE_ADAPTED": adapted.sentence}
    run = Run(None, 0, job.suited, found=(already_there(output),))
    with _crew(dask if due.fusing else None) as crew, _beside_it(due, targets, found, overwrite=overwrite):
        if due.fusing:
            run = job.write(
                found, output, uncertainty=uncertainty, form=form, tags=tags, overwrite=overwrite, resume=key,
                crew=crew, progress=progress,
            )  # fmt: skip
    run = replace(run, stages=(clock.table[0], *run.stages), found=(*run.found, *_timeless(due, found)))
    result = _result(targets, found, job, run, adapted, seconds=time.monotonic() - started)
    if "report" in due.files:
        _report(due.files["report"], result, found, overwrite=overwrite, progress=progress)
    return result


def _refuse_contradictions(*, adapt: bool, adapt_weights: bool, resume: bool) -> None:
    if adapt_weights and not adapt:
        raise RequestError("`adapt_weights` keeps what `adapt_seconds` has found: give both")
    if resume and adapt:
        raise RequestError("`resume` cannot go on with weights of `adapt_seconds`: leave one of them out")


def _result(
    targets: Mapping[str, Path], found: Pair, job: Job, run: Run, adapted: Adaptation | None, *, seconds: float
) -> FuseResult:
    untrained = job.method.untrained_ratio(found.ratio)
    said = (*found.warnings, *(() if untrained is None else (untrained,)), *run.warnings)
    return FuseResult(
        output=targets["output"],
        uncertainty=targets.get("uncertainty"),
        report=targets.get("report"),
        width=found.fine_grid.width,
        height=found.fine_grid.height,
        bands=len(found.hsi_bands),
        ratio=found.ratio,
        model=job.method.name,
        weights=None if job.method.weights is None else job.method.weights.name,
        device=run.compute.device,
        precision=run.compute.precision,
        tiles=0 if run.plan is None else len(run.plan),
        tile=0 if run.plan is None else run.plan.rows.tile,
        overlap=0 if run.plan is None else run.plan.rows.overlap,
        resampled=found.scenes.resampled,
        sharpened=found.scenes.msi.sharpened,
        hsi_resampled=found.scenes.places is not None,
        pixel_size=found.fine_grid.pixel_size,
        fitted={key.lower(): value for key, value in run.facts.items()},
        adapted=adapted,
        shift=None if found.shift is None else (found.shift.x, found.shift.y),
        displacement=None if found.coregistration is None else found.coregistration.summary(),
        stages=run.stages,
        seconds=seconds,
        peak_memory_mb=peak_megabytes(),
        peak_device_memory_mb=peak_device_megabytes(run.compute.torch_device),
        warnings=tuple(dict.fromkeys(said)),
    )


def batch(
    entries: Iterable[BatchEntry], *, shard: tuple[int, int] = (1, 1), progress: Progress = SILENT
) -> Iterator[BatchOutcome[FuseResult]]:
    """Fuse many pairs, one after another; what one takes of memory is given back before the next.

    Entries whose files are there already are skipped, unless their `choices` say `overwrite`. Nothing is fused before
    the first outcome is asked for.

    Args:
        entries: In the order of the outcomes.
        shard: (k, n): only every n-th entry from the k-th on, for n processes that share the entries.
        progress: Observer of the work; a note begins and ends each pair.

    Returns:
        An outcome an entry of the shard, as soon as it is known.

    Raises:
        RequestError: Two entries write one file, also of different shards, one would write over a scene of another, or
            a folder cannot be made; nothing was fused.
    """
    return run_batch(entries, fuse, shard=shard, progress=progress)


@contextlib.contextmanager
def _beside_it(due: Due, targets: Mapping[str, Path], pair: Pair, *, overwrite: bool) -> Iterator[None]:
    """A block that fuses: what else is due of imaging model and STAC item appears after it, or not at all.

    Raises:
        RequestError: An item is due, and the pair has no place.
    """
    with contextlib.ExitStack() as stack:
        temporary = {
            name: stack.enter_context(written_whole(due.files[name], overwrite=overwrite))
            for name in ("save_imaging", "stac")
            if name in due.files
        }
        if "save_imaging" in temporary:
            pair.imaging_on_hsi.save(temporary["save_imaging"])
        if "stac" in temporary:
            require_place(pair.fine_grid)
        yield
        if "stac" in temporary:
            assets = {"data": "output", "uncertainty": "uncertainty"}
            files = {key: targets[name] for key, name in assets.items() if name in targets}
            write_item(temporary["stac"], due.files["stac"], files, _taken(pair))


def _taken(pair: Pair) -> datetime | None:
    return when_taken(pair.scenes.hsi.tags, Path(pair.scenes.hsi.path).name)


def _timeless(due: Due, pair: Pair) -> tuple[str, ...]:
    """A sentence where an item was written of what nobody knows when it was taken."""
    if "stac" not in due.files or _taken(pair) is not None:
        return ()
    scene = pair.scenes.hsi.path
    return (f"{scene} does not say when it was taken: the STAC item has the time of writing as its datetime",)


def _report(report: PathLike, result: FuseResult, pair: Pair, *, overwrite: bool, progress: Progress) -> None:
    """Write the page about what was fused.

    Raises:
        WorkError: It cannot be written; the output is there already.
    """
    made = {
        "method": result.model if result.weights is None else f"{result.model}, weights {result.weights}",
        "computed": f"{result.tiles} tile(s) of {result.tile} HSI pixels, overlap {result.overlap}, on {result.device} "
        f"in {result.precision}, {result.seconds:.1f} s, {result.peak_memory_mb:.0f} MB"
        if result.tiles
        else "by an earlier run",
        **({} if result.adapted is None else {"adapted": result.adapted.sentence}),
        **{name.replace("_", " "): value for name, value in result.fitted.items()},
    }
    progress.start("report", 1, "page")
    try:
        judge_pair(
            FusedViews.open(result.output, pair), report, title=f"Fused: {result.output.name}",
            uncertainty=result.uncertainty, made=made, warnings=result.warnings, overwrite=overwrite,
        )  # fmt: skip
    except HsfuseError as error:
        raise WorkError(f"{shown(result.output)} was written, but not its report: {error}") from error
    progress.advance()
    progress.finish()


def _crew(dask: str | None) -> contextlib.AbstractContextManager[Crew]:
    return contextlib.nullcontext(ALONE) if dask is None else Cluster(dask)


def _request(pair: Pair | PairRequest) -> PairRequest:
    return pair if isinstance(pair, PairRequest) else pair.request
