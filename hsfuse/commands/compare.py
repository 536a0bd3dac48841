"""`hsfuse compare`: several methods on one pair, with the same inputs and the same imaging model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hsfuse.commands.fuse import choose_compute
from hsfuse.errors import HsfuseError, RequestError
from hsfuse.evaluation.methods import FullTrial, Job, Outcome, ReducedTrial, Trial
from hsfuse.evaluation.reference import Reference
from hsfuse.fusion.methods import METHODS, ChosenMethod, choose_method
from hsfuse.models.weights import bundled_weights, find_weights
from hsfuse.pairs.pair import Pair, image_pair, open_pair
from hsfuse.report.csv_table import check_csv_target, write_csv
from hsfuse.scenes import Scene

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from hsfuse.fusion.engine import Progress
    from hsfuse.metrics import FullReferenceScores
    from hsfuse.report.csv_table import Row
    from hsfuse.scenes import PixelWindow

CLASSICAL = ("bicubic", "gsa", "mtf-glp", "mtf-glp-subspace", "cnmf", "hysure")
"""What is compared when nothing else is asked for, beside every network that has bundled weights."""

HIGHER_IS_BETTER = {
    "psnr": True, "sam": False, "ergas": False, "rmse": False, "cc": True, "uiqi": True, "ssim": True,
    "seconds": False, "peak_memory_mb": False,
}  # fmt: skip
"""Every column of the comparison."""


@dataclass(frozen=True)
class Entry:
    """What one method made of the pair."""

    name: str
    """The model; with the name of the weights where they are not its bundled ones."""

    model: str
    """As of `--model`."""

    weights: str | None
    """Name of the weights file; None for classical methods."""

    scores: FullReferenceScores | None
    """None where the method failed."""

    seconds: float | None
    """To fit and to fuse, and with a reference to write the COG; None where the method failed."""

    peak_memory_mb: float | None
    """Largest resident size of the process meanwhile, with what it held before; None where it cannot be had."""

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

    imaged: Pair
    """The pair and the imaging model that every method was given."""

    device: str
    """Where it was computed."""

    precision: str
    """`fp32`, `bf16` or `fp16`."""

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


def compare(
    hsi: str | os.PathLike[str],
    msi: str | os.PathLike[str],
    *,
    reference: str | os.PathLike[str] | None = None,
    methods: Sequence[str] | None = None,
    weights: Sequence[str] = (),
    srf: str | None = None,
    psf: str | None = None,
    hsi_bands: str | None = None,
    msi_bands: str | None = None,
    window: PixelWindow | None = None,
    ratio: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    memory: int | None = None,
    allow_shift: bool = False,
    coregister: bool = False,
    seed: int = 0,
    csv: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Run several methods on one pair and score them alike.

    With a reference the pair is fused as `fuse` does it, into temporary files that are scored as `evaluate` does it.
    Without one the pair is degraded by its own ratio and the HSI is the truth (Wald's protocol); this is done in
    memory, on the middle of the scene if it is large. A method that fails does not stop the others.

    Args:
        hsi: The hyperspectral scene, anything that GDAL opens.
        msi: The multispectral scene.
        reference: The truth on the grid of the fused image; it may reach beyond.
        methods: Names of `--model`; by default `CLASSICAL` and every network that has bundled weights.
        weights: Weights files, or names of bundled ones, to run beside the methods. A network that has no bundled
            weights runs on these only.
        srf: As of `fuse`; loaded or estimated once, and handed to every method.
        psf: Likewise.
        hsi_bands: As of `fuse`.
        msi_bands: Likewise.
        window: Likewise.
        ratio: Likewise.
        device: Likewise.
        precision: Likewise.
        memory: Likewise.
        allow_shift: Likewise.
        coregister: Likewise.
        seed: Of whatever a method draws at random.
        csv: Write the table to this file.
        overwrite: Replace an existing file.
        progress: Observer of the work.

    Raises:
        RequestError: The request cannot be served, or no method can serve it.
        WorkError: No method got to its end.
    """
    if csv is not None:
        check_csv_target(csv, overwrite=overwrite)
    compute, precision = choose_compute(device, precision)
    chosen = choose_entrants(methods, weights)
    pair = open_pair(hsi, msi, hsi_bands=hsi_bands, msi_bands=msi_bands, window=window, ratio=ratio)
    truth = None if reference is None else Scene.open(str(reference))
    if truth is not None:
        Reference.of_pair(pair, truth)  # refused before anything is estimated
    imaged = image_pair(pair, srf=srf, psf=psf, allow_shift=allow_shift, coregister=coregister)
    job = Job(compute, precision, memory, seed)
    trial: Trial = ReducedTrial(imaged) if truth is None else FullTrial(imaged, truth)
    entries, warnings = _run_all(chosen, trial, job, progress)
    found = Comparison(
        entries,
        trial.resolution,
        trial.note,
        imaged,
        str(compute.device),
        precision,
        tuple(dict.fromkeys((*imaged.warnings, *trial.warnings, *warnings))),
    )
    if csv is not None:
        write_csv(csv, _table(found))
    return found


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
        methods = [*CLASSICAL, *(name for name, entry in METHODS.items() if entry.network and name in bundled)]
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
        raise RequestError("there is nothing to compare: name at least one method (--methods gsa,cnmf)")
    return chosen


def _run_all(
    chosen: Mapping[str, ChosenMethod], trial: Trial, job: Job, progress: Progress | None
) -> tuple[tuple[Entry, ...], list[str]]:
    """Every method's line and sentences; a method that fails is a line, unless all of them do."""
    entries: list[Entry] = []
    errors: list[HsfuseError] = []
    warnings: list[str] = []
    for name, method in chosen.items():
        try:
            outcome = trial.run(name, method, job, progress)
        except HsfuseError as error:
            errors.append(error)
            warnings.append(f"{name} failed: {error}")
            entries.append(_entry(name, method, error=str(error)))
        else:
            warnings += outcome.warnings
            entries.append(_entry(name, method, outcome))
    if len(errors) == len(entries):
        raise errors[0]
    return tuple(entries), warnings


def _entry(name: str, method: ChosenMethod, outcome: Outcome | None = None, error: str | None = None) -> Entry:
    return Entry(
        name,
        method.name,
        None if method.weights is None else method.weights.name,
        None if outcome is None else outcome.scores,
        None if outcome is None else outcome.cost.seconds,
        None if outcome is None else outcome.cost.peak_memory_mb,
        error,
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
