"""`hsfuse evaluate`: how good a fused image is."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar, overload

from hsfuse.errors import RequestError
from hsfuse.evaluation.consistency import FusedViews
from hsfuse.evaluation.reference import Reference
from hsfuse.metrics import FullReferenceScores, NoReference, NoReferenceScores
from hsfuse.report.csv_table import check_csv_target, write_csv
from hsfuse.scenes import Scene

if TYPE_CHECKING:
    import os

    import numpy as np
    from numpy.typing import NDArray

    Path = str | os.PathLike[str]
    BandRow = dict[str, float | str | None]

Scores = TypeVar("Scores", FullReferenceScores, NoReferenceScores)

_ONE_OF_BOTH = "pass either the reference (--reference) or the two images that were fused (--hsi and --msi)"


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
    fused: Path, reference: Path, *, ratio: float | None = None, csv: Path | None = None, overwrite: bool = False
) -> Evaluation[FullReferenceScores]: ...


@overload
def evaluate(
    fused: Path,
    reference: None = None,
    *,
    hsi: Path,
    msi: Path,
    ratio: float | None = None,
    srf: str | None = None,
    psf: str | None = None,
    hsi_bands: str | None = None,
    msi_bands: str | None = None,
    allow_shift: bool = False,
    coregister: bool = False,
    csv: Path | None = None,
    overwrite: bool = False,
) -> Evaluation[NoReferenceScores]: ...


def evaluate(
    fused: Path,
    reference: Path | None = None,
    *,
    hsi: Path | None = None,
    msi: Path | None = None,
    ratio: float | None = None,
    srf: str | None = None,
    psf: str | None = None,
    hsi_bands: str | None = None,
    msi_bands: str | None = None,
    allow_shift: bool = False,
    coregister: bool = False,
    csv: Path | None = None,
    overwrite: bool = False,
) -> Evaluation[FullReferenceScores] | Evaluation[NoReferenceScores]:
    """Score a fused image against the image that it should be, or against the two that it was made of.

    Bands are matched by wavelength where both images know theirs, else by order. Streamed: no whole image is held.

    Args:
        fused: The fused image.
        reference: The truth, on the same grid. Or else:
        hsi: The hyperspectral scene that was fused; the fused image may show a part of it.
        msi: The multispectral scene that was fused.
        ratio: HSI pixel over MSI pixel; by default what the fused image says, or what is measured on the pair.
        srf: Of the pair, as of `fuse`.
        psf: Likewise.
        hsi_bands: Likewise.
        msi_bands: Likewise.
        allow_shift: Likewise.
        coregister: Likewise.
        csv: Write the metrics per band to this file.
        overwrite: Replace an existing file.

    Raises:
        RequestError: Neither a reference nor a pair, or both, was given; images cannot be read, grids or bands do not
            match, or the table cannot be written.
    """
    if csv is not None:
        check_csv_target(csv, overwrite=overwrite)
    found: Evaluation[FullReferenceScores] | Evaluation[NoReferenceScores]
    if reference is not None and hsi is None and msi is None:
        pair_options = {"srf": srf, "psf": psf, "hsi_bands": hsi_bands, "msi_bands": msi_bands}
        _refuse([name for name, value in pair_options.items() if value is not None])
        found = _with_reference(fused, reference, ratio)
    elif reference is None and hsi is not None and msi is not None:
        views = FusedViews.open(
            fused,
            hsi,
            msi,
            srf=srf,
            psf=psf,
            hsi_bands=hsi_bands,
            msi_bands=msi_bands,
            ratio=_whole(ratio),
            allow_shift=allow_shift,
            coregister=coregister,
        )
        found = _without_reference(views)
    else:
        raise RequestError(_not_one(reference is not None, hsi is not None, msi is not None))
    if csv is not None:
        write_csv(csv, _table(found))
    return found


def _with_reference(fused: Path, reference: Path, ratio: float | None) -> Evaluation[FullReferenceScores]:
    ours, truth = Scene.open(str(fused)), Scene.open(str(reference))
    matched = Reference.of_image(ours, truth)
    warnings = list(matched.match.warnings)
    if ratio is None:
        ratio = _ratio_of(ours, warnings)
    scores, more = matched.score(ours, ratio)
    rows = _rows(matched.match.fused, scores.wavelength_nm, scores.per_band())
    return Evaluation(scores, rows, (), (*warnings, *more))


def _without_reference(views: FusedViews) -> Evaluation[NoReferenceScores]:
    pair = views.imaged.pair
    metric = NoReference(pair.ratio)
    for view in views.tiles(metric.block):
        metric.update(view)
    scores = metric.result()
    warnings = list(views.warnings)
    if not scores.blocks:
        warnings.append(
            f"no block of {metric.block}×{metric.block} HSI pixels is without a hole: D_λ, D_S, QNR and HQNR are "
            "undefined"
        )
    wavelength = pair.hsi.bands.select(pair.hsi_bands).wavelength_nm
    msi = pair.msi.bands.select(pair.msi_bands)
    bands = _rows(views.fused_bands, wavelength, {"consistency_hsi": scores.band_consistency_hsi})
    msi_bands = _rows(
        pair.msi_bands,
        msi.wavelength_nm,
        {"consistency_msi": scores.band_consistency_msi},
        views.imaged.imaging.srf.msi_bands,
    )
    return Evaluation(scores, bands, msi_bands, tuple(warnings))


def _not_one(reference: bool, hsi: bool, msi: bool) -> str:
    """What is wrong where not exactly one of a reference and a whole pair is given."""
    if reference:
        return f"a reference and an image of the pair were both given: {_ONE_OF_BOTH}"
    if hsi or msi:
        return f"the {'MSI' if hsi else 'HSI'} is missing: {_ONE_OF_BOTH}"
    return f"there is nothing to hold the fused image against: {_ONE_OF_BOTH}"


def _refuse(given: list[str]) -> None:
    if given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise RequestError(f"{options} would say nothing about a reference: leave it out, or {_ONE_OF_BOTH}")


def _whole(ratio: float | None) -> int | None:
    if ratio is not None and (not float(ratio).is_integer() or ratio < 2):
        raise RequestError(f"the ratio of a pair is a whole number from 2 on, got {ratio:g}")
    return None if ratio is None else int(ratio)


def _ratio_of(fused: Scene, warnings: list[str]) -> float:
    with contextlib.suppress(KeyError, ValueError):
        return float(fused.tags["HSFUSE_RATIO"])
    warnings.append("the ratio is not known, ERGAS is for ratio 1: pass --ratio")
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
