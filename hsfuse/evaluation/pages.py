"""Reports of results, put together out of what was gathered and what was found."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hsfuse.evaluation import findings
from hsfuse.evaluation.facts import (
    asked_for,
    band_curves,
    figure,
    imaging_of,
    metrics_table,
    pair_facts,
    pixels_of,
    two_images,
)
from hsfuse.evaluation.parts import InputParts, PairParts, noise_of
from hsfuse.report.content import Curves, Page, SpectraAt, Table
from hsfuse.report.gathering import Places, picture_edge
from hsfuse.report.page import write_page
from hsfuse.scenes import Scene

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from hsfuse.evaluation.consistency import FusedViews
    from hsfuse.evaluation.parts import ReferenceParts
    from hsfuse.metrics import FullReferenceScores, NoReferenceScores
    from hsfuse.pairs.pair import Pair, PathLike

_NO_REFERENCE = {
    "consistency_hsi": ("consistency with the HSI", "dB"),
    "consistency_msi": ("consistency with the MSI", "dB"),
    "d_lambda": ("D_λ (0 is best)", ""),
    "d_s": ("D_S (0 is best)", ""),
    "qnr": ("QNR (1 is best)", ""),
    "hqnr": ("HQNR (1 is best)", ""),
}
_FULL_REFERENCE = {
    "psnr": ("PSNR", "dB"), "sam": ("SAM", "°"), "ergas": ("ERGAS (0 is best)", ""),
    "rmse": ("RMSE", "units of the file"), "cc": ("CC (1 is best)", ""), "uiqi": ("UIQI (1 is best)", ""),
    "ssim": ("SSIM (1 is best)", ""),
}  # fmt: skip
_NOISE_FAVOURS = (
    "Consistency with the HSI, QNR and HQNR favour results that keep the HSI's noise; how the difference compares with "
    "that noise is drawn above."
)


def page_of_pair(
    title: str,
    parts: PairParts,
    scores: NoReferenceScores,
    *,
    made: Mapping[str, str] | None = None,
    warnings: Sequence[str] = (),
) -> Page:
    """A fused image held against its own pair.

    Args:
        title: Of the page.
        parts: The images, all of them taken in.
        scores: Of the fused image.
        made: How it was made, by headings.
        warnings: Sentences for the user.
    """
    views = parts.views
    pair, noise = views.pair, noise_of(views.pair)
    return Page(
        title=title,
        lead=_lead(pair, views.fused.path, parts.size, pixels_of(views.fused.grid)),
        findings=findings.of_pair(parts, noise),
        measure=findings.WITHOUT_TRUTH,
        tables=[
            metrics_table(scores.summary(), _NO_REFERENCE, _NOISE_FAVOURS),
            Table(
                "Consistency with the MSI",
                ("band", "PSNR (dB)"),
                [
                    (name, figure(value, ".2f"))
                    for name, value in zip(pair.imaging.srf.msi_bands, scores.band_consistency_msi, strict=True)
                ],
            ),
            Table("Made of", ("", ""), [*pair_facts(pair), *(made or {}).items()]),
            asked_for(pair.request),
        ],
        warnings=warnings,
        size=parts.size,
        pictures=parts.pictures(),
        swiped=("HSI", "result"),
        spectra=parts.spectra(),
        maps=parts.maps(),
        curves=_against_noise(parts, noise),
        **imaging_of(pair),
    )


def judge_pair(
    views: FusedViews,
    report: PathLike | None = None,
    *,
    title: str = "",
    uncertainty: PathLike | None = None,
    made: Mapping[str, str] | None = None,
    warnings: Sequence[str] = (),
    overwrite: bool = False,
) -> tuple[NoReferenceScores, tuple[str, ...]]:
    """The scores of a fused image held against its own pair, and what the user should know about them.

    Args:
        views: The three images.
        report: A page to write of it.
        title: Of the page.
        uncertainty: The standard deviations, on the fused image's grid.
        made: How it was made, by headings.
        warnings: Sentences for the user that the page has besides.
        overwrite: Replace an existing page.

    Raises:
        RequestError: The three images have no valid pixel in common, or the page cannot be written.
        WorkError: A file breaks off, or the disk is full.
    """
    if report is None:
        return views.scores()
    parts = PairParts(views, None if uncertainty is None else Scene.open(str(uncertainty), screen=False))
    scores, said = views.scores(parts.add)
    told = tuple(dict.fromkeys((*warnings, *views.warnings, *said)))
    write_page(report, page_of_pair(title, parts, scores, made=made, warnings=told), overwrite=overwrite)
    return scores, said


def page_of_reference(
    title: str,
    parts: ReferenceParts,
    scores: FullReferenceScores,
    *,
    lead: str,
    warnings: Sequence[str] = (),
) -> Page:
    """A fused image held against the truth; what the arguments are is as of `page_of_pair`."""
    (name,) = parts.fused
    pixels = parts.size[0] * parts.size[1]
    bands = Table(
        "Bands",
        ("band" if scores.wavelength_nm is None else "wavelength (nm)", *_per_band_columns(scores)),
        _per_band(scores),
    )
    return Page(
        title=title,
        lead=lead,
        findings=findings.of_reference(scores, 1 - scores.pixels / pixels),
        measure=findings.WITH_TRUTH,
        first=metrics_table(scores.summary(), _FULL_REFERENCE),
        tables=[bands],
        warnings=warnings,
        size=parts.size,
        pictures=parts.pictures("reference"),
        swiped=(name, "reference"),
        spectra=parts.spectra("reference"),
        maps=parts.maps(off=True),
        curves=[
            band_curves("PSNR of each band", "PSNR (dB)", {name: scores.band_psnr}, parts.bands.wavelength_nm),
            band_curves(
                "Error of each band", "RMSE (% of the band's mean)", {name: 100 * scores.band_relative_rmse},
                parts.bands.wavelength_nm,
            ),
        ],
    )  # fmt: skip


def page_of_comparison(
    pair: Pair,
    parts: ReferenceParts,
    inputs: InputParts,
    scores: Mapping[str, FullReferenceScores],
    table: Table,
    *,
    note: str,
    truth: str,
    plain: str,
    failed: list[str],
    warnings: Sequence[str] = (),
) -> Page:
    """Several methods on one pair, held against the truth.

    Args:
        pair: The two scenes.
        parts: What they made of it, and the truth.
        inputs: Both images, as the methods saw them.
        scores: By method.
        table: Of all figures.
        note: What was held against what.
        truth: What the truth is called.
        plain: The method that only interpolates.
        failed: Methods without a result.
        warnings: Sentences for the user.
    """
    nm = parts.bands.wavelength_nm
    psnr = {name: score.psnr for name, score in scores.items()}
    best = max(psnr, key=lambda name: -math.inf if math.isnan(psnr[name]) else psnr[name])
    return Page(
        title=f"Methods compared: {Path(pair.scenes.hsi.path).name} with {Path(pair.scenes.msi.path).name}",
        lead=f"{two_images(pair)}; {note}.",
        findings=findings.of_comparison(psnr, plain, failed),
        measure=findings.WITH_TRUTH,
        question="Which method serves this pair?",
        first=table,
        tables=[Table("Made of", ("", ""), pair_facts(pair)), asked_for(pair.request)],
        warnings=warnings,
        size=parts.size,
        pictures=[*inputs.pictures(), *parts.pictures(truth)],
        swiped=(best, truth),
        spectra=parts.spectra(truth, {"HSI": inputs.hsi.spectra}),
        maps=parts.maps(off=False),
        curves=[
            band_curves("PSNR of each band", "PSNR (dB)", {name: each.band_psnr for name, each in scores.items()}, nm)
        ],
        **imaging_of(pair),
    )


def page_of_training(
    title: str,
    pair: Pair,
    others: int,
    history: Sequence[Mapping[str, Any]],
    validation: Mapping[str, Mapping[str, float]],
    *,
    made: Mapping[str, str],
    warnings: Sequence[str] = (),
) -> Page:
    """A training: its course, and what it came to.

    Args:
        title: Of the page.
        pair: The first of those that were trained on.
        others: How many there were beside it.
        history: A row each validation: `step`, `loss`, `psnr`, `sam`, `ergas`.
        validation: PSNR, SAM and ERGAS by method.
        made: How it was trained, by headings.
        warnings: Sentences for the user.
    """
    size = pair.window.width * pair.ratio, pair.window.height * pair.ratio
    places = Places.of(*size, len(pair.hsi_bands))
    inputs = InputParts(pair, places, picture_edge(4))
    inputs.read()
    psnr = {name: figures["psnr"] for name, figures in validation.items()}
    more = f" and {others} more pair{'s' if others > 1 else ''}" if others else ""
    rows = [
        (
            name,
            *(figure(each[metric], digits) for metric, digits in (("psnr", ".2f"), ("sam", ".3f"), ("ergas", ".3f"))),
        )
        for name, each in validation.items()
    ]
    shown = " Pictures and imaging model are the first pair's." if others else ""
    return Page(
        title=title,
        lead=f"Trained by Wald's protocol on {two_images(pair)}{more}.{shown}",
        findings=findings.of_training(psnr),
        question="Did training pay?",
        first=Table("On what was held back", ("method", "PSNR (dB)", "SAM (°)", "ERGAS"), rows),
        measure="Judged at reduced resolution, on a part of each scene that the training did not see.",
        tables=[
            Table("Training", ("", ""), list(made.items())),
            Table("Trained on", ("", ""), pair_facts(pair)),
            asked_for(pair.request),
        ],
        warnings=warnings,
        size=size,
        pictures=inputs.pictures(),
        spectra=SpectraAt(places.columns, places.rows, pair.hsi_bands.wavelength_nm, {"HSI": inputs.hsi.spectra}),
        curves=_course(history, psnr),
        **imaging_of(pair),
    )


def _course(history: Sequence[Mapping[str, Any]], psnr: Mapping[str, float]) -> list[Curves]:
    steps = np.array([row["step"] for row in history], dtype=np.float64)
    levels = {name: value for name, value in psnr.items() if name not in {"trained", "before training"}}
    found = [
        Curves(
            "PSNR on what was held back",
            "step (number)",
            "PSNR (dB)",
            steps,
            {"network": _column(history, "psnr")},
            levels,
        ),
        Curves(
            "Spectral angle on what was held back",
            "step (number)",
            "SAM (°)",
            steps,
            {"network": _column(history, "sam")},
        ),
    ]
    if any(row["loss"] is not None for row in history):
        loss = {"loss": _column(history, "loss")}
        found.append(Curves("Loss", "step (number)", "loss (no unit)", steps, loss, logarithmic=True))
    return found


def _column(history: Sequence[Mapping[str, Any]], name: str) -> NDArray[np.float64]:
    return np.array([math.nan if row[name] is None else row[name] for row in history], dtype=np.float64)


def _against_noise(parts: PairParts, noise: NDArray[np.float64] | None) -> list[Curves]:
    lines = {"result, blurred, against the HSI": parts.off_hsi}
    if noise is not None:
        lines["noise of the HSI"] = noise
    title = "What the result leaves of the HSI" + ("" if noise is None else ", beside the HSI's noise")
    label = "RMS (units of the HSI's file)"
    return [band_curves(title, label, lines, parts.views.pair.hsi_bands.wavelength_nm)]


def _per_band_columns(scores: FullReferenceScores) -> list[str]:
    units = {"psnr": "PSNR (dB)", "rmse": "RMSE (units of the file)"}
    return [units.get(name, name.upper()) for name in scores.per_band()]


def _per_band(scores: FullReferenceScores) -> list[tuple[str, ...]]:
    columns = scores.per_band()
    nm = scores.wavelength_nm
    return [
        (str(band + 1) if nm is None else f"{nm[band]:.1f}", *(figure(values[band]) for values in columns.values()))
        for band in range(len(scores.band_psnr))
    ]


def _lead(pair: Pair, fused: str, size: tuple[int, int], pixels: str) -> str:
    return (
        f"{Path(fused).name}, made of {two_images(pair)}: {size[0]} × {size[1]} {pixels}, "
        f"{len(pair.hsi_bands)} bands, ratio {pair.ratio}."
    )
