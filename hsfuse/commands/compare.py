"""`hsfuse compare`: several methods on one pair, with the same inputs and the same imaging model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

from hsfuse.errors import HsfuseError, RequestError
from hsfuse.evaluation.facts import figure
from hsfuse.evaluation.pages import page_of_comparison
from hsfuse.evaluation.parts import ReferenceParts
from hsfuse.evaluation.reference import Reference
from hsfuse.evaluation.resolution import FullResolution, Outcome, ReducedResolution, Resolution
from hsfuse.files import check_target, refuse_one_file
from hsfuse.fusion.compute import Compute
from hsfuse.fusion.job import Job
from hsfuse.fusion.methods import DEFAULT_METHOD, METHODS, ChosenMethod, choose_method
from hsfuse.fusion.opening import opened
from hsfuse.fusion.several_msis import open_scenes
from hsfuse.models.weights import bundled_weights, find_weights
from hsfuse.pairs.opening import requested
from hsfuse.pairs.pair import Pair, PairRequest
from hsfuse.progress import SILENT
from hsfuse.report.content import Page, Table
from hsfuse.report.csv_table import write_csv
from hsfuse.report.page import check_page, write_page
from hsfuse.scenes import Scene

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Unpack

    from hsfuse.metrics import FullReferenceScores
    from hsfuse.pairs.pair import PairOptions, PathLike
    from hsfuse.progress import Progress
    from hsfuse.report.csv_table import Row

CLASSICAL = ("bicubic", "gsa", "mtf-glp", "mtf-glp-subspace", "cnmf", "hysure", "bayes")
"""What is compared when nothing else is asked for, beside every network that has bundled weights and the default."""

HIGHER_IS_BETTER = {
    "psnr": True, "sam": False, "ergas": False, "rmse": False, "cc": True, "uiqi": True, "ssim": True,
    "seconds": False, "peak_memory_mb": False,
}  # fmt: skip
"""Every column of the comparison."""

_TITLES = {
    "psnr": "PSNR (dB)", "sam": "SAM (°)", "ergas": "ERGAS", "rmse": "RMSE (units of the HSI's file)", "cc": "CC",
    "uiqi": "UIQI", "ssim": "SSIM", "seconds": "time (s)", "peak_memory_mb": "peak memory (MB)",
}  # fmt: skip
_DIGITS = {
    "psnr": ".2f", "sam": ".3f", "ergas": ".3f", "rmse": ".4g", "cc": ".4f", "uiqi": ".4f", "ssim": ".4f",
    "seconds": ".1f", "peak_memory_mb": ".0f",
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """What one method made of the pair."""

    name: str
    """The model; with the name of the weights where they are not its bundled ones."""

    model: str
    """The method."""

    weights: str | None
    """Name of the weights file; None for classical methods."""

    scores: FullReferenceScores | None
    """None where the method failed."""

    seconds: float | None
    """To fit and to fuse, and with a reference to write the COG; None where the method failed."""

    peak_memory_mb: float | None
    """Largest resident size of the process meanwhile, with what it held before; None where it cannot be had."""

    peak_device_memory_mb: float | None
    """Most memory of the card that torch held meanwhile; None where the method ran on the CPU."""

    device: str
    """Where the method ran: classical ones alone run on the CPU."""

    precision: str
    """In which: classical methods in `fp32`, whatever was asked for."""

    error: str | None
    """Why the method failed."""

    def columns(self) -> dict[str, float]:
        """All figures by their names, as in `HIGHER_IS_BETTER`; NaN where there is none."""
        nan = float("nan")
        found = {} if self.scores is None else self.scores.summary()
        costs = {"seconds": self.seconds, "peak_memory_mb": self.peak_memory_mb}
        found |= {name: value for name, value in costs.items() if value is not None}
        return {name: found.get(name, nan) for name in HIGHER_IS_BETTER}


@dataclass(frozen=True)
class Comparison:
    """Several methods on one pair."""

    entries: tuple[Entry, ...]
    """In the order in which they ran."""

    resolution: str
    """`full`: against a reference; `reduced`: against the HSI itself, both images degraded."""

    note: str
    """What was held against what, a sentence for the user."""

    pair: Pair
    """With the imaging model that every method was given."""

    device: str
    """Where networks were computed."""

    precision: str
    """Theirs: `fp32`, `tf32`, `bf16` or `fp16`."""

    warnings: tuple[str, ...]
    """Sentences for the user."""

    def best(self) -> dict[str, tuple[str, ...]]:
        """For every column the names of the methods that are best in it; none where it is undefined for all."""
        found = {}
        for column, higher in HIGHER_IS_BETTER.items():
            values = {entry.name: entry.columns()[column] for entry in self.entries}
            known = [value for value in values.values() if not math.isnan(value)]
            top = (max(known) if higher else min(known)) if known else math.nan
            found[column] = tuple(name for name, value in values.items() if value == top)
        return found


@overload
def compare(
    pair: Pair | PairRequest,
    /,
    *,
    reference: PathLike | None = ...,
    methods: Sequence[str] | None = ...,
    weights: Sequence[str] = ...,
    compute: Compute | None = ...,
    seed: int = ...,
    csv: PathLike | None = ...,
    report: PathLike | None = ...,
    overwrite: bool = ...,
    progress: Progress = ...,
) -> Comparison: ...


@overload
def compare(
    hsi: PathLike,
    msi: PathLike,
    /,
    *,
    reference: PathLike | None = ...,
    methods: Sequence[str] | None = ...,
    weights: Sequence[str] = ...,
    compute: Compute | None = ...,
    seed: int = ...,
    csv: PathLike | None = ...,
    report: PathLike | None = ...,
    overwrite: bool = ...,
    progress: Progress = ...,
    **options: Unpack[PairOptions],
) -> Comparison: ...


def compare(
    pair: Pair | PairRequest | PathLike,
    /,
    *paths: PathLike,
    reference: PathLike | None = None,
    methods: Sequence[str] | None = None,
    weights: Sequence[str] = (),
    compute: Compute | None = None,
    seed: int = 0,
    csv: PathLike | None = None,
    report: PathLike | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
    **options: Unpack[PairOptions],
) -> Comparison:
    """Run several methods on one pair and score them alike.

    With a reference the pair is fused as `fuse` does it, into temporary files that are scored as `evaluate` does it.
    Without one the pair is degraded by its own ratio, its noise restored, and the HSI is the truth (Wald's protocol);
    this is done in memory, on the middle of the scene if it is large. A method that fails does not stop the others.

    Args:
        pair: An open pair, a `PairRequest`, or the paths of both scenes.
        paths: The MSI, if paths are given.
        reference: The truth on the grid of the fused image; it may reach beyond.
        methods: Names of methods; by default `CLASSICAL` and every network that has bundled weights.
        weights: Weights files, or names of bundled ones, to run beside the methods. A network that has no bundled
            weights runs on these only.
        compute: Device, precision and memory; classical methods run in float32 on the CPU whatever is asked for.
        seed: Of the noise that is restored, and of whatever a method draws at random.
        csv: Write the table to this file.
        report: Write a page with pictures, spectra and maps of all methods to this file; needs the `report` extra.
        overwrite: Replace existing files.
        progress: Observer of the work.
        options: Of a pair that is given by its paths: the fields of `PairRequest`.

    Raises:
        RequestError: The request cannot be served, or no method can serve it.
        WorkError: No method got to its end.
    """
    wanted, _ = requested(pair, paths, options, after=0)
    if csv is not None:
        check_target(csv, overwrite=overwrite)
    if report is not None:
        check_page(report, overwrite=overwrite)
        refuse_one_file({"csv": csv, "report": report})
    compute = compute or Compute()
    jobs = {name: Job(method, compute, seed=seed) for name, method in choose_entrants(methods, weights).items()}
    truth = None if reference is None else Scene.open(str(reference), screen=False)
    if truth is not None and isinstance(wanted, PairRequest):
        scenes = open_scenes(wanted, compute=compute, progress=progress)
        if not wanted.coregister:
            Reference.of_pair(scenes, truth)  # refused before anything is estimated
        found = Pair.of_scenes(scenes, wanted)
    else:
        found = opened(wanted, compute=compute, progress=progress)
    resolution: Resolution = ReducedResolution(found, seed) if truth is None else FullResolution(found, truth)
    parts = None
    if report is not None:
        parts = ReferenceParts(list(jobs), resolution.bands, resolution.size, more_pictures=2)
    entries, warnings = _run_all(jobs, resolution, progress, parts)
    comparison = Comparison(
        entries=entries,
        resolution=resolution.name,
        note=resolution.note,
        pair=found,
        device=compute.device,
        precision=compute.precision,
        warnings=tuple(dict.fromkeys((*found.warnings, *resolution.warnings, *warnings))),
    )
    if csv is not None:
        write_csv(csv, _table(comparison), overwrite=overwrite)
    if report is not None and parts is not None:
        write_page(report, _page(comparison, resolution, parts), overwrite=overwrite)
    return comparison


def _page(found: Comparison, resolution: Resolution, parts: ReferenceParts) -> Page:
    """The report."""
    scores = {entry.name: entry.scores for entry in found.entries if entry.scores is not None}
    best = found.best()
    rows = [
        (entry.name, *(figure(value, _DIGITS[column]) for column, value in entry.columns().items()))
        for entry in found.entries
    ]
    leading = {
        (row, 1 + list(HIGHER_IS_BETTER).index(column))
        for row, entry in enumerate(found.entries)
        for column in HIGHER_IS_BETTER
        if entry.name in best[column]
    }
    computed = f"Computed on {found.device} in {found.precision}. What is best in a column is bold."
    return page_of_comparison(
        found.pair,
        parts,
        resolution.inputs(parts.places, parts.edge),
        scores,
        Table("Methods", ("method", *_TITLES.values()), rows, computed, leading),
        note=found.note,
        truth=resolution.truth,
        plain="bicubic",
        failed=[entry.name for entry in found.entries if entry.scores is None],
        warnings=found.warnings,
    )


def choose_entrants(methods: Sequence[str] | None, weights: Sequence[str]) -> dict[str, ChosenMethod]:
    """The methods and weights to compare, by the names that they have in the table.

    Raises:
        RequestError: There is no such method, a network has no weights, or nothing is left to compare.
        WeightsError: Weights cannot be read.
    """
    bundled = {file.card.model for file in bundled_weights() if file.card.spectral == "subspace"}
    files = [(source, find_weights(source)) for source in dict.fromkeys(weights)]
    given = {file.card.model for _, file in files}
    if methods is None:
        networks = [name for name, entry in METHODS.items() if entry.network and name in bundled]
        methods = [*CLASSICAL, *networks, *((DEFAULT_METHOD,) if networks else ())]
    chosen: dict[str, ChosenMethod] = {}
    for name in methods:
        entry = METHODS.get(name)
        if entry is not None and entry.network and name in given - bundled:
            continue  # runs on the weights given
        chosen[name] = choose_method(name)
    for source, file in files:
        label = f"{file.card.model} ({file.name})"
        chosen[f"{file.card.model} ({source})" if label in chosen else label] = choose_method(file.card.model, source)
    if not chosen:
        raise RequestError("there is nothing to compare: name at least one method (`methods=gsa,cnmf`)")
    return chosen


def _run_all(
    jobs: Mapping[str, Job], resolution: Resolution, progress: Progress, parts: ReferenceParts | None
) -> tuple[tuple[Entry, ...], list[str]]:
    """Every method's line and sentences; a method that fails is a line, unless all of them do. `parts` take them in."""
    entries: list[Entry] = []
    errors: list[HsfuseError] = []
    warnings: list[str] = []
    for name, job in jobs.items():
        try:
            outcome = resolution.judge(name, job, progress, None if parts is None else parts.observer(name))
        except HsfuseError as error:
            errors.append(error)
            warnings.append(f"{name} failed: {error}")
            entries.append(_entry(name, job, error=str(error)))
        else:
            warnings += outcome.warnings
            entries.append(_entry(name, job, outcome))
    if len(errors) == len(entries):
        raise errors[0]
    return tuple(entries), warnings


def _entry(name: str, job: Job, outcome: Outcome | None = None, error: str | None = None) -> Entry:
    method = job.method
    return Entry(
        name=name,
        model=method.name,
        weights=None if method.weights is None else method.weights.name,
        scores=None if outcome is None else outcome.scores,
        seconds=None if outcome is None else outcome.cost.seconds,
        peak_memory_mb=None if outcome is None else outcome.cost.peak_memory_mb,
        peak_device_memory_mb=None if outcome is None else outcome.cost.peak_device_memory_mb,
        device=job.suited.device,
        precision=job.suited.precision,
        error=error,
    )


def _table(found: Comparison) -> list[Row]:
    """The rows of the CSV file."""
    return [
        {
            "method": entry.name,
            "model": entry.model,
            "weights": entry.weights,
            "resolution": found.resolution,
            **entry.columns(),
            "error": entry.error,
        }
        for entry in found.entries
    ]
