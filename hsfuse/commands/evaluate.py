"""`hsfuse evaluate`: how good a fused image is."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar, overload

from hsfuse.errors import RequestError
from hsfuse.evaluation.consistency import FusedViews
from hsfuse.evaluation.pages import judge_pair, page_of_reference
from hsfuse.evaluation.parts import ReferenceParts
from hsfuse.evaluation.reference import Reference
from hsfuse.files import check_target, refuse_one_file
from hsfuse.metrics import FullReferenceScores, NoReferenceScores
from hsfuse.progress import SILENT
from hsfuse.report.csv_table import write_csv
from hsfuse.report.page import check_page, write_page
from hsfuse.scenes import Scene

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hsfuse.pairs.pair import Pair, PairRequest, PathLike
    from hsfuse.progress import Progress

    BandRow = dict[str, float | str | None]

Scores = TypeVar("Scores", FullReferenceScores, NoReferenceScores)


@dataclass(frozen=True)
class Evaluation(Generic[Scores]):
    """How good a fused image is."""

    scores: Scores
    """Of the whole image and per band."""

    bands: tuple[BandRow, ...]
    """One row a band: `band` of the fused file (1-based), `wavelength_nm` (None where not known) and its metrics."""

    msi_bands: tuple[BandRow, ...]
    """Without a reference, one row an MSI band: `band` (1-based), `name`, `wavelength_nm` and `consistency_msi`."""

    warnings: tuple[str, ...]
    """Sentences for the user."""


@overload
def evaluate(
    fused: PathLike,
    reference: PathLike,
    /,
    *,
    ratio: float | None = ...,
    csv: PathLike | None = ...,
    report: PathLike | None = ...,
    overwrite: bool = ...,
) -> Evaluation[FullReferenceScores]: ...


@overload
def evaluate(
    fused: PathLike,
    /,
    *,
    pair: Pair | PairRequest,
    csv: PathLike | None = ...,
    report: PathLike | None = ...,
    overwrite: bool = ...,
    progress: Progress = ...,
) -> Evaluation[NoReferenceScores]: ...


def evaluate(
    fused: PathLike,
    reference: PathLike | None = None,
    /,
    *,
    pair: Pair | PairRequest | None = None,
    ratio: float | None = None,
    csv: PathLike | None = None,
    report: PathLike | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Evaluation[FullReferenceScores] | Evaluation[NoReferenceScores]:
    """Score a fused image against the image that it should be, or against the two that it was made of.

    Bands are matched by wavelength where both images know theirs, else by order. Streamed: no whole image is held.

    Args:
        fused: The fused image.
        reference: The truth, on the same grid. Or else:
        pair: What was fused; the fused image may show a part of it.
        ratio: HSI pixel over MSI pixel, for ERGAS; by default what the fused image says. A pair has its own.
        csv: Write the metrics per band to this file.
        report: Write a page with pictures, spectra, maps and metrics to this file; needs the `report` extra.
        overwrite: Replace existing files.
        progress: Observer of the sharpening, where the pair has several MSIs.

    Raises:
        RequestError: Neither a reference nor a pair, or both, was given; images cannot be read, grids or bands do not
            match, or the table or the report cannot be written.
    """
    if csv is not None:
        check_target(csv, overwrite=overwrite)
    if report is not None:
        check_page(report, overwrite=overwrite)
        refuse_one_file({"csv": csv, "report": report})
    if (reference is None) == (pair is None):
        given = "nothing to hold it against was" if reference is None else "a reference and a pair were both"
        raise RequestError(f"{fused}: {given} given: give either the reference or the pair")
    found: Evaluation[FullReferenceScores] | Evaluation[NoReferenceScores]
    if reference is not None:
        found = _with_reference(fused, reference, ratio, report, overwrite=overwrite)
    else:
        assert pair is not None
        found = _without_reference(FusedViews.open(fused, pair, progress=progress), report, overwrite=overwrite)
    if csv is not None:
        write_csv(csv, _table(found), overwrite=overwrite)
    return found


def _with_reference(
    fused: PathLike, reference: PathLike, ratio: float | None, report: PathLike | None, *, overwrite: bool
) -> Evaluation[FullReferenceScores]:
    ours, truth = (Scene.open(str(path), screen=False) for path in (fused, reference))
    matched = Reference.of_image(ours, truth)
    warnings = list(matched.warnings)
    if ratio is None:
        ratio = _ratio_of(ours, warnings)
    parts = None
    if report is not None:
        area, bands = matched.area(ours), truth.bands.select(matched.match.other)
        parts = ReferenceParts(["fused"], bands, (area.width, area.height))
    scores, more = matched.score(ours, ratio, seen=None if parts is None else parts.observer("fused"))
    rows = _rows(matched.match.fused, scores.wavelength_nm, scores.per_band())
    found = Evaluation(scores, rows, (), (*warnings, *more))
    if report is not None and parts is not None:
        names = Path(ours.path).name, Path(truth.path).name
        page = page_of_reference(
            f"Evaluated: {names[0]}", parts, scores, warnings=found.warnings,
            lead=f"{names[0]} held against the reference {names[1]}: {parts.size[0]} × {parts.size[1]} pixels, "
            f"{len(rows)} bands, ratio {ratio:g} (of ERGAS).",
        )  # fmt: skip
        write_page(report, page, overwrite=overwrite)
    return found


def _without_reference(views: FusedViews, report: PathLike | None, *, overwrite: bool) -> Evaluation[NoReferenceScores]:
    pair = views.pair
    title = f"Evaluated: {Path(views.fused.path).name}"
    scores, said = judge_pair(views, report, title=title, overwrite=overwrite)
    warnings = [*views.warnings, *said]
    bands = _rows(views.fused_bands, pair.hsi_bands.wavelength_nm, {"consistency_hsi": scores.band_consistency_hsi})
    msi_bands = _rows(
        pair.scenes.msi_bands,
        pair.msi_bands.wavelength_nm,
        {"consistency_msi": scores.band_consistency_msi},
        pair.imaging.srf.msi_bands,
    )
    return Evaluation(scores, bands, msi_bands, tuple(warnings))


def _ratio_of(fused: Scene, warnings: list[str]) -> float:
    with contextlib.suppress(KeyError, ValueError):
        return float(fused.tags["HSFUSE_RATIO"])
    warnings.append("the ratio is not known, ERGAS is for ratio 1: pass `ratio`")
    return 1.0


def _rows(
    bands: tuple[int, ...],
    wavelength_nm: NDArray[np.float64] | None,
    columns: dict[str, NDArray[np.float64]],
    names: tuple[str, ...] | None = None,
) -> tuple[BandRow, ...]:
    rows = []
    for index, band in enumerate(bands):
        row: BandRow = {"band": band + 1}
        if names is not None:
            row["name"] = names[index]
        row["wavelength_nm"] = None if wavelength_nm is None else float(wavelength_nm[index])
        rows.append(row | {name: float(values[index]) for name, values in columns.items()})
    return tuple(rows)


def _table(found: Evaluation[FullReferenceScores] | Evaluation[NoReferenceScores]) -> list[BandRow]:
    """The rows of the CSV file; without a reference both images' bands, told apart by the first column."""
    if not found.msi_bands:
        return list(found.bands)
    images = {"hsi": found.bands, "msi": found.msi_bands}
    return [_row_of(image, row) for image, rows in images.items() for row in rows]


def _row_of(image: str, row: BandRow) -> BandRow:
    return {"image": image, **row}
