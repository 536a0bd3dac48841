"""`hsfuse evaluate`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from hsfuse.cli import options

if TYPE_CHECKING:
    from hsfuse.cli.console import Console
    from hsfuse.metrics import FullReferenceScores

_INPUT = "Input"
_UNITS = {"psnr": "dB", "sam": "°"}


@options.command("evaluate")
@options.option("--fused", required=True, metavar="F", help="Fused image.", group=_INPUT)
@options.option("--reference", required=True, metavar="R", help="The truth, on the same grid.", group=_INPUT)
@options.option("--ratio", type=float, metavar="N",
                help="HSI over MSI pixel, for ERGAS.  [default: as the fused image says]", group=_INPUT)  # fmt: skip
def evaluate(console: Console, fused: str, reference: str, ratio: float | None) -> None:
    """Score a fused image against its reference: PSNR, SAM, ERGAS, RMSE, CC, UIQI and SSIM, also per band.

    \b
    Example:
      hsfuse evaluate --fused fused.tif --reference reference.tif
    """
    from hsfuse.commands.evaluate import evaluate as run  # noqa: PLC0415 (imports rasterio)

    result = run(fused, reference, ratio=ratio)
    console.warnings(result.warnings)
    scores = result.scores
    console.result(
        {
            "metrics": {name: _number(value) for name, value in scores.summary().items()},
            "bands": _bands(scores),
            "pixels": scores.pixels,
            "zero_pixels": scores.zero_pixels,
            "warnings": list(result.warnings),
        },
        lambda: _table(scores),
    )


def _number(value: float) -> float | None:
    """A number as JSON knows it: what is undefined or infinite becomes null."""
    return float(value) if math.isfinite(value) else None


def _bands(scores: FullReferenceScores) -> list[dict[str, Any]]:
    wavelength = scores.wavelength_nm
    columns = scores.per_band()
    return [
        {"wavelength_nm": None if wavelength is None else _number(wavelength[band])}
        | {name: _number(values[band]) for name, values in columns.items()}
        for band in range(len(scores.band_psnr))
    ]


def _table(scores: FullReferenceScores) -> None:
    from rich.console import Console as Terminal  # noqa: PLC0415 (only for people)
    from rich.table import Table  # noqa: PLC0415

    table = Table("metric", "value")
    for name, value in scores.summary().items():
        table.add_row(name.upper(), f"{value:.4f} {_UNITS.get(name, '')}".rstrip())
    Terminal().print(table)
    click.echo(f"{scores.pixels} pixels, {scores.zero_pixels} of them all zero and left out of SAM")
