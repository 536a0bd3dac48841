"""`hsfuse compare`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hsfuse.cli import options
from hsfuse.cli.console import infinite
from hsfuse.cli.words import figure, wide_terminal

if TYPE_CHECKING:
    from hsfuse.cli.console import Console
    from hsfuse.commands.compare import Comparison
    from hsfuse.pairs.pair import PairRequest

_INPUT, _METHODS, _OUTPUT = "Input", "Methods", "Output"
_COLUMNS = {
    "psnr": ("PSNR dB", ".2f"), "sam": ("SAM °", ".3f"), "ergas": ("ERGAS", ".3f"), "rmse": ("RMSE", ".4g"),
    "cc": ("CC", ".4f"), "uiqi": ("UIQI", ".4f"), "ssim": ("SSIM", ".4f"), "seconds": ("s", ".1f"),
    "peak_memory_mb": ("peak MB", ".0f"),
}  # fmt: skip


def _split(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> list[str] | None:
    """Names out of `a,b` and of repeated options."""
    names = [name.strip() for text in value for name in text.split(",") if name.strip()]
    if value and not names:
        raise click.BadParameter("name at least one method, such as gsa,cnmf", ctx, param)
    return names or None


@options.command("compare")
@options.pair
@options.option("--reference", metavar="R", group=_INPUT,
                help="The truth on the fused image's grid.  [default: the HSI, at reduced resolution]")  # fmt: skip
@options.option("--methods", "--method", multiple=True, callback=_split, metavar="LIST", show_default=False,
                help="Models as of fuse: gsa,cnmf; repeatable.  [default: bicubic, gsa, mtf-glp, mtf-glp-subspace, "
                "cnmf, hysure, bayes, the networks with bundled weights and stack]", group=_METHODS)  # fmt: skip
@options.option("--weights", multiple=True, metavar="FILE", show_default=False,
                help="Weights file, or a bundled one's name, to compare too; repeatable.",
                group=_METHODS)  # fmt: skip
@options.compute
@options.seed
@options.option("--csv", metavar="FILE", help="Write the table to a CSV file.", group=_OUTPUT)
@options.report
@options.overwrite
def compare(console: Console, pair: PairRequest, **choices: Any) -> None:
    """Run several methods on one pair and show quality, seconds and peak memory of each.

    All get the same pair and the same imaging model. Without a reference they are compared at reduced resolution:
    both images are degraded by their ratio, and the HSI itself is the truth.

    \b
    Example:
      hsfuse compare --hsi prisma.tif --msi s2.tif --methods gsa,cnmf,mgdunlss
    """
    from hsfuse.commands.compare import compare as run  # noqa: PLC0415 (imports torch)

    result = run(pair, progress=console.progress(), **choices)
    console.warnings(result.warnings)
    console.result(_content(result), lambda: _print(result))


def _content(result: Comparison) -> dict[str, Any]:
    scored = [entry.scores for entry in result.entries if entry.scores is not None]
    return {
        "methods": [
            {
                "name": entry.name,
                "model": entry.model,
                "weights": entry.weights,
                "metrics": None if entry.scores is None else entry.scores.summary(),
                "infinite": [] if entry.scores is None else infinite(entry.scores.summary()),
                "seconds": entry.seconds,
                "peak_memory_mb": entry.peak_memory_mb,
                "peak_device_memory_mb": entry.peak_device_memory_mb,
                "device": entry.device,
                "precision": entry.precision,
                "error": entry.error,
            }
            for entry in result.entries
        ],
        "best": {column: list(names) for column, names in result.best().items()},
        "resolution": result.resolution,
        "note": result.note,
        "ratio": result.pair.ratio,
        "bands": len(scored[0].band_psnr),
        "pixels": scored[0].pixels,
        "zero_pixels": scored[0].zero_pixels,
        "srf": result.pair.srf_source,
        "psf": result.pair.psf_source,
        "sharpened": list(result.pair.scenes.msi.sharpened),
        "device": result.device,
        "precision": result.precision,
        "warnings": list(result.warnings),
    }


def _print(result: Comparison) -> None:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 (only for people)
    from rich.markup import escape  # noqa: PLC0415 (a file's name may hold brackets)
    from rich.table import Table  # noqa: PLC0415

    table = Table("method", box=SIMPLE_HEAD, pad_edge=False)
    for title, _ in _COLUMNS.values():
        table.add_column(title, justify="right", no_wrap=True)
    best = result.best()
    for entry in result.entries:
        cells = [
            _cell(value, _COLUMNS[name][1], bold=entry.name in best[name]) for name, value in entry.columns().items()
        ]
        table.add_row(escape(entry.name), *cells)
    wide_terminal().print(table)
    click.echo(result.note)


def _cell(value: float, shape: str, *, bold: bool) -> str:
    text = figure(value, shape)
    return f"[bold]{text}[/bold]" if bold else text
